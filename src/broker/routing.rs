//! Who gets what: subscriptions and retained messages. Pure: publishes and subscriptions in,
//! deliveries out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::filter::Filter;
use super::message::{Delivery, Message};
use super::retained::{Full, Retained};
use super::trie::Trie;
use crate::mqtt::packet::Qos;

/// Names a session while it lives; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SessionKey(pub(super) u64);

/// The options of a subscription (MQTT 5.0, 3.8.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Subscription {
    pub(super) qos: Qos,
    /// Not the session's own messages.
    pub(super) no_local: bool,
    /// Leave the retain flag as the publisher set it.
    pub(super) retain_as_published: bool,
    /// Sent along with each message.
    pub(super) id: Option<u32>,
}

/// All subscriptions and all retained messages.
#[derive(Debug)]
pub(super) struct Router {
    filters: Trie<Subscribers>,
    subscriptions: usize,
    shared: usize,
    pub(super) retained: Retained,
}

/// Who subscribed to one filter.
#[derive(Debug, Default)]
struct Subscribers {
    /// In the order of the keys.
    own: Vec<(SessionKey, Subscription)>,
    groups: BTreeMap<Arc<str>, Group>,
}

/// Sessions that share the messages of one filter between them.
#[derive(Debug, Default)]
struct Group {
    members: Vec<(SessionKey, Subscription)>,
    /// Whose turn it is.
    next: usize,
}

impl Router {
    /// Nobody subscribed to anything.
    pub(super) fn new(retained: Retained) -> Self {
        Self { filters: Trie::new(), subscriptions: 0, shared: 0, retained }
    }

    /// How many subscriptions there are.
    pub(super) fn subscriptions(&self) -> usize {
        self.subscriptions
    }

    /// How many of them are shared.
    pub(super) fn shared_subscriptions(&self) -> usize {
        self.shared
    }

    /// Whether anybody subscribes to topics whose first level is `level`, by that name.
    pub(super) fn has_filters_below(&self, level: &str) -> bool {
        self.filters.has_branch(level)
    }

    /// Subscribes, or changes the options of a subscription; whether it is new.
    pub(super) fn subscribe(
        &mut self,
        who: SessionKey,
        filter: Filter<'_>,
        subscription: Subscription,
    ) -> bool {
        let subscribers = self.filters.entry(filter.topics);
        let is_new = match filter.group {
            None => subscribers.join(who, subscription),
            Some(group) => subscribers.groups.entry(group.into()).or_default().join(who, subscription),
        };
        self.subscriptions += usize::from(is_new);
        self.shared += usize::from(is_new && filter.group.is_some());
        is_new
    }

    /// Ends a subscription; whether there was one.
    pub(super) fn unsubscribe(&mut self, who: SessionKey, filter: Filter<'_>) -> bool {
        let removed = self.filters.update(filter.topics, |subscribers| {
            let removed = subscribers.leave(who, filter.group);
            (removed, !subscribers.own.is_empty() || !subscribers.groups.is_empty())
        });
        let removed = removed.unwrap_or(false);
        self.subscriptions -= usize::from(removed);
        self.shared -= usize::from(removed && filter.group.is_some());
        removed
    }

    /// Who gets `message`, published by `from`. A session gets one copy for all its own
    /// subscriptions that match, with the highest of their QoS, and one for each group in which it
    /// is its turn; the turn goes to those that are online, as long as there are any.
    pub(super) fn route(
        &mut self,
        message: &Arc<Message>,
        from: Option<SessionKey>,
        is_online: impl Fn(SessionKey) -> bool,
    ) -> Vec<(SessionKey, Delivery)> {
        let (mut own, mut filters, mut shared) = (Vec::new(), 0, Vec::new());
        self.filters.visit_matches(&message.topic, &mut |subscribers| {
            filters += usize::from(!subscribers.own.is_empty());
            for (who, subscription) in &subscribers.own {
                if !(subscription.no_local && from == Some(*who)) {
                    own.push((*who, subscription.delivery(message)));
                }
            }
            for group in subscribers.groups.values_mut() {
                if let Some((who, subscription)) = group.turn(&is_online) {
                    shared.push((who, subscription.delivery(message)));
                }
            }
        });
        if filters > 1 {
            own.sort_by_key(|(who, _)| *who);
            own.dedup_by(|(who, delivery), (known, merged)| {
                let is_same = who == known;
                if is_same {
                    merge(merged, delivery);
                }
                is_same
            });
        }
        own.append(&mut shared);
        own
    }

    /// Keeps a retained message.
    pub(super) fn retain(&mut self, message: &Arc<Message>, now: Instant) -> Result<(), Full> {
        self.retained.set(message, now)
    }
}

impl Subscribers {
    fn join(&mut self, who: SessionKey, subscription: Subscription) -> bool {
        match self.own.binary_search_by_key(&who, |(known, _)| *known) {
            Ok(at) => {
                self.own[at].1 = subscription;
                false
            }
            Err(at) => {
                self.own.reserve_exact(usize::from(self.own.is_empty()));
                self.own.insert(at, (who, subscription));
                true
            }
        }
    }

    fn leave(&mut self, who: SessionKey, group: Option<&str>) -> bool {
        let Some(name) = group else {
            let found = self.own.binary_search_by_key(&who, |(known, _)| *known);
            return found.map(|at| self.own.remove(at)).is_ok();
        };
        let Some(group) = self.groups.get_mut(name) else { return false };
        let before = group.members.len();
        group.members.retain(|(member, _)| *member != who);
        let removed = group.members.len() < before;
        if group.members.is_empty() {
            self.groups.remove(name);
        }
        removed
    }
}

impl Group {
    fn join(&mut self, who: SessionKey, subscription: Subscription) -> bool {
        match self.members.iter_mut().find(|(member, _)| *member == who) {
            Some(member) => {
                member.1 = subscription;
                false
            }
            None => {
                self.members.push((who, subscription));
                true
            }
        }
    }

    fn turn(&mut self, is_online: impl Fn(SessionKey) -> bool) -> Option<(SessionKey, Subscription)> {
        let (before, after) = self.members.split_at(self.next.min(self.members.len()));
        let mut in_turn = after.iter().chain(before);
        let chosen = in_turn.clone().find(|(who, _)| is_online(*who)).or_else(|| in_turn.next()).copied()?;
        let at = self.members.iter().position(|(who, _)| *who == chosen.0)?;
        self.next = at + 1;
        Some(chosen)
    }
}

impl Subscription {
    fn delivery(&self, message: &Arc<Message>) -> Delivery {
        Delivery {
            message: Arc::clone(message),
            position: 0,
            qos: self.qos.min(message.qos),
            retain: message.retain && self.retain_as_published,
            subscription_ids: self.id.into_iter().collect(),
        }
    }
}

fn merge(known: &mut Delivery, other: &Delivery) {
    known.qos = known.qos.max(other.qos);
    known.retain |= other.retain;
    known.subscription_ids.extend_from_slice(&other.subscription_ids);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::packet::Publish;

    const A: SessionKey = SessionKey(1);
    const B: SessionKey = SessionKey(2);
    const C: SessionKey = SessionKey(3);

    fn router() -> Router {
        Router::new(Retained::new(100, 100_000))
    }

    fn plain(qos: Qos) -> Subscription {
        Subscription { qos, no_local: false, retain_as_published: false, id: None }
    }

    fn subscribe(router: &mut Router, who: SessionKey, filter: &str, subscription: Subscription) -> bool {
        router.subscribe(who, Filter::parse(filter).unwrap(), subscription)
    }

    fn message(topic: &str, qos: Qos, retain: bool) -> Arc<Message> {
        Arc::new(Message::new(Publish::new(topic, "x", qos, retain), Instant::now()))
    }

    fn who(deliveries: &[(SessionKey, Delivery)]) -> Vec<SessionKey> {
        deliveries.iter().map(|(who, _)| *who).collect()
    }

    #[test]
    fn the_lower_qos_counts() {
        let levels = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce];
        for published in levels {
            for subscribed in levels {
                let mut router = router();
                subscribe(&mut router, A, "t", plain(subscribed));
                let deliveries = router.route(&message("t", published, false), None, |_| true);
                assert_eq!(deliveries[0].1.qos, published.min(subscribed));
            }
        }
    }

    #[test]
    fn overlapping_subscriptions_give_one_copy_with_the_highest_qos_and_all_ids() {
        let mut router = router();
        subscribe(&mut router, A, "a/#", Subscription { id: Some(1), ..plain(Qos::AtMostOnce) });
        subscribe(&mut router, A, "a/+", Subscription { id: Some(2), ..plain(Qos::AtLeastOnce) });
        subscribe(&mut router, A, "a/c", Subscription { id: Some(3), ..plain(Qos::ExactlyOnce) });
        let deliveries = router.route(&message("a/b", Qos::ExactlyOnce, false), None, |_| true);
        assert_eq!(who(&deliveries), [A]);
        assert_eq!(deliveries[0].1.qos, Qos::AtLeastOnce);
        let mut ids = deliveries[0].1.subscription_ids.clone();
        ids.sort_unstable();
        assert_eq!(ids, [1, 2]);
    }

    #[test]
    fn no_local_spares_the_publisher_only() {
        let mut router = router();
        for session in [A, B] {
            subscribe(&mut router, session, "t", Subscription { no_local: true, ..plain(Qos::AtMostOnce) });
        }
        assert_eq!(who(&router.route(&message("t", Qos::AtMostOnce, false), Some(A), |_| true)), [B]);
    }

    #[test]
    fn the_retain_flag_is_kept_only_where_asked_for() {
        let mut router = router();
        subscribe(&mut router, A, "t", plain(Qos::AtMostOnce));
        subscribe(&mut router, B, "t", Subscription { retain_as_published: true, ..plain(Qos::AtMostOnce) });
        let deliveries = router.route(&message("t", Qos::AtMostOnce, true), None, |_| true);
        let flags: Vec<_> = deliveries.iter().map(|(who, delivery)| (*who, delivery.retain)).collect();
        assert_eq!(flags, [(A, false), (B, true)]);
    }

    #[test]
    fn a_group_shares_in_turn_and_groups_do_not_mix() {
        let mut router = router();
        for (session, filter) in
            [(A, "$share/g/t"), (B, "$share/g/t"), (C, "$share/h/t"), (A, "$share/g/+"), (B, "t")]
        {
            assert!(subscribe(&mut router, session, filter, plain(Qos::AtMostOnce)));
        }
        let mut counts: BTreeMap<SessionKey, usize> = BTreeMap::new();
        for _ in 0..10 {
            for (session, _) in router.route(&message("t", Qos::AtMostOnce, false), None, |_| true) {
                *counts.entry(session).or_default() += 1;
            }
        }
        // A: 5 of g/t and 10 of g/+. B: 5 of g/t and 10 of its own. C: all of h/t.
        assert_eq!(counts, BTreeMap::from([(A, 15), (B, 15), (C, 10)]));
    }

    #[test]
    fn a_group_prefers_members_that_are_online() {
        let mut router = router();
        for session in [A, B, C] {
            subscribe(&mut router, session, "$share/g/t", plain(Qos::AtLeastOnce));
        }
        let publish = message("t", Qos::AtLeastOnce, false);
        for _ in 0..4 {
            assert_eq!(who(&router.route(&publish, None, |session| session == B)), [B]);
        }
        let offline: Vec<_> = (0..3).flat_map(|_| who(&router.route(&publish, None, |_| false))).collect();
        assert_eq!(offline.len(), 3, "without anyone online it still goes to somebody");
    }

    #[test]
    fn subscriptions_are_counted_and_end_once() {
        let mut router = router();
        assert!(subscribe(&mut router, A, "t", plain(Qos::AtMostOnce)));
        assert!(!subscribe(&mut router, A, "t", plain(Qos::AtLeastOnce)), "changed, not new");
        assert!(subscribe(&mut router, A, "$share/g/t", plain(Qos::AtMostOnce)));
        assert_eq!(router.subscriptions(), 2);
        for (filter, existed) in [("t", true), ("t", false), ("u", false), ("$share/h/t", false)] {
            assert_eq!(router.unsubscribe(A, Filter::parse(filter).unwrap()), existed, "{filter}");
        }
        assert!(router.unsubscribe(A, Filter::parse("$share/g/t").unwrap()));
        assert_eq!(router.subscriptions(), 0);
        assert_eq!(router.route(&message("t", Qos::AtMostOnce, false), None, |_| true), []);
    }
}
