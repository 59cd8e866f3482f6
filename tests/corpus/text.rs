//! Entries as text, one line each, to the last bit: what a file of the corpus must say when it is
//! read. Written by hand, so that it stays the same when a type gets another `Debug`.

use std::fmt::Write;

use serialgate::reading::{Body, Epoch, EventKind, Expiry, Loss, Message, Stamp, Value, Whose};

/// One entry.
pub(crate) fn line(position: u64, body: &Body) -> String {
    match body {
        Body::Reading(reading) => {
            let (id, at) = (&reading.id, stamp(reading.at));
            let mut line = format!("{position} reading {} {id} {} {at}", reading.device, reading.seq);
            for (name, of) in &reading.values {
                let _ = write!(line, " {name:?}={}", value(of));
            }
            line
        }
        Body::Event(event) => {
            format!("{position} event {} {} {}", event.id, stamp(event.at), happened(&event.kind))
        }
        Body::Message(message) => format!("{position} message {}", published(message)),
    }
}

fn stamp(at: Stamp) -> String {
    let epoch = match at.epoch {
        Epoch::ThisBoot => "this".to_owned(),
        Epoch::Boot(row) => format!("boot{row}"),
        Epoch::Wall { estimated: false } => "wall".to_owned(),
        Epoch::Wall { estimated: true } => "estimated".to_owned(),
    };
    format!("{epoch}:{}", at.us)
}

fn value(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Decimal { mantissa, exponent } => format!("{mantissa}e{exponent}"),
        Value::F32(value) => format!("f32:{:08x}", value.to_bits()),
        Value::F64(value) => format!("f64:{:016x}", value.to_bits()),
        Value::Text(text) => format!("{text:?}"),
        Value::Bytes(bytes) => format!("bytes:{}", hex(bytes)),
        Value::Json(text) => format!("json:{text}"),
    }
}

fn happened(kind: &EventKind) -> String {
    match kind {
        EventKind::Gap { device, from_seq, to_seq, lost, reason } => {
            format!("gap {device} {from_seq}..{to_seq} {lost} {}", reason.as_str())
        }
        EventKind::Broker { state, reason } => format!("broker {state:?} {reason:?}"),
        EventKind::Quarantine { path, reason } => format!("quarantine {path:?} {reason:?}"),
        EventKind::Port { path, state } => format!("port {path:?} {state}"),
        EventKind::Lost(Loss { of, span, lost, reason }) => {
            let span = span.map(|(from, to)| format!("{}..{}", stamp(from), stamp(to)));
            let of = match of {
                Whose::Device { device, from_seq, to_seq } => format!("device {device} {from_seq}..{to_seq}"),
                Whose::Topic(topic) => format!("topic {topic:?}"),
                Whose::Unknown => "unknown".to_owned(),
            };
            format!("lost {of} {span:?} {lost} {}", reason.as_str())
        }
        EventKind::Salvage { path, recovered, lost } => format!("salvage {path:?} {recovered} {lost}"),
        EventKind::Bridge { name, state, reason } => format!("bridge {name:?} {state} {reason:?}"),
    }
}

fn published(message: &Message) -> String {
    let Message { topic, payload, qos, retain, properties, expiry } = message;
    let expires = expiry.map(|Expiry { since, after_s }| format!(" expires:{}+{after_s}", stamp(since)));
    let correlation = properties.correlation_data.as_deref().map(hex);
    format!(
        "{topic:?} {} qos{qos} retain:{retain} utf8:{} type:{:?} answer:{:?} correlation:{correlation:?} user:{:?}{}",
        hex(payload),
        properties.is_utf8_payload,
        properties.content_type,
        properties.response_topic,
        properties.user,
        expires.unwrap_or_default(),
    )
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
