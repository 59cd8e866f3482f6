//! Our own messages that a 3.1.1 broker sends back to us.
//!
//! MQTT 5 subscriptions spare us our own messages (No Local); 3.1.1 has no word for it. So where
//! something that we send will match what we subscribed to, its fingerprint is kept until it comes
//! back. A message that is the same in topic and payload counts as that one.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use crate::mqtt::packet::Publish;

/// An echo comes within this time, counted from the last connect.
const ECHO_WITHIN: Duration = Duration::from_secs(60);
/// Fingerprints kept at most; beyond them the oldest go.
const ECHOES_MAX: usize = 4096;

/// What we sent and expect back, oldest first.
#[derive(Debug, Default)]
pub(super) struct Echoes(VecDeque<(u64, Instant)>);

impl Echoes {
    /// `publish` goes out, and will come back.
    pub(super) fn expect(&mut self, publish: &Publish, now: Instant) {
        while self.0.len() >= ECHOES_MAX || self.0.front().is_some_and(|(_, until)| *until <= now) {
            self.0.pop_front();
        }
        self.0.push_back((fingerprint(publish), now + ECHO_WITHIN));
    }

    /// Whether `publish` is one that went out.
    pub(super) fn is_echo(&mut self, publish: &Publish, now: Instant) -> bool {
        let wanted = fingerprint(publish);
        let found = self.0.iter().position(|(known, until)| *known == wanted && *until > now);
        found.and_then(|at| self.0.remove(at)).is_some()
    }

    /// A new connection: what the broker held for us meanwhile comes now.
    pub(super) fn reconnected(&mut self, now: Instant) {
        self.0.iter_mut().for_each(|(_, until)| *until = now + ECHO_WITHIN);
    }
}

fn fingerprint(publish: &Publish) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&publish.topic, &publish.payload).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::packet::Qos;

    fn publish(payload: &str) -> Publish {
        Publish::new("t", payload.to_owned(), Qos::AtLeastOnce, false)
    }

    #[test]
    fn each_message_comes_back_once() {
        let (mut echoes, now) = (Echoes::default(), Instant::now());
        echoes.expect(&publish("a"), now);
        echoes.expect(&publish("a"), now);
        echoes.expect(&publish("b"), now);
        assert!(echoes.is_echo(&publish("b"), now));
        assert!(!echoes.is_echo(&publish("b"), now), "somebody else's");
        assert!(echoes.is_echo(&publish("a"), now) && echoes.is_echo(&publish("a"), now));
    }

    #[test]
    fn what_did_not_come_back_in_time_is_not_waited_for() {
        let (mut echoes, now) = (Echoes::default(), Instant::now());
        echoes.expect(&publish("a"), now);
        echoes.expect(&publish("b"), now);
        assert!(!echoes.is_echo(&publish("a"), now + ECHO_WITHIN));
        echoes.reconnected(now + 2 * ECHO_WITHIN);
        assert!(echoes.is_echo(&publish("b"), now + 2 * ECHO_WITHIN));
        for n in 0..2 * ECHOES_MAX {
            echoes.expect(&publish(&n.to_string()), now);
        }
        assert!(echoes.0.len() <= ECHOES_MAX);
    }
}
