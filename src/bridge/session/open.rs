//! An accepted connection: what the broker allows, what is in flight, and whether it still lives.

use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;

use crate::mqtt::codec::{Codec, CodecError};
use crate::mqtt::packet::{Ack, ConnAck, Connect, Packet, Publish, Qos, Reason, Version};
use crate::mqtt::session::Incoming;
use crate::queue::Taken;
use crate::topic::Routes;

use super::super::aliases::{Aliases, Name};
use super::super::alive::Alive;
use super::super::batch::Rows;
use super::super::carry::{Answered, Begin, Ended, Left, Memory, Terms, begin, outlives, stay};
use super::super::downlink::Downlink;
use super::super::flights::{Answer, Flights, Outcome, Verdict, What, is_vague};
use super::super::lost::Lost;
use super::super::subscribe::Subscriptions;
use super::super::words::Words;
use super::{WINDOW, WINDOW_V3, WINDOW_V3_ONCE};

/// What an accepted connection remembers.
#[derive(Debug)]
pub(super) struct Open {
    version: Version,
    pub(super) qos: Qos,
    pub(super) retain: bool,
    pub(super) flights: Flights,
    pub(super) words: Words,
    aliases: Aliases,
    /// Where there is one free place, words and rows have it in turn.
    words_turn: bool,
    /// Sent with QoS 0, and not yet taken by the socket.
    unwritten: Vec<What>,
    pub(super) alive: Alive,
    pub(super) downlink: Downlink,
    /// How many messages the broker takes at a time.
    window: u16,
    /// What the broker answered to CONNECT.
    pub(super) answer: ConnAck,
    /// The session outlives the connection.
    outlives: bool,
    /// We have said goodbye: nothing may follow.
    pub(super) closing: bool,
}

impl Open {
    /// As the broker's `answer` to `connect` allows.
    pub(super) fn new(connect: &Connect, answer: ConnAck, now: Instant) -> Self {
        let ours = match connect.version {
            Version::V3 => WINDOW_V3,
            Version::V5 => WINDOW,
        };
        let window = ours.min(answer.receive_maximum).max(1);
        let outlives = outlives(connect, &answer);
        Self {
            version: connect.version,
            qos: answer.maximum_qos,
            retain: answer.retain_available,
            flights: Flights::new(window, outlives),
            words: Words::default(),
            aliases: Aliases::new(answer.topic_alias_maximum),
            words_turn: false,
            unwritten: Vec::new(),
            alive: Alive::new(answer.server_keep_alive_s, now),
            downlink: Downlink::new(Incoming::new(u16::MAX), Subscriptions::default()),
            window,
            answer,
            outlives,
            closing: false,
        }
    }

    /// Goes on with what is remembered of the session, and asks for messages. Gives the rows that
    /// were in flight in a session that the broker has forgotten.
    pub(super) fn resume(
        &mut self,
        (codec, output): (&mut Codec, &mut BytesMut),
        memory: Memory,
        terms: &Terms,
        now: Instant,
    ) -> Option<Vec<Rows>> {
        let window = match self.version {
            Version::V3 if terms.exactly_once => self.window.min(WINDOW_V3_ONCE),
            Version::V3 | Version::V5 => self.window,
        };
        let answered = Answered {
            present: self.answer.session_present,
            outlives: self.outlives,
            window,
            receive_maximum: Downlink::receive_maximum(self.version),
            exactly_once: terms.exactly_once,
        };
        let Begin { flights, incoming, is_subscribed, first, stranded } = begin(memory, answered);
        for packet in first {
            // A packet of four bytes fits.
            let _ = codec.encode(&packet, output);
        }
        self.flights = flights;
        let missing = if is_subscribed { &Routes::default() } else { &terms.receive };
        self.downlink = Downlink::new(incoming, Subscriptions::new(missing));
        self.send_again(codec, output, now);
        stranded
    }

    /// Sends again what was in flight before, as far as the broker's window allows.
    fn send_again(&mut self, codec: &mut Codec, output: &mut BytesMut, now: Instant) {
        while let Some(packet) = self.flights.next_resend() {
            if let (Err(_), Packet::Publish(publish)) = (codec.encode(&packet, output), packet) {
                // The broker's limit is lower than it was: it is given up in the ordinary way.
                let what = publish.id.and_then(|id| self.flights.abort(id));
                what.into_iter().for_each(|what| self.keep(what));
            }
        }
        self.alive.oldest(self.flights.oldest(), now);
    }

    /// Asks for the next messages, if it is time to.
    pub(super) fn subscribe(
        &mut self,
        codec: &mut Codec,
        output: &mut BytesMut,
        now: Instant,
    ) -> Option<Outcome> {
        let packet = self.downlink.subscribe(now)?;
        codec.encode(&packet, output).err().map(|_| self.downlink.not_subscribed())
    }

    /// How many rows and words wait for an acknowledgement.
    pub(super) fn in_flight(&self) -> usize {
        self.flights.len() + self.unwritten.len()
    }

    /// How many more may be sent, as far as the broker allows.
    pub(super) fn room(&self) -> usize {
        self.flights.room().saturating_sub(self.unwritten.len())
    }

    /// How many of `room` messages may be words before rows are sent: half of it, so that neither
    /// starves.
    pub(super) fn words_share(&mut self, room: usize) -> usize {
        if room == 1 && !self.words.is_empty() {
            self.words_turn = !self.words_turn;
            return usize::from(self.words_turn);
        }
        room / 2
    }

    /// Encodes `publish`, whose acknowledgement is for `what`, into `output`.
    ///
    /// # Errors
    /// It can never be sent; `what` is given back.
    pub(super) fn send(
        &mut self,
        to: (&mut Codec, &mut BytesMut),
        what: What,
        mut publish: Publish,
        now: Instant,
    ) -> Result<(), (What, CodecError)> {
        publish.qos = publish.qos.min(self.qos);
        publish.retain &= self.retain;
        if publish.qos == Qos::AtMostOnce {
            return match self.encode(to, publish) {
                Ok(()) => {
                    self.unwritten.push(what);
                    Ok(())
                }
                Err(error) => Err((what, error)),
            };
        }
        let id = match self.flights.launch(what, &publish) {
            Ok(id) => id,
            Err(what) => {
                self.keep(what);
                return Ok(());
            }
        };
        publish.id = Some(id);
        if let Err(error) = self.encode(to, publish) {
            return self.flights.abort(id).map_or(Ok(()), |what| Err((what, error)));
        }
        self.alive.oldest(self.flights.oldest(), now);
        Ok(())
    }

    /// With the topic's number, where it has one.
    fn encode(
        &mut self,
        (codec, output): (&mut Codec, &mut BytesMut),
        mut publish: Publish,
    ) -> Result<(), CodecError> {
        let topic = Arc::clone(&publish.topic);
        let name = self.aliases.name(&topic);
        match &name {
            Name::Full => {}
            Name::Introduced(alias) => publish.topic_alias = Some(*alias),
            Name::Known(alias, nothing) => {
                publish.topic_alias = Some(*alias);
                publish.topic = Arc::clone(nothing);
            }
        }
        let mut packet = Packet::Publish(Box::new(publish));
        let encoded = codec.encode(&packet, output);
        if encoded.is_err() && matches!(name, Name::Introduced(_)) {
            self.aliases.forget(&topic);
            // It may fit without.
            if let Packet::Publish(publish) = &mut packet {
                publish.topic_alias = None;
            }
            return codec.encode(&packet, output);
        }
        encoded
    }

    /// The socket has all that was encoded: what was sent with QoS 0 is over.
    pub(super) fn all_written(&mut self, outcomes: &mut Vec<Outcome>) {
        for what in std::mem::take(&mut self.unwritten) {
            outcomes.extend(self.settle(what, Verdict::Taken, Reason::SUCCESS));
        }
    }

    /// A packet after CONNACK; gives what it means, and puts what it asks for into `output`.
    pub(super) fn take(
        &mut self,
        (codec, output): (&mut Codec, &mut BytesMut),
        packet: Packet,
        now: Instant,
    ) -> Result<Option<Outcome>, Lost> {
        let (outcome, answer) = match packet {
            Packet::PubAck(ack) => (self.acknowledged(ack, now), None),
            Packet::PubComp(ack) => (self.completed(ack), None),
            // Nothing follows our goodbye. What came too late will come again.
            _ if self.closing => (None, None),
            Packet::PubRec(ack) => self.recorded(ack, now),
            other => self.downlink.take(other)?,
        };
        if let Some(answer) = answer {
            codec.encode(&answer, output)?;
        }
        if !self.closing {
            self.send_again(codec, output, now);
        }
        Ok(outcome)
    }

    fn acknowledged(&mut self, ack: Ack, now: Instant) -> Option<Outcome> {
        let (what, verdict) = self.flights.land(ack, now)?;
        self.settle(what, verdict, ack.reason)
    }

    fn recorded(&mut self, ack: Ack, now: Instant) -> (Option<Outcome>, Option<Packet>) {
        match self.flights.record(ack, now) {
            Answer::Release(ack) => (None, Some(Packet::PubRel(ack))),
            Answer::Over(what, verdict) => (self.settle(what, verdict, ack.reason), None),
            Answer::Nothing => (None, None),
        }
    }

    fn completed(&mut self, ack: Ack) -> Option<Outcome> {
        let what = self.flights.complete(ack.id)?;
        self.settle(what, Verdict::Taken, ack.reason)
    }

    fn settle(&mut self, what: What, verdict: Verdict, reason: Reason) -> Option<Outcome> {
        match (what, verdict) {
            (what, Verdict::NotNow) => {
                let failed = match &what {
                    What::Rows(rows) if is_vague(reason) => Some(Outcome::Failed(rows.first().position)),
                    What::Rows(_) | What::Word(..) => None,
                };
                self.keep(what);
                failed
            }
            (what, Verdict::TooMuch) => {
                self.keep(what);
                Some(Outcome::TooMuch(reason))
            }
            (What::Rows(rows), Verdict::Taken) => Some(Outcome::Delivered(rows)),
            (What::Rows(rows), Verdict::Never) => {
                self.keep_halves(rows).err().map(|row| Outcome::RowRefused(row, reason))
            }
            (What::Word(subject, word), verdict) => {
                self.words.finished(&subject);
                (verdict == Verdict::Never).then_some(Outcome::WordRefused(word.topic, reason))
            }
        }
    }

    /// Keeps the rows of a message that did not get through, to be sent in two.
    ///
    /// # Errors
    /// It was one row only: it is given back.
    pub(super) fn keep_halves(&mut self, rows: Rows) -> Result<(), Taken> {
        let (first, second) = rows.split()?;
        self.flights.keep(first);
        self.flights.keep(second);
        Ok(())
    }

    fn keep(&mut self, what: What) {
        match what {
            What::Rows(rows) => self.flights.keep(rows),
            What::Word(subject, word) => self.words.again(&subject, word),
        }
    }

    /// The connection is gone. Where the session is not, and if it `may_stay` there, what is in flight
    /// stays with it.
    pub(super) fn end(self, may_stay: bool) -> Ended {
        let (incoming, is_subscribed) = self.downlink.end();
        if !self.outlives {
            return Ended { memory: Memory::default(), left: Left::Back(back(self.flights, self.unwritten)) };
        }
        let mut memory = Memory { flights: None, incoming: Some(incoming), is_subscribed };
        if !may_stay || !stay(&self.flights) {
            return Ended { memory, left: Left::Back(back(self.flights, self.unwritten)) };
        }
        let mut flights = self.flights;
        flights.disconnected(self.unwritten);
        let unsure = flights.unsure().cloned().collect();
        memory.flights = Some(flights);
        Ended { memory, left: Left::Stay { unsure } }
    }
}

/// The rows that the broker may have, in order, each with the bytes of its payload.
fn back(flights: Flights, unwritten: Vec<What>) -> Vec<(Rows, usize)> {
    let unwritten = unwritten.into_iter().map(|what| (what, 0));
    let rows = flights.end().into_iter().chain(unwritten).filter_map(|(what, bytes)| match what {
        What::Rows(rows) => Some((rows, bytes)),
        What::Word(..) => None,
    });
    rows.collect()
}
