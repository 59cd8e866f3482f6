//! Kinds of values that several sections share: names, numbers, paths, quantities.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::read::Wrong;
use super::units;
use crate::topic;

/// Longest path, in bytes: the kernel's `PATH_MAX` without its NUL.
pub(super) const MAX_PATH_BYTES: usize = 4095;

/// A name that may stand in a topic.
pub(super) fn slug(text: &str) -> Result<String, Wrong> {
    let slug = topic::slug(text);
    if slug.as_deref() == Some(text) {
        return Ok(text.to_owned());
    }
    let what = format!("cannot stand in topics, where names are 1 to {} of a-z 0-9 _ -", topic::SLUG_MAX);
    Err(Wrong::value(text, &what, format!("write `{}`", slug.as_deref().unwrap_or("greenhouse"))))
}

/// A text of one line that is not empty.
pub(super) fn line(text: &str, max_bytes: usize) -> Result<String, Wrong> {
    if text.is_empty() {
        Err(Wrong::new("the text is empty", "write a value, or leave the key out"))
    } else if text.len() > max_bytes {
        Err(Wrong::new(format!("the text is longer than {max_bytes} bytes"), "write a shorter one"))
    } else if text.contains(char::is_control) {
        Err(Wrong::new("the text has control characters or several lines", "write one plain line"))
    } else {
        Ok(text.to_owned())
    }
}

/// The path of a file.
pub(super) fn file(text: &str) -> Result<PathBuf, Wrong> {
    let text = line(text, MAX_PATH_BYTES)?;
    if text.ends_with('/') {
        return Err(Wrong::value(&text, "is a folder", "write the name of a file"));
    }
    Ok(PathBuf::from(text))
}

/// Yes or no.
pub(super) fn truth(text: &str) -> Result<bool, Wrong> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        other => Err(Wrong::choice(other, &["true", "false"])),
    }
}

/// A whole number in `range`.
pub(super) fn number<T>(text: &str, range: RangeInclusive<T>, example: &str) -> Result<T, Wrong>
where
    T: FromStr + PartialOrd + Display,
{
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let parsed = text.parse().ok().filter(|_| digits);
    match parsed {
        Some(number) if range.contains(&number) => Ok(number),
        None if !digits => {
            Err(Wrong::value(text, "is not a whole number", format!("write for example {example}")))
        }
        _ => Err(Wrong::value(
            text,
            "is out of range",
            format!("write a number from {} to {}", range.start(), range.end()),
        )),
    }
}

/// A duration in `range`.
pub(super) fn duration(
    text: &str,
    range: &RangeInclusive<Duration>,
    example: &str,
) -> Result<Duration, Wrong> {
    let duration = units::parse_duration(text)
        .map_err(|error| Wrong::unit(text, &error, "ms, s, min, h, d", example))?;
    within(text, duration, range, |end| units::print_duration(*end))
}

/// A size in bytes in `range`.
pub(super) fn size(text: &str, range: &RangeInclusive<u64>, example: &str) -> Result<u64, Wrong> {
    let size =
        units::parse_size(text).map_err(|error| Wrong::unit(text, &error, "KiB, MiB, GiB, TiB", example))?;
    within(text, size, range, |end| units::print_size(*end))
}

fn within<T: PartialOrd>(
    text: &str,
    value: T,
    range: &RangeInclusive<T>,
    print: impl Fn(&T) -> String,
) -> Result<T, Wrong> {
    if range.contains(&value) {
        return Ok(value);
    }
    let what = if value < *range.start() { "is too little" } else { "is too much" };
    let instead = format!("write something from {} to {}", print(range.start()), print(range.end()));
    Err(Wrong::value(text, what, instead))
}
