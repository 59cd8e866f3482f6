//! What the codec crate does not check.

mod properties;
mod reader;

use properties::{Found, Place};
use reader::Reader;

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
const AUTH: u8 = 15;

/// Bits of the flags of CONNECT (3.1.2.3).
const CLEAN_START: u8 = 0b0000_0010;
const WILL: u8 = 0b0000_0100;
const WILL_QOS_AND_RETAIN: u8 = 0b0011_1000;
const PASSWORD: u8 = 0b0100_0000;
const USERNAME: u8 = 0b1000_0000;

/// Where the flags stand in the body of a CONNECT: after name and level.
const CONNECT_FLAGS_AT: usize = 7;

/// Where the keep-alive of a CONNECT ends.
const CONNECT_KEEP_ALIVE_END: usize = CONNECT_FLAGS_AT + 3;

/// The fixed header of a packet.
pub(super) struct Header {
    first: u8,
    /// Where the body begins.
    pub(super) body: usize,
    /// Where the packet ends.
    pub(super) total: usize,
    /// The length takes no more bytes than it needs.
    is_shortest: bool,
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
                let is_shortest = byte != 0 || at == 0;
                return Ok(Some(Self { first, body, total: body + remaining, is_shortest }));
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
            0 => return Err(CodecError::Malformed("packet type")),
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
            let mut reader = Reader::new(body, CONNECT_KEEP_ALIVE_END);
            connect_payload(&mut reader, flags, |_| Ok(()))
        }
        SUBSCRIBE => subscriptions(Reader::new(body, 2), |options| {
            if options & !0b11 == 0 {
                Ok(())
            } else {
                Err(CodecError::Malformed("reserved bits beside the QoS"))
            }
        }),
        PINGREQ | PINGRESP | DISCONNECT => check_empty(body),
        AUTH => Err(CodecError::Malformed("packet type")),
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

/// What a 5.0 CONNECT says that concerns the codec.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) clean_start: bool,
    /// The client wants to be told in words why it is refused.
    pub(super) wants_words: bool,
    /// Bytes of the largest packet that it takes.
    pub(super) maximum_packet_size: Option<u32>,
}

/// Checks the body of a 5.0 packet from a client, and makes it fit for the crate, which is stricter than
/// the protocol in two places: an empty client id needs no clean start (3.1.3.1), and a message may
/// expire after 0 seconds (3.3.2.3.3); that becomes 1. Of a CONNECT, tells what concerns the codec.
pub(super) fn v5_from_client(header: &Header, body: &mut [u8]) -> Result<Option<Asked>, CodecError> {
    if !header.is_shortest {
        return Err(CodecError::Malformed("a length longer than need be"));
    }
    if header.kind() == CONNECT {
        let (asked, found) = connect_v5(body)?;
        if let Some(flags) = body.get_mut(CONNECT_FLAGS_AT) {
            *flags |= CLEAN_START;
        }
        lengthen_expiry(body, &found);
        return Ok(Some(asked));
    }
    let found = properties_of(header, body)?;
    lengthen_expiry(body, &found);
    Ok(None)
}

/// Checks the body of a 5.0 packet from a server. Clouds are given more leeway than clients.
pub(super) fn v5_from_server(header: &Header, body: &[u8]) -> Result<(), CodecError> {
    if header.kind() == PINGRESP { check_empty(body) } else { Ok(()) }
}

fn connect_v5(body: &[u8]) -> Result<(Asked, Found), CodecError> {
    let flags = body.get(CONNECT_FLAGS_AT).copied().ok_or(CodecError::Malformed("length"))?;
    if flags & WILL == 0 && flags & WILL_QOS_AND_RETAIN != 0 {
        return Err(CodecError::Malformed("will flags without a will"));
    }
    let mut reader = Reader::new(body, CONNECT_KEEP_ALIVE_END);
    let found = properties::walk(&mut reader, Place::Connect)?;
    let mut of_will = Found::default();
    connect_payload(&mut reader, flags, |reader| {
        of_will = properties::walk(reader, Place::Will)?;
        Ok(())
    })?;
    let asked = Asked {
        clean_start: flags & CLEAN_START != 0,
        wants_words: !found.no_words,
        maximum_packet_size: found.maximum_packet_size,
    };
    Ok((asked, of_will))
}

/// Reads the payload of a CONNECT (3.1.3): nothing else may stand in it than what the flags say.
fn connect_payload(
    reader: &mut Reader<'_>,
    flags: u8,
    will_properties: impl FnOnce(&mut Reader<'_>) -> Result<(), CodecError>,
) -> Result<(), CodecError> {
    reader.text()?;
    if flags & WILL != 0 {
        will_properties(reader)?;
        reader.text()?;
        reader.binary()?;
    }
    if flags & USERNAME != 0 {
        reader.text()?;
    }
    if flags & PASSWORD != 0 {
        reader.binary()?;
    }
    reader.expect_end()
}

/// Walks the properties of a 5.0 packet that is no CONNECT.
fn properties_of(header: &Header, body: &[u8]) -> Result<Found, CodecError> {
    match header.kind() {
        PUBLISH => {
            let mut reader = Reader::new(body, 0);
            reader.text()?;
            if header.first & 0b0110 != 0 {
                reader.skip(2)?;
            }
            properties::walk(&mut reader, Place::Publish)
        }
        PUBACK | PUBREC | PUBREL | PUBCOMP => last_properties(body, 3, Place::Ack),
        DISCONNECT => last_properties(body, 1, Place::Disconnect),
        AUTH => last_properties(body, 1, Place::Auth),
        SUBSCRIBE => {
            let mut reader = Reader::new(body, 2);
            let found = properties::walk(&mut reader, Place::Subscribe)?;
            subscriptions(reader, subscription_options)?;
            Ok(found)
        }
        UNSUBSCRIBE => properties::walk(&mut Reader::new(body, 2), Place::Unsubscribe),
        PINGREQ => check_empty(body).map(|()| Found::default()),
        _ => Ok(Found::default()),
    }
}

/// Properties that may be left out and that end the packet.
fn last_properties(body: &[u8], at: usize, place: Place) -> Result<Found, CodecError> {
    if body.len() <= at {
        return Ok(Found::default());
    }
    let mut reader = Reader::new(body, at);
    let found = properties::walk(&mut reader, place)?;
    reader.expect_end().map(|()| found)
}

fn lengthen_expiry(body: &mut [u8], found: &Found) {
    const SECONDS: usize = 4;
    let last = found.zero_expiry_at.and_then(|at| body.get_mut(at + SECONDS - 1));
    if let Some(last) = last {
        *last = 1;
    }
}

/// Looks at the options of each filter of a SUBSCRIBE.
fn subscriptions(
    mut reader: Reader<'_>,
    check: impl Fn(u8) -> Result<(), CodecError>,
) -> Result<(), CodecError> {
    while !reader.is_at_end() {
        reader.text()?;
        check(reader.u8()?)?;
    }
    Ok(())
}

/// The options of a 5.0 subscription (3.8.3.1).
fn subscription_options(options: u8) -> Result<(), CodecError> {
    if options & 0b1100_0000 != 0 {
        return Err(CodecError::Malformed("reserved bits of the subscription options"));
    }
    if options & 0b11 == 0b11 {
        return Err(CodecError::Protocol("a subscription with QoS 3"));
    }
    if options & 0b0011_0000 == 0b0011_0000 {
        return Err(CodecError::Protocol("no such retain handling"));
    }
    Ok(())
}

fn check_empty(body: &[u8]) -> Result<(), CodecError> {
    if body.is_empty() { Ok(()) } else { Err(CodecError::Malformed("a body where none belongs")) }
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
