//! Messages that a client has to have acknowledged.

use super::Client;
use crate::broker::end::End;
use crate::broker::now;
use crate::mqtt::packet::{PacketId, Publish, Reason, Version};
use crate::queue::acks::{Due, Verdict};

impl Client {
    /// Takes a message of QoS 1 or 2 that has not been taken before.
    pub(super) fn accept(&mut self, publish: Publish, due: Due) -> Result<(), End> {
        if !self.may_publish(&publish.topic) {
            return self.deny(due);
        }
        let once = match due {
            Due::PubAck(_) => None,
            Due::PubRec(id) => Some(id),
        };
        let verdict = match self.broker().publish(publish, self.place(), once, now()) {
            Ok(verdict) => verdict,
            Err(_full) => {
                if let Due::PubRec(id) = due {
                    self.with_session(|session| session.incoming.refused(id))?;
                }
                if self.version == Version::V3 {
                    // 3.1.1 has no word for it: the client must come back and send it again.
                    return Err(End::Refused { reason: Reason::QUOTA, why: "the queue is full" });
                }
                Verdict::Known(Reason::QUOTA)
            }
        };
        self.push_ack(due, verdict)
    }

    /// Takes a message of QoS 2 that the local clients got before the daemon was started, but perhaps
    /// not the queue.
    pub(super) fn accept_again(&mut self, publish: &Publish, id: PacketId) -> Result<(), End> {
        match self.broker().offer(publish) {
            Ok(ticket) => self.push_ack(Due::PubRec(id), Verdict::when(ticket, None, Reason::SUCCESS)),
            Err(_full) => {
                self.with_session(|session| session.incoming.restore(id, true))?;
                Err(End::Refused { reason: Reason::QUOTA, why: "the queue is full" })
            }
        }
    }
}
