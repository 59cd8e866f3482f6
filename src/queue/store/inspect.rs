//! Looking without touching: for operators, on a file in use or a cold one.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension};

use crate::queue::operate::{Bad, Checked, SLICE_BYTES, SLICE_ENTRIES, Slice, Task, Waiting, Work};
use crate::reading::{Body, Epoch, Stamp};

use super::evict::age_us;
use super::row::{COLUMNS, ChunkRow};
use super::{Boot, Store, StoreError, signed, unsigned};

/// A slice has at most so many chunks.
const SLICE_CHUNKS: usize = 1000;

/// What is needed to read a file's chunks.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    pub(super) db: &'a Connection,
    pub(super) boots: &'a BTreeMap<u32, Boot>,
    /// The present boot's row.
    pub(super) this: u32,
}

impl Store {
    /// Does what an operator asked for.
    ///
    /// # Errors
    /// [`StoreError`], see there.
    pub fn operate(&mut self, task: &Task, now: i64) -> Result<Work, StoreError> {
        match task {
            Task::Read { bridge, from } => self
                .view()
                .read(*from, now)
                .map(|(slice, covered_to)| Work::Read { bridge: *bridge, slice, covered_to }),
            Task::Purge(purge) => self.purge(purge, now),
            Task::Letters { after } => self.letters(*after).map(Work::Letters),
            Task::DropLetters { numbers } => self.drop_letters(numbers).map(Work::LettersDropped),
            Task::Verify { after } => match self.view().verify(*after) {
                Err(StoreError::Damaged(what)) => {
                    Ok(Work::Verified(Checked::broken(after.map_or(0, |id| id + 1), what)))
                }
                checked => checked.map(Work::Verified),
            },
        }
    }

    fn view(&self) -> View<'_> {
        View { db: &self.db, boots: &self.boots, this: self.boot }
    }
}

impl View<'_> {
    /// Entries from position `from` on, some chunks' worth, and the position below which all was
    /// looked at.
    pub(super) fn read(self, from: u64, now: i64) -> Result<(Slice, u64), StoreError> {
        let mut slice = Slice::default();
        // The chunk that holds `from` begins at or before it.
        let mut query = self.db.prepare_cached(&format!(
            "SELECT {COLUMNS}, t1 FROM chunk
             WHERE id >= coalesce((SELECT max(id) FROM chunk WHERE id <= ?1), 0) AND last >= ?1 ORDER BY id",
        ))?;
        let mut rows = query.query([signed(from)])?;
        let (mut chunks, mut bytes, mut covered_to) = (0, 0, from);
        while chunks < SLICE_CHUNKS && slice.entries.len() < SLICE_ENTRIES && bytes < SLICE_BYTES {
            let Some(row) = rows.next()? else { return Ok((slice, covered_to)) };
            let chunk = ChunkRow::read(row, self.this)?;
            let age_us = age_us(self.boots, self.this, (row.get("boot")?, row.get("t1")?), now);
            chunks += 1;
            bytes += chunk.bytes;
            covered_to = chunk.last + 1;
            match chunk.entries {
                Ok(entries) => {
                    let entries = entries.into_iter().filter(|(position, _)| *position >= from);
                    let waiting = entries.map(|(position, body)| {
                        let age_us = age_of(&body, age_us, self.boots, self.this, now);
                        Waiting { position, body, age_us }
                    });
                    slice.entries.extend(waiting);
                }
                Err(error) => slice.bad.push(Bad { position: chunk.id, what: error.to_string() }),
            }
        }
        slice.next = Some(covered_to);
        Ok((slice, covered_to))
    }

    /// Checks the chunks that follow the one with the id `after`: that each can be read, is what its row
    /// says, and comes after the one before.
    pub(super) fn verify(self, after: Option<u64>) -> Result<Checked, StoreError> {
        let mut checked = Checked::default();
        let mut before = after.map(|id| self.link(id)).transpose()?.flatten();
        let mut query = self
            .db
            .prepare_cached(&format!("SELECT {COLUMNS}, total FROM chunk WHERE id > ?1 ORDER BY id"))?;
        let mut rows = query.query([after.map_or(-1, signed)])?;
        let (mut chunks, mut bytes, mut entries) = (0, 0, 0);
        while chunks < SLICE_CHUNKS && entries < SLICE_ENTRIES && bytes < SLICE_BYTES {
            let Some(row) = rows.next()? else { return Ok(Checked { next: None, ..checked }) };
            let chunk = ChunkRow::read(row, self.this)?;
            let id = chunk.id;
            let link = Link { last: chunk.last, total: row.get("total")? };
            chunks += 1;
            bytes += chunk.bytes;
            entries += chunk.entries.as_ref().map_or(0, Vec::len);
            checked.chunks += 1;
            checked.readings += chunk.n;
            checked.bytes += chunk.bytes as u64;
            checked.next = Some(id);
            let wrong = fault(&chunk).or_else(|| before.and_then(|before| before.fault(&chunk, link)));
            checked.bad_chunks += u64::from(wrong.is_some());
            checked.bad.extend(wrong.map(|what| Bad { position: id, what }));
            before = Some(link);
        }
        Ok(checked)
    }

    fn link(self, id: u64) -> Result<Option<Link>, StoreError> {
        let mut query = self.db.prepare_cached("SELECT last, total FROM chunk WHERE id = ?1")?;
        let row = query.query_row([signed(id)], |row| Ok((unsigned(row.get(0)?), row.get(1)?))).optional()?;
        Ok(row.map(|(last, total)| Link { last, total }))
    }
}

/// How old an entry is, in microseconds of running time: counted from when it was sampled, as far as a
/// boot of ours saw that, and not less than its chunk's age. A chunk may span hours.
pub(super) fn age_of(body: &Body, chunk_us: i64, boots: &BTreeMap<u32, Boot>, this: u32, now: i64) -> i64 {
    let own_us = match body.at() {
        Some(Stamp { epoch: Epoch::ThisBoot, us }) => now - us,
        Some(Stamp { epoch: Epoch::Boot(row), us }) => age_us(boots, this, (row, us), now),
        Some(Stamp { epoch: Epoch::Wall { .. }, .. }) | None => chunk_us,
    };
    own_us.max(chunk_us)
}

/// What the next chunk must follow.
#[derive(Clone, Copy, Debug)]
struct Link {
    last: u64,
    total: i64,
}

impl Link {
    fn fault(self, chunk: &ChunkRow, next: Link) -> Option<String> {
        if chunk.id <= self.last {
            Some(format!("begins before position {}, where the chunk before it ends", self.last))
        } else if next.total < self.total + signed(chunk.n) {
            // It may be more: of what was counted, some is gone.
            let least = self.total + signed(chunk.n);
            Some(format!("running total is {}, but cannot be less than {least}", next.total))
        } else {
            None
        }
    }
}

/// What is wrong with a chunk by itself.
fn fault(chunk: &ChunkRow) -> Option<String> {
    let entries = match &chunk.entries {
        Ok(entries) => entries,
        Err(error) => return Some(error.to_string()),
    };
    let (first, last) = (entries.first().map(|(p, _)| *p), entries.last().map(|(p, _)| *p));
    if (first, last) != (Some(chunk.id), Some(chunk.last)) {
        return Some(format!("is said to end at position {}, but does not", chunk.last));
    }
    let counted = entries.iter().filter(|(_, body)| body.counts()).count() as u64;
    if counted != chunk.n {
        return Some(format!("is said to hold {} readings, but holds {counted}", chunk.n));
    }
    let rising = entries.is_sorted_by(|(a, _), (b, _)| a < b);
    (!rising).then(|| "its positions do not rise".to_owned())
}
