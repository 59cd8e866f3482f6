//! Messages that we received and have not acknowledged to the end.

use std::collections::HashMap;

use crate::mqtt::packet::PacketId;

/// What was made for more ids than this is given back when there are none.
const KEEP: usize = 64;

/// The QoS 2 messages that the peer has not released, and how many messages it may have
/// unacknowledged.
///
/// A message may be [acknowledged](Self::recorded) later than it arrives, once it is safe. A
/// duplicate that comes before is told apart ([`Arrival::Pending`]): it has to wait as well.
#[derive(Clone, Debug)]
pub struct Incoming {
    received: HashMap<PacketId, Receipt>,
    maximum: u16,
    /// What the peer may still send on this connection before we acknowledge something
    /// (MQTT 5.0, 4.9).
    quota: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Receipt {
    /// Taken, not yet safe: no PUBREC has been sent.
    Pending,
    /// PUBREC was sent.
    Recorded,
    /// Taken before the program was started, but perhaps not by everybody who wants it.
    Half,
}

/// What a QoS 2 PUBLISH is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Not seen before: take it.
    New,
    /// Taken before, and not yet safe: its PUBREC will come when it is.
    Pending,
    /// Taken and acknowledged before: say PUBREC again.
    Recorded,
    /// Taken before the program was started, but perhaps not by everybody who wants it: those have to
    /// be asked again.
    Half,
}

/// The peer sent more unacknowledged messages than we allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more unacknowledged messages than the receive maximum")]
pub struct Exceeded;

impl Incoming {
    /// Nothing received; the peer may have `maximum` messages unacknowledged.
    #[must_use]
    pub fn new(maximum: u16) -> Self {
        Self { received: HashMap::new(), maximum, quota: maximum }
    }

    /// How many QoS 2 messages have not been released.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.received.len()
    }

    /// A new connection to the same peer: its quota is full again, what it has not released is
    /// remembered.
    pub fn reconnect(&mut self, maximum: u16) {
        self.maximum = maximum;
        self.quota = maximum;
    }

    /// Puts back a message that was taken before the program was started. `is_half`: perhaps not by
    /// everybody who wants it.
    pub fn restore(&mut self, id: PacketId, is_half: bool) {
        self.received.insert(id, if is_half { Receipt::Half } else { Receipt::Recorded });
    }

    /// What was taken and not released, and whether perhaps not everybody who wants it has it.
    pub fn iter(&self) -> impl Iterator<Item = (PacketId, bool)> {
        self.received.iter().map(|(id, receipt)| (*id, *receipt != Receipt::Recorded))
    }

    /// A QoS 1 PUBLISH.
    ///
    /// # Errors
    /// The peer's quota is used up.
    pub fn publish_once_or_more(&mut self) -> Result<(), Exceeded> {
        self.quota = self.quota.checked_sub(1).ok_or(Exceeded)?;
        Ok(())
    }

    /// A QoS 2 PUBLISH.
    ///
    /// # Errors
    /// The peer's quota is used up.
    pub fn publish_once(&mut self, id: PacketId) -> Result<Arrival, Exceeded> {
        match self.received.get_mut(&id) {
            Some(Receipt::Pending) => Ok(Arrival::Pending),
            Some(Receipt::Recorded) => Ok(Arrival::Recorded),
            Some(receipt @ Receipt::Half) => {
                *receipt = Receipt::Pending;
                Ok(Arrival::Half)
            }
            None => {
                self.quota = self.quota.checked_sub(1).ok_or(Exceeded)?;
                self.received.insert(id, Receipt::Pending);
                Ok(Arrival::New)
            }
        }
    }

    /// A PUBACK goes out, for success or failure.
    pub fn acknowledged(&mut self) {
        self.quota = self.quota.saturating_add(1).min(self.maximum);
    }

    /// The message is safe and its PUBREC goes out.
    pub fn recorded(&mut self, id: PacketId) {
        if let Some(receipt) = self.received.get_mut(&id) {
            *receipt = Receipt::Recorded;
        }
    }

    /// The message was not taken after all, and that is what its PUBREC says: the id is free.
    pub fn refused(&mut self, id: PacketId) {
        if self.received.remove(&id).is_some() {
            self.acknowledged();
        }
    }

    /// A PUBREL: whether we knew the id. Answer with PUBCOMP either way, over 5.0 with the reason
    /// "packet id not found" if not.
    pub fn release(&mut self, id: PacketId) -> bool {
        let known = self.received.remove(&id).is_some();
        if self.received.is_empty() && self.received.capacity() > KEEP {
            self.received.shrink_to_fit();
        }
        if known {
            self.acknowledged();
        }
        known
    }
}
