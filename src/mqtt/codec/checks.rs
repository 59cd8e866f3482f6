//! What the codec crate does not check.

use crate::mqtt::codec::CodecError;
use crate::mqtt::packet::{Packet, Publish};
use crate::topic;

/// Packet types, the upper half of the first byte (MQTT 5.0, 2.1.2).
const CONNECT: u8 = 1;
const CONNACK: u8 = 2;
const PUBLISH: u8 = 3;
const PUBACK: u8 = 4;
const PUBREC: u8 = 5;
const PUBREL: u8 = 6;
const PUBCOMP: u8 = 7;
const SUBSCRIBE: u8 = 8;
const SUBACK: u8 = 9;
const UNSUBSCRIBE: u8 = 10;
const UNSUBACK: u8 = 11;
const PINGREQ: u8 = 12;
const PINGRESP: u8 = 13;
const DISCONNECT: u8 = 14;

/// Bits of the flags of CONNECT (3.1.2.3).
const CLEAN_START: u8 = 0b0000_0010;
const WILL: u8 = 0b0000_0100;
const WILL_QOS_AND_RETAIN: u8 = 0b0011_1000;
const PASSWORD: u8 = 0b0100_0000;
const USERNAME: u8 = 0b1000_0000;

/// Where the flags stand in the body of a CONNECT: after name and level.
const CONNECT_FLAGS_AT: usize = 7;

/// The fixed header of a packet.
pub(super) struct Header {
    first: u8,
    /// Where the body begins.
    pub(super) body: usize,
    /// Where the packet ends.
    pub(super) total: usize,
}

impl Header {
    /// The header at the start of `bytes`; `None` when it is not complete yet.
    pub(super) fn peek(bytes: &[u8]) -> Result<Option<Self>, CodecError> {
        let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
        let mut remaining = 0_usize;
        for (at, &byte) in rest.iter().take(4).enumerate() {
            remaining |= usize::from(byte & 0x7F) << (7 * at);
            if byte & 0x80 == 0 {
                let body = at + 2;
                return Ok(Some(Self { first, body, total: body + remaining }));
            }
        }
        if rest.len() < 4 { Ok(None) } else { Err(CodecError::Malformed("length")) }
    }

    /// Whether it is a PUBLISH.
    pub(super) fn is_publish(&self) -> bool {
        self.kind() == PUBLISH
    }

    fn kind(&self) -> u8 {
        self.first >> 4
    }

    /// Refuses at the first byte what must not come from that side, or not first.
    pub(super) fn check_kind(&self, to_server: bool, expects_connect: bool) -> Result<(), CodecError> {
        let kind = self.kind();
        let wrong_way = match kind {
            CONNECT | SUBSCRIBE | UNSUBSCRIBE | PINGREQ => !to_server,
            CONNACK | SUBACK | UNSUBACK | PINGRESP => to_server,
            _ => false,
        };
        if wrong_way {
            return Err(CodecError::Protocol("a packet that only the other side may send"));
        }
        if expects_connect && kind != CONNECT {
            return Err(CodecError::Protocol("the first packet is not CONNECT"));
        }
        if kind == PUBLISH && self.first & 0b1110 == 0b1000 {
            return Err(CodecError::Malformed("DUP with QoS 0"));
        }
        // Here and not with the body: whoever speaks another protocol may never send that much.
        let reserved = if matches!(kind, PUBREL | SUBSCRIBE | UNSUBSCRIBE) { 0b0010 } else { 0 };
        if kind != PUBLISH && self.first & 0b1111 != reserved {
            return Err(CodecError::Malformed("flags"));
        }
        Ok(())
    }
}

/// The protocol level of a CONNECT.
pub(super) fn protocol_level(connect: &[u8]) -> Result<u8, CodecError> {
    match connect {
        [0, 4, b'M', b'Q', b'T', b'T', level, ..] => Ok(*level),
        // Version 3.1 has a name of its own.
        [0, 6, b'M', b'Q', b'I', b's', b'd', b'p', ..] => Ok(3),
        _ => Err(CodecError::Protocol("not the protocol's name")),
    }
}

/// Checks the body of a 3.1.1 packet.
pub(super) fn v3(header: &Header, body: &[u8]) -> Result<(), CodecError> {
    match header.kind() {
        CONNECT => {
            let flags = body.get(CONNECT_FLAGS_AT).copied().unwrap_or(0);
            if flags & (USERNAME | PASSWORD) == PASSWORD {
                return Err(CodecError::Malformed("a password without user name"));
            }
            Ok(())
        }
        SUBSCRIBE => check_reserved_qos_bits(body.get(2..).unwrap_or(&[])),
        PINGREQ | PINGRESP | DISCONNECT => check_empty(body),
        _ => Ok(()),
    }
}

/// How much of an acknowledgement from a 3.1.1 server counts, in bytes of its body; `None` for all. Some
/// servers put a reason code behind the packet id, as 5.0 has it (mqtt5 0.49). One that says no is left
/// to be refused: 3.1.1 knows no such answer, and it must not pass for a yes.
pub(super) fn v3_ack_bytes(header: &Header, body: &[u8]) -> Option<usize> {
    const PACKET_ID_BYTES: usize = 2;
    let is_no = body.get(PACKET_ID_BYTES).is_some_and(|reason| *reason >= 0x80);
    let counts = match header.kind() {
        PUBACK | PUBREC => !is_no,
        PUBREL | PUBCOMP => true,
        _ => false,
    };
    (counts && body.len() > PACKET_ID_BYTES && body.len() < 128).then_some(PACKET_ID_BYTES)
}

/// Checks the body of a 5.0 packet. For a CONNECT, tells whether it asks for a clean start and sets
/// that flag: the crate refuses an empty client id without it, which 3.1.3.1 allows.
pub(super) fn v5(header: &Header, body: &mut [u8]) -> Result<bool, CodecError> {
    match header.kind() {
        CONNECT => {
            let Some(flags) = body.get_mut(CONNECT_FLAGS_AT) else {
                return Err(CodecError::Malformed("length"));
            };
            if *flags & WILL == 0 && *flags & WILL_QOS_AND_RETAIN != 0 {
                return Err(CodecError::Malformed("will flags without a will"));
            }
            let clean_start = *flags & CLEAN_START != 0;
            *flags |= CLEAN_START;
            Ok(clean_start)
        }
        PINGREQ | PINGRESP => check_empty(body).map(|()| false),
        _ => Ok(false),
    }
}

fn check_empty(body: &[u8]) -> Result<(), CodecError> {
    if body.is_empty() { Ok(()) } else { Err(CodecError::Malformed("a body where none belongs")) }
}

/// The six upper bits of each requested QoS must be 0 (3.1.1, 3.8.3). Broken lengths are left to
/// the crate.
fn check_reserved_qos_bits(mut filters: &[u8]) -> Result<(), CodecError> {
    while let [high, low, rest @ ..] = filters {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        match rest.get(length..) {
            Some([qos, next @ ..]) if qos & !0b11 == 0 => filters = next,
            Some([_, ..]) => return Err(CodecError::Malformed("reserved bits beside the QoS")),
            _ => break,
        }
    }
    Ok(())
}

/// Checks a decoded packet of either version.
pub(super) fn packet(packet: &Packet, to_server: bool) -> Result<(), CodecError> {
    match packet {
        Packet::Connect(connect) => match &connect.will {
            Some(will) => message(&will.message),
            None => Ok(()),
        },
        Packet::Publish(publish) => {
            if to_server && !publish.subscription_ids.is_empty() {
                return Err(CodecError::Protocol("a subscription identifier from a client"));
            }
            if publish.topic.is_empty() && publish.topic_alias.is_none() {
                return Err(CodecError::Protocol("neither topic nor alias"));
            }
            message(publish)
        }
        _ => Ok(()),
    }
}

/// Checks the topics of a message. The empty one of a publish with an alias passes.
fn message(publish: &Publish) -> Result<(), CodecError> {
    let aliased = publish.topic.is_empty() && publish.topic_alias.is_some();
    if !aliased && !topic::is_valid_name(&publish.topic) {
        return Err(CodecError::Topic);
    }
    match &publish.properties.response_topic {
        Some(topic) if !topic::is_valid_name(topic) => Err(CodecError::Protocol("response topic")),
        _ => Ok(()),
    }
}
