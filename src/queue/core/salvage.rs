//! Readings that come back from a damaged file.
//!
//! As long as such a file is being read, what stood in it still counts as waiting. What comes back is
//! pushed again, behind what is newer by then; what has not come back at the end is lost.

use std::sync::Arc;

use crate::queue::job::Salvaged;
use crate::queue::types::{Full, Ledger, Resume};
use crate::reading::{Body, EventKind, Uid};

use super::{COMMITS_PER_SAVE, Core};

/// What a damaged file still owes us.
#[derive(Debug)]
pub(super) struct Owed {
    /// Where it is now.
    path: String,
    /// Readings that waited in it, as far as they are counted.
    readings: u64,
    /// All bridges were done with what is below this position.
    done_below: u64,
}

impl<T> Core<T> {
    /// A file was set aside in the middle of the work: all that waited in it is owed by it.
    pub(super) fn owe_all_on_disk(&mut self, path: String, done_below: u64) {
        let readings = self.on_disk();
        self.owed.push(Owed { path, readings, done_below });
    }

    /// Readings on disk that somebody waits for.
    pub(super) fn on_disk(&self) -> u64 {
        let owed: u64 = self.owed.iter().map(|owed| owed.readings).sum();
        self.ledger.waiting().saturating_sub(self.held.volatile() + owed)
    }

    /// The counters and the boards' numbers of a file that was found damaged at the start.
    pub fn inherit(&mut self, ledger: &Ledger, boards: Vec<((Uid, u32), Resume)>, now: i64) {
        self.ledger.add(ledger);
        for (key, resume) in boards {
            if !self.boards.contains_key(&key) {
                self.boards.insert(key.clone(), resume);
                self.boards_unsaved.insert(key, resume);
            }
        }
        self.save_by(now);
    }

    /// Takes an entry that stood at `position` in the damaged file at `path`. `false`: it had been
    /// delivered.
    ///
    /// # Errors
    /// [`Full`] when there is no room now; nothing was taken then, and `ticket` is gone.
    pub fn restore(
        &mut self,
        path: &str,
        (position, body): (u64, Arc<Body>),
        wants: u32,
        ticket: T,
        now: i64,
    ) -> Result<bool, Full> {
        let no_room = self.is_stopping() || !self.held.has_room(&body, self.settings.memory_bytes);
        let owed = self.owed.iter_mut().find(|owed| owed.path == path);
        if wants == 0 || owed.as_ref().is_some_and(|owed| position < owed.done_below) {
            return Ok(false);
        }
        if no_room {
            return Err(Full);
        }
        if body.counts() {
            match owed {
                Some(owed) if owed.readings > 0 => owed.readings -= 1,
                _ => self.ledger.accepted += 1,
            }
        }
        // Its number is an old one: the boards' numbers must be saved with it, lest they be taken
        // from it at the next start.
        self.unsaved_commits = COMMITS_PER_SAVE;
        self.held.push(body, wants, Some(ticket), now + self.settings.commit_within_us);
        Ok(true)
    }

    /// The damaged file has given all that it can. Gives how many readings are lost with it.
    pub fn salvaged(&mut self, salvaged: Salvaged, now: i64) -> u64 {
        let Salvaged { path, recovered, missing } = salvaged;
        let owed = self.owed.iter().position(|owed| owed.path == path);
        let owed = owed.map_or(0, |index| self.owed.swap_remove(index).readings);
        // What it is known to have lost beyond what was owed was accepted by an earlier run.
        let lost = owed.max(missing);
        self.ledger.accepted += lost - owed;
        self.ledger.dropped.corrupt += lost;
        self.announce(EventKind::Salvage { path, recovered, lost }, now);
        self.save_by(now);
        lost
    }
}
