//! `broker.limits`: how much the local broker takes on.

use std::ops::RangeInclusive;

use crate::config::read::{Problems, Table, Wrong};
use crate::config::values;

/// What the broker allows. What goes over a limit is refused, or dropped and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connected clients at a time.
    pub connections: usize,
    /// Connections from one address at a time; loopback has no such limit.
    pub connections_per_address: usize,
    /// Connections at a time whose client has not said CONNECT yet, beside `connections`.
    pub handshakes: usize,
    /// Sessions, connected or not. Beyond them the one that was offline for longest is forgotten.
    pub sessions: usize,
    /// Subscriptions of one session.
    pub subscriptions: usize,
    /// Bytes of the largest packet that is taken.
    pub packet_bytes: u32,
    /// Messages that wait for one client.
    pub queue_messages: usize,
    /// Bytes that wait for one client.
    pub queue_bytes: usize,
    /// Bytes that wait for all clients together.
    pub all_queues_bytes: usize,
    /// Messages under way to one client, unacknowledged.
    pub in_flight: u16,
    /// Messages under way from one client, unacknowledged.
    pub receive_maximum: u16,
    /// Retained messages.
    pub retained_messages: usize,
    /// Bytes of retained messages.
    pub retained_bytes: usize,
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

impl Default for Limits {
    /// Enough for a few hundred clients on a machine with 512 MiB.
    fn default() -> Self {
        Self {
            connections: 500,
            connections_per_address: 100,
            handshakes: 250,
            sessions: 2000,
            subscriptions: 1000,
            packet_bytes: 1 << 20,
            queue_messages: 10_000,
            // Room for `queue_messages` of some hundred bytes; each costs four hundred besides.
            queue_bytes: 8 * MIB,
            all_queues_bytes: 32 * MIB,
            in_flight: 100,
            // Bursts of QoS 2 beyond it end the connection, and MQTT.js does not count.
            receive_maximum: 1000,
            retained_messages: 10_000,
            retained_bytes: 16 * MIB,
        }
    }
}

impl Limits {
    /// Reads the key `limits` of `broker`.
    pub(super) fn read(broker: &mut Table<'_>, problems: &mut Problems) -> Self {
        let mut limits = Self::default();
        let Some(node) = broker.node("limits") else { return limits };
        let Some(mut table) = Table::open("`limits`", node, problems) else { return limits };
        count(&mut table, "connections", &mut limits.connections, 1..=10_000, problems);
        count(
            &mut table,
            "connections_per_address",
            &mut limits.connections_per_address,
            1..=10_000,
            problems,
        );
        count(&mut table, "handshakes", &mut limits.handshakes, 10..=5000, problems);
        count(&mut table, "sessions", &mut limits.sessions, 1..=100_000, problems);
        count(&mut table, "subscriptions", &mut limits.subscriptions, 1..=100_000, problems);
        // The largest packet of MQTT has 256 MiB; a machine of this kind would not survive a few.
        bytes(&mut table, "packet", &mut limits.packet_bytes, 1 << 10..=64 << 20, problems);
        count(&mut table, "queue_messages", &mut limits.queue_messages, 1..=1_000_000, problems);
        bytes(&mut table, "queue", &mut limits.queue_bytes, 64 * KIB..=1024 * MIB, problems);
        bytes(&mut table, "all_queues", &mut limits.all_queues_bytes, 64 * KIB..=4095 * MIB, problems);
        count(&mut table, "in_flight", &mut limits.in_flight, 1..=10_000, problems);
        count(&mut table, "receive_maximum", &mut limits.receive_maximum, 1..=10_000, problems);
        count(&mut table, "retained_messages", &mut limits.retained_messages, 0..=1_000_000, problems);
        bytes(&mut table, "retained", &mut limits.retained_bytes, 64 * KIB..=1024 * MIB, problems);
        limits.fit_together(&table, problems);
        table.close(&[], problems);
        limits
    }

    /// A limit that another one makes useless is a mistake.
    fn fit_together(&self, table: &Table<'_>, problems: &mut Problems) {
        let mut wrong = |keys: [&'static str; 2], what: &str| {
            let written = keys.iter().find_map(|key| Some((key, table.place_of(key)?)));
            if let Some((key, place)) = written {
                let instead = format!("write a larger `{}` or a smaller `{}`", keys[0], keys[1]);
                problems.add_for(key, place, &Wrong::new(what, instead));
            }
        };
        if self.all_queues_bytes < self.queue_bytes {
            wrong(
                ["all_queues", "queue"],
                "the queue of one client would be larger than those of all together",
            );
        }
        if self.sessions < self.connections {
            wrong(["sessions", "connections"], "each connected client has a session");
        }
    }
}

fn count<T>(
    table: &mut Table<'_>,
    key: &'static str,
    field: &mut T,
    range: RangeInclusive<T>,
    problems: &mut Problems,
) where
    T: std::str::FromStr + PartialOrd + std::fmt::Display + Copy,
{
    let example = format!("`{key}: {field}`");
    table.set(key, field, problems, |text| values::number(text, range, &example));
}

/// A size. What is allowed fits the field.
fn bytes<T>(
    table: &mut Table<'_>,
    key: &'static str,
    field: &mut T,
    range: RangeInclusive<T>,
    problems: &mut Problems,
) where
    T: TryFrom<u64> + Copy,
    u64: TryFrom<T>,
{
    let wide = |size: T| u64::try_from(size).unwrap_or(u64::MAX);
    let range = wide(*range.start())..=wide(*range.end());
    let before = *field;
    table.set(key, field, problems, |text| {
        values::size(text, &range, "1MiB").map(|size| T::try_from(size).unwrap_or(before))
    });
}
