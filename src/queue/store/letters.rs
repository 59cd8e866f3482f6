//! Dead letters: what bridges can never deliver, kept up to a limit of its own.
//!
//! Their number and size stand under keys of `state`, in the transaction that changes them: opening
//! never counts. They are text, so that reading a damaged file does not take them for chunks.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension, Transaction, params};

use crate::queue::letters::{Letter, Posted};
use crate::queue::operate::{LetterSlice, SLICE_BYTES, SLICE_ENTRIES};
use crate::queue::schema::PAGE_BYTES;
use crate::status::DeadLetters;

use super::evict::used_bytes;
use super::room::bound_log;
use super::state::write_state;
use super::{Limits, Store, StoreError, signed, unsigned};

/// Begins the keys.
const KEYS: [&str; 4] = ["letters:made", "letters:count", "letters:bytes", "letters:lost"];
/// From this size on a row has pages of its own, in bytes.
const OWN_PAGES: u64 = PAGE_BYTES as u64 / 3;

/// How many there are, and the number of the newest there ever was.
#[derive(Clone, Copy, Debug)]
struct Tally {
    made: u64,
    kept: DeadLetters,
}

impl Tally {
    fn of(saved: &BTreeMap<String, i64>) -> Self {
        let [made, count, bytes, lost] = KEYS.map(|key| saved.get(key).map_or(0, |value| unsigned(*value)));
        Self { made, kept: DeadLetters { count, bytes, lost } }
    }

    fn state(self) -> Vec<(String, i64)> {
        let DeadLetters { count, bytes, lost } = self.kept;
        KEYS.into_iter()
            .zip([self.made, count, bytes, lost])
            .map(|(key, n)| (key.into(), signed(n)))
            .collect()
    }

    fn without(&mut self, bytes: u64) {
        self.kept.count = self.kept.count.saturating_sub(1);
        self.kept.bytes = self.kept.bytes.saturating_sub(bytes);
    }
}

/// Adds `posted`; the oldest go for it, once there is too much. Gives what `state` is to say of it.
pub(super) fn keep(
    tx: &Transaction<'_>,
    saved: &BTreeMap<String, i64>,
    posted: &Posted,
    limits: &Limits,
) -> rusqlite::Result<Vec<(String, i64)>> {
    if posted.is_empty() {
        return Ok(Vec::new());
    }
    let mut tally = Tally::of(saved);
    tally.kept.lost += posted.lost;
    for letter in &posted.letters {
        let bytes = size(letter);
        let mut fits = bytes <= limits.letters_bytes;
        while fits
            && (tally.kept.bytes + bytes > limits.letters_bytes
                || used_bytes(tx)? + bytes > limits.content_bytes())
        {
            match drop_oldest(tx)? {
                Some(bytes) => {
                    tally.without(bytes);
                    tally.kept.lost += 1;
                }
                // Readings have the room, and keep it.
                None => fits = false,
            }
        }
        if fits {
            tally.made += 1;
            tally.kept.count += 1;
            tally.kept.bytes += bytes;
            insert(tx, tally.made, letter, bytes)?;
        } else {
            tally.kept.lost += 1;
        }
    }
    Ok(tally.state())
}

/// What a row takes of the file, in bytes.
fn size(letter: &Letter) -> u64 {
    let bytes = letter.bytes() as u64;
    if bytes < OWN_PAGES { bytes } else { bytes.next_multiple_of(PAGE_BYTES.into()) }
}

fn insert(tx: &Transaction<'_>, id: u64, letter: &Letter, bytes: u64) -> rusqlite::Result<()> {
    let Letter { bridge, unix_us, topic, reason, entry } = letter;
    tx.prepare_cached("INSERT INTO dead_letter VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)")?.execute(params![
        signed(id),
        bridge,
        unix_us,
        signed(bytes),
        topic,
        reason,
        entry
    ])?;
    Ok(())
}

/// Gives its size.
fn drop_oldest(tx: &Transaction<'_>) -> rusqlite::Result<Option<u64>> {
    let mut query = tx.prepare_cached("SELECT id FROM dead_letter ORDER BY id LIMIT 1")?;
    let oldest: Option<i64> = query.query_row([], |row| row.get(0)).optional()?;
    oldest.map_or(Ok(None), |id| take_out(tx, unsigned(id)))
}

fn take_out(tx: &Transaction<'_>, id: u64) -> rusqlite::Result<Option<u64>> {
    let mut query = tx.prepare_cached("DELETE FROM dead_letter WHERE id = ?1 RETURNING bytes")?;
    Ok(query.query_row([signed(id)], |row| row.get(0)).optional()?.map(unsigned))
}

impl Store {
    /// How many dead letters there are.
    #[must_use]
    pub fn dead_letters(&self) -> DeadLetters {
        Tally::of(&self.saved).kept
    }

    /// Some of them, behind the one numbered `after`.
    pub(super) fn letters(&self, after: Option<u64>) -> Result<LetterSlice, StoreError> {
        let mut query = self.db.prepare_cached(
            "SELECT id, bridge, at, topic, reason, entry FROM dead_letter WHERE id > ?1 ORDER BY id",
        )?;
        let mut rows = query.query([after.map_or(-1, signed)])?;
        let newest = Tally::of(&self.saved).made;
        let (mut slice, mut bytes) = (LetterSlice { newest, ..LetterSlice::default() }, 0);
        while slice.letters.len() < SLICE_ENTRIES && bytes < SLICE_BYTES {
            let Some(row) = rows.next()? else { return Ok(LetterSlice { next: None, ..slice }) };
            let id = unsigned(row.get(0)?);
            let letter = Letter {
                bridge: row.get(1)?,
                unix_us: row.get(2)?,
                topic: row.get(3)?,
                reason: row.get(4)?,
                entry: row.get(5)?,
            };
            bytes += letter.bytes();
            slice.letters.push((id, letter));
            slice.next = Some(id);
        }
        Ok(slice)
    }

    /// Takes those with these numbers out; gives how many there were.
    pub(super) fn drop_letters(&mut self, numbers: &[u64]) -> Result<u64, StoreError> {
        bound_log(&self.db, &self.limits, numbers.len() * PAGE_BYTES as usize)?;
        let mut tally = Tally::of(&self.saved);
        let before = tally.kept.count;
        let tx = self.db.transaction()?;
        for number in numbers {
            if let Some(bytes) = take_out(&tx, *number)? {
                tally.without(bytes);
            }
        }
        let state = write_state(&tx, &self.saved, tally.state(), &Vec::new())?;
        tx.commit()?;
        self.saved.extend(state);
        Ok(before - tally.kept.count)
    }
}
