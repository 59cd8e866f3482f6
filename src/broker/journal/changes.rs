//! What a transaction is made of.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::image::{DeliveryRow, Flight, Image, SessionRow, WillRow};
use super::table::Table;
use crate::broker::message::Message;
use crate::broker::routing::{SessionKey, Subscription};
use crate::mqtt::packet::PacketId;

/// Changes of everything that is kept.
#[derive(Debug)]
pub(crate) struct Changes<P> {
    /// By session.
    pub(crate) sessions: BTreeMap<SessionKey, SessionChange<P>>,
    /// The messages that rows refer to.
    pub(crate) messages: Table<u64, Arc<Message>>,
    /// By topic: which message is retained.
    pub(crate) retained: Table<Arc<str>, (u64, Option<P>)>,
    /// By client id.
    pub(crate) wills: Table<Arc<str>, WillRow>,
}

/// Changes of one session.
#[derive(Debug)]
pub(crate) enum SessionChange<P> {
    /// It ended, and all that belonged to it.
    Ended,
    /// Parts of it changed.
    Parts(Box<Parts<P>>),
}

/// Parts of a session that changed.
#[derive(Debug)]
pub(crate) struct Parts<P> {
    pub(super) is_new: bool,
    /// The session itself.
    pub(crate) row: Option<SessionRow>,
    /// By filter.
    pub(crate) subscriptions: Table<Arc<str>, Subscription>,
    /// Subscriptions that still get retained messages, by filter.
    pub(crate) replays: Table<Arc<str>, ()>,
    /// Messages for the client, by position.
    pub(crate) deliveries: Table<u64, DeliveryChange<P>>,
    /// Messages of the client that it has not released: whether a bridge wants it.
    pub(crate) incoming: Table<PacketId, (bool, Option<P>)>,
}

/// What a delivery becomes.
#[derive(Debug)]
pub(crate) enum DeliveryChange<P> {
    /// This.
    Whole(DeliveryRow, Option<P>),
    /// What it is, but for how far it got.
    Moved(Flight),
}

/// What one transaction makes of the file.
#[derive(Debug)]
pub(crate) struct Batch<P> {
    /// Rises by one with each.
    pub(crate) number: u64,
    /// What is to be written.
    pub(crate) work: Work<P>,
    /// Promises that depend on this one for other reasons.
    pub(super) owed: Vec<P>,
}

/// The content of a batch.
#[derive(Debug)]
pub(crate) enum Work<P> {
    /// Changes to what the file has.
    Changes(Changes<P>),
    /// Everything, in place of what the file has.
    Whole(Box<Image>),
}

impl<P> Default for Changes<P> {
    fn default() -> Self {
        Self {
            sessions: BTreeMap::new(),
            messages: Table::default(),
            retained: Table::default(),
            wills: Table::default(),
        }
    }
}

impl<P> Default for Parts<P> {
    fn default() -> Self {
        Self {
            is_new: false,
            row: None,
            subscriptions: Table::default(),
            replays: Table::default(),
            deliveries: Table::default(),
            incoming: Table::default(),
        }
    }
}

impl<P> Changes<P> {
    /// Whether there is nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.sessions.is_empty()
            && self.messages.is_empty()
            && self.retained.is_empty()
            && self.wills.is_empty()
    }

    /// The parts of a session; `None` once it has ended.
    pub(super) fn parts(&mut self, key: SessionKey) -> Option<&mut Parts<P>> {
        let change = self.sessions.entry(key).or_insert_with(|| SessionChange::Parts(Box::default()));
        match change {
            SessionChange::Parts(parts) => Some(parts),
            SessionChange::Ended => None,
        }
    }
}

impl<P> Parts<P> {
    pub(super) fn is_empty(&self) -> bool {
        self.row.is_none()
            && self.subscriptions.is_empty()
            && self.replays.is_empty()
            && self.deliveries.is_empty()
            && self.incoming.is_empty()
    }
}

impl<P> Changes<P> {
    /// All promises in it.
    pub(super) fn promises(self, owed: &mut Vec<P>) {
        owed.extend(self.retained.into_values().filter_map(|(_, promise)| promise));
        for change in self.sessions.into_values() {
            let SessionChange::Parts(parts) = change else { continue };
            owed.extend(parts.incoming.into_values().filter_map(|(_, promise)| promise));
            owed.extend(parts.deliveries.into_values().filter_map(|delivery| match delivery {
                DeliveryChange::Whole(_, promise) => promise,
                DeliveryChange::Moved(_) => None,
            }));
        }
    }
}
