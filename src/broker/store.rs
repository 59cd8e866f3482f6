//! The broker's file: all its SQL. Synchronous; used by its own thread alone.

mod load;
mod schema;
#[cfg(test)]
mod tests;
mod value;
mod worker;
mod write;

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::journal::{Batch, Image, Work};
use crate::queue::schema::{PAGE_BYTES, grow_log, log_pages};
use crate::queue::store::{StoreError, connect, log_bytes, remove, set_aside};
use value::{Base, unsigned};
pub(super) use worker::{Worker, spawn};

/// Pages in the write-ahead log: as many as a large queue's.
const LOG_FOR: u64 = 1 << 30;
/// What the connection may keep in memory, in KiB.
const CACHE_KIB: i64 = 256;
/// Content beside messages: sessions, subscriptions, wills, and the tables' own. In bytes.
const ROWS_BYTES: u64 = 64 << 20;
/// How often the file learns how long the machine runs, while it is written to, in microseconds.
const REFRESH_US: i64 = 60_000_000;
/// Unused room in the file that is worth giving back, in bytes.
const UNUSED_BYTES: u64 = 1 << 20;

/// Where the file is, and how soon changes are in it.
#[derive(Clone, Debug)]
pub struct Storage {
    /// The file; its log files lie beside it.
    pub path: PathBuf,
    /// No change waits for longer than this, in microseconds.
    pub commit_within_us: i64,
    /// Commit at once, whatever that costs.
    pub is_strict: bool,
}

/// What the file's thread has to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// The file was damaged: it was set aside under that name, for this reason.
    SetAside {
        /// The new name.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The disk does not take our writes.
    Degraded(String),
    /// It does again, and has everything.
    Recovered,
}

/// The open file.
#[derive(Debug)]
struct Store {
    db: Connection,
    path: PathBuf,
    last_us: i64,
}

/// The file as it was opened.
struct Opened {
    store: Store,
    image: Image,
    /// The new name of the one that was there, and what was wrong with it.
    damage: Option<(String, String)>,
}

/// Opens the file and reads it. A damaged one is set aside and a new one begun.
fn open(storage: &Storage, boot: &str, messages_bytes: u64, base: Base) -> Result<Opened, StoreError> {
    let path = &storage.path;
    let is_new = !path.exists();
    let once = || {
        let store = Store::open(path, messages_bytes, boot, base)?;
        let image = load::image(&store.db, base)?;
        Ok((store, image))
    };
    let opened = once().map_err(|error: StoreError| error.looked_into(path));
    match opened {
        Ok((store, image)) => Ok(Opened { store, image, damage: None }),
        Err(StoreError::Damaged(reason)) => {
            let aside = set_aside(path)?.display().to_string();
            let (store, image) = once()?;
            Ok(Opened { store, image, damage: Some((aside, reason)) })
        }
        Err(error) => {
            if is_new && matches!(error, StoreError::Disk(_)) {
                // Half a new file would look like a damaged one the next time.
                remove(path);
            }
            Err(error)
        }
    }
}

impl Store {
    fn open(path: &Path, messages_bytes: u64, boot: &str, base: Base) -> Result<Self, StoreError> {
        let db = connect(path, log_pages(LOG_FOR))?;
        db.pragma_update(None, "cache_size", -CACHE_KIB)?;
        db.set_prepared_statement_cache_capacity(32);
        schema::prepare(&db)?;
        let mut store = Self { db, path: path.to_owned(), last_us: i64::MIN };
        store.allow(messages_bytes)?;
        store.begin_boot(boot, base)?;
        Ok(store)
    }

    /// Lets the file grow to what messages of so many bytes take, at most.
    fn allow(&self, messages_bytes: u64) -> Result<(), StoreError> {
        let pages: u64 = self.db.pragma_query_value(None, "page_count", |row| unsigned(row, 0))?;
        let fence = ((messages_bytes * 2 + ROWS_BYTES) / u64::from(PAGE_BYTES)).max(pages);
        self.db.query_row(&format!("PRAGMA max_page_count = {fence}"), [], |_| Ok(()))?;
        Ok(())
    }

    /// Times of another boot are moved to this one: what passed before the file was last told of it has
    /// passed, the time in between has not.
    fn begin_boot(&mut self, boot: &str, base: Base) -> Result<(), StoreError> {
        let now = base.now_us();
        let tx = self.db.transaction()?;
        let mut known = tx.prepare("SELECT uuid, last_us FROM boot")?;
        let mut rows = known.query([])?;
        let before: Option<(String, i64)> = match rows.next()? {
            Some(row) => Some((row.get(0)?, row.get(1)?)),
            None => None,
        };
        drop(rows);
        drop(known);
        if let Some((_, last)) = before.filter(|(uuid, _)| *uuid != boot) {
            let by = now - last;
            for (table, column) in [
                ("session", "offline_us"),
                ("session", "ends_us"),
                ("message", "expires_us"),
                ("will", "due_us"),
            ] {
                tx.execute(&format!("UPDATE {table} SET {column} = {column} + ?1"), [by])?;
            }
        }
        tx.execute("INSERT OR REPLACE INTO boot VALUES(1, ?1, ?2)", (boot, now))?;
        tx.commit()?;
        self.last_us = now;
        Ok(())
    }

    /// What can be done once nobody waits for the file to be read: brings the log to its full size, and
    /// gives back room that is not used.
    fn tidy(&self) -> Result<(), StoreError> {
        grow_log(&self.db, log_pages(LOG_FOR), log_bytes(&self.path))?;
        let count = |what| self.db.pragma_query_value(None, what, |row| unsigned(row, 0));
        let (unused, all) = (count("freelist_count")?, count("page_count")?);
        // What filled the log has left as much unused room. To give it back writes the rest once more.
        if unused * u64::from(PAGE_BYTES) > UNUSED_BYTES && unused > all / 2 {
            self.db.execute_batch("VACUUM")?;
            self.checkpoint("RESTART")?;
        }
        Ok(())
    }

    /// Makes a batch durable. `true`: there was something to write.
    ///
    /// # Errors
    /// [`StoreError`]; the file is as it was then.
    fn commit<P>(&mut self, batch: &Batch<P>, base: Base) -> Result<bool, StoreError> {
        let is_empty = matches!(&batch.work, Work::Changes(changes) if changes.is_empty());
        if is_empty {
            return Ok(false);
        }
        let now = base.now_us();
        let tx = self.db.transaction()?;
        let writer = write::Writer { db: &tx, base };
        match &batch.work {
            Work::Changes(changes) => writer.changes(changes)?,
            Work::Whole(image) => writer.whole(image)?,
        }
        let is_stale = now - self.last_us > REFRESH_US;
        if is_stale {
            tx.execute("UPDATE boot SET last_us = ?1", [now])?;
        }
        tx.commit()?;
        if is_stale {
            self.last_us = now;
        }
        self.bound_log()
    }

    /// Tells the file how long the machine runs: it may be switched off now.
    fn note_time(&mut self, base: Base) -> Result<(), StoreError> {
        self.db.execute("UPDATE boot SET last_us = ?1", [base.now_us()])?;
        self.last_us = base.now_us();
        Ok(())
    }

    /// A log that one large commit has blown up is cut back.
    fn bound_log(&self) -> Result<bool, StoreError> {
        let bound = 2 * log_pages(LOG_FOR) * u64::from(PAGE_BYTES);
        if log_bytes(&self.path) > bound {
            // What is committed is safe, whether this works or not.
            if let Err(error) = self.checkpoint("TRUNCATE").and_then(|()| self.tidy()) {
                tracing::debug!(%error, "the broker's log could not be cut back");
            }
        }
        Ok(true)
    }

    fn checkpoint(&self, how: &str) -> Result<(), StoreError> {
        Ok(self.db.query_row(&format!("PRAGMA wal_checkpoint({how})"), [], |_| Ok(()))?)
    }
}
