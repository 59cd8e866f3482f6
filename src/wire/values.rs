//! The values of wire v1 as ours.

use serialgate_wire as wire;

use crate::reading::Value;

/// The same value in our words. Numbers keep their decimal form; what is not finite becomes `null`,
/// as JSON has no word for it.
#[must_use]
pub fn value(value: wire::Value<'_>) -> Value {
    match value {
        wire::Value::None(_) => Value::Null,
        wire::Value::Bool(value) => Value::Bool(value),
        wire::Value::Decimal { mantissa, exponent } => match mantissa.to_i64() {
            Some(mantissa) => Value::Decimal { mantissa, exponent: exponent.get() },
            None => Value::Json(huge(mantissa.to_i128(), exponent.get())),
        },
        wire::Value::F32(value) if !value.is_finite() => Value::Null,
        wire::Value::F64(value) if !value.is_finite() => Value::Null,
        wire::Value::F32(value) => Value::F32(value),
        wire::Value::F64(value) => Value::F64(value),
        wire::Value::Text(text) => Value::Text(text.into()),
        wire::Value::Bytes(bytes) => Value::Bytes(bytes.into()),
    }
}

fn huge(mantissa: i128, exponent: i8) -> Box<str> {
    match exponent {
        0 => mantissa.to_string().into(),
        _ => format!("{mantissa}e{exponent}").into(),
    }
}

#[cfg(test)]
mod tests {
    use serialgate_wire::{Exponent, Int};

    use super::*;

    #[test]
    fn values_keep_what_they_say() {
        for (sent, expected) in [
            (wire::Value::None(3), Value::Null),
            (wire::Value::Bool(true), Value::Bool(true)),
            (
                wire::Value::decimal(Int::I16(2345), Exponent::CENTI),
                Value::Decimal { mantissa: 2345, exponent: -2 },
            ),
            (
                wire::Value::decimal(Int::U64(u64::MAX), Exponent::ZERO),
                Value::Json("18446744073709551615".into()),
            ),
            (
                wire::Value::decimal(Int::U64(u64::MAX), Exponent::DECI),
                Value::Json("18446744073709551615e-1".into()),
            ),
            (wire::Value::F32(1.5), Value::F32(1.5)),
            (wire::Value::F32(f32::NAN), Value::Null),
            (wire::Value::F64(f64::INFINITY), Value::Null),
            (wire::Value::Text("ok"), Value::Text("ok".into())),
            (wire::Value::Bytes(&[1]), Value::Bytes([1].into())),
        ] {
            assert_eq!(value(sent), expected);
        }
    }
}
