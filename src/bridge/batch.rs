//! Readings that go into one message.
//!
//! Where batches are wanted, the readings of one device wait for each other until there are `max` of
//! them, or until the first has waited `within`. Whatever else a bridge sends goes alone and at once. The
//! order per device stays; what belongs to two devices, or is no reading, can change places as far as
//! the waiting goes. Without batches everything goes alone, by the same way.

use std::collections::VecDeque;
use std::iter;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::queue::Taken;
use crate::reading::{Body, DeviceName};

/// Most rows that wait here: with so many devices at once that no batch fills, the oldest goes as it is.
const HELD_MAX: usize = 4096;

/// The rows of one message, in order.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rows {
    first: Taken,
    /// Costs no memory of its own while it is empty, as it is without batches.
    more: Vec<Taken>,
}

impl From<Taken> for Rows {
    fn from(first: Taken) -> Self {
        Self { first, more: Vec::new() }
    }
}

impl Rows {
    /// The first one.
    pub(super) fn first(&self) -> &Taken {
        &self.first
    }

    /// How many there are; never none.
    pub(super) fn count(&self) -> usize {
        1 + self.more.len()
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Taken> {
        iter::once(&self.first).chain(&self.more)
    }

    /// One more.
    pub(super) fn push(&mut self, row: Taken) {
        self.more.push(row);
    }

    /// The two halves.
    ///
    /// # Errors
    /// There is one row only: it is given back.
    pub(super) fn split(mut self) -> Result<(Self, Self), Taken> {
        let mut more = self.more.split_off(self.more.len() / 2).into_iter();
        match more.next() {
            Some(first) => Ok((self, Self { first, more: more.collect() })),
            None => Err(self.first),
        }
    }
}

/// How many readings and messages there are in what was in flight.
pub(super) fn readings_in(in_flight: &[(Rows, usize)]) -> u64 {
    in_flight.iter().flat_map(|(rows, _)| rows.iter()).filter(|row| row.body.counts()).count() as u64
}

/// What was taken from the queue and is not sent yet.
#[derive(Debug)]
pub(super) struct Batches {
    max: usize,
    within: Duration,
    /// In the order of their first rows.
    open: VecDeque<Batch>,
    /// Rows in all of them.
    held: usize,
}

#[derive(Debug)]
struct Batch {
    /// Whose readings they are; `None` for what goes alone.
    device: Option<DeviceName>,
    rows: Rows,
    /// When it goes as it is.
    due: Instant,
}

impl Batch {
    fn is_ready(&self, max: usize, now: Instant) -> bool {
        self.device.is_none() || self.rows.count() >= max || self.due <= now
    }
}

impl Batches {
    /// At most `max` readings in a message, of which the first waits for `within` at most.
    pub(super) fn new(max: usize, within: Duration) -> Self {
        Self { max, within, open: VecDeque::new(), held: 0 }
    }

    /// How many rows to take from the queue before `messages` can be sent.
    pub(super) fn wanted(&self, messages: usize) -> usize {
        messages.saturating_mul(self.max).min(HELD_MAX.saturating_sub(self.held))
    }

    /// Takes the next row of the queue.
    pub(super) fn add(&mut self, row: Taken, now: Instant) {
        self.held += 1;
        let device = match &*row.body {
            Body::Reading(reading) if self.max > 1 => Some(Arc::clone(&reading.device)),
            _ => None,
        };
        let last =
            device.as_ref().and_then(|_| self.open.iter_mut().rev().find(|open| open.device == device));
        match last.filter(|batch| batch.rows.count() < self.max) {
            Some(batch) => batch.rows.push(row),
            None => self.open.push_back(Batch { device, rows: row.into(), due: now + self.within }),
        }
    }

    /// The first message that need not wait any longer.
    pub(super) fn next(&mut self, now: Instant) -> Option<Rows> {
        let full = self.held >= HELD_MAX;
        let at = self.open.iter().position(|batch| full || batch.is_ready(self.max, now))?;
        let rows = self.open.remove(at)?.rows;
        self.held -= rows.count();
        Some(rows)
    }

    /// When [`Batches::next`] gives something: perhaps now.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let ready = self.held >= HELD_MAX || self.open.iter().any(|batch| batch.is_ready(self.max, now));
        if ready { Some(now) } else { self.open.front().map(|batch| batch.due) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::reading::{Event, EventKind, MessageId, Reading, Stamp};

    const SECOND: Duration = Duration::from_secs(1);

    /// A reading of a device, or with 0 an event.
    fn row(position: u64, device: u8) -> Taken {
        let (id, at) = (MessageId::Gateway { boot: uuid::Uuid::nil(), n: position }, Stamp::this_boot(0));
        let body = match device {
            0 => Body::Event(Event {
                id,
                at,
                kind: EventKind::Port { path: "p".into(), state: "open".into() },
            }),
            _ => Body::Reading(Reading {
                device: device.to_string().into(),
                id,
                seq: position,
                at,
                values: Vec::new(),
            }),
        };
        Taken { position, body: Arc::new(body), late: false }
    }

    fn positions(rows: &Rows) -> Vec<u64> {
        rows.iter().map(|row| row.position).collect()
    }

    #[test]
    fn readings_of_a_device_wait_for_each_other_and_nothing_else_waits() {
        let (now, mut batches) = (Instant::now(), Batches::new(3, SECOND));
        for (position, device) in [(0, 1), (1, 2), (2, 0), (3, 1), (4, 1), (5, 1)] {
            batches.add(row(position, device), now + SECOND * u32::try_from(position).unwrap() / 10);
        }
        let next = |batches: &mut Batches, now| batches.next(now).as_ref().map(positions);
        assert_eq!(batches.due(now), Some(now));
        assert_eq!(next(&mut batches, now), Some(vec![0, 3, 4]));
        assert_eq!(next(&mut batches, now), Some(vec![2]));
        assert_eq!(next(&mut batches, now), None);
        assert_eq!(batches.due(now), Some(now + SECOND * 11 / 10));
        assert_eq!(next(&mut batches, now + SECOND * 11 / 10), Some(vec![1]));
        assert_eq!(next(&mut batches, now + SECOND * 3 / 2), Some(vec![5]));
        assert_eq!((batches.due(now), batches.held), (None, 0));
    }

    #[test]
    fn without_batches_all_goes_as_it_comes() {
        let (now, mut batches) = (Instant::now(), Batches::new(1, Duration::ZERO));
        (0..5).for_each(|position| batches.add(row(position, 1), now));
        assert_eq!(batches.wanted(7), 7);
        let all = iter::from_fn(|| batches.next(now)).map(|rows| positions(&rows));
        assert_eq!(all.collect::<Vec<_>>(), [[0], [1], [2], [3], [4]]);
    }

    #[test]
    fn with_very_many_devices_the_oldest_rows_go_as_they_are() {
        let (now, mut batches) = (Instant::now(), Batches::new(1000, SECOND));
        for position in 0..HELD_MAX as u64 {
            assert_eq!(batches.next(now), None);
            batches.add(row(position, 1 + u8::try_from(position % 200).unwrap()), now);
        }
        assert_eq!(batches.wanted(1), 0);
        assert_eq!(batches.next(now).unwrap().first().position, 0);
        assert!(batches.wanted(1) > 0);
    }

    #[test]
    fn halves_end_at_single_rows_and_keep_the_order() {
        let (now, mut batches) = (Instant::now(), Batches::new(5, SECOND));
        (0..5).for_each(|position| batches.add(row(position, 1), now));
        let (mut parts, mut singles) = (vec![batches.next(now).unwrap()], Vec::new());
        while let Some(rows) = parts.pop() {
            match rows.split() {
                Ok((first, second)) => parts.extend([second, first]),
                Err(row) => singles.push(row.position),
            }
        }
        assert_eq!(singles, [0, 1, 2, 3, 4]);
    }

    proptest! {
        #[test]
        fn everything_comes_out_once_and_in_order_per_device(
            steps in prop::collection::vec((0..5_u8, 0..400_u64), 1..300),
            max in 1..9_usize,
        ) {
            let (mut now, mut batches, mut out) = (Instant::now(), Batches::new(max, SECOND), Vec::new());
            for (position, (device, wait)) in steps.iter().enumerate() {
                now += Duration::from_millis(*wait);
                batches.add(row(position as u64, *device), now);
                prop_assert!(batches.due(now).is_some_and(|due| (now..=now + SECOND).contains(&due)));
                while let Some(rows) = batches.next(now) {
                    prop_assert!(rows.count() <= max);
                    out.push(rows);
                }
            }
            out.extend(iter::from_fn(|| batches.next(now + SECOND)));
            prop_assert_eq!(batches.held, 0);
            for device in 0..5 {
                let wanted: Vec<_> = (0..).zip(&steps).filter(|(_, step)| step.0 == device).map(|(at, _)| at).collect();
                let of = |row: &&Taken| steps[usize::try_from(row.position).unwrap()].0 == device;
                let rows = out.iter().filter(|rows| of(&rows.first()));
                let came: Vec<u64> = rows.flat_map(positions).collect();
                prop_assert_eq!(came, wanted, "each message holds rows of one device");
            }
        }
    }
}
