//! What the queue knows and decides, with no file, no clock and no lock of its own.
//!
//! ```text
//!             positions ─────────────────────────────────────────────>
//!   done, deleted │ on disk, in chunks          │ held in memory      │ next
//!                 ^ oldest cursor               ^ held.base
//! ```
//! Every entry gets the next *position*. It is held in memory until either every bridge that wants
//! it has it acknowledged, or it is part of a committed chunk; whichever comes first makes it safe
//! and resolves its ticket. Positions only order the queue; they name nothing outside it.
//!
//! Callers lock, call, unlock; [`Core::next_job`] tells the storage thread what to do and
//! [`Core::finished`] takes the outcome. Time is microseconds of the boot clock.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use crate::reading::{Body, Epoch, GapReason, MessageId, Uid};

use super::cursor::{Cursor, Order};
use super::gaps::Gaps;
use super::held::Held;
use super::operate::Operator;
use super::ranges::Ranges;
use super::types::{File, Found, Full, Ledger, Resume, Safe, Settings};

mod bridges;
mod disk;
mod opening;
mod operate;
mod report;
mod salvage;
mod storage;

use disk::{Disk, Trouble};
use salvage::{Owed, owed_since};

/// Commit as soon as so much is held that was not committed, in bytes.
pub const COMMIT_BYTES: usize = 64 * 1024;
/// Save cursors after so many acknowledgements of entries on disk: as many may be sent twice after
/// a crash.
pub const SAVE_AFTER: u32 = 500;
/// Save cursors so long after an acknowledgement of an entry on disk, in microseconds.
pub const SAVE_WITHIN_US: i64 = 5_000_000;
/// Save counters and board numbers so long after they changed, in microseconds.
pub const SAVE_IDLE_US: i64 = 600_000_000;
/// With `when_full: drop_newest`, events may take so much more than readings, in bytes: they tell of
/// what is dropped.
pub const EVENT_BYTES: u64 = 16 * 1024;
/// A save waits so long for a commit that it can be part of, in microseconds.
pub const SAVE_WAITS_US: i64 = 250_000;
/// The file is made smaller from this size on, in bytes …
pub const COMPACT_FROM: u64 = 4 * 1024 * 1024;
/// … when its content takes no more than this, in bytes: so much is written for it.
pub const COMPACT_CONTENT: u64 = 1024 * 1024;
/// And when that has been so for this time, in microseconds.
pub const COMPACT_AFTER_US: i64 = 10_000_000;
/// Every so many commits at the latest cursors, counters and board numbers are saved along: opening
/// reads as many commits to find the boards' numbers.
pub const COMMITS_PER_SAVE: u32 = 64;

/// The queue's state. `T` is what a caller hangs on an entry to learn that it is safe.
#[derive(Debug)]
pub struct Core<T> {
    settings: Settings,
    start: Uuid,
    named: u64,
    held: Held<T>,
    cursors: Vec<Cursor>,
    ledger: Ledger,
    boards: BTreeMap<(Uid, u32), Resume>,
    boards_unsaved: BTreeMap<(Uid, u32), Resume>,
    /// The file has the boards' numbers of all readings below this position.
    boards_upto: u64,
    gaps: Gaps,
    /// Given up by one bridge while another still wants them, and why.
    refused: BTreeMap<u64, GapReason>,
    /// What the file was told that all bridges are done with, beyond the prefix of all.
    deleted: Ranges,
    /// Damaged files that are being read.
    owed: Vec<Owed>,
    disk: Disk,
    /// What the disk said when it was last asked to give something back, while it does not.
    unreadable: Option<Trouble>,
    /// Highest position in a chunk, while there is one.
    disk_last: Option<u64>,
    /// Entries being committed are below this position.
    committing: u64,
    unsaved_acks: u32,
    unsaved_commits: u32,
    save_due: Option<i64>,
    /// When the file is to be made as small as its content.
    compact_at: Option<i64>,
    full: bool,
    stopping: Stopping,
    /// Since when the storage thread has been at its present job.
    busy_since: Option<i64>,
    safe: Vec<(T, Safe)>,
    commits: u64,
    file: File,
    operator: Operator,
}

/// How far the queue is with its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopping {
    No,
    /// All that is held is to be committed. What is being written now has only a part of it.
    CommitAll,
    /// All that is held is being committed.
    CommittingAll,
    /// Once more, to tell what the commit before has cost.
    CommitLast,
    Done,
}

impl<T> Core<T> {
    /// A queue that goes on from what was found on disk. `start` names this start of the daemon.
    #[must_use]
    pub fn new(settings: Settings, start: Uuid, found: Found) -> Self {
        Self {
            settings,
            start,
            named: 0,
            held: Held::new(found.next_position),
            cursors: cursors_of(&settings, found.cursors, found.done),
            ledger: found.ledger,
            // What was found in chunks must be in the table before it counts as such.
            boards_unsaved: found.boards.clone(),
            boards: found.boards,
            boards_upto: 0,
            gaps: Gaps::default(),
            refused: BTreeMap::new(),
            deleted: Ranges::default(),
            owed: owed_since(found.salvaged),
            disk: Disk::Well,
            unreadable: None,
            disk_last: found.on_disk,
            committing: found.next_position,
            unsaved_acks: 0,
            unsaved_commits: 0,
            save_due: None,
            compact_at: None,
            full: false,
            stopping: Stopping::No,
            busy_since: None,
            safe: Vec::new(),
            commits: 0,
            file: File::default(),
            operator: Operator::default(),
        }
    }

    /// A queue whose file cannot be opened now, for the reason in `error`. It holds what comes in
    /// memory and asks for the file again and again.
    #[must_use]
    pub fn unopened(settings: Settings, start: Uuid, bridges: usize, error: String, now: i64) -> Self {
        let disk = Disk::Unopened(Trouble::new(None, error, now));
        Self { disk, ..Self::new(settings, start, Found::unopened(bridges)) }
    }

    // === The side of ports and LAN clients ===

    /// A fresh id for something without numbers of its own.
    pub fn name(&mut self) -> MessageId {
        let n = self.named;
        self.named += 1;
        MessageId::Gateway { boot: self.start, n }
    }

    /// Takes an entry that the bridges of the bit set `wants` are to get.
    ///
    /// # Errors
    /// [`Full`] when there is no room; nothing was taken then and `ticket` is gone.
    pub fn push(&mut self, body: Arc<Body>, wants: u32, ticket: Option<T>, now: i64) -> Result<(), Full> {
        if wants != 0 && (self.keeps_oldest(&body) || !self.make_room(&body, ticket.is_some(), now)) {
            return Err(Full);
        }
        self.note_board(&body, now);
        let counts = u64::from(body.counts());
        self.ledger.accepted += counts;
        if wants == 0 {
            self.ledger.delivered += counts;
            self.safe.extend(ticket.map(|ticket| (ticket, Safe::Delivered)));
        } else {
            self.held.push(body, wants, ticket, now + self.settings.commit_within_us);
        }
        Ok(())
    }

    /// Whether `body` must not come in, so that what is there can stay.
    fn keeps_oldest(&self, body: &Body) -> bool {
        let Some(room) = self.settings.keep_oldest else { return false };
        let counts = body.counts();
        let bytes = if counts { room.bytes } else { room.bytes + EVENT_BYTES };
        let left = usize::try_from(bytes.saturating_sub(self.file.bytes)).unwrap_or(usize::MAX);
        let many = room.readings.is_some_and(|most| self.ledger.waiting() >= most);
        (counts && (self.full || many)) || !self.held.has_room(body, left)
    }

    /// Sees that `body` fits in memory. Who hears whether it is safe can keep it and try again; for
    /// others the oldest of their kind give way, unless the oldest are to be kept.
    fn make_room(&mut self, body: &Body, ticketed: bool, now: i64) -> bool {
        while !self.held.has_room(body, self.settings.memory_bytes) {
            if ticketed || self.settings.keep_oldest.is_some() || !body.counts() {
                return false;
            }
            let cursors = &self.cursors;
            let idle = |position| !cursors.iter().any(|cursor| cursor.is_out(position));
            let Some(given_up) = self.held.give_up_oldest(idle) else { return false };
            self.ledger.dropped.full += 1;
            self.gaps.add(&given_up, GapReason::Full, now);
        }
        true
    }

    /// Counts an entry that found no room, and tells of it as soon as there is some.
    pub fn refuse(&mut self, body: &Body, now: i64) {
        if body.counts() {
            self.ledger.accepted += 1;
            self.ledger.dropped.full += 1;
            self.save_by(now + SAVE_WITHIN_US);
        }
        self.gaps.add(body, GapReason::Full, now);
    }

    /// Where the link to a board resumes; `None` for a boot of it that we never saw.
    #[must_use]
    pub fn resume(&self, uid: &Uid, boot: u32) -> Option<Resume> {
        self.boards.get(&(uid.clone(), boot)).copied()
    }

    /// Sets where the link to a board resumes; saved with the next commit.
    pub fn set_resume(&mut self, uid: &Uid, boot: u32, resume: Resume, now: i64) {
        if self.change_resume(uid, boot, resume, now) {
            self.unsaved_commits = COMMITS_PER_SAVE;
        }
    }

    fn change_resume(&mut self, uid: &Uid, boot: u32, resume: Resume, now: i64) -> bool {
        let key = (uid.clone(), boot);
        let changed = self.boards.insert(key.clone(), resume) != Some(resume);
        if changed {
            self.boards_unsaved.insert(key, resume);
            self.save_by(now + SAVE_IDLE_US);
        }
        changed
    }

    /// A reading's own number need not be saved: it stands in the chunk.
    fn note_board(&mut self, body: &Body, now: i64) {
        let Body::Reading(reading) = body else { return };
        if matches!(reading.at.epoch, Epoch::Wall { .. }) {
            // It came out of a file: that says nothing of where the board is now.
            return;
        }
        let MessageId::Board { uid, boot, seq } = &reading.id else { return };
        let dropped = self.resume(uid, *boot).map_or(0, |resume| resume.dropped);
        self.change_resume(uid, *boot, Resume::after(*seq, dropped), now);
    }

    /// Whether the queue is being closed.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping != Stopping::No
    }

    /// Whether the last commits are to be done.
    fn is_closing(&self) -> bool {
        !matches!(self.stopping, Stopping::No | Stopping::Done)
    }

    /// The storage thread is gone: nothing becomes safe any more, and who waits for it must hear so.
    pub fn abandon(&mut self) {
        self.stopping = Stopping::Done;
        self.held.drop_tickets();
    }

    /// Tickets of entries that have become safe since the last call.
    pub fn take_safe(&mut self) -> Vec<(T, Safe)> {
        std::mem::take(&mut self.safe)
    }

    fn note_ack(&mut self, now: i64) {
        self.unsaved_acks += 1;
        let within = if self.disk_last.is_none() {
            SAVE_IDLE_US
        } else if self.unsaved_acks >= SAVE_AFTER {
            0
        } else {
            SAVE_WITHIN_US
        };
        self.save_by(now + within);
    }

    /// Saves as soon as the disk is free.
    pub fn save_soon(&mut self, now: i64) {
        self.save_by(now);
    }

    fn save_by(&mut self, due: i64) {
        self.save_due = Some(self.save_due.map_or(due, |earlier| earlier.min(due)));
    }
}

/// The bridges' places, from what the file knows of them.
fn cursors_of(settings: &Settings, prefixes: Vec<u64>, mut done: Vec<Ranges>) -> Vec<Cursor> {
    done.resize(prefixes.len(), Ranges::default());
    let places = prefixes.into_iter().zip(done).enumerate();
    places
        .map(|(index, (prefix, done))| {
            let live_first = settings.live_first & (1 << index) != 0;
            Cursor::new(if live_first { Order::LiveFirst } else { Order::Oldest }, prefix, done)
        })
        .collect()
}
