//! What of the broker's memory is kept in a file, and how it comes back.
//!
//! The memory is the truth while the daemon runs; the file follows it through the [`Journal`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::presence::Presence;
use super::promise::Promise;
use super::{Acks, Entry, Filter, Place, Room, Session, SessionKey, State, TakenOver};
use crate::broker::journal::{Batch, Gate, Image, Offline, SessionImage, SessionRow, Urgency, WillRow};
use crate::broker::losses::Loss;
use crate::broker::message::Message;
use crate::broker::session::Outbound;
use crate::mqtt::packet::{Packet, PacketId, Publish, Will};
use crate::status::BrokerState;

/// Clients that were connected when the daemon died have this long to come back before their wills are
/// published.
const BACK_WITHIN: Duration = Duration::from_secs(30);

/// Sessions and messages that come while the file could not be read have numbers from here on, so that
/// they do not take the place of those in it.
const UNREAD: u64 = 1 << 40;

/// A will whose client was connected when the daemon died.
#[derive(Debug)]
pub(super) struct Orphan {
    client_id: Arc<str>,
    row: WillRow,
}

/// A will that is to be published.
#[derive(Debug)]
pub(in crate::broker) struct Bequest {
    pub(in crate::broker) client_id: Arc<str>,
    pub(in crate::broker) session: SessionKey,
    pub(in crate::broker) message: Publish,
}

impl Entry {
    /// The session's row in the file.
    fn row(&self, now: Instant) -> SessionRow {
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

    /// How much the client has coming that is held back: acknowledgements, and other things.
    pub(in crate::broker) fn backlog(&mut self, place: Place) -> Result<(usize, usize), TakenOver> {
        let entry = self.entry(place)?;
        Ok((entry.acks.len(), entry.session.kept.held()))
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

    /// What happened to retained messages: `new` is one, if it was kept.
    pub(super) fn note_retained(&mut self, new: Option<&Arc<Message>>, promise: Option<&Promise>) {
        let (mut replaced, mut topics) = (None, Vec::new());
        for old in self.router.retained.take_gone().into_iter().filter(|old| !old.is_ours) {
            if new.is_some_and(|new| new.topic == old.topic) {
                replaced = Some(old.id);
            } else {
                topics.push(old);
            }
        }
        for old in topics {
            self.journal.retained(&old.topic, Some(old.id), None, None);
        }
        if let Some(new) = new {
            self.journal.retained(&new.topic, replaced, Some(new).filter(|new| !new.is_ours), promise);
        }
    }

    // === Wills ===

    /// The client has this will now.
    pub(super) fn note_will(&mut self, client_id: &Arc<str>, will: Option<&Will>, expiry_s: u32) {
        self.orphans.retain(|_, orphan| orphan.client_id != *client_id);
        // It does not wait for longer than the session lasts.
        let delay_s = will.map_or(0, |will| will.delay_s.min(expiry_s));
        let row = will.map(|will| WillRow { message: will.message.clone(), delay_s, due: None });
        self.journal.will(client_id, row);
    }

    /// The client's will is due then.
    pub(super) fn note_late_will(&mut self, client_id: &Arc<str>, message: &Publish, due: Instant) {
        let row = WillRow { message: message.clone(), delay_s: 0, due: Some(due) };
        self.journal.will(client_id, Some(row));
    }

    /// A will was published, with all that this means.
    pub(in crate::broker) fn will_published(&mut self, client_id: &Arc<str>) {
        let entry = self.by_client.get(client_id).and_then(|key| self.sessions.get(key));
        // Meanwhile the client may have come back with a new one.
        if !entry.is_some_and(|entry| matches!(entry.presence, Presence::Online { .. })) {
            self.journal.will(client_id, None);
        }
    }

    /// Wills of clients that did not come back.
    pub(super) fn expire_orphans(&mut self, now: Instant) -> Vec<Bequest> {
        let mut due = Vec::new();
        while let Some(first) = self.orphans.first_entry()
            && first.key().0 <= now
        {
            let Orphan { client_id, row } = first.remove();
            // A session of that client, or none: there is no key 0.
            let session = self.by_client.get(&client_id).copied().unwrap_or(SessionKey(0));
            due.push(Bequest { client_id, session, message: row.message });
        }
        due
    }

    fn adopt_will(&mut self, client_id: Arc<str>, row: WillRow, now: Instant) {
        if self.by_client.get(&client_id).and_then(|key| self.sessions.get(key)).is_some_and(|entry| {
            matches!(entry.presence, Presence::Online { .. })
        }) {
            // It is back already.
            return;
        }
        let at = row.due.unwrap_or_else(|| {
            now + BACK_WITHIN.max(Duration::from_secs(row.delay_s.min(u32::MAX / 2).into()))
        });
        self.next_orphan += 1;
        self.orphans.insert((at, self.next_orphan), Orphan { client_id, row });
    }

    // === The file as a whole ===

    /// There is a file, but it has not been read.
    pub(in crate::broker) fn begin_unread(&mut self) {
        self.journal.begin_without_file();
        self.store_state = BrokerState::Loading;
        (self.next_key, self.next_message) = (UNREAD, UNREAD);
    }

    /// Takes what the file has. Where the memory has something in its place by now, that counts.
    /// Tells how many messages were dropped for want of room, or for that reason.
    pub(in crate::broker) fn restore(&mut self, image: Image, now: Instant) -> u64 {
        let is_late = !self.sessions.is_empty() || self.router.retained.len() > 0;
        let before = self.losses.total();
        self.journal.follow(&image);
        let newest = image.messages.keys().next_back().copied().unwrap_or(0);
        self.next_message = newest.max(if is_late { self.next_message } else { 0 });
        let newest = image.sessions.keys().next_back().map_or(0, |key| key.0);
        self.next_key = newest.max(if is_late { self.next_key } else { 0 });
        self.restore_retained(&image, now);
        for (key, session) in &image.sessions {
            self.restore_session(*key, session, &image.messages, now);
        }
        for (client_id, row) in image.wills {
            self.adopt_will(client_id, row, now);
        }
        if is_late {
            // The file has to learn of what came before it was read.
            self.journal.begin_without_file();
        }
        (self.store_state, self.store_error) = (BrokerState::Ok, None);
        self.losses.total() - before
    }

    fn restore_retained(&mut self, image: &Image, now: Instant) {
        for (topic, id) in &image.retained {
            let kept = image.messages.get(id).filter(|message| !message.is_expired(now));
            let is_known = self.router.retained.has(topic);
            let stays = match kept {
                Some(message) if !is_known => self.router.retain(message, now).is_ok(),
                _ => false,
            };
            if !stays {
                if kept.is_some() && !is_known {
                    self.losses.add(Loss::Retained);
                }
                self.journal.retained(topic, Some(*id), None, None);
            }
        }
        // Nothing that was there went for it.
        drop(self.router.retained.take_gone());
    }

    fn restore_session(
        &mut self,
        key: SessionKey,
        image: &SessionImage,
        messages: &BTreeMap<u64, Arc<Message>>,
        now: Instant,
    ) {
        let client_id = &image.row.client_id;
        let expiry = image.row.expiry_s;
        let lasts = now.checked_add(Duration::from_secs(expiry.into())).filter(|_| expiry < u32::MAX);
        let offline = image.row.offline.unwrap_or(Offline { since: now, ends: lasts });
        let is_full = self.sessions.len() >= self.limits.sessions;
        let is_over = offline.ends.is_some_and(|ends| ends <= now);
        if is_full || is_over || self.by_client.contains_key(client_id) {
            let loss = if is_over { Loss::Expired } else { Loss::Forgotten };
            self.losses.add_many(loss, image.deliveries.len() as u64);
            let messages = image.deliveries.values().filter_map(|delivery| delivery.message);
            return self.journal.end_session(key, messages);
        }
        let room = Room {
            messages: self.limits.queue_messages,
            bytes: self.limits.queue_bytes,
        };
        let losses = &mut self.losses;
        let session = Session::restore(image, messages, room, now, &mut |_, loss| losses.add(loss));
        for (text, subscription) in &session.filters {
            if let Some(filter) = Filter::parse(text) {
                self.router.subscribe(key, filter, *subscription);
            }
        }
        let presence = Presence::Offline { since: offline.since, ends: offline.ends, will: None };
        self.deadlines.extend(offline.ends.map(|at| (at, key)));
        self.by_client.insert(Arc::clone(client_id), key);
        let entry = Entry {
            client_id: Arc::clone(client_id),
            owner: image.row.owner.clone(),
            session,
            acks: Acks::default(),
            presence,
            counted_bytes: 0,
        };
        self.sessions.insert(key, entry);
        self.recount(key);
        self.relieve();
        if image.row.offline.is_none() {
            self.note_session(key, false, now);
        }
    }

    /// Everything that is kept.
    pub(in crate::broker) fn image(&self, now: Instant) -> Image {
        let mut image = Image::default();
        for (key, entry) in self.sessions.iter().filter(|(_, entry)| entry.session.kept.is_on()) {
            let session = entry.session.image(entry.row(now), &mut image.messages);
            image.sessions.insert(*key, session);
        }
        for message in self.router.retained.iter().filter(|message| !message.is_ours) {
            image.messages.insert(message.id, Arc::clone(message));
            image.retained.insert(Arc::clone(&message.topic), message.id);
        }
        for entry in self.sessions.values() {
            let row = match &entry.presence {
                Presence::Online { will, .. } => will.as_ref().map(|will| WillRow {
                    message: will.message.clone(),
                    delay_s: will.delay_s.min(entry.session.expiry_s),
                    due: None,
                }),
                Presence::Offline { will, .. } => will.as_ref().map(|(at, message)| WillRow {
                    message: message.clone(),
                    delay_s: 0,
                    due: Some(*at),
                }),
            };
            image.wills.extend(row.map(|row| (Arc::clone(&entry.client_id), row)));
        }
        for orphan in self.orphans.values() {
            image.wills.insert(Arc::clone(&orphan.client_id), orphan.row.clone());
        }
        image
    }
}

