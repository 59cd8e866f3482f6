//! The readings that a board holds until they are acknowledged.

use std::collections::VecDeque;

/// Most readings that a ring holds: an ACK's 16 bits must tell ahead from behind.
pub const RING_MAX: usize = 32_767;

/// How much a ring holds before it drops the oldest reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capacity {
    /// That many readings, 1 to [`RING_MAX`].
    Readings(usize),
    /// That many bytes, at 5 bytes and its items for each reading. One reading always fits.
    Bytes(usize),
}

/// Numbered readings, oldest first, and how far they have been sent.
#[derive(Debug)]
pub(super) struct Ring {
    capacity: Capacity,
    readings: VecDeque<Stored>,
    bytes: usize,
    /// Number of the oldest reading held, or of the next one if none is.
    oldest: u32,
    /// Readings dropped for want of room.
    dropped: u32,
    /// How many of the readings held, from the oldest on, have been sent since the last rewind.
    sent: usize,
}

#[derive(Debug)]
struct Stored {
    t_ms: u32,
    items: Vec<u8>,
}

impl Ring {
    pub(super) fn new(capacity: Capacity) -> Self {
        Self { capacity, readings: VecDeque::new(), bytes: 0, oldest: 0, dropped: 0, sent: 0 }
    }

    /// Stores a reading, if need be in place of the oldest ones, and returns its number.
    pub(super) fn push(&mut self, t_ms: u32, items: &[u8]) -> u32 {
        while !self.has_room(cost(items)) && self.pop() {
            self.dropped = self.dropped.wrapping_add(1);
        }
        let seq = self.next();
        self.bytes += cost(items);
        self.readings.push_back(Stored { t_ms, items: items.to_vec() });
        seq
    }

    /// Forgets the oldest reading. False if there is none.
    pub(super) fn pop(&mut self) -> bool {
        let Some(stored) = self.readings.pop_front() else { return false };
        self.bytes -= cost(&stored.items);
        self.oldest = self.oldest.wrapping_add(1);
        self.sent = self.sent.saturating_sub(1);
        true
    }

    /// Place of the next reading to be sent, which now counts as sent.
    pub(super) fn send_next(&mut self) -> Option<usize> {
        let index = self.sent;
        self.has_unsent().then(|| {
            self.sent += 1;
            index
        })
    }

    /// Place of the oldest reading, which now counts as sent.
    pub(super) fn send_oldest(&mut self) -> Option<usize> {
        (self.len() > 0).then(|| {
            self.sent = self.sent.max(1);
            0
        })
    }

    /// Begins again with the oldest.
    pub(super) fn rewind(&mut self) {
        self.sent = 0;
    }

    /// Number, time and items of the reading at `index`, counted from the oldest.
    pub(super) fn get(&self, index: usize) -> Option<(u32, u32, &[u8])> {
        let Stored { t_ms, items } = self.readings.get(index)?;
        Some((self.number(index), *t_ms, items))
    }

    pub(super) fn len(&self) -> usize {
        self.readings.len()
    }

    pub(super) fn has_sent(&self) -> bool {
        self.sent > 0
    }

    pub(super) fn has_unsent(&self) -> bool {
        self.sent < self.readings.len()
    }

    pub(super) fn oldest(&self) -> u32 {
        self.oldest
    }

    /// Number of the next reading.
    pub(super) fn next(&self) -> u32 {
        self.number(self.readings.len())
    }

    pub(super) fn dropped(&self) -> u32 {
        self.dropped
    }

    fn number(&self, index: usize) -> u32 {
        self.oldest.wrapping_add(u32::try_from(index).unwrap_or(u32::MAX))
    }

    fn has_room(&self, cost: usize) -> bool {
        self.readings.len() < RING_MAX
            && match self.capacity {
                Capacity::Readings(readings) => self.readings.len() < readings,
                Capacity::Bytes(bytes) => self.bytes + cost <= bytes,
            }
    }
}

/// What a reading takes in the ring of the C library, in bytes.
fn cost(items: &[u8]) -> usize {
    5 + items.len()
}
