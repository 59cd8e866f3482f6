//! What was given up and not yet told of.
//!
//! One event for each device (or topic) and each run of one cause: losses melt into one while they go
//! on, and are told when the cause has been [`QUIET_US`] quiet, or at the latest after [`TELL_US`]. A
//! queue that stays full for a week drops something with each commit; an event with each would be half
//! of what it holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use crate::reading::{Body, DeviceName, Event, EventKind, GapReason, Loss, MessageId, Reading, Stamp, Whose};

/// A cause that was quiet for so long has ended, in microseconds.
pub const QUIET_US: i64 = 2_000_000;
/// What goes on for longer is told in pieces, in microseconds.
pub const TELL_US: i64 = 60_000_000;
/// Devices and topics that are kept apart. What goes beyond is counted together and told with no name:
/// LAN clients may use any number of topics.
pub const NAMES_MAX: usize = 256;

/// Whose, within one count of numbers, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    of: Of,
    reason: GapReason,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Of {
    Device(DeviceName, Count),
    Topic(Arc<str>),
    Unknown,
}

/// Whose count a reading's number belongs to. Numbers of two counts make no range.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Count {
    /// A boot of a board.
    Board(u32),
    /// A start of the daemon.
    Gateway(Uuid),
    /// Whoever's it was: of an event that was lost itself, which began at this number.
    Told(u64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Gap {
    from_seq: u64,
    to_seq: u64,
    span: Option<(Stamp, Stamp)>,
    lost: u64,
    /// When the first and the last were given up, in microseconds of the boot clock.
    began: i64,
    ended: i64,
}

impl Gap {
    fn due(&self) -> i64 {
        (self.ended + QUIET_US).min(self.began + TELL_US)
    }
}

/// A gap on its way to be told.
#[derive(Debug)]
pub struct Untold(Key, Gap);

/// What is not told yet.
#[derive(Debug, Default)]
pub struct Gaps {
    open: BTreeMap<Key, Gap>,
    /// When the first of them is to be told.
    due: Option<i64>,
}

impl Gaps {
    /// Adds a lost entry. An event that is lost is no loss of its own, but the one that it tells of
    /// must be told once more.
    pub fn add(&mut self, body: &Body, reason: GapReason, now: i64) {
        match body {
            Body::Reading(reading) => {
                let of = Of::Device(Arc::clone(&reading.device), count_of(reading));
                self.note(of, reason, (reading.seq, Some(reading.at)), 1, now);
            }
            Body::Message(message) => {
                self.note(Of::Topic(Arc::clone(&message.topic)), reason, (0, None), 1, now);
            }
            Body::Event(Event { kind: EventKind::Lost(loss), .. }) => self.tell_again(loss, now),
            Body::Event(_) => {}
        }
    }

    fn tell_again(&mut self, loss: &Loss, now: i64) {
        match &loss.of {
            Whose::Device { device, from_seq, to_seq } => {
                let of = Of::Device(Arc::clone(device), Count::Told(*from_seq));
                let span = loss.span.map_or((None, None), |(from, to)| (Some(from), Some(to)));
                self.note(of.clone(), loss.reason, (*from_seq, span.0), loss.lost, now);
                self.note(of, loss.reason, (*to_seq, span.1), 0, now);
            }
            Whose::Topic(topic) => {
                self.note(Of::Topic(Arc::clone(topic)), loss.reason, (0, None), loss.lost, now);
            }
            Whose::Unknown => self.add_unknown(loss.lost, loss.reason, now),
        }
    }

    /// Adds `lost` entries of which nothing else is known.
    pub fn add_unknown(&mut self, lost: u64, reason: GapReason, now: i64) {
        if lost > 0 {
            self.note(Of::Unknown, reason, (0, None), lost, now);
        }
    }

    /// Takes back what there was no room to tell.
    pub fn put_back(&mut self, untold: Untold, now: i64) {
        let Untold(key, gap) = untold;
        let due = now + QUIET_US;
        self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
        self.open.entry(key).or_insert(Gap { began: now, ended: now, ..gap });
    }

    fn note(&mut self, of: Of, reason: GapReason, (seq, at): (u64, Option<Stamp>), lost: u64, now: i64) {
        let mut key = Key { of, reason };
        if self.open.len() >= NAMES_MAX && !self.open.contains_key(&key) {
            key.of = Of::Unknown;
        }
        let span = at.map(|at| (at, at));
        let fresh = Gap { from_seq: seq, to_seq: seq, span, lost: 0, began: now, ended: now };
        let gap = self.open.entry(key).or_insert(fresh);
        gap.from_seq = gap.from_seq.min(seq);
        gap.to_seq = gap.to_seq.max(seq);
        if let (Some((from, to)), Some(at)) = (&mut gap.span, at) {
            // Stamps of two boots have no order among them. Entries are lost in the order in which they
            // were taken, so the later one is the one that comes later.
            if from.epoch == at.epoch {
                *from = (*from).min(at);
            }
            *to = if to.epoch == at.epoch { (*to).max(at) } else { at };
        }
        gap.lost += lost;
        gap.ended = now;
        let due = gap.due();
        self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
    }

    /// When to look next whether there is something to tell: not after it is due, perhaps before.
    #[must_use]
    pub fn due(&self) -> Option<i64> {
        self.due
    }

    /// Takes out what is to be told at `now`.
    pub fn take_due(&mut self, now: i64) -> Vec<Untold> {
        if self.due.is_none_or(|due| due > now) {
            return Vec::new();
        }
        let due = self.open.extract_if(.., |_, gap| gap.due() <= now);
        let due = due.map(|(key, gap)| Untold(key, gap)).collect();
        self.due = self.open.values().map(Gap::due).min();
        due
    }

    /// Takes out everything, to be told before the end.
    pub fn take_all(&mut self) -> Vec<Untold> {
        self.due = None;
        std::mem::take(&mut self.open).into_iter().map(|(key, gap)| Untold(key, gap)).collect()
    }
}

impl Untold {
    /// In the words of an event.
    #[must_use]
    pub fn loss(&self) -> Loss {
        let Self(Key { of, reason }, Gap { from_seq, to_seq, lost, .. }) = self;
        let (of, span) = match of {
            Of::Device(device, _) => {
                let device = Arc::clone(device);
                (Whose::Device { device, from_seq: *from_seq, to_seq: *to_seq }, self.1.span)
            }
            Of::Topic(topic) => (Whose::Topic(Arc::clone(topic)), None),
            Of::Unknown => (Whose::Unknown, None),
        };
        Loss { of, span, lost: *lost, reason: *reason }
    }
}

fn count_of(reading: &Reading) -> Count {
    match reading.id {
        MessageId::Board { boot, .. } => Count::Board(boot),
        MessageId::Gateway { boot, .. } => Count::Gateway(boot),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::{Epoch, Message, Properties, Uid};

    fn reading(boot: u32, seq: u32, us: i64) -> Body {
        let uid = Uid::new(&[1]).unwrap();
        Body::Reading(Reading {
            device: "shed".into(),
            id: MessageId::Board { uid, boot, seq },
            seq: seq.into(),
            at: Stamp::this_boot(us),
            values: Vec::new(),
        })
    }

    fn message(topic: &str) -> Body {
        Body::Message(Message {
            topic: topic.into(),
            payload: Default::default(),
            qos: 0,
            retain: false,
            properties: Properties::default(),
            expiry: None,
        })
    }

    fn losses(untold: &[Untold]) -> Vec<Loss> {
        untold.iter().map(Untold::loss).collect()
    }

    fn device(from_seq: u64, to_seq: u64) -> Whose {
        Whose::Device { device: "shed".into(), from_seq, to_seq }
    }

    #[test]
    fn an_event_that_is_lost_is_told_again() {
        let mut gaps = Gaps::default();
        for i in 0..10 {
            gaps.add(&reading(1, 5 + i, i64::from(i) * 100), GapReason::Full, 0);
        }
        let [told] = &losses(&gaps.take_all())[..] else { panic!("one gap") };
        let id = MessageId::Gateway { boot: Uuid::nil(), n: 0 };
        let event = Event { id, at: Stamp::this_boot(0), kind: EventKind::Lost(told.clone()) };
        gaps.add(&Body::Event(event), GapReason::Expired, 50);
        assert_eq!(losses(&gaps.take_all()), std::slice::from_ref(told));
    }

    #[test]
    fn a_run_of_losses_is_one_gap_told_when_it_is_over() {
        let mut gaps = Gaps::default();
        for i in 0..10 {
            gaps.add(&reading(1, 5 + i, i64::from(i) * 100), GapReason::Full, i64::from(i) * 1_000_000);
            assert_eq!(losses(&gaps.take_due(i64::from(i) * 1_000_000)), []);
        }
        assert_eq!(losses(&gaps.take_due(9_000_000 + QUIET_US - 1)), []);
        assert!(gaps.due().unwrap() <= 9_000_000 + QUIET_US);
        let span = Some((Stamp::this_boot(0), Stamp::this_boot(900)));
        let loss = Loss { of: device(5, 14), span, lost: 10, reason: GapReason::Full };
        assert_eq!(losses(&gaps.take_due(9_000_000 + QUIET_US)), [loss]);
        assert_eq!((losses(&gaps.take_due(i64::MAX)), gaps.due()), (vec![], None));
    }

    #[test]
    fn what_does_not_end_is_told_in_pieces() {
        let mut gaps = Gaps::default();
        let mut told = Vec::new();
        for i in 0..600_u32 {
            let now = i64::from(i) * 1_000_000;
            gaps.add(&reading(1, i, now), GapReason::Full, now);
            told.extend(losses(&gaps.take_due(now)));
        }
        told.extend(losses(&gaps.take_all()));
        assert_eq!(told.iter().map(|loss| loss.lost).sum::<u64>(), 600);
        assert!((8..=12).contains(&told.len()), "{}", told.len());
    }

    #[test]
    fn boots_causes_and_devices_are_kept_apart_and_their_number_is_bounded() {
        let mut gaps = Gaps::default();
        gaps.add(&reading(1, 900, 5), GapReason::Full, 0);
        gaps.add(&reading(2, 0, 6), GapReason::Full, 0);
        gaps.add(&reading(2, 1, 7), GapReason::Expired, 0);
        let told = losses(&gaps.take_all());
        assert_eq!(
            told.iter().map(|loss| loss.of.clone()).collect::<Vec<_>>(),
            [device(900, 900), device(0, 0), device(1, 1)]
        );
        for i in 0..1000 {
            gaps.add(&message(&format!("t/{i}")), GapReason::Full, 0);
        }
        let told = losses(&gaps.take_all());
        assert!(told.len() <= NAMES_MAX + 1);
        assert_eq!(told.iter().map(|loss| loss.lost).sum::<u64>(), 1000);
        assert!(told.iter().any(|loss| loss.of == Whose::Topic("t/0".into())));
        assert!(told.iter().any(|loss| loss.of == Whose::Unknown && loss.lost > 700));
    }

    #[test]
    fn a_gap_over_two_boots_begins_in_the_first_and_ends_in_the_second() {
        let mut gaps = Gaps::default();
        let before = Stamp { epoch: Epoch::Boot(3), us: 9_000_000 };
        let Body::Reading(mut old) = reading(1, 7, 0) else { unreachable!() };
        old.at = before;
        gaps.add(&Body::Reading(old), GapReason::Expired, 0);
        gaps.add(&reading(1, 8, 50), GapReason::Expired, 0);
        assert_eq!(losses(&gaps.take_all())[0].span, Some((before, Stamp::this_boot(50))));
    }
}
