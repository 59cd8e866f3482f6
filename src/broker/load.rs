//! How much happens in a minute, on average.

use std::time::Duration;

/// Over how many minutes the averages go, with their names.
pub(super) const SPANS: [(u32, &str); 3] = [(1, "1min"), (5, "5min"), (15, "15min")];

/// How often something happens in a minute, averaged over the last 1, 5 and 15 minutes with weights
/// that fall off exponentially: what counts halfway through is the recent past. As in Mosquitto.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Load {
    count: u64,
    per_minute: [f64; SPANS.len()],
}

impl Load {
    /// It has happened `count` times in all, and `since` has passed since this was said last.
    pub(super) fn update(&mut self, count: u64, since: Duration) {
        let minutes = since.as_secs_f64() / 60.0;
        if minutes <= 0.0 {
            return;
        }
        #[expect(clippy::cast_precision_loss, reason = "an average")]
        let recent = count.saturating_sub(self.count) as f64 / minutes;
        self.count = count;
        for (average, (span, _)) in self.per_minute.iter_mut().zip(SPANS) {
            let old = (-minutes / f64::from(span)).exp();
            *average = recent + old * (*average - recent);
        }
    }

    /// The averages, in the order of [`SPANS`].
    pub(super) fn per_minute(&self) -> [f64; SPANS.len()] {
        self.per_minute
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_rate_is_found_however_often_somebody_looks() {
        let (mut often, mut seldom) = (Load::default(), Load::default());
        for n in 1..=720 {
            often.update(n * 20, Duration::from_secs(10));
        }
        seldom.update(720 * 20, Duration::from_secs(7200));
        for load in [often, seldom] {
            assert!(load.per_minute().iter().all(|rate| (rate - 120.0).abs() < 0.1), "{load:?}");
        }
    }

    #[test]
    fn the_shorter_span_forgets_sooner() {
        let mut load = Load::default();
        load.update(600, Duration::from_secs(60));
        load.update(600, Duration::from_secs(60));
        let [one, five, fifteen] = load.per_minute();
        assert!((one - 139.5).abs() < 0.1, "600 * (1 - 1/e) / e, not {one}");
        assert!(five < one && fifteen < five);
        load.update(600, Duration::ZERO);
        assert_eq!(load.per_minute(), [one, five, fifteen]);
    }
}
