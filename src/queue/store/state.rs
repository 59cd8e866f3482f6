//! The small tables: `state` (cursors, counters, board numbers) and the present row of `boot`.

use std::collections::BTreeMap;

use rusqlite::{Transaction, params};

use crate::clock::Offset;
use crate::queue::job::{Evicted, Save};
use crate::queue::types::Resume;
use crate::reading::Uid;
use crate::status::Dropped;

use super::{Boot, signed};

/// Everything that is saved, `evicted` counted in: what a transaction drops must be counted in the same
/// transaction, or a power cut before the next one would make it a loss that no number shows.
pub(super) fn state_of(save: &Save, bridges: &[String], evicted: &[Evicted]) -> Vec<(String, i64)> {
    let dropped = with_evicted(save, evicted);
    let cursors =
        bridges.iter().zip(&save.cursors).map(|(name, next)| (format!("bridge:{name}"), signed(*next)));
    let boards =
        save.boards.iter().map(|((uid, boot), resume)| (format!("board:{uid}-{boot:x}"), packed(*resume)));
    let counters = [
        ("delivered", save.delivered),
        ("dropped:full", dropped.full),
        ("dropped:expired", dropped.expired),
        ("dropped:corrupt", dropped.corrupt),
        ("dropped:refused", dropped.refused),
    ];
    let counters = counters.into_iter().map(|(key, value)| (key.to_owned(), signed(value)));
    cursors.chain(counters).chain(boards).collect()
}

fn with_evicted(save: &Save, evicted: &[Evicted]) -> Dropped {
    let mut dropped = save.dropped;
    for chunk in evicted {
        let lost = chunk.entries.iter().filter(|(position, body)| body.counts() && !save.is_done(*position));
        *dropped.counter(chunk.reason) += lost.count() as u64;
        dropped.corrupt += chunk.unreadable;
    }
    dropped
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

pub(super) fn board_of(key: &str) -> Option<(Uid, u32)> {
    let (uid, boot) = key.strip_prefix("board:")?.split_once('-')?;
    let bytes: Option<Vec<u8>> =
        (0..uid.len()).step_by(2).map(|i| u8::from_str_radix(uid.get(i..i + 2)?, 16).ok()).collect();
    Some((Uid::new(&bytes?)?, u32::from_str_radix(boot, 16).ok()?))
}

pub(super) fn packed(resume: Resume) -> i64 {
    (i64::from(resume.dropped) << 32) | i64::from(resume.next)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "takes two halves apart")]
pub(super) fn resume_of(value: i64) -> Resume {
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
