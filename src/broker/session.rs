//! What the broker remembers for one client, connected or not. Pure.
//!
//! The messages for the client wait in three places, and leave in this order: those that an
//! earlier connection left unacknowledged, the retained messages of new subscriptions, and the
//! queue. Retained messages are looked up when their turn comes, so a subscription to ten thousand
//! of them costs nothing and none of them can be crowded out.
//!
//! Where there is no room, messages of QoS 0 give way first and the older ones before the newer.

mod kept;
mod restore;
#[cfg(test)]
mod tests;
mod waiting;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::filter::Filter;
use super::journal::Gate;
use super::losses::Loss;
use super::message::Delivery;
use super::retained::Retained;
use super::routing::Subscription;
use crate::mqtt::packet::{Ack, Packet, PacketId, Publish, Qos, SubscribeFilter};
use crate::mqtt::session::{Incoming, Outgoing, Recorded, Resend};
use kept::Keeping;
use waiting::Waiting;

/// What a message costs while it waits or is under way, beside what it holds, in bytes.
const PLACE_BYTES: usize = 128;

/// How much may wait for one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// Messages in the queue.
    pub(super) messages: usize,
    /// Bytes, messages under way included.
    pub(super) bytes: usize,
}

/// One client's session.
#[derive(Debug)]
pub(super) struct Session {
    /// Messages under way to the client.
    outgoing: Outgoing<Delivery>,
    /// Messages under way from the client.
    pub(super) incoming: Incoming,
    queue: Waiting,
    replays: VecDeque<Replay>,
    /// Bytes of the messages in `outgoing`.
    under_way: usize,
    /// How often the queue may be full before it is worth looking for expired messages again. To
    /// look at all of them each time would cost more than everything else.
    until_purge: usize,
    /// What the client subscribed to, as it wrote it.
    pub(super) filters: BTreeMap<Arc<str>, Subscription>,
    /// Seconds that it outlives the connection; `u32::MAX` for ever.
    pub(super) expiry_s: u32,
    /// Its part in what survives the daemon.
    pub(super) kept: Keeping,
}

/// Retained messages that a subscription still has to get.
#[derive(Debug)]
struct Replay {
    filter: Arc<str>,
    qos: Qos,
    subscription_id: Option<u32>,
    /// The topic up to which it got them.
    after: Option<Arc<str>>,
}

/// What to send to the client next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outbound {
    /// A PUBLISH.
    Publish(Box<Publish>),
    /// A PUBREL.
    Release(PacketId),
    /// An answer that had to wait.
    Answer(Box<Packet>),
}

impl Session {
    /// A new session, before its first connection.
    pub(super) fn new() -> Self {
        Self {
            outgoing: Outgoing::new(1),
            incoming: Incoming::new(1),
            queue: Waiting::default(),
            replays: VecDeque::new(),
            under_way: 0,
            until_purge: 0,
            filters: BTreeMap::new(),
            expiry_s: 0,
            kept: Keeping::default(),
        }
    }

    /// The client is connected and takes `window` messages at a time; it may have `maximum`
    /// messages unacknowledged. What the last connection left open is sent again.
    pub(super) fn connected(&mut self, window: u16, maximum: u16, expiry_s: u32) {
        self.outgoing.reconnect(window);
        self.incoming.reconnect(maximum);
        self.expiry_s = expiry_s;
    }

    /// The connection is gone: messages of QoS 0 do not wait for the next one.
    pub(super) fn disconnected(&mut self) {
        self.queue.clear_loose();
        self.kept.disconnected();
    }

    /// Puts a message in the queue. Where there is no room the oldest of QoS 0 give way to it, and
    /// to one of QoS 1 or 2 then the oldest of those. `lost` gets what was given up, with the
    /// reason: perhaps the message itself.
    pub(super) fn enqueue(
        &mut self,
        mut delivery: Delivery,
        room: Room,
        now: Instant,
        lost: &mut impl FnMut(Delivery, Loss),
    ) {
        let bytes = delivery.bytes() + PLACE_BYTES;
        let fits =
            |session: &Self| session.queue.len() < room.messages && session.bytes() + bytes <= room.bytes;
        // What cannot fit beside what is under way must not drive out the others.
        let may_fit = self.under_way_bytes() + bytes <= room.bytes;
        if !fits(self) {
            self.purge(now, lost);
        }
        while !fits(self) {
            let given = match delivery.qos {
                Qos::AtMostOnce if may_fit => self.queue.give_loose(),
                _ if !may_fit => None,
                _ => self.queue.give_loose().or_else(|| self.queue.give_assured()),
            };
            let Some(given) = given else {
                let loss = full(delivery.qos);
                return lost(delivery, loss);
            };
            self.kept.dropped(&given);
            let loss = full(given.qos);
            lost(given, loss);
        }
        self.kept.admit(&mut delivery);
        self.queue.push(delivery);
    }

    /// Gives up one message because others need the room: the oldest that waits with QoS 0, or with
    /// QoS 1 or 2, or is under way.
    pub(super) fn give_way(&mut self) -> Option<(Delivery, Loss)> {
        let waiting = self.queue.give_loose().or_else(|| self.queue.give_assured());
        let given = match waiting {
            Some(given) => {
                self.kept.dropped(&given);
                given
            }
            None => {
                let id = self.outgoing.oldest_unfinished()?;
                let given = self.outgoing.forget(id)?;
                self.kept.over(id, Some(&given));
                self.under_way = self.under_way.saturating_sub(given.bytes());
                given
            }
        };
        let loss = full(given.qos);
        Some((given, loss))
    }

    /// Remembers to send the retained messages that match a subscription's filter.
    pub(super) fn replay(&mut self, wanted: &SubscribeFilter, subscription_id: Option<u32>) {
        self.replays.retain(|replay| replay.filter != wanted.filter);
        self.replays.push_back(Replay {
            filter: Arc::clone(&wanted.filter),
            qos: wanted.qos,
            subscription_id,
            after: None,
        });
    }

    /// Forgets retained messages that a subscription did not get yet.
    pub(super) fn stop_replay(&mut self, filter: &str) {
        self.replays.retain(|replay| &*replay.filter != filter);
    }

    /// What to send next; `None` when there is nothing, or the client has to acknowledge something
    /// first, or the disk.
    pub(super) fn next(
        &mut self,
        retained: &Retained,
        room: Room,
        gate: Gate,
        now: Instant,
        lost: &mut impl FnMut(Delivery, Loss),
    ) -> Option<Outbound> {
        loop {
            if let Some(held) = self.kept.next_held(gate) {
                return Some(held);
            }
            // What follows is made ready as well, so that one commit is enough for all of it.
            let (next, is_new) = match self.next_resend(now) {
                Some(resend) => (resend, false),
                None => {
                    let retained = self.next_retained(retained, room, now);
                    (retained.or_else(|| self.next_queued(now, lost))?, true)
                }
            };
            if let Some(next) = self.kept.hold_if_needed(next, is_new, gate) {
                return Some(next);
            }
        }
    }

    fn next_resend(&mut self, now: Instant) -> Option<Outbound> {
        Some(match self.outgoing.next_resend()? {
            Resend::Publish(id, delivery) => {
                let publish = Publish { id: Some(id), dup: true, ..delivery.to_publish(now) };
                Outbound::Publish(Box::new(publish))
            }
            Resend::Release(id) => Outbound::Release(id),
        })
    }

    /// The message could not be sent to this client and is over.
    pub(super) fn unsendable(&mut self, id: Option<PacketId>) {
        let Some(id) = id else { return };
        let message = self.outgoing.forget(id);
        self.over(id, message);
    }

    /// A PUBACK from the client.
    pub(super) fn puback(&mut self, id: PacketId) {
        if let Some(message) = self.outgoing.puback(id) {
            self.over(id, Some(message));
        }
    }

    /// A PUBREC from the client: whether and how to answer with PUBREL.
    pub(super) fn pubrec(&mut self, ack: Ack, gate: Gate) -> PubRel {
        match self.outgoing.pubrec(ack) {
            Recorded::Released(message) => {
                if let Some(message) = &message {
                    self.kept.released(ack.id, message);
                }
                self.finished(message);
                if !self.kept.is_on() {
                    return PubRel::Known;
                }
                self.kept.hold(Outbound::Release(ack.id), gate);
                PubRel::None
            }
            Recorded::Refused(message) => {
                self.over(ack.id, message);
                PubRel::None
            }
            Recorded::Unknown => PubRel::Unknown,
        }
    }

    /// A PUBCOMP from the client.
    pub(super) fn pubcomp(&mut self, id: PacketId) {
        if self.outgoing.pubcomp(id) {
            self.over(id, None);
        }
    }

    fn over(&mut self, id: PacketId, message: Option<Delivery>) {
        self.kept.over(id, message.as_ref());
        self.finished(message);
    }

    /// What waits for the client or is under way to it, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.queue.bytes() + self.queue.len() * PLACE_BYTES + self.under_way_bytes()
    }

    fn under_way_bytes(&self) -> usize {
        self.under_way + self.outgoing.len() * PLACE_BYTES
    }

    /// How many messages would be lost with the session.
    pub(super) fn waiting(&self) -> u64 {
        u64::try_from(self.queue.len() + self.outgoing.len()).unwrap_or(u64::MAX)
    }

    fn next_retained(&mut self, retained: &Retained, room: Room, now: Instant) -> Option<Outbound> {
        loop {
            let bytes = self.bytes();
            let replay = self.replays.front_mut()?;
            let topics = Filter::parse(&replay.filter).map_or("", |filter| filter.topics);
            let Some(message) = retained.next_match(topics, replay.after.as_deref(), now) else {
                if let Some(replay) = self.replays.pop_front() {
                    self.kept.replayed(&replay.filter);
                }
                continue;
            };
            let qos = replay.qos.min(message.qos);
            // Those that were replaced since they were sent exist for this client alone.
            let is_full = !self.outgoing.is_empty() && bytes + message.bytes() > room.bytes;
            if (is_full && qos != Qos::AtMostOnce) || !may_go(&self.outgoing, &self.kept, qos) {
                return None;
            }
            replay.after = Some(Arc::clone(&message.topic));
            let mut delivery = Delivery {
                message: Arc::clone(message),
                position: 0,
                qos,
                retain: true,
                subscription_ids: replay.subscription_id.into_iter().collect(),
            };
            self.kept.admit(&mut delivery);
            return self.sent(delivery, now);
        }
    }

    fn next_queued(&mut self, now: Instant, lost: &mut impl FnMut(Delivery, Loss)) -> Option<Outbound> {
        loop {
            let next = self.queue.first()?;
            let expired = next.message.is_expired(now);
            if !expired && !may_go(&self.outgoing, &self.kept, next.qos) {
                return None;
            }
            let delivery = self.queue.take_first()?;
            if !expired {
                return self.sent(delivery, now);
            }
            self.kept.dropped(&delivery);
            lost(delivery, Loss::Expired);
        }
    }

    /// Hands out a message for which there is room.
    fn sent(&mut self, delivery: Delivery, now: Instant) -> Option<Outbound> {
        let mut publish = delivery.to_publish(now);
        if delivery.qos != Qos::AtMostOnce {
            let (qos, bytes, position) = (delivery.qos, delivery.bytes(), delivery.position);
            match self.outgoing.send(delivery, qos) {
                Ok(id) => {
                    self.kept.sent(position, id);
                    publish.id = Some(id);
                }
                Err(delivery) => {
                    self.queue.put_back(delivery);
                    return None;
                }
            }
            self.under_way += bytes;
        }
        Some(Outbound::Publish(Box::new(publish)))
    }

    fn purge(&mut self, now: Instant, lost: &mut impl FnMut(Delivery, Loss)) {
        if let Some(left) = self.until_purge.checked_sub(1) {
            self.until_purge = left;
            return;
        }
        self.queue.extract(|delivery| delivery.message.is_expired(now), &mut |delivery| {
            self.kept.dropped(&delivery);
            lost(delivery, Loss::Expired);
        });
        self.until_purge = self.queue.len();
    }

    fn finished(&mut self, message: Option<Delivery>) {
        let freed = message.map_or(0, |delivery| delivery.bytes());
        self.under_way = self.under_way.saturating_sub(freed);
    }
}

fn full(qos: Qos) -> Loss {
    match qos {
        Qos::AtMostOnce => Loss::Full0,
        Qos::AtLeastOnce => Loss::Full1,
        Qos::ExactlyOnce => Loss::Full2,
    }
}

/// Whether a message of that QoS may be sent, or made ready behind what waits for the disk. What the
/// client does not acknowledge has no other bound there than its place in the queue.
fn may_go(outgoing: &Outgoing<Delivery>, kept: &Keeping, qos: Qos) -> bool {
    match qos {
        Qos::AtMostOnce => kept.held() == 0,
        Qos::AtLeastOnce | Qos::ExactlyOnce => outgoing.has_room(),
    }
}

/// How to answer a PUBREC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PubRel {
    /// Not at all: the client refused the message. Or not now: the file must know first.
    None,
    /// With success.
    Known,
    /// With "packet id not found", over 5.0.
    Unknown,
}
