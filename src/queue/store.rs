//! The queue's file: all the SQL there is. Synchronous; used by the storage thread alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::clock::Offset;
use crate::reading::Body;

use super::core::COMPACT_CONTENT;
use super::job::{Evicted, Save};
use super::schema::{self, PAGE_BYTES};
use super::types::WhenFull;

mod append;
mod aside;
pub mod cold;
mod connect;
mod error;
mod evict;
pub mod folder;
mod found;
mod inspect;
mod letters;
mod load;
mod probe;
mod purge;
mod room;
mod row;
mod state;
mod thin;
mod totals;

use append::{Appended, Tail};
pub use aside::{aside_names, remove, set_aside};
pub use connect::{connect, is_lone_log, log_bytes};
pub use error::StoreError;
use evict::{evict_aged, pages_of, used_bytes, with_evicted};
use room::{Wanted, bound_log, is_full, make_room};
use state::{REFRESH_US, dropped_state, marks_state, note_boot, ranges_over, write_state};
pub use state::{boards_of, ledger_of, ranges_of};
pub use totals::REMOVED;
use totals::delete_within;

/// Boots remembered beyond those that chunks need.
const BOOTS_KEPT: u32 = 32;
/// Board numbers kept per board: those of its newest boots.
const BOOTS_PER_BOARD: usize = 4;

/// What may lie beside the file: its write-ahead log and the index of that; first the file itself.
const SUFFIXES: [&str; 3] = ["", "-wal", "-shm"];

/// The limits that the file keeps.
#[derive(Clone, Debug)]
pub struct Limits {
    /// File and write-ahead log together, in bytes.
    pub max_bytes: u64,
    /// Age at which entries are given up, in microseconds of running time.
    pub max_age_us: i64,
    /// Entries that count in the ledger.
    pub max_readings: Option<u64>,
    /// What gives way at the limits by size and by number.
    pub when_full: WhenFull,
    /// What dead letters may take of it, in bytes; 0: none are kept.
    pub letters_bytes: u64,
}

impl Limits {
    /// What the database's own pages may take, in bytes.
    #[must_use]
    pub fn content_bytes(&self) -> u64 {
        schema::content_bytes(self.max_bytes)
    }
}

/// A boot of this machine that chunks may refer to.
#[derive(Clone, Copy, Debug)]
pub struct Boot {
    /// Wall time minus boot time.
    pub offset: Offset,
    /// How long it ran, as far as we saw, in microseconds.
    pub last_us: i64,
}

/// The present boot of this machine.
#[derive(Clone, Debug)]
pub struct KernelBoot {
    /// The kernel's boot id.
    pub uuid: String,
    /// The row it already has in stamps, when a file is begun while the daemon runs.
    pub row: Option<u32>,
}

/// What a transaction left behind.
#[derive(Debug, Default)]
pub struct Done {
    /// The highest position in a chunk.
    pub last: Option<u64>,
    /// Chunks that were given up.
    pub evicted: Vec<Evicted>,
    /// Whether the file is at its limit.
    pub full: bool,
}

/// The open file.
#[derive(Debug)]
pub struct Store {
    db: Connection,
    bridges: Vec<String>,
    limits: Limits,
    boot: u32,
    /// All boots that chunks may refer to, the present one included.
    pub boots: BTreeMap<u32, Boot>,
    saved: BTreeMap<String, i64>,
    /// The newest row, while it may grow.
    tail: Option<Tail>,
}

impl Store {
    /// Opens the file at `path`, or makes it.
    ///
    /// # Errors
    /// [`StoreError`], see there.
    pub fn open(
        path: &Path,
        bridges: &[String],
        limits: Limits,
        boot: &KernelBoot,
    ) -> Result<Self, StoreError> {
        let is_new = SUFFIXES.iter().all(|suffix| !with_suffix(path, suffix).exists());
        let opened = Self::open_files(path, bridges, limits, boot);
        if is_new && matches!(opened, Err(StoreError::Disk(_))) {
            // Half a new file would look like a damaged one the next time.
            remove(path);
        }
        opened
    }

    fn open_files(
        path: &Path,
        bridges: &[String],
        limits: Limits,
        boot: &KernelBoot,
    ) -> Result<Self, StoreError> {
        let db = connect(path, schema::log_pages(limits.max_bytes))?;
        schema::prepare(&db)?;
        let mut store = Self {
            db,
            bridges: bridges.to_vec(),
            limits,
            boot: 0,
            boots: BTreeMap::new(),
            saved: BTreeMap::new(),
            tail: None,
        };
        store.limit_pages()?;
        store.read_boots(boot)?;
        store.read_state()?;
        Ok(store)
    }

    /// Brings the write-ahead log to its full size, if it is not there yet. Apart from opening,
    /// because a slow disk takes its time for it, and ports need not wait.
    ///
    /// # Errors
    /// [`StoreError`], see there.
    pub fn grow_log(&self, path: &Path) -> Result<(), StoreError> {
        let grown = schema::grow_log(&self.db, schema::log_pages(self.limits.max_bytes), log_bytes(path))?;
        // What filled the log has left as much unused room in the file.
        if grown && self.used_bytes()? <= COMPACT_CONTENT { self.compact() } else { Ok(()) }
    }

    /// The present boot's row.
    #[must_use]
    pub fn boot(&self) -> u32 {
        self.boot
    }

    /// Makes `entries` durable, and `save` along with them.
    ///
    /// # Errors
    /// [`StoreError`]; the file is as it was then.
    pub fn commit(
        &mut self,
        entries: &[(u64, Arc<Body>)],
        save: &Save,
        now: i64,
        offset: Offset,
    ) -> Result<Done, StoreError> {
        let (boot, limits, tail) = (self.boot, self.limits.clone(), self.tail.take());
        let appended = Appended::pack(entries, tail.as_ref(), now, limits.max_age_us)?;
        let bytes = appended.bytes() + save.letters.bytes();
        bound_log(&self.db, &limits, bytes)?;
        let wanted = Wanted { bytes: bytes as u64, n: appended.n() };
        let mut grown = None;
        let done = self.write(save, now, offset, |tx, evicted| {
            if !entries.is_empty() || !save.letters.is_empty() {
                make_room(tx, &limits, boot, wanted, evicted)?;
            }
            grown = appended.write(tx, boot)?;
            Ok(())
        });
        self.tail = if done.is_ok() && !entries.is_empty() { grown } else { tail };
        done
    }

    /// Saves cursors and counters without waiting for the disk: to lose this costs duplicates only.
    ///
    /// # Errors
    /// [`StoreError`]; the file is as it was then.
    pub fn save(&mut self, save: &Save, now: i64, offset: Offset) -> Result<Done, StoreError> {
        if self.is_outdated(now, offset)? {
            // Without it, no reading of this boot has a time.
            return self.write(save, now, offset, |_, _| Ok(()));
        }
        self.db.pragma_update(None, "synchronous", "NORMAL")?;
        let result = self.write(save, now, offset, |_, _| Ok(()));
        self.db.pragma_update(None, "synchronous", "FULL")?;
        result
    }

    /// Whether the file should be saved although nothing else asks for it, because of what it knows of
    /// the clocks: the offset has moved, or, while entries wait, it has long not been told how far this
    /// boot has come.
    ///
    /// # Errors
    /// [`StoreError`], see there.
    pub fn is_outdated(&self, now: i64, offset: Offset) -> Result<bool, StoreError> {
        let Some(known) = self.boots.get(&self.boot) else { return Ok(false) };
        let old = now - known.last_us > REFRESH_US;
        Ok(known.offset.replaced_by(offset).is_some() || (old && last_position(&self.db)?.is_some()))
    }

    /// One transaction: drops what is done with or too old, does `more`, saves.
    fn write(
        &mut self,
        save: &Save,
        now: i64,
        offset: Offset,
        more: impl FnOnce(&Transaction<'_>, &mut Vec<Evicted>) -> Result<(), StoreError>,
    ) -> Result<Done, StoreError> {
        let mut done = Done::default();
        let tx = self.db.transaction()?;
        if let Some(marks) = &save.marks {
            delete_within(&tx, 0, marks.delete_below)?;
            for (start, end) in &marks.delete_within {
                delete_within(&tx, *start, *end)?;
            }
        }
        evict_aged(&tx, &self.boots, self.boot, now, self.limits.max_age_us, &mut done.evicted)?;
        more(&tx, &mut done.evicted)?;
        // What is given up here is counted here: a crash must not come between.
        let mut state = dropped_state(&with_evicted(save, &done.evicted));
        state.extend(save.marks.iter().flat_map(|marks| marks_state(marks, &self.bridges)));
        let over =
            save.marks.iter().flat_map(|marks| ranges_over(&self.saved, marks, &self.bridges)).collect();
        state.extend(letters::keep(&tx, &self.saved, &save.letters, &self.limits)?);
        let state = write_state(&tx, &self.saved, state, &over)?;
        let boot = note_boot(&tx, &self.boots, self.boot, now, offset)?;
        done.last = last_position(&tx)?;
        done.full = is_full(&tx, &self.limits)?;
        tx.commit()?;
        self.saved.extend(state);
        self.saved.retain(|key, _| !over.contains(key));
        self.boots.extend(boot.map(|boot| (self.boot, boot)));
        Ok(done)
    }

    /// How many ranges the file remembers that bridges are done with beyond their cursors.
    #[cfg(test)]
    pub fn kept_ranges(&self) -> usize {
        self.saved.keys().filter(|key| key.starts_with("done:")).count()
    }

    /// Bytes of the file in use.
    ///
    /// # Errors
    /// [`StoreError`], see there.
    pub fn used_bytes(&self) -> Result<u64, StoreError> {
        Ok(used_bytes(&self.db)?)
    }

    /// Size of the file, used or not.
    ///
    /// # Errors
    /// [`StoreError`], see there.
    pub fn size_bytes(&self) -> Result<u64, StoreError> {
        Ok(pages_of(&self.db, "page_count")? * u64::from(PAGE_BYTES))
    }

    /// Gives the file system back what is not used. Writes what is used once more: for small content.
    ///
    /// # Errors
    /// [`StoreError`]; the file is as it was then.
    pub fn compact(&self) -> Result<(), StoreError> {
        self.db.execute_batch("VACUUM")?;
        // The file is cut off when the log is written back. The log itself keeps its size.
        Ok(self.db.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()))?)
    }

    fn limit_pages(&self) -> Result<(), StoreError> {
        let pages = self.limits.content_bytes() / u64::from(PAGE_BYTES);
        let present = pages_of(&self.db, "page_count")?;
        // Making room keeps below this; it is the last fence, for what a commit needs beside its entries.
        let fence = pages.max(present) + schema::FENCE_PAGES;
        self.db.query_row(&format!("PRAGMA max_page_count = {fence}"), [], |_| Ok(()))?;
        Ok(())
    }

    fn read_boots(&mut self, kernel: &KernelBoot) -> Result<(), StoreError> {
        let mut present = None;
        {
            let mut query = self.db.prepare("SELECT id, uuid, offset, synced, last FROM boot ORDER BY id")?;
            let mut rows = query.query([])?;
            while let Some(row) = rows.next()? {
                let id: u32 = row.get(0)?;
                let offset = Offset { us: row.get(2)?, synced: row.get(3)? };
                self.boots.insert(id, Boot { offset, last_us: row.get(4)? });
                if row.get_ref(1)?.as_str().is_ok_and(|uuid| uuid == kernel.uuid) {
                    present = Some(id);
                }
            }
        }
        self.boot = match present {
            Some(id) => id,
            None => {
                let id =
                    kernel.row.unwrap_or_else(|| self.boots.last_key_value().map_or(1, |(id, _)| id + 1));
                self.db.execute("INSERT INTO boot VALUES(?1, ?2, 0, 0, 0)", params![id, kernel.uuid])?;
                self.boots.insert(id, Boot { offset: Offset { us: 0, synced: false }, last_us: 0 });
                id
            }
        };
        self.forget_boots()
    }

    /// Boots that no chunk refers to any more are forgotten, but not the last [`BOOTS_KEPT`]: an event
    /// may tell of readings that are gone.
    fn forget_boots(&mut self) -> Result<(), StoreError> {
        let first: Option<u32> = self
            .db
            .query_row("SELECT boot FROM chunk ORDER BY id LIMIT 1", [], |row| row.get(0))
            .optional()?;
        let keep_from = first.unwrap_or(self.boot).min(self.boot).saturating_sub(BOOTS_KEPT);
        self.db.execute("DELETE FROM boot WHERE id < ?1", [keep_from])?;
        self.boots = self.boots.split_off(&keep_from);
        Ok(())
    }

    fn read_state(&mut self) -> Result<(), StoreError> {
        let mut query = self.db.prepare("SELECT key, value FROM state")?;
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        self.saved = rows.collect::<rusqlite::Result<_>>()?;
        Ok(())
    }
}

fn last_position(db: &Connection) -> rusqlite::Result<Option<u64>> {
    let mut query = db.prepare_cached("SELECT last FROM chunk ORDER BY id DESC LIMIT 1")?;
    Ok(query.query_row([], |row| row.get::<_, i64>(0)).optional()?.map(unsigned))
}

// SQLite's integers are signed. Positions and counts stay far below 2^63.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
