//! `queue`: the store-and-forward queue.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::read::{Problems, Table, Wrong};
use super::values;

/// Smallest and largest `max_size`, in bytes. A quarter of it, 4 MiB at most, is the write-ahead
/// log.
pub const MAX_SIZE: RangeInclusive<u64> = 1 << 20..=1 << 40;

/// Shortest and longest `commit_within`. Below, the disk does nothing else; above, a power cut
/// costs more than people expect.
pub const COMMIT_WITHIN: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60);

/// Shortest and longest `max_age`.
pub const MAX_AGE: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(3650 * 24 * 60 * 60);

/// Smallest and largest `max_readings`. One commit may bring some hundred.
pub const MAX_READINGS: RangeInclusive<u64> = 1000..=1_000_000_000_000;

/// Smallest and largest `dead_letters`, in bytes; 0 switches them off.
pub(super) const DEAD_LETTERS: RangeInclusive<u64> = 0..=1 << 30;

/// The store-and-forward queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// The SQLite file; its log files lie beside it.
    pub path: PathBuf,
    /// When a reading may leave for the cloud.
    pub durability: Durability,
    /// No reading stays in memory only for longer than this.
    pub commit_within: Duration,
    /// Largest size on disk, in bytes, log included.
    pub max_size: u64,
    /// Readings older than this are dropped.
    pub max_age: Duration,
    /// The most readings and messages in the file; `None`: as many as fit.
    pub max_readings: Option<u64>,
    /// What to do at `max_size` or `max_readings`.
    pub when_full: WhenFull,
    /// How much is kept of what bridges can never deliver, in bytes of the file; 0: nothing.
    pub dead_letters: u64,
}

/// When a reading may leave for the cloud.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// At once; it is committed only if the cloud has not acknowledged it within `commit_within`.
    #[default]
    Late,
    /// Only after it is committed.
    Always,
}

/// What to do with a full queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// Drop the oldest readings for new ones.
    #[default]
    DropOldest,
    /// Keep what is there and drop new readings.
    DropNewest,
    /// Drop readings from in between, the more the older they are.
    Thin,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            path: PathBuf::from("/var/lib/serialgate/queue.db"),
            durability: Durability::default(),
            commit_within: Duration::from_millis(250),
            max_size: 1 << 30,
            max_age: Duration::from_secs(30 * 24 * 60 * 60),
            max_readings: None,
            when_full: WhenFull::default(),
            dead_letters: 16 << 20,
        }
    }
}

impl Queue {
    pub(super) fn read(root: &mut Table<'_>, problems: &mut Problems) -> Self {
        let mut queue = Self::default();
        let Some(node) = root.node("queue") else { return queue };
        let Some(mut table) = Table::open("`queue`", node, problems) else { return queue };
        table.set("path", &mut queue.path, problems, values::file);
        table.set("durability", &mut queue.durability, problems, durability);
        table.set("commit_within", &mut queue.commit_within, problems, |text| {
            values::duration(text, &COMMIT_WITHIN, "250ms")
        });
        table.set("max_size", &mut queue.max_size, problems, |text| values::size(text, &MAX_SIZE, "1GiB"));
        table.set("max_age", &mut queue.max_age, problems, |text| values::duration(text, &MAX_AGE, "30d"));
        table.set("max_readings", &mut queue.max_readings, problems, |text| {
            values::number(text, MAX_READINGS, "100000").map(Some)
        });
        table.set("when_full", &mut queue.when_full, problems, when_full);
        table.set("dead_letters", &mut queue.dead_letters, problems, |text| {
            if text == "0" { Ok(0) } else { values::size(text, &DEAD_LETTERS, "16MiB") }
        });
        table.close(&[], problems);
        queue
    }
}

fn durability(text: &str) -> Result<Durability, Wrong> {
    match text {
        "late" => Ok(Durability::Late),
        "always" => Ok(Durability::Always),
        other => Err(Wrong::choice(other, &["late", "always"])),
    }
}

fn when_full(text: &str) -> Result<WhenFull, Wrong> {
    match text {
        "drop_oldest" => Ok(WhenFull::DropOldest),
        "drop_newest" => Ok(WhenFull::DropNewest),
        "thin" => Ok(WhenFull::Thin),
        other => Err(Wrong::choice(other, &["drop_oldest", "drop_newest", "thin"])),
    }
}
