//! Files that were set aside because they are damaged.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{SUFFIXES, with_suffix};

/// Sets the file at `path` aside, with everything that belongs to it. Gives its new name.
///
/// # Errors
/// When the file system refuses.
pub fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let mut n = 1;
    let aside = loop {
        let name = with_suffix(path, &format!(".damaged-{n}"));
        if SUFFIXES.iter().all(|suffix| !with_suffix(&name, suffix).exists()) {
            break name;
        }
        n += 1;
    };
    for suffix in SUFFIXES {
        let (from, to) = (with_suffix(path, suffix), with_suffix(&aside, suffix));
        if from.exists() {
            fs::rename(from, to)?;
        }
    }
    Ok(aside)
}

/// The names that [`set_aside`] has given to files of the queue at `path`, without suffixes.
#[must_use]
pub fn aside_names(path: &Path) -> BTreeSet<PathBuf> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut begin = path.file_name().unwrap_or_default().to_owned();
    begin.push(".damaged-");
    let begin = begin.to_string_lossy().into_owned();
    let names = fs::read_dir(folder).into_iter().flatten().flatten();
    let bases = names.filter_map(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let base = name.strip_prefix(&begin)?;
        let digits = base.find(|c: char| !c.is_ascii_digit()).unwrap_or(base.len());
        let rest = base.get(digits..)?;
        (digits > 0 && SUFFIXES.contains(&rest)).then(|| folder.join(format!("{begin}{}", &base[..digits])))
    });
    bases.collect()
}

/// Removes the file at `path` and everything that belongs to it, as far as that can be done.
pub fn remove(path: &Path) {
    for suffix in SUFFIXES {
        // What is not there need not go.
        let _ = fs::remove_file(with_suffix(path, suffix));
    }
}
