//! A file of real blocks beside the queue, to be given up when others have filled the disk.
//!
//! SQLite needs room to move what is in its log back into the file, even to delete. With the ballast
//! gone there is some, so that commits go on for a while and somebody has time to look.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use nix::fcntl::posix_fallocate;
use nix::sys::statvfs::statvfs;

/// Largest ballast, in bytes.
const MAX_BYTES: u64 = 4 * 1024 * 1024;
/// At most this part of what the queue may take.
const PART: u64 = 64;
/// It is made while the disk has so many times its size left.
const SPARE: u64 = 4;
/// How often it is looked for, in microseconds.
const LOOK_EVERY_US: i64 = 60_000_000;

/// The file, whether it is there or not.
#[derive(Debug)]
pub struct Ballast {
    path: PathBuf,
    bytes: u64,
    look_at: i64,
}

impl Ballast {
    /// The ballast of the queue at `queue`, which may take `max_bytes`.
    #[must_use]
    pub fn new(queue: &Path, max_bytes: u64) -> Self {
        let mut path = queue.as_os_str().to_owned();
        path.push("-ballast");
        Self { path: path.into(), bytes: (max_bytes / PART).min(MAX_BYTES), look_at: i64::MIN }
    }

    /// Makes it if it is missing and the disk has room; looks once a minute at most.
    pub fn keep(&mut self, now: i64) {
        if now < self.look_at {
            return;
        }
        self.look_at = now + LOOK_EVERY_US;
        let present = fs::metadata(&self.path).map_or(0, |meta| meta.len());
        let room = free_bytes(&self.path).unwrap_or(0);
        if present < self.bytes && room >= self.bytes * SPARE {
            match self.make() {
                Ok(()) => tracing::debug!(path = %self.path.display(), bytes = self.bytes, "ballast made"),
                Err(error) => {
                    tracing::debug!(%error, "no ballast");
                    // Half of one helps nobody.
                    let _ = fs::remove_file(&self.path);
                }
            }
        }
    }

    fn make(&self) -> io::Result<()> {
        let file = File::create(&self.path)?;
        posix_fallocate(&file, 0, i64::try_from(self.bytes).unwrap_or(i64::MAX))?;
        file.sync_all()
    }

    /// Gives it up if the disk is full. `true`: there is room now that there was not before.
    pub fn give_up(&mut self) -> bool {
        let full = free_bytes(&self.path).is_ok_and(|free| free < self.bytes);
        let given_up = full && fs::remove_file(&self.path).is_ok();
        if given_up {
            tracing::warn!(bytes = self.bytes, "the disk is full: the queue's ballast is given up");
        }
        given_up
    }
}

/// What we may still write to the file system of `path`'s folder.
fn free_bytes(path: &Path) -> io::Result<u64> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let stat = statvfs(folder)?;
    Ok(stat.blocks_available() * stat.fragment_size())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_real_blocks_and_is_made_once_a_minute_at_most() {
        let dir = tempfile::tempdir().unwrap();
        let mut ballast = Ballast::new(&dir.path().join("queue.db"), 64 << 20);
        ballast.keep(0);
        let path = dir.path().join("queue.db-ballast");
        let meta = fs::metadata(&path).unwrap();
        assert_eq!(meta.len(), 1 << 20);
        assert!(std::os::unix::fs::MetadataExt::blocks(&meta) * 512 >= 1 << 20);
        fs::remove_file(&path).unwrap();
        ballast.keep(LOOK_EVERY_US - 1);
        assert!(!path.exists());
        ballast.keep(LOOK_EVERY_US);
        assert!(path.exists());
    }

    #[test]
    fn it_stays_while_the_disk_has_room() {
        let dir = tempfile::tempdir().unwrap();
        let mut ballast = Ballast::new(&dir.path().join("queue.db"), 1 << 20);
        ballast.keep(0);
        assert!(!ballast.give_up());
        assert!(dir.path().join("queue.db-ballast").exists());
    }
}
