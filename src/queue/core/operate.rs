//! The core's side towards operators.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::queue::job::Job;
use crate::queue::operate::{Answer, Purge, Reply, SLICE_ENTRIES, Slice, Task, Waiting, Which, Work};
use crate::queue::types::Full;
use crate::reading::{Body, GapReason};

use super::disk::Disk;
use super::{COMMITS_PER_SAVE, Core, Stopping};

impl<T> Core<T> {
    // === What operators ask ===

    /// Whether bridge `index` is held.
    #[must_use]
    pub fn is_paused(&self, index: usize) -> bool {
        self.operator.paused & (1 << index) != 0
    }

    /// Holds bridge `index`, or lets it go.
    pub fn set_paused(&mut self, index: usize, paused: bool) {
        let bit = 1 << index;
        self.operator.paused = if paused { self.operator.paused | bit } else { self.operator.paused & !bit };
    }

    /// The position that the next entry gets.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.held.end()
    }

    /// Asks for `task`; gives the number under which the answer will come.
    ///
    /// # Errors
    /// Why there will be none, in words.
    pub fn ask(&mut self, task: Task) -> Result<u64, String> {
        if let Disk::Unopened(trouble) = &self.disk {
            return Err(format!("its file is not open yet: {}", trouble.error));
        }
        let number = if self.stopping == Stopping::No { self.operator.ask(task) } else { None };
        number.ok_or_else(|| "it is stopping, or too many ask at a time; try again in a moment".into())
    }

    /// Asks for all that waits now and is meant by `which` to be given up. What is in memory only is
    /// committed first: only then may its sender be told that it is safe, and forget it.
    ///
    /// # Errors
    /// Why that will not be done, in words.
    pub fn ask_purge(&mut self, which: Which, now: i64) -> Result<u64, String> {
        let end = self.held.end();
        let save = self.outline();
        let number = self.ask(Task::Purge(Purge { which, from: 0, end, save, purged: 0 }))?;
        self.operator.hurry = true;
        // The boards' numbers must not stand in chunks only.
        self.save_by(now);
        Ok(number)
    }

    /// Takes an entry that came out of another file; see [`Core::push`].
    ///
    /// # Errors
    /// [`Full`] when there is no room; nothing was taken then and `ticket` is gone.
    pub fn import(&mut self, body: Arc<Body>, wants: u32, ticket: T, now: i64) -> Result<(), Full> {
        self.push(body, wants, Some(ticket), now)?;
        self.operator.hurry = true;
        // As with what is restored: its board's number is an old one, and must not be taken from it.
        self.unsaved_commits = COMMITS_PER_SAVE;
        Ok(())
    }

    /// Takes an entry that was a dead letter, for bridge `index` alone. It is an entry like others from
    /// here on; see [`Core::import`].
    ///
    /// # Errors
    /// [`Full`] when there is no room; nothing was taken then and `ticket` is gone.
    pub fn retry(&mut self, index: usize, body: Arc<Body>, ticket: T, now: i64) -> Result<(), Full> {
        let position = self.held.end();
        self.import(body, 1 << index, ticket, now)?;
        *self.operator.retried.entry(index).or_default() += 1;
        let others = self.cursors.iter_mut().enumerate().filter(|(other, _)| *other != index);
        others.for_each(|(_, cursor)| cursor.give_up(position));
        Ok(())
    }

    /// How many dead letters of bridge `index` operators have put back into the queue since the start.
    #[must_use]
    pub fn retried(&self, index: usize) -> u64 {
        self.operator.retried.get(&index).copied().unwrap_or(0)
    }

    /// The answers since the last call, by the numbers of their requests.
    pub fn take_answers(&mut self) -> Vec<(u64, Answer)> {
        self.operator.take_answers()
    }

    // === Their turn ===

    /// When the storage thread must look again, if nothing else happens; `None` for never.
    #[must_use]
    pub fn wake_at(&self) -> Option<i64> {
        if self.operator_is_ready() { Some(i64::MIN) } else { self.due_at() }
    }

    /// Whether something is to be committed before its deadline.
    pub(super) fn hurries(&self) -> bool {
        self.operator.hurry && self.held.volatile_bytes() > 0
    }

    fn operator_is_ready(&self) -> bool {
        match self.operator.first() {
            Some(Task::Purge(purge)) => {
                let durable = self.held.durable_end() >= purge.end && self.letters.is_empty();
                durable && self.boards_upto >= purge.end
            }
            Some(
                Task::Read { .. } | Task::Verify { .. } | Task::Letters { .. } | Task::DropLetters { .. },
            ) => true,
            None => false,
        }
    }

    /// An operator's job, if it is its turn: never before a commit that is due, and else by turns with
    /// whatever is due.
    pub(super) fn operator_job(&mut self, now: i64) -> Option<Job> {
        if self.stopping != Stopping::No || !self.operator_is_ready() {
            return None;
        }
        let due = |at: Option<i64>| at.is_some_and(|at| at <= now);
        let commit = due(self.commit_deadline()) || self.is_much() || self.hurries();
        if (commit && due(self.write_due())) || (due(self.due_at()) && self.operator.gives_way()) {
            return None;
        }
        let (id, mut task) = self.operator.begin()?;
        if let Task::Purge(purge) = &mut task {
            purge.save = self.outline();
        }
        Some(Job::Operate { id, task })
    }

    // === What comes of it ===

    pub(super) fn operated(&mut self, id: u64, work: Result<Work, String>, now: i64) {
        let answer = match work {
            Ok(Work::Read { bridge, slice, covered_to }) => {
                Ok(Reply::Read(self.waiting(bridge, slice, covered_to, now)))
            }
            Ok(Work::Purged { purge, removed, last, finished }) => {
                let purged = purge.purged + self.purged(&removed, last, now);
                let purge = Purge { purged, ..purge };
                if !finished {
                    return self.operator.go_on(id, Task::Purge(purge));
                }
                Ok(Reply::Purged(purged))
            }
            Ok(Work::Verified(checked)) => Ok(Reply::Verified(checked)),
            Ok(Work::Letters(slice)) => Ok(Reply::Letters(slice)),
            Ok(Work::LettersDropped(dropped)) => Ok(Reply::LettersDropped(dropped)),
            Err(error) => Err(error),
        };
        self.operator.answer(id, answer);
    }

    /// `job` was not done, for the reason in `error`.
    pub(super) fn unanswered(&mut self, job: &Job, error: &str) {
        match job {
            Job::Operate { id, .. } => self.operator.answer(*id, Err(error.to_owned())),
            // What a purge waits for does not come.
            Job::Commit { .. } | Job::Save(_) => self.operator.refuse_purges(error),
            Job::Open | Job::Load { .. } | Job::Compact => {}
        }
    }

    /// Those of `slice` that wait for `bridge` (else for any), and, where the disk has no more, those
    /// in memory.
    fn waiting(&self, bridge: Option<usize>, mut slice: Slice, covered_to: u64, now: i64) -> Slice {
        slice.entries.retain(|entry| match bridge.and_then(|index| self.cursors.get(index)) {
            Some(cursor) => !cursor.is_done(entry.position),
            None => !self.is_settled(entry.position),
        });
        if slice.next.is_some() {
            return slice;
        }
        let asked = bridge.map_or(u32::MAX, |index| 1 << index);
        let held = self.held.list(covered_to).filter(|entry| entry.wants & asked != 0);
        for entry in held.take(SLICE_ENTRIES) {
            slice.entries.push(Waiting {
                position: entry.position,
                body: Arc::clone(entry.body),
                age_us: now - (entry.deadline - self.settings.commit_within_us),
            });
            slice.next = Some(entry.position + 1);
        }
        slice.next = slice.next.filter(|next| *next < self.held.end());
        slice
    }

    fn is_settled(&self, position: u64) -> bool {
        self.cursors.iter().all(|cursor| cursor.is_done(position))
    }

    /// Counts what was taken out of the file; gives how many of it count in the ledger.
    fn purged(&mut self, removed: &[(u64, Arc<Body>)], last: Option<u64>, now: i64) -> u64 {
        self.disk_last = last;
        let mut purged = 0;
        for (position, body) in removed {
            self.refused.remove(position);
            self.held.forget(*position);
            if self.is_settled(*position) {
                continue;
            }
            purged += u64::from(body.counts());
            self.gaps.add(body, GapReason::Purged, now);
        }
        self.ledger.dropped.purged += purged;
        let positions: BTreeSet<u64> = removed.iter().map(|(position, _)| *position).collect();
        self.cursors.iter_mut().for_each(|cursor| cursor.forget(&positions));
        self.save_by(now);
        purged
    }
}
