//! One value of a reading: its channel's name, its type and itself.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use serde_json::value::RawValue;

use crate::reading::Value;

use super::{BadLine, bad, from_hex};

/// `["temp", "decimal", "23.40"]`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PortableValue(String, Type, Json);

/// How the third part is to be read.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Type {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool,
    /// Text: see [`decimal`].
    Decimal,
    /// Text: see [`float`].
    F32,
    /// The same.
    F64,
    /// Text.
    Text,
    /// Text: lower-case hex.
    Bytes,
    /// Text: the JSON as it stands.
    Json,
}

pub(super) fn encode(name: &str, value: &Value) -> PortableValue {
    let (kind, json) = match value {
        Value::Null => (Type::Null, Json::Null),
        Value::Bool(truth) => (Type::Bool, (*truth).into()),
        Value::Decimal { mantissa, exponent } => (Type::Decimal, decimal(*mantissa, *exponent).into()),
        Value::F32(number) if number.is_nan() => (Type::F32, format!("0x{:08x}", number.to_bits()).into()),
        Value::F32(number) => (Type::F32, number.to_string().into()),
        Value::F64(number) if number.is_nan() => (Type::F64, format!("0x{:016x}", number.to_bits()).into()),
        Value::F64(number) => (Type::F64, number.to_string().into()),
        Value::Text(text) => (Type::Text, text.to_string().into()),
        Value::Bytes(bytes) => {
            (Type::Bytes, bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into())
        }
        Value::Json(json) => (Type::Json, json.to_string().into()),
    };
    PortableValue(name.to_owned(), kind, json)
}

pub(super) fn decode(PortableValue(name, kind, json): PortableValue) -> Result<(Arc<str>, Value), BadLine> {
    let value = match (kind, &json) {
        (Type::Null, Json::Null) => Some(Value::Null),
        (Type::Bool, Json::Bool(truth)) => Some(Value::Bool(*truth)),
        (Type::Decimal, Json::String(text)) => read_decimal(text),
        (Type::F32, Json::String(text)) => match text.strip_prefix("0x") {
            Some(bits) => u32::from_str_radix(bits, 16).ok().map(f32::from_bits),
            None => text.parse().ok(),
        }
        .map(Value::F32),
        (Type::F64, Json::String(text)) => match text.strip_prefix("0x") {
            Some(bits) => u64::from_str_radix(bits, 16).ok().map(f64::from_bits),
            None => text.parse().ok(),
        }
        .map(Value::F64),
        (Type::Text, Json::String(text)) => Some(Value::Text(text.as_str().into())),
        (Type::Bytes, Json::String(text)) => from_hex(text).map(|bytes| Value::Bytes(bytes.into())),
        (Type::Json, Json::String(text)) => {
            serde_json::from_str::<&RawValue>(text).ok().map(|_| Value::Json(text.as_str().into()))
        }
        _ => None,
    };
    let value = value.ok_or_else(|| bad(format!("value of {name:?} is not of its type: {kind:?} {json}")))?;
    Ok((name.into(), value))
}

/// `mantissa × 10^exponent` with every digit that was sent: `23.40`, `-0.05`, `5e3`.
fn decimal(mantissa: i64, exponent: i8) -> String {
    /// Beyond so many places an exponent is written.
    const PLACES_MAX: i8 = 18;
    if exponent == 0 {
        return mantissa.to_string();
    }
    if !(-PLACES_MAX..0).contains(&exponent) {
        return format!("{mantissa}e{exponent}");
    }
    let places = usize::from(exponent.unsigned_abs());
    let digits = format!("{:0width$}", mantissa.unsigned_abs(), width = places + 1);
    let (whole, fraction) = digits.split_at(digits.len() - places);
    let sign = if mantissa < 0 { "-" } else { "" };
    format!("{sign}{whole}.{fraction}")
}

fn read_decimal(text: &str) -> Option<Value> {
    let (mantissa, exponent) = if let Some((whole, fraction)) = text.split_once('.') {
        let exponent = i8::try_from(fraction.len()).ok()?.checked_neg()?;
        (format!("{whole}{fraction}").parse().ok()?, exponent)
    } else if let Some((mantissa, exponent)) = text.split_once('e') {
        (mantissa.parse().ok()?, exponent.parse().ok()?)
    } else {
        (text.parse().ok()?, 0)
    };
    // Anything else than what is written above has signs or zeros in odd places.
    (decimal(mantissa, exponent) == text).then_some(Value::Decimal { mantissa, exponent })
}
