//! The queue's tables, and the settings of the connection.
//!
//! One row of `chunk` holds all entries of one commit. Chunks are written at the end and deleted
//! at the beginning, so their ids rise and the totals of what is stored follow from the first and
//! the last row alone: opening never counts.

use rusqlite::Connection;
use rusqlite::config::DbConfig;

/// `PRAGMA application_id` of our files: "SGq1".
pub const APPLICATION_ID: i64 = 0x5347_7131;
/// `PRAGMA user_version` of the newest schema.
pub const SCHEMA_VERSION: i64 = 1;
/// Page size, in bytes. A write-ahead log frame is a page and 24 bytes, so small pages waste least.
pub const PAGE_BYTES: u32 = 1024;
/// What the write-ahead log adds to a page, in bytes.
const FRAME_BYTES: u64 = 24;
/// Room between what the entries may take and where SQLite itself refuses, in pages.
pub const FENCE_PAGES: u64 = 64;
/// Most and fewest pages in the write-ahead log.
const LOG_PAGES: (u64, u64) = (4000, 200);

/// Pages in the write-ahead log at which it is written back, and its size from the first day on:
/// overwriting costs one flush per commit, growing two. At most a quarter of all that the queue may
/// take.
#[must_use]
pub fn log_pages(max_bytes: u64) -> u64 {
    (max_bytes / 4 / u64::from(PAGE_BYTES)).clamp(LOG_PAGES.1, LOG_PAGES.0)
}

/// The most pages that the write-ahead log may have: before a commit that would not fit, it is started
/// over.
#[must_use]
pub fn log_pages_max(max_bytes: u64) -> u64 {
    log_pages(max_bytes) * 5 / 4
}

/// What the database's own pages may take, in bytes, when all files together may take `max_bytes`.
#[must_use]
pub fn content_bytes(max_bytes: u64) -> u64 {
    let log = log_pages_max(max_bytes) * (u64::from(PAGE_BYTES) + FRAME_BYTES);
    max_bytes.saturating_sub(log + FENCE_PAGES * u64::from(PAGE_BYTES))
}

/// All readings below the position that stands under this key in `state` have their boards' numbers
/// there. Those of later readings follow from the chunks.
pub const BOARDS_UPTO: &str = "boards_upto";

const TABLES: &str = "
CREATE TABLE chunk(
  id    INTEGER PRIMARY KEY,   -- position of the first entry
  last  INTEGER NOT NULL,      -- position of the last entry
  n     INTEGER NOT NULL,      -- entries that count in the ledger
  total INTEGER NOT NULL,      -- sum of n over all chunks ever, this one included
  boot  INTEGER NOT NULL,      -- row of boot that t0 and t1 belong to
  t0    INTEGER NOT NULL,      -- CLOCK_BOOTTIME of the commit's first entry, microseconds
  t1    INTEGER NOT NULL,      -- and of the commit itself
  codec INTEGER NOT NULL,      -- how data is packed
  crc   INTEGER NOT NULL,      -- CRC-32 of data
  data  BLOB    NOT NULL
) STRICT;
CREATE TABLE boot(
  id     INTEGER PRIMARY KEY,
  uuid   TEXT    NOT NULL,     -- of the kernel
  offset INTEGER NOT NULL,     -- wall time minus CLOCK_BOOTTIME, microseconds
  synced INTEGER NOT NULL,     -- whether the wall clock was synchronised then
  last   INTEGER NOT NULL      -- CLOCK_BOOTTIME when this row was written, microseconds
) STRICT;
-- Cursors, counters and board numbers: few, small, often written, so together on one page.
CREATE TABLE state(
  key   TEXT PRIMARY KEY,
  value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

/// What bridges can never deliver. Files of earlier versions get it when they are opened. They keep their
/// schema version all the same: who does not know this table loses nothing by it, and a gateway on which
/// an older version is installed again must start.
const DEAD_LETTERS: &str = "
CREATE TABLE IF NOT EXISTS dead_letter(
  id     INTEGER PRIMARY KEY,  -- rising, never used twice
  bridge TEXT    NOT NULL,     -- its name
  at     INTEGER NOT NULL,     -- when it was given up, microseconds since 1970
  bytes  INTEGER NOT NULL,     -- what it counts towards the limit
  topic  TEXT    NOT NULL,     -- where it was to go
  reason TEXT    NOT NULL,     -- in words
  entry  TEXT    NOT NULL      -- as `serialgate queue export` writes it
) STRICT;
";

/// Prepares a connection. The order matters: the page size counts only before the log is switched
/// on.
pub fn configure(db: &Connection, log_pages: u64) -> rusqlite::Result<()> {
    // A checkpoint at close would delete the log: the next start would have to grow it again, and of a
    // damaged file nothing would be left to be looked at.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    db.pragma_update(None, "page_size", PAGE_BYTES)?;
    db.pragma_update(None, "auto_vacuum", "NONE")?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "wal_autocheckpoint", i64::try_from(log_pages).unwrap_or(i64::MAX))?;
    db.pragma_update(None, "mmap_size", 0)?;
    db.pragma_update(None, "cache_size", -1000)?;
    db.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(())
}

/// What is wrong with a file that SQLite can read.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// SQLite's own word.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// Somebody else's database.
    #[error("not a queue of ours (application id {0:#x})")]
    Foreign(i64),
    /// Written by a newer version.
    #[error("schema version {0} is newer than this version of the program knows ({SCHEMA_VERSION})")]
    TooNew(i64),
}

/// Makes the tables in a new file, or checks that those of an old one are ours.
pub fn prepare(db: &Connection) -> Result<(), SchemaError> {
    let application: i64 = db.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    match (application, version) {
        (0, 0) if tables == 0 => Ok(db.execute_batch(&format!(
            "BEGIN IMMEDIATE; {TABLES} {DEAD_LETTERS}
             INSERT INTO state VALUES('{BOARDS_UPTO}', 0);
             PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
        ))?),
        (APPLICATION_ID, SCHEMA_VERSION) => Ok(db.execute_batch(DEAD_LETTERS)?),
        (APPLICATION_ID, newer) => Err(SchemaError::TooNew(newer)),
        (foreign, _) => Err(SchemaError::Foreign(foreign)),
    }
}

/// Brings the write-ahead log to its full size, once. `false`: it had it.
pub fn grow_log(db: &Connection, log_pages: u64, present_bytes: u64) -> rusqlite::Result<bool> {
    let bytes = log_pages * u64::from(PAGE_BYTES);
    if present_bytes >= bytes {
        return Ok(false);
    }
    db.execute_batch(&format!(
        "BEGIN IMMEDIATE; CREATE TABLE filler(data BLOB); INSERT INTO filler VALUES(zeroblob({bytes}));
         DROP TABLE filler; COMMIT;"
    ))?;
    db.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(true))
}
