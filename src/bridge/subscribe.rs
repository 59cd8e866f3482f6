//! Asking the cloud for messages: SUBSCRIBE, a few filters at a time, and what the answers say.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::mqtt::packet::{PacketId, Qos, Reason, RetainHandling, Subscribe, SubscribeFilter};
use crate::topic::Routes;

/// The packet id of every SUBSCRIBE: there is one at a time, and no message gets this id.
pub(super) const SUBSCRIBE_ID: PacketId = PacketId::MAX;
/// Filters in one SUBSCRIBE: AWS IoT takes no more.
const FILTERS_MAX: usize = 8;
/// A SUBACK is due within this time.
pub(super) const SUBACK_WITHIN: Duration = Duration::from_secs(20);

/// What the cloud said to one filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// Which.
    pub(super) filter: Arc<str>,
    /// The QoS that we asked for.
    pub(super) asked: Qos,
    /// The QoS that we have, or why we have none.
    pub(super) granted: Result<Qos, Reason>,
}

/// The subscriptions of one connection.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    to_ask: VecDeque<SubscribeFilter>,
    asked: Vec<SubscribeFilter>,
    due: Option<Instant>,
    failed: bool,
}

impl Subscriptions {
    /// For what `routes` carry from the cloud.
    pub(super) fn new(routes: &Routes) -> Self {
        let mut to_ask: VecDeque<SubscribeFilter> = VecDeque::new();
        for route in routes.iter() {
            if to_ask.iter().any(|known| known.filter == *route.filter()) {
                continue;
            }
            to_ask.push_back(SubscribeFilter {
                filter: Arc::clone(route.filter()),
                qos: route.qos(),
                no_local: true,
                retain_as_published: true,
                retain_handling: RetainHandling::AtSubscribeNew,
            });
        }
        Self { to_ask, ..Self::default() }
    }

    /// The next SUBSCRIBE, once the one before is answered.
    pub(super) fn next(&mut self, now: Instant) -> Option<Subscribe> {
        if self.due.is_some() || self.to_ask.is_empty() {
            return None;
        }
        let count = self.to_ask.len().min(FILTERS_MAX);
        self.asked = self.to_ask.drain(..count).collect();
        self.due = Some(now + SUBACK_WITHIN);
        Some(Subscribe { id: SUBSCRIBE_ID, filters: self.asked.clone(), subscription_id: None })
    }

    /// A SUBACK, or the reason why the SUBSCRIBE could not be sent, for each of its filters.
    pub(super) fn answered(&mut self, reasons: impl IntoIterator<Item = Reason>) -> Vec<Answer> {
        self.due = None;
        // A broker that says too little has not granted the rest.
        let reasons = reasons.into_iter().chain(std::iter::repeat(Reason::FAILED));
        let answers = self.asked.drain(..).zip(reasons).map(|(asked, reason)| Answer {
            filter: asked.filter,
            asked: asked.qos,
            granted: if reason.is_failure() { Err(reason) } else { Ok(Qos::from(reason.0)) },
        });
        let answers: Vec<_> = answers.collect();
        self.failed |= answers.iter().any(|answer| answer.granted.is_err());
        answers
    }

    /// When the cloud must have answered.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Whether the cloud has granted everything.
    pub(super) fn is_done(&self) -> bool {
        self.due.is_none() && self.to_ask.is_empty() && !self.failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_asked_for_a_few_at_a_time_and_each_gets_its_answer() {
        let now = Instant::now();
        let filters: Vec<_> = (0..10).map(|n| format!("a/{n}")).collect();
        let routes = Routes::plain(filters.iter().map(String::as_str).chain(["a/0"])).unwrap();
        let mut subscriptions = Subscriptions::new(&routes);
        let first = subscriptions.next(now).unwrap();
        assert_eq!(first.filters.len(), FILTERS_MAX);
        assert!(first.filters.iter().all(|filter| filter.no_local && filter.retain_as_published));
        assert_eq!(subscriptions.next(now), None, "one at a time");
        assert_eq!(subscriptions.due(), Some(now + SUBACK_WITHIN));
        let answers = subscriptions.answered([Reason(1), Reason::NOT_AUTHORIZED, Reason(0)]);
        let granted: Vec<_> = answers.iter().map(|answer| answer.granted).collect();
        let expected = [Ok(Qos::AtLeastOnce), Err(Reason::NOT_AUTHORIZED), Ok(Qos::AtMostOnce)];
        assert_eq!((granted.len(), &granted[..3]), (FILTERS_MAX, &expected[..]));
        assert!(granted[3..].iter().all(Result::is_err), "no word is no yes");
        let second: Vec<_> = subscriptions.next(now).unwrap().filters;
        assert_eq!(second.iter().map(|filter| &*filter.filter).collect::<Vec<_>>(), ["a/8", "a/9"]);
        subscriptions.answered([Reason(1), Reason(1)]);
        assert_eq!(subscriptions.next(now), None);
        assert!(!subscriptions.is_done(), "something was refused");
    }
}
