//! One connection's part of the memory that all have for their buffers.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::broker::Broker;
use crate::broker::buffers::{GaveWay, OWN_BYTES, Part};
use crate::broker::end::End;

/// What a connection holds; given back when it ends.
#[derive(Debug)]
pub(super) struct Held {
    broker: Broker,
    part: Part,
    gave_way: bool,
    /// Wakes its task, to find out that it has to end.
    wake: Arc<Notify>,
}

impl Held {
    /// Nothing yet.
    pub(super) fn new(broker: Broker, wake: Arc<Notify>) -> Self {
        Self { broker, part: Part::default(), gave_way: false, wake }
    }

    /// It holds `bytes`, and has `moved` since it said so last or not.
    ///
    /// # Errors
    /// Others need the memory: the connection has to end. From then on there is no more for it than
    /// is its own.
    pub(super) fn hold(&mut self, bytes: usize, moved: bool) -> Result<(), End> {
        if bytes <= OWN_BYTES && (self.gave_way || !self.part.is_counted()) {
            return Ok(());
        }
        if self.gave_way {
            return Err(GaveWay.into());
        }
        let wake = || Arc::clone(&self.wake);
        let ended = self.broker.buffers().hold(&mut self.part, bytes, moved, wake);
        self.gave_way = ended.is_err();
        let ended = ended?;
        ended.iter().for_each(|wake| wake.notify_one());
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.broker.buffers().release(&mut self.part);
    }
}
