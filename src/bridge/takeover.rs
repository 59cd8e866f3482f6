//! Whether another client uses our client id.
//!
//! A broker keeps one connection per client id: the newer one ends the older one. Two gateways with
//! the same id, such as two copies of one SD card, cut each other off for ever, and each of them sees
//! nothing but connections that break. In 5.0 the broker says why (0x8E). In 3.1.1 it only closes, and
//! we can but guess: connections that were accepted, worked, and were closed soon after, one after the
//! other.

use std::sync::Arc;
use std::time::Duration;

use crate::backoff::STABLE;
use crate::mqtt::packet::Reason;

use super::lost::Lost;

/// A connection that was closed within this time was closed soon. The other client comes back within
/// 1.2 s at first; a network or a balancer that closes idle connections takes longer.
const SOON: Duration = Duration::from_secs(10);
/// So many closed soon, one after the other, are no chance.
const CLOSED_MIN: u32 = 3;

/// What a connection was like that has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    /// From CONNACK to the end.
    pub(super) held: Duration,
    /// Something was acknowledged on it. A broker that closes because of what we publish takes nothing.
    pub(super) worked: bool,
}

/// Looks for the other client.
#[derive(Debug)]
pub(super) struct Takeover {
    client_id: Arc<str>,
    signs: Signs,
}

/// What speaks for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signs {
    /// So many connections closed soon, one after the other.
    Closed(u32),
    /// Enough of them.
    Enough,
    /// The broker said so.
    Told,
}

impl Takeover {
    pub(super) fn new(client_id: Arc<str>) -> Self {
        Self { client_id, signs: Signs::Closed(0) }
    }

    /// A connection ended; `why` is `None` where the network ended it. Gives words for people if that
    /// was another client, as far as we can tell.
    pub(super) fn ended(&mut self, why: Option<&Lost>, life: Life) -> Option<String> {
        self.signs = match (why, self.signs) {
            (Some(Lost::Disconnected(Reason::TAKEN_OVER, _)), _) => Signs::Told,
            (Some(Lost::Closed), Signs::Closed(times)) if life.held < SOON => match times + 1 {
                // Over before anything could work: that says nothing.
                _ if !life.worked => Signs::Closed(times),
                CLOSED_MIN => Signs::Enough,
                times => Signs::Closed(times),
            },
            // As time goes by the other one comes back less and less often.
            (Some(Lost::Closed), signs @ (Signs::Enough | Signs::Told)) if life.held < STABLE => signs,
            _ => Signs::Closed(0),
        };
        let id = &self.client_id;
        let remedy = "give each gateway its own name (`gateway`) or its own `client_id`";
        match self.signs {
            Signs::Closed(_) => None,
            Signs::Told => Some(format!("another client uses our client id `{id}`: {remedy}")),
            Signs::Enough => Some(format!(
                "the broker accepts the connection and closes it soon after, again and again: \
                 perhaps another client uses our client id `{id}`: {remedy}"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAKEN_OVER: Lost = Lost::Disconnected(Reason::TAKEN_OVER, None);

    fn held(seconds: u64) -> Life {
        Life { held: Duration::from_secs(seconds), worked: true }
    }

    fn takeover() -> Takeover {
        Takeover::new("serialgate-pi-cloud".into())
    }

    #[test]
    fn what_the_broker_says_is_believed_at_once() {
        let words = takeover().ended(Some(&TAKEN_OVER), held(1000)).unwrap();
        assert_eq!(
            words,
            "another client uses our client id `serialgate-pi-cloud`: give each gateway its own name \
             (`gateway`) or its own `client_id`"
        );
    }

    #[test]
    fn connections_that_work_and_are_closed_soon_are_suspicious_from_the_third_on() {
        let mut takeover = takeover();
        assert_eq!(takeover.ended(Some(&Lost::Closed), held(1)), None);
        assert_eq!(takeover.ended(Some(&Lost::Closed), held(1)), None);
        let words = takeover.ended(Some(&Lost::Closed), held(1)).unwrap();
        assert!(words.contains("perhaps another client uses our client id `serialgate-pi-cloud`"), "{words}");
        // The other one waits longer by now.
        assert_eq!(takeover.ended(Some(&Lost::Closed), held(50)), Some(words));
        assert_eq!(takeover.ended(Some(&Lost::Closed), held(70)), None);
        assert_eq!(takeover.ended(Some(&Lost::Closed), held(1)), None, "it begins again");
    }

    #[test]
    fn nobody_is_suspected_for_what_has_another_cause() {
        let innocent: [(Option<&Lost>, Life); 4] = [
            (None, held(1)),
            (Some(&Lost::Closed), held(11)),
            (Some(&Lost::Disconnected(Reason::SHUTTING_DOWN, None)), held(1)),
            (Some(&Lost::NoPubAck(SOON)), held(1)),
        ];
        for (why, life) in innocent {
            let mut takeover = takeover();
            for _ in 0..3 {
                assert_eq!(takeover.ended(Some(&Lost::Closed), held(1)), None);
                assert_eq!(takeover.ended(Some(&Lost::Closed), held(1)), None);
                assert_eq!(takeover.ended(why, life), None, "{why:?} {life:?}");
            }
        }
    }

    #[test]
    fn a_broker_that_never_takes_anything_is_no_sign_of_another_client() {
        let (mut takeover, useless) = (takeover(), Life { worked: false, ..held(1) });
        for _ in 0..100 {
            assert_eq!(takeover.ended(Some(&Lost::Closed), useless), None);
        }
        // Nor is it a sign of none.
        for life in [held(1), useless, held(1), useless] {
            assert_eq!(takeover.ended(Some(&Lost::Closed), life), None);
        }
        assert!(takeover.ended(Some(&Lost::Closed), held(1)).is_some());
    }

    #[test]
    fn a_close_after_it_was_told_is_the_same_client() {
        let mut takeover = takeover();
        let words = takeover.ended(Some(&TAKEN_OVER), held(1));
        assert_eq!(takeover.ended(Some(&Lost::Closed), Life { worked: false, ..held(1) }), words);
    }
}
