//! Commands to devices, and what becomes of them: what stands in the payloads of `set` and `result`.
//!
//! ```json
//! {"relay":true,"setpoint":21.5}
//! {"$call":{"command":16,"arguments":500},"$transaction":"abc"}
//! ```
//! Keys are channels to be set. Those that begin with `$` are ours: `$reboot`, `$interval` and `$call`
//! each stand alone, `$transaction` goes with any and comes back with the result.

use std::sync::Arc;

use serde::Deserialize;

use crate::format::json::Decoder;
use crate::reading::Value;

/// Longest payload of a command, in bytes.
pub const PAYLOAD_MAX: usize = 4096;
/// Longest `$transaction`, in bytes.
pub const TRANSACTION_MAX: usize = 256;
/// Longest interval between two readings that a board can be given, in seconds: 49.7 days.
const INTERVAL_MAX_S: u32 = u32::MAX / 1000;
/// The first of the commands that mean what the sketch says (PROTOCOL.md, 4).
const FIRST_OWN: u8 = 16;

/// What a device is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    /// Set these channels.
    Set(Vec<(Arc<str>, Value)>),
    /// Start anew.
    Reboot,
    /// Measure at this interval.
    Interval {
        /// Milliseconds.
        ms: u32,
    },
    /// Something that the sketch knows.
    Own {
        /// 16 to 255.
        command: u8,
        /// As the sketch wants them.
        arguments: Box<[u8]>,
    },
}

/// A command as it was read, and what it is to be told by.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// What is to be done, or what is wrong with it.
    pub call: Result<Call, String>,
    /// Comes back with the result.
    pub transaction: Option<Value>,
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The device did it.
    Done(Given),
    /// The device did not do it.
    Declined {
        /// Why: 1 it does not know it, 2 it refuses; others are its own (PROTOCOL.md, 3).
        code: u8,
        /// What it gave all the same.
        given: Given,
    },
    /// It stands on the line. Devices of this format do not answer.
    Sent,
    /// It was not done, or nobody knows.
    Failed(Failure),
}

/// What a device gave with its answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Given {
    /// Values of channels.
    Values(Vec<(Arc<str>, Value)>),
    /// What the sketch's own command gives.
    Answer(Vec<Value>),
}

/// Why a command was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It cannot be done as it stands.
    #[error("{0}")]
    Invalid(String),
    /// The device is not there. Commands do not wait for it: what was right then may be wrong later.
    #[error("{0}")]
    Offline(String),
    /// Too many commands wait for the device.
    #[error("too many commands wait for this device; it was not sent")]
    Busy,
    /// It was not sent in time, because the device does not listen or others came first.
    #[error("the device did not listen in time; it was not sent")]
    Unsent,
    /// It was sent, and no answer came in time.
    #[error("the device did not answer in time; it may have done it or not")]
    Unanswered,
    /// The device rebooted, or its port was closed, before it answered.
    #[error("the device went away before it answered; it may have done it or not")]
    Gone,
}

impl Answer {
    /// The answer in one word.
    #[must_use]
    pub fn status(&self) -> &'static str {
        match self {
            Self::Done(_) => "ok",
            Self::Sent => "sent",
            Self::Declined { code: 1, .. } => "unknown",
            Self::Declined { code: 2, .. } => "refused",
            Self::Declined { .. } => "failed",
            Self::Failed(Failure::Invalid(_)) => "invalid",
            Self::Failed(Failure::Offline(_)) => "offline",
            Self::Failed(Failure::Busy) => "busy",
            Self::Failed(Failure::Unsent | Failure::Unanswered) => "timeout",
            Self::Failed(Failure::Gone) => "gone",
        }
    }
}

impl From<Failure> for Answer {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Order {
    /// Reads the payload of a command.
    #[must_use]
    pub fn read(payload: &[u8]) -> Self {
        let wrong = |why: String| Self { call: Err(why), transaction: None };
        if payload.len() > PAYLOAD_MAX {
            return wrong(format!(
                "a command has at most {PAYLOAD_MAX} bytes; this one has {}",
                payload.len()
            ));
        }
        let mut values = match Decoder::default().decode(payload) {
            Ok(decoded) => decoded.values,
            Err(reason) => {
                return wrong(format!("a command is a JSON object, as in {{\"relay\":true}}: {reason}"));
            }
        };
        let at = values.iter().position(|(name, _)| &**name == "$transaction");
        let transaction = at.map(|at| values.remove(at).1);
        match transaction {
            Some(Value::Text(text)) if text.len() > TRANSACTION_MAX => {
                wrong(format!("$transaction has at most {TRANSACTION_MAX} bytes"))
            }
            Some(Value::Json(_)) => wrong("$transaction is text or a plain number".into()),
            transaction => Self { call: call(values), transaction },
        }
    }
}

/// What is to be done with these keys and values.
fn call(values: Vec<(Arc<str>, Value)>) -> Result<Call, String> {
    let own = values.iter().find(|(name, _)| name.starts_with('$'));
    let Some((name, value)) = own else {
        return if values.is_empty() { Err("it names no channel".into()) } else { Ok(Call::Set(values)) };
    };
    if values.len() > 1 {
        return Err(format!("{name} stands alone: send channels in a command of their own"));
    }
    match &**name {
        "$reboot" if *value == Value::Bool(true) => Ok(Call::Reboot),
        "$reboot" => Err("$reboot is true, or not there".into()),
        "$interval" => interval(value),
        "$call" => own_call(value),
        _ => Err(format!("{name} is none of $reboot, $interval, $call and $transaction")),
    }
}

fn interval(value: &Value) -> Result<Call, String> {
    let wrong = || format!("$interval is a number of seconds, 0.001 to {INTERVAL_MAX_S}, as in 0.5");
    let Value::Decimal { mantissa, exponent } = *value else { return Err(wrong()) };
    let ms = scaled(mantissa, i32::from(exponent) + 3).and_then(|ms| u32::try_from(ms).ok());
    match ms {
        Some(ms) if ms > 0 => Ok(Call::Interval { ms }),
        _ => Err(wrong()),
    }
}

/// `$call`, as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Own {
    command: u8,
    #[serde(default)]
    arguments: Arguments,
}

/// What goes with it: a number becomes four bytes, the lowest first; text its UTF-8; or the bytes
/// themselves.
#[derive(Deserialize)]
#[serde(untagged)]
enum Arguments {
    Number(u32),
    Negative(i32),
    Text(String),
    Bytes(Vec<u8>),
}

impl Default for Arguments {
    fn default() -> Self {
        Self::Bytes(Vec::new())
    }
}

fn own_call(value: &Value) -> Result<Call, String> {
    const FORM: &str = "$call is {\"command\":16 to 255,\"arguments\":…}, where arguments are a number \
                        of 32 bits, text, or a list of bytes";
    let Value::Json(json) = value else { return Err(FORM.into()) };
    let Own { command, arguments } = serde_json::from_str(json).map_err(|_| FORM)?;
    if command < FIRST_OWN {
        return Err(FORM.into());
    }
    let arguments = match arguments {
        Arguments::Number(number) => number.to_le_bytes().into(),
        Arguments::Negative(number) => number.to_le_bytes().into(),
        Arguments::Text(text) => text.into_bytes().into(),
        Arguments::Bytes(bytes) => bytes.into(),
    };
    Ok(Call::Own { command, arguments })
}

/// `mantissa × 10^exponent` as a whole number, halves away from zero; `None` where it has no room.
#[must_use]
pub fn scaled(mantissa: i64, exponent: i32) -> Option<i64> {
    let power = 10i64.checked_pow(exponent.unsigned_abs());
    if exponent >= 0 {
        return if mantissa == 0 { Some(0) } else { mantissa.checked_mul(power?) };
    }
    // What is smaller than half of one unit, however small, is none.
    let Some(power) = power else { return Some(0) };
    let (whole, rest) = (mantissa / power, mantissa % power);
    Some(if rest.unsigned_abs() >= power.unsigned_abs().div_ceil(2) {
        whole + mantissa.signum()
    } else {
        whole
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(mantissa: i64, exponent: i8) -> Value {
        Value::Decimal { mantissa, exponent }
    }

    #[test]
    fn keys_are_channels_and_those_with_a_dollar_are_ours() {
        let own = |command, arguments: &[u8]| Call::Own { command, arguments: arguments.into() };
        for (payload, expected) in [
            (
                r#"{"relay":true,"setpoint":21.5}"#,
                Call::Set(vec![("relay".into(), Value::Bool(true)), ("setpoint".into(), decimal(215, -1))]),
            ),
            (r#"{"$reboot":true}"#, Call::Reboot),
            (r#"{"$interval":0.5}"#, Call::Interval { ms: 500 }),
            (r#"{"$interval":3600}"#, Call::Interval { ms: 3_600_000 }),
            (r#"{"$call":{"command":16}}"#, own(16, &[])),
            (r#"{"$call":{"command":16,"arguments":500}}"#, own(16, &[0xF4, 1, 0, 0])),
            (r#"{"$call":{"command":255,"arguments":-1}}"#, own(255, &[0xFF; 4])),
            (r#"{"$call":{"command":17,"arguments":"hi"}}"#, own(17, b"hi")),
            (r#"{"$call":{"command":17,"arguments":[1,255]}}"#, own(17, &[1, 255])),
        ] {
            let order = Order::read(payload.as_bytes());
            assert_eq!(order, Order { call: Ok(expected), transaction: None }, "{payload}");
        }
    }

    #[test]
    fn a_transaction_comes_with_anything_right_or_wrong() {
        let order = Order::read(br#"{"$transaction":"a1","relay":1}"#);
        assert_eq!(order.transaction, Some(Value::Text("a1".into())));
        order.call.unwrap();
        let order = Order::read(br#"{"$transaction":7}"#);
        assert_eq!((order.transaction, order.call), (Some(decimal(7, 0)), Err("it names no channel".into())));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(PAYLOAD_MAX));
        for (payload, said) in [
            ("ON", "as in {\"relay\":true}"),
            ("", "JSON object"),
            ("[1]", "JSON object"),
            ("{}", "no values"),
            (r#"{"a":1,"a":2}"#, "twice"),
            (&long, "at most 4096 bytes"),
            (r#"{"$reboot":1}"#, "$reboot is true"),
            (r#"{"$reboot":true,"a":1}"#, "$reboot stands alone"),
            (r#"{"$interval":0}"#, "number of seconds"),
            (r#"{"$interval":"10s"}"#, "number of seconds"),
            (r#"{"$interval":4294968}"#, "0.001 to 4294967"),
            (r#"{"$interval":1e18}"#, "number of seconds"),
            (r#"{"$call":16}"#, "$call is"),
            (r#"{"$call":{"command":15}}"#, "16 to 255"),
            (r#"{"$call":{"command":16,"argument":1}}"#, "arguments"),
            (r#"{"$call":{"command":16,"arguments":[256]}}"#, "list of bytes"),
            (r#"{"$reset":true}"#, "$reset is none of"),
            (r#"{"$transaction":[1],"a":1}"#, "$transaction is text or a plain number"),
        ] {
            let why = Order::read(payload.as_bytes()).call.unwrap_err();
            assert!(why.contains(said), "{payload}: {why}");
        }
    }

    #[test]
    fn numbers_are_scaled_exactly() {
        for (mantissa, exponent, expected) in [
            (215, -1, Some(22)),
            (-215, -1, Some(-22)),
            (214, -1, Some(21)),
            (5, -1, Some(1)),
            (4, -1, Some(0)),
            (i64::MAX, -30, Some(0)),
            (0, 100, Some(0)),
            (1, 18, Some(1_000_000_000_000_000_000)),
            (1, 19, None),
            (i64::MAX, 1, None),
            (i64::MIN, -18, Some(-9)),
            (7, 0, Some(7)),
        ] {
            assert_eq!(scaled(mantissa, exponent), expected, "{mantissa}e{exponent}");
        }
    }
}
