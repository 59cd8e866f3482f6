//! All sessions, and what happens to them: connected, taken over, left, expired, forgotten.
//!
//! One mutex guards this, locked for one step at a time and never across a wait. A connection
//! holds a [`Place`]: once somebody else has the session, every step through it is
//! [`TakenOver`], so a new connection never waits for the task of the old one.

mod durable;
mod memory;
mod presence;
mod promise;
mod publish;
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
use super::pool::{Account, Pool};
use super::retained::Retained;
use super::routing::{Router, SessionKey, Subscription};
use super::session::{Outbound, PubRel, Room, Session};
use super::sys::{self, Numbers, Tree};
use super::traffic::Traffic;
use crate::mqtt::packet::{Ack, PacketId, Reason, RetainHandling, Subscribe, SubscribeFilter};
use crate::queue::acks::{self, Acks};
use crate::status;

use presence::Presence;
pub(super) use presence::{Attached, Farewell};
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
    losses: Losses,
    counts: Counts,
    traffic: Traffic,
    sys: Tree,
    /// What sessions hold beside messages.
    memory: Pool,
}

/// What has happened so far.
#[derive(Debug, Default)]
struct Counts {
    received: u64,
    received_bytes: u64,
    sent: u64,
    sent_bytes: u64,
    connections: u64,
    most_online: u64,
    expired: u64,
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
    /// What of [`State::memory`] it uses.
    account: Account,
    /// What of that is for its subscriptions.
    filter_bytes: usize,
}

/// One connection's claim to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) session: SessionKey,
    generation: u64,
}

impl State {
    /// No sessions.
    pub(super) fn new(limits: Limits, now: Instant) -> Self {
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
            losses: Losses::default(),
            counts: Counts::default(),
            traffic: Traffic::default(),
            sys: Tree::new(now),
            memory: memory::pool(),
        }
    }

    /// The limits as of now.
    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    /// Holds to these limits from now on; what is there already stays.
    pub(super) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        self.router.retained.set_limits(limits.retained_messages, limits.retained_bytes);
    }

    /// Wakes every connection: something has changed that all must look at.
    pub(super) fn wake_all(&self) {
        for entry in self.sessions.values() {
            if let Presence::Online { wake, .. } = &entry.presence {
                wake.notify_one();
            }
        }
    }

    /// A message came from a client, with a payload of so many bytes.
    pub(super) fn count_received(&mut self, bytes: usize) {
        self.counts.received += 1;
        self.counts.received_bytes += bytes as u64;
    }

    /// What has passed through a connection since it was counted last.
    pub(super) fn count_traffic(&mut self, traffic: Traffic) {
        self.traffic += traffic;
    }

    /// What was told in `$SYS`.
    pub(super) fn sys(&mut self) -> &mut Tree {
        &mut self.sys
    }

    /// Whether somebody subscribes to any of it.
    pub(super) fn is_sys_wanted(&self) -> bool {
        self.router.has_filters_below(sys::ROOT)
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
            .map(|filter| self.subscribe_to(place, filter, wanted.subscription_id))
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
                let Some(filter) = Filter::parse(text) else { return Reason::FILTER_INVALID };
                if let Some(entry) = self.sessions.get_mut(&place.session) {
                    let removed = entry.session.filters.remove(text);
                    if removed.is_some() {
                        entry.filter_bytes -= memory::of_filter(text);
                    }
                    entry.session.stop_replay(text);
                    if removed.is_some() && entry.session.kept.is_on() {
                        self.journal.unsubscribed(place.session, text);
                    }
                }
                self.settle(place.session);
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
        if let Some(Outbound::Publish(publish)) = &next {
            self.counts.sent += 1;
            self.counts.sent_bytes += publish.payload.len() as u64;
        }
        self.recount(place.session);
        Ok(next)
    }

    /// What the client was to be sent does not fit into a packet that it takes.
    pub(super) fn unsendable(&mut self, place: Place, id: Option<PacketId>) -> Result<(), TakenOver> {
        self.counts.sent = self.counts.sent.saturating_sub(1);
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
            received: self.counts.received,
            sent: self.counts.sent,
            dropped: self.losses.total(),
            state: self.store_state,
            last_error: self.store_error.clone(),
            set_aside: self.set_aside,
            logins_refused: 0,
            refused: 0,
        }
    }

    /// The numbers for `$SYS`.
    pub(super) fn numbers(&self) -> Numbers {
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let waiting: u64 = self.sessions.values().map(|entry| entry.session.waiting()).sum();
        Numbers {
            connected: self.online,
            disconnected: count(self.sessions.len()).saturating_sub(self.online),
            most_connected: self.counts.most_online,
            expired: self.counts.expired,
            connections: self.counts.connections,
            traffic: self.traffic,
            publish_received: self.counts.received,
            publish_sent: self.counts.sent,
            publish_bytes_received: self.counts.received_bytes,
            publish_bytes_sent: self.counts.sent_bytes,
            subscriptions: count(self.router.subscriptions()),
            shared_subscriptions: count(self.router.shared_subscriptions()),
            retained: count(self.router.retained.len()),
            stored: waiting + count(self.router.retained.len()),
            stored_bytes: count(self.held_bytes + self.router.retained.bytes()),
            losses: self.losses,
        }
    }

    fn entry(&mut self, place: Place) -> Result<&mut Entry, TakenOver> {
        let entry = self.sessions.get_mut(&place.session).ok_or(TakenOver)?;
        match entry.presence {
            Presence::Online { generation, .. } if generation == place.generation => Ok(entry),
            _ => Err(TakenOver),
        }
    }

    fn subscribe_to(&mut self, place: Place, wanted: &SubscribeFilter, id: Option<u32>) -> Reason {
        let Some(filter) = Filter::parse(&wanted.filter) else { return Reason::FILTER_INVALID };
        let key = place.session;
        let Some(Entry { session, .. }) = self.sessions.get(&key) else { return Reason::FAILED };
        let is_known = session.filters.contains_key(&wanted.filter);
        let is_full = session.filters.len() >= self.limits.subscriptions;
        if !is_known && (is_full || self.admit_filter(place, &wanted.filter).is_err()) {
            return Reason::QUOTA;
        }
        let Some(Entry { session, .. }) = self.sessions.get_mut(&key) else { return Reason::FAILED };
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
