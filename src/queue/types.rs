//! The words that the queue's parts share.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::reading::{Body, Uid};
use crate::status::{DeadLetters, Dropped};

use super::ranges::Ranges;

/// Where the link to a board resumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resume {
    /// The number of the next reading that we have not taken yet.
    pub next: u32,
    /// The board's own count of dropped readings when we last heard it.
    pub dropped: u32,
}

impl Resume {
    /// Behind the reading numbered `seq`.
    #[must_use]
    pub fn after(seq: u32, dropped: u32) -> Self {
        Self { next: seq.wrapping_add(1), dropped }
    }
}

/// What made an entry safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Safe {
    /// Every bridge that wants it has it acknowledged.
    Delivered,
    /// It is on disk, and the disk has said so.
    Durable,
}

/// The memory is full and the disk does not take its content: nothing was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the queue is full")]
pub struct Full;

/// One entry, handed to a bridge.
#[derive(Clone, Debug, PartialEq)]
pub struct Taken {
    /// Where it stands in the queue; rises with every entry.
    pub position: u64,
    /// What it is.
    pub body: Arc<Body>,
    /// It waited instead of being sent at once: on disk, in memory, or on its board.
    pub late: bool,
}

/// What gives way at the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// The oldest chunks.
    DropOldest,
    /// What comes new.
    DropNewest,
    /// Readings from in between; see [`super::store`].
    Thin,
}

/// How much there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// What entries may take in the file, in bytes.
    pub bytes: u64,
    /// Entries that count in the ledger.
    pub readings: Option<u64>,
}

/// The settings of a queue.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long an entry may stay in memory only, in microseconds.
    pub commit_within_us: i64,
    /// Hand out only what is committed.
    pub commit_first: bool,
    /// How many bytes may be held in memory.
    pub memory_bytes: usize,
    /// How many bytes of committed entries stay in memory for bridges that keep up.
    pub cache_bytes: usize,
    /// Refuse new entries, rather than evict old ones, when so much is there.
    pub keep_oldest: Option<Room>,
    /// The bridges that want events, one bit each.
    pub event_wants: u32,
    /// The bridges that get what is live before what waits, one bit each.
    pub live_first: u32,
}

/// The counters. `accepted = delivered + dropped + waiting` because `waiting` is what is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Taken.
    pub accepted: u64,
    /// Acknowledged by every bridge that wants them.
    pub delivered: u64,
    /// Given up.
    pub dropped: Dropped,
}

impl Ledger {
    /// Adds what another ledger counted.
    pub fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.delivered += other.delivered;
        self.dropped.add(&other.dropped);
    }

    /// What waits.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.accepted.saturating_sub(self.delivered + self.dropped.total())
    }
}

/// What was found in the file when it was opened.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The first position that was never given away.
    pub next_position: u64,
    /// One cursor per bridge, in the order of the configuration.
    pub cursors: Vec<u64>,
    /// What each bridge is done with beyond its cursor.
    pub done: Vec<Ranges>,
    /// The counters.
    pub ledger: Ledger,
    /// Where the links to boards resume.
    pub boards: BTreeMap<(Uid, u32), Resume>,
    /// The highest position in a chunk, while there is one.
    pub on_disk: Option<u64>,
    /// How far damaged files had been read, by their names.
    pub salvaged: Vec<(String, u64)>,
}

/// Positions from here on are for the time in which nobody knows what stands in the file. They lie
/// above all others, so that what is said of one of them later cannot be taken for another entry.
pub const UNOPENED: u64 = 1 << 62;

impl Found {
    /// What is known while the file cannot be opened: nothing.
    #[must_use]
    pub fn unopened(bridges: usize) -> Self {
        Self { next_position: UNOPENED, cursors: vec![UNOPENED; bridges], ..Self::default() }
    }
}

/// What the storage thread last saw of the file.
#[derive(Clone, Copy, Debug, Default)]
pub struct File {
    /// Bytes in use.
    pub bytes: u64,
    /// Bytes of the file, used or not.
    pub size: u64,
    /// When its oldest entry was taken, on the present boot's clock.
    pub oldest: Option<i64>,
    /// Bytes that the storage thread has written since the start.
    pub written: u64,
    /// The dead letters in it.
    pub letters: DeadLetters,
}
