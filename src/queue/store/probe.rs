//! What the disk says by itself, where SQLite's word for it is vague or wrong.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{SUFFIXES, StoreError, with_suffix};

/// Bytes per read.
const PIECE_BYTES: usize = 64 * 1024;
/// Looking takes no longer than this: readings wait meanwhile.
const LOOK_FOR: Duration = Duration::from_secs(1);

impl StoreError {
    /// What went wrong with the file at `path`, after a look at it. Damage is told apart from a disk
    /// that does not give a page back: SQLite calls both the same.
    #[must_use]
    pub fn looked_into(self, path: &Path) -> Self {
        match self {
            Self::Damaged(reason) => match read(path) {
                Ok(()) => Self::Damaged(reason),
                Err(error) => Self::Unreadable(format!("reading the file: {error}")),
            },
            Self::Disk(vague) => match File::options().append(true).open(path).map_err(|e| e.to_string()) {
                Err(error) if !vague.contains(&error) && path.exists() => {
                    Self::Disk(format!("{vague}: {error}"))
                }
                _ => Self::Disk(vague),
            },
            other => other,
        }
    }
}

fn read(path: &Path) -> io::Result<()> {
    let start = Instant::now();
    SUFFIXES.iter().try_for_each(|suffix| read_through(&with_suffix(path, suffix), start))
}

fn read_through(path: &Path, start: Instant) -> io::Result<()> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    let mut piece = vec![0; PIECE_BYTES];
    let mut at = 0;
    while start.elapsed() < LOOK_FOR {
        match file.read_at(&mut piece, at)? {
            0 => break,
            count => at += count as u64,
        }
    }
    Ok(())
}
