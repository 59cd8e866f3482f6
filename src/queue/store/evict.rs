//! Making room: deleting what is done with, giving up what is too old or too much.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Transaction};

use crate::queue::job::{Evicted, Save};
use crate::queue::schema::PAGE_BYTES;
use crate::reading::GapReason;
use crate::status::Dropped;

use super::row::{COLUMNS, ChunkRow};
use super::totals::delete;
use super::{Boot, unsigned};

pub(super) fn used_bytes(db: &Connection) -> rusqlite::Result<u64> {
    let used = pages_of(db, "page_count")?.saturating_sub(pages_of(db, "freelist_count")?);
    Ok(used * u64::from(PAGE_BYTES))
}

pub(super) fn pages_of(db: &Connection, pragma: &str) -> rusqlite::Result<u64> {
    db.pragma_query_value(None, pragma, |row| row.get(0)).map(unsigned)
}

pub(super) fn evict_aged(
    tx: &Transaction<'_>,
    boots: &BTreeMap<u32, Boot>,
    boot: u32,
    now: i64,
    max_age_us: i64,
    evicted: &mut Vec<Evicted>,
) -> rusqlite::Result<()> {
    loop {
        let mut query = tx.prepare_cached("SELECT boot, t1 FROM chunk ORDER BY id LIMIT 1")?;
        let oldest = query.query_row([], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let aged = oldest.is_some_and(|at| age_us(boots, boot, at, now) > max_age_us);
        if !aged || !evict_first(tx, boot, GapReason::Expired, evicted)? {
            return Ok(());
        }
    }
}

/// Gives up the oldest chunk; `false` when there is none.
pub(super) fn evict_first(
    tx: &Transaction<'_>,
    boot: u32,
    reason: GapReason,
    evicted: &mut Vec<Evicted>,
) -> rusqlite::Result<bool> {
    let mut query = tx.prepare_cached(&format!("SELECT {COLUMNS} FROM chunk ORDER BY id LIMIT 1"))?;
    let chunk = query.query_row([], |row| ChunkRow::read(row, boot)).optional()?;
    let Some(chunk) = chunk else { return Ok(false) };
    delete(tx, chunk.id, chunk.n)?;
    let unreadable = if chunk.entries.is_err() { chunk.n } else { 0 };
    let entries = chunk.entries.unwrap_or_default();
    evicted.push(Evicted { gone_below: chunk.last + 1, reason, entries, unreadable });
    Ok(true)
}

/// The counters of `save`, and what was given up since.
pub(super) fn with_evicted(save: &Save, evicted: &[Evicted]) -> Dropped {
    let mut dropped = save.dropped;
    for chunk in evicted {
        let lost = chunk.entries.iter().filter(|(position, body)| body.counts() && !save.is_done(*position));
        *dropped.by_reason(chunk.reason) += lost.count() as u64;
        dropped.corrupt += chunk.unreadable;
    }
    dropped
}

/// How long ago it was `us` on the clock of boot `row`, in microseconds of running time; `boot` is
/// the present one.
pub(super) fn age_us(boots: &BTreeMap<u32, Boot>, boot: u32, (row, us): (u32, i64), now: i64) -> i64 {
    if row == boot {
        return now - us;
    }
    let ran = |id: u32| boots.get(&id).map_or(0, |boot| boot.last_us);
    let between: i64 = boots.range(row + 1..boot.max(row + 1)).map(|(_, boot)| boot.last_us).sum();
    (ran(row) - us).max(0) + between + now
}
