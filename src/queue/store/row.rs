//! One row of `chunk`, as it is read.

use std::sync::Arc;

use rusqlite::Row;

use crate::queue::chunk::{self, Boots, ChunkError};
use crate::reading::Body;

use super::unsigned;

/// The columns of a [`ChunkRow`], in order.
pub(super) const COLUMNS: &str = "id, last, n, boot, codec, crc, data";

/// A chunk with its content, if that could be read.
pub(super) struct ChunkRow {
    /// Position of the first entry: the row's id.
    pub(super) id: u64,
    /// Position of the last entry.
    pub(super) last: u64,
    /// Entries that count in the ledger.
    pub(super) n: u64,
    /// Packed size, in bytes.
    pub(super) bytes: usize,
    /// Position and body of each entry.
    pub(super) entries: Result<Vec<(u64, Arc<Body>)>, ChunkError>,
}

impl ChunkRow {
    /// Reads a row of [`COLUMNS`]; `this` is the present boot's row.
    pub(super) fn read(row: &Row<'_>, this: u32) -> rusqlite::Result<Self> {
        let id = unsigned(row.get(0)?);
        let boots = Boots { chunk: row.get(3)?, this };
        let data = row.get_ref(6)?.as_blob().unwrap_or_default();
        Ok(Self {
            id,
            last: unsigned(row.get(1)?),
            n: unsigned(row.get(2)?),
            bytes: data.len(),
            entries: chunk::unpack(id, row.get(4)?, row.get(5)?, data, boots),
        })
    }
}
