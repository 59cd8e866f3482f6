//! How changes are recorded.

use std::sync::Arc;

use super::{
    Change, DeliveryChange, DeliveryRow, Flight, Journal, Mode, ROW_BYTES, SessionChange, SessionRow,
    Urgency, WillRow,
};
use crate::broker::message::Message;
use crate::broker::routing::{SessionKey, Subscription};
use crate::mqtt::packet::PacketId;

impl<P: Clone> Journal<P> {
    /// A session is new, or something about it is.
    pub(crate) fn session(&mut self, key: SessionKey, row: SessionRow, is_new: bool) {
        if self.note(None, row.client_id.len())
            && let Some(parts) = self.changes.parts(key)
        {
            parts.is_new |= is_new;
            parts.row = Some(row);
        }
    }

    /// A session ended; `messages` waited for its client.
    pub(crate) fn end_session(&mut self, key: SessionKey, messages: impl IntoIterator<Item = u64>) {
        if !self.note(None, 0) {
            return;
        }
        messages.into_iter().for_each(|message| self.release(message));
        match self.changes.sessions.remove(&key) {
            Some(SessionChange::Parts(parts)) if parts.is_new => {}
            _ => drop(self.changes.sessions.insert(key, SessionChange::Ended)),
        }
    }

    /// A subscription was made or changed; `replays`: retained messages are on their way.
    pub(crate) fn subscribed(
        &mut self,
        key: SessionKey,
        filter: &Arc<str>,
        subscription: Subscription,
        replays: bool,
    ) {
        if self.note(None, filter.len())
            && let Some(parts) = self.changes.parts(key)
        {
            parts.subscriptions.put(Arc::clone(filter), subscription, false);
            if replays {
                parts.replays.put(Arc::clone(filter), (), false);
            }
        }
    }

    /// A subscription ended.
    pub(crate) fn unsubscribed(&mut self, key: SessionKey, filter: &Arc<str>) {
        if self.note(None, filter.len())
            && let Some(parts) = self.changes.parts(key)
        {
            parts.subscriptions.delete(Arc::clone(filter));
            parts.replays.delete(Arc::clone(filter));
        }
    }

    /// Something happened to a session's messages. `promise`: what depends on it.
    pub(crate) fn record(&mut self, key: SessionKey, change: Change, promise: Option<&P>) {
        let promise = promise.filter(|_| matches!(change, Change::Queued(_)));
        if !self.note(promise, 0) {
            return;
        }
        match change {
            Change::Queued(delivery) => {
                self.refer(&delivery.message);
                let row = DeliveryRow::new(&delivery);
                if let Some(parts) = self.changes.parts(key) {
                    let change = DeliveryChange::Whole(row, promise.cloned());
                    parts.deliveries.put(delivery.position, change, true);
                }
            }
            Change::Sent { position, id, order } => self.moved(key, position, Flight::Sent { id, order }),
            Change::Released { position, message, id, order } => {
                self.moved(key, position, Flight::Released { id, order });
                self.release(message);
            }
            Change::Done { position, message } => {
                if let Some(parts) = self.changes.parts(key) {
                    parts.deliveries.delete(position);
                }
                message.into_iter().for_each(|message| self.release(message));
            }
            Change::Replayed(filter) => {
                if let Some(parts) = self.changes.parts(key) {
                    parts.replays.delete(filter);
                }
            }
        }
        self.forget_if_empty(key);
    }

    /// A message of QoS 2 was taken from the client; `is_forwarded`: a bridge wants it.
    pub(crate) fn took(&mut self, key: SessionKey, id: PacketId, is_forwarded: bool, promise: Option<&P>) {
        if self.note(promise, 0)
            && let Some(parts) = self.changes.parts(key)
        {
            parts.incoming.put(id, (is_forwarded, promise.cloned()), true);
        }
    }

    /// The client released that id.
    pub(crate) fn freed(&mut self, key: SessionKey, id: PacketId) {
        if self.note(None, 0)
            && let Some(parts) = self.changes.parts(key)
        {
            parts.incoming.delete(id);
        }
        self.forget_if_empty(key);
    }

    /// Something depends on all that was recorded so far, and perhaps is not committed.
    pub(crate) fn owe(&mut self, promise: &P) {
        if self.note(Some(promise), 0) {
            self.owed.push(promise.clone());
        }
    }

    /// The retained message of a topic is `new`, where it was `old`, of those that are kept.
    pub(crate) fn retained(
        &mut self,
        topic: &Arc<str>,
        old: Option<u64>,
        new: Option<&Arc<Message>>,
        promise: Option<&P>,
    ) {
        if (old.is_none() && new.is_none()) || !self.note(promise, topic.len()) {
            return;
        }
        // What was promised of the one before holds for whatever takes its place, which may promise
        // nothing: until that is on disk, the file has one that is older than both.
        if let Some((_, earlier)) = self.changes.retained.pending(topic) {
            self.owed.extend(earlier.take());
        }
        match new {
            Some(message) => {
                self.refer(message);
                let value = (message.id, promise.cloned());
                self.changes.retained.put(Arc::clone(topic), value, old.is_none());
            }
            None => self.changes.retained.delete(Arc::clone(topic)),
        }
        old.into_iter().for_each(|old| self.release(old));
    }

    /// The client has a will; or none any more.
    pub(crate) fn will(&mut self, client_id: &Arc<str>, will: Option<WillRow>) {
        let bytes = will.as_ref().map_or(0, |will| will.message.payload.len());
        let is_known = self.wills.contains(client_id);
        if (will.is_none() && !is_known) || !self.note(None, bytes) {
            return;
        }
        match will {
            Some(will) => {
                self.wills.insert(Arc::clone(client_id));
                self.changes.wills.put(Arc::clone(client_id), will, !is_known);
            }
            None => {
                self.wills.remove(client_id);
                self.changes.wills.delete(Arc::clone(client_id));
            }
        }
    }

    /// A change comes. `false`: it is of no use to the file now.
    fn note(&mut self, promise: Option<&P>, bytes: usize) -> bool {
        match &mut self.mode {
            Mode::Off => false,
            Mode::Lost(owed) => {
                if let Some(owed) = owed {
                    owed.extend(promise.cloned());
                }
                false
            }
            Mode::Following => {
                let urgency = if promise.is_some() { Urgency::Awaited } else { Urgency::Low };
                self.urgency = self.urgency.max(urgency);
                self.bytes += bytes + ROW_BYTES;
                true
            }
        }
    }

    fn moved(&mut self, key: SessionKey, position: u64, to: Flight) {
        let Some(parts) = self.changes.parts(key) else { return };
        match parts.deliveries.pending(&position) {
            Some(DeliveryChange::Whole(row, _)) => row.move_to(to),
            Some(moved @ DeliveryChange::Moved(_)) => *moved = DeliveryChange::Moved(to),
            None => parts.deliveries.put(position, DeliveryChange::Moved(to), false),
        }
    }

    /// One more row refers to a message.
    fn refer(&mut self, message: &Arc<Message>) {
        let count = self.references.entry(message.id).or_default();
        *count += 1;
        if *count == 1 {
            self.bytes += message.payload.len() + message.topic.len();
            self.changes.messages.put(message.id, Arc::clone(message), true);
        }
    }

    /// One row less does.
    fn release(&mut self, message: u64) {
        let Some(count) = self.references.get_mut(&message) else { return };
        *count -= 1;
        if *count == 0 {
            self.references.remove(&message);
            self.changes.messages.delete(message);
        }
    }

    fn forget_if_empty(&mut self, key: SessionKey) {
        if let Some(SessionChange::Parts(parts)) = self.changes.sessions.get(&key)
            && parts.is_empty()
        {
            self.changes.sessions.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::broker::journal::Image;
    use crate::mqtt::packet::{Publish, Qos};

    #[test]
    fn what_a_retained_message_promised_holds_until_its_successor_is_on_disk() {
        let topic: Arc<str> = "t".into();
        let message = |id| {
            let publish = Publish::new("t", "x", Qos::AtLeastOnce, true);
            Arc::new(Message { id, ..Message::new(publish, Instant::now()) })
        };
        for successor in [Some(message(2)), None] {
            let mut journal = Journal::off();
            journal.follow(&Image::default());
            let promise = Arc::new(());
            journal.retained(&topic, None, Some(&message(1)), Some(&promise));
            journal.retained(&topic, Some(1), successor.as_ref(), None);
            assert_eq!(Arc::strong_count(&promise), 2, "not on disk yet");
            assert_eq!(journal.urgency(), Urgency::Awaited);
            let batch = journal.take();
            assert_eq!(Arc::strong_count(&promise), 2, "being written");
            drop(batch);
            assert_eq!(Arc::strong_count(&promise), 1);
        }
    }
}
