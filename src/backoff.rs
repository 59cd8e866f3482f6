//! How long to wait before the next attempt to connect.
//!
//! Two phases. In the first minute of an outage attempts follow each other within
//! [`FAST_MAX`], so that data flows again at most 1.5 s after the other side is back (the rest of
//! that time is for the handshake). After that the wait grows with decorrelated jitter (each one
//! drawn between [`SLOW_MIN`] and three times the one before, at most [`SLOW_MAX`]), so that a
//! hundred gateways that lost the same broker do not come back in step.
//!
//! An outage is over when a connection has held for [`STABLE`]; one that breaks sooner was part of
//! the outage, so a connection that flaps is tried less and less often.

use std::time::{Duration, Instant};

/// Shortest wait while the outage is young.
pub const FAST_MIN: Duration = Duration::from_millis(500);
/// Longest wait while the outage is young.
pub const FAST_MAX: Duration = Duration::from_millis(1200);
/// How long an outage is young.
pub const FAST_FOR: Duration = Duration::from_secs(60);
/// Shortest wait in a long outage.
pub const SLOW_MIN: Duration = Duration::from_secs(1);
/// Longest wait of all.
pub const SLOW_MAX: Duration = Duration::from_secs(60);
/// A connection that held this long ends the outage.
pub const STABLE: Duration = Duration::from_secs(60);
/// A slow wait is drawn from up to this many times the one before.
const GROWTH: u32 = 3;

/// Paces the attempts of one link.
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    phase: Phase,
    connected_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Phase {
    /// No failure since the last stable connection.
    #[default]
    Fine,
    /// Young outage.
    Fast { since: Instant },
    /// Long outage.
    Slow { last: Duration },
}

impl Backoff {
    /// The link is up.
    pub fn connected(&mut self, now: Instant) {
        self.connected_at = Some(now);
    }

    /// An attempt failed or the connection broke: how long to wait before the next attempt.
    /// `fraction` is random, in 0..1; anything else is taken as the nearer end.
    #[must_use]
    pub fn failed(&mut self, now: Instant, fraction: f64) -> Duration {
        if self.connected_at.take().is_some_and(|at| now.saturating_duration_since(at) >= STABLE) {
            self.phase = Phase::Fine;
        }
        let (phase, wait) = match self.phase {
            Phase::Fine => (Phase::Fast { since: now }, between(FAST_MIN, FAST_MAX, fraction)),
            Phase::Fast { since } if now.saturating_duration_since(since) < FAST_FOR => {
                (self.phase, between(FAST_MIN, FAST_MAX, fraction))
            }
            Phase::Fast { .. } => slower(FAST_MAX, fraction),
            Phase::Slow { last } => slower(last, fraction),
        };
        self.phase = phase;
        wait
    }
}

fn slower(last: Duration, fraction: f64) -> (Phase, Duration) {
    let wait = between(SLOW_MIN, last * GROWTH, fraction).min(SLOW_MAX);
    (Phase::Slow { last: wait }, wait)
}

fn between(low: Duration, high: Duration, fraction: f64) -> Duration {
    let fraction = if fraction.is_nan() { 0.0 } else { fraction.clamp(0.0, 1.0) };
    low + high.saturating_sub(low).mul_f64(fraction)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Fails at once at each attempt for `outage`; gives the moments of the attempts.
    fn attempts(backoff: &mut Backoff, start: Instant, outage: Duration, fractions: &[f64]) -> Vec<Duration> {
        let (mut now, mut moments) = (start, Vec::new());
        for fraction in fractions.iter().cycle() {
            now += backoff.failed(now, *fraction);
            if now - start > outage {
                break;
            }
            moments.push(now - start);
        }
        moments
    }

    #[test]
    fn a_long_outage_reaches_the_longest_wait() {
        let (mut backoff, mut now) = (Backoff::default(), Instant::now());
        for _ in 0..200 {
            now += backoff.failed(now, 0.9);
        }
        assert_eq!(backoff.failed(now, 1.0), SLOW_MAX);
    }

    #[test]
    fn waits_differ_between_gateways() {
        let now = Instant::now();
        assert_ne!(Backoff::default().failed(now, 0.1), Backoff::default().failed(now, 0.2));
    }

    proptest! {
        #[test]
        fn the_first_minute_never_leaves_the_cloud_alone_for_1_5_s(
            fractions in prop::collection::vec(0.0..1.0, 1..50),
            back_ms in 0_u64..60_000,
        ) {
            let moments = attempts(&mut Backoff::default(), Instant::now(), Duration::from_secs(62), &fractions);
            let back = Duration::from_millis(back_ms);
            let next = moments.into_iter().find(|moment| *moment >= back).unwrap();
            prop_assert!(next - back <= FAST_MAX, "back at {back:?}, tried at {next:?}");
        }

        #[test]
        fn every_wait_is_within_bounds(
            steps in prop::collection::vec((any::<f64>(), 0_u64..200, any::<bool>()), 1..200),
        ) {
            let (mut backoff, mut now) = (Backoff::default(), Instant::now());
            for (fraction, seconds, connects) in steps {
                if connects {
                    backoff.connected(now);
                }
                now += Duration::from_secs(seconds);
                let wait = backoff.failed(now, fraction);
                prop_assert!((FAST_MIN..=SLOW_MAX).contains(&wait), "{wait:?}");
            }
        }

        #[test]
        fn only_a_stable_connection_ends_the_outage(
            held_ms in 0_u64..120_000,
            fractions in prop::collection::vec(0.0..1.0, 1..50),
        ) {
            let (mut backoff, mut now) = (Backoff::default(), Instant::now());
            let moments = attempts(&mut backoff, now, Duration::from_secs(600), &fractions);
            now += *moments.last().unwrap();
            backoff.connected(now);
            now += Duration::from_millis(held_ms);
            let wait = backoff.failed(now, 1.0);
            if held_ms >= 60_000 {
                prop_assert_eq!(wait, FAST_MAX);
            } else {
                prop_assert!(wait > FAST_MAX, "{:?}", wait);
            }
        }

        #[test]
        fn a_connection_that_flaps_is_tried_less_and_less(held_ms in 0_u64..59_000) {
            let (mut backoff, start) = (Backoff::default(), Instant::now());
            let (mut now, mut attempts) = (start, 0_u32);
            while now - start < Duration::from_secs(3600) {
                backoff.connected(now);
                now += Duration::from_millis(held_ms);
                now += backoff.failed(now, 1.0);
                attempts += 1;
            }
            // One minute at the fast pace, then one attempt each 60 s plus what it held.
            prop_assert!(attempts <= 51 + 10 + 60, "{attempts} attempts in an hour");
        }
    }
}
