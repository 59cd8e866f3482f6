//! Everything that is kept, as the file has it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use crate::broker::message::{Delivery, Message};
use crate::broker::routing::{SessionKey, Subscription};
use crate::mqtt::packet::{PacketId, Publish, Qos};

/// The content of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Image {
    /// All sessions that outlive their connections.
    pub(crate) sessions: BTreeMap<SessionKey, SessionImage>,
    /// What the rows of the others refer to.
    pub(crate) messages: BTreeMap<u64, Arc<Message>>,
    /// By topic: the retained message.
    pub(crate) retained: BTreeMap<Arc<str>, u64>,
    /// By client id.
    pub(crate) wills: BTreeMap<Arc<str>, WillRow>,
}

/// One session.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SessionImage {
    /// Whose it is, and how long it lasts.
    pub(crate) row: SessionRow,
    /// By filter.
    pub(crate) subscriptions: BTreeMap<Arc<str>, Subscription>,
    /// Filters whose retained messages are still to be sent.
    pub(crate) replays: BTreeSet<Arc<str>>,
    /// By position in the queue.
    pub(crate) deliveries: BTreeMap<u64, DeliveryRow>,
    /// Messages of QoS 2 that the client has not released: whether a bridge wants it.
    pub(crate) incoming: BTreeMap<PacketId, bool>,
}

/// A session without what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SessionRow {
    /// The client's id.
    pub(crate) client_id: Arc<str>,
    /// The user whose it is; `None` for anonymous clients.
    pub(crate) owner: Option<Arc<str>>,
    /// Seconds that it outlives the connection; `u32::MAX` for ever.
    pub(crate) expiry_s: u32,
    /// `None` while it has a connection.
    pub(crate) offline: Option<Offline>,
}

/// Since when a session has no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offline {
    /// Since then.
    pub(crate) since: Instant,
    /// When it ends; `None`: never.
    pub(crate) ends: Option<Instant>,
}

/// One message for one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeliveryRow {
    /// Which; `None` once the client has it.
    pub(crate) message: Option<u64>,
    /// With this QoS.
    pub(crate) qos: Qos,
    /// With this retain flag.
    pub(crate) retain: bool,
    /// With these.
    pub(crate) subscription_ids: Vec<u32>,
    /// How far it got.
    pub(crate) flight: Flight,
}

/// How far a message for a client got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flight {
    /// It waits.
    Queued,
    /// The client may have it. `order`: the so-manieth that was sent.
    Sent { id: PacketId, order: u64 },
    /// The client has it and said so: PUBREL is due.
    Released { id: PacketId, order: u64 },
}

/// A will that may have to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WillRow {
    /// The message.
    pub(crate) message: Publish,
    /// Seconds to wait for the client to come back.
    pub(crate) delay_s: u32,
    /// When it is to be published; `None` while the client is connected.
    pub(crate) due: Option<Instant>,
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
    pub(crate) fn new(row: SessionRow) -> Self {
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
    pub(crate) fn new(delivery: &Delivery) -> Self {
        Self {
            message: Some(delivery.message.id),
            qos: delivery.qos,
            retain: delivery.retain,
            subscription_ids: delivery.subscription_ids.clone(),
            flight: Flight::Queued,
        }
    }

    /// What is left of a message that the client has, but for its flight.
    pub(crate) fn released() -> Self {
        Self {
            message: None,
            qos: Qos::ExactlyOnce,
            retain: false,
            subscription_ids: Vec::new(),
            flight: Flight::Queued,
        }
    }

    /// It got so far.
    pub(crate) fn move_to(&mut self, flight: Flight) {
        self.flight = flight;
        if matches!(flight, Flight::Released { .. }) {
            // All that is left of it is its id.
            *self = Self { flight, ..Self::released() };
        }
    }
}
