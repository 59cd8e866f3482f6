//! The limits by size and by number: whether there is room, and how it is made.

use rusqlite::Transaction;

use crate::queue::job::Evicted;
use crate::queue::schema::{self, PAGE_BYTES};
use crate::queue::types::WhenFull;
use crate::reading::GapReason;

use super::evict::{evict_first, used_bytes};
use super::thin::{PIECE_BYTES_MAX, thin};
use super::totals::stored;
use super::{Connection, Limits, StoreError};

/// So many pieces are thinned for one commit …
const PIECES: usize = 8;
/// … or until so many packed bytes were looked at. After that, the oldest chunk goes.
const PIECES_BYTES: usize = 32 * 1024;
/// What a transaction writes beside its entries, in pages: tables, counters, lists of free pages.
const PAGES_BESIDE: u64 = 24;

/// What a commit is about to add.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// Packed size, in bytes.
    pub(super) bytes: u64,
    /// Entries that count.
    pub(super) n: u64,
}

/// Makes room for `wanted` by the rule of `when_full`.
pub(super) fn make_room(
    tx: &Transaction<'_>,
    limits: &Limits,
    boot: u32,
    wanted: Wanted,
    evicted: &mut Vec<Evicted>,
) -> rusqlite::Result<()> {
    let mut pieces = match limits.when_full {
        WhenFull::DropNewest => return Ok(()),
        WhenFull::DropOldest => 0,
        WhenFull::Thin => PIECES,
    };
    let mut bytes = 0;
    while !fits(tx, limits, wanted)? {
        if pieces > 0 && bytes < PIECES_BYTES {
            pieces -= 1;
            match thin(tx, boot, evicted)? {
                Some(looked_at) => bytes += looked_at,
                None => pieces = 0,
            }
        } else if !evict_first(tx, boot, GapReason::Full, evicted)? {
            break;
        }
    }
    Ok(())
}

fn fits(db: &Connection, limits: &Limits, wanted: Wanted) -> rusqlite::Result<bool> {
    if used_bytes(db)? + wanted.bytes > limits.content_bytes() {
        return Ok(false);
    }
    match limits.max_readings {
        Some(most) => Ok(stored(db)? + wanted.n <= most),
        None => Ok(true),
    }
}

/// Whether less than 1/64 of the room is left, by size or by number.
pub(super) fn is_full(db: &Connection, limits: &Limits) -> rusqlite::Result<bool> {
    let over = |used: u64, limit: u64| used > limit - limit / 64;
    Ok(over(used_bytes(db)?, limits.content_bytes())
        || match limits.max_readings {
            Some(most) => over(stored(db)?, most),
            None => false,
        })
}

/// Starts the write-ahead log over if it would outgrow its share with a commit of `packed` bytes. It is
/// written back after each commit that reaches [`schema::log_pages`], so this is for large commits, and
/// for a disk that did not take the pages then.
pub(super) fn bound_log(db: &Connection, limits: &Limits, packed: usize) -> Result<(), StoreError> {
    let (frames, written_back): (i64, i64) =
        db.query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| Ok((row.get(1)?, row.get(2)?)))?;
    let in_use = if written_back >= frames { 0 } else { super::unsigned(frames) };
    let thinned = if limits.when_full == WhenFull::Thin { PIECE_BYTES_MAX.max(PIECES_BYTES) } else { 0 };
    let wanted = (packed + thinned) as u64 / u64::from(PAGE_BYTES) + PAGES_BESIDE;
    if in_use == 0 || in_use + wanted <= schema::log_pages_max(limits.max_bytes) {
        return Ok(());
    }
    let busy: bool = db.query_row("PRAGMA wal_checkpoint(RESTART)", [], |row| row.get(0))?;
    if busy { Err(StoreError::Refused("the log could not be written back".into())) } else { Ok(()) }
}
