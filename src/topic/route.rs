//! Which messages a bridge carries, under which names, and with which QoS.
//!
//! One rule for both directions: the filter is written in the names of the side that the message
//! comes from. The first route that carries a topic decides.

use std::sync::Arc;

use super::{MAX_BYTES, Subject, is_valid_filter, matches};
use crate::mqtt::packet::Qos;

/// What a shared subscription begins with (MQTT 5.0, 4.8.2).
const SHARED: &str = "$share/";

/// One entry of `forward` or `receive`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    filter: Arc<str>,
    strip: Arc<str>,
    prefix: Arc<str>,
    qos: Qos,
}

/// Why there is no such route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// Wildcards at wrong places, empty, too long.
    #[error("is not a topic filter: `+` fills a whole level, and `#` only the last one")]
    Filter,
    /// A shared subscription.
    #[error("is a shared subscription, which a bridge cannot have")]
    Shared,
    /// Not what all topics of the filter begin with.
    #[error("is not what the filter begins with, up to its first wildcard")]
    Strip,
    /// Cannot stand in a topic.
    #[error("cannot stand in a topic: it has a wildcard or is too long")]
    Prefix,
    /// The only topic of the filter is stripped away.
    #[error("takes the whole topic away")]
    Nothing,
}

impl Route {
    /// What matches `filter`, with QoS 1 and under the name that it has.
    ///
    /// # Errors
    /// That is no filter.
    pub fn plain(filter: &str) -> Result<Self, RouteError> {
        if filter.starts_with(SHARED) {
            return Err(RouteError::Shared);
        }
        if !is_valid_filter(filter) {
            return Err(RouteError::Filter);
        }
        Ok(Self { filter: filter.into(), strip: "".into(), prefix: "".into(), qos: Qos::AtLeastOnce })
    }

    /// The same with another QoS.
    #[must_use]
    pub fn with_qos(self, qos: Qos) -> Self {
        Self { qos, ..self }
    }

    /// The same under another name: `strip` is taken off the front, then `prefix` is put there.
    ///
    /// # Errors
    /// Not all topics of the filter begin with `strip`, or what comes out is no topic.
    pub fn renamed(self, strip: &str, prefix: &str) -> Result<Self, RouteError> {
        if strip.contains(['+', '#']) || !self.filter.starts_with(strip) {
            return Err(RouteError::Strip);
        }
        if prefix.contains(['+', '#', '\0']) || prefix.len() > MAX_BYTES {
            return Err(RouteError::Prefix);
        }
        if strip == &*self.filter && prefix.is_empty() {
            return Err(RouteError::Nothing);
        }
        Ok(Self { strip: strip.into(), prefix: prefix.into(), ..self })
    }

    /// Which topics it is for, in the names of the side that they come from.
    #[must_use]
    pub fn filter(&self) -> &Arc<str> {
        &self.filter
    }

    /// Delivery guarantee of what it carries.
    #[must_use]
    pub fn qos(&self) -> Qos {
        self.qos
    }

    /// What all its topics are called under on the other side, as a filter.
    #[must_use]
    pub fn filter_there(&self) -> String {
        let rest = self.filter.strip_prefix(&*self.strip).unwrap_or_default();
        format!("{}{rest}", self.prefix)
    }

    /// Whether it carries what is said on `topic`.
    #[must_use]
    pub fn carries(&self, topic: &str) -> bool {
        // `a/#` matches `a`, from which `a/` cannot be taken; and of `a/` nothing would be left.
        let has_name = |rest: &str| !rest.is_empty() || !self.prefix.is_empty();
        matches(&self.filter, topic) && topic.strip_prefix(&*self.strip).is_some_and(has_name)
    }

    /// What `topic`, which it [carries](Self::carries), is called on the other side.
    #[must_use]
    fn rename(&self, topic: &Arc<str>) -> Arc<str> {
        if self.strip.is_empty() && self.prefix.is_empty() {
            return Arc::clone(topic);
        }
        let rest = topic.strip_prefix(&*self.strip).unwrap_or(topic);
        format!("{}{rest}", self.prefix).into()
    }
}

/// The entries of `forward` or `receive`, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes(Vec<Route>);

impl FromIterator<Route> for Routes {
    fn from_iter<I: IntoIterator<Item = Route>>(routes: I) -> Self {
        Self(routes.into_iter().collect())
    }
}

impl Routes {
    /// One plain route for each filter.
    ///
    /// # Errors
    /// One of them is no filter.
    pub fn plain<'a>(filters: impl IntoIterator<Item = &'a str>) -> Result<Self, RouteError> {
        filters.into_iter().map(Route::plain).collect()
    }

    /// In their order.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.0.iter()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The highest QoS of any.
    #[must_use]
    pub fn highest_qos(&self) -> Qos {
        self.0.iter().map(Route::qos).max().unwrap_or(Qos::AtMostOnce)
    }

    /// Whether one carries what is said on `topic`.
    #[must_use]
    pub fn carry(&self, topic: &str) -> bool {
        self.route(topic).is_some()
    }

    /// What `topic` is called on the other side, and the QoS; `None` where none carries it.
    #[must_use]
    pub fn address(&self, topic: &Arc<str>) -> Option<(Arc<str>, Qos)> {
        self.route(topic).map(|route| (route.rename(topic), route.qos))
    }

    fn route(&self, topic: &str) -> Option<&Route> {
        self.0.iter().find(|route| route.carries(topic))
    }
}

/// Which of our messages a bridge wants: the `forward` key of its configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forward {
    /// Everything of our own except `state`; nothing of LAN clients.
    Own,
    /// Everything that one of these carries, our own and LAN clients' alike.
    Routes(Routes),
}

impl Forward {
    /// Whether a LAN client's message on `topic` is wanted.
    #[must_use]
    pub fn wants_message(&self, topic: &str) -> bool {
        match self {
            Self::Own => false,
            Self::Routes(routes) => routes.carry(topic),
        }
    }

    /// Whether our own `data` or `event` message on `topic` is wanted.
    #[must_use]
    pub fn wants_own(&self, topic: &str) -> bool {
        matches!(self, Self::Own) || self.wants_message(topic)
    }

    /// Whether a retained subject on `topic` is wanted.
    #[must_use]
    pub fn wants_subject(&self, subject: &Subject, topic: &str) -> bool {
        match self {
            Self::Own => !matches!(subject, Subject::State(_)),
            Self::Routes(_) => self.wants_message(topic),
        }
    }

    /// What `topic` is called in the cloud, and the QoS with which it goes there. What no route
    /// carries and goes there all the same (the gateway's own status) keeps its name.
    #[must_use]
    pub fn address(&self, topic: &Arc<str>) -> (Arc<str>, Qos) {
        let routed = match self {
            Self::Own => None,
            Self::Routes(routes) => routes.address(topic),
        };
        routed.unwrap_or_else(|| (Arc::clone(topic), Qos::AtLeastOnce))
    }

    /// The highest QoS of anything that goes there.
    #[must_use]
    pub fn highest_qos(&self) -> Qos {
        match self {
            Self::Own => Qos::AtLeastOnce,
            Self::Routes(routes) => routes.highest_qos(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Topics;
    use super::*;

    fn renamed(filter: &str, strip: &str, prefix: &str) -> Result<Route, RouteError> {
        Route::plain(filter)?.renamed(strip, prefix)
    }

    #[test]
    fn the_front_of_a_topic_is_replaced() {
        for (filter, strip, prefix, topic, expected) in [
            ("sensors/#", "sensors/", "site-1/", "sensors/a/b", Some("site-1/a/b")),
            ("sensors/#", "", "site-1/", "sensors/a", Some("site-1/sensors/a")),
            ("sensors/#", "sensors/", "", "sensors/a", Some("a")),
            ("sensors/+", "sen", "x", "sensors/a", Some("xsors/a")),
            ("#", "", "site-1/", "a", Some("site-1/a")),
            ("a", "a", "b", "a", Some("b")),
            ("sensors/#", "sensors/", "", "other/a", None),
            // `sensors` has no `sensors/` in front, and of `sensors/` nothing is left.
            ("sensors/#", "sensors/", "x/", "sensors", None),
            ("sensors/#", "sensors/", "", "sensors/", None),
            ("sensors/#", "sensors/", "x/", "sensors/", Some("x/")),
        ] {
            let routes = Routes::from_iter([renamed(filter, strip, prefix).unwrap()]);
            let address = routes.address(&topic.into()).map(|(topic, _)| topic.to_string());
            assert_eq!(address.as_deref(), expected, "{topic} through {filter} - {strip} + {prefix}");
            assert_eq!(routes.carry(topic), expected.is_some());
        }
    }

    #[test]
    fn a_route_that_could_not_work_is_refused() {
        for (filter, strip, prefix, expected) in [
            ("a/#/b", "", "", RouteError::Filter),
            ("$share/g/a", "", "", RouteError::Shared),
            ("a/+/b", "a/+/", "", RouteError::Strip),
            ("a/b", "b", "", RouteError::Strip),
            ("a/b", "a/b/", "", RouteError::Strip),
            ("a/#", "a/", "x/+/", RouteError::Prefix),
            ("a", "a", "", RouteError::Nothing),
        ] {
            assert_eq!(renamed(filter, strip, prefix), Err(expected), "{filter} - {strip} + {prefix}");
        }
    }

    #[test]
    fn the_first_route_that_carries_a_topic_decides() {
        let routes = Routes::from_iter([
            Route::plain("a/b").unwrap().with_qos(Qos::ExactlyOnce),
            renamed("a/#", "a/", "x/").unwrap().with_qos(Qos::AtMostOnce),
            Route::plain("#").unwrap(),
        ]);
        let address = |topic: &str| routes.address(&topic.into()).unwrap();
        assert_eq!(address("a/b"), ("a/b".into(), Qos::ExactlyOnce));
        assert_eq!(address("a/c"), ("x/c".into(), Qos::AtMostOnce));
        // The second cannot take `a/` off `a`.
        assert_eq!(address("a"), ("a".into(), Qos::AtLeastOnce));
        assert_eq!(routes.highest_qos(), Qos::ExactlyOnce);
    }

    #[test]
    fn a_filter_is_told_in_the_names_of_the_other_side() {
        assert_eq!(renamed("sensors/+/set", "sensors/", "site/").unwrap().filter_there(), "site/+/set");
        assert_eq!(Route::plain("a/#").unwrap().filter_there(), "a/#");
    }

    #[test]
    fn a_bridge_without_filters_takes_our_own_but_not_state() {
        let topics = Topics::new("serialgate", "pi");
        let state = Subject::State("a".into());
        let meta = Subject::Meta("a".into());
        let own = Forward::Own;
        assert!(own.wants_own(&topics.data("a")));
        assert!(own.wants_subject(&meta, &topics.of(&meta)));
        assert!(!own.wants_subject(&state, &topics.of(&state)));
        assert!(!own.wants_message("sensors/x"));
        let all = Forward::Routes(Routes::plain(["serialgate/#"]).unwrap());
        assert!(all.wants_subject(&state, &topics.of(&state)));
        assert!(!all.wants_message("sensors/x"));
        assert_eq!(all.address(&"elsewhere".into()), ("elsewhere".into(), Qos::AtLeastOnce));
    }
}
