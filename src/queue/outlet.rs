//! A bridge's side of the queue.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::clock::boottime_us;
use crate::reading::{Body, Epoch};

use super::Shared;
use super::core::Core;
use super::types::{Safe, Taken};

/// A bridge's side of the queue.
#[derive(Debug)]
pub struct Outlet {
    pub(super) shared: Arc<Shared>,
    pub(super) index: usize,
}

impl Outlet {
    /// Waits until [`Outlet::take`] would give something. Cancel safe.
    pub async fn ready(&self) {
        let Some(news) = self.shared.news.get(self.index) else { return std::future::pending().await };
        loop {
            let notified = news.notified();
            if self.look() {
                return;
            }
            notified.await;
        }
    }

    fn look(&self) -> bool {
        let mut state = self.shared.state();
        let ready = !state.core.is_paused(self.index) && state.core.has_entries(self.index);
        // Looking may have asked for a load.
        self.shared.call_worker(&mut state);
        ready
    }

    /// At most `max` entries from the cursor on, in order. Each is handed out once until
    /// [`Outlet::rewind`].
    #[must_use]
    pub fn take(&self, max: usize) -> Vec<Taken> {
        let interest = &self.shared.interest;
        let Some(consumer) = interest.consumers.get(self.index) else { return Vec::new() };
        let mut state = self.shared.state();
        if state.core.is_paused(self.index) {
            return Vec::new();
        }
        let mut taken =
            state.core.take(self.index, max, boottime_us(), |body| interest.wants_one(consumer, body));
        drop(state);
        // What came out of another file is late even when it goes straight through.
        taken.iter_mut().for_each(|entry| entry.late |= is_imported(&entry.body));
        taken
    }

    /// The cloud has acknowledged the entry at `position`.
    pub fn done(&self, position: u64) {
        self.settle(|core| core.done(self.index, position, boottime_us()));
    }

    /// The cloud can never take the entry at `position`: it is given up, counted and told of.
    pub fn refused(&self, position: u64, body: &Body) {
        self.settle(|core| core.refused(self.index, position, body, boottime_us()));
    }

    /// The entry at `position` is of no use any more and was not sent: it is given up, counted and told
    /// of.
    pub fn expired(&self, position: u64, body: &Body) {
        self.settle(|core| core.expired(self.index, position, body, boottime_us()));
    }

    fn settle(&self, how: impl FnOnce(&mut Core<oneshot::Sender<Safe>>)) {
        self.shared.change(how);
    }

    /// The connection is gone: hand out again what was not done.
    pub fn rewind(&self) {
        self.shared.state().core.rewind(self.index);
    }

    /// Whether an operator holds this bridge.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.shared.state().core.is_paused(self.index)
    }

    /// Readings that wait for this bridge.
    #[must_use]
    pub fn backlog(&self) -> u64 {
        self.shared.state().core.backlog(self.index)
    }
}

fn is_imported(body: &Body) -> bool {
    body.at().is_some_and(|at| matches!(at.epoch, Epoch::Wall { .. }))
}
