//! What our messages look like on the wire: topic, payload, QoS, retain flag and id.
//!
//! Payloads are compact JSON objects. The keys come in a fixed order: `ts`, `seq` (readings only)
//! and `id`; then `late` and `ts_quality`, only where they hold; then the channels in the order in
//! which the device sent them.
//!
//! Keys are unique. A channel that bears one of the [`RESERVED`] names gets a trailing underscore
//! (`seq` becomes `seq_`), one whose name is already taken a number (`temp`, `temp_2`). Numbers are
//! written from their decimal form, so `23.40` stays `23.40`.
//!
//! This is the hot path: everything is written straight into one buffer.

mod meta;
pub mod time;

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Display;
use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use crate::clock::Wall;
use crate::mqtt::packet::{Publish, Qos};
use crate::reading::{Body, Event, EventKind, Loss, Message, MessageId, Reading, Stamp, Value, Whose};
use crate::topic::Topics;

pub use meta::{ChannelMeta, DeviceMeta};

/// Keys that a channel cannot have.
pub const RESERVED: [&str; 5] = ["ts", "seq", "id", "late", "ts_quality"];

/// Name of the MQTT 5 user property that carries the message id.
pub const ID_PROPERTY: &str = "id";

/// The message for `body`, without a packet id; `late` says that it waited. `wall` tells
/// the wall time of the moment at which it was sampled or noticed. A LAN client's message is
/// passed on untouched.
#[must_use]
pub fn publish(body: &Body, wall: impl Fn(Stamp) -> Wall, late: bool, topics: &Topics) -> Publish {
    let topic = topic(body, topics);
    match body {
        Body::Reading(reading) => own(topic, reading_json(reading, wall(reading.at), late), &reading.id),
        Body::Event(event) => own(topic, event_json(event, wall, late), &event.id),
        Body::Message(message) => pass_on(topic, message),
    }
}

/// The message for several readings of `device`, without a packet id: a JSON array of what each would be
/// alone. Each comes with whether it waited. The ids stand in the objects, and in no property.
#[must_use]
pub fn batch<'a>(
    device: &str,
    readings: impl Iterator<Item = (&'a Reading, bool)>,
    wall: impl Fn(Stamp) -> Wall,
    topics: &Topics,
) -> Publish {
    let mut payload = Vec::new();
    for (reading, late) in readings {
        payload.push(if payload.is_empty() { b'[' } else { b',' });
        payload.extend_from_slice(&reading_json(reading, wall(reading.at), late));
    }
    payload.push(b']');
    Publish::new(topics.data(device), payload, Qos::AtLeastOnce, false)
}

/// Where `body` is published.
#[must_use]
pub fn topic(body: &Body, topics: &Topics) -> Arc<str> {
    match body {
        Body::Reading(reading) => topics.data(&reading.device).into(),
        Body::Event(_) => topics.event().into(),
        Body::Message(message) => Arc::clone(&message.topic),
    }
}

fn own(topic: Arc<str>, payload: Bytes, id: &MessageId) -> Publish {
    let mut publish = Publish::new(topic, payload, Qos::AtLeastOnce, false);
    publish.properties.user.push((ID_PROPERTY.into(), id.to_string().into()));
    publish
}

fn pass_on(topic: Arc<str>, message: &Message) -> Publish {
    let mut publish = Publish::new(topic, message.payload.clone(), Qos::from(message.qos), message.retain);
    publish.properties = message.properties.clone();
    publish
}

/// The payload of `data`, and of `state` when `late` is false.
#[must_use]
pub fn reading_json(reading: &Reading, wall: Wall, late: bool) -> Bytes {
    let mut json = Object::begin(reading.values.len());
    json.text("ts", time::rfc3339(wall.unix_us).as_str());
    json.number("seq", reading.seq);
    json.id(&reading.id);
    json.quality(wall, late);
    let names = reading.values.iter().map(|(name, _)| &**name);
    match unique_keys(names.clone()) {
        None => names.zip(&reading.values).for_each(|(key, (_, value))| json.value(key, value)),
        Some(keys) => keys.iter().zip(&reading.values).for_each(|(key, (_, value))| json.value(key, value)),
    }
    json.end()
}

/// The payload of `event`.
#[must_use]
pub fn event_json(event: &Event, wall: impl Fn(Stamp) -> Wall, late: bool) -> Bytes {
    let mut json = Object::begin(0);
    let at = wall(event.at);
    json.text("ts", time::rfc3339(at.unix_us).as_str());
    json.id(&event.id);
    let told = match &event.kind {
        EventKind::Lost(Loss { span: Some((from, to)), .. }) => [*from, *to].map(&wall).to_vec(),
        _ => Vec::new(),
    };
    let estimated = at.estimated || told.iter().any(|wall| wall.estimated);
    json.quality(Wall { estimated, ..at }, late);
    match &event.kind {
        EventKind::Gap { device, from_seq, to_seq, lost, reason } => {
            json.text("event", "gap");
            json.text("device", device);
            json.number("from_seq", *from_seq);
            json.number("to_seq", *to_seq);
            json.number("lost", *lost);
            json.text("reason", reason.as_str());
        }
        EventKind::Quarantine { path, reason } => {
            json.text("event", "quarantine");
            json.text("path", path);
            json.text("reason", reason);
        }
        EventKind::Salvage { path, recovered, lost } => {
            json.text("event", "salvage");
            json.text("path", path);
            json.number("recovered", *recovered);
            json.number("lost", *lost);
        }
        EventKind::Broker { state, reason } => {
            json.text("event", "broker");
            json.text("state", state);
            if let Some(reason) = reason {
                json.text("reason", reason);
            }
        }
        EventKind::Port { path, state } => {
            json.text("event", "port");
            json.text("path", path);
            json.text("state", state);
        }
        EventKind::Bridge { name, state, reason } => {
            json.text("event", "bridge");
            json.text("name", name);
            json.text("state", state);
            if let Some(reason) = reason {
                json.text("reason", reason);
            }
        }
        EventKind::Lost(loss) => lost(&mut json, loss, &told),
    }
    json.end()
}

/// `span` is the wall time of the loss, if it has one.
fn lost(json: &mut Object, loss: &Loss, span: &[Wall]) {
    json.text("event", "gap");
    match &loss.of {
        Whose::Device { device, from_seq, to_seq } => {
            json.text("device", device);
            json.number("from_seq", *from_seq);
            json.number("to_seq", *to_seq);
        }
        Whose::Topic(topic) => json.text("topic", topic),
        Whose::Unknown => {}
    }
    for (key, wall) in ["from_ts", "to_ts"].iter().zip(span) {
        json.text(key, time::rfc3339(wall.unix_us).as_str());
    }
    json.number("lost", loss.lost);
    json.text("reason", loss.reason.as_str());
}

/// Up to this many channels the search for clashing names compares each with each.
const FEW_CHANNELS: usize = 24;

/// The keys for channels of these names, or `None` where each name can be its own key.
fn unique_keys<'a>(names: impl ExactSizeIterator<Item = &'a str> + Clone) -> Option<Vec<Cow<'a, str>>> {
    let reserved = names.clone().any(|name| RESERVED.contains(&name));
    let clash = reserved
        || if names.len() <= FEW_CHANNELS {
            names.clone().enumerate().any(|(i, name)| names.clone().take(i).any(|other| other == name))
        } else {
            let mut seen = HashSet::with_capacity(names.len());
            !names.clone().all(|name| seen.insert(name))
        };
    clash.then(|| resolve(names))
}

fn resolve<'a>(names: impl Iterator<Item = &'a str>) -> Vec<Cow<'a, str>> {
    let mut used: HashSet<Cow<'a, str>> = HashSet::new();
    let mut next = std::collections::HashMap::<&str, u32>::new();
    let mut keys = Vec::new();
    for name in names {
        let mut key: Cow<'a, str> =
            if RESERVED.contains(&name) { format!("{name}_").into() } else { name.into() };
        while used.contains(&key) {
            let number = next.entry(name).or_insert(1);
            *number += 1;
            key = format!("{name}_{number}").into();
        }
        used.insert(key.clone());
        keys.push(key);
    }
    keys
}

/// A JSON object in the making.
struct Object(Vec<u8>);

/// Room for the keys that every object has, and then for each channel; in bytes.
const ROOM: (usize, usize) = (128, 24);

impl Object {
    fn begin(channels: usize) -> Self {
        Self(Vec::with_capacity(ROOM.0 + ROOM.1 * channels))
    }

    fn end(mut self) -> Bytes {
        self.0.push(b'}');
        self.0.into()
    }

    /// `{` or `,`, then the key, which needs no escapes.
    fn plain_key(&mut self, key: &str) {
        self.0.extend_from_slice(if self.0.is_empty() { b"{\"" } else { b",\"" });
        self.0.extend_from_slice(key.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    fn text(&mut self, key: &str, text: &str) {
        self.plain_key(key);
        write_text(&mut self.0, text);
    }

    fn number(&mut self, key: &str, number: u64) {
        self.plain_key(key);
        self.0.extend_from_slice(Digits::of(number).as_bytes());
    }

    fn id(&mut self, id: &MessageId) {
        self.plain_key("id");
        self.0.push(b'"');
        write_display(&mut self.0, id);
        self.0.push(b'"');
    }

    fn quality(&mut self, wall: Wall, late: bool) {
        if late {
            self.plain_key("late");
            self.0.extend_from_slice(b"true");
        }
        if wall.estimated {
            self.text("ts_quality", "estimated");
        }
    }

    fn value(&mut self, key: &str, value: &Value) {
        self.0.push(b',');
        write_text(&mut self.0, key);
        self.0.push(b':');
        let out = &mut self.0;
        match value {
            Value::Null => out.extend_from_slice(b"null"),
            Value::Bool(true) => out.extend_from_slice(b"true"),
            Value::Bool(false) => out.extend_from_slice(b"false"),
            Value::Decimal { mantissa, exponent } => write_decimal(out, *mantissa, *exponent),
            Value::F32(number) => write_json(out, number),
            Value::F64(number) => write_json(out, number),
            Value::Text(text) => write_text(out, text),
            Value::Bytes(bytes) => write_hex(out, bytes),
            Value::Json(json) => out.extend_from_slice(json.as_bytes()),
        }
    }
}

/// Text in quotes. Almost all text needs no escapes: only the rest takes the long way.
fn write_text(out: &mut Vec<u8>, text: &str) {
    if text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        write_json(out, text);
    }
}

/// As JSON; numbers that JSON does not know become `null`. Writing to memory does not fail.
fn write_json(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    let written = serde_json::to_writer(&mut *out, value);
    debug_assert!(written.is_ok(), "numbers and text always serialise");
}

fn write_display(out: &mut Vec<u8>, value: &impl Display) {
    let written = write!(out, "{value}");
    debug_assert!(written.is_ok(), "writing to memory does not fail");
}

fn write_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const HEX: [u8; 16] = *b"0123456789abcdef";
    out.push(b'"');
    for byte in bytes {
        out.extend([HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
    out.push(b'"');
}

/// `mantissa × 10^exponent`, exactly, without an exponent of its own.
fn write_decimal(out: &mut Vec<u8>, mantissa: i64, exponent: i8) {
    if mantissa < 0 {
        out.push(b'-');
    }
    let digits = Digits::of(mantissa.unsigned_abs());
    let digits = digits.as_bytes();
    let places = usize::from(exponent.unsigned_abs());
    if exponent >= 0 {
        out.extend_from_slice(digits);
        let zeros = if mantissa == 0 { 0 } else { places };
        out.extend(std::iter::repeat_n(b'0', zeros));
    } else if let Some((whole, fraction)) = digits
        .len()
        .checked_sub(places)
        .filter(|whole| *whole > 0)
        .and_then(|whole| digits.split_at_checked(whole))
    {
        out.extend_from_slice(whole);
        out.push(b'.');
        out.extend_from_slice(fraction);
    } else {
        out.extend_from_slice(b"0.");
        out.extend(std::iter::repeat_n(b'0', places.saturating_sub(digits.len())));
        out.extend_from_slice(digits);
    }
}

/// The decimal digits of a number, without a heap.
struct Digits {
    buffer: [u8; Digits::MAX],
    from: usize,
}

impl Digits {
    /// Digits of `u64::MAX`.
    const MAX: usize = 20;

    fn of(mut number: u64) -> Self {
        let (mut buffer, mut from) = ([b'0'; Self::MAX], Self::MAX);
        for (place, digit) in buffer.iter_mut().enumerate().rev() {
            *digit += u8::try_from(number % 10).unwrap_or_default();
            from = place;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        Self { buffer, from }
    }

    fn as_bytes(&self) -> &[u8] {
        self.buffer.get(self.from..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
