//! Entries into a chunk's content.

use std::collections::HashMap;
use std::sync::Arc;

use crate::reading::{Body, DeviceName, Message, MessageId, Reading, Value};

use super::column::Kind;
use super::model::{Model, Origin, Source};
use super::range::{Coder, Encoder};
use super::{ChunkError, Content, EXPIRES, damaged};

/// Writes entries one by one.
#[derive(Debug)]
pub(super) struct Writer {
    coder: Encoder,
    model: Model,
    /// Texts and payloads, one after the other.
    side: Vec<u8>,
    source_of: HashMap<(DeviceName, Origin), usize>,
}

impl Writer {
    pub(super) fn new() -> Self {
        let (coder, model) = (Encoder::new(Vec::new()), Model::new());
        Self { coder, model, side: Vec::new(), source_of: HashMap::new() }
    }

    pub(super) fn finish(self) -> Content<'static> {
        Content { side: self.side.into(), code: self.coder.finish().into() }
    }

    /// Position: `distance` behind the entry before.
    pub(super) fn entry(&mut self, distance: u64, body: &Body) -> Result<(), ChunkError> {
        self.model.numbers.distance.near(&mut self.coder, 1, distance);
        match body {
            Body::Reading(reading) => self.reading(reading),
            Body::Event(event) => {
                self.opaque(false)?;
                let bytes = postcard::to_stdvec(event).map_err(|error| damaged(&error.to_string()))?;
                self.piece(&bytes)
            }
            Body::Message(message) => {
                self.opaque(true)?;
                self.message(message)
            }
        }
    }

    fn opaque(&mut self, is_message: bool) -> Result<(), ChunkError> {
        self.model.pay(0)?;
        self.model.whose(&mut self.coder, 0)?;
        self.coder.bit(&mut self.model.numbers.is_message, is_message);
        Ok(())
    }

    fn message(&mut self, message: &Message) -> Result<(), ChunkError> {
        let Message { topic, payload, qos, retain, properties, expiry } = message;
        self.piece(topic.as_bytes())?;
        self.piece(payload)?;
        let expires = if expiry.is_some() { EXPIRES } else { 0 };
        self.model.numbers.qos.small(&mut self.coder, usize::from(*qos) + expires);
        if let Some(expiry) = expiry {
            self.model.expiry(&mut self.coder, *expiry)?;
        }
        self.flag(0, *retain);
        self.flag(1, properties.is_utf8_payload);
        self.optional(2, properties.content_type.as_ref().map(|text| text.as_bytes()))?;
        self.optional(3, properties.response_topic.as_ref().map(|text| text.as_bytes()))?;
        self.optional(4, properties.correlation_data.as_deref())?;
        self.model.numbers.count.small(&mut self.coder, properties.user.len());
        self.model.pay(2 * properties.user.len())?;
        for (name, value) in &properties.user {
            self.piece(name.as_bytes())?;
            self.piece(value.as_bytes())?;
        }
        Ok(())
    }

    fn flag(&mut self, number: usize, value: bool) {
        self.coder.bit(&mut self.model.numbers.flags[number], value);
    }

    fn optional(&mut self, number: usize, bytes: Option<&[u8]>) -> Result<(), ChunkError> {
        self.flag(number, bytes.is_some());
        bytes.map_or(Ok(()), |bytes| self.piece(bytes))
    }

    fn piece(&mut self, bytes: &[u8]) -> Result<(), ChunkError> {
        // Once as it lies here, once in the entry.
        self.model.budget.take(bytes.len().saturating_mul(2))?;
        self.model.numbers.length.small(&mut self.coder, bytes.len());
        self.side.extend_from_slice(bytes);
        Ok(())
    }

    fn reading(&mut self, reading: &Reading) -> Result<(), ChunkError> {
        self.model.pay(reading.values.len())?;
        let source = self.source(reading)?;
        let number = match &reading.id {
            MessageId::Board { seq, .. } => u64::from(*seq),
            MessageId::Gateway { n, .. } => *n,
        };
        self.model.head(&mut self.coder, source, number, reading.seq, reading.at)?;
        let same = self.has_foreseen_channels(source, reading);
        let names = || reading.values.iter().map(|(name, _)| &**name).collect();
        self.model.shape(&mut self.coder, source, same, names)?;
        let regular = reading.values.iter().zip(self.model.columns_of(source)).all(|((_, value), column)| {
            let (kind, exponent) = kind(value);
            column.kind == kind && (kind != Kind::Decimal || column.exponent == exponent)
        });
        self.coder.bit(&mut self.model.numbers.regular, regular);
        for (at, (_, value)) in reading.values.iter().enumerate() {
            self.value(source, at, regular, value)?;
        }
        Ok(())
    }

    /// The number of the reading's source; a new one is told.
    fn source(&mut self, reading: &Reading) -> Result<usize, ChunkError> {
        let foreseen = self.model.foreseen();
        let of = foreseen.checked_sub(1).and_then(|source| self.model.sources.get(source));
        if of.is_some_and(|of| is_from(reading, of)) {
            self.model.whose(&mut self.coder, foreseen)?;
            return Ok(foreseen - 1);
        }
        let origin = match &reading.id {
            MessageId::Board { uid, boot, .. } => Origin::Board { uid: uid.clone(), boot: *boot },
            MessageId::Gateway { boot, .. } => Origin::Gateway(*boot),
        };
        let key = (Arc::clone(&reading.device), origin);
        if let Some(known) = self.source_of.get(&key).copied() {
            self.model.whose(&mut self.coder, known + 1)?;
            return Ok(known);
        }
        let new = self.model.sources.len();
        self.model.whose(&mut self.coder, new + 1)?;
        self.model.introduce(&mut self.coder, &reading.device, &key.1)?;
        self.source_of.insert(key, new);
        Ok(new)
    }

    fn has_foreseen_channels(&self, source: usize, reading: &Reading) -> bool {
        let known = &self.model.channels.known;
        self.model.foreseen_channels(source).is_some_and(|channels| {
            channels.len() == reading.values.len()
                && reading
                    .values
                    .iter()
                    .zip(channels)
                    .all(|((name, _), channel)| known.get(*channel).is_some_and(|known| is_same(name, known)))
        })
    }

    fn value(&mut self, source: usize, at: usize, regular: bool, value: &Value) -> Result<(), ChunkError> {
        let coder = &mut self.coder;
        let (column, slot) = self.model.column(source, at)?;
        if !regular {
            let (kind, exponent) = kind(value);
            column.kind(slot, coder, kind, exponent);
        }
        let mut new_text = None;
        match value {
            Value::Null => {}
            Value::Bool(value) => drop(column.truth(slot, coder, *value)),
            Value::Decimal { mantissa, exponent } => {
                column.decimal(slot, coder, *mantissa, *exponent);
            }
            Value::F32(value) => drop(column.scalar(slot, coder, value.to_bits().into())),
            Value::F64(value) => drop(column.scalar(slot, coder, value.to_bits())),
            Value::Text(text) | Value::Json(text) => new_text = Some(text.as_bytes()),
            Value::Bytes(bytes) => new_text = Some(bytes),
        }
        let Some(bytes) = new_text else {
            slot.newest = *column;
            return Ok(());
        };
        let (start, end) = column.text;
        let same = self.side.get(start..end) == Some(bytes);
        coder.bit(&mut slot.same_text, same);
        if !same {
            column.text = (self.side.len(), self.side.len() + bytes.len());
        }
        slot.newest = *column;
        if same { self.model.budget.take(bytes.len()) } else { self.piece(bytes) }
    }
}

fn is_same(a: &Arc<str>, b: &Arc<str>) -> bool {
    Arc::ptr_eq(a, b) || a == b
}

fn is_from(reading: &Reading, source: &Source) -> bool {
    let same_origin = match (&reading.id, &source.origin) {
        (MessageId::Board { uid, boot, .. }, Origin::Board { uid: known, boot: known_boot }) => {
            boot == known_boot && uid == known
        }
        (MessageId::Gateway { boot, .. }, Origin::Gateway(known)) => boot == known,
        _ => false,
    };
    same_origin && is_same(&reading.device, &source.device)
}

/// Kind and exponent; of what is no decimal, 0.
fn kind(value: &Value) -> (Kind, i8) {
    match value {
        Value::Null => (Kind::Null, 0),
        Value::Bool(_) => (Kind::Bool, 0),
        Value::Decimal { exponent, .. } => (Kind::Decimal, *exponent),
        Value::F32(_) => (Kind::F32, 0),
        Value::F64(_) => (Kind::F64, 0),
        Value::Text(_) => (Kind::Text, 0),
        Value::Bytes(_) => (Kind::Bytes, 0),
        Value::Json(_) => (Kind::Json, 0),
    }
}
