//! All sessions, and what happens to them: connected, taken over, left, expired, forgotten.
//!
//! One mutex guards this, locked for one step at a time and never across a wait. A connection
//! holds a [`Place`]: once somebody else has the session, every step through it is
//! [`TakenOver`], so a new connection never waits for the task of the old one.

mod durable;
mod presence;
mod promise;
mod restore;
#[cfg(test)]
pub(super) mod tests;
mod weights;
mod wills;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use super::Limits;
use super::end::TakenOver;
use super::filter::Filter;
use super::journal::{Journal, Urgency};
use super::losses::{Loss, Losses};
use super::message::{Delivery, Message};
use super::retained::Retained;
use super::routing::{Router, SessionKey, Subscription};
use super::session::{Outbound, PubRel, Room, Session};
use crate::mqtt::packet::{Ack, PacketId, Publish, Qos, Reason, RetainHandling, Subscribe, SubscribeFilter};
use crate::queue::acks::{self, Acks};
use crate::status;

use presence::Presence;
pub(super) use presence::{Attached, Farewell};
use promise::Maybe;
pub(super) use promise::{Origin, Promise, Published};
use weights::Weights;
pub(super) use wills::Bequest;
use wills::Orphan;

/// The broker's memory.
#[derive(Debug)]
pub(super) struct State {
    limits: Limits,
    router: Router,
    sessions: HashMap<SessionKey, Entry>,
    by_client: HashMap<Arc<str>, SessionKey>,
    /// When something is due for a session without connection: its will, or its end.
    deadlines: BTreeSet<(Instant, SessionKey)>,
    /// Wills of clients that were connected when the daemon died, by when they are due.
    orphans: BTreeMap<(Instant, u64), Orphan>,
    next_orphan: u64,
    next_key: u64,
    next_message: u64,
    next_generation: u64,
    /// What the file does not have yet.
    journal: Journal<Promise>,
    /// What the file's thread knows of that.
    known_urgency: Urgency,
    /// Sessions in which something waits for a commit.
    waiting: HashSet<SessionKey>,
    store_state: status::BrokerState,
    store_error: Option<String>,
    /// Damaged files that were set aside.
    set_aside: u64,
    online: u64,
    /// Bytes that wait in all sessions.
    held_bytes: usize,
    weights: Weights,
    received: u64,
    sent: u64,
    losses: Losses,
}

#[derive(Debug)]
struct Entry {
    client_id: Arc<str>,
    /// The user who made it, and the only one who gets it again; `None` for anonymous clients.
    owner: Option<Arc<str>>,
    session: Session,
    acks: Acks,
    presence: Presence,
    /// What of [`State::held_bytes`] it accounts for.
    counted_bytes: usize,
}

/// One connection's claim to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) session: SessionKey,
    generation: u64,
}

impl State {
    /// No sessions.
    pub(super) fn new(limits: Limits) -> Self {
        let retained = Retained::new(limits.retained_messages, limits.retained_bytes);
        Self {
            limits,
            router: Router::new(retained),
            sessions: HashMap::new(),
            by_client: HashMap::new(),
            deadlines: BTreeSet::new(),
            orphans: BTreeMap::new(),
            next_orphan: 0,
            next_key: 0,
            next_message: 0,
            next_generation: 0,
            journal: Journal::off(),
            known_urgency: Urgency::None,
            waiting: HashSet::new(),
            store_state: status::BrokerState::Ok,
            store_error: None,
            set_aside: 0,
            online: 0,
            held_bytes: 0,
            weights: Weights::new(),
            received: 0,
            sent: 0,
            losses: Losses::default(),
        }
    }

    /// Holds to these limits from now on; what is there already stays.
    pub(super) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        self.router.retained.set_limits(limits.retained_messages, limits.retained_bytes);
    }

    /// Routes a message.
    pub(super) fn publish(&mut self, publish: Publish, origin: Origin, now: Instant) -> Published {
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

    /// A message came from a client.
    pub(super) fn count_received(&mut self) {
        self.received += 1;
    }

    /// What was given up.
    #[cfg(test)]
    pub(super) fn losses(&self) -> &Losses {
        &self.losses
    }

    /// A message was given up.
    pub(super) fn count_lost(&mut self, loss: Loss) {
        self.losses.add(loss);
    }

    /// Subscribes to each filter of a SUBSCRIBE; a reason code for each.
    pub(super) fn subscribe(&mut self, place: Place, wanted: &Subscribe) -> Result<Vec<Reason>, TakenOver> {
        self.entry(place)?;
        Ok(wanted
            .filters
            .iter()
            .map(|filter| self.subscribe_to(place.session, filter, wanted.subscription_id))
            .collect())
    }

    /// Ends subscriptions; a reason code for each.
    pub(super) fn unsubscribe(
        &mut self,
        place: Place,
        filters: &[Arc<str>],
    ) -> Result<Vec<Reason>, TakenOver> {
        self.entry(place)?;
        Ok(filters
            .iter()
            .map(|text| {
                let Some(filter) = Filter::parse(text) else { return Reason::NO_SUBSCRIPTION };
                if let Some(entry) = self.sessions.get_mut(&place.session) {
                    let removed = entry.session.filters.remove(text);
                    entry.session.stop_replay(text);
                    if removed.is_some() && entry.session.kept.is_on() {
                        self.journal.unsubscribed(place.session, text);
                    }
                }
                let existed = self.router.unsubscribe(place.session, filter);
                if existed { Reason::SUCCESS } else { Reason::NO_SUBSCRIPTION }
            })
            .collect())
    }

    /// What to send to the client next.
    pub(super) fn next_outbound(
        &mut self,
        place: Place,
        now: Instant,
    ) -> Result<Option<Outbound>, TakenOver> {
        self.entry(place)?;
        let gate = self.journal.gate();
        let Some(entry) = self.sessions.get_mut(&place.session) else { return Err(TakenOver) };
        let room = Room { messages: self.limits.queue_messages, bytes: self.limits.queue_bytes };
        let losses = &mut self.losses;
        let next =
            entry.session.next(&self.router.retained, room, gate, now, &mut |_, loss| losses.add(loss));
        self.sent += u64::from(matches!(next, Some(Outbound::Publish(_))));
        self.recount(place.session);
        Ok(next)
    }

    /// What the client was to be sent does not fit into a packet that it takes.
    pub(super) fn unsendable(&mut self, place: Place, id: Option<PacketId>) -> Result<(), TakenOver> {
        self.sent = self.sent.saturating_sub(1);
        self.losses.add(Loss::TooLarge);
        self.with_session(place, |session| session.unsendable(id))
    }

    /// Lets `step` work on the session.
    pub(super) fn with_session<R>(
        &mut self,
        place: Place,
        step: impl FnOnce(&mut Session) -> R,
    ) -> Result<R, TakenOver> {
        let result = step(&mut self.entry(place)?.session);
        self.recount(place.session);
        Ok(result)
    }

    /// A PUBREC from the client: whether and how to answer with PUBREL.
    pub(super) fn pubrec(&mut self, place: Place, ack: Ack) -> Result<PubRel, TakenOver> {
        let gate = self.journal.gate();
        self.with_session(place, |session| session.pubrec(ack, gate))
    }

    /// Lets `step` work on the acknowledgements that the client has coming.
    pub(super) fn with_acks<R>(
        &mut self,
        place: Place,
        step: impl FnOnce(&mut Acks) -> R,
    ) -> Result<R, TakenOver> {
        Ok(step(&mut self.entry(place)?.acks))
    }

    /// The next acknowledgement for the client, once it is ready.
    pub(super) fn poll_ack(
        &mut self,
        place: Place,
        cx: &mut Context<'_>,
    ) -> Poll<Result<acks::Next, TakenOver>> {
        match self.entry(place) {
            Ok(entry) => entry.acks.poll_next(cx).map(Ok),
            Err(TakenOver) => Poll::Ready(Err(TakenOver)),
        }
    }

    /// The numbers for `status`, without those of the doors.
    pub(super) fn stats(&self) -> status::Broker {
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        status::Broker {
            clients: self.online,
            subscriptions: count(self.router.subscriptions()),
            retained: count(self.router.retained.len()),
            received: self.received,
            sent: self.sent,
            dropped: self.losses.total(),
            state: self.store_state,
            last_error: self.store_error.clone(),
            set_aside: self.set_aside,
            refused: 0,
        }
    }

    fn entry(&mut self, place: Place) -> Result<&mut Entry, TakenOver> {
        let entry = self.sessions.get_mut(&place.session).ok_or(TakenOver)?;
        match entry.presence {
            Presence::Online { generation, .. } if generation == place.generation => Ok(entry),
            _ => Err(TakenOver),
        }
    }

    fn subscribe_to(&mut self, key: SessionKey, wanted: &SubscribeFilter, id: Option<u32>) -> Reason {
        let Some(filter) = Filter::parse(&wanted.filter) else { return Reason::FILTER_INVALID };
        let Some(Entry { session, .. }) = self.sessions.get_mut(&key) else { return Reason::FAILED };
        let is_known = session.filters.contains_key(&wanted.filter);
        if !is_known && session.filters.len() >= self.limits.subscriptions {
            return Reason::QUOTA;
        }
        let subscription = Subscription {
            qos: wanted.qos,
            no_local: wanted.no_local,
            retain_as_published: wanted.retain_as_published,
            id,
        };
        session.filters.insert(Arc::clone(&wanted.filter), subscription);
        self.router.subscribe(key, filter, subscription);
        let replays = match wanted.retain_handling {
            RetainHandling::AtSubscribe => true,
            RetainHandling::AtSubscribeNew => !is_known,
            RetainHandling::Never => false,
        };
        // Shared subscriptions get no retained messages (MQTT 5.0, 4.8.2).
        let replays = replays && filter.group.is_none();
        if replays {
            session.replay(wanted, id);
        }
        if session.kept.is_on() {
            self.journal.subscribed(key, &wanted.filter, subscription, replays);
        }
        Reason(wanted.qos as u8)
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
    fn relieve(&mut self) {
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

    /// Brings `held_bytes` and the journal up to date after a change to a session.
    fn recount(&mut self, key: SessionKey) {
        self.tell(key, None);
        if let Some(entry) = self.sessions.get_mut(&key) {
            let bytes = entry.session.bytes();
            self.held_bytes = (self.held_bytes + bytes).saturating_sub(entry.counted_bytes);
            self.weights.change(key, entry.counted_bytes, bytes);
            entry.counted_bytes = bytes;
        }
    }
}
