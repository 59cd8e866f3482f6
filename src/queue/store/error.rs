//! Why the file does not do what it should.

use std::fs::File;
use std::io;
use std::path::Path;

use nix::libc::EIO;
use rusqlite::ErrorCode;

use crate::queue::schema::SchemaError;

/// Why the file does not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The content is damaged, or is not ours: another file is needed.
    #[error("{0}")]
    Damaged(String),
    /// The disk is full, read-only or broken, perhaps only for a while: to be tried again.
    #[error("{0}")]
    Disk(String),
    /// We may not, or it makes no sense: somebody has to do something about it.
    #[error("{0}")]
    Refused(String),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged(error.to_string()),
            Some(ErrorCode::DatabaseBusy) => Self::Refused("another program has it open".into()),
            Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure | ErrorCode::ReadOnly) => {
                Self::Disk(error.to_string())
            }
            _ => Self::Refused(error.to_string()),
        }
    }
}

impl From<SchemaError> for StoreError {
    fn from(error: SchemaError) -> Self {
        match error {
            SchemaError::Sqlite(error) => error.into(),
            SchemaError::Foreign(_) => Self::Damaged(error.to_string()),
            // Never set a newer version's queue aside: a downgrade must not cost data.
            SchemaError::TooNew(_) => Self::Refused(error.to_string()),
        }
    }
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        match error.kind() {
            StorageFull | ReadOnlyFilesystem | QuotaExceeded => Self::Disk(error.to_string()),
            _ if error.raw_os_error() == Some(EIO) => Self::Disk(error.to_string()),
            _ => Self::Refused(error.to_string()),
        }
    }
}

impl StoreError {
    /// Why the file at `path` could not be opened. SQLite itself only says that it could not.
    pub(super) fn of_opening(path: &Path, error: rusqlite::Error) -> Self {
        if error.sqlite_error_code() == Some(ErrorCode::CannotOpen)
            && let Err(refused) = File::options().read(true).append(true).create(true).open(path)
        {
            return refused.into();
        }
        error.into()
    }
}
