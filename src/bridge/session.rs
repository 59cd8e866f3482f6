//! One connection to the cloud, from CONNECT to its end, with no socket and no clock of its own.
//!
//! ```text
//! rows of the queue ──send_row──> ┌─────────┐ ──output──> socket
//! retained words ──post_word────> │ Session │
//!               <──Outcome─────── └─────────┘ <──receive── socket
//! ```
//! Window and limits begin afresh with each connection. Packet ids do as well, unless the broker
//! keeps the session ([`Memory`]); else the queue hands out again what was not done. A row is done
//! only at the success of its own last acknowledgement: PUBACK, or PUBCOMP. With QoS 0 it is done
//! once the socket has its last byte.
//!
//! Rows have the QoS of their route, whatever QoS a LAN client gave its message, as far as the
//! broker takes it.

mod hear;
mod open;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;

use crate::mqtt::codec::{Codec, CodecError};
use crate::mqtt::packet::{ConnAck, Connect, Disconnect, Packet, Publish, Qos, Reason};
use crate::queue::Taken;
use crate::queue::acks::Due;
use crate::topic::Subject;

use super::alive::{self, ACK_WITHIN, PONG_WITHIN};
use super::batch::Rows;
use super::carry::{Ended, Left, Memory, Terms};
use super::flights::{Outcome, Unsendable, What};
use super::lost::Lost;
use super::suspect::Item;
use super::words::Word;

use self::open::Open;

/// Messages in flight at most. Keeps a link with a round trip of 25 ms busy at 20 000 messages per
/// second; as many may arrive twice after a cut.
pub(super) const WINDOW: u16 = 500;
/// The same for a 3.1.1 broker, which has no receive maximum to tell: AWS IoT takes 100.
pub(super) const WINDOW_V3: u16 = 100;
/// And where some of them have QoS 2: mosquitto takes 20, and ends the connection at one more.
const WINDOW_V3_ONCE: u16 = 20;
/// No more is encoded while so many bytes wait for the socket.
const OUTPUT_BYTES: usize = 64 * 1024;
/// Largest packet that we take where we subscribe to nothing, in bytes: only answers come.
pub(super) const INPUT_BYTES: u32 = 64 * 1024;
/// Largest packet that we take where we subscribe, in bytes: what the local broker takes as well.
pub(super) const RECEIVE_BYTES: u32 = 1024 * 1024;
/// CONNACK is due within this time.
pub(super) const CONNACK_WITHIN: Duration = Duration::from_secs(5);

/// One connection's state.
#[derive(Debug)]
pub(super) struct Session {
    codec: Codec,
    connect: Connect,
    output: BytesMut,
    phase: Phase,
    /// PINGRESP that have come.
    pongs: u64,
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
        let limit = connect.maximum_packet_size.unwrap_or(INPUT_BYTES);
        let mut codec = Codec::client(connect.version, usize::try_from(limit).unwrap_or(usize::MAX));
        let mut output = BytesMut::new();
        codec.encode(&Packet::Connect(Box::new(connect.clone())), &mut output)?;
        // Needed no more.
        let connect = Connect { password: None, will: None, ..connect };
        Ok(Self { codec, connect, output, phase: Phase::Handshake { until: now + CONNACK_WITHIN }, pongs: 0 })
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

    /// What has been in flight for longest.
    pub(super) fn oldest(&self) -> Option<Item> {
        self.open().and_then(|open| open.flights.oldest_item())
    }

    /// How many PINGRESP have come.
    pub(super) fn pongs(&self) -> u64 {
        self.pongs
    }

    // === Rows ===

    /// The first rows that the broker would not take before and that are to be sent now, ahead of
    /// others.
    pub(super) fn take_kept(&mut self) -> Option<Rows> {
        self.open_mut()?.flights.take_kept()
    }

    /// Keeps rows to be sent in two messages.
    ///
    /// # Errors
    /// There is one row only: it is given back.
    pub(super) fn split(&mut self, rows: Rows) -> Result<(), Taken> {
        match self.open_mut() {
            Some(open) => open.keep_halves(rows),
            None => rows.split().map(drop),
        }
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
        self.split(rows).map_err(|row| Unsendable(row, error))
    }

    // === Retained words ===

    /// Remembers `word` as the newest on `subject`, to be sent by [`Session::send_words`].
    pub(super) fn post_word(&mut self, subject: Subject, word: Word) {
        if let Some(open) = self.open_mut().filter(|open| open.retain) {
            open.words.post(subject, word);
        }
    }

    /// The topic of the word that would be sent next.
    pub(super) fn next_word(&self) -> Option<Arc<str>> {
        self.open().and_then(|open| open.words.peek().cloned())
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
            let qos = word.qos.min(Qos::AtLeastOnce);
            let publish = Publish::new(Arc::clone(&word.topic), word.payload.clone(), qos, true);
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
    pub(super) fn say_goodbye(&mut self, topic: Arc<str>, offline: &'static str) {
        let retain = self.open().is_some_and(|open| open.retain);
        let word = Publish::new(topic, offline, Qos::AtMostOnce, retain);
        // A broker that takes no packet of this size does without.
        let _ = self.codec.encode(&Packet::Publish(Box::new(word)), &mut self.output);
        self.leave();
    }

    /// Ends the connection; the will stays unsaid.
    pub(super) fn leave(&mut self) {
        if let Some(open) = self.open_mut() {
            open.closing = true;
        }
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

    /// Takes the complete packets out of `input`, up to CONNACK at first: what follows is for a
    /// session that has been [resumed](Self::resume).
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
            return Err(Lost::Version(self.connect.version));
        }
        let was_open = self.is_open();
        while self.is_open() == was_open
            && let Some(packet) = self.codec.decode(input)?
        {
            self.handle(packet, now, outcomes)?;
        }
        if let Phase::Open(open) = &mut self.phase {
            outcomes.extend(open.subscribe(&mut self.codec, &mut self.output, now));
            open.alive.heard(now);
            open.alive.oldest(open.flights.oldest(), now);
        }
        Ok(())
    }

    // === Time and end ===

    /// When to call [`Session::on_time`], unless something else happens before.
    pub(super) fn deadline(&self) -> Instant {
        match &self.phase {
            Phase::Handshake { until } => *until,
            Phase::Open(open) => {
                let alive = open.alive.deadline();
                let others = open.flights.paused_until().into_iter().chain(open.downlink.deadline());
                others.fold(alive, Instant::min)
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
        open.downlink.overdue(now)?;
        match open.alive.due(now) {
            alive::Due::Nothing => Ok(()),
            alive::Due::Ping => Ok(self.codec.encode(&Packet::PingReq, &mut self.output)?),
            alive::Due::NoPong => Err(Lost::NoPong(PONG_WITHIN)),
            alive::Due::NoPubAck => Err(Lost::NoPubAck(ACK_WITHIN)),
        }
    }

    /// The connection is gone. What is in flight stays with a session that outlives it, if it
    /// `may_stay` there.
    pub(super) fn end(self, may_stay: bool) -> Ended {
        match self.phase {
            Phase::Handshake { .. } => Ended { memory: Memory::default(), left: Left::Back(Vec::new()) },
            Phase::Open(open) => open.end(may_stay),
        }
    }

    // === What the cloud keeps and sends ===

    /// Goes on with what is remembered of the session, and asks for messages; to be called once, when
    /// the broker has accepted us. Gives the rows that were in flight in a session that the broker has
    /// forgotten: they are to be taken from the queue again.
    pub(super) fn resume(&mut self, memory: Memory, terms: &Terms, now: Instant) -> Option<Vec<Rows>> {
        match &mut self.phase {
            Phase::Handshake { .. } => None,
            Phase::Open(open) => open.resume((&mut self.codec, &mut self.output), memory, terms, now),
        }
    }

    /// Whether the broker remembers our session.
    pub(super) fn is_present(&self) -> bool {
        self.open().is_some_and(|open| open.answer.session_present)
    }

    /// The highest QoS that the broker takes.
    pub(super) fn maximum_qos(&self) -> Qos {
        self.open().map_or(Qos::AtMostOnce, |open| open.qos)
    }

    /// Acknowledges a message that is safe.
    ///
    /// # Errors
    /// The connection is over.
    pub(super) fn acknowledge(&mut self, due: Due) -> Result<(), Lost> {
        let Phase::Open(open) = &mut self.phase else { return Ok(()) };
        if open.closing {
            return Ok(());
        }
        let answer = open.downlink.acknowledge(due);
        Ok(self.codec.encode(&answer, &mut self.output)?)
    }

    /// A message was not taken: it is to come again, with the next connection.
    pub(super) fn refuse(&mut self, due: Due) {
        if let Some(open) = self.open_mut() {
            open.downlink.leave(due);
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
