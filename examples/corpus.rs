//! Writes a queue file for the corpus of `tests/corpus`, and beside it what it must say.
//!
//! `cargo run --example corpus -- tests/corpus/files/NAME`; see `tests/corpus/README.md`.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serialgate::clock::Offset;
use serialgate::queue::job::Save;
use serialgate::queue::store::{KernelBoot, Limits, Store};
use serialgate::queue::types::WhenFull;
use serialgate::reading::{Body, Epoch};

#[path = "../tests/corpus/entries.rs"]
#[expect(clippy::unwrap_used, reason = "shared with a test, and its numbers are constants")]
mod entries;
#[path = "../tests/corpus/text.rs"]
mod text;

/// The row of the first boot in a new file.
const FIRST_BOOT: u32 = 1;

fn main() -> Result<()> {
    let folder = PathBuf::from(std::env::args().nth(1).context("give the folder to write to")?);
    let path = folder.join("queue.db");
    if path.exists() {
        bail!("{} is there already: a file of the corpus is never written again", path.display());
    }
    fs::create_dir_all(&folder)?;
    let limits = Limits {
        max_bytes: 16 * 1024 * 1024,
        max_readings: None,
        letters_bytes: 1 << 20,
        max_age_us: i64::MAX,
        when_full: WhenFull::DropOldest,
    };
    let boot = KernelBoot { uuid: "the boot that wrote it".into(), row: Some(FIRST_BOOT) };
    let mut store = Store::open(&path, &[], limits, &boot)?;
    let mut lines = String::new();
    for commit in entries::commits() {
        store.commit(&commit, &save(), 130_000_000, Offset { us: 0, synced: true })?;
        for (position, body) in commit {
            let mut body = Body::clone(&body);
            // Whoever opens the file will be in another boot.
            for at in body.stamps_mut().filter(|at| at.epoch == Epoch::ThisBoot) {
                at.epoch = Epoch::Boot(FIRST_BOOT);
            }
            lines.push_str(&text::line(position, &body));
            lines.push('\n');
        }
    }
    drop(store);
    // One file, without its log.
    let db = rusqlite::Connection::open(&path)?;
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    drop(db);
    fs::write(folder.join("expected.txt"), lines)?;
    Ok(())
}

fn save() -> Save {
    Save::default()
}
