//! Readings that come back from a damaged file.
//!
//! As long as such a file is being read, what stood in it still counts as waiting. What comes back is
//! pushed again, behind what is newer by then; what has not come back at the end is lost.

use std::sync::Arc;

use crate::queue::job::Salvaged;
use crate::queue::types::{Full, Ledger, Resume};
use crate::reading::{Body, EventKind, Uid};

use super::{COMMITS_PER_SAVE, Core, SAVE_WITHIN_US};

/// What a damaged file still owes us.
#[derive(Debug)]
pub(super) struct Owed {
    /// Its present name. The folder may be moved while the daemon is down.
    name: String,
    /// Readings that waited in it, as far as they are counted.
    readings: u64,
    /// What stood below this position is not owed: it was delivered, or has come back.
    from: u64,
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Files that had been read so far when the daemon ended.
pub(super) fn owed_since(salvaged: Vec<(String, u64)>) -> Vec<Owed> {
    salvaged.into_iter().map(|(name, from)| Owed { name, readings: 0, from }).collect()
}

impl<T> Core<T> {
    /// A file was set aside in the middle of the work: all that waited in it is owed by it.
    pub(super) fn owe_all_on_disk(&mut self, path: &str, done_below: u64) {
        let readings = self.on_disk();
        // A name can come again when an older file has gone.
        let name = name_of(path);
        self.owed.retain(|owed| owed.name != name);
        self.owed.push(Owed { name: name.to_owned(), readings, from: done_below });
    }

    /// How far each file has been read. To be saved when all that has come back is durable.
    pub(super) fn salvaged_so_far(&self) -> Vec<(String, u64)> {
        self.owed.iter().map(|owed| (owed.name.clone(), owed.from)).collect()
    }

    fn owed_by(&mut self, path: &str) -> &mut Owed {
        let name = name_of(path);
        let index = self.owed.iter().position(|owed| owed.name == name).unwrap_or_else(|| {
            self.owed.push(Owed { name: name.to_owned(), readings: 0, from: 0 });
            self.owed.len() - 1
        });
        &mut self.owed[index]
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
        let owed = self.owed_by(path);
        if wants == 0 || position < owed.from {
            return Ok(false);
        }
        if no_room {
            return Err(Full);
        }
        // They come in rising order.
        owed.from = position + 1;
        if body.counts() {
            if owed.readings > 0 {
                owed.readings -= 1;
            } else {
                self.ledger.accepted += 1;
            }
        }
        // Its number is an old one: the boards' numbers must be saved with it, lest they be taken
        // from it at the next start.
        self.unsaved_commits = COMMITS_PER_SAVE;
        self.held.push(body, wants, Some(ticket), now + self.settings.commit_within_us);
        Ok(true)
    }

    /// The file at `path` is marked as read to its end: nothing is to be remembered of it.
    pub fn forget_salvaged(&mut self, path: &str, now: i64) {
        self.owed_by(path).from = 0;
        self.save_by(now + SAVE_WITHIN_US);
    }

    /// The damaged file has given all that it can. Gives how many readings are lost with it.
    pub fn salvaged(&mut self, salvaged: Salvaged, now: i64) -> u64 {
        let Salvaged { path, recovered, missing } = salvaged;
        let owed = std::mem::take(&mut self.owed_by(&path).readings);
        // What it is known to have lost beyond what was owed was accepted by an earlier run.
        let lost = owed.max(missing);
        self.ledger.accepted += lost - owed;
        self.ledger.dropped.corrupt += lost;
        self.announce(EventKind::Salvage { path, recovered, lost }, now);
        self.save_by(now);
        lost
    }
}
