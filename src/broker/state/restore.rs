//! Everything that is kept, both ways: from the file at the start, and for a file that lost it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::memory::of_filter;
use super::presence::Presence;
use super::{Acks, Entry, Filter, Room, Session, SessionKey, State};
use crate::broker::journal::{Image, Offline, SessionImage, WillRow};
use crate::broker::losses::Loss;
use crate::broker::message::Message;
use crate::broker::pool::Account;
use crate::status::BrokerState;

/// Sessions and messages that come while the file could not be read have numbers from here on, so that
/// they do not take the place of those in it.
const UNREAD: u64 = 1 << 40;

impl State {
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
        let room = Room { messages: self.limits.queue_messages, bytes: self.limits.queue_bytes };
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
            account: Account::default(),
            filter_bytes: image.subscriptions.keys().map(|filter| of_filter(filter)).sum(),
        };
        self.sessions.insert(key, entry);
        self.settle(key);
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
