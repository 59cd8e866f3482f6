//! Readings that were given up and not yet told of.

use std::collections::BTreeMap;

use crate::reading::{DeviceName, EventKind, GapReason};

/// Whose readings, and why they are gone.
pub type Key = (DeviceName, GapReason);

/// A range of a device's numbers, and how many of them were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    from_seq: u64,
    to_seq: u64,
    lost: u64,
}

impl Gap {
    /// The event that tells of it.
    #[must_use]
    pub fn event(&self, (device, reason): &Key) -> EventKind {
        EventKind::Gap {
            device: device.clone(),
            from_seq: self.from_seq,
            to_seq: self.to_seq,
            lost: self.lost,
            reason: *reason,
        }
    }
}

/// At most one gap per device and reason: neighbours melt into one until they are told.
#[derive(Debug, Default)]
pub struct Gaps(BTreeMap<Key, Gap>);

impl Gaps {
    /// Adds one lost reading.
    pub fn add(&mut self, device: &DeviceName, reason: GapReason, seq: u64) {
        let fresh = Gap { from_seq: seq, to_seq: seq, lost: 0 };
        let gap = self.0.entry((device.clone(), reason)).or_insert(fresh);
        gap.from_seq = gap.from_seq.min(seq);
        gap.to_seq = gap.to_seq.max(seq);
        gap.lost += 1;
    }

    /// One of those to be told.
    #[must_use]
    pub fn first(&self) -> Option<(Key, Gap)> {
        self.0.first_key_value().map(|(key, gap)| (key.clone(), *gap))
    }

    /// It was told.
    pub fn remove(&mut self, key: &Key) {
        self.0.remove(key);
    }
}
