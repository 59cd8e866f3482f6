//! How soon changes are committed. Pure: time is an argument, in microseconds of the boot clock.
//!
//! Each commit wears the flash, by about five kilobytes. Somebody who waits for one gets it at once,
//! as long as the allowance lasts: it grows by one commit each `commit_within`, up to ten thousand.
//! Beyond that, commits come every `commit_within`, or when they have enough to write to be worth it.

use super::Urgency;

/// Changes that come together are committed together: those of so long.
const GATHER_US: i64 = 2_000;
/// The largest allowance, in commits: about 55 MB of flash.
const ALLOWANCE: i64 = 10_000;

/// How soon changes are committed.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Nobody waits for longer than this.
    within_us: i64,
    /// The allowance never ends.
    is_unlimited: bool,
    /// What is left of it, in microseconds: each commit costs `within_us`.
    left_us: i64,
    /// When that was so.
    at: i64,
}

impl Pace {
    /// A full allowance at `now`.
    pub(crate) fn new(within_us: i64, is_unlimited: bool, now: i64) -> Self {
        Self { within_us, is_unlimited, left_us: within_us * ALLOWANCE, at: now }
    }

    /// When changes are to be committed that are there since `since`; `None` while there are none.
    pub(crate) fn due(&self, urgency: Urgency, since: i64, now: i64) -> Option<i64> {
        let gathered = since + GATHER_US.min(self.within_us);
        match urgency {
            Urgency::None => None,
            Urgency::Low => Some(since + self.within_us),
            Urgency::Awaited if !self.is_unlimited && self.left(now) < self.within_us => {
                Some(since + self.within_us)
            }
            Urgency::Awaited | Urgency::Much => Some(gathered),
        }
    }

    /// A commit was made.
    pub(crate) fn spend(&mut self, now: i64) {
        self.left_us = (self.left(now) - self.within_us).max(0);
        self.at = now;
    }

    fn left(&self, now: i64) -> i64 {
        self.left_us.saturating_add((now - self.at).max(0)).min(self.within_us * ALLOWANCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHIN: i64 = 250_000;

    #[test]
    fn who_waits_is_served_at_once_until_the_allowance_is_used_up() {
        let mut pace = Pace::new(WITHIN, false, 0);
        assert_eq!(pace.due(Urgency::None, 7, 7), None);
        assert_eq!(pace.due(Urgency::Low, 7, 7), Some(7 + WITHIN));
        assert_eq!(pace.due(Urgency::Awaited, 7, 7), Some(7 + GATHER_US));
        for _ in 0..ALLOWANCE {
            assert_eq!(pace.due(Urgency::Awaited, 7, 7), Some(7 + GATHER_US));
            pace.spend(7);
        }
        assert_eq!(pace.due(Urgency::Awaited, 7, 7), Some(7 + WITHIN));
        assert_eq!(pace.due(Urgency::Much, 7, 7), Some(7 + GATHER_US), "worth a commit of its own");
        let later = 7 + WITHIN;
        assert_eq!(pace.due(Urgency::Awaited, later, later), Some(later + GATHER_US), "one more by now");
        pace.spend(later);
        assert_eq!(pace.due(Urgency::Awaited, later, later), Some(later + WITHIN));
    }

    #[test]
    fn the_allowance_has_a_limit_and_may_have_none() {
        let mut pace = Pace::new(WITHIN, false, 0);
        let late = i64::MAX / 2;
        for _ in 0..ALLOWANCE {
            pace.spend(late);
        }
        assert_eq!(pace.due(Urgency::Awaited, late, late), Some(late + WITHIN));
        let mut pace = Pace::new(WITHIN, true, 0);
        for _ in 0..=ALLOWANCE {
            pace.spend(0);
        }
        assert_eq!(pace.due(Urgency::Awaited, 0, 0), Some(GATHER_US));
    }
}
