//! Packets as bytes, put together by hand: nothing here knows the codec under test.

/// MQTT 3.1.1 and 5.0, by their protocol levels.
pub(crate) const V3: u8 = 4;
pub(crate) const V5: u8 = 5;
pub(crate) const BOTH: [u8; 2] = [V3, V5];

/// First bytes of packets whose flags are fixed.
pub(crate) const PUBACK: u8 = 0x40;
pub(crate) const PUBREC: u8 = 0x50;
pub(crate) const PUBREL: u8 = 0x62;
pub(crate) const PUBCOMP: u8 = 0x70;
pub(crate) const SUBSCRIBE: u8 = 0x82;
pub(crate) const UNSUBSCRIBE: u8 = 0xA2;
pub(crate) const PINGREQ: [u8; 2] = [0xC0, 0];
pub(crate) const DISCONNECT: u8 = 0xE0;
pub(crate) const AUTH: u8 = 0xF0;

/// Identifiers of properties (MQTT 5.0, 2.2.2.2).
pub(crate) const PAYLOAD_FORMAT: u8 = 0x01;
pub(crate) const MESSAGE_EXPIRY: u8 = 0x02;
pub(crate) const CONTENT_TYPE: u8 = 0x03;
pub(crate) const RESPONSE_TOPIC: u8 = 0x08;
pub(crate) const CORRELATION_DATA: u8 = 0x09;
pub(crate) const SUBSCRIPTION_ID: u8 = 0x0B;
pub(crate) const SESSION_EXPIRY: u8 = 0x11;
pub(crate) const ASSIGNED_CLIENT_ID: u8 = 0x12;
pub(crate) const SERVER_KEEP_ALIVE: u8 = 0x13;
pub(crate) const AUTH_METHOD: u8 = 0x15;
pub(crate) const AUTH_DATA: u8 = 0x16;
pub(crate) const PROBLEM_INFORMATION: u8 = 0x17;
pub(crate) const WILL_DELAY: u8 = 0x18;
pub(crate) const REQUEST_RESPONSE_INFORMATION: u8 = 0x19;
pub(crate) const RESPONSE_INFORMATION: u8 = 0x1A;
pub(crate) const SERVER_REFERENCE: u8 = 0x1C;
pub(crate) const REASON_STRING: u8 = 0x1F;
pub(crate) const RECEIVE_MAXIMUM: u8 = 0x21;
pub(crate) const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
pub(crate) const TOPIC_ALIAS: u8 = 0x23;
pub(crate) const MAXIMUM_QOS: u8 = 0x24;
pub(crate) const RETAIN_AVAILABLE: u8 = 0x25;
pub(crate) const USER_PROPERTY: u8 = 0x26;
pub(crate) const MAXIMUM_PACKET_SIZE: u8 = 0x27;
pub(crate) const WILDCARDS_AVAILABLE: u8 = 0x28;
pub(crate) const SUBSCRIPTION_IDS_AVAILABLE: u8 = 0x29;
pub(crate) const SHARED_AVAILABLE: u8 = 0x2A;

/// Bits of the options of a subscription.
pub(crate) const NO_LOCAL: u8 = 0x04;
pub(crate) const AS_PUBLISHED: u8 = 0x08;
pub(crate) const RETAINED_IF_NEW: u8 = 0x10;
pub(crate) const RETAINED_NEVER: u8 = 0x20;

/// A variable byte integer.
pub(crate) fn variable(mut value: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(value % 128).unwrap();
        value /= 128;
        bytes.push(if value > 0 { low | 0x80 } else { low });
        if value == 0 {
            return bytes;
        }
    }
}

/// A packet with this first byte and this body.
pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    [&[first], &variable(u32::try_from(body.len()).unwrap())[..], body].concat()
}

/// A text or binary data: two bytes of length before it.
pub(crate) fn text(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

/// Properties, with their length before them.
pub(crate) fn block(properties: &[u8]) -> Vec<u8> {
    [&variable(u32::try_from(properties.len()).unwrap())[..], properties].concat()
}

pub(crate) fn byte(id: u8, value: u8) -> Vec<u8> {
    vec![id, value]
}

pub(crate) fn two(id: u8, value: u16) -> Vec<u8> {
    [&[id], &value.to_be_bytes()[..]].concat()
}

pub(crate) fn four(id: u8, value: u32) -> Vec<u8> {
    [&[id], &value.to_be_bytes()[..]].concat()
}

pub(crate) fn number(id: u8, value: u32) -> Vec<u8> {
    [&[id], &variable(value)[..]].concat()
}

pub(crate) fn string(id: u8, value: impl AsRef<[u8]>) -> Vec<u8> {
    [&[id], &text(value)[..]].concat()
}

pub(crate) fn user(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Vec<u8> {
    [&[USER_PROPERTY], &text(key)[..], &text(value)[..]].concat()
}

/// A CONNECT, piece by piece.
#[derive(Clone)]
pub(crate) struct Connect {
    pub(crate) version: u8,
    pub(crate) name: Vec<u8>,
    pub(crate) level: u8,
    /// Instead of the flags that follow from the rest.
    pub(crate) flags: Option<u8>,
    pub(crate) clean: bool,
    pub(crate) keep_alive: u16,
    pub(crate) properties: Vec<u8>,
    pub(crate) id: Vec<u8>,
    pub(crate) will: Option<Will>,
    pub(crate) user: Option<Vec<u8>>,
    pub(crate) password: Option<Vec<u8>>,
    /// What does not belong there.
    pub(crate) tail: Vec<u8>,
}

#[derive(Clone)]
pub(crate) struct Will {
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) properties: Vec<u8>,
    pub(crate) topic: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

impl Will {
    pub(crate) fn new(topic: &str, payload: &str) -> Self {
        Self { qos: 1, retain: false, properties: Vec::new(), topic: topic.into(), payload: payload.into() }
    }
}

impl Connect {
    /// A clean session without keep-alive.
    pub(crate) fn new(version: u8, id: impl AsRef<[u8]>) -> Self {
        Self {
            version,
            name: b"MQTT".to_vec(),
            level: version,
            flags: None,
            clean: true,
            keep_alive: 0,
            properties: Vec::new(),
            id: id.as_ref().to_vec(),
            will: None,
            user: None,
            password: None,
            tail: Vec::new(),
        }
    }

    /// A session that lasts, and is resumed.
    pub(crate) fn lasting(version: u8, id: impl AsRef<[u8]>) -> Self {
        let properties = if version == V5 { four(SESSION_EXPIRY, 3600) } else { Vec::new() };
        Self { clean: false, properties, ..Self::new(version, id) }
    }

    pub(crate) fn with_properties(self, properties: impl AsRef<[u8]>) -> Self {
        Self { properties: [&self.properties[..], properties.as_ref()].concat(), ..self }
    }

    pub(crate) fn with_will(self, will: Will) -> Self {
        Self { will: Some(will), ..self }
    }

    fn flags(&self) -> u8 {
        let will = self.will.as_ref().map_or(0, |will| 0x04 | will.qos << 3 | u8::from(will.retain) << 5);
        let login = u8::from(self.user.is_some()) << 7 | u8::from(self.password.is_some()) << 6;
        u8::from(self.clean) << 1 | will | login
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut body = text(&self.name);
        body.extend([self.level, self.flags.unwrap_or_else(|| self.flags())]);
        body.extend(self.keep_alive.to_be_bytes());
        if self.version == V5 {
            body.extend(block(&self.properties));
        }
        body.extend(text(&self.id));
        if let Some(will) = &self.will {
            if self.version == V5 {
                body.extend(block(&will.properties));
            }
            body.extend(text(&will.topic));
            body.extend(text(&will.payload));
        }
        body.extend(self.user.iter().chain(&self.password).flat_map(text));
        body.extend(&self.tail);
        packet(0x10, &body)
    }
}

/// A PUBLISH.
#[derive(Clone)]
pub(crate) struct Publish {
    pub(crate) version: u8,
    pub(crate) dup: bool,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) topic: Vec<u8>,
    pub(crate) id: u16,
    pub(crate) properties: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

impl Publish {
    pub(crate) fn new(version: u8, topic: impl AsRef<[u8]>, payload: impl AsRef<[u8]>, qos: u8) -> Self {
        Self {
            version,
            dup: false,
            qos,
            retain: false,
            topic: topic.as_ref().to_vec(),
            id: 1,
            properties: Vec::new(),
            payload: payload.as_ref().to_vec(),
        }
    }

    pub(crate) fn retained(self) -> Self {
        Self { retain: true, ..self }
    }

    pub(crate) fn with_properties(self, properties: impl AsRef<[u8]>) -> Self {
        Self { properties: properties.as_ref().to_vec(), ..self }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut body = text(&self.topic);
        if self.qos > 0 {
            body.extend(self.id.to_be_bytes());
        }
        if self.version == V5 {
            body.extend(block(&self.properties));
        }
        body.extend(&self.payload);
        packet(0x30 | u8::from(self.dup) << 3 | self.qos << 1 | u8::from(self.retain), &body)
    }
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP of success, in the short form that both versions know.
pub(crate) fn ack(first: u8, id: u16) -> Vec<u8> {
    packet(first, &id.to_be_bytes())
}

/// The same over 5.0 with a reason code.
pub(crate) fn ack_with(first: u8, id: u16, code: u8) -> Vec<u8> {
    packet(first, &[&id.to_be_bytes()[..], &[code, 0]].concat())
}

/// SUBSCRIBE to filters with their options.
pub(crate) fn subscribe(version: u8, id: u16, properties: &[u8], filters: &[(&[u8], u8)]) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    if version == V5 {
        body.extend(block(properties));
    }
    for (filter, options) in filters {
        body.extend(text(filter));
        body.push(*options);
    }
    packet(SUBSCRIBE, &body)
}

/// UNSUBSCRIBE from filters.
pub(crate) fn unsubscribe(version: u8, id: u16, properties: &[u8], filters: &[&[u8]]) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    if version == V5 {
        body.extend(block(properties));
    }
    body.extend(filters.iter().flat_map(text));
    packet(UNSUBSCRIBE, &body)
}

/// DISCONNECT; over 3.1.1 it says nothing.
pub(crate) fn disconnect(version: u8, code: u8, properties: &[u8]) -> Vec<u8> {
    match version {
        V5 => packet(DISCONNECT, &[&[code], &block(properties)[..]].concat()),
        _ => packet(DISCONNECT, &[]),
    }
}
