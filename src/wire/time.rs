//! A board's clock in terms of ours.
//!
//! A board counts milliseconds since it booted, in 32 bits, and knows nothing else. What it sends
//! reaches us after it was written, never before: so of all differences between our clock and the
//! board's the smallest is the true one. Readings that waited (in the board's memory, on the line)
//! only ever show larger differences and do no harm. Since a board's clock may run slow, the
//! smallest difference seen is let grow by [`DRIFT_PPM`] until a fresh frame cuts it down again.
//!
//! A board whose readings outlive a reset goes on with the uptime that it had: the time that it was off
//! is missing in it. The first HELLO after that shows a larger difference than any drift can, and that
//! holds from there on. What the board measured before keeps the difference of before:
//!
//! ```text
//! ours    0 s ─────── 60 s ··off·· 63 s ─────── 80 s
//! board   0 s ─────── 60 s         60 s ─────── 77 s
//!         └─ ours = board + 0 ─┘   └ ours = board + 3 s
//! ```

/// How much faster or slower than ours a board's clock may run, in millionths: ceramic resonators
/// are good to 0.5 %.
const DRIFT_PPM: i64 = 5_000;
/// A difference that is smaller by more than this many microseconds is no delay: the board's clock has
/// jumped, or somebody sends nonsense.
const STEP_US: i64 = 2_000_000;
/// A HELLO whose difference is larger by more than this many microseconds was not delayed: the board's
/// clock stood still, in a reset or a sleep. Less than that is made up for as drift is. Where it was
/// delayed after all, the next frame says so.
const STOOD_STILL_US: i64 = 500_000;
/// Most changes of the difference that are remembered, for readings of before.
const EARLIER_MAX: usize = 8;
/// After so much time, in microseconds, nobody knows how often a board's counter has wrapped.
const HALF_WRAP_US: i64 = (1 << 31) * 1_000;

/// Turns a board's uptimes into our boot clock's microseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoardClock {
    /// The newest uptime seen, as sent.
    uptime_ms: u32,
    /// The same with all wraps of the 32-bit counter undone.
    unwrapped_ms: i64,
    /// Our clock minus the board's, in microseconds.
    offset_us: i64,
    /// When `offset_us` was learned.
    learned_us: i64,
    /// What held before, oldest first.
    earlier: Vec<Earlier>,
}

/// The difference that holds for what was sampled before a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Earlier {
    /// The moment on the board's clock, wraps undone.
    until_ms: i64,
    offset_us: i64,
}

impl BoardClock {
    /// A clock that shows `uptime_ms` at our time `now_us`.
    #[must_use]
    pub fn new(uptime_ms: u32, now_us: i64) -> Self {
        let unwrapped_ms = i64::from(uptime_ms);
        let offset_us = now_us - unwrapped_ms * 1_000;
        Self { uptime_ms, unwrapped_ms, offset_us, learned_us: now_us, earlier: Vec::new() }
    }

    /// The board says that its clock shows `uptime_ms` now. That is fresh by nature.
    pub fn hello(&mut self, uptime_ms: u32, now_us: i64) {
        // We have listened all the time: what we did not see yet was sampled since.
        let until_ms = self.unwrapped_ms + 1;
        let shown_ms = self.unwrap(uptime_ms);
        self.show(shown_ms, until_ms, now_us);
    }

    /// The same from a board that we have not heard for a while.
    pub fn hello_again(&mut self, uptime_ms: u32, now_us: i64) {
        if now_us - self.learned_us >= HALF_WRAP_US {
            *self = Self::new(uptime_ms, now_us);
            return;
        }
        // What it measured meanwhile comes yet, and most of it is from before: a board says HELLO as
        // soon as it starts.
        let shown_ms = self.unwrap(uptime_ms);
        self.show(shown_ms, shown_ms, now_us);
    }

    /// The board's clock shows `shown_ms` now. If it stood still meanwhile, what was sampled before
    /// `until_ms` keeps the difference of before.
    fn show(&mut self, shown_ms: i64, until_ms: i64, now_us: i64) {
        let difference = now_us - shown_ms * 1_000;
        let step = difference - self.offset_us;
        if step > self.drift_us(now_us) + STOOD_STILL_US {
            if self.earlier.len() == EARLIER_MAX {
                self.earlier.remove(0);
            }
            self.earlier.push(Earlier { until_ms, offset_us: self.offset_us });
            self.offset_us = difference;
            self.learned_us = now_us;
        } else {
            self.learn(difference, now_us);
        }
    }

    /// Our time of a reading that was sampled at `t_ms` and came at `now_us`.
    #[must_use]
    pub fn sampled(&mut self, t_ms: u32, now_us: i64) -> i64 {
        let unwrapped_ms = self.unwrap(t_ms);
        let unwrapped_us = unwrapped_ms * 1_000;
        if let Some(earlier) = self.earlier.iter().find(|earlier| unwrapped_ms < earlier.until_ms) {
            return (unwrapped_us + earlier.offset_us).min(now_us);
        }
        let difference = now_us - unwrapped_us;
        // A reading from the future teaches nothing, unless a HELLO was late.
        let before = self.earlier.last().map_or(self.offset_us, |earlier| earlier.offset_us);
        if difference > self.offset_us.min(before) - STEP_US {
            self.learn(difference, now_us);
        }
        (unwrapped_us + self.offset_us).min(now_us)
    }

    fn learn(&mut self, difference: i64, now_us: i64) {
        self.offset_us = difference.min(self.offset_us + self.drift_us(now_us));
        self.learned_us = now_us;
    }

    /// How much the difference may have grown since it was learned.
    fn drift_us(&self, now_us: i64) -> i64 {
        (now_us - self.learned_us).max(0) * DRIFT_PPM / 1_000_000
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

    /// The board was off for 3 s, and its clock stood still.
    #[test]
    fn after_a_reset_new_readings_are_right_and_old_ones_stay_so() {
        let mut clock = BoardClock::new(0, 0);
        assert_eq!(clock.sampled(60_000, 60 * S), 60 * S);
        clock.hello(60_010, 63 * S);
        assert_eq!(clock.sampled(60_020, 63 * S + 10_000), 63 * S + 10_000);
        assert_eq!(clock.sampled(59_000, 63 * S + 20_000), 59 * S, "not safe before, and sent again");
        assert_eq!(clock.sampled(77_010, 80 * S), 80 * S);
    }

    /// The board was off for 3 s while its port was closed, and has kept readings of before.
    #[test]
    fn readings_of_before_a_reset_that_nobody_heard_stay_right() {
        let mut clock = BoardClock::new(0, 0);
        assert_eq!(clock.sampled(10_000, 10 * S), 10 * S);
        clock.hello_again(60_000, 63 * S);
        for (t_ms, expected) in [(20_000, 20 * S), (59_999, 59_999_000), (61_000, 64 * S), (60_000, 63 * S)] {
            assert_eq!(clock.sampled(t_ms, 64 * S), expected, "{t_ms}");
        }
    }

    #[test]
    fn many_resets_are_told_apart() {
        let mut clock = BoardClock::new(0, 0);
        for n in 1..100_u32 {
            clock.hello_again(n * 1_000, i64::from(n) * 3 * S);
        }
        for back in 0..8 {
            let t_ms = 98_500 - back * 1_000;
            // Begun at three times the board's second, and half a second on.
            let expected = i64::from(t_ms / 1_000) * 3 * S + 500_000;
            assert_eq!(clock.sampled(t_ms, 300 * S), expected, "{back}");
        }
        assert_eq!(clock.earlier.len(), EARLIER_MAX);
    }

    #[test]
    fn a_hello_that_was_delayed_is_put_right_by_the_next_frame() {
        let mut clock = BoardClock::new(0, 0);
        clock.hello(1_000, 4 * S);
        assert_eq!(clock.sampled(4_000, 4 * S), 4 * S);
        assert_eq!(clock.sampled(4_000, 5 * S), 4 * S + S * DRIFT_PPM / 1_000_000);
    }

    #[test]
    fn a_clock_that_was_not_heard_for_a_month_begins_anew() {
        const DAY_MS: u32 = 86_400_000;
        let mut clock = BoardClock::new(0, 0);
        let now = i64::from(DAY_MS) * 30 * 1_000;
        clock.hello_again(DAY_MS * 30, now);
        assert_eq!(clock.sampled(DAY_MS * 29, now), i64::from(DAY_MS) * 29 * 1_000);
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
