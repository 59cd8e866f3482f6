//! `serialgate check --connect`: each bridge's link, step by step, for a person at a terminal.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

use super::{Exit, complain, say};
use crate::bridge::{self, Accepted, Seen};
use crate::command;
use crate::config::units::print_size;
use crate::config::{Bridge, Config};
use crate::mqtt::packet::{Qos, Version};
use crate::render::time::minute;
use crate::topic::Topics;
use crate::transport::{Facts, Secured, Step};

/// Addresses that are shown.
const ADDRESSES_SHOWN: usize = 4;
/// Width of what stands before the text of a row.
const INDENT: usize = 32;
/// Width of that text, where it can be broken.
const TEXT_WIDTH: usize = 68;

/// Tries the links of all bridges of `config`, one after the other.
pub(super) fn run(config: &Config) -> Exit {
    let runtime = match command::runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(error);
            return Exit::Software;
        }
    };
    if config.bridges.is_empty() {
        say("\nThere are no bridges, so there is nothing to connect to.");
    }
    let topics = Topics::new(&config.base, &config.gateway);
    let works = |bridge: &&Bridge| runtime.block_on(try_link(bridge, &config.gateway, &topics));
    let working = config.bridges.iter().filter(works).count();
    // A look-up that hangs must not keep us.
    runtime.shutdown_background();
    let all = config.bridges.len();
    if working == all {
        return Exit::Ok;
    }
    complain(format_args!("\n{} of {all} bridges cannot reach their broker", all - working));
    Exit::Unavailable
}

/// Tells of one link; whether it works.
async fn try_link(bridge: &Bridge, gateway: &str, topics: &Topics) -> bool {
    say(format_args!("\nbridge {}: {}", bridge.name, bridge.endpoint.url));
    let mut since = Instant::now();
    let tried = bridge::probe(bridge, gateway, topics, |seen| {
        if let Some(row) = row(&seen, bridge, now()) {
            say(row.text(since.elapsed()));
        }
        since = Instant::now();
    });
    let Err(error) = Box::pin(tried).await else { return true };
    let hint = error.refused_as.map(|client_id| {
        format!(
            "We came as `{client_id}`, beside a daemon that may be connected. A broker that lets only certain \
             client ids in refuses this one, and not the daemon: `serialgate status` tells whether that is \
             connected."
        )
    });
    let lines = [error.reason].into_iter().chain(hint).collect();
    say(Row { step: error.step, mark: Mark::Failed, lines }.text(since.elapsed()));
    false
}

/// Since 1970.
fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// One step in words.
struct Row {
    step: &'static str,
    mark: Mark,
    /// The first beside the step, the others below.
    lines: Vec<String>,
}

#[derive(Clone, Copy)]
enum Mark {
    Ok,
    Warn,
    Failed,
}

impl Row {
    fn ok(step: &'static str, line: String) -> Self {
        Self { step, mark: Mark::Ok, lines: vec![line] }
    }

    fn text(&self, took: Duration) -> String {
        let mark = match self.mark {
            Mark::Ok => "ok",
            Mark::Warn => "warn",
            Mark::Failed => "FAILED",
        };
        let mut lines = self.lines.iter().flat_map(|line| broken(line));
        let first = lines.next().unwrap_or_default();
        let mut text = format!("  {:<10}  {mark:<6}  {:>5} ms  {first}", self.step, took.as_millis());
        for line in lines {
            // Writing to a String cannot fail.
            let _ = write!(text, "\n{:INDENT$}{line}", "");
        }
        text
    }
}

/// `text` in lines that are as long as [`TEXT_WIDTH`] allows; a longer word stays whole.
fn broken(text: &str) -> Vec<String> {
    if text.chars().count() <= TEXT_WIDTH {
        return vec![text.to_owned()];
    }
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= TEXT_WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// What there is to say of `seen`, at `now` since 1970.
fn row(seen: &Seen, bridge: &Bridge, now: Duration) -> Option<Row> {
    match seen {
        Seen::Way(step) => way(step, bridge, now),
        Seen::Refused(version) => {
            let line = format!("the broker does not speak MQTT {}; trying the other", number(*version));
            Some(Row { step: "mqtt", mark: Mark::Warn, lines: vec![line] })
        }
        Seen::Accepted(accepted) => Some(Row { step: "mqtt", mark: Mark::Ok, lines: allowed(accepted) }),
        Seen::Alive => Some(Row::ok("round trip", String::from("PINGREQ, PINGRESP"))),
    }
}

fn way(step: &Step, bridge: &Bridge, now: Duration) -> Option<Row> {
    let proxy = bridge.endpoint.proxy.as_ref();
    let host = proxy.map_or(&bridge.endpoint.url.host, |proxy| &proxy.host);
    match step {
        // An address needs no look-up.
        Step::Found(_) if host.parse::<IpAddr>().is_ok() => None,
        Step::Found(addresses) => {
            let mut shown: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
            let more = shown.len().saturating_sub(ADDRESSES_SHOWN);
            shown.truncate(ADDRESSES_SHOWN);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            Some(Row::ok("name", format!("{host} is {}{more}", shown.join(", "))))
        }
        Step::Connected(address) if proxy.is_some() => Some(Row::ok("tcp", format!("{address}, the proxy"))),
        Step::Connected(address) => Some(Row::ok("tcp", address.to_string())),
        Step::Tunnelled(status) => Some(Row::ok("proxy", format!("it answers `{status}`"))),
        Step::Secured(secured) => Some(tls(secured, now)),
        Step::Upgraded => Some(Row::ok("websocket", String::from("the server speaks MQTT there"))),
    }
}

fn tls(secured: &Secured, now: Duration) -> Row {
    let alpn = secured.alpn.as_ref().map_or(String::new(), |name| format!(", protocol {name}"));
    let mut lines = vec![format!("TLS {}{alpn}", secured.version)];
    let mut soon = false;
    let mut certificate = |what: &str, facts: &Facts| {
        let (days, ends) = (facts.days_left(now), minute(facts.until.as_secs()));
        let verdict = if facts.ends_soon(now) { ", so renew it" } else { "" };
        soon |= facts.ends_soon(now);
        [labelled(what, &facts.subject), labelled("", &format!("ends in {days} days, {ends}{verdict}"))]
    };
    if let Some(server) = secured.chain.first() {
        lines.extend(certificate("certificate of", server));
    }
    // The last one names an authority that mostly is not sent.
    let mut issuers: Vec<&String> = secured.chain.iter().map(|one| &one.issuer).collect();
    issuers.dedup();
    lines.extend(issuers.into_iter().map(|issuer| labelled("issued by", issuer)));
    match (&secured.own, secured.asked) {
        (Some(own), true) => lines.extend(certificate("our own", own)),
        (Some(own), false) => {
            lines.extend(certificate("our own", own));
            lines.push(labelled("", "the server did not ask for it"));
        }
        (None, true) => {
            lines.push(labelled("our own", "the server asks for a certificate, and we have none"));
        }
        (None, false) => {}
    }
    Row { step: "tls", mark: if soon { Mark::Warn } else { Mark::Ok }, lines }
}

fn allowed(accepted: &Accepted) -> Vec<String> {
    let answer = &accepted.answer;
    let qos = match answer.maximum_qos {
        Qos::AtMostOnce => "0: a message that gets lost on the way is not sent again",
        Qos::AtLeastOnce => "up to 1",
        Qos::ExactlyOnce => "up to 2",
    };
    let retain = if answer.retain_available { "yes" } else { "no: `status` and `meta` are not kept there" };
    let largest = answer.maximum_packet_size.map_or(String::from("no limit"), |most| print_size(most.into()));
    let mut lines = vec![
        format!("MQTT {} as `{}`", number(accepted.version), accepted.client_id),
        labelled("QoS", qos),
        labelled("retained", retain),
    ];
    if accepted.version == Version::V5 {
        let aliases = match answer.topic_alias_maximum {
            0 => String::from("none"),
            most => format!("up to {most}"),
        };
        lines.extend([
            labelled("largest packet", &largest),
            labelled("in flight", &format!("up to {}", answer.receive_maximum)),
            labelled("topic aliases", &aliases),
        ]);
    }
    if let Some(seconds) = answer.server_keep_alive_s {
        lines.push(labelled("keep-alive", &format!("{seconds}s")));
    }
    if answer.session_present {
        lines.push(labelled("session", "the broker had one, although a new one was asked for"));
    }
    lines
}

fn labelled(label: &str, value: &str) -> String {
    format!("{label:<16}{value}")
}

fn number(version: Version) -> &'static str {
    match version {
        Version::V3 => "3.1.1",
        Version::V5 => "5",
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::mqtt::packet::{ConnAck, Reason};

    const DAY: Duration = Duration::from_secs(86_400);

    fn facts(subject: &str, issuer: &str, days: u32) -> Facts {
        Facts { subject: subject.into(), issuer: issuer.into(), from: Duration::ZERO, until: DAY * days }
    }

    #[test]
    fn a_reason_is_broken_into_lines_and_no_word_is() {
        let reason = format!("TLS with h: {} {}", "word ".repeat(20).trim_end(), "x".repeat(90));
        let row = Row { step: "tls", mark: Mark::Failed, lines: vec![reason.clone()] };
        let text = row.text(Duration::ZERO);
        assert!(text.lines().count() > 2, "{text}");
        assert_eq!(text.split_whitespace().skip(4).collect::<Vec<_>>().join(" "), reason);
        assert!(
            text.lines().filter(|line| !line.contains("xx")).all(|line| line.len() <= INDENT + TEXT_WIDTH)
        );
    }

    fn told(seen: &[Seen]) -> String {
        let config =
            Config::parse("bridges: [{name: cloud, url: 'wss://broker.example.com'}]", "s.yaml").unwrap();
        let rows = seen.iter().filter_map(|seen| row(seen, &config.bridges[0], DAY * 20_000));
        rows.map(|row| row.text(Duration::from_millis(12))).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_link_that_works_is_told_step_by_step() {
        let secured = Secured {
            version: "1.3",
            alpn: Some("mqtt".into()),
            chain: vec![
                facts("CN=broker.example.com", "CN=R1,O=Trust", 20_020),
                facts("CN=R1,O=Trust", "CN=Root", 30_000),
            ],
            own: Some(facts("CN=greenhouse", "CN=R1", 20_300)),
            asked: true,
        };
        let answer = ConnAck {
            receive_maximum: 20,
            maximum_packet_size: Some(256 * 1024),
            topic_alias_maximum: 10,
            ..ConnAck::new(Reason::SUCCESS, false)
        };
        let accepted =
            Accepted { client_id: "serialgate-pi-cloud-check".into(), version: Version::V5, answer };
        let address = "192.0.2.1:443".parse().unwrap();
        assert_snapshot!(told(&[
            Seen::Way(Step::Found(vec![address; 6])),
            Seen::Way(Step::Connected(address)),
            Seen::Way(Step::Secured(Box::new(secured))),
            Seen::Way(Step::Upgraded),
            Seen::Refused(Version::V5),
            Seen::Accepted(Box::new(accepted)),
            Seen::Alive,
        ]), @r"
        name        ok         12 ms  broker.example.com is 192.0.2.1, 192.0.2.1, 192.0.2.1, 192.0.2.1 and
                                      2 more
        tcp         ok         12 ms  192.0.2.1:443
        tls         warn       12 ms  TLS 1.3, protocol mqtt
                                      certificate of  CN=broker.example.com
                                                      ends in 20 days, 2024-10-24 00:00 UTC, so renew it
                                      issued by       CN=R1,O=Trust
                                      issued by       CN=Root
                                      our own         CN=greenhouse
                                                      ends in 300 days, 2025-07-31 00:00 UTC
        websocket   ok         12 ms  the server speaks MQTT there
        mqtt        warn       12 ms  the broker does not speak MQTT 5; trying the other
        mqtt        ok         12 ms  MQTT 5 as `serialgate-pi-cloud-check`
                                      QoS             up to 2
                                      retained        yes
                                      largest packet  256KiB
                                      in flight       up to 20
                                      topic aliases   up to 10
        round trip  ok         12 ms  PINGREQ, PINGRESP
        ");
    }
}
