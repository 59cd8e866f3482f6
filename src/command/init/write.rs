//! The files: written whole or not at all, and never over another one unless that is wanted.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, fchown};
use std::path::Path;

/// The configuration: for its owner and the daemon's group.
pub(super) const CONFIG_MODE: u32 = 0o640;
/// A password: for its owner.
pub(super) const SECRET_MODE: u32 = 0o600;
/// A folder of secrets.
const SECRET_FOLDER_MODE: u32 = 0o700;
/// The folder of the configuration.
const FOLDER_MODE: u32 = 0o755;

/// Whether an existing file gives way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Existing {
    Stays,
    GivesWay,
}

/// Writes `content` to `path` with `mode`. Its folder is made if it is not there.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] where there is one that stays; there is nothing new then, and
/// nothing half.
pub(super) fn write(path: &Path, content: &str, mode: u32, existing: Existing) -> io::Result<()> {
    let folder = folder_of(path);
    let folder_mode = if mode == SECRET_MODE { SECRET_FOLDER_MODE } else { FOLDER_MODE };
    DirBuilder::new().recursive(true).mode(folder_mode).create(folder)?;
    let mut file = tempfile::Builder::new().prefix(".serialgate-").tempfile_in(folder)?;
    belong_to_owner_of(folder, file.as_file())?;
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    file.write_all(content.as_bytes())?;
    file.as_file().sync_all()?;
    match existing {
        Existing::GivesWay => file.persist(path),
        Existing::Stays => file.persist_noclobber(path),
    }
    .map_err(|error| error.error)?;
    // The name is safe, too.
    File::open(folder)?.sync_all()
}

/// Whether a file can be made at `path`, as far as can be told without one.
///
/// # Errors
/// Why not.
pub(super) fn try_folder(path: &Path) -> io::Result<()> {
    let mut folder = folder_of(path);
    while !folder.exists() {
        folder = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    }
    tempfile::Builder::new().prefix(".serialgate-").tempfile_in(folder).map(drop)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// What root makes in a folder of the daemon is the daemon's.
fn belong_to_owner_of(folder: &Path, file: &File) -> io::Result<()> {
    let owner = fs::metadata(folder)?;
    if nix::unistd::geteuid().is_root() { fchown(file, Some(owner.uid()), Some(owner.gid())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_file_is_there_whole_and_only_for_those_who_may_read_it() {
        let root = tempfile::tempdir().unwrap();
        let secret = root.path().join("a/secrets/cloud");
        write(&secret, "hunter2\n", SECRET_MODE, Existing::Stays).unwrap();
        assert_eq!((mode(&secret), mode(secret.parent().unwrap())), (0o600, 0o700));
        let config = root.path().join("serialgate.yaml");
        write(&config, "gateway: a\n", CONFIG_MODE, Existing::Stays).unwrap();
        assert_eq!(mode(&config), 0o640);
        assert_eq!(fs::read_to_string(&config).unwrap(), "gateway: a\n");
    }

    #[test]
    fn another_file_stays_unless_it_shall_give_way() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("serialgate.yaml");
        fs::write(&path, "mine").unwrap();
        let error = write(&path, "new", CONFIG_MODE, Existing::Stays).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        write(&path, "new", CONFIG_MODE, Existing::GivesWay).unwrap();
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), mode(&path)), ("new", 0o640));
        let left = fs::read_dir(root.path()).unwrap().count();
        assert_eq!(left, 1, "nothing else is left behind");
    }

    #[test]
    fn what_cannot_be_written_is_known_beforehand() {
        let root = tempfile::tempdir().unwrap();
        assert!(try_folder(&root.path().join("not/yet/there.yaml")).is_ok());
        fs::write(root.path().join("file"), "").unwrap();
        assert!(try_folder(&root.path().join("file/x.yaml")).is_err());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }
}
