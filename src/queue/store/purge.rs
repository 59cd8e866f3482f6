//! Taking entries out from between others, because an operator gives them up.

use std::sync::Arc;

use rusqlite::{Connection, Transaction, params};

use crate::queue::chunk;
use crate::queue::operate::{Purge, SLICE_BYTES, SLICE_ENTRIES, Work};
use crate::reading::Body;

use super::evict::age_us;
use super::inspect::age_of;
use super::row::{COLUMNS, ChunkRow};
use super::state::{PURGED, write_state};
use super::totals::{delete, note_removed};
use super::{Store, StoreError, last_position, signed, unsigned};

/// A slice rewrites at most so many chunks: each costs about a page.
const SLICE_CHUNKS: usize = 200;

impl Store {
    /// One slice of a purge.
    ///
    /// # Errors
    /// [`StoreError`]; the file is as it was then.
    pub(super) fn purge(&mut self, purge: &Purge, now: i64) -> Result<Work, StoreError> {
        // The newest row may be among those that change: nothing more is added to it.
        self.tail = None;
        let tx = self.db.transaction()?;
        // Read first, then write: a row that moves must not be met twice.
        let (chunks, next) = read(&tx, purge.from, self.boot)?;
        let mut removed = Vec::new();
        for (chunk, at) in chunks {
            let chunk_us = age_us(&self.boots, self.boot, at, now);
            let age = |body: &Body| age_of(body, chunk_us, &self.boots, self.boot, now);
            let goes =
                |position: u64, body: &Body| position < purge.end && purge.which.takes(body, age(body));
            removed.extend(take_out(&tx, chunk, goes)?);
        }
        // What is given up here is counted here: a crash must not come between.
        let lost = removed.iter().filter(|(position, body)| body.counts() && !purge.save.is_done(*position));
        let before = self.saved.get(PURGED).copied().unwrap_or(0);
        let state = vec![(PURGED.to_owned(), before + signed(lost.count() as u64))];
        let state = write_state(&tx, &self.saved, state, &Vec::new())?;
        let last = last_position(&tx)?;
        tx.commit()?;
        self.saved.extend(state);
        let finished = next.is_none_or(|next| next >= purge.end);
        let from = next.unwrap_or(purge.end);
        Ok(Work::Purged { purge: Purge { from, ..purge.clone() }, removed, last, finished })
    }
}

/// Takes out of `chunk` what `goes`, and gives that.
fn take_out(
    tx: &Transaction<'_>,
    chunk: ChunkRow,
    goes: impl Fn(u64, &Body) -> bool,
) -> Result<Vec<(u64, Arc<Body>)>, StoreError> {
    // What cannot be read stays: the bridge that comes to it counts it as damaged.
    let entries = chunk.entries.unwrap_or_default();
    let (gone, kept): (Vec<_>, Vec<_>) =
        entries.into_iter().partition(|(position, body)| goes(*position, body));
    if gone.is_empty() {
        return Ok(gone);
    }
    let (Some((first, _)), Some((last, _))) = (kept.first(), kept.last()) else {
        delete(tx, chunk.id, chunk.n)?;
        return Ok(gone);
    };
    let lost = gone.iter().filter(|(_, body)| body.counts()).count() as u64;
    let packed = chunk::pack(&kept).map_err(|error| StoreError::Refused(error.to_string()))?;
    note_removed(tx, lost)?;
    // The row's id is its first position.
    tx.prepare_cached(
        "UPDATE chunk SET id = ?2, last = ?3, n = ?4, codec = ?5, crc = ?6, data = ?7 WHERE id = ?1",
    )?
    .execute(params![
        signed(chunk.id),
        signed(*first),
        signed(*last),
        signed(chunk.n.saturating_sub(lost)),
        packed.codec,
        packed.crc,
        packed.data
    ])?;
    Ok(gone)
}

/// A chunk, and when it was written.
type Dated = (ChunkRow, (u32, i64));

/// The chunks of a slice, and the id of the one behind them.
fn read(db: &Connection, from: u64, boot: u32) -> rusqlite::Result<(Vec<Dated>, Option<u64>)> {
    let mut query =
        db.prepare_cached(&format!("SELECT {COLUMNS}, t1 FROM chunk WHERE id >= ?1 ORDER BY id"))?;
    let mut rows = query.query([signed(from)])?;
    let (mut chunks, mut bytes, mut entries) = (Vec::new(), 0, 0);
    while let Some(row) = rows.next()? {
        if chunks.len() == SLICE_CHUNKS || bytes >= SLICE_BYTES || entries >= SLICE_ENTRIES {
            return Ok((chunks, Some(unsigned(row.get("id")?))));
        }
        let chunk = ChunkRow::read(row, boot)?;
        bytes += chunk.bytes;
        entries += chunk.entries.as_ref().map_or(0, Vec::len);
        chunks.push((chunk, (row.get("boot")?, row.get("t1")?)));
    }
    Ok((chunks, None))
}
