//! RFC 3339 in UTC with milliseconds, for the years 1970 to 9999; what lies outside is clamped.

/// A moment as `2026-01-01T00:00:00.123Z`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rfc3339([u8; Rfc3339::LEN]);

/// 1970-01-01T00:00:00.000Z, in milliseconds since that moment.
const FIRST_MS: i64 = 0;
/// 9999-12-31T23:59:59.999Z, likewise.
const LAST_MS: i64 = 253_402_300_799_999;
const MS_PER_DAY: u64 = 86_400_000;
/// Days from 0000-03-01 to 1970-01-01.
const TO_1970: u64 = 719_468;

impl Rfc3339 {
    const LEN: usize = 24;

    /// The text.
    pub(super) fn as_str(&self) -> &str {
        // Only ASCII digits are ever written over the ASCII template.
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// A moment, in microseconds since 1970, as in RFC 3339.
#[must_use]
pub fn moment(unix_us: i64) -> String {
    rfc3339(unix_us).as_str().to_owned()
}

/// The [`moment`] that `text` tells, in microseconds since 1970; `None` where it tells none.
#[must_use]
pub fn unix_us(text: &str) -> Option<i64> {
    let number = |from, to| text.get(from..to)?.parse::<u32>().ok().map(i64::from);
    let (year, month, of_month) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let ms = ((number(11, 13)? * 60 + number(14, 16)?) * 60 + number(17, 19)?) * 1000 + number(20, 23)?;
    // The years of `civil` begin in March.
    let (year, from_march) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let day = year * 365 + year / 4 - year / 100 + year / 400 + (153 * from_march + 2) / 5 + of_month - 1;
    Some(((day - TO_1970.cast_signed()) * MS_PER_DAY.cast_signed() + ms) * 1000)
}

/// `unix_us` (microseconds since 1970, UTC, without leap seconds) as text; cut, not rounded.
pub(super) fn rfc3339(unix_us: i64) -> Rfc3339 {
    let ms = unix_us.div_euclid(1000).clamp(FIRST_MS, LAST_MS).unsigned_abs();
    let (year, month, day) = civil(ms / MS_PER_DAY);
    let of_day = ms % MS_PER_DAY;
    let mut text = *b"0000-00-00T00:00:00.000Z";
    for (place, width, number) in [
        (0, 4, year),
        (5, 2, month),
        (8, 2, day),
        (11, 2, of_day / 3_600_000),
        (14, 2, of_day / 60_000 % 60),
        (17, 2, of_day / 1000 % 60),
        (20, 3, of_day % 1000),
    ] {
        put(text.get_mut(place..place + width).unwrap_or_default(), number);
    }
    Rfc3339(text)
}

/// `unix_s` (seconds since 1970) for people: `2026-01-01 00:00 UTC`.
#[must_use]
pub fn minute(unix_s: u64) -> String {
    let us = i64::try_from(unix_s).unwrap_or(i64::MAX).saturating_mul(1_000_000);
    let text = rfc3339(us);
    let (date, time) = text.as_str().split_at(10);
    format!("{date} {} UTC", time.get(1..6).unwrap_or_default())
}

fn put(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit += u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
    }
}

/// Year, month and day of the given day since 1970-01-01, Gregorian calendar.
///
/// Counts in eras of 400 years that begin on 1 March 0000, so that the leap day is the last of its
/// year. Source: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
fn civil(day: u64) -> (u64, u64, u64) {
    const PER_ERA: u64 = 146_097;
    let day = day + TO_1970;
    let (era, of_era) = (day / PER_ERA, day % PER_ERA);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / (PER_ERA - 1)) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_moments_are_written_as_rfc_3339_says() {
        for (unix_us, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_767_225_600_123_999, "2026-01-01T00:00:00.123Z"),
            (951_782_399_999_000, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_000_000, "2000-03-01T00:00:00.000Z"),
            (4_107_542_400_000_000, "2100-03-01T00:00:00.000Z"),
            (253_402_300_799_999_999, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(rfc3339(unix_us).as_str(), expected, "{unix_us}");
        }
    }

    #[test]
    fn what_lies_outside_is_clamped() {
        for (unix_us, expected) in [
            (-1, "1970-01-01T00:00:00.000Z"),
            (i64::MIN, "1970-01-01T00:00:00.000Z"),
            (253_402_300_800_000_000, "9999-12-31T23:59:59.999Z"),
            (i64::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(rfc3339(unix_us).as_str(), expected, "{unix_us}");
        }
    }

    #[test]
    fn each_day_of_400_years_follows_the_one_before() {
        let length = |year: u64, month| match month {
            2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        let mut expected = (1970, 1, 1);
        for day in 0..146_097 * 2 {
            assert_eq!(civil(day), expected, "day {day}");
            let (year, month, of_month) = expected;
            expected = if of_month < length(year, month) {
                (year, month, of_month + 1)
            } else if month < 12 {
                (year, month + 1, 1)
            } else {
                (year + 1, 1, 1)
            };
        }
    }

    proptest! {
        #[test]
        fn later_moments_read_later(a in any::<i64>(), b in any::<i64>()) {
            let (a, b) = (a.min(b), a.max(b));
            prop_assert!(rfc3339(a).as_str() <= rfc3339(b).as_str());
        }

        #[test]
        fn what_is_written_reads_the_same(ms in FIRST_MS..=LAST_MS) {
            prop_assert_eq!(unix_us(&moment(ms * 1000)), Some(ms * 1000));
        }

        #[test]
        fn text_that_tells_no_moment_does_no_harm(text in "[0-9TZ:.-]{0,30}") {
            let _ = unix_us(&text);
        }
    }
}
