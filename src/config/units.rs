//! Quantities with their unit, as people write them: `250ms`, `30d`, `1GiB`.
//!
//! Whole numbers only, and never without a unit: `250` could be anything.

use std::time::Duration;

/// Units of time and their length in milliseconds, longest first.
const TIME: [(&str, u64); 5] =
    [("d", 24 * 60 * 60 * 1000), ("h", 60 * 60 * 1000), ("min", 60 * 1000), ("s", 1000), ("ms", 1)];

/// Units of size and their length in bytes: binary ones, largest first, then the decimal ones that
/// are understood but never written.
const SIZE: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
];

/// Why a text is not a quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Not even a number.
    #[error("does not begin with a whole number")]
    NoNumber,
    /// A number, and nothing else.
    #[error("has no unit")]
    NoUnit,
    /// A number, and something else.
    #[error("has the unknown unit `{0}`")]
    UnknownUnit(String),
    /// More than 2^64 milliseconds or bytes.
    #[error("is too large")]
    TooLarge,
}

/// Reads a duration such as `250ms`, `10s`, `5min`, `2h` or `30d`.
///
/// # Errors
/// Says why `text` is not one.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    parse(text, &TIME).map(Duration::from_millis)
}

/// Reads a size in bytes such as `64KiB`, `1GiB` or `500MB`.
///
/// # Errors
/// Says why `text` is not one.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    parse(text, &SIZE)
}

/// Writes a duration, exact to the millisecond, in the longest unit that needs no fraction.
#[must_use]
pub fn print_duration(duration: Duration) -> String {
    print(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), &TIME)
}

/// Writes a size in the largest binary unit that needs no fraction.
#[must_use]
pub fn print_size(bytes: u64) -> String {
    print(bytes, &SIZE[..5])
}

fn parse(text: &str, units: &[(&str, u64)]) -> Result<u64, UnitError> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    if number.is_empty() {
        return Err(UnitError::NoNumber);
    }
    if unit.is_empty() {
        return Err(UnitError::NoUnit);
    }
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        return Err(UnitError::UnknownUnit(unit.to_owned()));
    };
    let number: u64 = number.parse().map_err(|_| UnitError::TooLarge)?;
    number.checked_mul(*factor).ok_or(UnitError::TooLarge)
}

fn print(quantity: u64, units: &[(&str, u64)]) -> String {
    let exact = units.iter().find(|(_, factor)| quantity >= *factor && quantity.is_multiple_of(*factor));
    let (unit, factor) = exact.or(units.last()).copied().unwrap_or(("", 1));
    format!("{}{unit}", quantity / factor)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_with_their_unit() {
        for (text, expected) in [
            ("250ms", Ok(Duration::from_millis(250))),
            ("10 s", Ok(Duration::from_secs(10))),
            ("5min", Ok(Duration::from_secs(300))),
            ("2h", Ok(Duration::from_secs(7200))),
            ("30d", Ok(Duration::from_secs(30 * 86_400))),
            ("250", Err(UnitError::NoUnit)),
            ("", Err(UnitError::NoNumber)),
            ("ms", Err(UnitError::NoNumber)),
            ("-1s", Err(UnitError::NoNumber)),
            ("1.5h", Err(UnitError::UnknownUnit(".5h".into()))),
            ("5m", Err(UnitError::UnknownUnit("m".into()))),
            ("1MiB", Err(UnitError::UnknownUnit("MiB".into()))),
            ("99999999999999999999s", Err(UnitError::TooLarge)),
            ("18446744073709551615d", Err(UnitError::TooLarge)),
        ] {
            assert_eq!(parse_duration(text), expected, "{text}");
        }
    }

    #[test]
    fn sizes_are_read_with_their_unit() {
        for (text, expected) in [
            ("1GiB", Ok(1 << 30)),
            ("64 KiB", Ok(65_536)),
            ("500MB", Ok(500_000_000)),
            ("7B", Ok(7)),
            ("1G", Err(UnitError::UnknownUnit("G".into()))),
            ("1gib", Err(UnitError::UnknownUnit("gib".into()))),
            ("1024", Err(UnitError::NoUnit)),
            ("17179869184GiB", Err(UnitError::TooLarge)),
        ] {
            assert_eq!(parse_size(text), expected, "{text}");
        }
    }

    #[test]
    fn quantities_are_written_without_a_fraction() {
        assert_eq!(print_duration(Duration::from_millis(250)), "250ms");
        assert_eq!(print_duration(Duration::from_secs(90)), "90s");
        assert_eq!(print_duration(Duration::from_secs(30 * 86_400)), "30d");
        assert_eq!(print_duration(Duration::ZERO), "0ms");
        assert_eq!(print_size(1 << 30), "1GiB");
        assert_eq!(print_size((1 << 30) + 1), "1073741825B");
        assert_eq!(print_size(0), "0B");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(quantity: u64) {
            prop_assert_eq!(parse_size(&print_size(quantity)), Ok(quantity));
            let duration = Duration::from_millis(quantity);
            prop_assert_eq!(parse_duration(&print_duration(duration)), Ok(duration));
        }

        #[test]
        fn any_text_is_a_quantity_or_an_error(text: String) {
            let _ = (parse_size(&text), parse_duration(&text));
        }
    }
}
