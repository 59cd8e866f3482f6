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

use crate::reading::{Body, DeviceName, Event, EventKind, GapReason, MessageId, Stamp, Uid};
use crate::status::{self, Dropped, QueueState};

use super::cursor::{Cursor, Mark};
use super::held::Held;
use super::job::{Evicted, Job, Loaded, Next, Outcome, Save};

/// Commit as soon as so much is held that was not committed, in bytes.
pub const COMMIT_BYTES: usize = 64 * 1024;
/// Save cursors after so many acknowledgements of entries on disk: as many may be sent twice after
/// a crash.
pub const SAVE_AFTER: u32 = 500;
/// Save cursors so long after an acknowledgement of an entry on disk, in microseconds.
pub const SAVE_WITHIN_US: i64 = 1_000_000;
/// Save counters and board numbers so long after they changed, in microseconds.
pub const SAVE_IDLE_US: i64 = 60_000_000;
/// First and longest wait before the disk is tried again, in microseconds.
pub const RETRY_US: (i64, i64) = (1_000_000, 30_000_000);

/// Where the link to a board resumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resume {
    /// The number of the next reading that we have not taken yet.
    pub next: u32,
    /// The board's own count of dropped readings when we last heard it.
    pub dropped: u32,
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
    /// It waited on disk for its bridge.
    pub late: bool,
}

/// The settings of a queue.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The present boot's row.
    pub boot: u32,
    /// How long an entry may stay in memory only, in microseconds.
    pub commit_within_us: i64,
    /// Hand out only what is committed.
    pub commit_first: bool,
    /// How many bytes may be held in memory.
    pub memory_bytes: usize,
    /// How many bytes of committed entries stay in memory for bridges that keep up.
    pub cache_bytes: usize,
    /// Refuse new entries, rather than evict old ones, when the file is full.
    pub keep_oldest: bool,
    /// The bridges that want events, one bit each.
    pub event_wants: u32,
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
    /// The counters.
    pub ledger: Ledger,
    /// Where the links to boards resume.
    pub boards: BTreeMap<(Uid, u32), Resume>,
    /// The highest position in a chunk, while there is one.
    pub on_disk: Option<u64>,
}

/// Readings of one device that were given up and not yet told of.
#[derive(Clone, Copy, Debug)]
struct Gap {
    from_seq: u64,
    to_seq: u64,
    lost: u64,
}

/// What the storage thread is doing with the disk.
#[derive(Clone, Debug)]
enum Disk {
    /// It takes our writes.
    Well,
    /// It refused the last one.
    Failing { retry_at: i64, wait_us: i64, error: String },
}

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
    gaps: BTreeMap<(DeviceName, GapReason), Gap>,
    disk: Disk,
    /// Highest position in a chunk, while there is one.
    disk_last: Option<u64>,
    /// Entries being committed are below this position.
    committing: u64,
    unsaved_acks: u32,
    save_due: Option<i64>,
    full: bool,
    stopping: Stopping,
    safe: Vec<(T, Safe)>,
    commits: u64,
    file: File,
}

/// What the storage thread last saw of the file.
#[derive(Clone, Copy, Debug, Default)]
pub struct File {
    /// Bytes in use.
    pub bytes: u64,
    /// When its oldest entry was taken, on the present boot's clock.
    pub oldest: Option<i64>,
    /// Bytes that the storage thread has written since the start.
    pub written: u64,
}

/// How far the queue is with its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopping {
    No,
    CommitAll,
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
            cursors: found.cursors.into_iter().map(Cursor::new).collect(),
            ledger: found.ledger,
            boards: found.boards,
            boards_unsaved: BTreeMap::new(),
            gaps: BTreeMap::new(),
            disk: Disk::Well,
            disk_last: found.on_disk,
            committing: found.next_position,
            unsaved_acks: 0,
            save_due: None,
            full: false,
            stopping: Stopping::No,
            safe: Vec::new(),
            commits: 0,
            file: File::default(),
        }
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
        let refused = self.full && self.settings.keep_oldest && body.counts();
        if wants != 0 && (refused || !self.held.has_room(&body, self.settings.memory_bytes)) {
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

    /// Counts an entry that found no room, and tells of it as soon as there is some.
    pub fn refuse(&mut self, body: &Body) {
        if body.counts() {
            self.ledger.accepted += 1;
            self.ledger.dropped.full += 1;
        }
        if let Body::Reading(reading) = body {
            self.add_gap(&reading.device, GapReason::Full, reading.seq, reading.seq, 1);
        }
    }

    /// Where the link to a board resumes; `None` for a boot of it that we never saw.
    #[must_use]
    pub fn resume(&self, uid: &Uid, boot: u32) -> Option<Resume> {
        self.boards.get(&(uid.clone(), boot)).copied()
    }

    /// Sets where the link to a board resumes; saved with the next transaction.
    pub fn set_resume(&mut self, uid: &Uid, boot: u32, resume: Resume, now: i64) {
        let key = (uid.clone(), boot);
        if self.boards.insert(key.clone(), resume) != Some(resume) {
            self.boards_unsaved.insert(key, resume);
            self.save_by(now + SAVE_IDLE_US);
        }
    }

    fn note_board(&mut self, body: &Body, now: i64) {
        let Body::Reading(reading) = body else { return };
        let MessageId::Board { uid, boot, seq } = &reading.id else { return };
        let dropped = self.resume(uid, *boot).map_or(0, |resume| resume.dropped);
        self.set_resume(uid, *boot, Resume { next: seq.wrapping_add(1), dropped }, now);
    }

    /// Tickets of entries that have become safe since the last call.
    pub fn take_safe(&mut self) -> Vec<(T, Safe)> {
        std::mem::take(&mut self.safe)
    }

    // === The side of bridges ===

    /// Whether [`Core::take`] would give bridge `index` something. Asks for a load where that helps.
    pub fn has_entries(&mut self, index: usize) -> bool {
        let visible = self.visible_end();
        let base = self.held.base();
        self.cursors.get_mut(index).is_some_and(|cursor| cursor.has_entries(base, visible))
    }

    /// The next entries for bridge `index`, at most `max`, in order. `wants` tells whether the
    /// bridge wants an entry that was loaded from disk.
    pub fn take(&mut self, index: usize, max: usize, wants: impl Fn(&Body) -> bool) -> Vec<Taken> {
        let visible = self.visible_end();
        let mut taken = Vec::new();
        while taken.len() < max {
            let Some(cursor) = self.cursors.get_mut(index) else { break };
            if let Some((position, body)) = cursor.next_loaded() {
                let counts = body.counts();
                if wants(&body) {
                    cursor.hand_out(position, counts);
                    taken.push(Taken { position, body, late: true });
                } else {
                    cursor.pass(position);
                    self.settle_on_disk(position, counts);
                }
            } else if cursor.needs_load(self.held.base()) {
                break;
            } else {
                let position = cursor.skip_to(self.held.base());
                if position >= visible {
                    break;
                }
                match self.held.get(position, index) {
                    Some(body) if !cursor.is_done(position) => {
                        cursor.hand_out(position, body.counts());
                        taken.push(Taken { position, body: Arc::clone(body), late: false });
                    }
                    _ => cursor.pass(position),
                }
            }
        }
        taken
    }

    /// Bridge `index` has `position` acknowledged, or can never deliver it.
    pub fn done(&mut self, index: usize, position: u64, now: i64) {
        let Some(Mark { counts }) = self.cursors.get_mut(index).and_then(|c| c.done(position)) else {
            return;
        };
        if let Some(finished) = self.held.done(position, index) {
            if let Some(ticket) = finished {
                self.ledger.delivered += u64::from(counts);
                self.safe.extend(ticket.map(|ticket| (ticket, Safe::Delivered)));
            }
        } else {
            self.settle_on_disk(position, counts);
        }
        self.note_ack(now);
    }

    /// Bridge `index` lost its connection: what was handed out and not done is handed out again.
    pub fn rewind(&mut self, index: usize) {
        if let Some(cursor) = self.cursors.get_mut(index) {
            cursor.rewind();
        }
    }

    /// About how many readings wait for bridge `index` (exact when it is the only one).
    #[must_use]
    pub fn backlog(&self, index: usize) -> u64 {
        let waiting = self.ledger.waiting();
        self.cursors.get(index).map_or(0, |cursor| cursor.open(self.held.end()).min(waiting))
    }

    fn visible_end(&self) -> u64 {
        if self.settings.commit_first { self.held.durable_end() } else { self.held.end() }
    }

    /// Counts an entry on disk as delivered once the last bridge is done with it.
    fn settle_on_disk(&mut self, position: u64, counts: bool) {
        if counts && self.cursors.iter().all(|cursor| cursor.is_done(position)) {
            self.ledger.delivered += 1;
        }
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

    fn save_by(&mut self, due: i64) {
        self.save_due = Some(self.save_due.map_or(due, |earlier| earlier.min(due)));
    }

    // === The side of the storage thread ===

    /// When the storage thread must look again, if nothing else happens; `None` for never.
    #[must_use]
    pub fn wake_at(&self) -> Option<i64> {
        if self.stopping == Stopping::CommitAll || self.cursors.iter().any(Cursor::wants_load) {
            return Some(i64::MIN);
        }
        let mut due = self.held.first_deadline();
        if self.held.volatile_bytes() >= COMMIT_BYTES {
            due = Some(i64::MIN);
        }
        let due = [due, self.save_due].into_iter().flatten().min()?;
        match self.disk {
            Disk::Well => Some(due),
            Disk::Failing { retry_at, .. } => Some(due.max(retry_at)),
        }
    }

    /// What the storage thread is to do now.
    pub fn next_job(&mut self, now: i64) -> Next {
        if self.stopping == Stopping::Done {
            return Next::Stop;
        }
        let blocked = matches!(self.disk, Disk::Failing { retry_at, .. } if retry_at > now);
        let commit = self.held.first_deadline().is_some_and(|due| due <= now)
            || self.held.volatile_bytes() >= COMMIT_BYTES
            || self.stopping == Stopping::CommitAll;
        let save = self.save_due.is_some_and(|due| due <= now);
        if commit && (!blocked || self.stopping == Stopping::CommitAll) {
            self.flush_gaps(now);
            let (entries, end) = self.held.uncommitted();
            self.committing = end;
            return Next::Do(Job::Commit { entries, save: self.save() });
        }
        if let Some(index) = self.cursors.iter().position(Cursor::wants_load) {
            return Next::Do(Job::Load { bridge: index, from: self.cursors[index].begin_load() });
        }
        if save && !blocked {
            return Next::Do(Job::Save(self.save()));
        }
        self.wake_at().map_or(Next::Wait, Next::WaitUntil)
    }

    fn save(&mut self) -> Save {
        self.save_due = None;
        self.unsaved_acks = 0;
        let cursors: Vec<u64> = self.cursors.iter().map(Cursor::prefix).collect();
        Save {
            delete_below: cursors.iter().copied().min().unwrap_or(0),
            cursors,
            delivered: self.ledger.delivered,
            dropped: self.ledger.dropped,
            boards: std::mem::take(&mut self.boards_unsaved),
        }
    }

    /// Takes the outcome of a job.
    pub fn finished(&mut self, outcome: Outcome, now: i64) {
        match outcome {
            Outcome::Committed { last, evicted, full } => {
                self.disk = Disk::Well;
                self.full = full;
                self.disk_last = last;
                self.commits += 1;
                self.forget(evicted);
                let (safe, keep) = (&mut self.safe, self.settings.cache_bytes);
                self.held.committed(self.committing, keep, |ticket| safe.push((ticket, Safe::Durable)));
                if self.stopping == Stopping::CommitAll {
                    self.stopping = Stopping::Done;
                }
            }
            Outcome::Saved { last, evicted, full } => {
                self.disk = Disk::Well;
                self.full = full;
                self.forget(evicted);
                self.disk_last = last;
            }
            Outcome::Loaded { bridge, loaded } => self.loaded(bridge, loaded),
            Outcome::Failed { job, error } => self.failed(job, error, now),
            Outcome::Replaced { path, reason, .. } => self.replaced(path, reason, now),
        }
        self.flush_gaps(now);
    }

    fn loaded(&mut self, bridge: usize, loaded: Loaded) {
        self.lose(loaded.corrupt);
        let base = self.held.base();
        if let Some(cursor) = self.cursors.get_mut(bridge) {
            cursor.loaded(loaded.entries, loaded.covered_to.unwrap_or(base));
        }
    }

    fn failed(&mut self, job: Job, error: String, now: i64) {
        let wait_us = match &self.disk {
            Disk::Well => RETRY_US.0,
            Disk::Failing { wait_us, .. } => (wait_us * 2).min(RETRY_US.1),
        };
        self.disk = Disk::Failing { retry_at: now + wait_us, wait_us, error };
        match job {
            Job::Commit { save, .. } | Job::Save(save) => {
                for (key, resume) in save.boards {
                    self.boards_unsaved.entry(key).or_insert(resume);
                }
                self.save_by(now + wait_us);
            }
            Job::Load { bridge, .. } => {
                if let Some(cursor) = self.cursors.get_mut(bridge) {
                    cursor.load_failed();
                }
            }
        }
        if self.stopping == Stopping::CommitAll {
            self.stopping = Stopping::Done;
        }
    }

    /// The file was damaged and a new one was begun: what was only in the old one is lost to us.
    fn replaced(&mut self, path: String, reason: String, now: i64) {
        self.lose(u64::MAX);
        self.disk_last = None;
        let base = self.held.base();
        for cursor in &mut self.cursors {
            cursor.drop_below(base);
        }
        self.boards_unsaved = self.boards.clone();
        self.save_by(now);
        self.announce(EventKind::Quarantine { path, reason }, now);
    }

    /// A damaged file was set aside before this queue began.
    pub fn announce_damage(&mut self, path: String, reason: String, now: i64) {
        self.announce(EventKind::Quarantine { path, reason }, now);
    }

    fn forget(&mut self, evicted: Vec<Evicted>) {
        for chunk in evicted {
            for entry in chunk.entries {
                if self.cursors.iter().all(|cursor| cursor.is_done(entry.position)) {
                    continue;
                }
                let dropped = &mut self.ledger.dropped;
                match chunk.reason {
                    GapReason::Expired => dropped.expired += u64::from(entry.counts),
                    GapReason::Corrupt => dropped.corrupt += u64::from(entry.counts),
                    GapReason::Full | GapReason::Device => dropped.full += u64::from(entry.counts),
                }
                if let Some((device, seq)) = entry.reading {
                    self.add_gap(&device, chunk.reason, seq, seq, 1);
                }
            }
            self.lose(chunk.unreadable);
            for cursor in &mut self.cursors {
                cursor.drop_below(chunk.last + 1);
            }
        }
    }

    /// Counts readings on disk as damaged: `n`, or as many as there can be.
    fn lose(&mut self, n: u64) {
        let on_disk = self.ledger.waiting().saturating_sub(self.held.volatile());
        self.ledger.dropped.corrupt += n.min(on_disk);
    }

    fn add_gap(&mut self, device: &DeviceName, reason: GapReason, from_seq: u64, to_seq: u64, lost: u64) {
        let gap = self.gaps.entry((device.clone(), reason)).or_insert(Gap { from_seq, to_seq, lost: 0 });
        gap.from_seq = gap.from_seq.min(from_seq);
        gap.to_seq = gap.to_seq.max(to_seq);
        gap.lost += lost;
    }

    fn flush_gaps(&mut self, now: i64) {
        while let Some((key, gap)) = self.gaps.pop_first() {
            let kind = EventKind::Gap {
                device: key.0.clone(),
                from_seq: gap.from_seq,
                to_seq: gap.to_seq,
                lost: gap.lost,
                reason: key.1,
            };
            if !self.announce(kind, now) {
                self.gaps.insert(key, gap);
                return;
            }
        }
    }

    /// Queues an event of the queue's own; `false` when there was no room.
    fn announce(&mut self, kind: EventKind, now: i64) -> bool {
        let at = Stamp { boot: self.settings.boot, us: now };
        let event = Event { id: self.name(), at, kind };
        self.push(Arc::new(Body::Event(event)), self.settings.event_wants, None, now).is_ok()
    }

    /// Commit everything, then stop.
    pub fn stop(&mut self) {
        if self.stopping == Stopping::No {
            self.stopping = Stopping::CommitAll;
        }
    }

    /// Takes what the storage thread saw of the file.
    pub fn observe(&mut self, file: File) {
        self.file = file;
    }

    // === What people see ===

    /// The counters.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        self.ledger
    }

    /// What the disk said, while it fails.
    #[must_use]
    pub fn disk_error(&self) -> Option<&str> {
        match &self.disk {
            Disk::Well => None,
            Disk::Failing { error, .. } => Some(error),
        }
    }

    /// Everything, for `status --json`.
    #[must_use]
    pub fn status(&self, now: i64) -> status::Queue {
        let in_memory = self.held.first_deadline().map(|due| due - self.settings.commit_within_us);
        let oldest = self.file.oldest.or(in_memory).filter(|_| self.ledger.waiting() > 0);
        status::Queue {
            readings: self.ledger.waiting(),
            bytes: self.file.bytes,
            oldest_age_s: oldest.map(|at| seconds(now - at)),
            volatile: self.held.volatile(),
            accepted: self.ledger.accepted,
            delivered: self.ledger.delivered,
            dropped: self.ledger.dropped,
            commits: self.commits,
            flash_bytes: self.file.written,
            state: match (&self.disk, self.full) {
                (Disk::Failing { .. }, _) => QueueState::Degraded,
                (Disk::Well, true) => QueueState::Full,
                (Disk::Well, false) => QueueState::Ok,
            },
        }
    }
}

/// Microseconds as seconds, to the millisecond.
#[expect(clippy::cast_precision_loss, reason = "an age for people")]
fn seconds(us: i64) -> f64 {
    (us.max(0) / 1000) as f64 / 1000.0
}
