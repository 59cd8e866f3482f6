//! Who publishes, and what it waits for before its message is acknowledged.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::broker::routing::SessionKey;
use crate::flow::Kept;
use crate::mqtt::packet::PacketId;

/// Who publishes a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::broker) enum Origin {
    /// We: what is retained of it is rebuilt at each start.
    Ours,
    /// A bridge.
    Bridge,
    /// A client, or its will.
    Client {
        /// Its session.
        session: SessionKey,
        /// The message's id with QoS 2, and whether a bridge wants it.
        once: Option<(PacketId, bool)>,
    },
}

/// What became of a message.
#[derive(Debug)]
pub(in crate::broker) struct Published {
    /// How many sessions it goes to.
    pub(in crate::broker) reached: usize,
    /// When it is safe, as far as it has to be.
    pub(in crate::broker) kept: Option<Kept>,
}

/// Held by every change that a message depends on. The last one to let go of it says that the message
/// is safe.
pub(in crate::broker) type Promise = Arc<Pledge>;

/// See [`Promise`].
#[derive(Debug)]
pub(in crate::broker) struct Pledge(Option<oneshot::Sender<()>>);

impl Drop for Pledge {
    fn drop(&mut self) {
        if let Some(ticket) = self.0.take() {
            // Whoever waited may have gone.
            let _ = ticket.send(());
        }
    }
}

/// A promise that is made when something depends on it, and only then.
#[derive(Debug)]
pub(super) enum Maybe {
    /// Nobody would wait for it.
    Unwanted,
    /// Somebody would.
    Wanted,
    /// Somebody does.
    Made(Promise, Kept),
}

impl Maybe {
    /// The promise, for something that the message depends on.
    pub(super) fn promise(&mut self) -> Option<&Promise> {
        if matches!(self, Self::Wanted) {
            let (sender, ticket) = oneshot::channel();
            *self = Self::Made(Arc::new(Pledge(Some(sender))), ticket);
        }
        match self {
            Self::Made(promise, _) => Some(promise),
            Self::Unwanted | Self::Wanted => None,
        }
    }

    /// What to wait for, if anything depends on it.
    pub(super) fn into_ticket(self) -> Option<Kept> {
        match self {
            Self::Made(_, ticket) => Some(ticket),
            Self::Unwanted | Self::Wanted => None,
        }
    }
}
