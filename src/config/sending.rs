//! How a bridge sends: how fast.

use std::ops::RangeInclusive;

use super::read::{Problems, Table, Wrong, text};
use super::tree::{Node, Value};
use super::values;

/// Messages a second that a bridge can be held to.
const MESSAGES: RangeInclusive<u32> = 1..=1_000_000;

/// Bytes a second that a bridge can be held to: less would hold a single message up for minutes.
const BYTES: RangeInclusive<u64> = 100..=1 << 30;

/// What to write instead of a wrong rate.
const RATE_EXAMPLE: &str =
    "write `200/s` for messages, `64KiB/s` for bytes, or both as `{messages: 200/s, bytes: 64KiB/s}`";

/// The most that a bridge sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// Messages a second: PUBLISH packets.
    pub messages: Option<u32>,
    /// Bytes of PUBLISH packets a second, with their headers.
    pub bytes: Option<u32>,
}

impl Rate {
    /// Reads the key `rate` of `table`.
    pub(super) fn read(table: &mut Table<'_>, problems: &mut Problems) -> Self {
        let mut rate = Self::default();
        match table.node("rate") {
            Some(node @ Node { value: Value::Mapping(_), .. }) => {
                let Some(mut table) = Table::open("a rate", node, problems) else { return rate };
                table.set("messages", &mut rate.messages, problems, |text| messages(text).map(Some));
                table.set("bytes", &mut rate.bytes, problems, |text| bytes(text).map(Some));
                table.close(&[], problems);
                rate
            }
            Some(node) => text("rate", node, problems, either).unwrap_or_default(),
            None => rate,
        }
    }
}

fn either(text: &str) -> Result<Rate, Wrong> {
    if per_second(text)?.bytes().all(|byte| byte.is_ascii_digit()) {
        Ok(Rate { messages: Some(messages(text)?), bytes: None })
    } else {
        Ok(Rate { messages: None, bytes: Some(bytes(text)?) })
    }
}

fn messages(text: &str) -> Result<u32, Wrong> {
    values::number(per_second(text)?, MESSAGES, "`200/s`")
}

fn bytes(text: &str) -> Result<u32, Wrong> {
    let bytes = values::size(per_second(text)?, &BYTES, "64KiB/s")?;
    // The range ends below.
    Ok(u32::try_from(bytes).unwrap_or(u32::MAX))
}

/// What stands before `/s`.
fn per_second(text: &str) -> Result<&str, Wrong> {
    let amount = text.trim().strip_suffix("/s").map(str::trim_end);
    amount.ok_or_else(|| Wrong::value(text, "is not so much a second", RATE_EXAMPLE))
}
