//! Measured values: the items of DATA, RESULT and of the command that sets channels.
//!
//! An item is `channel u8, fmt u8, value`. The high nibble of `fmt` is the type, the low one a
//! signed decimal exponent: 23.45 °C on channel 0 is `00 3E 29 09`, an i16 of 2345 × 10⁻². So a
//! board needs no floating-point library, and nobody needs the schema to read the number.

use crate::bytes::{NoRoom, Reader, Writer};
use crate::message::PayloadError;

/// A power of ten, −8 to +7.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Exponent(i8);

impl Exponent {
    /// × 1
    pub const ZERO: Self = Self(0);
    /// × 0.1
    pub const DECI: Self = Self(-1);
    /// × 0.01
    pub const CENTI: Self = Self(-2);
    /// × 0.001
    pub const MILLI: Self = Self(-3);

    /// The power `exponent`, if a nibble can say it.
    #[must_use]
    pub const fn new(exponent: i8) -> Option<Self> {
        if -8 <= exponent && exponent <= 7 { Some(Self(exponent)) } else { None }
    }

    /// The power.
    #[must_use]
    pub const fn get(self) -> i8 {
        self.0
    }

    /// The power in the low nibble of a `fmt` byte.
    #[must_use]
    pub const fn of_fmt(fmt: u8) -> Self {
        Self((fmt << 4).cast_signed() >> 4)
    }

    fn to_nibble(self) -> u8 {
        self.0.cast_unsigned() & 0x0F
    }
}

/// A whole number of the width in which it is sent.
#[expect(missing_docs, reason = "the names say it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Int {
    I8(i8),
    I16(i16),
    I32(i32),
    I64(i64),
    U8(u8),
    U16(u16),
    U32(u32),
    U64(u64),
}

impl Int {
    /// The number, whatever its width.
    #[must_use]
    pub fn to_i128(self) -> i128 {
        match self {
            Self::I8(n) => n.into(),
            Self::I16(n) => n.into(),
            Self::I32(n) => n.into(),
            Self::I64(n) => n.into(),
            Self::U8(n) => n.into(),
            Self::U16(n) => n.into(),
            Self::U32(n) => n.into(),
            Self::U64(n) => n.into(),
        }
    }

    /// The number, unless it is one of the upper half of [`Int::U64`].
    #[must_use]
    pub fn to_i64(self) -> Option<i64> {
        match self {
            Self::I8(n) => Some(n.into()),
            Self::I16(n) => Some(n.into()),
            Self::I32(n) => Some(n.into()),
            Self::I64(n) => Some(n),
            Self::U8(n) => Some(n.into()),
            Self::U16(n) => Some(n.into()),
            Self::U32(n) => Some(n.into()),
            Self::U64(n) => i64::try_from(n).ok(),
        }
    }
}

/// One value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// The sensor had nothing to say. Holds a reason of its own choosing, 0 to 15.
    None(u8),
    /// True or false.
    Bool(bool),
    /// `mantissa × 10^exponent`
    Decimal {
        /// The digits.
        mantissa: Int,
        /// The power of ten.
        exponent: Exponent,
    },
    /// A single-precision number.
    F32(f32),
    /// A double-precision number.
    F64(f64),
    /// Text, at most 255 bytes.
    Text(&'a str),
    /// Bytes, at most 255 of them.
    Bytes(&'a [u8]),
}

/// The high nibble of `fmt`.
mod types {
    pub(super) const NONE: u8 = 0x0;
    pub(super) const BOOL: u8 = 0x1;
    pub(super) const I8: u8 = 0x2;
    pub(super) const I16: u8 = 0x3;
    pub(super) const I32: u8 = 0x4;
    pub(super) const I64: u8 = 0x5;
    pub(super) const U8: u8 = 0x6;
    pub(super) const U16: u8 = 0x7;
    pub(super) const U32: u8 = 0x8;
    pub(super) const U64: u8 = 0x9;
    pub(super) const F32: u8 = 0xA;
    pub(super) const F64: u8 = 0xB;
    pub(super) const TEXT: u8 = 0xC;
    pub(super) const BYTES: u8 = 0xD;
}

impl<'a> Value<'a> {
    /// A whole number times a power of ten.
    #[must_use]
    pub const fn decimal(mantissa: Int, exponent: Exponent) -> Self {
        Self::Decimal { mantissa, exponent }
    }

    /// The `fmt` byte in front of the value.
    #[must_use]
    pub fn fmt(&self) -> u8 {
        let (ty, low) = match *self {
            Self::None(reason) => (types::NONE, reason & 0x0F),
            Self::Bool(value) => (types::BOOL, value.into()),
            Self::Decimal { mantissa, exponent } => (
                match mantissa {
                    Int::I8(_) => types::I8,
                    Int::I16(_) => types::I16,
                    Int::I32(_) => types::I32,
                    Int::I64(_) => types::I64,
                    Int::U8(_) => types::U8,
                    Int::U16(_) => types::U16,
                    Int::U32(_) => types::U32,
                    Int::U64(_) => types::U64,
                },
                exponent.to_nibble(),
            ),
            Self::F32(_) => (types::F32, 0),
            Self::F64(_) => (types::F64, 0),
            Self::Text(_) => (types::TEXT, 0),
            Self::Bytes(_) => (types::BYTES, 0),
        };
        ty << 4 | low
    }

    /// Reads what stands behind `fmt`. An exponent on anything but a whole number has no meaning
    /// that both sides could agree on, so it is refused.
    fn read(fmt: u8, reader: &mut Reader<'a>) -> Result<Self, PayloadError> {
        let int = match (fmt >> 4, fmt & 0x0F) {
            (types::NONE, reason) => return Ok(Self::None(reason)),
            (types::BOOL, value @ 0..=1) => return Ok(Self::Bool(value == 1)),
            (types::I8, _) => Int::I8(reader.array().map(i8::from_le_bytes)?),
            (types::I16, _) => Int::I16(reader.array().map(i16::from_le_bytes)?),
            (types::I32, _) => Int::I32(reader.array().map(i32::from_le_bytes)?),
            (types::I64, _) => Int::I64(reader.array().map(i64::from_le_bytes)?),
            (types::U8, _) => Int::U8(reader.array().map(u8::from_le_bytes)?),
            (types::U16, _) => Int::U16(reader.array().map(u16::from_le_bytes)?),
            (types::U32, _) => Int::U32(reader.array().map(u32::from_le_bytes)?),
            (types::U64, _) => Int::U64(reader.array().map(u64::from_le_bytes)?),
            (types::F32, 0) => return Ok(Self::F32(reader.array().map(f32::from_le_bytes)?)),
            (types::F64, 0) => return Ok(Self::F64(reader.array().map(f64::from_le_bytes)?)),
            (types::TEXT, 0) => return Ok(Self::Text(reader.text()?)),
            (types::BYTES, 0) => return Ok(Self::Bytes(reader.field()?)),
            _ => return Err(PayloadError::Format(fmt)),
        };
        Ok(Self::Decimal { mantissa: int, exponent: Exponent::of_fmt(fmt) })
    }

    fn write(&self, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        writer.put(&[self.fmt()])?;
        match *self {
            Self::None(_) | Self::Bool(_) => Ok(()),
            Self::Decimal { mantissa, .. } => match mantissa {
                Int::I8(n) => writer.put(&n.to_le_bytes()),
                Int::I16(n) => writer.put(&n.to_le_bytes()),
                Int::I32(n) => writer.put(&n.to_le_bytes()),
                Int::I64(n) => writer.put(&n.to_le_bytes()),
                Int::U8(n) => writer.put(&n.to_le_bytes()),
                Int::U16(n) => writer.put(&n.to_le_bytes()),
                Int::U32(n) => writer.put(&n.to_le_bytes()),
                Int::U64(n) => writer.put(&n.to_le_bytes()),
            },
            Self::F32(n) => writer.put(&n.to_le_bytes()),
            Self::F64(n) => writer.put(&n.to_le_bytes()),
            Self::Text(text) => writer.field(text.as_bytes()),
            Self::Bytes(bytes) => writer.field(bytes),
        }
    }
}

/// The value of one channel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Item<'a> {
    /// Which channel, as numbered by the device's DESCRIBEs.
    pub channel: u8,
    /// Its value.
    pub value: Value<'a>,
}

impl<'a> Item<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, PayloadError> {
        let [channel, fmt] = reader.array()?;
        Ok(Self { channel, value: Value::read(fmt, reader)? })
    }
}

/// Well-formed items, read one by one from the bytes of a payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Items<'a>(&'a [u8]);

impl<'a> Items<'a> {
    /// The items in `bytes`, which must hold whole items and nothing else.
    ///
    /// # Errors
    /// The first thing that is wrong with them.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, PayloadError> {
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() {
            Item::read(&mut reader)?;
        }
        Ok(Self(bytes))
    }

    /// The bytes of the items.
    #[must_use]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.0
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        let mut reader = Reader::new(self.0);
        let item = Item::read(&mut reader).ok()?;
        self.0 = reader.rest();
        Some(item)
    }
}

impl core::iter::FusedIterator for Items<'_> {}

/// Writes items into the caller's buffer.
pub struct ItemWriter<'a>(Writer<'a>);

impl<'a> ItemWriter<'a> {
    /// Writes to the front of `buffer`.
    #[must_use]
    pub fn new(buffer: &'a mut [u8]) -> Self {
        Self(Writer::new(buffer))
    }

    /// Appends a value of `channel`.
    ///
    /// # Errors
    /// [`NoRoom`] when it does not fit or is longer than its length byte can say; what was written
    /// before stays as it was.
    pub fn push(&mut self, channel: u8, value: Value<'_>) -> Result<(), NoRoom> {
        let before = self.0.len();
        let written = self.0.put(&[channel]).and_then(|()| value.write(&mut self.0));
        if written.is_err() {
            self.0.truncate(before);
        }
        written
    }

    /// The items written.
    #[must_use]
    pub fn finish(self) -> Items<'a> {
        Items(self.0.into_written())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_specification_is_four_bytes() {
        let mut buffer = [0; 4];
        let mut writer = ItemWriter::new(&mut buffer);
        writer.push(0, Value::decimal(Int::I16(2345), Exponent::CENTI)).unwrap();
        assert_eq!(writer.finish().as_bytes(), [0x00, 0x3E, 0x29, 0x09]);
    }

    #[test]
    fn an_item_that_does_not_fit_leaves_no_trace() {
        let mut buffer = [0; 6];
        let mut writer = ItemWriter::new(&mut buffer);
        writer.push(1, Value::Bool(true)).unwrap();
        assert_eq!(writer.push(2, Value::decimal(Int::U32(7), Exponent::ZERO)), Err(NoRoom));
        writer.push(3, Value::Text("ab")).unwrap_err();
        writer.push(4, Value::Text("a")).unwrap();
        assert_eq!(writer.finish().as_bytes(), [1, 0x11, 4, 0xC0, 1, b'a']);
    }

    #[test]
    fn malformed_items_are_named() {
        let table: [(&[u8], PayloadError); 8] = [
            (&[0], PayloadError::Truncated),
            (&[0, 0x30, 1], PayloadError::Truncated),
            (&[0, 0xC0, 3, b'a', b'b'], PayloadError::Truncated),
            (&[0, 0xC0, 1, 0xFF], PayloadError::Utf8),
            (&[0, 0x12], PayloadError::Format(0x12)),
            (&[0, 0xAF, 0, 0, 0, 0], PayloadError::Format(0xAF)),
            (&[0, 0xE0], PayloadError::Format(0xE0)),
            (&[0, 0x11, 1, 0xF0], PayloadError::Format(0xF0)),
        ];
        for (bytes, error) in table {
            assert_eq!(Items::parse(bytes), Err(error), "{bytes:02x?}");
        }
    }

    #[test]
    fn every_nibble_is_an_exponent() {
        for exponent in -8..=7 {
            let exponent = Exponent::new(exponent).unwrap();
            assert_eq!(Exponent::of_fmt(exponent.to_nibble()), exponent);
        }
        assert_eq!((Exponent::new(-9), Exponent::new(8)), (None, None));
    }
}
