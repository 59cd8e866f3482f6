//! JSON objects, written straight into one buffer: this is the hot path.

use std::fmt::Display;
use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use crate::call::Given;
use crate::clock::Wall;
use crate::reading::{MessageId, Value};

/// Values as a line of JSON, for a device.
#[must_use]
pub fn line(values: &[(Arc<str>, Value)]) -> Vec<u8> {
    let mut line = vec![b'{'];
    write_members(&mut line, values);
    line.extend_from_slice(b"}\n");
    line
}

/// A JSON object in the making.
pub(super) struct Object(Vec<u8>);

/// Room for the keys that every object has, and then for each channel; in bytes.
const ROOM: (usize, usize) = (128, 24);

impl Object {
    pub(super) fn begin(channels: usize) -> Self {
        Self(Vec::with_capacity(ROOM.0 + ROOM.1 * channels))
    }

    pub(super) fn end(mut self) -> Bytes {
        self.0.push(b'}');
        self.0.into()
    }

    /// `{` or `,`, then the key, which needs no escapes.
    fn plain_key(&mut self, key: &str) {
        self.0.extend_from_slice(if self.0.is_empty() { b"{\"" } else { b",\"" });
        self.0.extend_from_slice(key.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    pub(super) fn text(&mut self, key: &str, text: &str) {
        self.plain_key(key);
        write_text(&mut self.0, text);
    }

    pub(super) fn number(&mut self, key: &str, number: u64) {
        self.plain_key(key);
        self.0.extend_from_slice(Digits::of(number).as_bytes());
    }

    pub(super) fn id(&mut self, id: &MessageId) {
        self.plain_key("id");
        self.0.push(b'"');
        write_display(&mut self.0, id);
        self.0.push(b'"');
    }

    pub(super) fn quality(&mut self, wall: Wall, late: bool) {
        if late {
            self.plain_key("late");
            self.0.extend_from_slice(b"true");
        }
        if wall.estimated {
            self.text("ts_quality", "estimated");
        }
    }

    pub(super) fn value(&mut self, key: &str, value: &Value) {
        self.0.push(b',');
        write_member(&mut self.0, key, value);
    }

    pub(super) fn given(&mut self, given: &Given) {
        match given {
            Given::Values(values) if !values.is_empty() => {
                self.plain_key("values");
                self.0.push(b'{');
                write_members(&mut self.0, values);
                self.0.push(b'}');
            }
            Given::Answer(values) if !values.is_empty() => {
                self.plain_key("answer");
                for (index, value) in values.iter().enumerate() {
                    self.0.push(if index == 0 { b'[' } else { b',' });
                    write_value(&mut self.0, value);
                }
                self.0.push(b']');
            }
            Given::Values(_) | Given::Answer(_) => {}
        }
    }
}

fn write_members(out: &mut Vec<u8>, members: &[(Arc<str>, Value)]) {
    for (index, (key, value)) in members.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_member(out, key, value);
    }
}

fn write_member(out: &mut Vec<u8>, key: &str, value: &Value) {
    write_text(out, key);
    out.push(b':');
    write_value(out, value);
}

fn write_value(out: &mut Vec<u8>, value: &Value) {
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
