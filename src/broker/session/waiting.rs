//! The messages that wait for one client, and which of them give way.
//!
//! Two lanes, numbered through: messages leave in the order in which they came, and the oldest of
//! either lane is found at once. Nothing here looks at more than the ends.

use std::collections::VecDeque;

use crate::broker::message::Delivery;
use crate::mqtt::packet::Qos;

/// A lane with room for more than this is made smaller when most of it is empty.
const KEEP: usize = 32;

/// What waits for one client, in order.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Messages of QoS 0.
    loose: VecDeque<(u64, Delivery)>,
    /// Messages of QoS 1 and 2.
    assured: VecDeque<(u64, Delivery)>,
    /// Number of the last message that was put in.
    last: u64,
    /// What they hold, in bytes.
    bytes: usize,
}

impl Waiting {
    /// Puts a message behind all others.
    pub(super) fn push(&mut self, delivery: Delivery) {
        self.last += 1;
        self.bytes += delivery.bytes();
        let last = self.last;
        self.lane(delivery.qos).push_back((last, delivery));
    }

    /// Puts a message back that was taken out and could not be sent.
    pub(super) fn put_back(&mut self, delivery: Delivery) {
        self.bytes += delivery.bytes();
        self.lane(delivery.qos).push_front((0, delivery));
    }

    /// The message whose turn it is.
    pub(super) fn first(&self) -> Option<&Delivery> {
        let lane = if self.loose_is_first() { &self.loose } else { &self.assured };
        lane.front().map(|(_, delivery)| delivery)
    }

    /// Takes it out.
    pub(super) fn take_first(&mut self) -> Option<Delivery> {
        if self.loose_is_first() { self.give_loose() } else { self.give_assured() }
    }

    /// Takes out the oldest message of QoS 0.
    pub(super) fn give_loose(&mut self) -> Option<Delivery> {
        take(&mut self.loose, &mut self.bytes)
    }

    /// Takes out the oldest message of QoS 1 or 2.
    pub(super) fn give_assured(&mut self) -> Option<Delivery> {
        take(&mut self.assured, &mut self.bytes)
    }

    /// Forgets all messages of QoS 0.
    pub(super) fn clear_loose(&mut self) {
        while self.give_loose().is_some() {}
    }

    /// Takes out the messages that are not to be kept. Looks at all of them.
    pub(super) fn extract(&mut self, goes: impl Fn(&Delivery) -> bool, out: &mut impl FnMut(Delivery)) {
        for lane in [&mut self.loose, &mut self.assured] {
            if lane.iter().any(|(_, delivery)| goes(delivery)) {
                for (order, delivery) in std::mem::take(lane) {
                    if goes(&delivery) {
                        self.bytes = self.bytes.saturating_sub(delivery.bytes());
                        out(delivery);
                    } else {
                        lane.push_back((order, delivery));
                    }
                }
            }
        }
    }

    /// What they hold, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.loose.len() + self.assured.len()
    }

    /// All of them; those of QoS 0 first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Delivery> {
        self.loose.iter().chain(&self.assured).map(|(_, delivery)| delivery)
    }

    fn loose_is_first(&self) -> bool {
        match (self.loose.front(), self.assured.front()) {
            (Some((loose, _)), Some((assured, _))) => loose < assured,
            (loose, _) => loose.is_some(),
        }
    }

    fn lane(&mut self, qos: Qos) -> &mut VecDeque<(u64, Delivery)> {
        match qos {
            Qos::AtMostOnce => &mut self.loose,
            Qos::AtLeastOnce | Qos::ExactlyOnce => &mut self.assured,
        }
    }
}

/// A lane that was long once does not keep its memory for ever.
fn take(lane: &mut VecDeque<(u64, Delivery)>, bytes: &mut usize) -> Option<Delivery> {
    let (_, delivery) = lane.pop_front()?;
    *bytes = bytes.saturating_sub(delivery.bytes());
    if lane.capacity() > KEEP && lane.len() < lane.capacity() / 4 {
        lane.shrink_to(lane.capacity() / 2);
    }
    Some(delivery)
}
