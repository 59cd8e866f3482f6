//! One connection to the cloud, from CONNECT to its end, with no socket and no clock of its own.
//!
//! ```text
//! rows of the queue ──send_row──> ┌─────────┐ ──output──> socket
//! retained words ──post_word────> │ Session │
//!               <──Outcome─────── └─────────┘ <──receive── socket
//! ```
//! A session lives as long as its TCP connection: packet ids, window and limits begin afresh with
//! the next one, and the queue hands out again what was not done. A row is done only at the
//! success of its own PUBACK.
//!
//! Rows are sent with QoS 1, whatever QoS a LAN client gave its message: a row must be
//! acknowledged before it leaves the queue, and with a clean start nothing of QoS 2 would outlive
//! the connection. Consumers drop the rare duplicate by its id. Only where the broker takes
//! nothing but QoS 0 is a row done once the socket has its last byte.

mod open;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;

use crate::mqtt::codec::{Codec, CodecError};
use crate::mqtt::packet::{ConnAck, Connect, Disconnect, Packet, Publish, Qos, Reason, Version};
use crate::queue::Taken;
use crate::topic::Subject;

use super::alive::{ACK_WITHIN, Due, PONG_WITHIN};
use super::batch::Rows;
use super::flights::{Outcome, Unsendable, What};
use super::lost::Lost;
use super::words::Word;

use self::open::Open;

/// Messages in flight at most. Keeps a link with a round trip of 25 ms busy at 20 000 messages per
/// second; as many may arrive twice after a cut.
pub(super) const WINDOW: u16 = 500;
/// The same for a 3.1.1 broker, which has no receive maximum to tell: AWS IoT takes 100.
pub(super) const WINDOW_V3: u16 = 100;
/// No more is encoded while so many bytes wait for the socket.
const OUTPUT_BYTES: usize = 64 * 1024;
/// Largest packet that we take, in bytes: we subscribe to nothing, so only answers come.
pub(super) const INPUT_BYTES: u32 = 64 * 1024;
/// CONNACK is due within this time.
pub(super) const CONNACK_WITHIN: Duration = Duration::from_secs(5);

/// One connection's state.
#[derive(Debug)]
pub(super) struct Session {
    codec: Codec,
    version: Version,
    output: BytesMut,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// CONNECT is on its way.
    Handshake { until: Instant },
    /// The broker accepted us.
    Open(Box<Open>),
}

impl Session {
    /// Begins with `connect`.
    ///
    /// # Errors
    /// The CONNECT cannot be encoded: a text in it is too long.
    pub(super) fn new(connect: Connect, now: Instant) -> Result<Self, CodecError> {
        let version = connect.version;
        let mut codec = Codec::client(version, usize::try_from(INPUT_BYTES).unwrap_or(usize::MAX));
        let mut output = BytesMut::new();
        codec.encode(&Packet::Connect(Box::new(connect)), &mut output)?;
        Ok(Self { codec, version, output, phase: Phase::Handshake { until: now + CONNACK_WITHIN } })
    }

    /// Whether the broker accepted us.
    pub(super) fn is_open(&self) -> bool {
        self.open().is_some()
    }

    /// How many rows and words wait for an acknowledgement.
    pub(super) fn in_flight(&self) -> usize {
        self.open().map_or(0, Open::in_flight)
    }

    /// How many rows may be sent now.
    pub(super) fn room(&self) -> usize {
        let room = self.open().map_or(0, Open::room);
        if self.output.len() < OUTPUT_BYTES { room } else { 0 }
    }

    // === Rows ===

    /// The first rows that the broker would not take before and that are to be sent now, ahead of
    /// others.
    pub(super) fn take_kept(&mut self) -> Option<Rows> {
        self.open_mut()?.flights.take_kept()
    }

    /// Sends rows as `publish`; there must be [room](Self::room). Where they cannot be sent in one
    /// message, their halves are [kept](Self::take_kept).
    ///
    /// # Errors
    /// There is one row only, and it can never be sent; it is given back.
    pub(super) fn send_rows(
        &mut self,
        rows: Rows,
        publish: Publish,
        now: Instant,
    ) -> Result<(), Unsendable<Taken>> {
        let Err((What::Rows(rows), error)) = self.send(What::Rows(rows), publish, now) else { return Ok(()) };
        match self.open_mut() {
            Some(open) => open.keep_halves(rows).map_err(|row| Unsendable(row, error)),
            None => rows.split().map(drop).map_err(|row| Unsendable(row, error)),
        }
    }

    // === Retained words ===

    /// Remembers `word` as the newest on `subject`, to be sent by [`Session::send_words`].
    pub(super) fn post_word(&mut self, subject: Subject, word: Word) {
        if let Some(open) = self.open_mut().filter(|open| open.retain) {
            open.words.post(subject, word);
        }
    }

    /// How many words may be sent before rows are, if `most` may go now: half of the room, so that
    /// neither starves.
    pub(super) fn words_share(&mut self, most: usize) -> usize {
        let room = self.room().min(most);
        self.open_mut().map_or(0, |open| open.words_share(room))
    }

    /// Sends at most `max` words, as far as there is room. Gives those that can never be sent.
    pub(super) fn send_words(&mut self, max: usize, now: Instant) -> Vec<Unsendable<Arc<str>>> {
        let mut unsendable = Vec::new();
        for _ in 0..max.min(self.room()) {
            let Some((subject, word)) = self.open_mut().and_then(|open| open.words.next()) else { break };
            let publish = Publish::new(Arc::clone(&word.topic), word.payload.clone(), Qos::AtLeastOnce, true);
            if let Err((What::Word(subject, word), error)) =
                self.send(What::Word(subject, word), publish, now)
            {
                unsendable.push(Unsendable(word.topic, error));
                if let Some(open) = self.open_mut() {
                    open.words.finished(&subject);
                }
            }
        }
        unsendable
    }

    // === Sending ===

    /// Encodes `publish`, whose acknowledgement is for `what`.
    fn send(&mut self, what: What, publish: Publish, now: Instant) -> Result<(), (What, CodecError)> {
        match &mut self.phase {
            Phase::Handshake { .. } => Err((what, CodecError::Protocol("the connection is not open yet"))),
            Phase::Open(open) => open.send((&mut self.codec, &mut self.output), what, publish, now),
        }
    }

    /// Bytes for the socket; tell [`Session::wrote`] when it has taken some.
    pub(super) fn output(&mut self) -> &mut BytesMut {
        &mut self.output
    }

    /// The socket took bytes of [`Session::output`].
    pub(super) fn wrote(&mut self, now: Instant, outcomes: &mut Vec<Outcome>) {
        let more = !self.output.is_empty();
        let Some(open) = self.open_mut() else { return };
        open.alive.wrote(more, now);
        if !more {
            open.all_written(outcomes);
        }
    }

    /// Says on `topic` that the gateway is offline, and ends the connection. Nobody waits for the
    /// acknowledgement of the former, so it goes with QoS 0.
    pub(super) fn say_goodbye(&mut self, topic: &str, offline: &'static str) {
        let retain = self.open().is_some_and(|open| open.retain);
        let word = Publish::new(topic, offline, Qos::AtMostOnce, retain);
        // A broker that takes no packet of this size does without.
        let _ = self.codec.encode(&Packet::Publish(Box::new(word)), &mut self.output);
        self.leave();
    }

    /// Ends the connection; the will stays unsaid.
    pub(super) fn leave(&mut self) {
        let end = Packet::Disconnect(Disconnect::new(Reason::SUCCESS));
        let _ = self.codec.encode(&end, &mut self.output);
    }

    // === Looking at a link ===

    /// What the broker answered to CONNECT.
    pub(super) fn answer(&self) -> Option<&ConnAck> {
        self.open().map(|open| &open.answer)
    }

    /// Asks for a sign of life.
    pub(super) fn ping(&mut self, now: Instant) -> Result<(), CodecError> {
        if let Some(open) = self.open_mut() {
            open.alive.asked(now);
        }
        self.codec.encode(&Packet::PingReq, &mut self.output)
    }

    /// Whether a sign of life is due.
    pub(super) fn awaits_pong(&self) -> bool {
        self.open().is_some_and(|open| open.alive.awaits_pong())
    }

    // === Receiving ===

    /// Takes the complete packets out of `input`.
    ///
    /// # Errors
    /// The connection is over.
    pub(super) fn receive(
        &mut self,
        input: &mut BytesMut,
        now: Instant,
        outcomes: &mut Vec<Outcome>,
    ) -> Result<(), Lost> {
        if !self.is_open() && self.refuses_version(input) {
            return Err(Lost::Version(self.version));
        }
        while let Some(packet) = self.codec.decode(input)? {
            self.handle(packet, now, outcomes)?;
        }
        if let Some(open) = self.open_mut() {
            open.alive.heard(now);
            open.alive.oldest(open.flights.oldest(), now);
        }
        Ok(())
    }

    /// A broker that knows nothing of 5.0 answers in the form of 3.1.1, which is no 5.0 packet.
    fn refuses_version(&self, input: &[u8]) -> bool {
        /// CONNACK, two bytes: flags, return code 1 (MQTT 3.1.1, 3.2.2.3).
        const UNACCEPTABLE_VERSION: [u8; 4] = [0x20, 0x02, 0x00, 0x01];
        self.version == Version::V5 && input.starts_with(&UNACCEPTABLE_VERSION)
    }

    fn handle(&mut self, packet: Packet, now: Instant, outcomes: &mut Vec<Outcome>) -> Result<(), Lost> {
        match (&mut self.phase, packet) {
            (Phase::Handshake { .. }, Packet::ConnAck(answer)) => self.answered(*answer, now),
            (Phase::Handshake { .. }, Packet::Disconnect(end)) => {
                Err(Lost::Refused(end.reason, end.reason_string))
            }
            (Phase::Handshake { .. }, _) => Err(Lost::Unexpected("a packet before CONNACK")),
            (Phase::Open(open), Packet::PubAck(ack)) => {
                outcomes.extend(open.acknowledged(ack, now));
                Ok(())
            }
            (Phase::Open(_), Packet::Disconnect(end)) => {
                Err(Lost::Disconnected(end.reason, end.reason_string))
            }
            (Phase::Open(_), Packet::ConnAck(_)) => Err(Lost::Unexpected("a second CONNACK")),
            // PINGRESP; and whatever belongs to subscriptions or QoS 2, which we never asked for.
            (Phase::Open(_), _) => Ok(()),
        }
    }

    fn answered(&mut self, answer: ConnAck, now: Instant) -> Result<(), Lost> {
        if answer.reason == Reason::UNSUPPORTED_VERSION {
            return Err(Lost::Version(self.version));
        }
        if answer.reason.is_failure() {
            return Err(Lost::Refused(answer.reason, answer.reason_string));
        }
        if let Some(bytes) = answer.maximum_packet_size {
            self.codec.set_peer_maximum(bytes);
        }
        self.phase = Phase::Open(Box::new(Open::new(self.version, answer, now)));
        Ok(())
    }

    // === Time and end ===

    /// When to call [`Session::on_time`], unless something else happens before.
    pub(super) fn deadline(&self) -> Instant {
        match &self.phase {
            Phase::Handshake { until } => *until,
            Phase::Open(open) => {
                let alive = open.alive.deadline();
                open.flights.paused_until().map_or(alive, |until| until.min(alive))
            }
        }
    }

    /// Does what is due.
    ///
    /// # Errors
    /// The connection is over.
    pub(super) fn on_time(&mut self, now: Instant) -> Result<(), Lost> {
        let open = match &mut self.phase {
            Phase::Handshake { until } if now >= *until => return Err(Lost::NoConnAck(CONNACK_WITHIN)),
            Phase::Handshake { .. } => return Ok(()),
            Phase::Open(open) => open,
        };
        open.flights.end_pause(now);
        match open.alive.due(now) {
            Due::Nothing => Ok(()),
            Due::Ping => Ok(self.codec.encode(&Packet::PingReq, &mut self.output)?),
            Due::NoPong => Err(Lost::NoPong(PONG_WITHIN)),
            Due::NoPubAck => Err(Lost::NoPubAck(ACK_WITHIN)),
        }
    }

    /// The connection is gone: the rows that the broker may have, in order, each with the bytes of
    /// its payload.
    pub(super) fn end(self) -> Vec<(Rows, usize)> {
        match self.phase {
            Phase::Handshake { .. } => Vec::new(),
            Phase::Open(open) => open.end(),
        }
    }

    fn open(&self) -> Option<&Open> {
        match &self.phase {
            Phase::Handshake { .. } => None,
            Phase::Open(open) => Some(open),
        }
    }

    fn open_mut(&mut self) -> Option<&mut Open> {
        match &mut self.phase {
            Phase::Handshake { .. } => None,
            Phase::Open(open) => Some(open),
        }
    }
}

#[cfg(test)]
mod tests;
