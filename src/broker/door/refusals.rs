//! Connections that came to nothing: counted, and told of without filling the log. Pure.

use std::time::{Duration, Instant};

/// Between two lines of one kind there is so much time; what happens in between is counted.
const QUIET: Duration = Duration::from_secs(60);

/// Why a connection came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// One too many: of its address, or of all clients.
    TooMany,
    /// It had said nothing of use for longest, and others came.
    GaveWay,
    /// No CONNECT came in time.
    Late,
    /// Nothing came of TLS or of the WebSocket.
    Handshake,
    /// What came was not a CONNECT that can be taken.
    Connect,
}

/// The kinds, in the order of the counters.
const KINDS: [Refusal; 5] =
    [Refusal::TooMany, Refusal::GaveWay, Refusal::Late, Refusal::Handshake, Refusal::Connect];

/// The counters.
#[derive(Debug, Default)]
pub(super) struct Refusals([Counter; KINDS.len()]);

#[derive(Clone, Copy, Debug, Default)]
struct Counter {
    total: u64,
    /// Since the last line in the log.
    untold: u64,
    told: Option<Instant>,
}

impl Refusals {
    /// Counts one. Where it is time for a line in the log, tells how many the last one left out.
    pub(super) fn count(&mut self, kind: Refusal, now: Instant) -> Option<u64> {
        let counter = KINDS.iter().zip(&mut self.0).find(|(known, _)| **known == kind)?.1;
        counter.total += 1;
        if counter.told.is_some_and(|told| now.saturating_duration_since(told) < QUIET) {
            counter.untold += 1;
            return None;
        }
        counter.told = Some(now);
        Some(std::mem::take(&mut counter.untold))
    }

    /// All of them.
    pub(super) fn total(&self) -> u64 {
        self.0.iter().map(|counter| counter.total).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_a_line_a_minute_and_every_one_is_counted() {
        let (mut refusals, start) = (Refusals::default(), Instant::now());
        let at = |s| start + Duration::from_secs(s);
        assert_eq!(refusals.count(Refusal::Late, at(0)), Some(0));
        assert_eq!(refusals.count(Refusal::Late, at(1)), None);
        assert_eq!(refusals.count(Refusal::Connect, at(1)), Some(0));
        assert_eq!(refusals.count(Refusal::Late, at(59)), None);
        assert_eq!(refusals.count(Refusal::Late, at(60)), Some(2));
        assert_eq!(refusals.count(Refusal::Late, at(61)), None);
        assert_eq!(refusals.count(Refusal::Late, at(500)), Some(1));
        assert_eq!(refusals.total(), 7);
    }

    #[test]
    fn every_kind_has_a_counter() {
        let mut refusals = Refusals::default();
        KINDS.iter().for_each(|kind| assert_eq!(refusals.count(*kind, Instant::now()), Some(0)));
        assert_eq!(refusals.total(), 5);
    }
}
