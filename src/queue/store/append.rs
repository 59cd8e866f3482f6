//! Appending: a commit becomes a row, or a part of the newest row while that fits in one page.
//!
//! A commit of a few readings writes one page, whatever it holds. As a row of its own it would take a
//! tenth of that page, and every tenth commit would need a fresh one, which costs three more pages (its
//! parent, the list of free pages, page 1), and again when it is given back. So the newest row grows:
//! it is packed again with what has come, and readings that lie close together pack best.

use std::sync::Arc;

use rusqlite::{OptionalExtension, Transaction, params};

use crate::queue::chunk::{self, Packed};
use crate::queue::schema::PAGE_BYTES;
use crate::reading::{Body, Epoch};

use super::totals::total;
use super::{StoreError, signed};

type Entries = Vec<(u64, Arc<Body>)>;

/// Packed size up to which a row grows, in bytes: `SQLite` keeps a row of up to 35 bytes less than a page
/// in that page (file format, section 1.6), and the row's own numbers take up to 64.
const GROWN_BYTES: usize = PAGE_BYTES as usize - 35 - 64;
/// Entries up to which a row grows: they are packed again with each commit.
const GROWN_ENTRIES: usize = 128;
/// A row spans at most this part of `max_age`, because it expires as a whole.
const SPAN_PART: i64 = 32;

/// The newest row, as long as it may grow.
#[derive(Debug)]
pub(super) struct Tail {
    id: u64,
    /// When it was begun, in microseconds of the boot clock.
    began: i64,
    bytes: usize,
    entries: Entries,
}

impl Tail {
    /// Whether `entries` may become part of it. How small they pack is a guess.
    fn takes(&self, entries: &Entries, now: i64, max_age_us: i64) -> bool {
        let count = self.entries.len() + entries.len();
        let guess = self.bytes + self.bytes * entries.len() / self.entries.len().max(1);
        count <= GROWN_ENTRIES && guess <= GROWN_BYTES && now - self.began <= max_age_us / SPAN_PART
    }
}

/// What a commit writes.
#[derive(Debug)]
pub(super) struct Appended<'a> {
    /// Its own entries.
    entries: &'a Entries,
    row: Row<'a>,
    now: i64,
}

#[derive(Debug)]
enum Row<'a> {
    New(Packed),
    Grown { tail: &'a Tail, all: Entries, packed: Packed },
}

impl<'a> Appended<'a> {
    /// Packs `entries`, with those of `tail` if they fit there.
    pub(super) fn pack(
        entries: &'a Entries,
        tail: Option<&'a Tail>,
        now: i64,
        max_age_us: i64,
    ) -> Result<Self, StoreError> {
        if let Some(tail) = tail.filter(|tail| tail.takes(entries, now, max_age_us)) {
            let all: Entries = tail.entries.iter().chain(entries).cloned().collect();
            let packed = pack(&all)?;
            if packed.data.len() <= GROWN_BYTES {
                return Ok(Self { entries, row: Row::Grown { tail, all, packed }, now });
            }
        }
        Ok(Self { entries, row: Row::New(pack(entries)?), now })
    }

    /// How much larger the content gets, in packed bytes.
    pub(super) fn bytes(&self) -> usize {
        match &self.row {
            Row::New(packed) => packed.data.len(),
            Row::Grown { tail, packed, .. } => packed.data.len().saturating_sub(tail.bytes),
        }
    }

    /// Entries in it that count.
    pub(super) fn n(&self) -> u64 {
        self.entries.iter().filter(|(_, body)| body.counts()).count() as u64
    }

    /// Writes it. Gives what the next commit can go on from.
    pub(super) fn write(self, tx: &Transaction<'_>, boot: u32) -> Result<Option<Tail>, StoreError> {
        if self.entries.is_empty() {
            return Ok(None);
        }
        let (n, now) = (self.n(), self.now);
        let (id, began, packed, entries) = match self.row {
            Row::Grown { tail, all, packed } if grow(tx, tail.id, &all, n, &packed, now)? => {
                (tail.id, tail.began, packed, all)
            }
            // It has had to go meanwhile.
            Row::Grown { .. } => insert(tx, self.entries, n, pack(self.entries)?, boot, now)?,
            Row::New(packed) => insert(tx, self.entries, n, packed, boot, now)?,
        };
        let may_grow = packed.data.len() < GROWN_BYTES && entries.len() < GROWN_ENTRIES;
        Ok(may_grow.then(|| Tail { id, began, bytes: packed.data.len(), entries }))
    }
}

fn pack(entries: &Entries) -> Result<Packed, StoreError> {
    chunk::pack(entries).map_err(|error| StoreError::Refused(error.to_string()))
}

/// Puts `all` in the place of what row `id` holds. `false`: there is no such row any more.
fn grow(
    tx: &Transaction<'_>,
    id: u64,
    all: &Entries,
    n: u64,
    packed: &Packed,
    now: i64,
) -> rusqlite::Result<bool> {
    let last = all.last().map_or(id, |(last, _)| *last);
    let mut query = tx.prepare_cached(
        "UPDATE chunk SET last = ?2, n = n + ?3, total = total + ?3, t1 = ?4, codec = ?5, crc = ?6, data = ?7
         WHERE id = ?1",
    )?;
    let row = params![signed(id), signed(last), signed(n), now, packed.codec, packed.crc, packed.data];
    Ok(query.execute(row)? == 1)
}

/// Writes a row of its own.
fn insert(
    tx: &Transaction<'_>,
    entries: &Entries,
    n: u64,
    packed: Packed,
    boot: u32,
    now: i64,
) -> Result<(u64, i64, Packed, Entries), StoreError> {
    let ends = entries.first().zip(entries.last());
    let (first, last) = ends.map_or((0, 0), |((first, _), (last, _))| (*first, *last));
    let mut moments = entries.iter().filter_map(|(_, body)| body.at());
    let oldest = moments.find(|at| at.epoch == Epoch::ThisBoot).map_or(now, |at| at.us.min(now));
    tx.prepare_cached("INSERT INTO chunk VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)")?.execute(params![
        signed(first),
        signed(last),
        signed(n),
        signed(total(tx)? + n),
        boot,
        oldest,
        now,
        packed.codec,
        packed.crc,
        packed.data,
    ])?;
    Ok((first, now, packed, entries.clone()))
}

/// The id of the row in which `position` lies, if it is stored.
pub(super) fn row_of(db: &rusqlite::Connection, position: u64) -> rusqlite::Result<u64> {
    let mut query = db.prepare_cached("SELECT max(id) FROM chunk WHERE id <= ?1")?;
    let id = query.query_row([signed(position)], |row| row.get::<_, Option<i64>>(0)).optional()?.flatten();
    Ok(id.map_or(position, super::unsigned))
}
