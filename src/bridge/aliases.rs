//! Topic aliases: on a connection to a broker that takes them, a number of two bytes stands for a topic
//! that was sent before (MQTT 5.0, 3.3.2.3.4).
//!
//! The first message on a topic carries the topic and its number, the next ones the number alone. Where
//! there are more topics than numbers, the topic that was used least recently gives its number up, but
//! only after [`PATIENCE`]: of devices that take turns, those that have a number would otherwise lose it
//! just before they need it, each time, and nothing would be saved.

use std::collections::HashMap;
use std::num::NonZeroU16;
use std::sync::Arc;

/// Most topics that we give a number to.
pub(super) const ALIASES_MAX: u16 = 64;
/// What a number costs in a packet, in bytes. Shorter topics gain nothing.
const ALIAS_BYTES: usize = 3;
/// A topic keeps its number while so many messages per number go by without it.
const PATIENCE: u64 = 4;

/// The numbers of one connection; they end with it.
#[derive(Debug)]
pub(super) struct Aliases {
    /// Highest number.
    most: u16,
    by_topic: HashMap<Arc<str>, Entry>,
    /// Numbers that stand for nothing any more.
    free: Vec<NonZeroU16>,
    /// Messages so far.
    sent: u64,
    /// Stands where the number is enough.
    nothing: Arc<str>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    alias: NonZeroU16,
    /// Count of messages when it was last used.
    used: u64,
}

/// What to call a topic in a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// By its name alone.
    Full,
    /// By its name, and this is its number from now on.
    Introduced(NonZeroU16),
    /// By its number; the text is the empty one that stands for the topic.
    Known(NonZeroU16, Arc<str>),
}

impl Aliases {
    /// At most `most` numbers; 0: none are used.
    pub(super) fn new(most: u16) -> Self {
        let most = most.min(ALIASES_MAX);
        Self { most, by_topic: HashMap::new(), free: Vec::new(), sent: 0, nothing: "".into() }
    }

    /// What to call `topic` in the next packet. Where that cannot be sent after all, [`Aliases::forget`]
    /// must follow.
    pub(super) fn name(&mut self, topic: &Arc<str>) -> Name {
        if self.most == 0 || topic.len() <= ALIAS_BYTES {
            return Name::Full;
        }
        self.sent += 1;
        if let Some(entry) = self.by_topic.get_mut(topic) {
            entry.used = self.sent;
            return Name::Known(entry.alias, Arc::clone(&self.nothing));
        }
        let Some(alias) = self.number() else { return Name::Full };
        self.by_topic.insert(Arc::clone(topic), Entry { alias, used: self.sent });
        Name::Introduced(alias)
    }

    /// The packet that was to introduce the number of `topic` was not sent.
    pub(super) fn forget(&mut self, topic: &str) {
        self.free.extend(self.by_topic.remove(topic).map(|entry| entry.alias));
    }

    /// A number for a new topic, if there is one.
    fn number(&mut self) -> Option<NonZeroU16> {
        if let Some(alias) = self.free.pop() {
            return Some(alias);
        }
        let used = u16::try_from(self.by_topic.len()).unwrap_or(u16::MAX);
        if used < self.most {
            return NonZeroU16::new(used + 1);
        }
        let (topic, entry) = self.by_topic.iter().min_by_key(|(_, entry)| entry.used)?;
        let idle = self.sent - entry.used > PATIENCE * u64::from(self.most);
        let topic = idle.then(|| Arc::clone(topic))?;
        self.by_topic.remove(&topic).map(|entry| entry.alias)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn topic(n: usize) -> Arc<str> {
        format!("serialgate/pi/device-{n}/data").into()
    }

    /// Sends to `devices` topics in turn; gives how many messages went by number alone.
    fn in_turn(aliases: &mut Aliases, devices: usize, messages: usize) -> usize {
        let known = |n| matches!(aliases.name(&topic(n % devices)), Name::Known(..));
        (0..messages).map(known).filter(|known| *known).count()
    }

    #[test]
    fn the_first_message_introduces_what_the_next_ones_use() {
        let mut aliases = Aliases::new(10);
        let one = NonZeroU16::MIN;
        assert_eq!(aliases.name(&topic(1)), Name::Introduced(one));
        assert_eq!(aliases.name(&topic(1)), Name::Known(one, "".into()));
        assert_eq!(aliases.name(&topic(2)), Name::Introduced(NonZeroU16::new(2).unwrap()));
        assert_eq!(aliases.name(&"a/b".into()), Name::Full, "too short to gain");
        assert_eq!(Aliases::new(0).name(&topic(1)), Name::Full);
    }

    #[test]
    fn devices_in_turn_keep_the_numbers_that_there_are() {
        assert_eq!(in_turn(&mut Aliases::new(10), 10, 1000), 990);
        assert_eq!(in_turn(&mut Aliases::new(10), 20, 1000), 490);
        assert_eq!(in_turn(&mut Aliases::new(u16::MAX), 100, 1000), 64 * 9);
    }

    #[test]
    fn topics_that_are_not_used_any_more_make_room() {
        let mut aliases = Aliases::new(10);
        in_turn(&mut aliases, 10, 100);
        let new = |n: usize| topic(10 + n % 10);
        let known = (0..1000).filter(|n| matches!(aliases.name(&new(*n)), Name::Known(..))).count();
        assert!(known > 900, "{known}");
    }

    proptest! {
        #[test]
        fn the_broker_always_knows_what_a_number_stands_for(
            most in 0..8_u16,
            steps in prop::collection::vec((0..20_usize, prop::bool::weighted(0.1)), 0..500),
        ) {
            let (mut aliases, mut at_broker) = (Aliases::new(most), HashMap::new());
            for (n, fails) in steps {
                let topic = topic(n);
                match aliases.name(&topic) {
                    Name::Full => {}
                    Name::Introduced(_) if fails => aliases.forget(&topic),
                    Name::Introduced(alias) => {
                        prop_assert!(alias.get() <= most);
                        at_broker.insert(alias, topic);
                    }
                    Name::Known(alias, nothing) => {
                        prop_assert_eq!(at_broker.get(&alias), Some(&topic));
                        prop_assert!(nothing.is_empty());
                    }
                }
            }
        }
    }
}
