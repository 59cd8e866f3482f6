//! The handles that `main` puts between the parts, besides the queue itself.
//!
//! ```text
//! port ──Bulletin──> publisher ──LocalPublish──> broker
//!                └──────────────────────────────> bridge
//! cloud ──────────────> bridge ──LocalPublish──> broker
//! broker ──commands──> gateway ──Switchboard──> port
//! ```
//! Every channel has a bound, and none of them is on the durable path.

mod switchboard;

pub use switchboard::{Asked, Reply, Switchboard};

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{oneshot, watch};

use crate::mqtt::packet::Publish;
use crate::topic::Subject;

/// Resolves when the local broker has a message safe for everybody it keeps it for.
pub type Kept = oneshot::Receiver<()>;

/// What became of a message for local clients.
#[derive(Debug, Default)]
pub struct Passed {
    /// How many clients subscribed to it.
    pub reached: usize,
    /// When it is safe, where some of them get it later.
    pub kept: Option<Kept>,
}

/// Where messages for local clients go: the local broker.
#[derive(Clone)]
pub struct LocalPublish(Arc<dyn Fn(Publish) -> Option<Passed> + Send + Sync>);

impl LocalPublish {
    /// Hands each message to `take`, which must neither block nor wait. `None`: it takes nothing yet.
    #[must_use]
    pub fn new(take: impl Fn(Publish) -> Option<Passed> + Send + Sync + 'static) -> Self {
        Self(Arc::new(take))
    }

    /// Publishes `message`, which has no packet id: each subscriber's session gives it one. `None`: it
    /// was not taken, because the local broker is still starting.
    pub fn publish(&self, message: Publish) -> Option<Passed> {
        (self.0)(message)
    }
}

impl fmt::Debug for LocalPublish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalPublish")
    }
}

/// The newest word on every retained subject: device status, description, newest reading.
///
/// Latest value only: who is slow misses words, never the last one. Readers keep the version up to
/// which they have read and ask for what is newer.
#[derive(Clone, Debug)]
pub struct Bulletin(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    posts: Mutex<Posts>,
    newest: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Posts {
    version: u64,
    by_subject: HashMap<Subject, (u64, Bytes)>,
    by_version: BTreeMap<u64, Subject>,
}

impl Default for Bulletin {
    fn default() -> Self {
        Self(Arc::new(Inner { posts: Mutex::default(), newest: watch::Sender::new(0) }))
    }
}

impl Bulletin {
    /// Says `payload` on `subject`, in place of what was said before. Saying the same again is
    /// nothing new. An empty payload withdraws the subject.
    pub fn post(&self, subject: Subject, payload: impl Into<Bytes>) {
        let payload = payload.into();
        let mut posts = self.lock();
        if posts.by_subject.get(&subject).is_some_and(|(_, old)| *old == payload) {
            return;
        }
        posts.version += 1;
        let version = posts.version;
        if let Some((old, _)) = posts.by_subject.insert(subject.clone(), (version, payload)) {
            posts.by_version.remove(&old);
        }
        posts.by_version.insert(version, subject);
        drop(posts);
        self.0.newest.send_replace(version);
    }

    /// At most `limit` of the posts that are newer than `version`, oldest first, each with its own
    /// version.
    #[must_use]
    pub fn newer_than(&self, version: u64, limit: usize) -> Vec<(u64, Subject, Bytes)> {
        let posts = self.lock();
        let newer = posts.by_version.range(version + 1..).take(limit);
        newer
            .filter_map(|(version, subject)| {
                let (_, payload) = posts.by_subject.get(subject)?;
                Some((*version, subject.clone(), payload.clone()))
            })
            .collect()
    }

    /// Wakes its holder at each new post.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.0.newest.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Posts> {
        self.0.posts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_gets_the_newest_word_once() {
        let bulletin = Bulletin::default();
        bulletin.post(Subject::Gateway, "online");
        bulletin.post(Subject::Status("a".into()), "online");
        bulletin.post(Subject::Status("a".into()), "offline");
        bulletin.post(Subject::Status("a".into()), "offline");
        let posts = bulletin.newer_than(0, 10);
        assert_eq!(
            posts.iter().map(|(_, s, p)| (s.clone(), p.clone())).collect::<Vec<_>>(),
            [
                (Subject::Gateway, Bytes::from("online")),
                (Subject::Status("a".into()), Bytes::from("offline")),
            ]
        );
        assert_eq!(bulletin.newer_than(posts[1].0, 10), []);
    }
}
