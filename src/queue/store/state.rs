//! The small tables: `state` (cursors, counters, board numbers) and the present row of `boot`.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Transaction, params};

use crate::clock::Offset;
use crate::queue::job::Marks;
use crate::queue::ranges::Ranges;
use crate::queue::types::{Ledger, Resume};
use crate::reading::Uid;
use crate::status::Dropped;

use super::{Boot, signed, unsigned};

/// Begins the keys that tell how far a damaged file has been read; its name follows.
const SALVAGED: &str = "salvage:";
/// Begins the keys of ranges.
const DONE: &str = "done:";

pub(super) use crate::queue::schema::BOARDS_UPTO;

/// The counter of what operators gave up.
pub(super) const PURGED: &str = "dropped:purged";

pub(super) fn dropped_state(dropped: &Dropped) -> Vec<(String, i64)> {
    let counters = [
        ("dropped:full", dropped.full),
        ("dropped:expired", dropped.expired),
        ("dropped:corrupt", dropped.corrupt),
        ("dropped:refused", dropped.refused),
        (PURGED, dropped.purged),
    ];
    counters.into_iter().map(|(key, value)| (key.to_owned(), signed(value))).collect()
}

pub(super) fn marks_state(marks: &Marks, bridges: &[String]) -> Vec<(String, i64)> {
    let cursors =
        bridges.iter().zip(&marks.cursors).map(|(name, next)| (format!("bridge:{name}"), signed(*next)));
    let done = ranges(marks, bridges).map(|(key, end)| (key, signed(end)));
    let boards = marks.boards.iter().flat_map(|boards| {
        let changed = boards.changed.iter();
        let numbers = changed.map(|((uid, boot), resume)| (format!("board:{uid}-{boot:x}"), packed(*resume)));
        let salvaged = boards.salvaged.iter();
        let salvaged = salvaged.map(|(path, position)| (format!("{SALVAGED}{path}"), signed(*position)));
        numbers.chain([(BOARDS_UPTO.to_owned(), signed(boards.upto))]).chain(salvaged)
    });
    cursors.chain([("delivered".to_owned(), signed(marks.delivered))]).chain(done).chain(boards).collect()
}

/// What bridges are done with beyond their cursors: `done:<bridge>:<start>` is where it ends.
fn ranges(marks: &Marks, bridges: &[String]) -> impl Iterator<Item = (String, u64)> {
    let done = bridges.iter().zip(&marks.done);
    done.flat_map(|(name, done)| done.iter().map(move |(start, end)| (format!("{DONE}{name}:{start}"), *end)))
}

/// Keys of ranges that are there and not in `marks` any more. They are few, see
/// [`crate::queue::cursor::Cursor::worth_saving`].
pub(super) fn ranges_over(saved: &BTreeMap<String, i64>, marks: &Marks, bridges: &[String]) -> Vec<String> {
    let present: BTreeSet<String> = ranges(marks, bridges).map(|(key, _)| key).collect();
    let of_ours = |key: &String| bridges.iter().any(|name| range_start(key, name).is_some());
    let known = saved.range(DONE.to_owned()..).map(|(key, _)| key).take_while(|key| key.starts_with(DONE));
    known.filter(|key| of_ours(key) && !present.contains(*key)).cloned().collect()
}

fn range_start(key: &str, bridge: &str) -> Option<u64> {
    key.strip_prefix(DONE)?.strip_prefix(bridge)?.strip_prefix(':')?.parse().ok()
}

/// What `bridge` is done with beyond its cursor, by `state`.
#[must_use]
pub fn ranges_of(state: &BTreeMap<String, i64>, bridge: &str) -> Ranges {
    let known = state.range(DONE.to_owned()..).take_while(|(key, _)| key.starts_with(DONE));
    known.filter_map(|(key, end)| Some((range_start(key, bridge)?, unsigned(*end)))).collect()
}

/// How far damaged files have been read, by their names.
pub(super) fn salvaged(state: &BTreeMap<String, i64>) -> Vec<(String, u64)> {
    let known = state.iter().filter_map(|(key, value)| Some((key.strip_prefix(SALVAGED)?, unsigned(*value))));
    known.filter(|(_, position)| *position > 0).map(|(path, position)| (path.to_owned(), position)).collect()
}

/// Behind all positions that were ever done: no other entry may get one of them, whichever bridge it
/// was, and whether it is still configured or not.
pub(super) fn behind_all_done(state: &BTreeMap<String, i64>) -> u64 {
    let ours = |key: &str| key.starts_with(DONE) || key.starts_with("bridge:");
    state.iter().filter(|(key, _)| ours(key)).map(|(_, end)| unsigned(*end)).max().unwrap_or(0)
}

/// Writes what differs from `saved` and deletes what is `over`; gives what it wrote.
pub(super) fn write_state(
    tx: &Transaction<'_>,
    saved: &BTreeMap<String, i64>,
    mut state: Vec<(String, i64)>,
    over: &Vec<String>,
) -> rusqlite::Result<Vec<(String, i64)>> {
    for key in over {
        tx.prepare_cached("DELETE FROM state WHERE key = ?1")?.execute([key])?;
    }
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
        purged: counter(PURGED),
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

/// How far the present boot has come is written down so often, in microseconds: the age of what is
/// stored is known that well when the power goes.
pub(super) const REFRESH_US: i64 = 600_000_000;

/// Writes the present boot's row again when it is out of date; gives what it wrote.
pub(super) fn note_boot(
    tx: &Transaction<'_>,
    boots: &BTreeMap<u32, Boot>,
    boot: u32,
    now: i64,
    offset: Offset,
) -> rusqlite::Result<Option<Boot>> {
    let Some(known) = boots.get(&boot) else { return Ok(None) };
    let moved = known.offset.replaced_by(offset);
    if moved.is_none() && now - known.last_us <= REFRESH_US {
        return Ok(None);
    }
    let offset = moved.unwrap_or(known.offset);
    tx.prepare_cached("UPDATE boot SET offset = ?2, synced = ?3, last = ?4 WHERE id = ?1")?
        .execute(params![boot, offset.us, offset.synced, now])?;
    Ok(Some(Boot { offset, last_us: now }))
}
