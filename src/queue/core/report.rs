//! What people see of the queue.

use crate::queue::types::Ledger;
use crate::status::{self, QueueState};

use super::Core;

/// A disk that is at one job for longer than this is in trouble, in microseconds.
const SLOW_US: i64 = 2_000_000;

impl<T> Core<T> {
    /// The counters.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        self.ledger
    }

    /// The storage thread is at work that is no job.
    pub fn begin_work(&mut self, now: i64) {
        self.busy_since = Some(now);
    }

    /// It is done with that.
    pub fn end_work(&mut self) {
        self.busy_since = None;
    }

    /// What is wrong with the disk, in words.
    fn trouble(&self, now: i64) -> Option<String> {
        let busy = self.busy_since.map_or(0, |since| now - since);
        match self.disk.trouble().or(self.unreadable.as_ref()) {
            Some(trouble) => Some(trouble.error.clone()),
            None if busy >= SLOW_US => {
                Some(format!("the disk has been at one write for {} s", busy / 1_000_000))
            }
            None => None,
        }
    }

    /// Those on disk, and those on their way there.
    fn dead_letters(&self) -> status::DeadLetters {
        let stored = self.file.letters;
        let (count, bytes) = (self.letters.len() as u64, self.letters.bytes() as u64);
        status::DeadLetters { count: stored.count + count, bytes: stored.bytes + bytes, ..stored }
    }

    /// Everything, for `status --json`.
    #[must_use]
    pub fn status(&self, now: i64) -> status::Queue {
        let in_memory = self.held.first_deadline().map(|due| due - self.settings.commit_within_us);
        let oldest = self.file.oldest.or(in_memory).filter(|_| self.ledger.waiting() > 0);
        let last_error = self.trouble(now);
        status::Queue {
            readings: self.ledger.waiting(),
            bytes: self.file.bytes,
            oldest_age_s: oldest.map(|at| seconds(now - at)),
            volatile: self.held.volatile(),
            accepted: self.ledger.accepted,
            delivered: self.ledger.delivered,
            dropped: self.ledger.dropped,
            dead_letters: self.dead_letters(),
            commits: self.commits,
            flash_bytes: self.file.written,
            state: match (&last_error, self.full) {
                (Some(_), _) => QueueState::Degraded,
                (None, true) => QueueState::Full,
                (None, false) => QueueState::Ok,
            },
            last_error,
        }
    }
}

/// Microseconds as seconds, to the millisecond.
#[expect(clippy::cast_precision_loss, reason = "an age for people")]
fn seconds(us: i64) -> f64 {
    (us.max(0) / 1000) as f64 / 1000.0
}
