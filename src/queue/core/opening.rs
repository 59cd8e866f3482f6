//! What it means when the file has been opened in the middle of the work, or another one in its place.

use crate::queue::cursor::Cursor;
use crate::queue::job::Damage;
use crate::queue::ranges::Ranges;
use crate::queue::types::{Found, Safe};
use crate::reading::EventKind;

use super::disk::Disk;
use super::salvage::owed_since;
use super::{COMMITS_PER_SAVE, Core, cursors_of};

impl<T> Core<T> {
    /// The file is open.
    pub(super) fn opened(&mut self, found: Found, damage: Option<Damage>, now: i64) {
        match self.disk {
            Disk::Unopened(_) => self.begun(found, damage, now),
            Disk::Well | Disk::Failing(_) => self.reopened(&found, damage, now),
        }
    }

    /// For the first time: what waits in memory stands behind what was found there.
    fn begun(&mut self, found: Found, damage: Option<Damage>, now: i64) {
        let from = self.held.base();
        self.held.move_to(found.next_position);
        let moved = |position: u64| position.saturating_sub(from) + found.next_position;
        let refused = std::mem::take(&mut self.refused);
        self.refused = refused.into_iter().map(|(position, reason)| (moved(position), reason)).collect();
        self.cursors = cursors_of(&self.settings, found.cursors, found.done);
        self.deleted = Ranges::default();
        self.ledger.add(&found.ledger);
        self.boards_unsaved.append(&mut self.boards);
        self.boards = found.boards;
        self.boards.extend(self.boards_unsaved.clone());
        self.owed.extend(owed_since(found.salvaged));
        self.disk_last = found.on_disk;
        self.disk = Disk::Well;
        self.save_by(now);
        if let Some(damage) = damage {
            self.announce_damage(damage, now);
        }
    }

    /// Once more, because it had to be closed.
    fn reopened(&mut self, found: &Found, damage: Option<Damage>, now: i64) {
        if let Some(last) = found.on_disk {
            // A commit that the disk refused may stand in the log all the same, and be found there now.
            let (safe, keep) = (&mut self.safe, self.settings.cache_bytes);
            self.held.written(last + 1, keep, |ticket| safe.push((ticket, Safe::Durable)));
        }
        match damage {
            Some(damage) => self.replaced(damage, now),
            None if found.on_disk.is_none() && self.disk_last.is_some() => {
                // Another file lies there, or none did.
                self.lose(u64::MAX, now);
                self.begin_anew(now);
            }
            None => {}
        }
        self.disk_last = found.on_disk;
    }

    /// The file was damaged and a new one was begun: what was only in the old one must be salvaged.
    pub(super) fn replaced(&mut self, damage: Damage, now: i64) {
        let done_below = self.cursors.iter().map(Cursor::prefix).min().unwrap_or(0);
        self.owe_all_on_disk(&damage.path, done_below);
        self.begin_anew(now);
        self.announce_damage(damage, now);
    }

    /// The file is new and knows nothing.
    fn begin_anew(&mut self, now: i64) {
        self.disk_last = None;
        let base = self.held.base();
        for cursor in &mut self.cursors {
            cursor.drop_below(base);
        }
        self.boards_unsaved = self.boards.clone();
        self.boards_upto = 0;
        self.unsaved_commits = COMMITS_PER_SAVE;
        self.save_by(now);
    }

    /// Tells of a damaged file that was set aside.
    pub fn announce_damage(&mut self, Damage { path, reason }: Damage, now: i64) {
        self.announce(EventKind::Quarantine { path, reason }, now);
    }
}
