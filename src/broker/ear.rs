//! What our own parts hear of what others publish: a subscription without a session.

use std::sync::{Arc, Mutex, PoisonError};

use super::state::Origin;
use crate::mqtt::packet::Publish;
use crate::topic::matches;

/// A message that matches the filter.
#[derive(Debug)]
pub struct Heard {
    /// As it was published.
    pub publish: Publish,
    /// Whether a bridge brought it.
    pub is_from_bridge: bool,
}

/// The one who hears.
#[derive(Default)]
pub(super) struct Ear(Mutex<Option<Arc<Listening>>>);

struct Listening {
    filter: String,
    take: Box<dyn Fn(Heard) + Send + Sync>,
}

/// A message that is to be heard, once it was passed to the clients.
pub(super) struct Hears(Arc<Listening>, Heard);

impl Ear {
    pub(super) fn open(&self, filter: String, take: impl Fn(Heard) + Send + Sync + 'static) {
        self.set(Some(Arc::new(Listening { filter, take: Box::new(take) })));
    }

    pub(super) fn close(&self) {
        self.set(None);
    }

    fn set(&self, listening: Option<Arc<Listening>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = listening;
    }

    /// Whether `publish` is to be heard. What our own parts say is not.
    pub(super) fn pricks(&self, publish: &Publish, origin: Origin) -> Option<Hears> {
        if origin == Origin::Ours {
            return None;
        }
        let listening = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        matches(&listening.filter, &publish.topic).then(|| {
            let heard = Heard { publish: publish.clone(), is_from_bridge: origin == Origin::Bridge };
            Hears(listening, heard)
        })
    }
}

impl Hears {
    /// Tells it. Whoever hears it may publish in turn.
    pub(super) fn tell(self) {
        let Self(listening, heard) = self;
        (listening.take)(heard);
    }
}
