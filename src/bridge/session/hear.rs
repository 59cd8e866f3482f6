//! What a packet from the broker means.

use std::time::Instant;

use crate::mqtt::packet::{ConnAck, Packet, Reason, Version};

use super::super::flights::Outcome;
use super::super::lost::Lost;
use super::open::Open;
use super::{Phase, Session};

impl Session {
    /// A broker that knows nothing of 5.0 answers in the form of 3.1.1, which is no 5.0 packet.
    pub(super) fn refuses_version(&self, input: &[u8]) -> bool {
        /// CONNACK, two bytes: flags, return code 1 (MQTT 3.1.1, 3.2.2.3).
        const UNACCEPTABLE_VERSION: [u8; 4] = [0x20, 0x02, 0x00, 0x01];
        self.connect.version == Version::V5 && input.starts_with(&UNACCEPTABLE_VERSION)
    }

    pub(super) fn handle(
        &mut self,
        packet: Packet,
        now: Instant,
        outcomes: &mut Vec<Outcome>,
    ) -> Result<(), Lost> {
        match (&mut self.phase, packet) {
            (Phase::Handshake { .. }, Packet::ConnAck(answer)) => self.answered(*answer, now),
            (Phase::Handshake { .. }, Packet::Disconnect(end)) => {
                Err(Lost::Refused(end.reason, end.reason_string))
            }
            (Phase::Handshake { .. }, _) => Err(Lost::Unexpected("a packet before CONNACK")),
            (Phase::Open(_), Packet::Disconnect(end)) => {
                Err(Lost::Disconnected(end.reason, end.reason_string))
            }
            (Phase::Open(_), Packet::ConnAck(_)) => Err(Lost::Unexpected("a second CONNACK")),
            (Phase::Open(_), Packet::PingResp) => {
                self.pongs += 1;
                Ok(())
            }
            (Phase::Open(open), packet) => {
                outcomes.extend(open.take((&mut self.codec, &mut self.output), packet, now)?);
                Ok(())
            }
        }
    }

    fn answered(&mut self, answer: ConnAck, now: Instant) -> Result<(), Lost> {
        if answer.reason == Reason::UNSUPPORTED_VERSION {
            return Err(Lost::Version(self.connect.version));
        }
        if answer.reason.is_failure() {
            return Err(Lost::Refused(answer.reason, answer.reason_string));
        }
        if let Some(bytes) = answer.maximum_packet_size {
            self.codec.set_peer_maximum(bytes);
        }
        self.phase = Phase::Open(Box::new(Open::new(&self.connect, answer, now)));
        Ok(())
    }
}
