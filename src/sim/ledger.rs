//! What the boards produced and what the gateway acknowledged, as JSON lines.
//!
//! Whoever reads it may kill us at any moment, so each line is written by itself, and written
//! before the reading it tells of goes out.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

/// The ledger of all boards. Cheap to clone; all clones share the file and the counts.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    file: Option<Mutex<File>>,
    produced: AtomicU64,
    acknowledged: AtomicU64,
}

/// One line.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(super) enum Entry<'a> {
    /// A board took a reading.
    Produced {
        /// The board, as the gateway names it by default.
        device: &'a str,
        /// The reading's id, and its number, where the board has such.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        seq: Option<u32>,
        /// A JSON board's own count.
        #[serde(skip_serializing_if = "Option::is_none")]
        n: Option<u64>,
        temp: f64,
        hum: f64,
    },
    /// The gateway has a reading safe.
    Acknowledged { device: &'a str, id: &'a str, seq: u32 },
    /// A JSON board's line went nowhere: nobody listened, or not fast enough.
    Unheard { device: &'a str, n: u64 },
}

impl Ledger {
    /// A ledger that only counts.
    #[must_use]
    pub fn unwritten() -> Self {
        Self::default()
    }

    /// A ledger in a new file at `path`, in place of what is there.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = Some(Mutex::new(File::create(path)?));
        Ok(Self(Arc::new(Inner { file, ..Inner::default() })))
    }

    /// Readings taken so far.
    #[must_use]
    pub fn produced(&self) -> u64 {
        self.0.produced.load(Ordering::Relaxed)
    }

    /// Readings acknowledged so far.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.0.acknowledged.load(Ordering::Relaxed)
    }

    pub(super) fn enter(&self, entry: Entry<'_>) -> io::Result<()> {
        match entry {
            Entry::Produced { .. } => self.0.produced.fetch_add(1, Ordering::Relaxed),
            Entry::Acknowledged { .. } => self.0.acknowledged.fetch_add(1, Ordering::Relaxed),
            Entry::Unheard { .. } => 0,
        };
        let Some(file) = &self.0.file else { return Ok(()) };
        let mut line = serde_json::to_vec(&entry)?;
        line.push(b'\n');
        file.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line)
    }
}
