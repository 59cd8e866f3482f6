//! The entries that are in memory.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::reading::{Body, Value};

/// What an entry costs beside its text, in bytes: an estimate that is rather too high.
const ENTRY_BYTES: usize = 128;
/// What one value costs beside its text, in bytes.
const VALUE_BYTES: usize = 48;

#[derive(Debug)]
struct Entry<T> {
    body: Arc<Body>,
    wants: u32,
    ticket: Option<T>,
    deadline: i64,
    bytes: usize,
    place: Place,
}

/// Where an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In memory only: it goes when nobody wants it any more.
    Memory,
    /// In a chunk that is being written. From here on the cursors tell whether it was delivered.
    Writing,
    /// In a chunk on disk; what is here is a copy.
    Disk,
}

/// What a bridge finds at a position.
#[derive(Debug, PartialEq)]
pub enum Look<'a> {
    /// An entry for it.
    Wanted(&'a Arc<Body>),
    /// An entry that is not for it, or not any more, and that is on disk or on its way there.
    Passed {
        /// Whether it counts in the ledger.
        counts: bool,
    },
    /// Nothing that concerns it.
    Nothing,
}

/// What became of an entry that a bridge is done with.
#[derive(Debug, PartialEq)]
pub enum Settled<T> {
    /// It was in memory only, and nobody wants it any more: it is gone.
    Gone(Option<T>),
    /// Somebody else still wants it.
    Kept,
    /// It is on disk or on its way there; the ticket is given when nobody wants it any more.
    OnDisk(Option<T>),
}

/// Entries by position, from [`Held::base`] to [`Held::end`]. A slot is empty once its entry was
/// delivered; empty slots at the front are given up and the base moves on.
#[derive(Debug)]
pub struct Held<T> {
    base: u64,
    slots: VecDeque<Option<Entry<T>>>,
    /// Slots in front of this index are durable or empty.
    volatile_from: usize,
    bytes: usize,
    volatile_bytes: usize,
    volatile: u64,
    /// Below this position nothing is there to be given up.
    kept_below: u64,
}

impl<T> Held<T> {
    /// Nothing held; the next entry gets position `base`.
    #[must_use]
    pub fn new(base: u64) -> Self {
        Self {
            base,
            slots: VecDeque::new(),
            volatile_from: 0,
            bytes: 0,
            volatile_bytes: 0,
            volatile: 0,
            kept_below: base,
        }
    }

    /// Gives all entries new positions, from `base` on. For an entry whose position nobody has
    /// told the file yet.
    pub fn move_to(&mut self, base: u64) {
        self.base = base;
        self.kept_below = base;
    }

    /// The first position that may be in memory; all that waits below it is on disk.
    #[must_use]
    pub fn base(&self) -> u64 {
        self.base
    }

    /// The position that the next entry gets.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.base + self.slots.len() as u64
    }

    /// All below this position is durable or done.
    #[must_use]
    pub fn durable_end(&self) -> u64 {
        self.base + self.volatile_from as u64
    }

    /// Readings and messages that are in memory only.
    #[must_use]
    pub fn volatile(&self) -> u64 {
        self.volatile
    }

    /// Bytes that are in memory only.
    #[must_use]
    pub fn volatile_bytes(&self) -> usize {
        self.volatile_bytes
    }

    /// Whether `body` fits under a limit of `bytes`.
    #[must_use]
    pub fn has_room(&self, body: &Body, bytes: usize) -> bool {
        self.bytes + cost(body) <= bytes
    }

    /// When the oldest entry that is not durable must be.
    #[must_use]
    pub fn first_deadline(&self) -> Option<i64> {
        self.slots.get(self.volatile_from)?.as_ref().map(|entry| entry.deadline)
    }

    /// Takes an entry.
    pub fn push(&mut self, body: Arc<Body>, wants: u32, ticket: Option<T>, deadline: i64) {
        let bytes = cost(&body);
        self.bytes += bytes;
        self.volatile_bytes += bytes;
        self.volatile += u64::from(body.counts());
        self.slots.push_back(Some(Entry { body, wants, ticket, deadline, bytes, place: Place::Memory }));
    }

    /// Gives up the oldest entry that only this memory has: on its way to no bridge (`idle` tells by
    /// position), not on its way to disk, and with nobody waiting to hear that it is safe.
    pub fn give_up_oldest(&mut self, idle: impl Fn(u64) -> bool) -> Option<Arc<Body>> {
        let from = self.index(self.kept_below).unwrap_or(0).max(self.volatile_from);
        let base = self.base;
        let slot = (from..self.slots.len()).find(|slot| {
            self.slots.get(*slot).and_then(Option::as_ref).is_some_and(|entry| {
                entry.place == Place::Memory
                    && entry.ticket.is_none()
                    && entry.body.counts()
                    && idle(base + *slot as u64)
            })
        });
        self.kept_below = base + slot.unwrap_or(self.slots.len()) as u64;
        let body = self.slots.get(slot?)?.as_ref().map(|entry| Arc::clone(&entry.body));
        self.remove(slot?);
        self.trim();
        body
    }

    /// Drops all tickets.
    pub fn drop_tickets(&mut self) {
        self.slots.iter_mut().flatten().for_each(|entry| entry.ticket = None);
    }

    /// What bridge `index` finds at `position`.
    #[must_use]
    pub fn look(&self, position: u64, index: usize) -> Look<'_> {
        let Some(Some(entry)) = self.index(position).and_then(|slot| self.slots.get(slot)) else {
            return Look::Nothing;
        };
        match entry.place {
            _ if entry.wants & (1 << index) != 0 => Look::Wanted(&entry.body),
            Place::Memory => Look::Nothing,
            Place::Writing | Place::Disk => Look::Passed { counts: entry.body.counts() },
        }
    }

    /// Bridge `index` is done with `position`.
    pub fn done(&mut self, position: u64, index: usize) -> Settled<T> {
        let Some(slot) = self.index(position) else { return Settled::OnDisk(None) };
        let Some(Some(entry)) = self.slots.get_mut(slot) else { return Settled::OnDisk(None) };
        entry.wants &= !(1 << index);
        match (entry.place, entry.wants) {
            (Place::Memory, 0) => {
                let ticket = self.remove(slot);
                self.trim();
                Settled::Gone(ticket)
            }
            (Place::Memory, _) => Settled::Kept,
            (Place::Writing | Place::Disk, 0) => Settled::OnDisk(entry.ticket.take()),
            (Place::Writing | Place::Disk, _) => Settled::OnDisk(None),
        }
    }

    /// Everything that is not durable, to be written, and the position behind it.
    pub fn begin_writing(&mut self) -> (Vec<(u64, Arc<Body>)>, u64) {
        let (base, end) = (self.base, self.end());
        let slots = self.slots.iter_mut().enumerate().skip(self.volatile_from);
        let entries = slots.filter_map(|(slot, entry)| {
            let entry = entry.as_mut()?;
            entry.place = Place::Writing;
            Some((base + slot as u64, Arc::clone(&entry.body)))
        });
        (entries.collect(), end)
    }

    /// Everything below `end` is durable. At most `keep` bytes of it stay in memory, the newest.
    pub fn written(&mut self, end: u64, keep: usize, mut safe: impl FnMut(T)) {
        let end = self.index(end).unwrap_or(0).min(self.slots.len());
        for slot in self.volatile_from..end {
            let Some(entry) = self.slots.get_mut(slot).and_then(Option::as_mut) else { continue };
            entry.place = Place::Disk;
            self.volatile_bytes -= entry.bytes;
            self.volatile -= u64::from(entry.body.counts());
            if let Some(ticket) = entry.ticket.take() {
                safe(ticket);
            }
        }
        self.volatile_from = self.volatile_from.max(end);
        self.kept_below = self.base;
        while self.volatile_from > 0 && self.bytes - self.volatile_bytes > keep {
            self.remove(0);
            self.pop_front();
        }
        self.trim();
    }

    /// The disk did not take it: everything is in memory only, as before. Gives the positions of
    /// entries that nobody wanted any more meanwhile, and whether they count; they are gone.
    pub fn not_written(&mut self) -> Vec<(u64, bool)> {
        let mut gone = Vec::new();
        for slot in self.volatile_from..self.slots.len() {
            let Some(entry) = self.slots.get_mut(slot).and_then(Option::as_mut) else { continue };
            if entry.place == Place::Writing && entry.wants == 0 {
                gone.push((self.base + slot as u64, entry.body.counts()));
            }
            entry.place = Place::Memory;
        }
        self.kept_below = self.base;
        for (position, _) in &gone {
            if let Some(slot) = self.index(*position) {
                self.remove(slot);
            }
        }
        self.trim();
        gone
    }

    fn index(&self, position: u64) -> Option<usize> {
        usize::try_from(position.checked_sub(self.base)?).ok()
    }

    fn remove(&mut self, slot: usize) -> Option<T> {
        let entry = self.slots.get_mut(slot)?.take()?;
        self.bytes -= entry.bytes;
        if entry.place != Place::Disk {
            self.volatile_bytes -= entry.bytes;
            self.volatile -= u64::from(entry.body.counts());
        }
        entry.ticket
    }

    fn pop_front(&mut self) {
        self.slots.pop_front();
        self.base += 1;
        self.volatile_from = self.volatile_from.saturating_sub(1);
    }

    fn trim(&mut self) {
        while matches!(self.slots.front(), Some(None)) {
            self.pop_front();
        }
        while matches!(self.slots.get(self.volatile_from), Some(None)) {
            self.volatile_from += 1;
        }
        if self.slots.is_empty() && self.slots.capacity() > 4096 {
            self.slots.shrink_to(64);
        }
    }
}

/// About how many bytes of memory `body` takes.
fn cost(body: &Body) -> usize {
    ENTRY_BYTES
        + match body {
            Body::Reading(reading) => reading.values.iter().map(|(_, value)| VALUE_BYTES + text(value)).sum(),
            Body::Message(message) => {
                let user = &message.properties.user;
                message.topic.len()
                    + message.payload.len()
                    + user.iter().map(|(key, value)| key.len() + value.len() + VALUE_BYTES).sum::<usize>()
            }
            Body::Event(_) => ENTRY_BYTES,
        }
}

fn text(value: &Value) -> usize {
    match value {
        Value::Text(text) | Value::Json(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::Null | Value::Bool(_) | Value::Decimal { .. } | Value::F32(_) | Value::F64(_) => 0,
    }
}
