//! A board's clock in terms of ours.
//!
//! A board counts milliseconds since it booted, in 32 bits, and knows nothing else. What it sends
//! reaches us after it was written, never before: so of all differences between our clock and the
//! board's the smallest is the true one. Readings that waited (in the board's memory, on the line)
//! only ever show larger differences and do no harm. Since a board's clock may run slow, the
//! smallest difference seen is let grow by [`DRIFT_PPM`] until a fresh frame cuts it down again.

/// How much faster or slower than ours a board's clock may run, in millionths: ceramic resonators
/// are good to 0.5 %.
const DRIFT_PPM: i64 = 5_000;
/// A difference that is off by more than this many microseconds is no drift: the board's clock
/// stood still in a sleep, or somebody sends nonsense.
const STEP_US: i64 = 2_000_000;

/// Turns a board's uptimes into our boot clock's microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoardClock {
    /// The newest uptime seen, as sent.
    uptime_ms: u32,
    /// The same with all wraps of the 32-bit counter undone.
    unwrapped_ms: i64,
    /// Our clock minus the board's, in microseconds.
    offset_us: i64,
    /// When `offset_us` was learned.
    learned_us: i64,
}

impl BoardClock {
    /// A clock that shows `uptime_ms` at our time `now_us`.
    #[must_use]
    pub fn new(uptime_ms: u32, now_us: i64) -> Self {
        let unwrapped_ms = i64::from(uptime_ms);
        let offset_us = now_us - unwrapped_ms * 1_000;
        Self { uptime_ms, unwrapped_ms, offset_us, learned_us: now_us }
    }

    /// The board says that its clock shows `uptime_ms` now. That is fresh by nature.
    pub fn hello(&mut self, uptime_ms: u32, now_us: i64) {
        let difference = now_us - self.unwrap(uptime_ms) * 1_000;
        if (difference - self.offset_us).abs() > STEP_US {
            self.offset_us = difference;
            self.learned_us = now_us;
        } else {
            self.learn(difference, now_us);
        }
    }

    /// Our time of a reading that was sampled at `t_ms` and came at `now_us`.
    #[must_use]
    pub fn sampled(&mut self, t_ms: u32, now_us: i64) -> i64 {
        let unwrapped_us = self.unwrap(t_ms) * 1_000;
        let difference = now_us - unwrapped_us;
        // A reading from the future teaches nothing.
        if difference > self.offset_us - STEP_US {
            self.learn(difference, now_us);
        }
        (unwrapped_us + self.offset_us).min(now_us)
    }

    fn learn(&mut self, difference: i64, now_us: i64) {
        let drift = (now_us - self.learned_us).max(0) * DRIFT_PPM / 1_000_000;
        self.offset_us = difference.min(self.offset_us + drift);
        self.learned_us = now_us;
    }

    /// `t_ms` with the wraps undone: it lies within 24.8 days of the newest uptime seen.
    fn unwrap(&mut self, t_ms: u32) -> i64 {
        let ahead = t_ms.wrapping_sub(self.uptime_ms).cast_signed();
        let unwrapped = self.unwrapped_ms + i64::from(ahead);
        if ahead > 0 {
            self.uptime_ms = t_ms;
            self.unwrapped_ms = unwrapped;
        }
        unwrapped
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const S: i64 = 1_000_000;

    #[test]
    fn a_buffered_reading_gets_the_time_at_which_it_was_sampled() {
        let mut clock = BoardClock::new(60_000, 100 * S);
        assert_eq!(clock.sampled(30_000, 101 * S), 70 * S + S * DRIFT_PPM / 1_000_000);
        assert_eq!(clock.sampled(61_000, 101 * S), 101 * S);
    }

    #[test]
    fn the_least_delayed_frame_sets_the_clock() {
        let mut clock = BoardClock::new(0, 100 * S);
        assert_eq!(clock.sampled(1_000, 100 * S + 950_000), 100 * S + 950_000, "50 ms less delay");
        let later = clock.sampled(2_000, 102 * S + 400_000);
        assert!((101 * S + 950_000..102 * S).contains(&later), "delay of the line does not count: {later}");
    }

    #[test]
    fn a_slow_board_is_followed() {
        let mut clock = BoardClock::new(0, 0);
        for minute in 1..=600 {
            let board_ms = u32::try_from(minute * 60_000 * 997 / 1_000).unwrap();
            clock.hello(board_ms, minute * 60 * S);
            assert_eq!(clock.sampled(board_ms, minute * 60 * S), minute * 60 * S);
        }
    }

    #[test]
    fn the_counter_wraps_after_49_days() {
        let mut clock = BoardClock::new(u32::MAX - 999, 0);
        assert_eq!(clock.sampled(1_000, 2 * S), 2 * S);
        assert_eq!(clock.sampled(u32::MAX - 1_999, 2 * S), -S, "before the wrap");
        clock.hello(2_000, 3 * S);
        assert_eq!(clock.sampled(2_000, 3 * S), 3 * S);
    }

    #[test]
    fn a_board_that_slept_is_believed_when_it_says_hello() {
        let mut clock = BoardClock::new(0, 0);
        clock.hello(1_000, 60 * S);
        assert_eq!(clock.sampled(2_000, 61 * S), 61 * S);
    }

    #[test]
    fn nonsense_does_not_bend_the_clock() {
        let mut clock = BoardClock::new(10_000, 10 * S);
        assert_eq!(clock.sampled(2_000_000_000, 10 * S), 10 * S, "no reading is from the future");
        clock.hello(11_000, 11 * S);
        assert_eq!(clock.sampled(11_000, 11 * S), 11 * S);
    }

    proptest! {
        #[test]
        fn no_time_is_in_the_future_and_nothing_overflows(
            start: u32,
            frames in prop::collection::vec((any::<bool>(), any::<u32>(), 0i64..10_000_000_000), 0..50),
        ) {
            let mut now = 0;
            let mut clock = BoardClock::new(start, now);
            for (hello, uptime, wait) in frames {
                now += wait;
                if hello {
                    clock.hello(uptime, now);
                } else {
                    prop_assert!(clock.sampled(uptime, now) <= now);
                }
            }
        }
    }
}
