//! The properties of a 5.0 packet from a client (MQTT 5.0, 2.2.2): whether they may stand where they
//! stand, once only where only one is allowed, and with values that are allowed. The codec crate finds
//! most of this too, but tells a Protocol Error and a Malformed Packet not apart, and does not look into
//! texts that it throws away.

use super::reader::Reader;
use crate::mqtt::codec::CodecError;

/// Where properties stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Connect,
    Will,
    Publish,
    /// PUBACK, PUBREC, PUBREL, PUBCOMP.
    Ack,
    Subscribe,
    Unsubscribe,
    Disconnect,
    Auth,
}

/// What the codec itself wants to know of them.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The client does not want to be told in words what is wrong (3.1.2.11.7).
    pub(super) no_words: bool,
    /// Bytes of the largest packet that the client takes.
    pub(super) maximum_packet_size: Option<u32>,
    /// Where in the body a message expiry of 0 stands.
    pub(super) zero_expiry_at: Option<usize>,
}

const PAYLOAD_FORMAT: u8 = 0x01;
const MESSAGE_EXPIRY: u8 = 0x02;
const CONTENT_TYPE: u8 = 0x03;
const RESPONSE_TOPIC: u8 = 0x08;
const CORRELATION_DATA: u8 = 0x09;
const SUBSCRIPTION_ID: u8 = 0x0B;
const SESSION_EXPIRY: u8 = 0x11;
const AUTH_METHOD: u8 = 0x15;
const AUTH_DATA: u8 = 0x16;
const PROBLEM_INFORMATION: u8 = 0x17;
const WILL_DELAY: u8 = 0x18;
const RESPONSE_INFORMATION: u8 = 0x19;
const REASON_STRING: u8 = 0x1F;
const RECEIVE_MAXIMUM: u8 = 0x21;
const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
const TOPIC_ALIAS: u8 = 0x23;
const USER_PROPERTY: u8 = 0x26;
const MAXIMUM_PACKET_SIZE: u8 = 0x27;

/// Most bytes of one block. A user property of seven bytes costs thirty times that in memory.
const MAX_BYTES: usize = 128 << 10;

/// Walks one block of properties, its length first.
pub(super) fn walk(reader: &mut Reader<'_>, place: Place) -> Result<Found, CodecError> {
    let length = usize::try_from(reader.variable()?).unwrap_or(usize::MAX);
    if length > MAX_BYTES {
        return Err(CodecError::TooLarge { bytes: length, limit: MAX_BYTES });
    }
    let end = reader.position().saturating_add(length);
    let (mut found, mut seen) = (Found::default(), 0_u64);
    while reader.position() < end {
        let id = reader.u8()?;
        if !may_stand(id, place) {
            return Err(CodecError::Malformed("a property that does not belong there"));
        }
        let bit = 1 << id;
        if seen & bit != 0 && id != USER_PROPERTY {
            return Err(CodecError::Protocol("the same property twice"));
        }
        seen |= bit;
        value(id, reader, &mut found)?;
    }
    if reader.position() != end {
        return Err(CodecError::Malformed("length of the properties"));
    }
    if seen & (1 << AUTH_DATA) != 0 && seen & (1 << AUTH_METHOD) == 0 {
        return Err(CodecError::Protocol("authentication data without a method"));
    }
    Ok(found)
}

/// Whether a client may send the property in that place (MQTT 5.0, table 2-4).
fn may_stand(id: u8, place: Place) -> bool {
    match id {
        PAYLOAD_FORMAT | MESSAGE_EXPIRY | CONTENT_TYPE | RESPONSE_TOPIC | CORRELATION_DATA => {
            matches!(place, Place::Publish | Place::Will)
        }
        // In a PUBLISH only the server may send it; that is a Protocol Error and no malformed packet.
        SUBSCRIPTION_ID => matches!(place, Place::Subscribe | Place::Publish),
        SESSION_EXPIRY => matches!(place, Place::Connect | Place::Disconnect),
        AUTH_METHOD | AUTH_DATA => matches!(place, Place::Connect | Place::Auth),
        PROBLEM_INFORMATION | RESPONSE_INFORMATION | RECEIVE_MAXIMUM | TOPIC_ALIAS_MAXIMUM
        | MAXIMUM_PACKET_SIZE => place == Place::Connect,
        WILL_DELAY => place == Place::Will,
        REASON_STRING => matches!(place, Place::Ack | Place::Disconnect | Place::Auth),
        TOPIC_ALIAS => place == Place::Publish,
        USER_PROPERTY => true,
        _ => false,
    }
}

/// Reads one property's value.
fn value(id: u8, reader: &mut Reader<'_>, found: &mut Found) -> Result<(), CodecError> {
    match id {
        PAYLOAD_FORMAT | RESPONSE_INFORMATION => flag(reader).map(|_| ()),
        PROBLEM_INFORMATION => {
            found.no_words = !flag(reader)?;
            Ok(())
        }
        MESSAGE_EXPIRY => {
            let at = reader.position();
            if reader.u32()? == 0 {
                found.zero_expiry_at = Some(at);
            }
            Ok(())
        }
        SESSION_EXPIRY | WILL_DELAY => reader.u32().map(|_| ()),
        MAXIMUM_PACKET_SIZE => {
            let bytes = reader.u32()?;
            found.maximum_packet_size = Some(bytes);
            not_zero(bytes, "a maximum packet size of 0")
        }
        SUBSCRIPTION_ID => not_zero(reader.variable()?, "a subscription identifier of 0"),
        RECEIVE_MAXIMUM => not_zero(reader.u16()?.into(), "a receive maximum of 0"),
        TOPIC_ALIAS if reader.u16()? == 0 => Err(CodecError::TopicAlias),
        TOPIC_ALIAS => Ok(()),
        TOPIC_ALIAS_MAXIMUM => reader.u16().map(|_| ()),
        CORRELATION_DATA | AUTH_DATA => reader.binary().map(|_| ()),
        USER_PROPERTY => reader.text().and_then(|_| reader.text()).map(|_| ()),
        _ => reader.text().map(|_| ()),
    }
}

fn flag(reader: &mut Reader<'_>) -> Result<bool, CodecError> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(CodecError::Protocol("a property that can be 0 or 1 only")),
    }
}

fn not_zero(value: u32, what: &'static str) -> Result<(), CodecError> {
    if value == 0 { Err(CodecError::Protocol(what)) } else { Ok(()) }
}
