//! The small tables: `state` (cursors, counters, board numbers) and the present row of `boot`.

use std::collections::BTreeMap;

use rusqlite::{Transaction, params};

use crate::clock::Offset;
use crate::queue::job::Marks;
use crate::queue::types::{Ledger, Resume};
use crate::reading::Uid;
use crate::status::Dropped;

use super::{Boot, signed, unsigned};

/// All readings below the position under this key have their boards' numbers in the table. Those of
/// later readings follow from the chunks.
pub(super) const BOARDS_UPTO: &str = "boards_upto";

pub(super) fn dropped_state(dropped: &Dropped) -> Vec<(String, i64)> {
    let counters = [
        ("dropped:full", dropped.full),
        ("dropped:expired", dropped.expired),
        ("dropped:corrupt", dropped.corrupt),
        ("dropped:refused", dropped.refused),
    ];
    counters.into_iter().map(|(key, value)| (key.to_owned(), signed(value))).collect()
}

pub(super) fn marks_state(marks: &Marks, bridges: &[String]) -> Vec<(String, i64)> {
    let cursors =
        bridges.iter().zip(&marks.cursors).map(|(name, next)| (format!("bridge:{name}"), signed(*next)));
    let boards = marks.boards.iter().flat_map(|boards| {
        let changed = boards.changed.iter();
        let numbers = changed.map(|((uid, boot), resume)| (format!("board:{uid}-{boot:x}"), packed(*resume)));
        numbers.chain([(BOARDS_UPTO.to_owned(), signed(boards.upto))])
    });
    cursors.chain([("delivered".to_owned(), signed(marks.delivered))]).chain(boards).collect()
}

/// Writes what differs from `saved`; gives what it wrote.
pub(super) fn write_state(
    tx: &Transaction<'_>,
    saved: &BTreeMap<String, i64>,
    mut state: Vec<(String, i64)>,
) -> rusqlite::Result<Vec<(String, i64)>> {
    state.retain(|(key, value)| saved.get(key) != Some(value));
    let mut write =
        tx.prepare_cached("INSERT INTO state VALUES(?1, ?2) ON CONFLICT(key) DO UPDATE SET value = ?2")?;
    for (key, value) in &state {
        write.execute(params![key, value])?;
    }
    Ok(state)
}

/// The counters in `state`. What is stored is not counted in them.
#[must_use]
pub fn ledger_of(state: &BTreeMap<String, i64>) -> Ledger {
    let counter = |key: &str| state.get(key).map_or(0, |value| unsigned(*value));
    let dropped = Dropped {
        full: counter("dropped:full"),
        expired: counter("dropped:expired"),
        corrupt: counter("dropped:corrupt"),
        refused: counter("dropped:refused"),
    };
    let delivered = counter("delivered");
    Ledger { accepted: delivered + dropped.total(), delivered, dropped }
}

/// The boards' numbers in `state`.
#[must_use]
pub fn boards_of(state: &BTreeMap<String, i64>) -> Vec<((Uid, u32), Resume)> {
    state.iter().filter_map(|(key, value)| Some((board_of(key)?, resume_of(*value)))).collect()
}

fn board_of(key: &str) -> Option<(Uid, u32)> {
    let (uid, boot) = key.strip_prefix("board:")?.split_once('-')?;
    let bytes: Option<Vec<u8>> =
        (0..uid.len()).step_by(2).map(|i| u8::from_str_radix(uid.get(i..i + 2)?, 16).ok()).collect();
    Some((Uid::new(&bytes?)?, u32::from_str_radix(boot, 16).ok()?))
}

fn packed(resume: Resume) -> i64 {
    (i64::from(resume.dropped) << 32) | i64::from(resume.next)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "takes two halves apart")]
fn resume_of(value: i64) -> Resume {
    Resume { next: value as u32, dropped: (value >> 32) as u32 }
}

/// Writes the present boot's row again when it is out of date; gives what it wrote.
pub(super) fn note_boot(
    tx: &Transaction<'_>,
    boots: &BTreeMap<u32, Boot>,
    boot: u32,
    now: i64,
    offset: Offset,
) -> rusqlite::Result<Option<Boot>> {
    /// The row is out of date when the offset moved by so much, or after so long, in microseconds.
    const TOLERANCE_US: i64 = 100_000;
    const REFRESH_US: i64 = 600_000_000;
    let Some(known) = boots.get(&boot) else { return Ok(None) };
    // An offset from a synchronised clock stays better than one measured after the sync was lost.
    let offset = if known.offset.synced && !offset.synced { known.offset } else { offset };
    let moved = (known.offset.us - offset.us).abs() > TOLERANCE_US || known.offset.synced != offset.synced;
    if !moved && now - known.last_us <= REFRESH_US {
        return Ok(None);
    }
    tx.prepare_cached("UPDATE boot SET offset = ?2, synced = ?3, last = ?4 WHERE id = ?1")?
        .execute(params![boot, offset.us, offset.synced, now])?;
    Ok(Some(Boot { offset, last_us: now }))
}
