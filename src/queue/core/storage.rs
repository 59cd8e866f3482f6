//! The core's side towards the storage thread: which job is next, and what its outcome means.

use std::sync::Arc;

use crate::queue::cursor::Cursor;
use crate::queue::job::{Boards, Evicted, Job, Loaded, Marks, Next, Outcome, Save};
use crate::queue::ranges::Ranges;
use crate::queue::types::{File, Safe};
use crate::reading::{Body, Event, EventKind, GapReason, Stamp};

use super::disk::{Disk, Trouble};
use super::{
    COMMIT_BYTES, COMMITS_PER_SAVE, COMPACT_AFTER_US, COMPACT_CONTENT, COMPACT_FROM, Core, SAVE_WAITS_US,
    Stopping,
};

impl<T> Core<T> {
    /// When the storage thread must look again, operators left aside; `None` for never.
    pub(super) fn due_at(&self) -> Option<i64> {
        if self.is_closing() {
            return Some(i64::MIN);
        }
        match &self.disk {
            Disk::Unopened(trouble) => Some(trouble.retry_at),
            Disk::Well | Disk::Failing(_) => {
                let due = [self.write_due(), self.load_due(), self.compact_at, self.gaps.due()];
                due.into_iter().flatten().min()
            }
        }
    }

    /// When something must be written.
    pub(super) fn write_due(&self) -> Option<i64> {
        let at_once = (self.is_much() || self.hurries()).then_some(i64::MIN);
        let commit = self.commit_deadline();
        // A save that need not wait long is part of the commit: it costs a page instead of three.
        let save = self.save_due.map(|save| match commit {
            Some(commit) if commit <= save + SAVE_WAITS_US => save.max(commit),
            _ => save,
        });
        let due = [at_once, commit, save].into_iter().flatten().min();
        let not_before = self.disk.trouble().map_or(i64::MIN, |trouble| trouble.retry_at);
        due.map(|due| due.max(not_before))
    }

    /// When what is in memory only must be durable.
    pub(super) fn commit_deadline(&self) -> Option<i64> {
        [self.held.first_deadline(), self.letters.due()].into_iter().flatten().min()
    }

    /// Whether so much is in memory only that it is committed at once.
    pub(super) fn is_much(&self) -> bool {
        self.held.volatile_bytes() >= COMMIT_BYTES || self.letters.bytes() >= COMMIT_BYTES
    }

    /// When something must be read: a disk that takes no writes may still give.
    fn load_due(&self) -> Option<i64> {
        let not_before = self.unreadable.as_ref().map_or(i64::MIN, |trouble| trouble.retry_at);
        self.cursors.iter().any(Cursor::wants_load).then_some(not_before)
    }

    /// What the storage thread is to do now.
    pub fn next_job(&mut self, now: i64) -> Next {
        if self.stopping == Stopping::Done {
            return Next::Stop;
        }
        if let Some(job) = self.operator_job(now) {
            self.busy_since = Some(now);
            return Next::Do(job);
        }
        let wake_at = self.wake_at();
        if wake_at.is_none_or(|due| due > now) {
            return wake_at.map_or(Next::Wait, Next::WaitUntil);
        }
        self.tell_gaps(now);
        let Some(job) = self.due_job(now) else {
            // It was only time to tell of a loss.
            return self.wake_at().map_or(Next::Wait, Next::WaitUntil);
        };
        self.begin_work(now);
        Next::Do(job)
    }

    fn due_job(&mut self, now: i64) -> Option<Job> {
        let due = |at: Option<i64>| at.is_some_and(|at| at <= now);
        if let Disk::Unopened(trouble) = &self.disk {
            let open = self.is_closing() || trouble.retry_at <= now;
            return open.then_some(Job::Open);
        }
        let write = self.is_closing() || due(self.write_due());
        let commit = self.is_closing()
            || due(self.commit_deadline())
            || self.is_much()
            || self.hurries()
            // What a save says is done must not go before its dead letter is there, nor is a save synced.
            || !self.letters.is_empty();
        if write && commit {
            self.operator.hurry = false;
            let (entries, end) = self.held.begin_writing();
            self.committing = end;
            if self.stopping == Stopping::CommitAll {
                self.stopping = Stopping::CommittingAll;
            }
            return Some(Job::Commit { entries, save: self.save_with_commit(now) });
        }
        if due(self.load_due()) {
            let mut cursors = self.cursors.iter_mut().enumerate();
            let (bridge, cursor) = cursors.find(|(_, cursor)| cursor.wants_load())?;
            return Some(Job::Load { bridge, from: cursor.begin_load() });
        }
        if write {
            return Some(Job::Save(self.save(self.held.volatile_bytes() == 0)));
        }
        due(self.compact_at).then_some(Job::Compact)
    }

    /// Most commits carry no marks: they would add a page each time.
    fn save_with_commit(&mut self, now: i64) -> Save {
        let marks = self.save_due.is_some_and(|due| due <= now)
            || self.unsaved_commits >= COMMITS_PER_SAVE
            || self.is_closing()
            // With the cursors along, a dead letter is not made twice.
            || !self.letters.is_empty();
        self.unsaved_commits += 1;
        let letters = self.letters.begin_writing();
        // Once it is written, all that the boards' numbers speak of is durable.
        let save = if marks { self.save(true) } else { self.outline() };
        Save { letters, ..save }
    }

    /// What is to be saved; the boards' numbers only where `boards` says that they may be.
    fn save(&mut self, boards: bool) -> Save {
        self.save_due = None;
        self.unsaved_acks = 0;
        let outline = self.outline();
        let boards = boards.then(|| {
            self.unsaved_commits = 0;
            self.boards_upto = self.held.end();
            let changed = std::mem::take(&mut self.boards_unsaved);
            Boards { changed, upto: self.boards_upto, salvaged: self.salvaged_so_far() }
        });
        let marks = Marks {
            delete_below: outline.done_below.min(self.boards_upto),
            delete_within: self.newly_done(&outline.done_ahead),
            cursors: self.cursors.iter().map(Cursor::prefix).collect(),
            done: self.cursors.iter().map(Cursor::worth_saving).collect(),
            delivered: self.ledger.delivered,
            boards,
        };
        Save { marks: Some(Box::new(marks)), ..outline }
    }

    pub(super) fn outline(&self) -> Save {
        let done_below = self.cursors.iter().map(Cursor::prefix).min().unwrap_or(0);
        // A bridge's own prefix may lie beyond that of another.
        let beyond = |cursor: &Cursor| {
            let mut done = cursor.done_ahead().clone();
            done.insert(done_below, cursor.prefix());
            done
        };
        let nothing = |cursor: &Cursor| cursor.prefix() == done_below && cursor.done_ahead().is_empty();
        let done_ahead = if self.cursors.iter().any(nothing) {
            Ranges::default()
        } else {
            self.cursors.iter().map(beyond).reduce(|a, b| a.common(&b)).unwrap_or_default()
        };
        Save { done_below, done_ahead, dropped: self.ledger.dropped, ..Save::default() }
    }

    /// What all bridges are done with ahead of the prefix and the file was not told of, as far as the
    /// boards' numbers allow it to be deleted.
    fn newly_done(&mut self, done: &Ranges) -> Vec<(u64, u64)> {
        let upto = self.boards_upto;
        let deletable: Ranges = done.iter().map(|(start, end)| (start, end.min(upto))).collect();
        let before = std::mem::replace(&mut self.deleted, deletable.clone());
        // One that has grown may now hold a chunk that it held in part.
        deletable.iter().filter(|(start, end)| before.end_of(*start) != Some(*end)).collect()
    }

    /// Takes the outcome of a job.
    pub fn finished(&mut self, outcome: Outcome, now: i64) {
        self.end_work();
        match outcome {
            Outcome::Opened { job, found, damage } => {
                self.undone(job, "the queue file had to be opened first: try again", now);
                self.opened(found, damage, now);
            }
            Outcome::Committed { last, evicted, full } => {
                self.disk = Disk::Well;
                self.full = full;
                self.disk_last = last;
                self.commits += 1;
                let costs = !evicted.is_empty();
                self.forget(evicted, now);
                let (safe, keep) = (&mut self.safe, self.settings.cache_bytes);
                self.held.written(self.committing, keep, |ticket| safe.push((ticket, Safe::Durable)));
                self.letters.written(|ticket, how| safe.push((ticket, how)));
                self.stopping = match self.stopping {
                    // The last commit has cost something: that must be told yet.
                    Stopping::CommittingAll if costs => Stopping::CommitLast,
                    Stopping::CommittingAll | Stopping::CommitLast => Stopping::Done,
                    // It began before the queue was to be closed.
                    Stopping::No | Stopping::CommitAll | Stopping::Done => self.stopping,
                };
            }
            Outcome::Saved { last, evicted, full } => {
                self.disk = Disk::Well;
                self.full = full;
                self.forget(evicted, now);
                self.disk_last = last;
            }
            Outcome::Compacted => {}
            Outcome::Loaded { bridge, loaded } => self.loaded(bridge, loaded, now),
            Outcome::Operated { id, work } => self.operated(id, work, now),
            Outcome::Failed { job, error } => self.failed(job, &error, now),
            Outcome::Replaced { job, damage } => {
                self.undone(job, &damage.reason, now);
                self.replaced(damage, now);
            }
        }
    }

    fn loaded(&mut self, bridge: usize, loaded: Loaded, now: i64) {
        self.unreadable = None;
        self.lose(loaded.corrupt, now);
        let base = self.held.base();
        if let Some(cursor) = self.cursors.get_mut(bridge) {
            cursor.loaded(loaded.entries, loaded.covered_to.unwrap_or(base));
        }
    }

    fn failed(&mut self, job: Job, error: &str, now: i64) {
        match &job {
            Job::Open | Job::Commit { .. } | Job::Save(_) => self.refused_by_disk(error.to_owned(), now),
            Job::Load { .. } => {
                self.unreadable = Some(Trouble::new(self.unreadable.as_ref(), error.to_owned(), now));
            }
            // There is no hurry.
            Job::Compact | Job::Operate { .. } => {}
        }
        let was_last = match job {
            Job::Open => self.is_closing(),
            Job::Commit { .. } => matches!(self.stopping, Stopping::CommittingAll | Stopping::CommitLast),
            // The commit of all is yet to come.
            Job::Save(_) | Job::Load { .. } | Job::Compact | Job::Operate { .. } => false,
        };
        self.undone(job, error, now);
        if was_last {
            self.stopping = Stopping::Done;
        }
    }

    /// `job` was not done: all is as it was before it.
    pub(super) fn undone(&mut self, job: Job, why: &str, now: i64) {
        self.unanswered(&job, why);
        match job {
            Job::Open | Job::Compact | Job::Operate { .. } => {}
            Job::Commit { save, .. } => {
                self.not_written();
                self.not_saved(save, now);
            }
            Job::Save(save) => self.not_saved(save, now),
            Job::Load { bridge, .. } => {
                if let Some(cursor) = self.cursors.get_mut(bridge) {
                    cursor.load_failed();
                }
            }
        }
    }

    fn refused_by_disk(&mut self, error: String, now: i64) {
        let trouble = Trouble::new(self.disk.trouble(), error, now);
        self.disk = match &self.disk {
            Disk::Well | Disk::Failing(_) => Disk::Failing(trouble),
            Disk::Unopened(_) => Disk::Unopened(trouble),
        };
    }

    fn not_saved(&mut self, save: Save, now: i64) {
        // What the file has is not known for sure: delete nothing until the next save.
        self.boards_upto = 0;
        self.deleted = Ranges::default();
        self.letters.not_written(&save.letters, now);
        let boards = save.marks.and_then(|marks| marks.boards);
        for (key, resume) in boards.into_iter().flat_map(|boards| boards.changed) {
            self.boards_unsaved.entry(key).or_insert(resume);
        }
        self.save_by(now);
    }

    fn not_written(&mut self) {
        for (position, counts) in self.held.not_written() {
            // Those that all bridges are done with were counted when the last of them was.
            if !self.cursors.iter().all(|cursor| cursor.is_done(position)) {
                self.settle(position, counts);
            }
        }
    }

    fn forget(&mut self, evicted: Vec<Evicted>, now: i64) {
        for chunk in evicted {
            for (position, body) in chunk.entries {
                self.refused.remove(&position);
                if self.cursors.iter().all(|cursor| cursor.is_done(position)) {
                    continue;
                }
                *self.ledger.dropped.by_reason(chunk.reason) += u64::from(body.counts());
                self.gaps.add(&body, chunk.reason, now);
                self.cursors.iter_mut().for_each(|cursor| cursor.give_up(position));
            }
            self.lose(chunk.unreadable, now);
            for cursor in &mut self.cursors {
                cursor.drop_below(chunk.gone_below);
            }
        }
    }

    /// Counts readings on disk as damaged: `n`, or as many as there can be.
    pub(super) fn lose(&mut self, n: u64, now: i64) {
        let lost = n.min(self.on_disk());
        self.ledger.dropped.corrupt += lost;
        self.gaps.add_unknown(lost, GapReason::Corrupt, now);
    }

    /// Queues what is to be told by now of losses; before the end, everything.
    fn tell_gaps(&mut self, now: i64) {
        let all = self.is_closing();
        let due = if all { self.gaps.take_all() } else { self.gaps.take_due(now) };
        for untold in due {
            if !self.announce(EventKind::Lost(untold.loss()), now) {
                // No room: once more when there is some.
                self.gaps.put_back(untold, now);
            }
        }
    }

    /// Queues an event of the queue's own; `false` when there was no room.
    pub(super) fn announce(&mut self, kind: EventKind, now: i64) -> bool {
        let at = Stamp::this_boot(now);
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
    pub fn observe(&mut self, file: File, now: i64) {
        self.file = file;
        let wasted = file.size >= COMPACT_FROM && file.bytes <= COMPACT_CONTENT.min(file.size / 4);
        // After a try that did not help, not before the next pause.
        self.compact_at =
            wasted.then(|| self.compact_at.filter(|at| *at > now).unwrap_or(now + COMPACT_AFTER_US));
    }
}
