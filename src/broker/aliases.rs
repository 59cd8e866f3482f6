//! Topic aliases of one connection (MQTT 5.0, 3.3.2.3.4).

use std::collections::HashMap;
use std::num::NonZeroU16;
use std::sync::Arc;

use super::end::End;
use crate::mqtt::packet::{Publish, Reason};

/// Aliases that a client may use towards us; also the most that we use towards it.
pub(super) const MAXIMUM: u16 = 32;

/// The aliases that the client gave to its topics.
#[derive(Debug, Default)]
pub(super) struct TheirAliases {
    topics: HashMap<NonZeroU16, Arc<str>>,
    bytes: usize,
}

impl TheirAliases {
    /// Puts the topic in place of the alias, or remembers the alias of the topic.
    pub(super) fn resolve(&mut self, publish: &mut Publish) -> Result<(), End> {
        let Some(alias) = publish.topic_alias.take() else { return Ok(()) };
        let unknown = End::Refused { reason: Reason::ALIAS_INVALID, why: "an unknown topic alias" };
        if alias.get() > MAXIMUM {
            return Err(unknown);
        }
        if publish.topic.is_empty() {
            publish.topic = Arc::clone(self.topics.get(&alias).ok_or(unknown)?);
        } else {
            self.bytes += publish.topic.len();
            let old = self.topics.insert(alias, Arc::clone(&publish.topic));
            self.bytes -= old.map_or(0, |old| old.len());
        }
        Ok(())
    }

    /// What the topics hold, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// The aliases that we use towards the client: for the first topics that it gets.
#[derive(Debug)]
pub(super) struct OurAliases {
    by_topic: HashMap<Arc<str>, NonZeroU16>,
    bytes: usize,
    maximum: u16,
    empty: Arc<str>,
}

impl OurAliases {
    /// None yet, and at most as many as the client takes.
    pub(super) fn new(client_maximum: u16) -> Self {
        Self { by_topic: HashMap::new(), bytes: 0, maximum: client_maximum.min(MAXIMUM), empty: "".into() }
    }

    /// Replaces the topic by its alias, or adds a new alias to it. That one is to be settled once
    /// the client is sure to get it.
    pub(super) fn apply(&self, publish: &mut Publish) -> Option<(Arc<str>, NonZeroU16)> {
        if self.maximum == 0 {
            return None;
        }
        if let Some(alias) = self.by_topic.get(&publish.topic) {
            publish.topic_alias = Some(*alias);
            publish.topic = Arc::clone(&self.empty);
            return None;
        }
        let used = u16::try_from(self.by_topic.len()).unwrap_or(u16::MAX);
        let alias = NonZeroU16::new(used.saturating_add(1)).filter(|alias| alias.get() <= self.maximum)?;
        publish.topic_alias = Some(alias);
        Some((Arc::clone(&publish.topic), alias))
    }

    pub(super) fn settle(&mut self, new: Option<(Arc<str>, NonZeroU16)>) {
        self.bytes += new.as_ref().map_or(0, |(topic, _)| topic.len());
        self.by_topic.extend(new);
    }

    /// What the topics hold, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}
