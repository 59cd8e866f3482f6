//! How values stand in columns.

use std::time::{Duration, Instant};

use rusqlite::Row;
use serde::Serialize;

use crate::mqtt::packet::Qos;
use crate::reading::Properties;

/// One moment on both clocks: the memory counts by one of them, the file by the other.
#[derive(Clone, Copy, Debug)]
pub(in crate::broker) struct Base {
    instant: Instant,
    boot_us: i64,
}

impl Base {
    /// `instant` and `boot_us` are the same moment.
    pub(in crate::broker) fn new(instant: Instant, boot_us: i64) -> Self {
        Self { instant, boot_us }
    }

    /// The moment itself, for the file.
    pub(super) fn now_us(self) -> i64 {
        self.boot_us
    }

    /// That moment, for the file.
    pub(super) fn us(self, at: Instant) -> i64 {
        let micros = |span: Duration| i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        match at.checked_duration_since(self.instant) {
            Some(later) => self.boot_us.saturating_add(micros(later)),
            None => self.boot_us.saturating_sub(micros(self.instant.saturating_duration_since(at))),
        }
    }

    /// That moment, for the memory. What lies before all that the clock can tell is now.
    pub(super) fn instant(self, us: i64) -> Instant {
        let span = Duration::from_micros(us.abs_diff(self.boot_us));
        let at =
            if us >= self.boot_us { self.instant.checked_add(span) } else { self.instant.checked_sub(span) };
        at.unwrap_or(self.instant)
    }
}

/// QoS and one more flag.
pub(super) fn flags(qos: Qos, retain: bool) -> i64 {
    qos as i64 | i64::from(retain) << 2
}

pub(super) fn qos(flags: i64) -> Qos {
    match flags & 3 {
        0 => Qos::AtMostOnce,
        1 => Qos::AtLeastOnce,
        _ => Qos::ExactlyOnce,
    }
}

pub(super) fn flag(flags: i64, bit: u8) -> bool {
    flags >> bit & 1 == 1
}

/// `None` for a message without any.
pub(super) fn properties(properties: &Properties) -> Option<Vec<u8>> {
    (*properties != Properties::default()).then(|| pack(properties))
}

/// `None` for none.
pub(super) fn ids(ids: &[u32]) -> Option<Vec<u8>> {
    (!ids.is_empty()).then(|| pack(&ids))
}

fn pack(value: &impl Serialize) -> Vec<u8> {
    // Plain data into memory: there is nothing in it that can fail.
    postcard::to_stdvec(value).unwrap_or_default()
}

/// SQLite's integers are signed. Ids and positions stay far below 2^63.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The same, read back.
pub(super) fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_come_back() {
        let base = Base::new(Instant::now() + Duration::from_secs(3600), 5_000_000);
        for us in [-3_000_000_000, 0, 4_999_999, 5_000_000, 9_000_000_000] {
            assert_eq!(base.us(base.instant(us)), us);
        }
    }

    #[test]
    fn flags_come_back() {
        for level in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
            for retain in [false, true] {
                let flags = flags(level, retain);
                assert_eq!((qos(flags), flag(flags, 2)), (level, retain));
            }
        }
    }
}
