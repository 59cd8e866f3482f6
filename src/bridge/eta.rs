//! When the backlog will be gone.

use std::time::{Duration, Instant};

/// How long ago an observation counts a third of a new one.
const SMOOTHED_OVER: Duration = Duration::from_secs(5);
/// Observations closer together than this tell nothing about the rate.
const OBSERVED_EACH: Duration = Duration::from_millis(900);
/// A backlog that shrinks slower than this, in readings per second, has no end in sight.
const SLOWEST: f64 = 0.01;

/// Follows how fast the backlog shrinks, new readings already taken off.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Eta {
    last: Option<(Instant, u64)>,
    /// Readings per second by which it shrinks.
    rate: Option<f64>,
}

impl Eta {
    /// Takes the backlog as it is now.
    #[expect(clippy::cast_precision_loss, reason = "a guess for people")]
    pub(super) fn observe(&mut self, now: Instant, backlog: u64) {
        let Some((at, before)) = self.last else {
            self.last = Some((now, backlog));
            return;
        };
        let passed = now.saturating_duration_since(at);
        if passed < OBSERVED_EACH {
            return;
        }
        let seen = (before as f64 - backlog as f64) / passed.as_secs_f64();
        let weight = 1.0 - (-passed.as_secs_f64() / SMOOTHED_OVER.as_secs_f64()).exp();
        self.rate = Some(self.rate.map_or(seen, |rate| rate + weight * (seen - rate)));
        self.last = Some((now, backlog));
    }

    /// Seconds until `backlog` is gone; `None` where there is none, or where it does not shrink.
    #[expect(clippy::cast_precision_loss, reason = "a guess for people")]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive; too large saturates"
    )]
    pub(super) fn seconds(&self, backlog: u64) -> Option<u64> {
        let rate = self.rate.filter(|rate| *rate >= SLOWEST && backlog > 0)?;
        Some((backlog as f64 / rate).ceil() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The guess after `seconds` of a backlog that changes by `step` each second.
    fn guess(from: u64, step: i64, seconds: u32) -> Option<u64> {
        let (mut eta, start, mut backlog) = (Eta::default(), Instant::now(), from);
        for second in 0..=seconds {
            eta.observe(start + Duration::from_secs(second.into()), backlog);
            if second < seconds {
                backlog = backlog.saturating_add_signed(step);
            }
        }
        eta.seconds(backlog)
    }

    #[test]
    fn a_backlog_ends_when_its_rate_says() {
        assert_eq!(guess(10_000, -100, 10), Some(90));
        assert_eq!(guess(1000, -1, 1), Some(999));
    }

    #[test]
    fn what_does_not_shrink_has_no_end() {
        for step in [0, 1, 1000] {
            assert_eq!(guess(1000, step, 10), None, "{step}");
        }
        assert_eq!(Eta::default().seconds(5), None);
        assert_eq!(guess(10, -10, 3), None, "nothing left");
    }

    #[test]
    fn the_guess_follows_a_new_rate() {
        let (mut eta, start, mut backlog) = (Eta::default(), Instant::now(), 100_000);
        for second in 0..60 {
            eta.observe(start + Duration::from_secs(second), backlog);
            backlog -= if second < 20 { 10 } else { 1000 };
        }
        let guess = eta.seconds(50_000).unwrap();
        assert!((50..=51).contains(&guess), "{guess}");
    }
}
