//! Values that are to be set, as wire v1 says them.

use std::sync::Arc;

use serialgate_wire::{Exponent, Int, ItemWriter, NoRoom, Value as Wire};

use super::schema::{Channel, Schema};
use crate::call::scaled;
use crate::reading::Value;

/// The arguments of the command that sets `values`, at most `room` bytes.
///
/// # Errors
/// A value is not for its channel; in words.
pub(super) fn set(schema: &Schema, values: &[(Arc<str>, Value)], room: usize) -> Result<Box<[u8]>, String> {
    let mut buffer = vec![0; room];
    let mut items = ItemWriter::new(&mut buffer);
    for (name, value) in values {
        let (number, channel) = find(schema, name)?;
        let value = convert(channel.fmt, value)
            .ok_or_else(|| format!("{name} takes {}", kind(channel.fmt).in_words()))?;
        items.push(number, value).map_err(|NoRoom| {
            format!("this board takes {room} bytes of values at a time: set fewer channels, or shorter text")
        })?;
    }
    Ok(items.finish().as_bytes().into())
}

/// The channel called `name`, which must be one that can be set.
fn find<'s>(schema: &'s Schema, name: &str) -> Result<(u8, &'s Channel), String> {
    let channels = (0u8..).zip(schema.channels());
    let found = channels.clone().find(|(_, channel)| *channel.name == *name);
    if let Some((number, channel)) = found
        && channel.writable
    {
        return Ok((number, channel));
    }
    let writable: Vec<&str> =
        channels.filter(|(_, channel)| channel.writable).map(|(_, channel)| &*channel.name).collect();
    let writable = if writable.is_empty() { "none".into() } else { writable.join(", ") };
    Err(match found {
        Some(_) => format!("{name} cannot be set; channels that can: {writable}"),
        None => format!("there is no channel {name:?}; channels that can be set: {writable}"),
    })
}

/// What a channel takes, by its `fmt` byte.
#[derive(Clone, Copy)]
enum Kind {
    /// The channel does not say.
    Any,
    Bool,
    Whole(u8),
    F32,
    F64,
    Text,
    /// Bytes, for which JSON has no word; or a type of a later version.
    Nothing,
}

fn kind(fmt: u8) -> Kind {
    match fmt >> 4 {
        0x1 => Kind::Bool,
        ty @ 0x2..=0x9 => Kind::Whole(ty),
        0xA => Kind::F32,
        0xB => Kind::F64,
        0xC => Kind::Text,
        0x0 => Kind::Any,
        _ => Kind::Nothing,
    }
}

impl Kind {
    fn in_words(self) -> &'static str {
        match self {
            Self::Any => "true, false, a number or text",
            Self::Bool => "true or false",
            Self::Whole(_) => "a number that it has room for, true or false",
            Self::F32 | Self::F64 => "a number",
            Self::Text => "text of at most 255 bytes",
            Self::Nothing => "bytes, and no command can hold those",
        }
    }
}

/// `value` as a channel with this `fmt` byte takes it. `None`: it does not.
fn convert(fmt: u8, value: &Value) -> Option<Wire<'_>> {
    let exponent = Exponent::of_fmt(fmt);
    match (kind(fmt), value) {
        (Kind::Any | Kind::Text, Value::Text(text)) if text.len() <= 255 => Some(Wire::Text(text)),
        (Kind::Any | Kind::Bool | Kind::Whole(_), Value::Bool(value)) => Some(Wire::Bool(*value)),
        (Kind::Bool, Value::Decimal { mantissa: mantissa @ 0..=1, exponent: 0 }) => {
            Some(Wire::Bool(*mantissa == 1))
        }
        (Kind::Bool | Kind::Whole(_), Value::Text(text)) => switch(text).map(Wire::Bool),
        (Kind::Whole(ty), Value::Decimal { mantissa, exponent: theirs }) => {
            let mantissa = scaled(*mantissa, i32::from(*theirs) - i32::from(exponent.get()))?;
            Some(Wire::decimal(int(ty, mantissa)?, exponent))
        }
        (Kind::Any, Value::Decimal { mantissa, exponent: theirs }) => {
            let int = i32::try_from(*mantissa).map_or(Int::I64(*mantissa), Int::I32);
            Some(Wire::decimal(int, Exponent::new(*theirs)?))
        }
        (Kind::F32, Value::Decimal { mantissa, exponent }) => {
            format!("{mantissa}e{exponent}").parse().ok().map(Wire::F32)
        }
        (Kind::F64, Value::Decimal { mantissa, exponent }) => {
            format!("{mantissa}e{exponent}").parse().ok().map(Wire::F64)
        }
        _ => None,
    }
}

/// What people and home automation call the two positions of a switch.
fn switch(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "on" | "true" => Some(true),
        "off" | "false" => Some(false),
        _ => None,
    }
}

/// The number in the width of type `ty`, if that has room for it.
fn int(ty: u8, number: i64) -> Option<Int> {
    match ty {
        0x2 => number.try_into().ok().map(Int::I8),
        0x3 => number.try_into().ok().map(Int::I16),
        0x4 => number.try_into().ok().map(Int::I32),
        0x5 => Some(Int::I64(number)),
        0x6 => number.try_into().ok().map(Int::U8),
        0x7 => number.try_into().ok().map(Int::U16),
        0x8 => number.try_into().ok().map(Int::U32),
        0x9 => number.try_into().ok().map(Int::U64),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(mantissa: i64, exponent: i8) -> Value {
        Value::Decimal { mantissa, exponent }
    }

    fn channel(name: &str, fmt: u8, writable: bool) -> Channel {
        Channel { name: name.into(), unit: "".into(), class: None, fmt, writable }
    }

    #[test]
    fn a_value_takes_the_form_of_its_channel() {
        let on = || Value::Text("ON".into());
        let int = |int, exponent| Some(Wire::decimal(int, exponent));
        for (fmt, value, expected) in [
            (0x3E, decimal(215, -1), int(Int::I16(2150), Exponent::CENTI)),
            (0x3E, decimal(21_555, -3), int(Int::I16(2156), Exponent::CENTI)),
            (0x3E, decimal(400, 0), None),
            (0x60, decimal(255, 0), int(Int::U8(255), Exponent::ZERO)),
            (0x60, decimal(-1, 0), None),
            (0x90, decimal(i64::MAX, 0), int(Int::U64(i64::MAX.unsigned_abs()), Exponent::ZERO)),
            (0x40, Value::Bool(true), Some(Wire::Bool(true))),
            (0x40, on(), Some(Wire::Bool(true))),
            (0x40, Value::Text("up".into()), None),
            (0x10, decimal(1, 0), Some(Wire::Bool(true))),
            (0x10, decimal(2, 0), None),
            (0xA0, decimal(15, -1), Some(Wire::F32(1.5))),
            (0xB0, decimal(15, -1), Some(Wire::F64(1.5))),
            (0xB0, Value::Bool(true), None),
            (0xC0, Value::Text("hi".into()), Some(Wire::Text("hi"))),
            (0xC0, decimal(1, 0), None),
            (0x00, decimal(5, -1), int(Int::I32(5), Exponent::DECI)),
            (0x00, on(), Some(Wire::Text("ON"))),
            (0xD0, on(), None),
            (0x40, Value::Null, None),
        ] {
            assert_eq!(convert(fmt, &value), expected, "{value:?} as {fmt:#04x}");
        }
    }

    #[test]
    fn what_cannot_be_set_is_said_with_what_can() {
        let schema = Schema::of(vec![channel("temp", 0x3E, false), channel("relay", 0x10, true)]);
        let try_set = |values: &[(Arc<str>, Value)], room| set(&schema, values, room);
        let relay = || ("relay".into(), Value::Bool(true));
        assert_eq!(*try_set(&[relay()], 2).unwrap(), [1, 0x11]);
        for (values, room, said) in [
            (vec![("temp".into(), decimal(1, 0))], 50, "temp cannot be set; channels that can: relay"),
            (
                vec![("lamp".into(), decimal(1, 0))],
                50,
                "no channel \"lamp\"; channels that can be set: relay",
            ),
            (vec![("relay".into(), decimal(7, 0))], 50, "relay takes true or false"),
            (vec![relay(), relay()], 3, "takes 3 bytes of values at a time"),
        ] {
            let why = try_set(&values, room).unwrap_err();
            assert!(why.contains(said), "{why}");
        }
    }
}
