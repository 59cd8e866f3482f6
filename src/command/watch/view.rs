//! A message as a line for people. Pure.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use crate::control::Live;
use crate::format::json::Members;
use crate::render::{RESERVED, time};

/// Values wider than this push what is behind them aside, in characters.
const MAX_WIDTH_CHARS: usize = 12;

/// What a message tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Reading,
    /// What is known of a device.
    Meta,
    /// What became of a command.
    Result,
    Event,
}

/// What the messages of `topic` tell.
pub(super) fn kind(topic: &str) -> Kind {
    match topic.rsplit('/').next() {
        Some("data") => Kind::Reading,
        Some("meta") => Kind::Meta,
        Some("result") => Kind::Result,
        _ => Kind::Event,
    }
}

/// What was seen so far: lines align with those before.
#[derive(Debug, Default)]
pub(super) struct View {
    /// By name. The gateway itself is one of them, with its events.
    devices: BTreeMap<String, Device>,
}

/// By names of channels.
#[derive(Debug, Default)]
struct Device {
    units: HashMap<String, String>,
    /// The widest value so far, in characters.
    widths: HashMap<String, usize>,
}

/// What `meta` tells, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Meta {
    #[serde(default)]
    channels: Vec<Channel>,
}

#[derive(Debug, Deserialize)]
struct Channel {
    name: String,
    unit: Option<String>,
}

impl View {
    /// The line for `live`; `None`: there is nothing to show of it. `now_us` is microseconds since 1970, and
    /// `local` makes such into what clocks show here. The date is shown where it is not today's.
    pub(super) fn line(&mut self, live: &Live, now_us: i64, local: impl Fn(i64) -> i64) -> Option<String> {
        let (topic, payload) = (&live.topic, live.payload.0.get());
        let name = topic.rsplit('/').nth(1)?;
        let device = self.devices.entry(name.to_owned()).or_default();
        if kind(topic) == Kind::Meta {
            device.learn(payload);
            return None;
        }
        let Members(members) = serde_json::from_str(payload).ok()?;
        let cells = members.iter().filter(|(key, _)| !RESERVED.contains(&key.as_str()));
        let cells = cells.map(|(key, raw)| match kind(topic) {
            Kind::Reading => device.cell(key, raw),
            _ => format!("{key} {}", value(raw)),
        });
        let word = (kind(topic) == Kind::Result).then(|| "result".to_owned());
        let cells: Vec<String> = word.into_iter().chain(cells).chain(marks(&members)).collect();
        let at = members.iter().find(|(key, _)| key == "ts").map(|(_, raw)| value(raw))?;
        let [at, now] = [time::unix_us(&at)?, now_us].map(|us| time::moment(local(us)));
        let width = self.devices.keys().map(String::len).max().unwrap_or_default();
        let line = format!("{}  {name:<width$}  {}", moment(&at, &now), cells.join("  "));
        // What a device says must not steer the terminal.
        Some(line.trim_end().replace(char::is_control, "\u{fffd}"))
    }
}

impl Device {
    fn learn(&mut self, meta: &str) {
        let Ok(Meta { channels }) = serde_json::from_str(meta) else { return };
        let units = channels.into_iter().filter_map(|channel| Some((channel.name, channel.unit?)));
        self.units = units.collect();
    }

    /// A channel's value with name and unit.
    fn cell(&mut self, key: &str, raw: &str) -> String {
        let value = value(raw);
        let width = self.widths.entry(key.to_owned()).or_default();
        *width = value.chars().count().clamp(*width, MAX_WIDTH_CHARS);
        let unit = self.units.get(key).map(|unit| format!(" {unit}")).unwrap_or_default();
        format!("{key} {value:>width$}{unit}", width = *width)
    }
}

/// A word of text without its quotes, everything else as it stands.
fn value(raw: &str) -> String {
    let is_word = |text: &String| !text.is_empty() && !text.contains(char::is_whitespace);
    match raw {
        "null" => "-".to_owned(),
        _ => serde_json::from_str(raw).ok().filter(is_word).unwrap_or_else(|| raw.to_owned()),
    }
}

/// What is not as usual with a reading's time.
fn marks(members: &[(String, &str)]) -> impl Iterator<Item = String> {
    members.iter().filter_map(|(key, raw)| match (key.as_str(), *raw) {
        ("late", "true") => Some("late".to_owned()),
        ("ts_quality", quality) => Some(value(quality)),
        _ => None,
    })
}

/// `14:03:22.123`; with its date where `now` has another.
fn moment(at: &str, now: &str) -> String {
    const DATE: usize = "2026-01-01".len();
    let (date, time) = at.split_at_checked(DATE).unwrap_or_default();
    let time = time.trim_matches(['T', 'Z']);
    if now.starts_with(date) { time.to_owned() } else { format!("{date} {time}") }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use serde_json::value::RawValue;

    use super::*;
    use crate::control::Line;

    /// 2026-01-01T00:00:00Z, in microseconds.
    const NEW_YEAR: i64 = 1_767_225_600_000_000;

    /// The lines for messages that come on New Year's morning, one hour east of Greenwich.
    fn lines(messages: &[(&str, &str)]) -> String {
        let mut view = View::default();
        let lines = messages.iter().filter_map(|(topic, payload)| {
            let payload = Line(RawValue::from_string((*payload).to_owned()).unwrap());
            let live = Live { topic: format!("serialgate/greenhouse/{topic}"), payload };
            view.line(&live, NEW_YEAR, |us| us + 3_600_000_000)
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn readings_align_and_bear_their_units() {
        assert_snapshot!(lines(&[
            ("shed-6677/meta", r#"{"firmware":"shed 1.2","channels":[{"name":"temp","unit":"°C"},{"name":"relay"}]}"#),
            ("shed-6677/data", r#"{"ts":"2026-01-01T00:00:00.123Z","seq":8,"id":"a/8","temp":9.50,"relay":true}"#),
            ("roof/data", r#"{"ts":"2026-01-01T00:00:00.200Z","seq":1,"id":"b/1","hum":40,"state":"at work"}"#),
            ("shed-6677/data", r#"{"ts":"2026-01-01T00:00:01.123Z","seq":9,"id":"a/9","temp":-10.25,"relay":false}"#),
            ("shed-6677/data", r#"{"ts":"2026-01-01T00:00:02.123Z","seq":10,"id":"a/10","temp":null,"relay":true}"#),
        ]), @r#"
        01:00:00.123  shed-6677  temp 9.50 °C  relay true
        01:00:00.200  roof       hum 40  state "at work"
        01:00:01.123  shed-6677  temp -10.25 °C  relay false
        01:00:02.123  shed-6677  temp      - °C  relay  true
        "#);
    }

    #[test]
    fn what_is_not_as_usual_with_a_time_is_said() {
        assert_snapshot!(lines(&[
            ("shed/data", r#"{"ts":"2025-12-31T20:00:00.000Z","seq":1,"id":"a/1","late":true,"temp":1}"#),
            ("shed/data", r#"{"ts":"1970-01-01T00:00:07.000Z","seq":2,"id":"a/2","ts_quality":"estimated","temp":2}"#),
        ]), @"
        2025-12-31 21:00:00.000  shed  temp 1  late
        1970-01-01 01:00:07.000  shed  temp 2  estimated
        ");
    }

    #[test]
    fn events_and_results_are_lines_too() {
        assert_snapshot!(lines(&[
            ("event", r#"{"ts":"2026-01-01T00:00:00.000Z","id":"g/1","event":"port","path":"/dev/ttyUSB0","state":"absent"}"#),
            ("event", r#"{"ts":"2026-01-01T00:00:01.000Z","id":"g/2","event":"gap","device":"shed","from_seq":3,"to_seq":5,"lost":3,"reason":"device"}"#),
            ("shed/result", r#"{"ts":"2026-01-01T00:00:02.000Z","status":"ok","values":{"relay":true}}"#),
        ]), @r#"
        01:00:00.000  greenhouse  event port  path /dev/ttyUSB0  state absent
        01:00:01.000  greenhouse  event gap  device shed  from_seq 3  to_seq 5  lost 3  reason device
        01:00:02.000  shed        result  status ok  values {"relay":true}
        "#);
    }

    #[test]
    fn odd_values_do_no_harm() {
        assert_snapshot!(lines(&[
            ("shed/data", r#"{"ts":"2026-01-01T00:00:00.000Z","a":"\u001b[2J","b\u009b":"","c":[1, 2],"d":"as long as a sentence","e":"0123456789abcdef"}"#),
            ("shed/data", r#"{"ts":"2026-01-01T00:00:00.000Z","a":1,"e":2}"#),
            ("shed/data", r#"{"ts":"never","a":1}"#),
            ("shed/data", "[]"),
            ("shed/meta", r#"{"channels":7}"#),
        ]), @r#"
        01:00:00.000  shed  a �[2J  b� ""  c [1, 2]  d "as long as a sentence"  e 0123456789abcdef
        01:00:00.000  shed  a    1  e            2
        "#);
    }
}
