//! Messages on their way through: retained, routed, and put in the queues of sessions.

use std::sync::Arc;
use std::time::Instant;

use super::presence::Presence;
use super::promise::{Maybe, Origin, Published};
use super::{Loss, Room, SessionKey, State};
use crate::broker::message::{Delivery, Message};
use crate::broker::sys;
use crate::mqtt::packet::{Publish, Qos};

impl State {
    /// Routes a message.
    pub(in crate::broker) fn publish(&mut self, publish: Publish, origin: Origin, now: Instant) -> Published {
        if matches!(origin, Origin::Client { .. }) && sys::is_ours(&publish.topic) {
            // Only the broker speaks there.
            return Published { reached: 0, kept: None };
        }
        self.next_message += 1;
        let is_ours = origin == Origin::Ours;
        let message = Arc::new(Message { id: self.next_message, is_ours, ..Message::new(publish, now) });
        let awaits = !is_ours && message.qos > Qos::AtMostOnce && self.journal.is_on();
        let mut promise = if awaits { Maybe::Wanted } else { Maybe::Unwanted };
        if message.retain {
            self.retain(&message, &mut promise, now);
        }
        let from = match origin {
            Origin::Ours | Origin::Bridge => None,
            Origin::Client { session, once } => {
                if let Some((id, is_forwarded)) = once
                    && self.sessions.get(&session).is_some_and(|entry| entry.session.kept.is_on())
                {
                    self.journal.took(session, id, is_forwarded, promise.promise());
                }
                Some(session)
            }
        };
        let sessions = &self.sessions;
        let is_online =
            |key| sessions.get(&key).is_some_and(|entry| matches!(entry.presence, Presence::Online { .. }));
        let deliveries = self.router.route(&message, from, is_online);
        let reached = deliveries.len();
        for (key, delivery) in deliveries {
            self.deliver(key, delivery, &mut promise, now);
        }
        Published { reached, kept: promise.into_ticket() }
    }

    fn retain(&mut self, message: &Arc<Message>, promise: &mut Maybe, now: Instant) {
        let kept = self.router.retain(message, now);
        if kept.is_err() {
            self.losses.add(Loss::Retained);
        }
        self.note_retained(message, kept.is_ok() && !message.payload.is_empty(), promise);
    }

    fn deliver(&mut self, key: SessionKey, delivery: Delivery, promise: &mut Maybe, now: Instant) {
        let Some(entry) = self.sessions.get_mut(&key) else { return };
        match &entry.presence {
            Presence::Online { wake, .. } => wake.notify_one(),
            // Messages of QoS 0 are for those who are there.
            Presence::Offline { .. } if delivery.qos == Qos::AtMostOnce => return,
            Presence::Offline { .. } => {}
        }
        let is_kept = entry.session.kept.is_on() && delivery.qos > Qos::AtMostOnce;
        let room = Room { messages: self.limits.queue_messages, bytes: self.limits.queue_bytes };
        let losses = &mut self.losses;
        entry.session.enqueue(delivery, room, now, &mut |_, loss| losses.add(loss));
        self.tell(key, if is_kept { promise.promise() } else { None });
        self.recount(key);
        self.relieve();
    }

    /// While all sessions together hold too much, the one that holds most gives way: never one that
    /// holds little, whoever filled the others, and however many those are.
    pub(super) fn relieve(&mut self) {
        while self.held_bytes > self.limits.all_queues_bytes {
            let Some(key) = self.weights.heaviest() else { return };
            let Some(entry) = self.sessions.get_mut(&key) else { return };
            let Some((_, loss)) = entry.session.give_way() else { return };
            self.losses.add(loss);
            if let Presence::Online { wake, .. } = &entry.presence {
                wake.notify_one();
            }
            self.recount(key);
        }
    }
}
