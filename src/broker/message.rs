//! A message inside the broker, and one client's copy of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::mqtt::packet::{Publish, Qos};
use crate::reading::Properties;

/// What a text or a payload costs on the heap beside its length, in bytes: two counters, the
/// allocator's own mark and what it rounds up.
const HEAP_BYTES: usize = 40;

/// What a user property costs beside its two texts, in bytes.
const USER_BYTES: usize = size_of::<(Arc<str>, Arc<str>)>() + 2 * HEAP_BYTES;

/// A message as it was published; all its copies share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// Names it in the file; 0 before it is routed.
    pub(super) id: u64,
    /// Our own publisher says it again at each start, so what is retained of it is not kept.
    pub(super) is_ours: bool,
    pub(super) topic: Arc<str>,
    pub(super) payload: Bytes,
    pub(super) qos: Qos,
    pub(super) retain: bool,
    pub(super) properties: Properties,
    /// From when on nobody wants it any more.
    pub(super) expires: Option<Instant>,
}

impl Message {
    /// What a client or one of our own parts publishes at `now`.
    pub(super) fn new(publish: Publish, now: Instant) -> Self {
        Self {
            id: 0,
            is_ours: false,
            topic: publish.topic,
            payload: publish.payload,
            qos: publish.qos,
            retain: publish.retain,
            properties: publish.properties,
            expires: publish.expiry_s.and_then(|s| now.checked_add(Duration::from_secs(s.into()))),
        }
    }

    /// Whether it is too late to send it.
    pub(super) fn is_expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// What it costs in memory, in bytes, rather too much than too little.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + contents(&self.topic, &self.payload, &self.properties)
    }
}

impl Publish {
    /// What it costs in memory, in bytes, as long as nobody has published it.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + contents(&self.topic, &self.payload, &self.properties)
    }
}

fn contents(topic: &str, payload: &Bytes, properties: &Properties) -> usize {
    let texts = [&properties.content_type, &properties.response_topic];
    let texts: usize = texts.into_iter().flatten().map(|text| text.len() + HEAP_BYTES).sum();
    let data = properties.correlation_data.as_ref().map_or(0, |data| data.len() + HEAP_BYTES);
    let user = properties.user.iter();
    let user: usize = user.map(|(key, value)| key.len() + value.len() + USER_BYTES).sum();
    3 * HEAP_BYTES + topic.len() + payload.len() + texts + data + user
}

/// One client's copy of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Delivery {
    pub(super) message: Arc<Message>,
    /// Its place among all messages of a session that is kept; 0 for what is not.
    pub(super) position: u64,
    /// The lower of what was published and what was subscribed.
    pub(super) qos: Qos,
    /// As the client will see it.
    pub(super) retain: bool,
    /// Of all its subscriptions that match.
    pub(super) subscription_ids: Vec<u32>,
}

impl Delivery {
    /// The message, if the file has it for this client.
    pub(super) fn kept(&self) -> Option<u64> {
        (self.position > 0).then_some(self.message.id)
    }

    /// What it costs in memory, in bytes. The message counts for each of its copies: the others may
    /// be gone before this one.
    pub(super) fn bytes(&self) -> usize {
        self.message.bytes() + size_of_val(&*self.subscription_ids)
    }

    /// The packet, without packet id, at `now`.
    pub(super) fn to_publish(&self, now: Instant) -> Publish {
        let message = &self.message;
        Publish {
            expiry_s: message.expires.map(|expires| seconds_left(expires, now)),
            subscription_ids: self.subscription_ids.clone(),
            properties: message.properties.clone(),
            ..Publish::new(Arc::clone(&message.topic), message.payload.clone(), self.qos, self.retain)
        }
    }
}

/// Whole seconds, rounded up: a message must not expire early for having travelled.
fn seconds_left(expires: Instant, now: Instant) -> u32 {
    let left = expires.saturating_duration_since(now);
    let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
    u32::try_from(seconds).unwrap_or(u32::MAX)
}
