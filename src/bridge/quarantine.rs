//! Topics on which the cloud does not let us publish, and rows that it never quite takes.
//!
//! A cloud that does not allow a topic refuses every row on it. So the first refusal holds the topic: its
//! rows are given up without being sent, and the rest flows. When the time is over one row is tried, and
//! the topic is released if that is taken.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// So long a topic is held before it is tried again.
pub(super) const HELD_FOR: Duration = Duration::from_secs(600);
/// The same where a try costs connections.
pub(super) const HELD_FOR_CLOSED: Duration = Duration::from_secs(3600);
/// Most topics that are held. Of more, each row is refused by the cloud itself.
pub(super) const TOPICS_MAX: usize = 256;

/// What is to be done with a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Admit {
    /// Send it.
    Send,
    /// Its topic is held, for this reason.
    Held(Arc<str>),
}

#[derive(Debug)]
struct Held {
    why: Arc<str>,
    until: Until,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    Then(Instant),
    /// The row at this position is on its way to find out.
    Probed(u64),
}

/// The topics that are held. Outlives connections, not the daemon.
#[derive(Debug, Default)]
pub(super) struct Quarantine {
    held: BTreeMap<Arc<str>, Held>,
    /// Topics on which no retained word is said any more.
    silent: BTreeSet<Arc<str>>,
}

impl Quarantine {
    /// Whether the row at `position`, which goes to `topic`, is to be sent.
    pub(super) fn admit(&mut self, topic: &str, position: u64, now: Instant) -> Admit {
        let Some(held) = self.held.get_mut(topic) else { return Admit::Send };
        match held.until {
            Until::Then(until) if now >= until => {
                held.until = Until::Probed(position);
                Admit::Send
            }
            // Once more, because the cloud would not take it the first time.
            Until::Probed(probe) if probe == position => Admit::Send,
            Until::Then(_) | Until::Probed(_) => Admit::Held(Arc::clone(&held.why)),
        }
    }

    /// Holds `topic`, for the reason `why`. Gives whether that is new.
    pub(super) fn hold(&mut self, topic: &Arc<str>, why: &str, how_long: Duration, now: Instant) -> bool {
        let until = Until::Then(now + how_long);
        if let Some(held) = self.held.get_mut(topic) {
            held.until = until;
            return false;
        }
        if self.held.len() >= TOPICS_MAX && !self.forget_one_that_is_over(now) {
            return false;
        }
        self.held.insert(Arc::clone(topic), Held { why: why.into(), until });
        true
    }

    /// Nothing comes on it any more, else it would have been probed.
    fn forget_one_that_is_over(&mut self, now: Instant) -> bool {
        let over = |held: &Held| matches!(held.until, Until::Then(until) if now >= until);
        let topic = self.held.iter().find(|(_, held)| over(held)).map(|(topic, _)| Arc::clone(topic));
        topic.is_some_and(|topic| self.held.remove(&topic).is_some())
    }

    /// Whether a row is on its way to find out about its topic.
    pub(super) fn is_probing(&self) -> bool {
        self.held.values().any(|held| matches!(held.until, Until::Probed(_)))
    }

    /// The cloud took a row on `topic`. Gives whether that releases it.
    pub(super) fn took(&mut self, topic: &str) -> bool {
        let probed = self.held.get(topic).is_some_and(|held| matches!(held.until, Until::Probed(_)));
        probed && self.held.remove(topic).is_some()
    }

    /// The connection is gone, and what was on its way with it: the next row finds out.
    pub(super) fn lost(&mut self, now: Instant) {
        let probed = self.held.values_mut().filter(|held| matches!(held.until, Until::Probed(_)));
        probed.for_each(|held| held.until = Until::Then(now));
    }

    /// The row at `position` was given up: if it was to find out about its topic, the next one is.
    pub(super) fn gave_up(&mut self, position: u64, now: Instant) {
        let probed = self.held.values_mut().filter(|held| held.until == Until::Probed(position));
        probed.for_each(|held| held.until = Until::Then(now));
    }

    /// Somebody thinks that the cloud allows everything now.
    pub(super) fn release_all(&mut self) {
        self.held.clear();
        self.silent.clear();
    }

    /// No retained word is to be said on `topic` any more. Gives whether that is new.
    pub(super) fn silence(&mut self, topic: &Arc<str>) -> bool {
        self.silent.len() < TOPICS_MAX && self.silent.insert(Arc::clone(topic))
    }

    /// Whether no retained word is to be said on `topic`.
    pub(super) fn is_silent(&self, topic: &str) -> bool {
        self.silent.contains(topic)
    }
}

/// So often a row may be refused with "unspecified error" …
const TRIES: u32 = 10;
/// … over at least this time, while other messages are taken …
const PATIENCE: Duration = Duration::from_secs(180);
/// … or over this time while none is: then it may as well be the cloud that is ill.
const PATIENCE_ALONE: Duration = Duration::from_secs(3600);
/// Most rows that are remembered: more than can be in flight.
const ROWS_MAX: usize = 1024;

#[derive(Clone, Copy, Debug)]
struct Tried {
    times: u32,
    since: Instant,
    /// Messages that the cloud had taken by then.
    taken: u64,
}

/// Rows that the cloud refuses again and again without saying that it will never take them.
#[derive(Debug, Default)]
pub(super) struct Patience {
    rows: BTreeMap<u64, Tried>,
    taken: u64,
}

impl Patience {
    /// The row at `position` was refused with "unspecified error".
    pub(super) fn tried(&mut self, position: u64, now: Instant) {
        if self.rows.len() < ROWS_MAX || self.rows.contains_key(&position) {
            let fresh = Tried { times: 0, since: now, taken: self.taken };
            self.rows.entry(position).or_insert(fresh).times += 1;
        }
    }

    /// The cloud took the row at `position`, or refused it for good.
    pub(super) fn settled(&mut self, position: u64, taken: bool) {
        self.taken += u64::from(taken);
        self.rows.remove(&position);
    }

    /// Whether the row at `position` is to be given up; gives how often it was tried.
    pub(super) fn is_over(&self, position: u64, now: Instant) -> Option<u32> {
        let tried = self.rows.get(&position)?;
        let patience = if self.taken > tried.taken { PATIENCE } else { PATIENCE_ALONE };
        let over = tried.times >= TRIES && now.saturating_duration_since(tried.since) >= patience;
        over.then_some(tried.times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHY: &str = "not authorized (0x87)";

    fn topic(name: &str) -> Arc<str> {
        name.into()
    }

    #[test]
    fn a_topic_is_held_tried_with_one_row_and_released_when_that_is_taken() {
        let now = Instant::now();
        let mut quarantine = Quarantine::default();
        assert_eq!(quarantine.admit("a", 1, now), Admit::Send);
        assert!(quarantine.hold(&topic("a"), WHY, HELD_FOR, now));
        assert!(!quarantine.hold(&topic("a"), WHY, HELD_FOR, now), "told once");
        assert_eq!(quarantine.admit("a", 1, now + HELD_FOR / 2), Admit::Held(WHY.into()));
        assert_eq!(quarantine.admit("b", 1, now), Admit::Send);
        assert!(!quarantine.took("a"), "what was in flight before says nothing");

        let later = now + HELD_FOR;
        assert_eq!(quarantine.admit("a", 1, later), Admit::Send);
        assert!(quarantine.is_probing());
        assert_eq!(quarantine.admit("a", 2, later), Admit::Held(WHY.into()), "one at a time");
        assert_eq!(quarantine.admit("a", 1, later), Admit::Send, "the same one once more");
        quarantine.gave_up(1, later);
        assert_eq!(quarantine.admit("a", 2, later), Admit::Send);
        // It is refused, too.
        assert!(!quarantine.hold(&topic("a"), WHY, HELD_FOR, later));
        assert_eq!(quarantine.admit("a", 1, later + HELD_FOR / 2), Admit::Held(WHY.into()));
        // The next one gets lost, and the one after it is taken.
        let later = later + HELD_FOR;
        assert_eq!(quarantine.admit("a", 1, later), Admit::Send);
        quarantine.lost(later);
        assert_eq!(quarantine.admit("a", 1, later), Admit::Send);
        assert!(quarantine.took("a") && !quarantine.took("a") && !quarantine.is_probing());
        assert_eq!(quarantine.admit("a", 1, later), Admit::Send);
    }

    #[test]
    fn topics_are_bounded_and_those_of_which_nothing_comes_give_way() {
        let now = Instant::now();
        let mut quarantine = Quarantine::default();
        for n in 0..TOPICS_MAX {
            assert!(quarantine.hold(&topic(&n.to_string()), WHY, HELD_FOR, now));
        }
        assert!(!quarantine.hold(&topic("more"), WHY, HELD_FOR, now));
        assert_eq!(quarantine.admit("more", 1, now), Admit::Send);
        assert!(quarantine.hold(&topic("more"), WHY, HELD_FOR, now + HELD_FOR));
        assert_eq!(quarantine.held.len(), TOPICS_MAX);
        let silenced = (0..TOPICS_MAX + 9).filter(|n| quarantine.silence(&topic(&n.to_string())));
        assert_eq!(silenced.count(), TOPICS_MAX);
    }

    #[test]
    fn a_row_that_fails_again_and_again_is_given_up_while_others_pass() {
        let begun = Instant::now();
        let mut patience = Patience::default();
        for n in 0..TRIES {
            let now = begun + PATIENCE / TRIES * n;
            assert_eq!(patience.is_over(7, now), None);
            patience.tried(7, now);
        }
        let now = begun + PATIENCE;
        assert_eq!(patience.is_over(7, now), None, "nothing else was taken");
        patience.settled(8, true);
        assert_eq!(patience.is_over(7, now), Some(TRIES));
        patience.settled(7, false);
        assert_eq!(patience.is_over(7, now), None);
    }

    #[test]
    fn a_cloud_that_takes_nothing_has_more_time() {
        let begun = Instant::now();
        let mut patience = Patience::default();
        (0..TRIES * 9).for_each(|_| patience.tried(7, begun));
        assert_eq!(patience.is_over(7, begun + PATIENCE * 2), None);
        assert_eq!(patience.is_over(7, begun + PATIENCE_ALONE), Some(TRIES * 9));
        for position in 0..2000 {
            patience.tried(position, begun);
        }
        assert_eq!(patience.rows.len(), ROWS_MAX);
    }
}
