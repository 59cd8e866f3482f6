//! An accepted connection: what the broker allows, what is in flight, and whether it still lives.

use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;

use crate::mqtt::codec::{Codec, CodecError};
use crate::mqtt::packet::{Ack, ConnAck, Packet, Publish, Qos, Reason, Version};
use crate::queue::Taken;

use super::super::aliases::{Aliases, Name};
use super::super::alive::Alive;
use super::super::batch::Rows;
use super::super::flights::{Flights, Outcome, Verdict, What};
use super::super::words::Words;
use super::{WINDOW, WINDOW_V3};

/// What an accepted connection remembers.
#[derive(Debug)]
pub(super) struct Open {
    qos: Qos,
    pub(super) retain: bool,
    pub(super) flights: Flights,
    pub(super) words: Words,
    aliases: Aliases,
    /// Where there is one free place, words and rows have it in turn.
    words_turn: bool,
    /// Sent with QoS 0, and not yet taken by the socket.
    unwritten: Vec<What>,
    pub(super) alive: Alive,
    pub(super) answer: ConnAck,
}

impl Open {
    /// As the broker's `answer` to CONNECT allows.
    pub(super) fn new(version: Version, answer: ConnAck, now: Instant) -> Self {
        let ours = match version {
            Version::V3 => WINDOW_V3,
            Version::V5 => WINDOW,
        };
        Self {
            qos: answer.maximum_qos,
            retain: answer.retain_available,
            flights: Flights::new(ours.min(answer.receive_maximum).max(1)),
            words: Words::default(),
            aliases: Aliases::new(answer.topic_alias_maximum),
            words_turn: false,
            unwritten: Vec::new(),
            alive: Alive::new(answer.server_keep_alive_s, now),
            answer,
        }
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
        publish.qos = Qos::AtLeastOnce.min(self.qos);
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
        let id = match self.flights.launch(what, publish.payload.len()) {
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

    /// A PUBACK.
    pub(super) fn acknowledged(&mut self, ack: Ack, now: Instant) -> Option<Outcome> {
        let (what, verdict) = self.flights.land(ack, now)?;
        self.settle(what, verdict, ack.reason)
    }

    fn settle(&mut self, what: What, verdict: Verdict, reason: Reason) -> Option<Outcome> {
        match (what, verdict) {
            (what, Verdict::NotNow) => {
                self.keep(what);
                None
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

    /// The connection is gone: the rows that the broker may have, in order, each with the bytes of
    /// its payload.
    pub(super) fn end(self) -> Vec<(Rows, usize)> {
        let unwritten = self.unwritten.into_iter().map(|what| (what, 0));
        let rows = self.flights.end().into_iter().chain(unwritten).filter_map(|(what, bytes)| match what {
            What::Rows(rows) => Some((rows, bytes)),
            What::Word(..) => None,
        });
        rows.collect()
    }
}
