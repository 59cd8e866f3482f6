//! A bridge's side of the queue.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::clock::boottime_us;
use crate::reading::{Body, Epoch};

use super::core::Core;
use super::letters::{Letter, REASON_BYTES};
use super::types::{Safe, Taken};
use super::{Shared, portable};

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
        let now = boottime_us();
        let mut taken = state.core.take(self.index, max, now, |body| interest.wants_one(consumer, body));
        drop(state);
        // What came out of another file, or waited on the board, is late even when it goes straight
        // through.
        for entry in &mut taken {
            entry.late |= is_imported(&entry.body) || entry.body.has_waited(now);
        }
        taken
    }

    /// The cloud has acknowledged the entry at `position`.
    pub fn done(&self, position: u64) {
        self.settle(|core| core.done(self.index, position, boottime_us()));
    }

    /// The cloud can never take `row`, which was to go to `topic`: it is given up for the `reason`,
    /// counted, told of, and kept as a dead letter.
    pub fn refused(&self, row: &Taken, topic: &str, reason: &str) {
        let letter = if self.shared.keeps_letters { self.letter(&row.body, topic, reason) } else { None };
        self.settle(|core| core.refused(self.index, row.position, &row.body, letter, boottime_us()));
    }

    fn letter(&self, body: &Body, topic: &str, reason: &str) -> Option<Letter> {
        let clock = &self.shared.clock;
        let consumer = self.shared.interest.consumers.get(self.index)?;
        let entry = portable::write(body, |at| clock.wall(at)).ok()?;
        Some(Letter {
            bridge: consumer.name.as_str().into(),
            unix_us: clock.wall(clock.now()).unix_us,
            topic: topic.into(),
            reason: reason[..reason.floor_char_boundary(REASON_BYTES)].to_owned(),
            entry: entry.into(),
        })
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

    /// How many dead letters operators have put back for this bridge since the start: they think that the
    /// cloud takes them now.
    #[must_use]
    pub fn retried(&self) -> u64 {
        self.shared.state().core.retried(self.index)
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
