//! Topic names and topic filters: building, checking, matching.
//!
//! Source: MQTT 5.0 and 3.1.1, section 4.7.

mod route;
mod via;

pub use route::{Forward, Route, RouteError, Routes};
pub use via::VIA;

use std::sync::Arc;

use crate::reading::DeviceName;

/// Longest topic or filter, in bytes (MQTT 5.0, 1.5.4).
pub const MAX_BYTES: usize = 65_535;

/// Whether `topic` may be published to: not empty, no wildcard, no NUL, not too long.
#[must_use]
pub fn is_valid_name(topic: &str) -> bool {
    !topic.is_empty() && topic.len() <= MAX_BYTES && !topic.contains(['+', '#', '\0'])
}

/// Whether `filter` may be subscribed to: `+` fills a whole level, `#` only the last one.
#[must_use]
pub fn is_valid_filter(filter: &str) -> bool {
    if filter.is_empty() || filter.len() > MAX_BYTES || filter.contains('\0') {
        return false;
    }
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        let fits = match level {
            "+" => true,
            "#" => levels.peek().is_none(),
            _ => !level.contains(['+', '#']),
        };
        if !fits {
            return false;
        }
    }
    true
}

/// Whether `topic` falls under `filter`. A filter that begins with a wildcard does not see topics
/// that begin with `$` (4.7.2).
#[must_use]
pub fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let (mut filter, mut topic) = (filter.split('/'), topic.split('/'));
    loop {
        match (filter.next(), topic.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(want), Some(have)) if want == have => {}
            _ => return false,
        }
    }
}

/// Whether there is a topic that falls under both filters.
#[must_use]
pub fn overlap(a: &str, b: &str) -> bool {
    let hides = |a: &str, b: &str| a.starts_with('$') && b.starts_with(['+', '#']);
    if hides(a, b) || hides(b, a) {
        return false;
    }
    let (mut a, mut b) = (a.split('/'), b.split('/'));
    loop {
        match (a.next(), b.next()) {
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (Some(here), Some(there)) if here == "+" || there == "+" || here == there => {}
            _ => return false,
        }
    }
}

/// Whether every topic that falls under the filter `inner` falls under `outer`.
#[must_use]
pub fn covers(outer: &str, inner: &str) -> bool {
    if inner.starts_with('$') && outer.starts_with(['+', '#']) {
        return false;
    }
    // No topic is empty, so each of these says the same as the other; elsewhere `#` stands for no level,
    // too.
    let inner = match inner {
        "#" => "+/#",
        "/#" => "/+/#",
        other => other,
    };
    let (mut outer, mut inner) = (outer.split('/'), inner.split('/'));
    loop {
        match (outer.next(), inner.next()) {
            (Some("#"), _) | (None, None) => return true,
            (_, Some("#")) => return false,
            (Some("+"), Some(_)) => {}
            (Some(out), Some(within)) if out == within => {}
            _ => return false,
        }
    }
}

/// `text` as a slug of `[a-z0-9_-]`: lower case, anything else becomes `_`, at most
/// [`SLUG_MAX`] bytes. `None` where nothing is left.
#[must_use]
pub fn slug(text: &str) -> Option<String> {
    let slug: String = text
        .trim()
        .chars()
        .take(SLUG_MAX)
        .map(|c| match c.to_ascii_lowercase() {
            c @ ('a'..='z' | '0'..='9' | '_' | '-') => c,
            _ => '_',
        })
        .collect();
    (!slug.is_empty()).then_some(slug)
}

/// Longest slug, in bytes.
pub const SLUG_MAX: usize = 64;

/// Payload of a `status` topic while the gateway or the device is there.
pub const ONLINE: &str = "online";
/// Payload of a `status` topic while it is not; also the gateway's last will.
pub const OFFLINE: &str = "offline";

/// What the gateway says about itself and its devices with retained messages: the newest word
/// counts, and is rebuilt rather than stored.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// The gateway: `online` or `offline`.
    Gateway,
    /// A device: `online` or `offline`.
    Status(DeviceName),
    /// A device's description, JSON.
    Meta(DeviceName),
    /// A device's newest reading, JSON.
    State(DeviceName),
}

/// Builds the gateway's own topics: `<base>/<gateway>/…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    root: Arc<str>,
}

impl Topics {
    /// Topics under `<base>/<gateway>`.
    #[must_use]
    pub fn new(base: &str, gateway: &str) -> Self {
        Self { root: format!("{base}/{gateway}").into() }
    }

    /// Where a retained subject is published.
    #[must_use]
    pub fn of(&self, subject: &Subject) -> String {
        match subject {
            Subject::Gateway => format!("{}/status", self.root),
            Subject::Status(device) => format!("{}/{device}/status", self.root),
            Subject::Meta(device) => format!("{}/{device}/meta", self.root),
            Subject::State(device) => format!("{}/{device}/state", self.root),
        }
    }

    /// Where every reading of `device` is published.
    #[must_use]
    pub fn data(&self, device: &str) -> String {
        format!("{}/{device}/data", self.root)
    }

    /// Where what became of commands to `device` is published.
    #[must_use]
    pub fn result(&self, device: &str) -> String {
        format!("{}/{device}/result", self.root)
    }

    /// Whether `topic` is one of those.
    #[must_use]
    pub fn is_result(&self, topic: &str) -> bool {
        self.answering(topic).is_some()
    }

    /// The device whose result is on `topic`.
    #[must_use]
    pub fn answering<'t>(&self, topic: &'t str) -> Option<&'t str> {
        self.device_in(topic, "/result")
    }

    /// The filter that all commands to devices match.
    #[must_use]
    pub fn commands(&self) -> String {
        format!("{}/+/set", self.root)
    }

    /// The device that a command on `topic` is for.
    #[must_use]
    pub fn commanded<'t>(&self, topic: &'t str) -> Option<&'t str> {
        self.device_in(topic, "/set")
    }

    fn device_in<'t>(&self, topic: &'t str, end: &str) -> Option<&'t str> {
        let device = topic.strip_prefix(&*self.root)?.strip_prefix('/')?.strip_suffix(end)?;
        (!device.contains('/')).then_some(device)
    }

    /// Where events are published.
    #[must_use]
    pub fn event(&self) -> String {
        format!("{}/event", self.root)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn commands_and_results_are_those_of_one_device() {
        let topics = Topics::new("b", "g");
        for (topic, device) in [
            ("b/g/shed/set", Some("shed")),
            ("b/g/shed/x/set", None),
            ("b/g/set", None),
            ("b/g2/shed/set", None),
            ("b/g/shed/sets", None),
        ] {
            assert_eq!(topics.commanded(topic), device, "{topic}");
            assert_eq!(matches(&topics.commands(), topic), device.is_some(), "{topic}");
        }
        assert!(topics.is_result(&topics.result("shed")) && !topics.is_result("b/g/result"));
    }

    #[test]
    fn filters_match_as_section_4_7_says() {
        for (filter, topic, expected) in [
            ("a/b", "a/b", true),
            ("a/b", "a/b/c", false),
            ("a/+", "a/b", true),
            ("a/+", "a/", true),
            ("a/+", "a", false),
            ("a/#", "a", true),
            ("a/#", "a/b/c", true),
            ("#", "a/b", true),
            ("+/+", "/finance", true),
            ("+", "/finance", false),
            ("#", "$SYS/uptime", false),
            ("+/uptime", "$SYS/uptime", false),
            ("$SYS/#", "$SYS/uptime", true),
        ] {
            assert_eq!(matches(filter, topic), expected, "{filter} against {topic}");
        }
    }

    #[test]
    fn wildcards_stand_only_where_they_may() {
        for good in ["a", "/", "+", "#", "a/+/b", "a/#", "+/+/#", " "] {
            assert!(is_valid_filter(good), "{good}");
        }
        for bad in ["", "a#", "a/#/b", "a+", "+a/b", "#/", "a\0"] {
            assert!(!is_valid_filter(bad), "{bad}");
        }
        assert!(is_valid_name("a/b"));
        for bad in ["", "a/+", "#", "a\0"] {
            assert!(!is_valid_name(bad), "{bad}");
        }
    }

    #[test]
    fn filters_overlap_where_one_topic_falls_under_both() {
        for (a, b, expected) in [
            ("a/b", "a/b", true),
            ("a/+", "+/b", true),
            ("a/#", "a", true),
            ("#", "a/b", true),
            ("a/b", "a/c", false),
            ("a/+", "a/b/c", false),
            ("a/+/c", "a/#", true),
            ("#", "$SYS/#", false),
            ("$SYS/+", "$SYS/#", true),
        ] {
            assert_eq!((overlap(a, b), overlap(b, a)), (expected, expected), "{a} and {b}");
        }
    }

    #[test]
    fn a_filter_covers_another_where_every_topic_of_it_falls_under_the_first() {
        for (outer, inner, expected) in [
            ("a/b", "a/b", true),
            ("a/+", "a/b", true),
            ("a/#", "a/+/c", true),
            ("a/#", "a", true),
            ("a/#", "a/#", true),
            ("#", "a/#", true),
            ("#", "#", true),
            ("+/#", "#", true),
            ("/+/#", "/#", true),
            ("+", "+", true),
            ("a/b", "a/+", false),
            ("a/+", "a/#", false),
            ("a/+/#", "a/#", false),
            ("+/+/#", "#", false),
            ("+", "#", false),
            ("a", "a/b", false),
            ("a/b/#", "a", false),
            ("#", "$SYS/#", false),
            ("+/x", "$SYS/x", false),
            ("$SYS/#", "$SYS/+/x", true),
            ("$SYS/#", "#", false),
        ] {
            assert_eq!(covers(outer, inner), expected, "{outer} over {inner}");
        }
    }

    proptest! {
        /// Against all topics of up to four levels of three letters: one more than filters have, so
        /// that a wildcard stands for more than what they name.
        #[test]
        fn covering_is_what_all_topics_say(outer in filters(), inner in filters()) {
            let mut topics: Vec<String> = vec![String::new()];
            for _ in 0..4 {
                let longer = topics.iter().flat_map(|topic| ["a", "", "$", "z"].map(|level| format!("{topic}/{level}")));
                topics.extend(longer.collect::<Vec<_>>());
                topics.sort();
                topics.dedup();
            }
            let mut topics = topics.iter().filter_map(|topic| topic.strip_prefix('/')).filter(|topic| !topic.is_empty());
            let all = topics.all(|topic| !matches(&inner, topic) || matches(&outer, topic));
            prop_assert_eq!(covers(&outer, &inner), all, "{} over {}", outer, inner);
        }
    }

    fn filters() -> impl Strategy<Value = String> {
        let level = prop::sample::select(vec!["a", "", "$", "+"]);
        (prop::collection::vec(level, 0..=3), any::<bool>()).prop_filter_map(
            "a filter",
            |(mut levels, is_deep)| {
                levels.extend(is_deep.then_some("#"));
                let filter = levels.join("/");
                is_valid_filter(&filter).then_some(filter)
            },
        )
    }

    #[test]
    fn slugs_keep_only_what_topics_may_hold() {
        assert_eq!(slug("Green House/7").as_deref(), Some("green_house_7"));
        assert_eq!(slug("  ").as_deref(), None);
        assert_eq!(slug("täst").as_deref(), Some("t_st"));
    }
}
