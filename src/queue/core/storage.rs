//! The core's side towards the storage thread: which job is next, and what its outcome means.

use std::sync::Arc;

use crate::queue::cursor::Cursor;
use crate::queue::job::{Damage, Evicted, Job, Loaded, Next, Outcome, Save};
use crate::queue::types::{File, Found, Safe};
use crate::reading::{Body, Event, EventKind, GapReason, Stamp};

use super::disk::{Disk, Trouble};
use super::{COMMIT_BYTES, Core, Stopping};

impl<T> Core<T> {
    /// When the storage thread must look again, if nothing else happens; `None` for never.
    #[must_use]
    pub fn wake_at(&self) -> Option<i64> {
        if self.stopping == Stopping::CommitAll {
            return Some(i64::MIN);
        }
        match &self.disk {
            Disk::Unopened(trouble) => Some(trouble.retry_at),
            Disk::Well | Disk::Failing(_) => [self.write_due(), self.load_due()].into_iter().flatten().min(),
        }
    }

    /// When something must be written.
    fn write_due(&self) -> Option<i64> {
        let at_once = (self.held.volatile_bytes() >= COMMIT_BYTES).then_some(i64::MIN);
        let due = [at_once, self.held.first_deadline(), self.save_due].into_iter().flatten().min();
        let not_before = self.disk.trouble().map_or(i64::MIN, |trouble| trouble.retry_at);
        due.map(|due| due.max(not_before))
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
        let wake_at = self.wake_at();
        if wake_at.is_none_or(|due| due > now) {
            return wake_at.map_or(Next::Wait, Next::WaitUntil);
        }
        self.busy_since = Some(now);
        if matches!(self.disk, Disk::Unopened(_)) {
            return Next::Do(Job::Open);
        }
        let write = self.stopping == Stopping::CommitAll || self.write_due().is_some_and(|due| due <= now);
        let commit = self.held.first_deadline().is_some_and(|due| due <= now)
            || self.held.volatile_bytes() >= COMMIT_BYTES
            || self.stopping == Stopping::CommitAll;
        if write && commit {
            self.tell_gaps(now);
            let (entries, end) = self.held.begin_writing();
            self.committing = end;
            return Next::Do(Job::Commit { entries, save: self.save() });
        }
        let may_load = self.load_due().is_some_and(|due| due <= now);
        let mut cursors = self.cursors.iter_mut().enumerate();
        match cursors.find(|(_, cursor)| may_load && cursor.wants_load()) {
            Some((bridge, cursor)) => Next::Do(Job::Load { bridge, from: cursor.begin_load() }),
            None => Next::Do(Job::Save(self.save())),
        }
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
        self.busy_since = None;
        match outcome {
            Outcome::Opened { found, damage } => self.opened(found, damage, now),
            Outcome::Committed { last, evicted, full } => {
                self.disk = Disk::Well;
                self.full = full;
                self.disk_last = last;
                self.commits += 1;
                self.forget(evicted);
                let (safe, keep) = (&mut self.safe, self.settings.cache_bytes);
                self.held.written(self.committing, keep, |ticket| safe.push((ticket, Safe::Durable)));
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
            Outcome::Replaced { damage, .. } => {
                self.not_written();
                self.replaced(damage, now);
            }
        }
        self.tell_gaps(now);
    }

    fn loaded(&mut self, bridge: usize, loaded: Loaded) {
        self.unreadable = None;
        self.lose(loaded.corrupt);
        let base = self.held.base();
        if let Some(cursor) = self.cursors.get_mut(bridge) {
            cursor.loaded(loaded.entries, loaded.covered_to.unwrap_or(base));
        }
    }

    /// The file is open at last: what waits in memory stands behind what was found there.
    fn opened(&mut self, found: Found, damage: Option<Damage>, now: i64) {
        let from = self.held.base();
        self.held.move_to(found.next_position);
        let moved = self.refused.iter().map(|position| position.saturating_sub(from) + found.next_position);
        self.refused = moved.collect();
        self.cursors = found.cursors.into_iter().map(Cursor::new).collect();
        self.ledger.add(&found.ledger);
        self.boards_unsaved.append(&mut self.boards);
        self.boards = found.boards;
        self.boards.extend(self.boards_unsaved.clone());
        self.disk_last = found.on_disk;
        self.disk = Disk::Well;
        self.save_by(now);
        if let Some(damage) = damage {
            self.announce_damage(damage, now);
        }
    }

    fn failed(&mut self, job: Job, error: String, now: i64) {
        match job {
            Job::Open => self.refused_by_disk(error, now),
            Job::Commit { save, .. } => {
                self.not_written();
                self.not_saved(save, now);
                self.refused_by_disk(error, now);
            }
            Job::Save(save) => {
                self.not_saved(save, now);
                self.refused_by_disk(error, now);
            }
            Job::Load { bridge, .. } => {
                self.unreadable = Some(Trouble::new(self.unreadable.as_ref(), error, now));
                if let Some(cursor) = self.cursors.get_mut(bridge) {
                    cursor.load_failed();
                }
            }
        }
        if self.stopping == Stopping::CommitAll {
            self.stopping = Stopping::Done;
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
        for (key, resume) in save.boards {
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

    /// The file was damaged and a new one was begun: what was only in the old one is lost to us.
    fn replaced(&mut self, damage: Damage, now: i64) {
        self.lose(u64::MAX);
        self.disk_last = None;
        let base = self.held.base();
        for cursor in &mut self.cursors {
            cursor.drop_below(base);
        }
        self.boards_unsaved = self.boards.clone();
        self.save_by(now);
        self.announce_damage(damage, now);
    }

    /// Tells of a damaged file that was set aside.
    pub fn announce_damage(&mut self, Damage { path, reason }: Damage, now: i64) {
        self.announce(EventKind::Quarantine { path, reason }, now);
    }

    fn forget(&mut self, evicted: Vec<Evicted>) {
        for chunk in evicted {
            for entry in chunk.entries {
                self.refused.remove(&entry.position);
                if self.cursors.iter().all(|cursor| cursor.is_done(entry.position)) {
                    continue;
                }
                let dropped = &mut self.ledger.dropped;
                let counter = match chunk.reason {
                    GapReason::Expired => &mut dropped.expired,
                    GapReason::Corrupt => &mut dropped.corrupt,
                    GapReason::Full | GapReason::Device | GapReason::Refused => &mut dropped.full,
                };
                *counter += u64::from(entry.counts);
                if let Some((device, seq)) = entry.reading {
                    self.gaps.add(&device, chunk.reason, seq);
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

    /// Queues what was not told yet of lost readings, as far as there is room.
    pub(super) fn tell_gaps(&mut self, now: i64) {
        while let Some((key, gap)) = self.gaps.first() {
            let kind = gap.event(&key);
            if !self.announce(kind, now) {
                return;
            }
            self.gaps.remove(&key);
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
