//! The topics below `$SYS/broker`, and their values. The names are those of Mosquitto where it has
//! one; our own are below `serialgate`.

use std::collections::HashMap;
use std::time::Instant;

use super::load::{Load, SPANS};
use super::losses::{Loss, Losses, NAMES};
use super::traffic::Traffic;

/// The first level of all these topics, which clients cannot publish to.
pub(super) const ROOT: &str = "$SYS";

/// Whether a topic, or the topics of a filter, lie below [`ROOT`].
pub(super) fn is_ours(topic: &str) -> bool {
    topic.strip_prefix(ROOT).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Averages are brought up to date no more often than this, in seconds.
const LEAST_STEP_S: f64 = 1.0;

/// What the broker has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Numbers {
    /// Clients that are connected.
    pub(super) connected: u64,
    /// Sessions without a connection.
    pub(super) disconnected: u64,
    /// Most clients that were connected at a time.
    pub(super) most_connected: u64,
    /// Sessions that have expired.
    pub(super) expired: u64,
    /// Connections that were accepted.
    pub(super) connections: u64,
    /// Packets and bytes.
    pub(super) traffic: Traffic,
    /// Messages from clients.
    pub(super) publish_received: u64,
    /// Messages to clients.
    pub(super) publish_sent: u64,
    /// Bytes of their payloads, from clients.
    pub(super) publish_bytes_received: u64,
    /// Bytes of their payloads, to clients.
    pub(super) publish_bytes_sent: u64,
    /// Subscriptions, shared ones included.
    pub(super) subscriptions: u64,
    /// Shared subscriptions.
    pub(super) shared_subscriptions: u64,
    /// Retained messages.
    pub(super) retained: u64,
    /// Messages that are kept: retained, waiting, or under way.
    pub(super) stored: u64,
    /// What they hold, in bytes.
    pub(super) stored_bytes: u64,
    /// What was given up.
    pub(super) losses: Losses,
}

/// What was told, and what is needed to tell more.
#[derive(Debug)]
pub(super) struct Tree {
    started: Instant,
    updated: Instant,
    loads: [Load; LOADS.len()],
    told: HashMap<String, String>,
}

/// Finds one of the numbers.
type Count = fn(&Numbers) -> u64;

/// What averages are kept of.
const LOADS: [(&str, Count); 8] = [
    ("messages/received", |n| n.traffic.packets_received),
    ("messages/sent", |n| n.traffic.packets_sent),
    ("publish/received", |n| n.publish_received),
    ("publish/sent", |n| n.publish_sent),
    ("publish/dropped", |n| n.losses.total()),
    ("bytes/received", |n| n.traffic.bytes_received),
    ("bytes/sent", |n| n.traffic.bytes_sent),
    ("connections", |n| n.connections),
];

/// What is told as a number.
const COUNTS: [(&str, Count); 23] = [
    ("clients/connected", |n| n.connected),
    ("clients/active", |n| n.connected),
    ("clients/disconnected", |n| n.disconnected),
    ("clients/inactive", |n| n.disconnected),
    ("clients/total", |n| n.connected + n.disconnected),
    ("clients/maximum", |n| n.most_connected),
    ("clients/expired", |n| n.expired),
    ("messages/received", |n| n.traffic.packets_received),
    ("messages/sent", |n| n.traffic.packets_sent),
    ("messages/stored", |n| n.stored),
    ("store/messages/count", |n| n.stored),
    ("store/messages/bytes", |n| n.stored_bytes),
    ("publish/messages/received", |n| n.publish_received),
    ("publish/messages/sent", |n| n.publish_sent),
    ("publish/messages/dropped", |n| n.losses.total()),
    ("publish/bytes/received", |n| n.publish_bytes_received),
    ("publish/bytes/sent", |n| n.publish_bytes_sent),
    ("bytes/received", |n| n.traffic.bytes_received),
    ("bytes/sent", |n| n.traffic.bytes_sent),
    ("subscriptions/count", |n| n.subscriptions),
    ("shared_subscriptions/count", |n| n.shared_subscriptions),
    ("retained messages/count", |n| n.retained),
    ("serialgate/expired", |n| n.losses.of(Loss::Expired)),
];

impl Tree {
    /// Nothing told, of a broker that starts `now`.
    pub(super) fn new(now: Instant) -> Self {
        Self { started: now, updated: now, loads: Default::default(), told: HashMap::new() }
    }

    /// The topics whose values have changed since the last call, with what they are now.
    pub(super) fn news(&mut self, numbers: &Numbers, now: Instant) -> Vec<(String, String)> {
        self.update_loads(numbers, now);
        let mut values = Vec::new();
        let mut tell = |name: String, value: String| {
            if self.told.get(&name) != Some(&value) {
                values.push((format!("$SYS/broker/{name}"), value.clone()));
                self.told.insert(name, value);
            }
        };
        tell("version".into(), format!("serialgate version {}", env!("CARGO_PKG_VERSION")));
        let uptime = now.saturating_duration_since(self.started).as_secs();
        tell("uptime".into(), format!("{uptime} seconds"));
        for (name, count) in COUNTS {
            tell(name.into(), count(numbers).to_string());
        }
        for (loss, name) in NAMES.into_iter().filter(|(loss, _)| *loss != Loss::Expired) {
            tell(format!("serialgate/dropped/{name}"), numbers.losses.of(loss).to_string());
        }
        for ((name, _), load) in LOADS.iter().zip(&self.loads) {
            for ((_, span), rate) in SPANS.iter().zip(load.per_minute()) {
                tell(format!("load/{name}/{span}"), format!("{rate:.2}"));
            }
        }
        values
    }

    fn update_loads(&mut self, numbers: &Numbers, now: Instant) {
        let since = now.saturating_duration_since(self.updated);
        if since.as_secs_f64() < LEAST_STEP_S {
            return;
        }
        self.updated = now;
        for (load, (_, count)) in self.loads.iter_mut().zip(LOADS) {
            load.update(count(numbers), since);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn everything_is_told_once_and_then_only_what_has_changed() {
        let start = Instant::now();
        let mut tree = Tree::new(start);
        let mut numbers = Numbers { connected: 3, disconnected: 2, ..Numbers::default() };
        let first: HashMap<_, _> = tree.news(&numbers, start).into_iter().collect();
        assert_eq!(first["$SYS/broker/clients/total"], "5");
        assert_eq!(first["$SYS/broker/uptime"], "0 seconds");
        assert!(first["$SYS/broker/version"].starts_with("serialgate version "));
        assert!(first.contains_key("$SYS/broker/retained messages/count"));
        assert!(tree.news(&numbers, start).is_empty());
        numbers.losses.add(Loss::Full0);
        numbers.losses.add(Loss::Expired);
        let later = start + Duration::from_secs(60);
        let second: HashMap<_, _> = tree.news(&numbers, later).into_iter().collect();
        let expected = [
            ("load/publish/dropped/15min", "0.06"),
            ("load/publish/dropped/1min", "0.63"),
            ("load/publish/dropped/5min", "0.18"),
            ("publish/messages/dropped", "1"),
            ("serialgate/dropped/qos0", "1"),
            ("serialgate/expired", "1"),
            ("uptime", "60 seconds"),
        ];
        let expected = expected.map(|(name, value)| (format!("$SYS/broker/{name}"), value.to_owned()));
        assert_eq!(second, HashMap::from(expected));
    }
}
