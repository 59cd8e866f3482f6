//! The MQTT control packets, in one form for both protocol versions.
//!
//! What a version does not know is simply absent: reason codes are 0 and properties empty when a
//! packet came over 3.1.1, and are not sent to a 3.1.1 peer. Source: MQTT 5.0, section 3.

use std::num::NonZeroU16;
use std::sync::Arc;

use bytes::Bytes;

use crate::reading::Properties;

/// Identifies a packet that waits for an acknowledgement (MQTT 5.0, 2.2.1).
pub type PacketId = NonZeroU16;

/// The protocol versions we speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1.1, protocol level 4.
    V3,
    /// MQTT 5.0, protocol level 5.
    V5,
}

/// Delivery guarantee of one hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Qos {
    /// At most once.
    AtMostOnce = 0,
    /// At least once.
    AtLeastOnce = 1,
    /// Exactly once.
    ExactlyOnce = 2,
}

impl From<u8> for Qos {
    /// 0, 1, and everything above as 2.
    fn from(level: u8) -> Self {
        match level {
            0 => Self::AtMostOnce,
            1 => Self::AtLeastOnce,
            _ => Self::ExactlyOnce,
        }
    }
}

/// One control packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// Client asks for a connection.
    Connect(Box<Connect>),
    /// Server answers it.
    ConnAck(Box<ConnAck>),
    /// A message.
    Publish(Box<Publish>),
    /// QoS 1 answer.
    PubAck(Ack),
    /// QoS 2, first answer.
    PubRec(Ack),
    /// QoS 2, release.
    PubRel(Ack),
    /// QoS 2, last answer.
    PubComp(Ack),
    /// Client asks for messages.
    Subscribe(Subscribe),
    /// Server answers it: one reason code per filter.
    SubAck(PacketId, Vec<Reason>),
    /// Client wants no more of them.
    Unsubscribe(PacketId, Vec<Arc<str>>),
    /// Server answers it: one reason code per filter.
    UnsubAck(PacketId, Vec<Reason>),
    /// Client shows that it lives.
    PingReq,
    /// Server shows that it lives.
    PingResp,
    /// Either side ends the connection.
    Disconnect(Disconnect),
    /// Enhanced authentication (5.0 only), which we refuse.
    Auth,
}

/// A reason code (MQTT 5.0, 2.4). Below [`Reason::FAILED`] it is a success.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reason(pub u8);

impl Reason {
    /// Success, normal disconnection, or granted QoS 0.
    pub const SUCCESS: Self = Self(0x00);
    /// The first code that means failure; also "unspecified error".
    pub const FAILED: Self = Self(0x80);
    /// Nobody subscribes to that topic.
    pub const NO_SUBSCRIBERS: Self = Self(0x10);
    /// No such subscription.
    pub const NO_SUBSCRIPTION: Self = Self(0x11);
    /// Disconnect, and publish the will all the same.
    pub const WITH_WILL: Self = Self(0x04);
    /// The packet cannot be parsed.
    pub const MALFORMED: Self = Self(0x81);
    /// The packet is not allowed here.
    pub const PROTOCOL_ERROR: Self = Self(0x82);
    /// The server does not speak that version.
    pub const UNSUPPORTED_VERSION: Self = Self(0x84);
    /// The client id is not acceptable.
    pub const CLIENT_ID: Self = Self(0x85);
    /// User name or password is wrong.
    pub const BAD_LOGIN: Self = Self(0x86);
    /// Not allowed to do that.
    pub const NOT_AUTHORIZED: Self = Self(0x87);
    /// Try again later.
    pub const BUSY: Self = Self(0x89);
    /// The server is going away.
    pub const SHUTTING_DOWN: Self = Self(0x8B);
    /// Nothing came within 1.5 times the keep-alive.
    pub const KEEP_ALIVE: Self = Self(0x8D);
    /// Another connection took this client id.
    pub const TAKEN_OVER: Self = Self(0x8E);
    /// Not a valid filter.
    pub const FILTER_INVALID: Self = Self(0x8F);
    /// Not a valid topic.
    pub const TOPIC_INVALID: Self = Self(0x90);
    /// No such packet id.
    pub const ID_NOT_FOUND: Self = Self(0x92);
    /// More unacknowledged messages than allowed.
    pub const RECEIVE_MAXIMUM: Self = Self(0x93);
    /// No such topic alias.
    pub const ALIAS_INVALID: Self = Self(0x94);
    /// Larger than the receiver's limit.
    pub const TOO_LARGE: Self = Self(0x95);
    /// More messages in a time than the receiver takes.
    pub const RATE_TOO_HIGH: Self = Self(0x96);
    /// An administrative limit was reached.
    pub const QUOTA: Self = Self(0x97);
    /// More connections in a time than the receiver takes.
    pub const CONNECTION_RATE: Self = Self(0x9F);

    /// Whether it means failure.
    #[must_use]
    pub fn is_failure(self) -> bool {
        self >= Self::FAILED
    }
}

/// CONNECT (3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect {
    /// The version the client speaks.
    pub version: Version,
    /// May be empty: the server then assigns one.
    pub client_id: Arc<str>,
    /// Forget what is known of that client id.
    pub clean_start: bool,
    /// Seconds between packets, at most; 0 for no limit.
    pub keep_alive_s: u16,
    /// Seconds that the session outlives the connection; `u32::MAX` for ever. A 3.1.1 client with
    /// clean session has 0, without it `u32::MAX`.
    pub session_expiry_s: u32,
    /// How many unacknowledged QoS 1 and 2 messages the client takes at a time.
    pub receive_maximum: u16,
    /// Largest packet the client takes, in bytes; `None` for no limit.
    pub maximum_packet_size: Option<u32>,
    /// Highest topic alias the client takes; 0 for none.
    pub topic_alias_maximum: u16,
    /// User name.
    pub username: Option<Arc<str>>,
    /// Password, as bytes.
    pub password: Option<Bytes>,
    /// What to publish when the connection breaks.
    pub will: Option<Will>,
}

/// The will of a client (3.1.3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    /// The message; its packet id is `None`.
    pub message: Publish,
    /// Seconds to wait for the client to come back first.
    pub delay_s: u32,
}

/// CONNACK (3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnAck {
    /// Whether the server remembered the session.
    pub session_present: bool,
    /// Why not, or success. A 3.1.1 return code is mapped to its 5.0 reason code.
    pub reason: Reason,
    /// Seconds that the server keeps the session, where it differs from what was asked.
    pub session_expiry_s: Option<u32>,
    /// How many unacknowledged QoS 1 and 2 messages the server takes at a time.
    pub receive_maximum: u16,
    /// Highest QoS that the server takes.
    pub maximum_qos: Qos,
    /// Whether the server takes retained messages.
    pub retain_available: bool,
    /// Largest packet the server takes, in bytes; `None` for no limit.
    pub maximum_packet_size: Option<u32>,
    /// The client id, where the server chose it.
    pub assigned_client_id: Option<Arc<str>>,
    /// Highest topic alias that the server takes; 0 for none.
    pub topic_alias_maximum: u16,
    /// The keep-alive that the server wants instead, in seconds.
    pub server_keep_alive_s: Option<u16>,
    /// Words for a person.
    pub reason_string: Option<Arc<str>>,
}

impl ConnAck {
    /// An answer with `reason` and no limits beyond those of the protocol.
    #[must_use]
    pub fn new(reason: Reason, session_present: bool) -> Self {
        Self {
            session_present,
            reason,
            session_expiry_s: None,
            receive_maximum: u16::MAX,
            maximum_qos: Qos::ExactlyOnce,
            retain_available: true,
            maximum_packet_size: None,
            assigned_client_id: None,
            topic_alias_maximum: 0,
            server_keep_alive_s: None,
            reason_string: None,
        }
    }
}

/// PUBLISH (3.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Sent before, perhaps.
    pub dup: bool,
    /// Delivery guarantee.
    pub qos: Qos,
    /// Keep as the topic's last message (towards a server), or: came from that store.
    pub retain: bool,
    /// Empty only where a topic alias stands in for it.
    pub topic: Arc<str>,
    /// Set for QoS 1 and 2.
    pub id: Option<PacketId>,
    /// Any bytes.
    pub payload: Bytes,
    /// Seconds after which it is stale.
    pub expiry_s: Option<u32>,
    /// Number that stands for the topic on this connection.
    pub topic_alias: Option<NonZeroU16>,
    /// Subscription identifiers, towards a client only.
    pub subscription_ids: Vec<u32>,
    /// Properties that travel end to end.
    pub properties: Properties,
}

impl Publish {
    /// A message with no properties and no packet id.
    #[must_use]
    pub fn new(topic: impl Into<Arc<str>>, payload: impl Into<Bytes>, qos: Qos, retain: bool) -> Self {
        Self {
            dup: false,
            qos,
            retain,
            topic: topic.into(),
            id: None,
            payload: payload.into(),
            expiry_s: None,
            topic_alias: None,
            subscription_ids: Vec::new(),
            properties: Properties::default(),
        }
    }
}

/// PUBACK, PUBREC, PUBREL and PUBCOMP (3.4 to 3.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Which message.
    pub id: PacketId,
    /// How it went; always success over 3.1.1.
    pub reason: Reason,
}

impl Ack {
    /// A success.
    #[must_use]
    pub fn ok(id: PacketId) -> Self {
        Self { id, reason: Reason::SUCCESS }
    }
}

/// SUBSCRIBE (3.8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// To be echoed in the SUBACK.
    pub id: PacketId,
    /// What is asked for.
    pub filters: Vec<SubscribeFilter>,
    /// To be sent along with every message that matches.
    pub subscription_id: Option<u32>,
}

/// One filter of a SUBSCRIBE (3.8.3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscribeFilter {
    /// The filter, perhaps `$share/group/filter`.
    pub filter: Arc<str>,
    /// Highest QoS wanted.
    pub qos: Qos,
    /// Not my own messages.
    pub no_local: bool,
    /// Leave the retain flag as the publisher set it.
    pub retain_as_published: bool,
    /// Which stored messages to send at once.
    pub retain_handling: RetainHandling,
}

/// Which stored messages a subscription wants at once (3.8.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetainHandling {
    /// All that match.
    AtSubscribe,
    /// All that match, if the subscription is new.
    AtSubscribeNew,
    /// None.
    Never,
}

/// DISCONNECT (3.14).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disconnect {
    /// Why.
    pub reason: Reason,
    /// A new session expiry, in seconds.
    pub session_expiry_s: Option<u32>,
    /// Words for a person.
    pub reason_string: Option<Arc<str>>,
}

impl Disconnect {
    /// A disconnection for `reason`.
    #[must_use]
    pub fn new(reason: Reason) -> Self {
        Self { reason, session_expiry_s: None, reason_string: None }
    }
}
