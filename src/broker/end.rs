//! Why a connection ends, and what the client is told.

use std::io;

use super::access::Denial;
use crate::mqtt::codec::CodecError;
use crate::mqtt::packet::Reason;
use crate::mqtt::session::Exceeded;

/// The session belongs to another connection now, or is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TakenOver;

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    /// The client said DISCONNECT.
    #[error("the client disconnected")]
    Goodbye,
    /// The client closed the connection without a word.
    #[error("the connection was closed")]
    Closed,
    /// The connection broke.
    #[error("{0}")]
    Broken(#[from] io::Error),
    /// The client does not take what we send.
    #[error("the client has taken nothing for long")]
    Stalled,
    /// The client sent what cannot be understood.
    #[error("{0}")]
    Codec(#[from] CodecError),
    /// We end it.
    #[error("{why}")]
    Refused {
        /// What we tell the client.
        reason: Reason,
        /// In words, for the log.
        why: &'static str,
    },
}

impl End {
    pub(super) const KEEP_ALIVE: Self =
        Self::Refused { reason: Reason::KEEP_ALIVE, why: "nothing came within the keep-alive" };
    pub(super) const STOPPING: Self =
        Self::Refused { reason: Reason::SHUTTING_DOWN, why: "the broker is stopping" };

    pub(super) fn protocol(why: &'static str) -> Self {
        Self::Refused { reason: Reason::PROTOCOL_ERROR, why }
    }

    /// What to tell the client in a DISCONNECT; `None` if it cannot or need not be told.
    pub(super) fn reason(&self) -> Option<Reason> {
        match self {
            Self::Goodbye | Self::Closed | Self::Broken(_) | Self::Stalled => None,
            Self::Codec(error) => Some(error.reason()),
            Self::Refused { reason, .. } => Some(*reason),
        }
    }
}

impl From<TakenOver> for End {
    fn from(TakenOver: TakenOver) -> Self {
        Self::Refused { reason: Reason::TAKEN_OVER, why: "another connection took the session" }
    }
}

impl From<Denial> for End {
    fn from(refusal: Denial) -> Self {
        Self::Refused { reason: refusal.reason(), why: refusal.told() }
    }
}

impl From<Exceeded> for End {
    fn from(Exceeded: Exceeded) -> Self {
        Self::Refused { reason: Reason::RECEIVE_MAXIMUM, why: "more than the receive maximum" }
    }
}
