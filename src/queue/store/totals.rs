//! How many readings the file holds, without counting them.
//!
//! Each row's `total` is the sum of `n` over all rows ever written up to it. What of that is gone again
//! stands under one key of `state`, in the same transaction as whatever removed it. So the number of
//! those that are there follows from the last row and that key, wherever rows were taken out, and
//! nothing is written for it while rows are only added.

use rusqlite::{OptionalExtension, Transaction, params};

use super::{Connection, signed, unsigned};

/// The key: the sum of `n` over all that is not there any more.
pub const REMOVED: &str = "removed";

/// Entries in the file that count in the ledger.
pub(super) fn stored(db: &Connection) -> rusqlite::Result<u64> {
    match last(db)? {
        Some((_, total)) => Ok(total.saturating_sub(removed(db)?)),
        None => Ok(0),
    }
}

/// What the next row's `total` goes on from.
pub(super) fn total(db: &Connection) -> rusqlite::Result<u64> {
    last(db)?.map_or_else(|| removed(db), |(_, total)| Ok(total))
}

fn removed(db: &Connection) -> rusqlite::Result<u64> {
    let mut query = db.prepare_cached("SELECT value FROM state WHERE key = ?1")?;
    let noted = query.query_row([REMOVED], |row| row.get(0)).optional()?.map_or(0, unsigned);
    // Whatever came before the first row is gone: earlier versions did not note it.
    let mut query = db.prepare_cached("SELECT total - n FROM chunk ORDER BY id LIMIT 1")?;
    let before = query.query_row([], |row| row.get(0)).optional()?.map_or(0, unsigned);
    Ok(noted.max(before))
}

/// Notes that `n` entries that count are about to be taken out. To be called while they are there.
pub(super) fn note_removed(tx: &Transaction<'_>, n: u64) -> rusqlite::Result<()> {
    let removed = removed(tx)? + n;
    tx.prepare_cached("INSERT INTO state VALUES(?1, ?2) ON CONFLICT(key) DO UPDATE SET value = ?2")?
        .execute(params![REMOVED, signed(removed)])?;
    Ok(())
}

/// Takes out all chunks that lie between two positions, the second not included.
pub(super) fn delete_within(tx: &Transaction<'_>, from: u64, to: u64) -> rusqlite::Result<()> {
    // Chunks do not overlap, so those that end below it are those that begin below it, but one.
    const WHICH: &str = "FROM chunk WHERE id >= ?1 AND id < ?2 AND last < ?2";
    let range = [signed(from), signed(to)];
    let mut query = tx.prepare_cached(&format!("SELECT sum(n) {WHICH}"))?;
    let Some(n) = query.query_row(range, |row| row.get::<_, Option<i64>>(0))? else { return Ok(()) };
    note_removed(tx, unsigned(n))?;
    let before = last(tx)?;
    tx.prepare_cached(&format!("DELETE {WHICH}"))?.execute(range)?;
    keep_total(tx, before)
}

/// Takes out one chunk; `n` is what it counts.
pub(super) fn delete(tx: &Transaction<'_>, id: u64, n: u64) -> rusqlite::Result<()> {
    note_removed(tx, n)?;
    let before = last(tx)?;
    tx.prepare_cached("DELETE FROM chunk WHERE id = ?1")?.execute([signed(id)])?;
    keep_total(tx, before)
}

/// The last row carries the total on: when it goes, the one before it takes that over.
fn keep_total(tx: &Transaction<'_>, before: Option<(u64, u64)>) -> rusqlite::Result<()> {
    if let (Some((was, total)), Some((is, _))) = (before, last(tx)?)
        && was != is
    {
        tx.prepare_cached("UPDATE chunk SET total = ?2 WHERE id = ?1")?
            .execute([signed(is), signed(total)])?;
    }
    Ok(())
}

/// Id and total of the last row.
fn last(db: &Connection) -> rusqlite::Result<Option<(u64, u64)>> {
    let mut query = db.prepare_cached("SELECT id, total FROM chunk ORDER BY id DESC LIMIT 1")?;
    query.query_row([], |row| Ok((unsigned(row.get(0)?), unsigned(row.get(1)?)))).optional()
}
