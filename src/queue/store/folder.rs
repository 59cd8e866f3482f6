//! The folder that the files are in. A name in it is on disk only when the folder has been synced.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Makes the folder of `path`, and those above it that are missing, so that they survive a power cut.
///
/// # Errors
/// When the file system refuses.
pub fn make_for(path: &Path) -> io::Result<()> {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    if folder.is_dir() {
        return Ok(());
    }
    make_for(folder)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        made => made,
    }?;
    sync_of(folder)
}

/// Makes sure that the name of `path` stands on disk as it is now, or that it is gone.
///
/// # Errors
/// When the file system refuses.
pub fn sync_of(path: &Path) -> io::Result<()> {
    let above = path.parent().filter(|above| !above.as_os_str().is_empty());
    File::open(above.unwrap_or(Path::new(".")))?.sync_all()
}
