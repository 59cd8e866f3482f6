//! What a client may subscribe to.

use crate::topic;

/// Deepest filter, in levels. Bounds the depth of the subscription tree, and thus of the stack.
pub(super) const MAX_LEVELS: usize = 128;

/// A filter of a SUBSCRIBE, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Filter<'a> {
    /// The group that shares the messages, from `$share/<group>/<topics>` (MQTT 5.0, 4.8.2). We
    /// grant it over 3.1.1 too.
    pub(super) group: Option<&'a str>,
    /// What the topics must match.
    pub(super) topics: &'a str,
}

impl<'a> Filter<'a> {
    /// The parts of `text`; `None` where it is not a filter that we take.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (group, topics) = match text.strip_prefix("$share/") {
            Some(shared) => {
                let (group, topics) = shared.split_once('/')?;
                if group.is_empty() || group.contains(['+', '#']) {
                    return None;
                }
                (Some(group), topics)
            }
            None if text == "$share" => return None,
            None => (None, text),
        };
        let fits = topic::is_valid_filter(topics) && topics.split('/').count() <= MAX_LEVELS;
        fits.then_some(Self { group, topics })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_taken_apart_or_refused() {
        for (text, expected) in [
            ("a/+", Some((None, "a/+"))),
            ("$SYS/#", Some((None, "$SYS/#"))),
            ("$share/g/a/#", Some((Some("g"), "a/#"))),
            ("$share/g//a", Some((Some("g"), "/a"))),
            ("$shared/g", Some((None, "$shared/g"))),
            ("a#", None),
            ("", None),
            ("$share", None),
            ("$share/g", None),
            ("$share/g/", None),
            ("$share//a", None),
            ("$share/+/a", None),
            ("$share/g/a#", None),
        ] {
            let parsed = Filter::parse(text).map(|filter| (filter.group, filter.topics));
            assert_eq!(parsed, expected, "{text}");
        }
        assert!(Filter::parse(&"a/".repeat(MAX_LEVELS - 1)).is_some());
        assert!(Filter::parse(&"a/".repeat(MAX_LEVELS)).is_none());
    }
}
