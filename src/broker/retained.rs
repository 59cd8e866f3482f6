//! The last retained message of each topic.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Instant;

use super::message::Message;
use super::sys;
use crate::topic;

/// Retained messages by topic, bounded in number and in bytes.
#[derive(Debug)]
pub(super) struct Retained {
    by_topic: BTreeMap<Arc<str>, Arc<Message>>,
    /// What the broker tells about itself: a few topics, which are in nobody's way.
    sys: BTreeMap<Arc<str>, Arc<Message>>,
    bytes: usize,
    /// Those that are not there any more, since somebody last asked.
    gone: Vec<Arc<Message>>,
    max_messages: usize,
    max_bytes: usize,
}

/// The store is full: the message was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Retained {
    /// Empty, with room for that much.
    pub(super) fn new(max_messages: usize, max_bytes: usize) -> Self {
        Self {
            by_topic: BTreeMap::new(),
            sys: BTreeMap::new(),
            bytes: 0,
            gone: Vec::new(),
            max_messages,
            max_bytes,
        }
    }

    /// Takes no more than that from now on; what is there stays.
    pub(super) fn set_limits(&mut self, max_messages: usize, max_bytes: usize) {
        (self.max_messages, self.max_bytes) = (max_messages, max_bytes);
    }

    /// Keeps `message` in place of the last one of its topic; an empty one only removes that
    /// (MQTT 5.0, 3.3.1.3).
    pub(super) fn set(&mut self, message: &Arc<Message>, now: Instant) -> Result<(), Full> {
        if sys::is_ours(&message.topic) {
            self.sys.insert(Arc::clone(&message.topic), Arc::clone(message));
            return Ok(());
        }
        self.remove(&message.topic);
        if message.payload.is_empty() {
            return Ok(());
        }
        if !self.fits(message) {
            self.purge(now);
            if !self.fits(message) {
                return Err(Full);
            }
        }
        self.bytes += message.bytes();
        self.by_topic.insert(Arc::clone(&message.topic), Arc::clone(message));
        Ok(())
    }

    /// The first message that matches `filter` on a topic after `after`, in the order of topics.
    pub(super) fn next_match(
        &self,
        filter: &str,
        after: Option<&str>,
        now: Instant,
    ) -> Option<&Arc<Message>> {
        let prefix = literal_prefix(filter);
        let start = match after {
            Some(after) => Bound::Excluded(after),
            None => Bound::Included(prefix),
        };
        // Only filters that name it match topics below `$SYS` (MQTT 5.0, 4.7.2).
        let store = if sys::is_ours(filter) { &self.sys } else { &self.by_topic };
        store
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(topic, _)| topic.starts_with(prefix))
            .find(|(topic, message)| topic::matches(filter, topic) && !message.is_expired(now))
            .map(|(_, message)| message)
    }

    /// The messages that were replaced, cleared or forgotten since the last call.
    pub(super) fn take_gone(&mut self) -> Vec<Arc<Message>> {
        std::mem::take(&mut self.gone)
    }

    /// Whether there is one of that topic.
    pub(super) fn has(&self, topic: &str) -> bool {
        self.by_topic.contains_key(topic)
    }

    /// All of them, in the order of their topics.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Message>> {
        self.by_topic.values()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_topic.len()
    }

    /// What they hold, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn fits(&self, message: &Message) -> bool {
        self.by_topic.len() < self.max_messages && self.bytes + message.bytes() <= self.max_bytes
    }

    fn remove(&mut self, topic: &str) {
        if let Some(old) = self.by_topic.remove(topic) {
            self.bytes -= old.bytes();
            self.gone.push(old);
        }
    }

    fn purge(&mut self, now: Instant) {
        let expired = self.by_topic.extract_if(.., |_, message| message.is_expired(now));
        self.gone.extend(expired.map(|(_, message)| message));
        self.bytes = self.by_topic.values().map(|message| message.bytes()).sum();
    }
}

/// What every topic that matches `filter` begins with.
fn literal_prefix(filter: &str) -> &str {
    match filter.find(['+', '#']) {
        // `a/#` matches `a` too.
        Some(wildcard) => filter.get(..wildcard.saturating_sub(1)).unwrap_or(""),
        None => filter,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::mqtt::packet::{Publish, Qos};

    fn message(topic: &str, payload: &str, expiry_s: Option<u32>, now: Instant) -> Arc<Message> {
        let publish = Publish { expiry_s, ..Publish::new(topic, payload.to_owned(), Qos::AtMostOnce, true) };
        Arc::new(Message::new(publish, now))
    }

    fn all(retained: &Retained, filter: &str, now: Instant) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        while let Some(message) = retained.next_match(filter, found.last().map(String::as_str), now) {
            found.push(message.topic.to_string());
        }
        found
    }

    #[test]
    fn every_match_is_found_in_order_and_nothing_else() {
        let now = Instant::now();
        let mut retained = Retained::new(100, 100_000);
        let topics = ["", "a", "a!", "a/", "a/b", "a/b/c", "ab", "b/b", "$other/x"];
        for topic in topics {
            retained.set(&message(topic, "x", None, now), now).unwrap();
        }
        for filter in ["#", "a", "a/#", "a/+", "+/b", "+/b/#", "$other/#", "c/#", "a/b/c", "/#", "+"] {
            let mut expected: Vec<_> = topics.into_iter().filter(|t| topic::matches(filter, t)).collect();
            expected.sort_unstable();
            assert_eq!(all(&retained, filter, now), expected, "{filter}");
        }
    }

    #[test]
    fn what_the_broker_tells_of_itself_takes_no_room_and_is_found_by_its_name_only() {
        let now = Instant::now();
        let mut retained = Retained::new(0, 0);
        retained.set(&message("$SYS/broker/uptime", "1 seconds", None, now), now).unwrap();
        assert_eq!((retained.len(), retained.bytes()), (0, 0));
        for filter in ["$SYS/#", "$SYS/broker/+", "$SYS/broker/uptime"] {
            assert_eq!(all(&retained, filter, now), ["$SYS/broker/uptime"], "{filter}");
        }
        for filter in ["#", "+/broker/uptime", "$SYSTEM/#"] {
            assert_eq!(all(&retained, filter, now), Vec::<String>::new(), "{filter}");
        }
    }

    #[test]
    fn an_empty_message_clears_its_topic() {
        let now = Instant::now();
        let mut retained = Retained::new(10, 100_000);
        retained.set(&message("a", "x", None, now), now).unwrap();
        retained.set(&message("a", "", None, now), now).unwrap();
        assert_eq!((retained.len(), retained.bytes), (0, 0));
    }

    #[test]
    fn a_full_store_refuses_new_topics_but_replaces_known_ones() {
        let now = Instant::now();
        let mut retained = Retained::new(2, 100_000);
        for topic in ["a", "b"] {
            retained.set(&message(topic, "x", None, now), now).unwrap();
        }
        assert_eq!(retained.set(&message("c", "x", None, now), now), Err(Full));
        assert_eq!(retained.set(&message("a", "y", None, now), now), Ok(()));
        let mut small = Retained::new(10, message("a", "x", None, now).bytes());
        small.set(&message("a", "x", None, now), now).unwrap();
        assert_eq!(small.set(&message("b", "x", None, now), now), Err(Full));
    }

    #[test]
    fn an_expired_message_is_neither_found_nor_in_the_way() {
        let now = Instant::now();
        let later = now + Duration::from_secs(2);
        let mut retained = Retained::new(1, 100_000);
        retained.set(&message("a", "x", Some(1), now), now).unwrap();
        assert_eq!(all(&retained, "#", now), ["a"]);
        assert_eq!(all(&retained, "#", later), Vec::<String>::new());
        assert_eq!(retained.set(&message("b", "x", None, later), later), Ok(()));
    }
}
