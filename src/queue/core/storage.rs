//! The core's side towards the storage thread: which job is next, and what its outcome means.

use std::sync::Arc;

use crate::queue::cursor::Cursor;
use crate::queue::job::{Evicted, Job, Loaded, Next, Outcome, Save};
use crate::queue::types::{File, Safe};
use crate::reading::{Body, Event, EventKind, GapReason, Stamp};

use super::{COMMIT_BYTES, Core, Disk, RETRY_US, Stopping};

impl<T> Core<T> {
    /// When the storage thread must look again, if nothing else happens; `None` for never.
    #[must_use]
    pub fn wake_at(&self) -> Option<i64> {
        if self.stopping == Stopping::CommitAll {
            return Some(i64::MIN);
        }
        let at_once =
            self.held.volatile_bytes() >= COMMIT_BYTES || self.cursors.iter().any(Cursor::wants_load);
        let at_once = at_once.then_some(i64::MIN);
        let due = [at_once, self.held.first_deadline(), self.save_due, self.gaps.due()];
        let due = due.into_iter().flatten().min()?;
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
        let wake_at = self.wake_at();
        if wake_at.is_none_or(|due| due > now) {
            return wake_at.map_or(Next::Wait, Next::WaitUntil);
        }
        self.tell_gaps(now);
        let commit = self.held.first_deadline().is_some_and(|due| due <= now)
            || self.held.volatile_bytes() >= COMMIT_BYTES
            || self.stopping == Stopping::CommitAll;
        if commit {
            let (entries, end) = self.held.begin_writing();
            self.committing = end;
            return Next::Do(Job::Commit { entries, save: self.save() });
        }
        let mut cursors = self.cursors.iter_mut().enumerate();
        if let Some((bridge, cursor)) = cursors.find(|(_, cursor)| cursor.wants_load()) {
            return Next::Do(Job::Load { bridge, from: cursor.begin_load() });
        }
        if self.save_due.is_none_or(|due| due > now) {
            // It was only time to tell of a loss.
            return self.wake_at().map_or(Next::Wait, Next::WaitUntil);
        }
        Next::Do(Job::Save(self.save()))
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
                self.forget(evicted, now);
                let (safe, keep) = (&mut self.safe, self.settings.cache_bytes);
                self.held.written(self.committing, keep, |ticket| safe.push((ticket, Safe::Durable)));
                if self.stopping == Stopping::CommitAll {
                    self.stopping = Stopping::Done;
                }
            }
            Outcome::Saved { last, evicted, full } => {
                self.disk = Disk::Well;
                self.full = full;
                self.forget(evicted, now);
                self.disk_last = last;
            }
            Outcome::Loaded { bridge, loaded } => self.loaded(bridge, loaded, now),
            Outcome::Failed { job, error } => self.failed(job, error, now),
            Outcome::Replaced { path, reason, .. } => {
                self.not_written();
                self.replaced(path, reason, now);
            }
        }
    }

    fn loaded(&mut self, bridge: usize, loaded: Loaded, now: i64) {
        self.lose(loaded.corrupt, now);
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
        if matches!(job, Job::Commit { .. }) {
            self.not_written();
        }
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

    fn not_written(&mut self) {
        for (position, counts) in self.held.not_written() {
            // Those that all bridges are done with were counted when the last of them was.
            if !self.cursors.iter().all(|cursor| cursor.is_done(position)) {
                self.settle(position, counts);
            }
        }
    }

    /// The file was damaged and a new one was begun: what was only in the old one is lost to us.
    fn replaced(&mut self, path: String, reason: String, now: i64) {
        self.lose(u64::MAX, now);
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

    fn forget(&mut self, evicted: Vec<Evicted>, now: i64) {
        for chunk in evicted {
            for (position, body) in chunk.entries {
                self.refused.remove(&position);
                if self.cursors.iter().all(|cursor| cursor.is_done(position)) {
                    continue;
                }
                *self.ledger.dropped.counter(chunk.reason) += u64::from(body.counts());
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
    fn lose(&mut self, n: u64, now: i64) {
        let on_disk = self.ledger.waiting().saturating_sub(self.held.volatile());
        let lost = n.min(on_disk);
        self.ledger.dropped.corrupt += lost;
        self.gaps.add_unknown(lost, GapReason::Corrupt, now);
    }

    /// Queues what is to be told by now of losses; before the end, everything.
    fn tell_gaps(&mut self, now: i64) {
        let all = self.stopping == Stopping::CommitAll;
        let due = if all { self.gaps.take_all() } else { self.gaps.take_due(now) };
        for untold in due {
            if !self.announce(EventKind::Lost(untold.loss()), now) {
                // No room: once more when there is some.
                self.gaps.put_back(untold, now);
            }
        }
    }

    /// Queues an event of the queue's own; `false` when there was no room.
    fn announce(&mut self, kind: EventKind, now: i64) -> bool {
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
    pub fn observe(&mut self, file: File) {
        self.file = file;
    }
}
