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
mod object;
pub mod time;

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;

use crate::call::Answer;
use crate::clock::Wall;
use crate::mqtt::packet::{Publish, Qos};
use crate::reading::{Body, Event, EventKind, Loss, Message, MessageId, Reading, Stamp, Value, Whose};
use crate::topic::Topics;

pub use meta::{ChannelMeta, DeviceMeta};
use object::Object;
pub use object::line;

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

/// The payload of `result`: `at` is when it was known, `transaction` what the command had with it.
#[must_use]
pub fn result_json(answer: &Answer, transaction: Option<&Value>, at: Wall) -> Bytes {
    let mut json = Object::begin(0);
    json.text("ts", time::rfc3339(at.unix_us).as_str());
    json.quality(at, false);
    if let Some(transaction) = transaction {
        json.value("transaction", transaction);
    }
    json.text("status", answer.status());
    match answer {
        Answer::Done(given) => json.given(given),
        Answer::Declined { code, given } => {
            json.number("code", (*code).into());
            json.given(given);
        }
        Answer::Sent => {}
        Answer::Failed(why) => json.text("error", &why.to_string()),
    }
    json.end()
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

#[cfg(test)]
mod tests;
