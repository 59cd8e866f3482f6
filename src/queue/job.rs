//! What the queue's core asks of the storage thread, and what comes back.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::queue::letters::Posted;
use crate::queue::operate::{Task, Work};
use crate::queue::ranges::Ranges;
use crate::queue::types::{Found, Resume};
use crate::reading::{Body, GapReason, Uid};
use crate::status::Dropped;

/// What the storage thread is to do.
#[derive(Debug)]
pub enum Next {
    /// This, now.
    Do(Job),
    /// Nothing before that moment, unless somebody calls.
    WaitUntil(i64),
    /// Nothing, until somebody calls.
    Wait,
    /// Nothing any more.
    Stop,
}

/// A piece of work with the file.
#[derive(Debug)]
pub enum Job {
    /// Open the file, which could not be opened before.
    Open,
    /// Make these entries durable (perhaps none) and save the rest along with them.
    Commit {
        /// Position and body, in order.
        entries: Vec<(u64, Arc<Body>)>,
        /// Cursors and counters.
        save: Save,
    },
    /// Save cursors and counters; losing this costs duplicates at most, so it need not be synced.
    Save(Save),
    /// Give the space that a backlog took back to the file system.
    Compact,
    /// Read entries from `from` on.
    Load {
        /// Who asks.
        bridge: usize,
        /// The first position of interest.
        from: u64,
    },
    /// Do something that an operator asked for.
    Operate {
        /// Which of the requests.
        id: u64,
        /// What to do.
        task: Task,
    },
}

/// What goes into the file besides entries.
#[derive(Clone, Debug, Default)]
pub struct Save {
    /// All below this position is done with everywhere.
    pub done_below: u64,
    /// And so is this, beyond it.
    pub done_ahead: Ranges,
    /// See [`super::types::Ledger`].
    pub dropped: Dropped,
    /// What becomes a dead letter.
    pub letters: Posted,
    /// What need not be written each time.
    pub marks: Option<Box<Marks>>,
}

/// What a crash may set back a little: copies are sent, and numbers are found again in the chunks.
#[derive(Clone, Debug)]
pub struct Marks {
    /// Chunks that end below this position are not needed any more: neither their entries, nor the
    /// boards' numbers in them.
    pub delete_below: u64,
    /// Chunks within these need not stay either; the file was not told of them before.
    pub delete_within: Vec<(u64, u64)>,
    /// First position that is not done, per bridge.
    pub cursors: Vec<u64>,
    /// What is done beyond it, per bridge: as much of that as is to be remembered.
    pub done: Vec<Vec<(u64, u64)>>,
    /// See [`super::types::Ledger`].
    pub delivered: u64,
    /// The boards' numbers, where they may be written.
    pub boards: Option<Boards>,
}

/// The boards' numbers as of a moment in which all that they speak of is durable or delivered.
#[derive(Clone, Debug)]
pub struct Boards {
    /// Those that changed.
    pub changed: BTreeMap<(Uid, u32), Resume>,
    /// The numbers are those of all readings below this position.
    pub upto: u64,
    /// How far damaged files have been read, by their names: what stood in them below these positions has come back.
    pub salvaged: Vec<(String, u64)>,
}

impl Save {
    /// Whether all bridges are done with `position`.
    #[must_use]
    pub fn is_done(&self, position: u64) -> bool {
        position < self.done_below || self.done_ahead.contains(position)
    }
}

/// What came of a job.
#[derive(Debug)]
pub enum Outcome {
    /// The file is open at last. The job that was asked for is still to be done, unless it was that.
    Opened {
        /// What was asked.
        job: Job,
        /// What stands in it.
        found: Found,
        /// What was wrong with the one that was there, if it had to be set aside.
        damage: Option<Damage>,
    },
    /// The entries are durable.
    Committed {
        /// The highest position in a chunk now, if there is one.
        last: Option<u64>,
        /// Chunks that had to go to make room.
        evicted: Vec<Evicted>,
        /// The file is at its limit.
        full: bool,
    },
    /// Cursors and counters are in the file.
    Saved {
        /// The highest position in a chunk now, if there is one.
        last: Option<u64>,
        /// Chunks that were too old.
        evicted: Vec<Evicted>,
        /// The file is at its limit.
        full: bool,
    },
    /// The file is as small as its content.
    Compacted,
    /// Entries were read.
    Loaded {
        /// Who asked.
        bridge: usize,
        /// What was there.
        loaded: Loaded,
    },
    /// What an operator asked for was done, or could not be.
    Operated {
        /// Which of the requests.
        id: u64,
        /// What came of it.
        work: Result<Work, String>,
    },
    /// The disk refused; nothing has changed.
    Failed {
        /// What was asked.
        job: Job,
        /// What the disk said.
        error: String,
    },
    /// The file was damaged. It was set aside and a new, empty one was begun; the job was not done.
    Replaced {
        /// The job that met the damage.
        job: Job,
        /// What was wrong.
        damage: Damage,
    },
}

/// A file that was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Its new name.
    pub path: String,
    /// What was wrong with it.
    pub reason: String,
}

/// What a damaged file has given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Salvaged {
    /// Where it is.
    pub path: String,
    /// Readings that came back.
    pub recovered: u64,
    /// Readings that it had and that did not come back, as far as that can be told from it.
    pub missing: u64,
}

/// Entries read from disk.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Position and body, in order.
    pub entries: Vec<(u64, Arc<Body>)>,
    /// All below this position was looked at; `None`: there is nothing more on disk.
    pub covered_to: Option<u64>,
    /// Readings in chunks that could not be read and were removed.
    pub corrupt: u64,
}

/// A chunk that was given up, as a whole or in part.
#[derive(Clone, Debug)]
pub struct Evicted {
    /// Nothing below this position is there any more; 0 for a chunk that was only thinned.
    pub gone_below: u64,
    /// Why.
    pub reason: GapReason,
    /// What was given up, by position.
    pub entries: Vec<(u64, Arc<Body>)>,
    /// Readings in it that could not be read.
    pub unreadable: u64,
}
