//! What operators ask of the queue: look, give up, check. Each request is done in slices, between the
//! other jobs of the storage thread, so that a backlog of millions holds nothing up.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::reading::{Body, DeviceName};

use super::job::Save;
use super::letters::Letter;

/// A slice gathers chunks until it has so many entries …
pub const SLICE_ENTRIES: usize = 1000;
/// … or has read so many packed bytes.
pub const SLICE_BYTES: usize = 256 * 1024;
/// Most bad chunks that are told one by one.
pub const BAD_MAX: usize = 1000;
/// Most dead letters that are taken out at a time: each may be some pages.
pub const LETTERS_DROPPED_MAX: usize = 64;
/// Most requests at a time.
pub const REQUESTS_MAX: usize = 32;

/// A piece of work for an operator.
#[derive(Clone, Debug)]
pub enum Task {
    /// Read entries.
    Read {
        /// The bridge that they wait for; else any.
        bridge: Option<usize>,
        /// The first position of interest.
        from: u64,
    },
    /// Give entries up.
    Purge(Purge),
    /// Check chunks.
    Verify {
        /// The chunk that was checked last.
        after: Option<u64>,
    },
    /// Read dead letters.
    Letters {
        /// The one that was read last.
        after: Option<u64>,
    },
    /// Take these dead letters out.
    DropLetters {
        /// Their numbers, at most [`LETTERS_DROPPED_MAX`].
        numbers: Vec<u64>,
    },
}

/// How far a purge is.
#[derive(Clone, Debug)]
pub struct Purge {
    /// Which entries go.
    pub which: Which,
    /// All below this position was looked at.
    pub from: u64,
    /// Entries from here on came later, and stay.
    pub end: u64,
    /// What all bridges are done with: that is counted as delivered.
    pub save: Save,
    /// Entries given up so far that count in the ledger.
    pub purged: u64,
}

/// Which entries an operator means. Events are never among them: they tell of what was lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Which {
    /// Only what is older than this, in microseconds of running time.
    pub older_than_us: Option<i64>,
    /// Only readings of this device.
    pub device: Option<DeviceName>,
}

impl Which {
    /// Whether `body`, which is so old, is among them.
    #[must_use]
    pub fn takes(&self, body: &Body, age_us: i64) -> bool {
        let old = self.older_than_us.is_none_or(|limit| age_us > limit);
        let theirs = match (&self.device, body) {
            (_, Body::Event(_)) | (Some(_), Body::Message(_)) => false,
            (None, Body::Reading(_) | Body::Message(_)) => true,
            (Some(device), Body::Reading(reading)) => reading.device == *device,
        };
        old && theirs
    }
}

/// What came of a slice.
#[derive(Debug)]
pub enum Work {
    /// Entries on disk, whether they still wait or not.
    Read {
        /// The bridge that they are to wait for.
        bridge: Option<usize>,
        /// What was there; `next` is `None` when there is nothing more on disk.
        slice: Slice,
        /// All below this position was looked at.
        covered_to: u64,
    },
    /// Entries were taken out of the file.
    Purged {
        /// How far that is; its `purged` is not yet brought up to date.
        purge: Purge,
        /// What is gone.
        removed: Vec<(u64, Arc<Body>)>,
        /// The highest position in a chunk now.
        last: Option<u64>,
        /// Whether all chunks have been looked at.
        finished: bool,
    },
    /// Chunks were checked.
    Verified(Checked),
    /// Dead letters.
    Letters(LetterSlice),
    /// So many dead letters were taken out.
    LettersDropped(u64),
}

/// What an operator is told.
#[derive(Debug)]
pub enum Reply {
    /// Entries that wait.
    Read(Slice),
    /// So many entries that count in the ledger were given up.
    Purged(u64),
    /// Chunks were checked.
    Verified(Checked),
    /// Dead letters.
    Letters(LetterSlice),
    /// So many dead letters were taken out.
    LettersDropped(u64),
}

/// Some dead letters, the oldest first.
#[derive(Debug, Default)]
pub struct LetterSlice {
    /// Each with its number.
    pub letters: Vec<(u64, Letter)>,
    /// The highest number that was ever given.
    pub newest: u64,
    /// The number to go on after; `None` at the end.
    pub next: Option<u64>,
}

/// Why an operator gets no reply: in words.
pub type Answer = Result<Reply, String>;

/// Some entries that wait, in order.
#[derive(Debug, Default)]
pub struct Slice {
    /// The entries.
    pub entries: Vec<Waiting>,
    /// Where to go on; `None` at the end.
    pub next: Option<u64>,
    /// Chunks that could not be read.
    pub bad: Vec<Bad>,
}

/// An entry that waits.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// Where it stands in the queue.
    pub position: u64,
    /// What it is.
    pub body: Arc<Body>,
    /// How old it is, in microseconds of running time.
    pub age_us: i64,
}

/// What is wrong with a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    /// The chunk's first position.
    pub position: u64,
    /// What is wrong, in words.
    pub what: String,
}

/// Chunks that were checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// How many.
    pub chunks: u64,
    /// Entries in them that count in the ledger.
    pub readings: u64,
    /// Their packed size, in bytes.
    pub bytes: u64,
    /// How many of them are bad.
    pub bad_chunks: u64,
    /// What is wrong, of the first [`BAD_MAX`] of them.
    pub bad: Vec<Bad>,
    /// The chunk that was checked last, if there are more.
    pub next: Option<u64>,
}

impl Checked {
    /// What is left to say where reading ends for good at `position`.
    #[must_use]
    pub fn broken(position: u64, what: String) -> Self {
        Self { bad_chunks: 1, bad: vec![Bad { position, what }], ..Self::default() }
    }

    /// Adds what came of the following slice.
    pub fn add(&mut self, more: Self) {
        self.chunks += more.chunks;
        self.readings += more.readings;
        self.bytes += more.bytes;
        self.bad_chunks += more.bad_chunks;
        let room = BAD_MAX.saturating_sub(self.bad.len());
        self.bad.extend(more.bad.into_iter().take(room));
        self.next = more.next;
    }
}

/// The requests, and what operators have switched.
#[derive(Debug, Default)]
pub struct Operator {
    /// Bridges that are held, one bit each.
    pub paused: u32,
    /// What is held is to be committed without delay.
    pub hurry: bool,
    /// Dead letters that were put back into the queue, by bridge.
    pub retried: BTreeMap<usize, u64>,
    tasks: VecDeque<(u64, Task)>,
    answers: Vec<(u64, Answer)>,
    asked: u64,
    /// The last job was an operator's: another one's turn comes first.
    had_turn: bool,
}

impl Operator {
    /// Takes a request; gives its number, or `None` when there are too many.
    pub fn ask(&mut self, task: Task) -> Option<u64> {
        if self.tasks.len() >= REQUESTS_MAX {
            return None;
        }
        self.asked += 1;
        self.tasks.push_back((self.asked, task));
        Some(self.asked)
    }

    /// The request whose turn it is.
    #[must_use]
    pub fn first(&self) -> Option<&Task> {
        self.tasks.front().map(|(_, task)| task)
    }

    /// Takes it out, to be done now.
    pub fn begin(&mut self) -> Option<(u64, Task)> {
        self.had_turn = true;
        self.tasks.pop_front()
    }

    /// Puts back one that needs another slice.
    pub fn go_on(&mut self, id: u64, task: Task) {
        self.tasks.push_front((id, task));
    }

    /// Whether others must have a turn first, if they have something to do. Asked once per turn.
    pub fn gives_way(&mut self) -> bool {
        std::mem::take(&mut self.had_turn)
    }

    /// Takes out the purges: the disk does not take our writes.
    pub fn refuse_purges(&mut self, error: &str) {
        let tasks = std::mem::take(&mut self.tasks);
        let (purges, rest): (VecDeque<_>, _) =
            tasks.into_iter().partition(|(_, task)| matches!(task, Task::Purge(_)));
        self.tasks = rest;
        purges.into_iter().for_each(|(id, _)| self.answer(id, Err(error.to_owned())));
    }

    /// Answers a request.
    pub fn answer(&mut self, id: u64, answer: Answer) {
        self.answers.push((id, answer));
    }

    /// The answers since the last call.
    pub fn take_answers(&mut self) -> Vec<(u64, Answer)> {
        std::mem::take(&mut self.answers)
    }
}
