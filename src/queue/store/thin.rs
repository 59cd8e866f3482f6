//! `when_full: thin`: instead of forgetting the oldest, remember everything less exactly.
//!
//! The rule. The backlog is cut into *levels* by age; the newest part is level 0, where everything is
//! kept. On level `l` a reading stays if its number is divisible by `2^l`, so each device keeps every
//! second reading of the level before. When room is needed, the level that holds most gives: its
//! oldest chunks move on to the next level. All levels thus hold about the same, and each spans twice
//! the time of the one before it: a reading of age `a` is kept with a share of about `1/a`, and the
//! history that fits doubles with each level.
//!
//! ```text
//!   level   3           2           1           0
//!         |···········|-----------|===========|###########|   the same room each,
//!          8 of 15     4 of 15     2 of 15     1 of 15        of the time
//! ```
//! The number decides, not the place within a chunk, so it works for chunks of one reading as well.
//! Neighbouring chunks become one: small rows would free no page. Each piece is written again with
//! half its content, which doubles the bytes written per reading over its whole life, no more. Events
//! and messages of LAN clients are never thinned. Where a piece frees nothing, the caller takes the
//! oldest chunk.

use std::sync::Arc;

use rusqlite::{OptionalExtension, Transaction, params};

use crate::queue::chunk;
use crate::queue::job::Evicted;
use crate::reading::{Body, GapReason};

use super::row::{COLUMNS, ChunkRow};
use super::totals::note_removed;
use super::{signed, unsigned};

/// Levels. The last keeps one reading in a million.
const LEVELS: u32 = 20;
/// Rows that become one, at most.
const PIECE_ROWS: usize = 16;
/// A piece is full when it has read so many packed bytes.
const PIECE_BYTES: usize = 16 * 1024;
/// A chunk larger than this is left alone, in packed bytes: to write it again would cost more of the
/// log than a commit should.
const CHUNK_BYTES: usize = 48 * 1024;
/// Nor is a piece written again that would lose less than one entry in so many.
const WORTH: usize = 4;
/// Most packed bytes that one piece reads, and so an upper bound for what it writes.
pub(super) const PIECE_BYTES_MAX: usize = PIECE_BYTES + CHUNK_BYTES;

/// A row that may become part of a piece.
struct Row {
    chunk: ChunkRow,
    boot: u32,
    total: i64,
    t0: i64,
    t1: i64,
}

/// Where the levels end: everything below `ends[l]` was moved on from level `l`.
struct Levels {
    ends: Vec<u64>,
    /// Positions of the first entry and of the last chunk.
    first: u64,
    newest: u64,
}

impl Levels {
    fn read(tx: &Transaction<'_>) -> rusqlite::Result<Option<Self>> {
        let mut query = tx.prepare_cached("SELECT min(id), max(id) FROM chunk")?;
        let ends: (Option<i64>, Option<i64>) = query.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let (Some(first), Some(newest)) = ends else { return Ok(None) };
        let mut query = tx.prepare_cached("SELECT value FROM state WHERE key = ?1")?;
        let end = |level| query.query_row([key(level)], |row| row.get(0)).optional();
        let ends: rusqlite::Result<Vec<Option<i64>>> = (0..LEVELS).map(end).collect();
        let ends = ends?.into_iter().map(|end| end.map_or(0, unsigned)).collect();
        Ok(Some(Self { ends, first: unsigned(first), newest: unsigned(newest) }))
    }

    /// From where to where `level` reaches. The newest chunk stays out of it: it carries the total.
    fn span(&self, level: u32) -> (u64, u64) {
        let end = |level: u32| usize::try_from(level).ok().and_then(|level| self.ends.get(level)).copied();
        let to = level.checked_sub(1).map_or(Some(self.newest), end).unwrap_or(0);
        (end(level).unwrap_or(0).max(self.first), to)
    }

    /// The level that holds most, going by how many positions it spans.
    fn largest(&self) -> Option<u32> {
        let readings = |level: u32| {
            let (from, to) = self.span(level);
            to.saturating_sub(from) >> level
        };
        // The first of several that are as large: it is the cheapest to lose from.
        let largest = (0..LEVELS).rev().max_by_key(|level| readings(*level))?;
        (readings(largest) > 0).then_some(largest)
    }
}

fn key(level: u32) -> String {
    format!("thin:{level}")
}

/// Moves one piece on to the next level. Gives the packed bytes it looked at, or `None` when there is
/// nothing left that could be thinned.
pub(super) fn thin(
    tx: &Transaction<'_>,
    boot: u32,
    evicted: &mut Vec<Evicted>,
) -> rusqlite::Result<Option<usize>> {
    let Some(levels) = Levels::read(tx)? else { return Ok(None) };
    let Some(level) = levels.largest() else { return Ok(None) };
    let (from, to) = levels.span(level);
    let rows = piece(tx, boot, from, to)?;
    let end = rows.last().map_or(to, |row| row.chunk.last + 1);
    tx.prepare_cached("INSERT INTO state VALUES(?1, ?2) ON CONFLICT(key) DO UPDATE SET value = ?2")?
        .execute(params![key(level), signed(end)])?;
    let bytes = rows.iter().map(|row| row.chunk.bytes).sum();
    let lost = rewrite(tx, rows, level)?;
    if !lost.is_empty() {
        evicted.push(Evicted { gone_below: 0, reason: GapReason::Full, entries: lost, unreadable: 0 });
    }
    Ok(Some(bytes))
}

/// The oldest rows from `from` on that end below `to` and can become one.
fn piece(tx: &Transaction<'_>, boot: u32, from: u64, to: u64) -> rusqlite::Result<Vec<Row>> {
    let sql = format!("SELECT {COLUMNS}, total, t0, t1 FROM chunk WHERE id >= ?1 AND id < ?2 ORDER BY id");
    let mut query = tx.prepare_cached(&sql)?;
    let mut rows = query.query([signed(from), signed(to)])?;
    let mut piece: Vec<Row> = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let row = Row {
            chunk: ChunkRow::read(row, boot)?,
            boot: row.get(3)?,
            total: row.get(7)?,
            t0: row.get(8)?,
            t1: row.get(9)?,
        };
        let alone = row.chunk.bytes > CHUNK_BYTES || row.chunk.entries.is_err();
        let fits = !alone && piece.last().is_none_or(|before| before.boot == row.boot);
        if !fits && !piece.is_empty() {
            break;
        }
        bytes += row.chunk.bytes;
        piece.push(row);
        if alone || bytes >= PIECE_BYTES || piece.len() >= PIECE_ROWS {
            break;
        }
    }
    Ok(piece)
}

/// Puts one row in the place of `rows`, without the readings that the next level does not keep. Gives
/// those.
fn rewrite(tx: &Transaction<'_>, rows: Vec<Row>, level: u32) -> rusqlite::Result<Vec<(u64, Arc<Body>)>> {
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok(Vec::new()) };
    if first.chunk.bytes > CHUNK_BYTES || first.chunk.entries.is_err() {
        return Ok(Vec::new());
    }
    let (boot, t0, t1) = (first.boot, first.t0, last.t1);
    let (last, total) = (last.chunk.last, last.total);
    let ids: Vec<u64> = rows.iter().map(|row| row.chunk.id).collect();
    let before: u64 = rows.iter().map(|row| row.chunk.n).sum();
    let entries = rows.into_iter().flat_map(|row| row.chunk.entries.unwrap_or_default());
    let (kept, lost): (Vec<_>, Vec<_>) = entries.partition(|(_, body)| stays(body, level + 1));
    if lost.len() * WORTH < kept.len() + lost.len() {
        return Ok(Vec::new());
    }
    let Ok(packed) = chunk::pack(&kept) else { return Ok(Vec::new()) };
    let n = kept.iter().filter(|(_, body)| body.counts()).count() as u64;
    note_removed(tx, before.saturating_sub(n))?;
    for id in ids {
        tx.prepare_cached("DELETE FROM chunk WHERE id = ?1")?.execute([signed(id)])?;
    }
    let Some((id, _)) = kept.first() else { return Ok(lost) };
    tx.prepare_cached("INSERT INTO chunk VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)")?.execute(params![
        signed(*id),
        signed(last),
        signed(n),
        total,
        boot,
        t0,
        t1,
        packed.codec,
        packed.crc,
        packed.data,
    ])?;
    Ok(lost)
}

fn stays(body: &Body, level: u32) -> bool {
    match body {
        Body::Reading(reading) => reading.seq.trailing_zeros() >= level,
        Body::Event(_) | Body::Message(_) => true,
    }
}
