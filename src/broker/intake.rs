//! Where messages of LAN clients go that a bridge forwards.

use crate::mqtt::packet::Publish;
use crate::queue::{Full, Queue, Ticket};

/// Takes what a bridge wants of the LAN clients' messages.
pub trait Intake: Send + Sync {
    /// Takes `publish` if some bridge wants it; never blocks. With QoS 1 and 2 there is a ticket:
    /// the client gets its acknowledgement when that resolves.
    ///
    /// # Errors
    /// Wanted, but there is no room: the message must not be acknowledged.
    fn offer(&self, publish: &Publish) -> Result<Option<Ticket>, Full>;
}

/// The store-and-forward queue. What comes with QoS 0 is dropped, and counted there, when it is
/// full.
impl Intake for Queue {
    fn offer(&self, publish: &Publish) -> Result<Option<Ticket>, Full> {
        Self::offer(self, publish)
    }
}

/// No bridges: nothing leaves the broker.
#[derive(Clone, Copy, Debug)]
pub struct NoIntake;

impl Intake for NoIntake {
    fn offer(&self, _: &Publish) -> Result<Option<Ticket>, Full> {
        Ok(None)
    }
}
