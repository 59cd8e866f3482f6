//! One connection's part of the memory that all have for their buffers.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::broker::Broker;
use crate::broker::buffers::{OWN_BYTES, Part};
use crate::broker::end::End;

/// What a connection holds; given back when it ends.
#[derive(Debug)]
pub(super) struct Held {
    broker: Broker,
    part: Part,
    /// Wakes its task, to find out that it has to end.
    wake: Arc<Notify>,
}

impl Held {
    /// Nothing yet.
    pub(super) fn new(broker: Broker, wake: Arc<Notify>) -> Self {
        Self { broker, part: Part::default(), wake }
    }

    /// It holds `bytes`, and has `moved` since it said so last or not.
    ///
    /// # Errors
    /// Others need the memory: the connection has to end.
    pub(super) fn hold(&mut self, bytes: usize, moved: bool) -> Result<(), End> {
        if bytes <= OWN_BYTES && !self.part.is_counted() {
            return Ok(());
        }
        let wake = || Arc::clone(&self.wake);
        let ended = self.broker.buffers().hold(&mut self.part, bytes, moved, wake)?;
        ended.iter().for_each(|wake| wake.notify_one());
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.broker.buffers().release(&mut self.part);
    }
}
