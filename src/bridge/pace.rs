//! How fast a bridge may send: the configured rate, and less than that while the broker asks for it.
//!
//! A limit is kept as the moment up to which everything sent is *paid*: each message moves it on by
//! what it costs in time, and the next may be sent when that moment has come. So a message of any
//! size goes out whole and the next one waits the longer for it. Time that went by unused counts for
//! [`BURST`] at most. In any span of time a limit lets through the span's worth, a burst and one
//! message more.
//!
//! When the broker says that it is too much, the rate is halved, beginning from what was really sent
//! lately. Each [`RECOVERS_EACH`] without another such word gives a tenth of what there was at first
//! back, until nothing is missing.

use std::time::{Duration, Instant};

/// What a limit that was not used for a while lets through at once, in time.
const BURST: Duration = Duration::from_millis(250);
/// How long ago a message counts a third of a new one, where the present rate is measured.
const MEASURED_OVER: Duration = Duration::from_secs(1);
/// A rate that the broker would not take grows so often …
const RECOVERS_EACH: Duration = Duration::from_secs(10);
/// … by this part of what there was before.
const RECOVERS_BY: f64 = 0.1;
/// However often the broker refuses, it is tried so many times a second.
const SLOWEST: f64 = 0.1;

/// How fast one bridge may send. Lives longer than a connection, so that a new one gets no new burst.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    /// Messages a second that were configured; infinite without a limit.
    ceiling: f64,
    messages: Limit,
    bytes: Limit,
    meter: Meter,
    throttle: Option<Throttle>,
}

/// One limit.
#[derive(Clone, Copy, Debug)]
struct Limit {
    /// So much a second; infinite without a limit.
    per_second: f64,
    /// `None` where nothing was sent yet.
    paid_until: Option<Instant>,
}

/// The broker takes less than it was given.
#[derive(Clone, Copy, Debug)]
struct Throttle {
    /// Messages a second at which it ends: what there was at first.
    full: f64,
    /// Since when there was no refusal, or when the rate last grew.
    since: Instant,
}

/// How many messages a second were sent lately.
#[derive(Clone, Copy, Debug, Default)]
struct Meter {
    rate: f64,
    at: Option<Instant>,
}

impl Pace {
    /// At most so many messages and bytes a second; `None`: no limit.
    pub(super) fn new(messages: Option<u32>, bytes: Option<u32>) -> Self {
        let ceiling = messages.map_or(f64::INFINITY, Into::into);
        Self {
            ceiling,
            messages: Limit::new(ceiling),
            bytes: Limit::new(bytes.map_or(f64::INFINITY, Into::into)),
            meter: Meter::default(),
            throttle: None,
        }
    }

    /// How many messages may be sent at `now`. Where bytes are limited, one by one: nobody knows how
    /// large the next ones are.
    pub(super) fn affords(&self, now: Instant) -> usize {
        match self.bytes.affords(now) {
            0 => 0,
            usize::MAX => self.messages.affords(now),
            _ => self.messages.affords(now).min(1),
        }
    }

    /// When the next message may be sent; `None`: now.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        self.messages.paid_until.max(self.bytes.paid_until).filter(|paid| *paid > now)
    }

    /// A message of `bytes`, headers included, is on its way.
    pub(super) fn sent(&mut self, bytes: usize, now: Instant) {
        self.messages.spend(1, now);
        self.bytes.spend(bytes, now);
        self.meter.count(now);
    }

    /// The broker says that this was too much. Gives the new rate, in messages a second.
    pub(super) fn refused(&mut self, now: Instant) -> f64 {
        let lately = self.meter.rate(now).min(self.messages.per_second).max(SLOWEST);
        let full = match self.throttle {
            Some(throttle) => throttle.full,
            None if self.ceiling.is_finite() => self.ceiling,
            None => lately,
        };
        self.throttle = Some(Throttle { full, since: now });
        self.messages.per_second = (lately / 2.0).max(SLOWEST);
        self.messages.per_second
    }

    /// Lets a rate that was halved grow; whether it just became what it had been.
    pub(super) fn recovers(&mut self, now: Instant) -> bool {
        let Some(throttle) = &mut self.throttle else { return false };
        while now.saturating_duration_since(throttle.since) >= RECOVERS_EACH {
            throttle.since += RECOVERS_EACH;
            self.messages.per_second += throttle.full * RECOVERS_BY;
            if self.messages.per_second >= throttle.full {
                self.messages.per_second = self.ceiling;
                self.throttle = None;
                return true;
            }
        }
        false
    }
}

impl Limit {
    fn new(per_second: f64) -> Self {
        Self { per_second, paid_until: None }
    }

    /// The burst is used up to here, at least.
    fn paid(&self, now: Instant) -> Option<Instant> {
        now.checked_sub(BURST).max(self.paid_until)
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive; too large saturates, which is how no limit becomes `usize::MAX`"
    )]
    fn affords(&self, now: Instant) -> usize {
        let Some(saved) = self.paid(now).map_or(Some(BURST), |paid| now.checked_duration_since(paid)) else {
            return 0;
        };
        // What is begun may be finished: that is the one.
        ((saved.as_secs_f64() * self.per_second) as usize).saturating_add(1)
    }

    #[expect(clippy::cast_precision_loss, reason = "no message has 2^52 bytes")]
    fn spend(&mut self, amount: usize, now: Instant) {
        let cost = Duration::try_from_secs_f64(amount as f64 / self.per_second).unwrap_or(Duration::MAX);
        self.paid_until = self.paid(now).unwrap_or(now).checked_add(cost);
    }
}

impl Meter {
    fn count(&mut self, now: Instant) {
        self.rate = self.rate(now) + 1.0 / MEASURED_OVER.as_secs_f64();
        self.at = Some(now);
    }

    fn rate(&self, now: Instant) -> f64 {
        let passed = self.at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.rate * (-passed.as_secs_f64() / MEASURED_OVER.as_secs_f64()).exp()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Sends messages of `sizes` as soon as `pace` lets them, never asking earlier than it said,
    /// and late by as many milliseconds as `late` says. Gives time and size of each.
    fn run(
        pace: &mut Pace,
        start: Instant,
        span: Duration,
        mut sizes: impl FnMut() -> usize,
        mut late: impl FnMut() -> u64,
    ) -> Vec<(Duration, usize)> {
        let (mut now, mut sent) = (start, Vec::new());
        while now < start + span {
            while pace.affords(now) > 0 {
                assert_eq!(pace.next(now), None);
                let size = sizes();
                pace.sent(size, now);
                sent.push((now - start, size));
            }
            now = pace.next(now).unwrap() + Duration::from_millis(late());
        }
        sent
    }

    /// The most that `amount` adds up to in any 10 seconds of `sent`.
    fn most_in_10_s(sent: &[(Duration, usize)], amount: impl Fn(usize) -> usize) -> usize {
        let (mut from, mut inside, mut most) = (0, 0, 0);
        for (at, size) in sent {
            inside += amount(*size);
            while *at - sent[from].0 > 10 * SECOND {
                inside -= amount(sent[from].1);
                from += 1;
            }
            most = most.max(inside);
        }
        most
    }

    proptest! {
        #[test]
        fn no_10_seconds_see_a_tenth_too_many_messages_and_the_rate_is_used(
            rate in prop_oneof![1..20_u32, 20..3000_u32],
            late in prop::collection::vec(0..200_u64, 1..50),
            idle in 0..100_u64,
        ) {
            let (start, mut pace) = (Instant::now(), Pace::new(Some(rate), None));
            let start = start + SECOND * u32::try_from(idle).unwrap();
            let mut lates = late.iter().cycle();
            let sent = run(&mut pace, start, 40 * SECOND, || 100, || *lates.next().unwrap());
            let (most, count) = (most_in_10_s(&sent, |_| 1), sent.len());
            prop_assert!(most as f64 <= f64::from(rate) * 10.0 * 1.1, "{most} in 10 s");
            let expected = f64::from(rate) * 40.0;
            prop_assert!((count as f64 - expected).abs() <= expected * 0.1 + 1.0, "{count} in 40 s");
        }

        #[test]
        fn no_10_seconds_see_a_tenth_too_many_bytes_and_the_rate_is_used(
            rate in 1000..1_000_000_u32,
            sizes in prop::collection::vec(50..700_usize, 1..50),
            late in prop::collection::vec(0..200_u64, 1..50),
        ) {
            let (start, mut pace) = (Instant::now(), Pace::new(None, Some(rate)));
            let (mut lates, mut next) = (late.iter().cycle(), sizes.iter().cycle());
            let sent = run(&mut pace, start, 40 * SECOND, || *next.next().unwrap(), || *lates.next().unwrap());
            let (most, total) = (most_in_10_s(&sent, |size| size), sent.iter().map(|(_, size)| size).sum::<usize>());
            prop_assert!(most as f64 <= f64::from(rate) * 10.0 * 1.1, "{most} in 10 s");
            let expected = f64::from(rate) * 40.0;
            prop_assert!((total as f64 - expected).abs() <= expected * 0.1, "{total} in 40 s");
        }
    }

    #[test]
    fn without_a_limit_everything_may_go_at_any_time() {
        let (now, mut pace) = (Instant::now(), Pace::new(None, None));
        (0..10_000).for_each(|_| pace.sent(1 << 20, now));
        assert_eq!((pace.affords(now), pace.next(now)), (usize::MAX, None));
    }

    #[test]
    fn of_two_limits_the_tighter_one_counts() {
        let (start, late) = (Instant::now(), || 0);
        let by_bytes = run(&mut Pace::new(Some(100), Some(1000)), start, 20 * SECOND, || 100, late).len();
        assert!((199..=204).contains(&by_bytes), "{by_bytes}");
        let by_count = run(&mut Pace::new(Some(5), Some(1_000_000)), start, 20 * SECOND, || 100, late).len();
        assert!((100..=102).contains(&by_count), "{by_count}");
    }

    #[test]
    fn a_message_larger_than_the_burst_goes_and_is_paid_for_afterwards() {
        let (now, mut pace) = (Instant::now(), Pace::new(None, Some(1000)));
        assert_eq!(pace.affords(now), 1);
        pace.sent(10_000, now);
        assert_eq!(pace.affords(now), 0);
        assert_eq!(pace.next(now), Some(now + 10 * SECOND - BURST));
        assert_eq!(pace.affords(now + 10 * SECOND), 1);
    }

    // === Less than configured ===

    /// Sends `rate` messages a second for 5 seconds.
    fn sending(pace: &mut Pace, start: Instant, rate: u32) -> Instant {
        (0..5 * rate).for_each(|n| pace.sent(100, start + SECOND * n / rate));
        start + 5 * SECOND
    }

    #[test]
    fn a_refusal_halves_what_was_sent_lately_and_another_halves_that() {
        let mut pace = Pace::new(None, None);
        let now = sending(&mut pace, Instant::now(), 400);
        let first = pace.refused(now);
        assert!((150.0..250.0).contains(&first), "{first}");
        let second = pace.refused(now);
        assert!((second - first / 2.0).abs() < 0.001, "{second}");
        assert!(pace.affords(now) < 1000);
    }

    #[test]
    fn the_rate_grows_back_by_a_tenth_each_10_seconds() {
        let mut pace = Pace::new(Some(100), None);
        let now = sending(&mut pace, Instant::now(), 100);
        let half = pace.refused(now);
        assert!((40.0..=50.0).contains(&half), "{half}");
        assert!(!pace.recovers(now + 9 * SECOND));
        assert!(!pace.recovers(now + 20 * SECOND));
        assert!((pace.messages.per_second - half - 20.0).abs() < 0.001);
        assert!(pace.recovers(now + 60 * SECOND));
        assert!((pace.messages.per_second - 100.0).abs() < 0.001);
        assert!(!pace.recovers(now + 100 * SECOND));
    }

    #[test]
    fn a_refusal_while_it_grows_puts_the_growth_off() {
        let mut pace = Pace::new(None, None);
        let now = sending(&mut pace, Instant::now(), 100);
        let half = pace.refused(now);
        let quarter = pace.refused(now + 9 * SECOND);
        assert!(quarter <= half / 2.0);
        assert!(!pace.recovers(now + 18 * SECOND));
        assert!((pace.messages.per_second - quarter).abs() < 0.001);
        assert!(pace.recovers(now + 200 * SECOND));
        assert_eq!(pace.affords(now + 200 * SECOND), usize::MAX);
    }

    #[test]
    fn a_broker_that_refuses_everything_is_tried_now_and_then() {
        let (mut now, mut pace) = (Instant::now(), Pace::new(None, None));
        for _ in 0..100 {
            now = pace.next(now).unwrap_or(now);
            pace.sent(100, now);
            pace.refused(now);
        }
        let next = pace.next(now).unwrap() - now;
        assert!((9 * SECOND..=10 * SECOND).contains(&next), "{next:?}");
    }
}
