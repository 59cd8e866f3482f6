//! A chunk's content back into entries.

use std::sync::Arc;

use uuid::Uuid;

use crate::reading::{Body, Expiry, Message, MessageId, Properties, Reading, Stamp, Value};

use super::column::Kind;
use super::model::{Model, Origin, text};
use super::range::{Coder, Decoder};
use super::{ChunkError, Content, EXPIRES, damaged};

/// Reads entries one by one.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    coder: Decoder<'a>,
    model: Model,
    side: &'a [u8],
    /// Bytes of `side` that were used.
    used: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(content: &'a Content<'a>) -> Result<Self, ChunkError> {
        let mut model = Model::new();
        model.budget.take(content.side.len())?;
        Ok(Self { coder: Decoder::new(&content.code), model, side: &content.side, used: 0 })
    }

    /// All entries were read: nothing may be left over.
    pub(super) fn finish(self) -> Result<(), ChunkError> {
        let all = self.used == self.side.len() && self.coder.has_read_all();
        if all { Ok(()) } else { Err(damaged("it holds more than its entries")) }
    }

    /// Distance from the entry before, and the next entry.
    pub(super) fn entry(&mut self) -> Result<(u64, Body), ChunkError> {
        let distance = self.model.numbers.distance.near(&mut self.coder, 1, 0);
        let known = self.model.sources.len();
        let body = match self.model.whose(&mut self.coder, 0)? {
            0 if self.coder.bit(&mut self.model.numbers.is_message, false) => {
                self.model.pay(0)?;
                Body::Message(self.message()?)
            }
            0 => {
                self.model.pay(0)?;
                let event = postcard::from_bytes(self.piece()?);
                Body::Event(event.map_err(|error| damaged(&error.to_string()))?)
            }
            source => {
                if source > known {
                    self.model.introduce(&mut self.coder, "", &Origin::Gateway(Uuid::nil()))?;
                }
                Body::Reading(self.reading(source - 1)?)
            }
        };
        if self.coder.is_beyond() { Err(damaged("it ends too early")) } else { Ok((distance, body)) }
    }

    fn message(&mut self) -> Result<Message, ChunkError> {
        let topic = self.text()?.into();
        let payload = self.piece()?.to_vec().into();
        let word = self.model.numbers.qos.small(&mut self.coder, 0);
        let plain = word.checked_sub(EXPIRES as u64);
        let qos = u8::try_from(plain.unwrap_or(word)).map_err(|_| damaged("no such QoS"))?;
        let nothing = Expiry { since: Stamp::this_boot(0), after_s: 0 };
        let expiry = plain.map(|_| self.model.expiry(&mut self.coder, nothing)).transpose()?;
        let retain = self.flag(0);
        let is_utf8_payload = self.flag(1);
        let content_type = if self.flag(2) { Some(self.text()?.into()) } else { None };
        let response_topic = if self.flag(3) { Some(self.text()?.into()) } else { None };
        let correlation_data = if self.flag(4) { Some(self.piece()?.to_vec().into()) } else { None };
        let count = usize::try_from(self.model.numbers.count.small(&mut self.coder, 0)).unwrap_or(usize::MAX);
        self.model.pay(count.saturating_mul(2))?;
        let mut user = Vec::with_capacity(count);
        for _ in 0..count {
            if self.coder.is_beyond() {
                return Err(damaged("it ends too early"));
            }
            user.push((self.text()?.into(), self.text()?.into()));
        }
        let properties = Properties { content_type, response_topic, correlation_data, is_utf8_payload, user };
        Ok(Message { topic, payload, qos, retain, properties, expiry })
    }

    fn flag(&mut self, number: usize) -> bool {
        self.coder.bit(&mut self.model.numbers.flags[number], false)
    }

    fn piece(&mut self) -> Result<&'a [u8], ChunkError> {
        let length = self.model.numbers.length.small(&mut self.coder, 0);
        let end = usize::try_from(length).ok().and_then(|length| self.used.checked_add(length));
        let piece =
            end.and_then(|end| self.side.get(self.used..end)).ok_or_else(|| damaged("a text is cut off"))?;
        self.model.budget.take(piece.len())?;
        self.used += piece.len();
        Ok(piece)
    }

    fn text(&mut self) -> Result<&'a str, ChunkError> {
        str::from_utf8(self.piece()?).map_err(|_| damaged("text is not UTF-8"))
    }

    fn reading(&mut self, source: usize) -> Result<Reading, ChunkError> {
        let (number, seq, at) = self.model.head(&mut self.coder, source, 0, 0, Stamp::this_boot(0))?;
        self.model.shape(&mut self.coder, source, false, Vec::new)?;
        let of = self.model.sources.get(source).ok_or_else(|| damaged("no such device"))?;
        let device = Arc::clone(&of.device);
        let id = match &of.origin {
            Origin::Board { uid, boot } => {
                let seq = u32::try_from(number).map_err(|_| damaged("a board's number is too large"))?;
                MessageId::Board { uid: uid.clone(), boot: *boot, seq }
            }
            Origin::Gateway(boot) => MessageId::Gateway { boot: *boot, n: number },
        };
        let count = of.columns.len();
        self.model.pay(count)?;
        let regular = self.coder.bit(&mut self.model.numbers.regular, false);
        let mut values = Vec::with_capacity(count);
        for at in 0..count {
            if self.coder.is_beyond() {
                return Err(damaged("it ends too early"));
            }
            let value = self.value(source, at, regular)?;
            values.push((self.model.channel_of(source, at)?, value));
        }
        Ok(Reading { device, id, seq, at, values })
    }

    fn value(&mut self, source: usize, at: usize, regular: bool) -> Result<Value, ChunkError> {
        let coder = &mut self.coder;
        let (column, slot) = self.model.column(source, at)?;
        let (kind, exponent) =
            if regular { (column.kind, column.exponent) } else { column.kind(slot, coder, Kind::Null, 0) };
        let value = match kind {
            Kind::Null => Value::Null,
            Kind::Bool => Value::Bool(column.truth(slot, coder, false)),
            Kind::Decimal => Value::Decimal { mantissa: column.decimal(slot, coder, 0, exponent), exponent },
            Kind::F32 => {
                let bits = u32::try_from(column.scalar(slot, coder, 0));
                Value::F32(f32::from_bits(bits.map_err(|_| damaged("a number has too many bits"))?))
            }
            Kind::F64 => Value::F64(f64::from_bits(column.scalar(slot, coder, 0))),
            Kind::Text | Kind::Bytes | Kind::Json => return self.text_value(source, at, kind),
        };
        slot.newest = *column;
        Ok(value)
    }

    fn text_value(&mut self, source: usize, at: usize, kind: Kind) -> Result<Value, ChunkError> {
        let (column, slot) = self.model.column(source, at)?;
        let same = self.coder.bit(&mut slot.same_text, false);
        let (start, end) = column.text;
        let bytes = if same {
            let bytes = self.side.get(start..end).unwrap_or_default();
            slot.newest = *column;
            self.model.budget.take(bytes.len())?;
            bytes
        } else {
            let start = self.used;
            let bytes = self.piece()?;
            let (column, slot) = self.model.column(source, at)?;
            column.text = (start, start + bytes.len());
            slot.newest = *column;
            bytes
        };
        Ok(match kind {
            Kind::Bytes => Value::Bytes(bytes.into()),
            Kind::Json => Value::Json(text(bytes.to_vec())?.into()),
            _ => Value::Text(text(bytes.to_vec())?.into()),
        })
    }
}
