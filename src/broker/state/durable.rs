//! What of the broker's memory is kept in a file.
//!
//! The memory is the truth while the daemon runs; the file follows it through the [`Journal`].

use std::sync::Arc;
use std::time::Instant;

use super::presence::Presence;
use super::promise::{Maybe, Promise};
use super::{Entry, Place, SessionKey, State, TakenOver};
use crate::broker::journal::{Batch, Gate, Offline, SessionRow, Urgency};
use crate::broker::message::Message;
use crate::broker::session::Outbound;
use crate::mqtt::packet::{Packet, PacketId};
use crate::status::BrokerState;

/// Answers that may wait for the disk, beside messages: more than anybody asks for at a time.
const HELD_MAX: usize = 64;

impl Entry {
    /// The session's row in the file.
    pub(super) fn row(&self, now: Instant) -> SessionRow {
        let offline = match &self.presence {
            Presence::Online { .. } => None,
            Presence::Offline { since, ends, .. } => Some(Offline { since: (*since).min(now), ends: *ends }),
        };
        SessionRow {
            client_id: Arc::clone(&self.client_id),
            owner: self.owner.clone(),
            expiry_s: self.session.expiry_s,
            offline,
        }
    }
}

impl State {
    // === The journal ===

    /// How much the file wants to be brought up to date, if that is more than its thread knows.
    pub(in crate::broker) fn take_call(&mut self) -> bool {
        let urgency = self.journal.urgency();
        let calls = urgency > self.known_urgency;
        self.known_urgency = self.known_urgency.max(urgency);
        calls
    }

    /// How much the file wants to be brought up to date.
    pub(in crate::broker) fn urgency(&mut self) -> Urgency {
        self.known_urgency = self.journal.urgency();
        self.known_urgency
    }

    /// What changed since the last call.
    pub(in crate::broker) fn take_batch(&mut self) -> Batch<Promise> {
        self.known_urgency = Urgency::None;
        self.journal.take()
    }

    /// Everything that is kept, for a file that does not have it any more.
    pub(in crate::broker) fn take_whole(&mut self, now: Instant) -> Batch<Promise> {
        self.known_urgency = Urgency::None;
        let image = self.image(now);
        self.journal.take_whole(image)
    }

    /// That batch is on disk: what waited for it goes on.
    pub(in crate::broker) fn committed(&mut self, batch: &Batch<Promise>) {
        self.journal.committed(batch);
        (self.store_state, self.store_error) = (BrokerState::Ok, None);
        self.wake_waiting();
    }

    /// Whether the file has all that is kept, but for the changes since.
    pub(in crate::broker) fn follows_file(&self) -> bool {
        self.journal.follows()
    }

    /// A damaged file was set aside.
    pub(in crate::broker) fn count_set_aside(&mut self) {
        self.set_aside += 1;
    }

    /// The disk did not take it.
    pub(in crate::broker) fn not_committed(&mut self, batch: Option<Batch<Promise>>, error: String) {
        self.journal.lost(batch);
        (self.store_state, self.store_error) = (BrokerState::Degraded, Some(error));
    }

    /// Nobody waits for the disk any longer. Gives what was promised, to be let go of.
    pub(in crate::broker) fn stop_waiting(&mut self) -> Vec<Promise> {
        let promises = self.journal.stop_waiting();
        self.wake_waiting();
        promises
    }

    fn wake_waiting(&mut self) {
        for key in std::mem::take(&mut self.waiting) {
            if let Some(Presence::Online { wake, .. }) = self.sessions.get(&key).map(|entry| &entry.presence)
            {
                wake.notify_one();
            }
        }
    }

    /// Passes on what happened to the session's messages. `promise`: what depends on it.
    pub(super) fn tell(&mut self, key: SessionKey, promise: Option<&Promise>) {
        let Some(entry) = self.sessions.get_mut(&key) else { return };
        for change in entry.session.kept.take_changes() {
            self.journal.record(key, change, promise);
        }
        if let Some(batch) = entry.session.kept.waits_for() {
            self.waiting.insert(key);
            if batch == self.journal.gate().next() {
                self.journal.hurry();
            }
        }
    }

    /// The answer to a packet that changed the session: to be sent at once, or `None`: when that is on
    /// disk.
    pub(in crate::broker) fn answer(
        &mut self,
        place: Place,
        answer: Packet,
    ) -> Result<Option<Packet>, TakenOver> {
        let gate = self.journal.gate();
        let session = &mut self.entry(place)?.session;
        if !session.kept.is_on() || gate == Gate::OPEN {
            return Ok(Some(answer));
        }
        session.kept.hold(Outbound::Answer(Box::new(answer)), gate);
        self.tell(place.session, None);
        Ok(None)
    }

    /// Whether the client has so much coming that is held back, acknowledgements and other answers, that
    /// it should have more of it before it says more.
    pub(in crate::broker) fn is_behind(&mut self, place: Place) -> Result<bool, TakenOver> {
        let held_max = HELD_MAX + usize::from(self.limits.in_flight);
        let due_max = usize::from(self.limits.receive_maximum);
        let entry = self.entry(place)?;
        Ok(entry.acks.len() >= due_max || entry.session.kept.held() >= held_max)
    }

    /// The client released a message of QoS 2; whether we knew it.
    pub(in crate::broker) fn release(&mut self, place: Place, id: PacketId) -> Result<bool, TakenOver> {
        let entry = self.entry(place)?;
        entry.acks.released(id);
        let (is_known, is_kept) = (entry.session.incoming.release(id), entry.session.kept.is_on());
        if is_known && is_kept {
            self.journal.freed(place.session, id);
        }
        Ok(is_known)
    }

    /// The session's row changed, or is new.
    pub(super) fn note_session(&mut self, key: SessionKey, is_new: bool, now: Instant) {
        if let Some(entry) = self.sessions.get(&key)
            && entry.session.kept.is_on()
        {
            self.journal.session(key, entry.row(now), is_new);
        }
    }

    /// Whether the session is to be kept has been decided: by how long it lasts.
    pub(super) fn keep_session(&mut self, key: SessionKey, is_new: bool, now: Instant) {
        let is_kept = self.journal.is_on();
        let Some(entry) = self.sessions.get_mut(&key) else { return };
        let session = &mut entry.session;
        let was_kept = session.kept.is_on();
        session.kept.set(is_kept && session.expiry_s > 0);
        if was_kept && !session.kept.is_on() {
            self.journal.end_session(key, session.kept_messages());
        }
        self.note_session(key, is_new, now);
    }

    /// What `message` did to the retained messages: `is_new` says that it is one now.
    pub(super) fn note_retained(&mut self, message: &Arc<Message>, is_new: bool, promise: &mut Maybe) {
        let mut old = None;
        for gone in self.router.retained.take_gone().into_iter().filter(|gone| !gone.is_ours) {
            if gone.topic == message.topic {
                old = Some(gone.id);
            } else {
                self.journal.retained(&gone.topic, Some(gone.id), None, None);
            }
        }
        let new = Some(message).filter(|message| is_new && !message.is_ours);
        if old.is_some() || new.is_some() {
            let promise = if new.is_some() { promise.promise() } else { None };
            self.journal.retained(&message.topic, old, new, promise);
        }
        // What an earlier one has cleared may still be in the file.
        if message.payload.is_empty()
            && let Some(promise) = promise.promise()
        {
            self.journal.owe(promise);
        }
    }
}
