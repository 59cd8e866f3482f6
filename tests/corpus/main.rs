//! Queue files of every format that was ever written are read by the present code, entry by entry.
//! See `README.md` beside this file.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod entries;
mod text;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serialgate::queue::store::{KernelBoot, Limits, Store};
use serialgate::queue::types::WhenFull;
use serialgate::reading::Body;
use tempfile::TempDir;

fn files() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/files")
}

/// Opens a copy of a file in another boot, as the daemon would, and reads all of it.
fn read(file: &Path) -> Vec<(u64, Arc<Body>)> {
    let dir = TempDir::new().unwrap();
    let copy = dir.path().join("queue.db");
    fs::copy(file, &copy).unwrap();
    let limits = Limits {
        max_bytes: 16 * 1024 * 1024,
        max_readings: None,
        max_age_us: i64::MAX,
        when_full: WhenFull::DropOldest,
    };
    let boot = KernelBoot { uuid: "the boot that reads it".into(), row: None };
    let mut store = Store::open(&copy, &[], limits, &boot).unwrap();
    let (mut all, mut from) = (Vec::new(), 0);
    loop {
        let loaded = store.load(from).unwrap();
        assert_eq!(loaded.corrupt, 0, "{}", file.display());
        all.extend(loaded.entries);
        match loaded.covered_to {
            Some(next) => from = next,
            None => return all,
        }
    }
}

#[test]
fn every_file_says_what_was_written() {
    let mut read_files = 0;
    for folder in fs::read_dir(files()).unwrap().map(|entry| entry.unwrap().path()) {
        let expected = fs::read_to_string(folder.join("expected.txt")).unwrap();
        let expected: Vec<&str> = expected.lines().collect();
        let found: Vec<String> =
            read(&folder.join("queue.db")).iter().map(|(p, b)| text::line(*p, b)).collect();
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found, expected, "in {}", folder.display());
        }
        assert_eq!(found.len(), expected.len(), "entries in {}", folder.display());
        assert!(found.len() > 50, "{} holds too little", folder.display());
        read_files += 1;
    }
    assert!(read_files >= 2, "only {read_files} files were found");
}

/// Each codec that there is stands in a file.
#[test]
fn the_corpus_holds_every_codec() {
    let mut codecs = Vec::new();
    for folder in fs::read_dir(files()).unwrap().map(|entry| entry.unwrap().path()) {
        let dir = TempDir::new().unwrap();
        let copy = dir.path().join("queue.db");
        fs::copy(folder.join("queue.db"), &copy).unwrap();
        let db = rusqlite::Connection::open(copy).unwrap();
        let mut query = db.prepare("SELECT DISTINCT codec FROM chunk").unwrap();
        let found = query.query_map([], |row| row.get::<_, i64>(0)).unwrap();
        codecs.extend(found.map(Result::unwrap));
    }
    codecs.sort_unstable();
    codecs.dedup();
    assert_eq!(codecs, [1, 2, 3]);
}

/// The newest file holds what `entries.rs` says now: a kind of entry that is added there needs a file.
#[test]
fn the_newest_file_holds_all_that_the_program_can_write() {
    let newest = fs::read_to_string(files().join("codec-3-expiry/expected.txt")).unwrap();
    let written: usize = entries::commits().iter().map(Vec::len).sum();
    assert_eq!(newest.lines().count(), written);
}
