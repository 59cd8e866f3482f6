//! A queue file that no gateway has open, read without changing a byte of it.
//!
//! SQLite makes files beside a database even to read it: an index of the write-ahead log, a log where
//! there is none. So the file is opened read-only and without SQLite's locks, which keeps that index in
//! memory. That nobody else writes meanwhile is seen to first.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::clock::Offset;
use crate::queue::operate::{Checked, Slice};
use crate::queue::schema::{APPLICATION_ID, SCHEMA_VERSION};

use super::inspect::View;
use super::{Boot, StoreError, is_lone_log, unsigned, with_suffix};

/// The bytes of a database file that SQLite locks (its file format, section "locking").
const LOCK_BYTES: (libc::off_t, libc::off_t) = (0x4000_0000, 512);
/// `PRAGMA integrity_check` stops after so many findings.
const FINDINGS_MAX: u32 = 100;

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ColdError {
    /// There is no such file, or it is not for us.
    #[error("queue file {path}: {error}")]
    Missing {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// Somebody has it open.
    #[error(
        "queue file {path} is in use by process {pid}: stop that, or leave out --file to ask the gateway that runs"
    )]
    InUse {
        /// The file.
        path: PathBuf,
        /// Who.
        pid: i32,
    },
    /// It is damaged beyond reading, or not ours.
    #[error("queue file {path}: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: String,
    },
}

/// A file, open for reading.
#[derive(Debug)]
pub struct Cold {
    db: Connection,
    boots: BTreeMap<u32, Boot>,
    state: BTreeMap<String, i64>,
    /// Held for as long as we read, so that nobody begins to write.
    _lock: File,
}

impl Cold {
    /// Opens the file at `path`.
    ///
    /// # Errors
    /// [`ColdError`], see there.
    pub fn open(path: &Path) -> Result<Self, ColdError> {
        let lock = lock(path)?;
        let unreadable = |error: String| ColdError::Unreadable { path: path.to_owned(), error };
        if is_lone_log(path) {
            return Err(unreadable("it is empty, but its log is not; restore it from a copy".into()));
        }
        let (db, boots, state) = read(path).map_err(|error| unreadable(error.to_string()))?;
        Ok(Self { db, boots, state, _lock: lock })
    }

    /// The moments from which the clocks of its boots count, by their rows: see
    /// [`Clock::learn`](crate::clock::Clock::learn).
    pub fn offsets(&self) -> impl Iterator<Item = (u32, Offset)> {
        self.boots.iter().map(|(row, boot)| (*row, boot.offset))
    }

    /// The first position that `bridge` is not done with; without one, the first that any is not done
    /// with. `None` for a bridge that the file does not know.
    #[must_use]
    pub fn cursor(&self, bridge: Option<&str>) -> Option<u64> {
        match bridge {
            Some(name) => self.state.get(&format!("bridge:{name}")).copied().map(unsigned),
            None => Some(self.bridges().filter_map(|name| self.cursor(Some(name))).min().unwrap_or(0)),
        }
    }

    /// The bridges that the file knows.
    pub fn bridges(&self) -> impl Iterator<Item = &str> {
        self.state.keys().filter_map(|key| key.strip_prefix("bridge:"))
    }

    /// Entries from position `from` on.
    ///
    /// # Errors
    /// What is wrong with the file, in words.
    pub fn read(&self, from: u64) -> Result<Slice, String> {
        self.view().read(from, 0).map(|(slice, _)| slice).map_err(|error| error.to_string())
    }

    /// Checks the chunks that follow the one with the id `after`.
    #[must_use]
    pub fn verify(&self, after: Option<u64>) -> Checked {
        self.view()
            .verify(after)
            .unwrap_or_else(|error| Checked::broken(after.map_or(0, |id| id + 1), error.to_string()))
    }

    /// What SQLite finds wrong with the file as a whole, a line each.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        self.integrity().unwrap_or_else(|error| vec![error.to_string()])
    }

    fn integrity(&self) -> rusqlite::Result<Vec<String>> {
        let mut query = self.db.prepare(&format!("PRAGMA integrity_check({FINDINGS_MAX})"))?;
        let rows = query.query_map([], |row| row.get::<_, String>(0))?;
        let mut faults = rows.collect::<rusqlite::Result<Vec<_>>>()?;
        faults.retain(|fault| fault != "ok");
        Ok(faults)
    }

    fn view(&self) -> View<'_> {
        // No boot is the present one: row 0 is none.
        View { db: &self.db, boots: &self.boots, this: 0 }
    }
}

/// Opens the file and takes a lock on it that keeps a gateway from opening it meanwhile.
fn lock(path: &Path) -> Result<File, ColdError> {
    let missing = |error| ColdError::Missing { path: path.to_owned(), error };
    let file = File::open(path).map_err(missing)?;
    let (l_start, l_len) = LOCK_BYTES;
    // Both are 0 on Linux.
    let l_type = libc::c_short::try_from(libc::F_RDLCK).unwrap_or_default();
    let l_whence = libc::c_short::try_from(libc::SEEK_SET).unwrap_or_default();
    let mut range = libc::flock { l_type, l_whence, l_start, l_len, l_pid: 0 };
    if fcntl(&file, FcntlArg::F_SETLK(&range)).is_ok() {
        return Ok(file);
    }
    fcntl(&file, FcntlArg::F_GETLK(&mut range)).map_err(|errno| missing(errno.into()))?;
    Err(ColdError::InUse { path: path.to_owned(), pid: range.l_pid })
}

type Content = (Connection, BTreeMap<u32, Boot>, BTreeMap<String, i64>);

fn read(path: &Path) -> Result<Content, StoreError> {
    let has_log = std::fs::metadata(with_suffix(path, "-wal")).is_ok_and(|log| log.len() > 0);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = if has_log {
        Connection::open_with_flags_and_vfs(path, flags, c"unix-none")?
    } else {
        // Without a log there is nothing but the file, and it does not change.
        let uri = format!("file:{}?immutable=1", escaped(path));
        Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI)?
    };
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    db.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    db.pragma_update(None, "query_only", true)?;
    db.pragma_update(None, "temp_store", "MEMORY")?;
    let application: i64 = db.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if application != APPLICATION_ID {
        return Err(StoreError::Damaged(format!("not a queue of ours (application id {application:#x})")));
    }
    if version > SCHEMA_VERSION {
        return Err(StoreError::Refused(format!(
            "schema version {version} is newer than this version of the program knows ({SCHEMA_VERSION})"
        )));
    }
    let boots = {
        let mut query = db.prepare("SELECT id, offset, synced, last FROM boot")?;
        let rows = query.query_map([], |row| {
            let offset = Offset { us: row.get(1)?, synced: row.get(2)? };
            Ok((row.get(0)?, Boot { offset, last_us: row.get(3)? }))
        })?;
        rows.collect::<rusqlite::Result<_>>()?
    };
    let state = {
        let mut query = db.prepare("SELECT key, value FROM state")?;
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect::<rusqlite::Result<_>>()?
    };
    Ok((db, boots, state))
}

/// As a path in a URI.
fn escaped(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte);
    let bytes = path.as_os_str().as_bytes().iter();
    bytes
        .map(|byte| if plain(*byte) { char::from(*byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
