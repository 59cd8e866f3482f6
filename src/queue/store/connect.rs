//! Opening a file of ours: the queue's, and the local broker's.

use std::fs;
use std::path::Path;

use rusqlite::Connection;

use super::{StoreError, folder, with_suffix};
use crate::queue::schema;

/// A connection to the file at `path`, which is made with its folder if it is not there. Nobody else
/// may have it open. Its write-ahead log is started over at `log_pages`.
///
/// # Errors
/// [`StoreError`], see there.
pub fn connect(path: &Path, log_pages: u64) -> Result<Connection, StoreError> {
    folder::make_for(path)?;
    if is_lone_log(path) {
        return Err(StoreError::Damaged("the file is empty or gone, but its log is not".into()));
    }
    let db = Connection::open(path).map_err(|error| StoreError::of_opening(path, error))?;
    db.busy_timeout(std::time::Duration::ZERO)?;
    db.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    schema::configure(&db, log_pages)?;
    Ok(db)
}

/// Bytes of the write-ahead log beside the file at `path`.
#[must_use]
pub fn log_bytes(path: &Path) -> u64 {
    fs::metadata(with_suffix(path, "-wal")).map_or(0, |meta| meta.len())
}

/// Whether there is a log, but no database that it belongs to. SQLite would throw it away without a
/// word, and with it what was not written back yet: up to [`schema::log_pages`] pages.
#[must_use]
pub fn is_lone_log(path: &Path) -> bool {
    fs::metadata(path).map_or(0, |meta| meta.len()) == 0 && log_bytes(path) > 0
}
