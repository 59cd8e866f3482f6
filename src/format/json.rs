//! One JSON object per line: `{"temp":23.45,"hum":41.2}`.
//!
//! Numbers keep their decimal digits: `23.45` is 2345 × 10⁻², never a binary fraction. A number
//! that does not fit that form (more than 18 digits or so, `-0`, `1e99`), an object or an array is
//! kept as compact JSON text. Channel names stay as they are, except that control characters
//! become `_`; there is no escape for them in topics and in most consumers.

use std::collections::HashSet;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Decoded, Reason};
use crate::reading::Value;

/// Most channels in one reading.
pub const CHANNELS_MAX: usize = 64;
/// Longest channel name, in bytes.
pub const NAME_MAX: usize = 64;
/// Longest text value, in bytes.
pub const TEXT_MAX: usize = 1024;
/// Longest nested value or odd number, in bytes of compact JSON.
pub const FRAGMENT_MAX: usize = 4096;
/// Deepest nesting of a value.
pub const DEPTH_MAX: usize = 32;
/// Names that a decoder remembers so as to share them between readings; further ones are copied.
const SHARED_MAX: usize = 1024;

/// Reads the lines of one port.
#[derive(Debug, Default)]
pub struct Decoder {
    device_key: Option<Box<str>>,
    names: HashSet<Arc<str>>,
}

impl Decoder {
    /// A decoder for lines in which `device_key` names the device.
    #[must_use]
    pub fn new(device_key: Option<&str>) -> Self {
        Self { device_key: device_key.map(Into::into), names: HashSet::new() }
    }

    /// The key that names the device, if there is one.
    #[must_use]
    pub fn device_key(&self) -> Option<&str> {
        self.device_key.as_deref()
    }

    /// Reads one line.
    ///
    /// # Errors
    /// The line is not an object that we take; see [`Reason`].
    pub fn decode(&mut self, line: &[u8]) -> Result<Decoded, Reason> {
        let line = str::from_utf8(line).map_err(|_| Reason::NotUtf8)?.trim_ascii();
        if !line.starts_with('{') {
            return Err(Reason::NotObject);
        }
        let Members(members) = serde_json::from_str(line).map_err(|_| Reason::Syntax)?;
        let mut decoded = Decoded { device: None, values: Vec::with_capacity(members.len()) };
        for (name, raw) in members {
            if self.device_key.as_deref() == Some(&*name) {
                if decoded.device.replace(device(raw)?).is_some() {
                    return Err(Reason::Duplicate);
                }
                continue;
            }
            let name = self.share(&name)?;
            if decoded.values.iter().any(|(known, _)| *known == name) {
                return Err(Reason::Duplicate);
            }
            if decoded.values.len() == CHANNELS_MAX {
                return Err(Reason::TooMany);
            }
            decoded.values.push((name, value(raw)?));
        }
        if decoded.values.is_empty() { Err(Reason::Empty) } else { Ok(decoded) }
    }

    /// `name` as a channel name, shared with earlier readings.
    fn share(&mut self, name: &str) -> Result<Arc<str>, Reason> {
        if name.is_empty() || name.len() > NAME_MAX {
            return Err(Reason::Name);
        }
        if let Some(known) = self.names.get(name) {
            return Ok(Arc::clone(known));
        }
        let clean: Arc<str> = name.replace(char::is_control, "_").into();
        if self.names.len() < SHARED_MAX {
            self.names.insert(Arc::clone(&clean));
        }
        Ok(clean)
    }
}

/// The members of an object in order, duplicates and all; values as they stand there.
pub(crate) struct Members<'a>(pub(crate) Vec<(String, &'a str)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some((name, raw)) = map.next_entry::<String, &'de RawValue>()? {
                    members.push((name, raw.get()));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// What names a device: text, or a number as it stands there.
fn device(raw: &str) -> Result<String, Reason> {
    match raw.as_bytes().first() {
        Some(b'"') => text(raw),
        Some(b'-' | b'0'..=b'9') if raw.len() <= NAME_MAX => Ok(raw.into()),
        _ => Err(Reason::Device),
    }
}

/// A member's value. `raw` is valid JSON with no space around it.
fn value(raw: &str) -> Result<Value, Reason> {
    match raw.as_bytes().first() {
        Some(b'n') => Ok(Value::Null),
        Some(b't') => Ok(Value::Bool(true)),
        Some(b'f') => Ok(Value::Bool(false)),
        Some(b'"') => text(raw).map(|text| Value::Text(text.into())),
        Some(b'{' | b'[') => compact(raw).map(Value::Json),
        _ => match decimal(raw) {
            Some((mantissa, exponent)) => Ok(Value::Decimal { mantissa, exponent }),
            None if raw.len() <= FRAGMENT_MAX => Ok(Value::Json(raw.into())),
            None => Err(Reason::ValueTooLong),
        },
    }
}

/// A JSON string without its quotes and escapes.
fn text(raw: &str) -> Result<String, Reason> {
    // The one thing that can still be wrong here is half of a surrogate pair.
    let text: String = serde_json::from_str(raw).map_err(|_| Reason::Syntax)?;
    if text.len() <= TEXT_MAX { Ok(text) } else { Err(Reason::ValueTooLong) }
}

/// A JSON number as mantissa and power of ten, or `None` where it does not fit.
fn decimal(raw: &str) -> Option<(i64, i8)> {
    let (digits, exponent) = match raw.split_once(['e', 'E']) {
        Some((digits, exponent)) => (digits, exponent.parse::<i64>().ok()?),
        None => (raw, 0),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let negative = whole.starts_with('-');
    let mantissa =
        whole.bytes().chain(fraction.bytes()).filter(u8::is_ascii_digit).try_fold(0i64, |sum, digit| {
            // Downwards, because there is one more negative number than there are positive ones.
            sum.checked_mul(10)?.checked_sub(i64::from(digit - b'0'))
        })?;
    if negative && mantissa == 0 {
        return None;
    }
    let mantissa = if negative { mantissa } else { mantissa.checked_neg()? };
    let exponent = exponent.checked_sub(i64::try_from(fraction.len()).ok()?)?;
    let exponent = i8::try_from(exponent).ok().filter(|e| (-EXPONENT_MAX..=EXPONENT_MAX).contains(e))?;
    Some((mantissa, exponent))
}

/// Largest power of ten of a [`Value::Decimal`], either way.
const EXPONENT_MAX: i8 = 18;

/// A nested value without the space between its tokens. `raw` is valid JSON.
fn compact(raw: &str) -> Result<Box<str>, Reason> {
    let mut compact = String::new();
    let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
    for c in raw.chars() {
        if quoted {
            quoted = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else {
            match c {
                ' ' | '\t' | '\r' | '\n' => continue,
                '"' => quoted = true,
                '{' | '[' => depth += 1,
                '}' | ']' => depth -= 1,
                _ => {}
            }
        }
        if depth > DEPTH_MAX {
            return Err(Reason::TooDeep);
        }
        if compact.len() + c.len_utf8() > FRAGMENT_MAX {
            return Err(Reason::ValueTooLong);
        }
        compact.push(c);
    }
    Ok(compact.into())
}

#[cfg(test)]
mod tests;
