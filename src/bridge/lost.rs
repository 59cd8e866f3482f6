//! Why a connection ended, in words for logs, status and events.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::mqtt::codec::CodecError;
use crate::mqtt::packet::{Reason, Version};

/// Why the protocol ended a connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Lost {
    /// The other side closed it before it answered CONNECT.
    #[error("the broker closed the connection without an answer to CONNECT")]
    ClosedUnanswered,
    /// The other side closed it.
    #[error("the broker closed the connection")]
    Closed,
    /// The other side does not speak our version.
    #[error("the broker does not speak MQTT {}", number(*.0))]
    Version(Version),
    /// The other side refused the connection.
    #[error("the broker refused the connection: {}{}", Words(*.0), Quoted(.1))]
    Refused(Reason, Option<Arc<str>>),
    /// The other side ended it, and said why.
    #[error("the broker ended the connection: {}{}", Words(*.0), Quoted(.1))]
    Disconnected(Reason, Option<Arc<str>>),
    /// No CONNACK.
    #[error("the broker did not answer CONNECT within {0:?}")]
    NoConnAck(Duration),
    /// Nothing at all.
    #[error("the broker was silent, and did not answer PINGREQ within {0:?}")]
    NoPong(Duration),
    /// No PUBACK.
    #[error("the broker did not acknowledge a message within {0:?}")]
    NoPubAck(Duration),
    /// No SUBACK.
    #[error("the broker did not answer SUBSCRIBE within {0:?}")]
    NoSubAck(Duration),
    /// More than our receive maximum.
    #[error("the broker sent more than {0} messages without an acknowledgement")]
    TooMany(u16),
    /// A packet over our limit. A 3.1.1 broker does not know it.
    #[error(
        "the broker sent a packet of {bytes} bytes, and {limit} is the limit; it will come again with each \
         connection until it is removed there, or `protocol: 5` tells the broker the limit"
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// Ours.
        limit: usize,
    },
    /// A message from the cloud found no room in the queue.
    #[error("the queue has no room for a message from the broker, which is to come again")]
    QueueFull,
    /// What came is not MQTT.
    #[error("the broker sent something that we do not take: {0}")]
    Nonsense(CodecError),
    /// A packet at the wrong time.
    #[error("the broker sent {0} at the wrong time")]
    Unexpected(&'static str),
}

impl From<CodecError> for Lost {
    fn from(error: CodecError) -> Self {
        match error {
            CodecError::TooLarge { bytes, limit } => Self::TooLarge { bytes, limit },
            other => Self::Nonsense(other),
        }
    }
}

impl Lost {
    /// Whether this can be the broker's answer to a message that it does not like.
    pub(super) fn may_answer_a_message(&self) -> bool {
        match self {
            Self::Closed => true,
            // Malformed, protocol error, not authorized, topic, size, format, and the vague ones.
            Self::Disconnected(reason, _) => {
                matches!(reason.0, 0x80..=0x83 | 0x87 | 0x90 | 0x95 | 0x99 | 0x9A | 0x9B)
            }
            _ => false,
        }
    }
}

/// The version as people write it.
pub(super) fn number(version: Version) -> &'static str {
    match version {
        Version::V3 => "3.1.1",
        Version::V5 => "5",
    }
}

/// A reason code in words, and as a number.
pub(super) struct Words(pub(super) Reason);

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self.0.0 {
            0x00 => "no reason given",
            0x80 => "unspecified error",
            0x81 => "malformed packet",
            0x82 => "protocol error",
            0x83 => "implementation specific error",
            0x84 => "protocol version not supported",
            0x85 => "client id not accepted; set `client_id`",
            0x86 => "bad user name or password",
            0x87 => "not authorized",
            0x88 => "server unavailable",
            0x89 => "server busy",
            0x8A => "banned",
            0x8B => "server shutting down",
            0x8C => "bad authentication method",
            0x8D => "keep-alive timeout",
            0x8E => "another connection took our client id; give each gateway its own",
            0x90 => "topic not accepted",
            0x93 => "receive maximum exceeded",
            0x95 => "packet too large",
            0x96 => "message rate too high",
            0x97 => "quota exceeded",
            0x98 => "ended by an administrator",
            0x99 => "payload format not accepted",
            0x9A => "retained messages not supported",
            0x9B => "QoS not supported",
            0x9C => "use another server",
            0x9D => "server moved",
            0x9F => "connection rate exceeded",
            _ => "see MQTT 5.0, 2.4",
        };
        write!(f, "{words} (0x{:02x})", self.0.0)
    }
}

/// What the broker said, if anything.
struct Quoted<'a>(&'a Option<Arc<str>>);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |text| write!(f, ", it says {text:?}"))
    }
}
