//! Where messages of LAN clients go that a bridge forwards.

use crate::mqtt::packet::{Publish, Qos};
use crate::queue::{Full, Queue, Ticket};
use crate::reading::{Body, Expiry, Message};

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
        if !self.wants_message(&publish.topic) {
            return Ok(None);
        }
        let body = Body::Message(Message {
            topic: publish.topic.clone(),
            payload: publish.payload.clone(),
            qos: publish.qos as u8,
            retain: publish.retain,
            properties: publish.properties.clone(),
            expiry: publish.expiry_s.map(|after_s| Expiry { since: self.clock().now(), after_s }),
        });
        if publish.qos == Qos::AtMostOnce {
            self.push(body);
            return Ok(None);
        }
        self.push_ticketed(body).map(Some)
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
