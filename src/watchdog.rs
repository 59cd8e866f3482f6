//! When the watchdog is fed: only while every part of the gateway turns.
//!
//! All parts are called at half of the watchdog's time, and each answers the next time its own loop comes
//! round. The last answer feeds the watchdog. One that stays out starves it, and the service manager
//! restarts the daemon.
//!
//! A thread that waits for its disk is excused. A restart would not make the disk answer; it would lose
//! what is in memory only, which the clouds may still acknowledge. Such a disk is told in the status.

use std::time::{Duration, Instant};

/// A part that has not answered the last call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Its name, for people.
    pub part: String,
    /// It waits for its disk.
    pub at_disk: bool,
}

/// What is to be done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Call all parts.
    Call,
    /// Feed the watchdog.
    Feed,
    /// These parts keep it from being fed: say so while there is time.
    Warn(Vec<String>),
}

/// The watchdog's keeper.
#[derive(Debug)]
pub struct Watchdog {
    /// From one call to the next.
    every: Duration,
    state: State,
}

#[derive(Debug)]
enum State {
    /// All have answered.
    Resting { until: Instant },
    /// Some have not.
    Called { at: Instant, has_warned: bool },
}

impl Watchdog {
    /// For a service manager that waits for `limit`. The first call is due at once.
    #[must_use]
    pub fn new(limit: Duration, now: Instant) -> Self {
        Self { every: limit / 2, state: State::Resting { until: now } }
    }

    /// What to do, with these parts `missing`.
    pub fn turn(&mut self, missing: &[Missing], now: Instant) -> Option<Act> {
        match &mut self.state {
            State::Resting { until } if now < *until => None,
            State::Resting { .. } => {
                self.state = State::Called { at: now, has_warned: false };
                Some(Act::Call)
            }
            State::Called { at, has_warned } => {
                let guilty = missing.iter().filter(|missing| !missing.at_disk);
                let guilty: Vec<String> = guilty.map(|missing| missing.part.clone()).collect();
                if guilty.is_empty() {
                    self.state = State::Resting { until: *at + self.every };
                    return Some(Act::Feed);
                }
                let warns = now >= *at + self.every && !*has_warned;
                *has_warned |= warns;
                warns.then_some(Act::Warn(guilty))
            }
        }
    }

    /// When to come again, even if nobody answers.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        match self.state {
            State::Resting { until } => Some(until),
            State::Called { at, has_warned: false } => Some(at + self.every),
            State::Called { has_warned: true, .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(parts: &[&str]) -> Vec<Missing> {
        let at_disk = |part: &str| part.starts_with("disk");
        parts.iter().map(|part| Missing { part: (*part).to_owned(), at_disk: at_disk(part) }).collect()
    }

    /// Seconds, who is missing then, and what is done.
    fn run(limit_s: u64, turns: &[(u64, &[&str], Option<Act>)]) {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(Duration::from_secs(limit_s), start);
        for (second, absent, expected) in turns {
            let act = watchdog.turn(&missing(absent), start + Duration::from_secs(*second));
            assert_eq!(act, *expected, "second {second}");
        }
    }

    #[test]
    fn it_is_fed_at_half_of_its_time_when_all_have_answered() {
        run(
            60,
            &[
                (0, &[], Some(Act::Call)),
                (0, &["a", "b"], None),
                (1, &["b"], None),
                (2, &[], Some(Act::Feed)),
                (29, &["a"], None),
                // From call to call, however long the answers took.
                (30, &[], Some(Act::Call)),
                (30, &[], Some(Act::Feed)),
            ],
        );
    }

    #[test]
    fn one_part_that_hangs_starves_it_and_is_named_once() {
        run(
            60,
            &[
                (0, &[], Some(Act::Call)),
                (1, &["a"], None),
                (30, &["a"], Some(Act::Warn(vec!["a".into()]))),
                (31, &["a"], None),
                (61, &["a"], None),
                // It was only slow.
                (70, &[], Some(Act::Feed)),
                (70, &[], Some(Act::Call)),
            ],
        );
    }

    #[test]
    fn who_waits_for_a_disk_is_excused() {
        run(
            60,
            &[
                (0, &[], Some(Act::Call)),
                (0, &["disk"], Some(Act::Feed)),
                (30, &["disk"], Some(Act::Call)),
                (30, &["disk", "a"], None),
                (60, &["disk", "a"], Some(Act::Warn(vec!["a".into()]))),
            ],
        );
    }

    #[test]
    fn it_knows_when_to_come_again() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut watchdog = Watchdog::new(Duration::from_secs(60), start);
        assert_eq!(watchdog.due(), Some(start));
        watchdog.turn(&[], start);
        assert_eq!(watchdog.due(), Some(at(30)));
        watchdog.turn(&missing(&["a"]), at(30));
        assert_eq!(watchdog.due(), None, "only an answer helps");
        watchdog.turn(&[], at(31));
        assert_eq!(watchdog.due(), Some(at(30)));
    }
}
