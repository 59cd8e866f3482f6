//! What is made from a source and kept in the repository is what its source gives: man pages and
//! completions from the command line, the JSON Schema and serialgate.yaml(5) from the table of keys.
//! `make generate` makes them anew.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod agreement;
mod completions;
mod editor;
mod keys;
mod manual;
mod pages;
mod roff;
mod schema;
mod trials;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Set, it has the files written rather than compared.
const WRITE: &str = "SERIALGATE_GENERATE";

/// Files by name.
type Files = BTreeMap<String, String>;

/// The tree that is being tested.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Holds `folder` to `files`, which are all that it holds.
fn keep(folder: &str, files: &Files) {
    let folder = root().join(folder);
    if std::env::var_os(WRITE).is_some() {
        fs::create_dir_all(&folder).unwrap();
        for name in names(&folder).iter().filter(|name| !files.contains_key(*name)) {
            fs::remove_file(folder.join(name)).unwrap();
        }
        files.iter().for_each(|(name, text)| fs::write(folder.join(name), text).unwrap());
    }
    let wanted: Vec<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(names(&folder), wanted, "{}: run `make generate`", folder.display());
    for (name, text) in files {
        keep_one(&folder.join(name), text);
    }
}

/// Holds the file at `path` to `text`.
fn keep_one(path: &Path, text: &str) {
    if std::env::var_os(WRITE).is_some() {
        fs::write(path, text).unwrap();
    }
    let kept = fs::read_to_string(path).unwrap_or_default();
    assert!(kept == text, "{} is not what its source gives; run `make generate`", path.display());
}

/// What is in `folder`, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
