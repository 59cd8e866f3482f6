//! Everything that is kept, as the file has it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use crate::broker::message::{Delivery, Message};
use crate::broker::routing::{SessionKey, Subscription};
use crate::mqtt::packet::{PacketId, Publish, Qos};

/// The content of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::broker) struct Image {
    /// All sessions that outlive their connections.
    pub(in crate::broker) sessions: BTreeMap<SessionKey, SessionImage>,
    /// What the rows of the others refer to.
    pub(in crate::broker) messages: BTreeMap<u64, Arc<Message>>,
    /// By topic: the retained message.
    pub(in crate::broker) retained: BTreeMap<Arc<str>, u64>,
    /// By client id.
    pub(in crate::broker) wills: BTreeMap<Arc<str>, WillRow>,
}

/// One session.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::broker) struct SessionImage {
    /// Whose it is, and how long it lasts.
    pub(in crate::broker) row: SessionRow,
    /// By filter.
    pub(in crate::broker) subscriptions: BTreeMap<Arc<str>, Subscription>,
    /// Filters whose retained messages are still to be sent.
    pub(in crate::broker) replays: BTreeSet<Arc<str>>,
    /// By position in the queue.
    pub(in crate::broker) deliveries: BTreeMap<u64, DeliveryRow>,
    /// Messages of QoS 2 that the client has not released: whether a bridge wants it.
    pub(in crate::broker) incoming: BTreeMap<PacketId, bool>,
}

/// A session without what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::broker) struct SessionRow {
    /// The client's id.
    pub(in crate::broker) client_id: Arc<str>,
    /// The user whose it is; `None` for anonymous clients.
    pub(in crate::broker) owner: Option<Arc<str>>,
    /// Seconds that it outlives the connection; `u32::MAX` for ever.
    pub(in crate::broker) expiry_s: u32,
    /// `None` while it has a connection.
    pub(in crate::broker) offline: Option<Offline>,
}

/// Since when a session has no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::broker) struct Offline {
    /// Since then.
    pub(in crate::broker) since: Instant,
    /// When it ends; `None`: never.
    pub(in crate::broker) ends: Option<Instant>,
}

/// One message for one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::broker) struct DeliveryRow {
    /// Which; `None` once the client has it.
    pub(in crate::broker) message: Option<u64>,
    /// With this QoS.
    pub(in crate::broker) qos: Qos,
    /// With this retain flag.
    pub(in crate::broker) retain: bool,
    /// With these.
    pub(in crate::broker) subscription_ids: Vec<u32>,
    /// How far it got.
    pub(in crate::broker) flight: Flight,
}

/// How far a message for a client got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::broker) enum Flight {
    /// It waits.
    Queued,
    /// The client may have it. `order`: the so-manieth that was sent.
    Sent { id: PacketId, order: u64 },
    /// The client has it and said so: PUBREL is due.
    Released { id: PacketId, order: u64 },
}

/// A will that may have to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::broker) struct WillRow {
    /// The message.
    pub(in crate::broker) message: Publish,
    /// Seconds to wait for the client to come back.
    pub(in crate::broker) delay_s: u32,
    /// When it is to be published; `None` while the client is connected.
    pub(in crate::broker) due: Option<Instant>,
}

impl Image {
    /// How many rows refer to each message.
    pub(super) fn references(&self) -> HashMap<u64, usize> {
        let mut references = HashMap::new();
        let deliveries = self.sessions.values().flat_map(|session| session.deliveries.values());
        let messages = deliveries.filter_map(|delivery| delivery.message);
        for message in messages.chain(self.retained.values().copied()) {
            *references.entry(message).or_default() += 1;
        }
        references
    }
}

impl SessionImage {
    /// Without anything that belongs to it.
    pub(in crate::broker) fn new(row: SessionRow) -> Self {
        Self {
            row,
            subscriptions: BTreeMap::new(),
            replays: BTreeSet::new(),
            deliveries: BTreeMap::new(),
            incoming: BTreeMap::new(),
        }
    }
}

impl DeliveryRow {
    /// A message that waits.
    pub(in crate::broker) fn new(delivery: &Delivery) -> Self {
        Self {
            message: Some(delivery.message.id),
            qos: delivery.qos,
            retain: delivery.retain,
            subscription_ids: delivery.subscription_ids.clone(),
            flight: Flight::Queued,
        }
    }

    /// What is left of a message that the client has, but for its flight.
    pub(in crate::broker) fn released() -> Self {
        Self {
            message: None,
            qos: Qos::ExactlyOnce,
            retain: false,
            subscription_ids: Vec::new(),
            flight: Flight::Queued,
        }
    }

    /// It got so far.
    pub(in crate::broker) fn move_to(&mut self, flight: Flight) {
        self.flight = flight;
        if matches!(flight, Flight::Released { .. }) {
            // All that is left of it is its id.
            *self = Self { flight, ..Self::released() };
        }
    }
}
