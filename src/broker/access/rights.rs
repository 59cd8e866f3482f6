//! What one client may publish, and subscribe to.

use std::sync::Arc;

use super::super::filter::Filter;
use crate::topic;

/// Topics that the broker alone publishes.
const BROKERS_OWN: &str = "$SYS/#";

/// What one client may publish, and subscribe to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::broker) struct Rights {
    publish: Allowed,
    subscribe: Allowed,
}

/// Topics.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Allowed {
    /// All of them, those that begin with `$` included.
    Everything,
    /// Those that fall under one of these filters.
    Under(Vec<Arc<str>>),
}

impl Rights {
    /// Everything.
    pub(in crate::broker) fn everything() -> Self {
        Self { publish: Allowed::Everything, subscribe: Allowed::Everything }
    }

    /// What falls under these filters; `None` is everything.
    pub(super) fn new(publish: Option<Vec<Arc<str>>>, subscribe: Option<Vec<Arc<str>>>) -> Self {
        let allowed = |filters: Option<_>| filters.map_or(Allowed::Everything, Allowed::Under);
        Self { publish: allowed(publish), subscribe: allowed(subscribe) }
    }

    /// Whether it may publish to `topic`.
    pub(in crate::broker) fn may_publish(&self, topic: &str) -> bool {
        !topic::matches(BROKERS_OWN, topic)
            && match &self.publish {
                Allowed::Everything => true,
                Allowed::Under(filters) => filters.iter().any(|filter| topic::matches(filter, topic)),
            }
    }

    /// Whether it may subscribe with `filter`: one of the allowed filters must cover all that it can
    /// match. A shared subscription counts by its topics. What is no filter at all is not refused
    /// here.
    pub(in crate::broker) fn may_subscribe(&self, filter: &str) -> bool {
        match (&self.subscribe, Filter::parse(filter)) {
            (Allowed::Everything, _) | (_, None) => true,
            (Allowed::Under(filters), Some(wanted)) => {
                filters.iter().any(|allowed| topic::covers(allowed, wanted.topics))
            }
        }
    }
}

/// `filters` with the client's id for `%c` and the user's name for `%u`. A filter that the two
/// would change in more than these places is left out: they are the client's choice, and must not
/// open another level or a wildcard to it.
pub(super) fn expand(filters: &[Arc<str>], client_id: &str, user: &str) -> Vec<Arc<str>> {
    filters.iter().filter_map(|filter| expand_one(filter, client_id, user)).collect()
}

fn expand_one(filter: &Arc<str>, client_id: &str, user: &str) -> Option<Arc<str>> {
    let mut expanded = String::with_capacity(filter.len());
    let mut rest: &str = filter;
    while let Some(at) = rest.find('%') {
        let (before, from) = rest.split_at(at);
        expanded.push_str(before);
        let value = match from.as_bytes().get(1) {
            Some(b'c') => client_id,
            Some(b'u') => user,
            _ => {
                expanded.push('%');
                rest = from.get(1..).unwrap_or_default();
                continue;
            }
        };
        let begins_with_dollar = expanded.is_empty() && value.starts_with('$');
        if value.is_empty() || value.contains(['+', '#', '/', '\0']) || begins_with_dollar {
            return None;
        }
        expanded.push_str(value);
        rest = from.get(2..).unwrap_or_default();
    }
    if rest.len() == filter.len() {
        return Some(Arc::clone(filter));
    }
    expanded.push_str(rest);
    topic::is_valid_filter(&expanded).then(|| expanded.into())
}
