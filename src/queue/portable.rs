//! Entries as text, to be carried from one queue to another: one JSON object per line.
//!
//! A line says all that is needed to have the entry back exactly: whose it is, its id, its wall time to
//! the microsecond and whether that is an estimate, and its values with their type and every digit.
//! Version 1; a version never changes its meaning. The format is described in `docs/queue.md`.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::clock::Wall;
use crate::reading::{
    Body, Epoch, Event, EventKind, Expiry, Message, MessageId, Properties, Reading, Stamp, Uid, Value,
};
use crate::topic;

mod values;

use values::{PortableValue, decode, encode};

/// The version that is written.
pub const VERSION: u64 = 1;

/// Why a line is not an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadLine(pub String);

fn bad(what: impl Into<String>) -> BadLine {
    BadLine(what.into())
}

/// A line, by kind.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Line {
    Reading(ReadingLine),
    Event(EventLine),
    Message(MessageLine),
}

/// What every line begins with.
#[derive(Debug, Deserialize)]
struct Head {
    v: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadingLine {
    v: u64,
    device: String,
    id: String,
    seq: u64,
    unix_us: i64,
    estimated: bool,
    values: Vec<PortableValue>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EventLine {
    v: u64,
    id: String,
    unix_us: i64,
    estimated: bool,
    event: EventKind,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MessageLine {
    v: u64,
    topic: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
    qos: u8,
    retain: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_topic: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_base64: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    utf8: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    user: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expiry: Option<ExpiryLine>,
}

/// How long a message is of use: so many seconds from the time at which it was taken.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpiryLine {
    after_s: u32,
    unix_us: i64,
    estimated: bool,
}

/// `body` as a line, without a line feed; `wall` tells the wall time of a stamp.
///
/// # Errors
/// None that is known: text and numbers always serialise.
pub fn write(body: &Body, wall: impl Fn(Stamp) -> Wall) -> serde_json::Result<Box<RawValue>> {
    let line = match body {
        Body::Reading(reading) => {
            let Wall { unix_us, estimated } = wall(reading.at);
            Line::Reading(ReadingLine {
                v: VERSION,
                device: reading.device.to_string(),
                id: reading.id.to_string(),
                seq: reading.seq,
                unix_us,
                estimated,
                values: reading.values.iter().map(|(name, value)| encode(name, value)).collect(),
            })
        }
        Body::Event(event) => {
            let Wall { unix_us, estimated } = wall(event.at);
            let id = event.id.to_string();
            let event = to_wall(event, wall);
            Line::Event(EventLine { v: VERSION, id, unix_us, estimated, event })
        }
        Body::Message(message) => Line::Message(message_line(message, wall)),
    };
    serde_json::value::to_raw_value(&line)
}

/// What happened; the times that it tells of count from the Unix epoch.
fn to_wall(event: &Event, wall: impl Fn(Stamp) -> Wall) -> EventKind {
    let mut body = Body::Event(event.clone());
    for at in body.stamps_mut() {
        let Wall { unix_us, estimated } = wall(*at);
        *at = stamp(unix_us, estimated);
    }
    match body {
        Body::Event(event) => event.kind,
        Body::Reading(_) | Body::Message(_) => event.kind.clone(),
    }
}

fn message_line(message: &Message, wall: impl Fn(Stamp) -> Wall) -> MessageLine {
    let Properties { content_type, response_topic, correlation_data, is_utf8_payload, user } =
        &message.properties;
    let text = str::from_utf8(&message.payload).ok();
    MessageLine {
        v: VERSION,
        topic: message.topic.to_string(),
        payload: text.map(str::to_owned),
        payload_base64: text.is_none().then(|| BASE64.encode(&message.payload)),
        qos: message.qos,
        retain: message.retain,
        content_type: content_type.as_deref().map(str::to_owned),
        response_topic: response_topic.as_deref().map(str::to_owned),
        correlation_base64: correlation_data.as_ref().map(|data| BASE64.encode(data)),
        utf8: *is_utf8_payload,
        user: user.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
        expiry: message.expiry.map(|Expiry { since, after_s }| {
            let Wall { unix_us, estimated } = wall(since);
            ExpiryLine { after_s, unix_us, estimated }
        }),
    }
}

/// The entry that `line` tells of. Its times count from the Unix epoch.
///
/// # Errors
/// [`BadLine`]: what is wrong with it.
pub fn read(line: &str) -> Result<Body, BadLine> {
    let json = |error: serde_json::Error| bad(format!("not an entry: {error}"));
    match serde_json::from_str::<Head>(line).map_err(json)?.v {
        Some(VERSION) => {}
        Some(v) if v > VERSION => {
            return Err(bad(format!("version {v} is newer than this program knows ({VERSION})")));
        }
        Some(v) => return Err(bad(format!("there is no version {v} of this format"))),
        None => return Err(bad("not an entry: it has no version `v`")),
    }
    match serde_json::from_str(line).map_err(json)? {
        Line::Reading(line) => read_reading(line).map(Body::Reading),
        Line::Event(line) => read_event(line),
        Line::Message(line) => read_message(line).map(Body::Message),
    }
}

fn read_reading(line: ReadingLine) -> Result<Reading, BadLine> {
    if topic::slug(&line.device).as_deref() != Some(&line.device) {
        return Err(bad(format!(
            "device {:?} is no name for topics: 1 to {} characters of a-z, 0-9, _ and - are",
            line.device,
            topic::SLUG_MAX
        )));
    }
    let values = line.values.into_iter().map(decode).collect::<Result<Vec<(Arc<str>, Value)>, _>>()?;
    Ok(Reading {
        device: line.device.into(),
        id: read_id(&line.id)?,
        seq: line.seq,
        at: stamp(line.unix_us, line.estimated),
        values,
    })
}

fn read_event(line: EventLine) -> Result<Body, BadLine> {
    let at = stamp(line.unix_us, line.estimated);
    let mut body = Body::Event(Event { id: read_id(&line.id)?, at, kind: line.event });
    // The clocks of another gateway's boots say nothing here.
    if body.stamps_mut().any(|at| !matches!(at.epoch, Epoch::Wall { .. })) {
        return Err(bad("a time in `event` does not count from 1970"));
    }
    Ok(body)
}

fn read_message(line: MessageLine) -> Result<Message, BadLine> {
    check_topic("topic", &line.topic)?;
    if line.qos > 2 {
        return Err(bad(format!("qos {} does not exist: 0, 1 and 2 do", line.qos)));
    }
    let payload = match (line.payload, line.payload_base64) {
        (Some(text), None) => text.into_bytes(),
        (None, Some(text)) => from_base64("payload_base64", &text)?,
        _ => return Err(bad("one of `payload` and `payload_base64` must be there, and not both")),
    };
    if let Some(topic) = &line.response_topic {
        check_topic("response_topic", topic)?;
    }
    line.content_type.as_deref().map_or(Ok(()), |text| check_text("content_type", text))?;
    for (key, value) in &line.user {
        check_text("user", key)?;
        check_text("user", value)?;
    }
    let correlation = line.correlation_base64.map(|text| from_base64("correlation_base64", &text));
    let correlation = correlation.transpose()?;
    if correlation.as_ref().is_some_and(|data| data.len() > topic::MAX_BYTES) {
        return Err(bad(format!("correlation_base64 is more than {} bytes", topic::MAX_BYTES)));
    }
    Ok(Message {
        topic: line.topic.into(),
        payload: payload.into(),
        qos: line.qos,
        retain: line.retain,
        properties: Properties {
            content_type: line.content_type.map(Into::into),
            response_topic: line.response_topic.map(Into::into),
            correlation_data: correlation.map(Bytes::from),
            is_utf8_payload: line.utf8,
            user: line.user.into_iter().map(|(key, value)| (key.into(), value.into())).collect(),
        },
        expiry: line.expiry.map(|ExpiryLine { after_s, unix_us, estimated }| Expiry {
            since: stamp(unix_us, estimated),
            after_s,
        }),
    })
}

fn check_topic(key: &str, topic: &str) -> Result<(), BadLine> {
    if topic::is_valid_name(topic) {
        Ok(())
    } else {
        Err(bad(format!(
            "{key} {topic:?} cannot be published to: it is empty or too long, or has a wildcard"
        )))
    }
}

/// What MQTT cannot carry as a string (MQTT 5.0, 1.5.4).
fn check_text(key: &str, text: &str) -> Result<(), BadLine> {
    if text.len() <= topic::MAX_BYTES && !text.contains('\0') {
        Ok(())
    } else {
        Err(bad(format!("{key} holds a NUL, or is more than {} bytes", topic::MAX_BYTES)))
    }
}

fn from_base64(key: &str, text: &str) -> Result<Vec<u8>, BadLine> {
    BASE64.decode(text).map_err(|error| bad(format!("{key} is not base64: {error}")))
}

fn stamp(unix_us: i64, estimated: bool) -> Stamp {
    Stamp { epoch: Epoch::Wall { estimated }, us: unix_us }
}

/// Reads what [`MessageId`] displays.
fn read_id(text: &str) -> Result<MessageId, BadLine> {
    let id = text.rsplit_once('/').and_then(|(source, number)| {
        if let Some((uid, boot)) = source.split_once('-').filter(|(_, boot)| !boot.contains('-')) {
            let uid = Uid::new(&from_hex(uid)?)?;
            let boot = u32::from_str_radix(boot, 16).ok()?;
            return Some(MessageId::Board { uid, boot, seq: number.parse().ok()? });
        }
        Some(MessageId::Gateway { boot: source.parse().ok()?, n: number.parse().ok()? })
    });
    // Numbers can be written in several ways, and ids are compared as text.
    id.filter(|id| id.to_string() == text).ok_or_else(|| {
        bad(format!("id {text:?} is none of ours: <uid>-<boot>/<seq> and <uuid>/<n> are, in lower case"))
    })
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.is_ascii() && text.len().is_multiple_of(2);
    let pairs = (0..text.len()).step_by(2);
    digits.then(|| pairs.map(|i| u8::from_str_radix(text.get(i..i + 2)?, 16).ok()).collect())?
}

#[cfg(test)]
mod tests;
