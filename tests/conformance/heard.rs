//! What the broker says, taken apart byte by byte. Whatever a server must not send fails the test that
//! hears it: flags that are reserved, lengths longer than need be, properties in the wrong place or
//! twice, reason codes that the packet does not have.

use super::packet::*;

/// A packet from the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    ConnAck {
        present: bool,
        code: u8,
        properties: Properties,
    },
    Publish(Message),
    /// PUBACK, PUBREC, PUBREL or PUBCOMP, by its first byte.
    Ack {
        first: u8,
        id: u16,
        code: u8,
    },
    SubAck {
        id: u16,
        codes: Vec<u8>,
    },
    /// Without codes over 3.1.1.
    UnsubAck {
        id: u16,
        codes: Vec<u8>,
    },
    PingResp,
    Disconnect {
        code: u8,
        properties: Properties,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) dup: bool,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) topic: String,
    pub(crate) id: u16,
    pub(crate) properties: Properties,
    pub(crate) payload: String,
}

/// Properties, in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Properties(Vec<(u8, Value)>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Number(u32),
    Bytes(Vec<u8>),
    Pair(String, String),
}

impl Properties {
    pub(crate) fn numbers(&self, id: u8) -> Vec<u32> {
        let number = |(known, value): &(u8, Value)| match value {
            Value::Number(number) if *known == id => Some(*number),
            _ => None,
        };
        self.0.iter().filter_map(number).collect()
    }

    pub(crate) fn number(&self, id: u8) -> Option<u32> {
        self.numbers(id).first().copied()
    }

    pub(crate) fn bytes(&self, id: u8) -> Option<&[u8]> {
        self.0.iter().find_map(|(known, value)| match value {
            Value::Bytes(bytes) if *known == id => Some(&bytes[..]),
            _ => None,
        })
    }

    pub(crate) fn text(&self, id: u8) -> Option<&str> {
        self.bytes(id).map(|bytes| std::str::from_utf8(bytes).unwrap())
    }

    pub(crate) fn users(&self) -> Vec<(&str, &str)> {
        let pair = |(_, value): &'_ (u8, Value)| matches!(value, Value::Pair(..));
        let pairs = self.0.iter().filter(|property| pair(property));
        pairs
            .map(|(_, value)| if let Value::Pair(key, value) = value { (&**key, &**value) } else { ("", "") })
            .collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Where the bytes of one packet end; `None` when they are not all there yet.
pub(crate) fn length(bytes: &[u8]) -> Option<usize> {
    let mut at = 1;
    let remaining = variable_at(bytes, &mut at)?;
    let end = at + usize::try_from(remaining).unwrap();
    (bytes.len() >= end).then_some(end)
}

fn variable_at(bytes: &[u8], at: &mut usize) -> Option<u32> {
    let (start, mut value) = (*at, 0);
    loop {
        let byte = *bytes.get(*at)?;
        assert!(*at - start < 4, "a number of five bytes");
        value |= u32::from(byte & 0x7F) << (7 * (*at - start));
        *at += 1;
        if byte & 0x80 == 0 {
            assert!(byte != 0 || *at - start == 1, "a number longer than need be");
            return Some(value);
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(bytes);
        self.0 = rest;
        taken
    }

    fn u8(&mut self) -> u8 {
        self.take(1)[0]
    }

    fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.take(2).try_into().unwrap())
    }

    fn binary(&mut self) -> Vec<u8> {
        let length = self.u16();
        self.take(length.into()).to_vec()
    }

    fn text(&mut self) -> String {
        let text = String::from_utf8(self.binary()).expect("UTF-8");
        assert!(!text.contains('\0'), "NUL in a text");
        text
    }

    fn variable(&mut self) -> u32 {
        let mut at = 0;
        let value = variable_at(self.0, &mut at).unwrap();
        self.take(at);
        value
    }

    fn properties(&mut self, allowed: &[u8]) -> Properties {
        let length = self.variable();
        let mut block = Reader(self.take(usize::try_from(length).unwrap()));
        let mut properties: Vec<(u8, Value)> = Vec::new();
        while !block.0.is_empty() {
            let id = block.u8();
            assert!(allowed.contains(&id), "property {id:#x} does not belong here");
            let may_repeat = matches!(id, USER_PROPERTY | SUBSCRIPTION_ID);
            assert!(may_repeat || properties.iter().all(|(known, _)| *known != id), "property {id:#x} twice");
            properties.push((id, block.value(id)));
        }
        Properties(properties)
    }

    fn value(&mut self, id: u8) -> Value {
        match id {
            PAYLOAD_FORMAT
            | MAXIMUM_QOS
            | RETAIN_AVAILABLE
            | WILDCARDS_AVAILABLE
            | SUBSCRIPTION_IDS_AVAILABLE
            | SHARED_AVAILABLE => {
                let value = self.u8();
                assert!(value <= 1, "{value} in property {id:#x}");
                Value::Number(value.into())
            }
            MESSAGE_EXPIRY | SESSION_EXPIRY | MAXIMUM_PACKET_SIZE => {
                Value::Number(u32::from_be_bytes(self.take(4).try_into().unwrap()))
            }
            SERVER_KEEP_ALIVE | RECEIVE_MAXIMUM | TOPIC_ALIAS_MAXIMUM | TOPIC_ALIAS => {
                Value::Number(self.u16().into())
            }
            SUBSCRIPTION_ID => Value::Number(self.variable()),
            USER_PROPERTY => Value::Pair(self.text(), self.text()),
            CORRELATION_DATA | AUTH_DATA => Value::Bytes(self.binary()),
            _ => Value::Bytes(self.text().into_bytes()),
        }
    }
}

/// Takes one whole packet apart.
pub(crate) fn parse(version: u8, bytes: &[u8]) -> Heard {
    let mut at = 1;
    variable_at(bytes, &mut at).unwrap();
    let mut body = Reader(&bytes[at..]);
    let heard = match bytes[0] {
        0x20 => connack(version, &mut body),
        first if first >> 4 == 3 => Heard::Publish(publish(version, first, &mut body)),
        first @ (PUBACK | PUBREC | PUBREL | PUBCOMP) => ack(version, first, &mut body),
        0x90 => {
            let (id, codes) = answers(version, &mut body);
            let all = if version == V5 { &SUBACK_CODES[..] } else { &[0, 1, 2, 0x80] };
            assert!(codes.iter().all(|code| all.contains(code)), "{codes:x?}");
            Heard::SubAck { id, codes }
        }
        0xB0 => {
            let (id, codes) = answers(version, &mut body);
            assert!(codes.iter().all(|code| UNSUBACK_CODES.contains(code)), "{codes:x?}");
            assert_eq!(codes.is_empty(), version == V3, "reason codes are for 5.0");
            Heard::UnsubAck { id, codes }
        }
        0xD0 => Heard::PingResp,
        DISCONNECT => {
            assert_eq!(version, V5, "only a 5.0 server says DISCONNECT");
            let code = if body.0.is_empty() { 0 } else { body.u8() };
            assert!(DISCONNECT_CODES.contains(&code), "{code:#x}");
            let allowed = [REASON_STRING, USER_PROPERTY, SERVER_REFERENCE];
            let properties =
                if body.0.is_empty() { Properties::default() } else { body.properties(&allowed) };
            Heard::Disconnect { code, properties }
        }
        first => panic!("the broker sent a packet that begins with {first:#x}"),
    };
    assert!(body.0.is_empty(), "bytes behind the packet {heard:?}");
    heard
}

fn connack(version: u8, body: &mut Reader<'_>) -> Heard {
    let flags = body.u8();
    assert!(flags <= 1, "reserved flags of CONNACK: {flags:#x}");
    let code = body.u8();
    let codes = if version == V5 { &CONNACK_CODES[..] } else { &[0, 1, 2, 3, 4, 5] };
    assert!(codes.contains(&code), "{code:#x}");
    assert!(flags == 0 || code == 0, "a session is present only where the client is accepted");
    let properties = if version == V5 {
        body.properties(&[
            SESSION_EXPIRY,
            RECEIVE_MAXIMUM,
            MAXIMUM_QOS,
            RETAIN_AVAILABLE,
            MAXIMUM_PACKET_SIZE,
            ASSIGNED_CLIENT_ID,
            TOPIC_ALIAS_MAXIMUM,
            REASON_STRING,
            USER_PROPERTY,
            WILDCARDS_AVAILABLE,
            SUBSCRIPTION_IDS_AVAILABLE,
            SHARED_AVAILABLE,
            SERVER_KEEP_ALIVE,
            RESPONSE_INFORMATION,
            SERVER_REFERENCE,
            AUTH_METHOD,
            AUTH_DATA,
        ])
    } else {
        Properties::default()
    };
    Heard::ConnAck { present: flags == 1, code, properties }
}

fn publish(version: u8, first: u8, body: &mut Reader<'_>) -> Message {
    let (dup, qos, retain) = (first & 8 != 0, first >> 1 & 3, first & 1 != 0);
    assert!(qos < 3, "QoS 3");
    assert!(qos > 0 || !dup, "DUP with QoS 0");
    let topic = body.text();
    assert!(!topic.contains(['+', '#']), "a wildcard in {topic}");
    let id = if qos > 0 { body.u16() } else { 0 };
    assert!(qos == 0 || id > 0, "packet id 0");
    let properties = if version == V5 {
        body.properties(&[
            PAYLOAD_FORMAT,
            MESSAGE_EXPIRY,
            TOPIC_ALIAS,
            RESPONSE_TOPIC,
            CORRELATION_DATA,
            USER_PROPERTY,
            SUBSCRIPTION_ID,
            CONTENT_TYPE,
        ])
    } else {
        Properties::default()
    };
    assert!(!topic.is_empty() || properties.number(TOPIC_ALIAS).is_some(), "neither topic nor alias");
    assert_ne!(properties.number(TOPIC_ALIAS), Some(0), "topic alias 0");
    let rest = body.0.len();
    let payload = String::from_utf8_lossy(body.take(rest)).into_owned();
    Message { dup, qos, retain, topic, id, properties, payload }
}

fn ack(version: u8, first: u8, body: &mut Reader<'_>) -> Heard {
    let id = body.u16();
    assert!(id > 0, "packet id 0");
    let code = if body.0.is_empty() { 0 } else { body.u8() };
    assert!(version == V5 || code == 0, "reason codes are for 5.0");
    let codes = match first {
        PUBACK | PUBREC => &[0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99][..],
        _ => &[0, 0x92],
    };
    assert!(codes.contains(&code), "{code:#x}");
    if !body.0.is_empty() {
        body.properties(&[REASON_STRING, USER_PROPERTY]);
    }
    Heard::Ack { first, id, code }
}

fn answers(version: u8, body: &mut Reader<'_>) -> (u16, Vec<u8>) {
    let id = body.u16();
    if version == V5 {
        body.properties(&[REASON_STRING, USER_PROPERTY]);
    }
    let rest = body.0.len();
    (id, body.take(rest).to_vec())
}

const CONNACK_CODES: [u8; 22] = [
    0, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95, 0x97, 0x99, 0x9A,
    0x9B, 0x9C, 0x9D, 0x9F,
];
const SUBACK_CODES: [u8; 12] = [0, 1, 2, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2];
const UNSUBACK_CODES: [u8; 7] = [0, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91];
const DISCONNECT_CODES: [u8; 28] = [
    0, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98,
    0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2,
];
