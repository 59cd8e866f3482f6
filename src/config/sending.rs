//! How a bridge sends: how fast, and how much in one message.

use std::ops::RangeInclusive;
use std::time::Duration;

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

/// Readings in one message.
const BATCH_MAX: RangeInclusive<usize> = 2..=1000;

/// How long the first reading of a message may wait for the others.
const BATCH_WITHIN: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(3600);

/// What to write instead of a wrong batch.
const BATCH_EXAMPLE: &str = "write for example `batch: {max: 100, within: 1s}`";

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

/// How readings of one device go together in one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Most readings in one message.
    pub max: usize,
    /// How long the first one may wait for the others.
    pub within: Duration,
    /// How the message is packed.
    pub compress: Option<Compression>,
}

/// How a message is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl Default for Batch {
    fn default() -> Self {
        Self { max: 100, within: Duration::from_secs(1), compress: None }
    }
}

impl Batch {
    /// Reads the key `batch` of `table`.
    pub(super) fn read(table: &mut Table<'_>, problems: &mut Problems) -> Option<Self> {
        let node = table.node("batch")?;
        if !matches!(node.value, Value::Mapping(_)) {
            let wrong = Wrong::new("a batch is a group of keys", BATCH_EXAMPLE);
            problems.add_for("batch", node.place, &wrong);
            return None;
        }
        let (mut batch, mut table) = (Self::default(), Table::open("a batch", node, problems)?);
        table.set("max", &mut batch.max, problems, |text| values::number(text, BATCH_MAX, "`max: 100`"));
        table.set("within", &mut batch.within, problems, |text| values::duration(text, &BATCH_WITHIN, "1s"));
        table.set("compress", &mut batch.compress, problems, |text| compression(text).map(Some));
        table.close(&[], problems);
        Some(batch)
    }
}

fn compression(text: &str) -> Result<Compression, Wrong> {
    match text {
        "gzip" => Ok(Compression::Gzip),
        "zstd" => Ok(Compression::Zstd),
        other => Err(Wrong::choice(other, &["gzip", "zstd"])),
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
