//! The retained words on their way to the cloud: the newest of each subject, one in flight per
//! subject, never a queue of old ones.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use crate::mqtt::packet::Qos;
use crate::topic::Subject;

/// What to say on a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// On which topic.
    pub(super) topic: Arc<str>,
    /// Delivery guarantee. 2 counts as 1: only the newest word matters, and that is the last to come.
    pub(super) qos: Qos,
    /// Empty to withdraw what was said.
    pub(super) payload: Bytes,
}

/// What is to be said, in the order in which it came up.
#[derive(Debug, Default)]
pub(super) struct Words {
    /// Subjects whose newest word may be sent: neither in flight nor twice.
    order: VecDeque<Subject>,
    newest: HashMap<Subject, Word>,
    in_flight: HashSet<Subject>,
}

impl Words {
    /// `word` is the newest on `subject`.
    pub(super) fn post(&mut self, subject: Subject, word: Word) {
        let known = self.newest.insert(subject.clone(), word).is_some();
        if !known && !self.in_flight.contains(&subject) {
            self.order.push_back(subject);
        }
    }

    /// Whether [`Words::next`] has something.
    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The topic of the next word to send.
    pub(super) fn peek(&self) -> Option<&Arc<str>> {
        self.order.front().and_then(|subject| self.newest.get(subject)).map(|word| &word.topic)
    }

    /// The next word to send; its subject is in flight from now on.
    pub(super) fn next(&mut self) -> Option<(Subject, Word)> {
        let subject = self.order.pop_front()?;
        let word = self.newest.remove(&subject)?;
        self.in_flight.insert(subject.clone());
        Some((subject, word))
    }

    /// The word in flight on `subject` is over: acknowledged, or given up.
    pub(super) fn finished(&mut self, subject: &Subject) {
        if self.in_flight.remove(subject) && self.newest.contains_key(subject) {
            self.order.push_back(subject.clone());
        }
    }

    /// The word in flight on `subject` is to be sent again, unless there is a newer one.
    pub(super) fn again(&mut self, subject: &Subject, word: Word) {
        self.newest.entry(subject.clone()).or_insert(word);
        self.finished(subject);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn word(payload: &str) -> Word {
        Word { topic: "t".into(), qos: Qos::AtLeastOnce, payload: payload.to_owned().into() }
    }

    #[test]
    fn while_one_is_in_flight_only_the_newest_waits() {
        let mut words = Words::default();
        words.post(Subject::Gateway, word("1"));
        assert_eq!(words.next(), Some((Subject::Gateway, word("1"))));
        for payload in ["2", "3"] {
            words.post(Subject::Gateway, word(payload));
            assert_eq!(words.next(), None);
        }
        words.finished(&Subject::Gateway);
        assert_eq!(words.next(), Some((Subject::Gateway, word("3"))));
        words.finished(&Subject::Gateway);
        assert_eq!(words.next(), None);
    }

    #[test]
    fn a_word_refused_for_now_comes_again_unless_there_is_a_newer_one() {
        let mut words = Words::default();
        words.post(Subject::Gateway, word("1"));
        words.next();
        words.again(&Subject::Gateway, word("1"));
        assert_eq!(words.next(), Some((Subject::Gateway, word("1"))));
        words.post(Subject::Gateway, word("2"));
        words.again(&Subject::Gateway, word("1"));
        assert_eq!(words.next(), Some((Subject::Gateway, word("2"))));
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Post(u8),
        Send,
        Finish(u8),
        Again(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..4_u8).prop_map(Step::Post),
            Just(Step::Send),
            (0..4_u8).prop_map(Step::Finish),
            (0..4_u8).prop_map(Step::Again),
        ]
    }

    proptest! {
        #[test]
        fn the_last_word_always_arrives_and_never_two_at_a_time(steps in prop::collection::vec(step(), 0..200)) {
            let subject = |n: u8| Subject::State(n.to_string().into());
            let (mut words, mut flying) = (Words::default(), HashMap::new());
            let (mut posted, mut arrived) = (HashMap::new(), HashMap::new());
            let last_steps = [0, 1, 2, 3].into_iter().map(Step::Finish).chain([Step::Send; 4]);
            let last_steps: Vec<_> = last_steps.clone().chain(last_steps).collect();
            for (n, step) in steps.into_iter().chain(last_steps).enumerate() {
                match step {
                    Step::Post(s) => {
                        words.post(subject(s), word(&n.to_string()));
                        posted.insert(subject(s), word(&n.to_string()));
                    }
                    Step::Send => {
                        if let Some((subject, word)) = words.next() {
                            prop_assert!(flying.insert(subject, word).is_none(), "two in flight");
                        }
                    }
                    Step::Finish(s) => {
                        words.finished(&subject(s));
                        arrived.extend(flying.remove_entry(&subject(s)));
                    }
                    Step::Again(s) => {
                        if let Some((subject, word)) = flying.remove_entry(&subject(s)) {
                            words.again(&subject, word);
                        }
                    }
                }
            }
            arrived.extend(flying);
            prop_assert_eq!(arrived, posted);
            prop_assert!(words.is_empty());
        }
    }
}
