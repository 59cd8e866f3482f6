//! Reading entries back, some chunks at a time.

use crate::queue::job::Loaded;

use super::row::{COLUMNS, ChunkRow};
use super::totals::delete;
use super::{Store, StoreError, signed};

/// A load gathers chunks until it has so many entries …
const LOAD_ENTRIES: usize = 1000;
/// … or has read so many packed bytes.
const LOAD_BYTES: usize = 256 * 1024;

impl Store {
    /// Reads entries from position `from` on, some chunks' worth.
    ///
    /// # Errors
    /// [`StoreError`], see there. A single damaged chunk is none: it is removed and counted.
    pub fn load(&mut self, from: u64) -> Result<Loaded, StoreError> {
        let mut loaded = Loaded::default();
        let mut damaged: Vec<(u64, u64)> = Vec::new();
        {
            // The chunk that holds `from` begins at or before it.
            let mut query = self.db.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM chunk
                 WHERE id >= coalesce((SELECT max(id) FROM chunk WHERE id <= ?1), 0) AND last >= ?1 ORDER BY id",
            ))?;
            let mut rows = query.query([signed(from)])?;
            let mut bytes = 0;
            while loaded.entries.len() < LOAD_ENTRIES && bytes < LOAD_BYTES {
                let Some(row) = rows.next()? else {
                    loaded.covered_to = None;
                    break;
                };
                let chunk = ChunkRow::read(row, self.boot)?;
                bytes += chunk.bytes;
                loaded.covered_to = Some(chunk.last + 1);
                match chunk.entries {
                    Ok(entries) => loaded.entries.extend(entries.into_iter().filter(|(p, _)| *p >= from)),
                    Err(error) => {
                        tracing::error!(chunk = chunk.id, %error, "damaged chunk removed");
                        loaded.corrupt += chunk.n;
                        damaged.push((chunk.id, chunk.n));
                    }
                }
            }
        }
        if !damaged.is_empty() {
            self.remove(&damaged)?;
        }
        Ok(loaded)
    }

    /// Removes single chunks, by id and what they count, from between others.
    fn remove(&mut self, chunks: &[(u64, u64)]) -> Result<(), StoreError> {
        let tx = self.db.transaction()?;
        for (id, n) in chunks {
            delete(&tx, *id, *n)?;
        }
        Ok(tx.commit()?)
    }
}
