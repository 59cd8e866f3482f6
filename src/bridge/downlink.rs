//! The cloud's side of a connection: what it sends us, and what it waits for.

use std::time::Instant;

use crate::mqtt::packet::{Ack, Packet, Publish, Qos, Reason, Version};
use crate::mqtt::session::{Arrival, Incoming};
use crate::queue::acks::Due;

use super::flights::Outcome;
use super::lost::Lost;
use super::subscribe::{SUBACK_WITHIN, SUBSCRIBE_ID, Subscriptions};

/// Messages that the cloud may have unacknowledged, over MQTT 5. A 3.1.1 broker cannot be told.
pub(super) const RECEIVE_MAXIMUM: u16 = 100;

/// What the cloud sends on one connection.
#[derive(Debug)]
pub(super) struct Downlink {
    incoming: Incoming,
    subscriptions: Subscriptions,
}

impl Downlink {
    /// Goes on with `incoming`.
    pub(super) fn new(incoming: Incoming, subscriptions: Subscriptions) -> Self {
        Self { incoming, subscriptions }
    }

    /// What is to be remembered after the connection, and whether all subscriptions stand.
    pub(super) fn end(self) -> (Incoming, bool) {
        (self.incoming, self.subscriptions.is_done())
    }

    /// The next SUBSCRIBE.
    pub(super) fn subscribe(&mut self, now: Instant) -> Option<Packet> {
        self.subscriptions.next(now).map(Packet::Subscribe)
    }

    /// The SUBSCRIBE could not be sent.
    pub(super) fn not_subscribed(&mut self) -> Outcome {
        Outcome::Subscribed(self.subscriptions.answered(std::iter::repeat(Reason::TOO_LARGE)))
    }

    /// Takes a packet of the cloud's; gives what it means, and what to answer at once.
    ///
    /// # Errors
    /// The connection is over: more came than we allowed.
    pub(super) fn take(&mut self, packet: Packet) -> Result<(Option<Outcome>, Option<Packet>), Lost> {
        match packet {
            Packet::Publish(publish) => Ok((self.publish(publish)?, None)),
            Packet::PubRel(Ack { id, .. }) => {
                let reason = if self.incoming.release(id) { Reason::SUCCESS } else { Reason::ID_NOT_FOUND };
                Ok((Some(Outcome::Released(id)), Some(Packet::PubComp(Ack { id, reason }))))
            }
            Packet::SubAck(SUBSCRIBE_ID, reasons) if self.subscriptions.due().is_some() => {
                Ok((Some(Outcome::Subscribed(self.subscriptions.answered(reasons))), None))
            }
            // PINGRESP, and answers to nothing.
            _ => Ok((None, None)),
        }
    }

    fn publish(&mut self, mut publish: Box<Publish>) -> Result<Option<Outcome>, Lost> {
        publish.dup = false;
        publish.subscription_ids.clear();
        let due = match (publish.qos, publish.id.take()) {
            (Qos::AtLeastOnce, Some(id)) => {
                self.incoming.publish_once_or_more().map_err(|_| Lost::TooMany(RECEIVE_MAXIMUM))?;
                Some(Due::PubAck(id))
            }
            (Qos::ExactlyOnce, Some(id)) => {
                match self.incoming.publish_once(id).map_err(|_| Lost::TooMany(RECEIVE_MAXIMUM))? {
                    Arrival::New | Arrival::Half => Some(Due::PubRec(id)),
                    Arrival::Pending => return Ok(Some(Outcome::ReceivedAgain(id, false))),
                    Arrival::Recorded => return Ok(Some(Outcome::ReceivedAgain(id, true))),
                }
            }
            _ => None,
        };
        Ok(Some(Outcome::Received(publish, due)))
    }

    /// The acknowledgement that is `due`, for a message that is safe.
    pub(super) fn acknowledge(&mut self, due: Due) -> Packet {
        match due {
            Due::PubAck(id) => {
                self.incoming.acknowledged();
                Packet::PubAck(Ack::ok(id))
            }
            Due::PubRec(id) => {
                self.incoming.recorded(id);
                Packet::PubRec(Ack::ok(id))
            }
        }
    }

    /// A message was not taken: it is to come again, with the next connection.
    pub(super) fn leave(&mut self, due: Due) {
        if let Due::PubRec(id) = due {
            self.incoming.refused(id);
        }
    }

    /// How many messages the cloud may have unacknowledged.
    pub(super) fn receive_maximum(version: Version) -> u16 {
        match version {
            Version::V3 => u16::MAX,
            Version::V5 => RECEIVE_MAXIMUM,
        }
    }

    /// When to ask whether it is [overdue](Self::overdue).
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.subscriptions.due()
    }

    /// Whether the cloud should have answered by now.
    pub(super) fn overdue(&self, now: Instant) -> Result<(), Lost> {
        let late = self.subscriptions.due().is_some_and(|due| now >= due);
        if late { Err(Lost::NoSubAck(SUBACK_WITHIN)) } else { Ok(()) }
    }
}
