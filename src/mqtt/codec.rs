//! Bytes to [`Packet`]s and back, for both protocol versions and both sides of a connection.
//!
//! This is the only user of the codec crate. The crate knows the wire format; what it leaves
//! unchecked is checked here, before or after it:
//!
//! - before: size (nothing is buffered for a packet that is too large), direction, header flags of
//!   PUBLISH, flags of CONNECT, options of SUBSCRIBE, empty bodies; of 5.0 clients each property, and
//!   that lengths take no more bytes than they need;
//! - after: NUL in texts, topic names, aliases, identifiers that only a server may send.
//!
//! Not here: filters (the broker answers each one with its own reason code), and whatever needs
//! the state of a session. After an error the stream is out of step: close the connection.
//!
//! Everything handed out owns its memory. A small message that is kept for long would otherwise
//! keep the whole read buffer alive that it arrived in.

mod checks;
#[cfg(test)]
mod tests;
mod v3;
mod v5;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use rmqtt_codec::error::{DecodeError, EncodeError};
use tokio_util::codec::{Decoder, Encoder};

use super::packet::{Packet, Reason, Version};

/// Largest packet that the wire format can carry, in bytes; a few bytes are left unused.
pub const MAX_PACKET_BYTES: usize = 268_435_455;

/// Largest packet that a server takes and that is no message, in bytes: a CONNECT with a long name and
/// a long will, or a SUBSCRIBE with a thousand filters of a hundred bytes.
pub const MAX_OTHER_BYTES: usize = 128 << 10;

/// Why a packet was not decoded or not encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Larger than the receiver takes.
    #[error("packet of {bytes} bytes is over the limit of {limit}")]
    TooLarge {
        /// Its size; a lower bound when it was not encoded to the end.
        bytes: usize,
        /// The receiver's limit.
        limit: usize,
    },
    /// Cannot be parsed.
    #[error("malformed packet: {0}")]
    Malformed(&'static str),
    /// Can be parsed, but is not allowed.
    #[error("protocol error: {0}")]
    Protocol(&'static str),
    /// A CONNECT of a version that we do not speak.
    #[error("protocol level {0} is not supported")]
    Version(u8),
    /// A CONNECT without client id that 3.1.1 does not allow.
    #[error("an empty client id needs a clean session")]
    ClientId,
    /// Not a topic that can be published to.
    #[error("not a valid topic name")]
    Topic,
    /// Not a number that can stand for a topic.
    #[error("a topic alias of 0")]
    TopicAlias,
    /// Enhanced authentication, which we do not do.
    #[error("enhanced authentication is not supported")]
    Authentication,
}

impl CodecError {
    /// What to tell the peer when disconnecting.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::TooLarge { .. } => Reason::TOO_LARGE,
            Self::Malformed(_) => Reason::MALFORMED,
            Self::Protocol(_) => Reason::PROTOCOL_ERROR,
            Self::Version(_) => Reason::UNSUPPORTED_VERSION,
            Self::ClientId => Reason::CLIENT_ID,
            Self::Topic => Reason::TOPIC_INVALID,
            Self::TopicAlias => Reason::ALIAS_INVALID,
            Self::Authentication => BAD_AUTHENTICATION_METHOD,
        }
    }
}

/// The authentication method is not supported (MQTT 5.0, 2.4).
const BAD_AUTHENTICATION_METHOD: Reason = Reason(0x8C);

/// Turns the bytes of one connection into packets and back.
#[derive(Debug)]
pub struct Codec {
    side: Side,
    wire: Wire,
    max_packet_bytes: usize,
    peer_maximum: usize,
    /// The client has not said that it does not want reason strings.
    wants_words: bool,
}

/// Which side of the connection we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Server,
    Client,
}

#[derive(Debug)]
enum Wire {
    /// A server before the CONNECT.
    Unknown,
    V3(rmqtt_codec::v3::Codec),
    V5(rmqtt_codec::v5::Codec),
}

impl Wire {
    fn new(version: Version) -> Self {
        // 0 switches the crate's own limits off: ours cover both directions and both versions.
        match version {
            Version::V3 => Self::V3(rmqtt_codec::v3::Codec::new(0)),
            Version::V5 => Self::V5(rmqtt_codec::v5::Codec::new(0, 0)),
        }
    }
}

impl Codec {
    /// The server's side: learns the version from the CONNECT. Takes packets of at most
    /// `max_packet_bytes`, header included.
    #[must_use]
    pub fn server(max_packet_bytes: usize) -> Self {
        Self {
            side: Side::Server,
            wire: Wire::Unknown,
            max_packet_bytes,
            peer_maximum: MAX_PACKET_BYTES,
            // Until its CONNECT is understood.
            wants_words: false,
        }
    }

    /// The client's side. Takes packets of at most `max_packet_bytes`, header included.
    #[must_use]
    pub fn client(version: Version, max_packet_bytes: usize) -> Self {
        Self {
            side: Side::Client,
            wire: Wire::new(version),
            max_packet_bytes,
            peer_maximum: MAX_PACKET_BYTES,
            wants_words: true,
        }
    }

    /// The version in use; `None` for a server that has not seen the CONNECT.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        match self.wire {
            Wire::Unknown => None,
            Wire::V3(_) => Some(Version::V3),
            Wire::V5(_) => Some(Version::V5),
        }
    }

    /// The largest packet that the peer takes, in bytes: anything larger is
    /// [`CodecError::TooLarge`] at [`encode`](Self::encode).
    pub fn set_peer_maximum(&mut self, bytes: u32) {
        self.peer_maximum = peer_maximum(Some(bytes));
    }

    /// Takes the first packet out of `bytes`; `None` when it is not complete yet.
    ///
    /// # Errors
    /// The packet is too large, malformed or not allowed. The connection cannot go on.
    pub fn decode(&mut self, bytes: &mut BytesMut) -> Result<Option<Packet>, CodecError> {
        let Some(header) = checks::Header::peek(bytes)? else { return Ok(None) };
        let expects_connect = matches!(self.wire, Wire::Unknown);
        header.check_kind(self.side == Side::Server, expects_connect)?;
        let limit = self.limit(&header);
        if header.total > limit {
            return Err(CodecError::TooLarge { bytes: header.total, limit });
        }
        let Some(body) = bytes.get_mut(header.body..header.total) else { return Ok(None) };
        if expects_connect {
            self.detect(body)?;
        }
        let packet = match &mut self.wire {
            Wire::Unknown => return Err(CodecError::Protocol("no CONNECT yet")),
            Wire::V3(codec) => {
                checks::v3(&header, body)?;
                if self.side == Side::Client
                    && let Some(counts) = checks::v3_ack_bytes(&header, body)
                {
                    shorten(bytes, &header, counts);
                }
                let Some((packet, _)) = codec.decode(bytes)? else { return Ok(None) };
                v3::decoded(packet)?
            }
            Wire::V5(codec) => {
                let asked = match self.side {
                    Side::Server => checks::v5_from_client(&header, body)?,
                    Side::Client => checks::v5_from_server(&header, body).map(|()| None)?,
                };
                if let Some(asked) = &asked {
                    self.wants_words = asked.wants_words;
                    self.peer_maximum = peer_maximum(asked.maximum_packet_size);
                }
                let Some((packet, _)) = codec.decode(bytes)? else { return Ok(None) };
                v5::decoded(packet, asked.is_some_and(|asked| asked.clean_start))?
            }
        };
        checks::packet(&packet, self.side == Side::Server)?;
        Ok(Some(packet))
    }

    /// What somebody may send before we know who it is, and what makes much work for every byte, is not
    /// taken up to the size of a message.
    fn limit(&self, header: &checks::Header) -> usize {
        let is_free = self.side == Side::Client || header.is_publish();
        let own = if is_free { usize::MAX } else { MAX_OTHER_BYTES };
        own.min(self.max_packet_bytes)
    }

    /// Appends `packet` to `out`. Where the version has no such packet (a server's DISCONNECT over
    /// 3.1.1) nothing is appended. A reason string is left out where the peer does not want it, or
    /// would not take the packet with it (MQTT 5.0, 3.2.2.3.9 and 3.14.2.2.3).
    ///
    /// # Errors
    /// The packet is larger than the peer takes, or cannot be expressed in this version. Nothing
    /// was appended; the connection can go on.
    pub fn encode(&mut self, packet: &Packet, out: &mut BytesMut) -> Result<(), CodecError> {
        let limit = self.peer_maximum;
        if let Packet::Publish(publish) = packet {
            // At least this much. Spares the copy of a large payload, and keeps the crate from
            // panicking at a length that the wire format cannot express.
            let bytes = 4 + publish.topic.len() + publish.payload.len();
            if bytes > limit {
                return Err(CodecError::TooLarge { bytes, limit });
            }
        }
        let has_words = has_words(packet);
        if has_words && !self.wants_words {
            return self.append_within(&without_words(packet), limit, out);
        }
        match self.append_within(packet, limit, out) {
            Err(CodecError::TooLarge { .. }) if has_words => {
                self.append_within(&without_words(packet), limit, out)
            }
            result => result,
        }
    }

    fn append_within(&mut self, packet: &Packet, limit: usize, out: &mut BytesMut) -> Result<(), CodecError> {
        let start = out.len();
        let mut result = self.append(packet, out);
        let bytes = out.len() - start;
        if result.is_ok() && bytes > limit {
            result = Err(CodecError::TooLarge { bytes, limit });
        }
        if result.is_err() {
            out.truncate(start);
        }
        result
    }

    fn append(&mut self, packet: &Packet, out: &mut BytesMut) -> Result<(), CodecError> {
        match &mut self.wire {
            Wire::Unknown => return Err(CodecError::Protocol("no CONNECT yet")),
            Wire::V3(_) if self.side == Side::Server && matches!(packet, Packet::Disconnect(_)) => {}
            Wire::V3(codec) => codec.encode(v3::encoded(packet)?, out)?,
            Wire::V5(codec) => codec.encode(v5::encoded(packet)?, out)?,
        }
        Ok(())
    }

    fn detect(&mut self, connect: &[u8]) -> Result<(), CodecError> {
        let level = checks::protocol_level(connect)?;
        let (version, result) = match level {
            4 => (Version::V3, Ok(())),
            5 => (Version::V5, Ok(())),
            // Refused in the nearest version that the client may understand. Mosquitto's bridge sets the
            // highest bit, and comes again without it when the answer is one of 3.1.1.
            0..4 | 0x83 | 0x84 => (Version::V3, Err(CodecError::Version(level))),
            6.. => (Version::V5, Err(CodecError::Version(level))),
        };
        self.wire = Wire::new(version);
        result
    }
}

fn peer_maximum(bytes: Option<u32>) -> usize {
    bytes
        .and_then(|bytes| usize::try_from(bytes).ok())
        .map_or(MAX_PACKET_BYTES, |bytes| bytes.min(MAX_PACKET_BYTES))
}

fn has_words(packet: &Packet) -> bool {
    match packet {
        Packet::ConnAck(answer) => answer.reason_string.is_some(),
        Packet::Disconnect(disconnect) => disconnect.reason_string.is_some(),
        _ => false,
    }
}

fn without_words(packet: &Packet) -> Packet {
    let mut packet = packet.clone();
    match &mut packet {
        Packet::ConnAck(answer) => answer.reason_string = None,
        Packet::Disconnect(disconnect) => disconnect.reason_string = None,
        _ => {}
    }
    packet
}

/// Takes what stands behind the first `counts` bytes of the first packet's body out of `bytes`. The
/// packet's length is one byte.
fn shorten(bytes: &mut BytesMut, header: &checks::Header, counts: usize) {
    let rest = bytes.split_off(header.total);
    bytes.truncate(header.body + counts);
    if let (Some(length), Ok(counts)) = (bytes.get_mut(1), u8::try_from(counts)) {
        *length = counts;
    }
    bytes.unsplit(rest);
}

impl From<DecodeError> for CodecError {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::InvalidProtocol => Self::Protocol("not the protocol's name"),
            DecodeError::UnsupportedProtocolLevel => Self::Protocol("a CONNECT of another version"),
            DecodeError::InvalidClientId => Self::ClientId,
            DecodeError::InvalidTopicName => Self::Topic,
            DecodeError::InvalidTopicFilter => Self::Protocol("no topic filter"),
            DecodeError::MaxSizeExceeded { .. } | DecodeError::InvalidLength => Self::Malformed("length"),
            DecodeError::ConnectReservedFlagSet
            | DecodeError::InvalidConnectFlags
            | DecodeError::ConnAckReservedFlagSet => Self::Malformed("connect flags"),
            DecodeError::UnsupportedPacketType => Self::Malformed("packet type or its flags"),
            DecodeError::PacketIdRequired => Self::Malformed("packet id"),
            DecodeError::Utf8Error => Self::Malformed("text is not UTF-8"),
            DecodeError::MalformedPacket | DecodeError::Io(_) => Self::Malformed("contents"),
        }
    }
}

impl From<EncodeError> for CodecError {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::OverMaxPacketSize { size, max } => Self::TooLarge {
                bytes: usize::try_from(size).unwrap_or(usize::MAX),
                limit: usize::try_from(max).unwrap_or(usize::MAX),
            },
            EncodeError::InvalidLength => Self::Malformed("a text or field over 65535 bytes"),
            EncodeError::PacketIdRequired => Self::Malformed("packet id"),
            EncodeError::MalformedPacket | EncodeError::UnsupportedVersion | EncodeError::Io(_) => {
                Self::Malformed("contents")
            }
        }
    }
}

/// A text that owns its memory. NUL is forbidden in every text (MQTT 5.0, 1.5.4).
fn text(from: &ByteString) -> Result<Arc<str>, CodecError> {
    if from.contains('\0') {
        return Err(CodecError::Malformed("NUL in a text"));
    }
    Ok(Arc::from(&**from))
}

/// Bytes that own their memory.
fn owned(from: &Bytes) -> Bytes {
    Bytes::copy_from_slice(from)
}
