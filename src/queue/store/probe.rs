//! Whether a file that seems damaged cannot be read at all.

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
    /// Damage in the file at `path`, told apart from a disk that does not give a page back: SQLite
    /// calls both the same. As far as a short look can tell.
    #[must_use]
    pub fn or_unreadable(self, path: &Path) -> Self {
        let Self::Damaged(reason) = self else { return self };
        let start = Instant::now();
        let error = SUFFIXES.iter().find_map(|suffix| read_through(&with_suffix(path, suffix), start).err());
        error.map_or(Self::Damaged(reason), |error| Self::Unreadable(format!("reading the queue: {error}")))
    }
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
