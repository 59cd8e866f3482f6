//! Opening in constant time: everything that must be known follows from the first and the last
//! chunk and the small tables.

use std::collections::BTreeMap;

use rusqlite::OptionalExtension;

use crate::queue::ranges::Ranges;
use crate::queue::types::{Found, Resume};
use crate::reading::{Body, MessageId, Reading, Uid};

use super::append::row_of;
use super::evict::age_us;
use super::row::{COLUMNS, ChunkRow};
use super::state::{BOARDS_UPTO, behind_all_done, boards_of, ledger_of, ranges_of, salvaged};
use super::totals::stored;
use super::{BOOTS_PER_BOARD, Store, StoreError, signed, unsigned};

impl Store {
    /// What stands in the file, found by looking at its two ends only.
    ///
    /// # Errors
    /// [`StoreError`], see there.
    pub fn found(&mut self) -> Result<Found, StoreError> {
        let first = self.end("ORDER BY id LIMIT 1")?;
        let last = self.end("ORDER BY id DESC LIMIT 1")?;
        let start = first.as_ref().map_or(0, |chunk| chunk.id);
        let cursors: Vec<u64> = self
            .bridges
            .iter()
            .map(|name| self.saved.get(&format!("bridge:{name}")).map_or(start, |v| unsigned(*v).max(start)))
            .collect();
        let behind = last.as_ref().map_or(0, |chunk| chunk.last + 1);
        let done: Vec<Ranges> = self.bridges.iter().map(|name| ranges_of(&self.saved, name)).collect();
        let next_position = behind.max(behind_all_done(&self.saved));
        let stored = stored(&self.db)?;
        let counted = self.counted_done(&cursors, &done)?;
        let mut ledger = ledger_of(&self.saved);
        ledger.accepted += stored.saturating_sub(counted);
        Ok(Found {
            next_position,
            cursors,
            done,
            ledger,
            boards: self.boards(next_position)?,
            salvaged: salvaged(&self.saved),
            on_disk: last.map(|chunk| chunk.last),
        })
    }

    /// Age of the oldest chunk, in microseconds of running time: what a switched-off machine slept
    /// through does not count, because no clock of ours saw it.
    ///
    /// # Errors
    /// [`StoreError`], see there.
    pub fn oldest_age_us(&self, now: i64) -> Result<Option<i64>, StoreError> {
        let oldest = self.end("ORDER BY id LIMIT 1")?;
        Ok(oldest.map(|chunk| age_us(&self.boots, self.boot, chunk.at, now)))
    }

    /// The boards' numbers: those in the table, and then those of the readings in the newest chunks.
    fn boards(&self, next_position: u64) -> Result<BTreeMap<(Uid, u32), Resume>, StoreError> {
        let mut boards = self.saved_boards();
        let upto = self.saved.get(BOARDS_UPTO).map_or(next_position, |upto| unsigned(*upto));
        let mut query =
            self.db.prepare(&format!("SELECT {COLUMNS} FROM chunk WHERE id >= ?1 ORDER BY id"))?;
        // The row in which it lies may have grown since.
        let mut rows = query.query([signed(row_of(&self.db, upto)?)])?;
        while let Some(row) = rows.next()? {
            let entries = ChunkRow::read(row, self.boot)?.entries.unwrap_or_default();
            for (_, body) in entries.into_iter().filter(|(position, _)| *position >= upto) {
                let Body::Reading(Reading { id: MessageId::Board { uid, boot, seq }, .. }) = &*body else {
                    continue;
                };
                let dropped = boards.get(&(uid.clone(), *boot)).map_or(0, |resume| resume.dropped);
                boards.insert((uid.clone(), *boot), Resume::after(*seq, dropped));
            }
        }
        Ok(boards)
    }

    fn saved_boards(&self) -> BTreeMap<(Uid, u32), Resume> {
        let mut newest: BTreeMap<(Uid, u32), Resume> = BTreeMap::new();
        let mut per_board: BTreeMap<Uid, usize> = BTreeMap::new();
        let mut all = boards_of(&self.saved);
        all.sort_by(|a, b| b.0.cmp(&a.0));
        for ((uid, boot), resume) in all {
            let seen = per_board.entry(uid.clone()).or_default();
            *seen += 1;
            if *seen <= BOOTS_PER_BOARD {
                newest.insert((uid, boot), resume);
            }
        }
        newest
    }

    fn end(&self, order: &str) -> Result<Option<End>, StoreError> {
        let sql = format!("SELECT id, last, boot, t0 FROM chunk {order}");
        let row = self.db.prepare_cached(&sql)?.query_row([], |row| {
            Ok(End { id: unsigned(row.get(0)?), last: unsigned(row.get(1)?), at: (row.get(2)?, row.get(3)?) })
        });
        Ok(row.optional()?)
    }

    /// Entries that count and that all bridges are done with. Chunks with nothing else are deleted in
    /// the transaction that says so, or soon after it: only those at the ends of what is done are read.
    fn counted_done(&self, cursors: &[u64], done: &[Ranges]) -> Result<u64, StoreError> {
        let all = cursors.iter().zip(done).map(|(below, done)| {
            let mut done = done.clone();
            done.insert(0, *below);
            done
        });
        let all = all.reduce(|a, b| a.common(&b)).unwrap_or_default();
        let mut query = self.db.prepare(&format!(
            "SELECT {COLUMNS} FROM chunk
             WHERE id >= coalesce((SELECT max(id) FROM chunk WHERE id <= ?1), 0) AND id < ?2 ORDER BY id"
        ))?;
        let mut count = 0;
        for (start, end) in all.iter() {
            let mut rows = query.query([signed(start), signed(end)])?;
            while let Some(row) = rows.next()? {
                let chunk = ChunkRow::read(row, self.boot)?;
                count += if chunk.id >= start && chunk.last < end {
                    chunk.n
                } else {
                    let entries = chunk.entries.unwrap_or_default();
                    let within = |position| (start..end).contains(&position);
                    entries.iter().filter(|(p, body)| within(*p) && body.counts()).count() as u64
                };
            }
        }
        Ok(count)
    }
}

/// A chunk's row without its content.
#[derive(Debug)]
struct End {
    id: u64,
    last: u64,
    /// Row of its boot, and microseconds of that boot's clock.
    at: (u32, i64),
}
