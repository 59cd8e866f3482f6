//! The protocol with one connected client: packets in, bytes out. Knows no socket.

mod accept;
mod denied;
mod newcomer;

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::sync::Notify;

use super::access::Denial;
use super::aliases::{MAXIMUM, OurAliases, TheirAliases};
use super::end::End;
use super::end::TakenOver;
use super::filter::Filter;
use super::login::Login;
use super::session::{Outbound, PubRel, Session};
use super::state::{Farewell, Place};
use super::sys;
use super::traffic::Traffic;
use super::{Broker, now};
use crate::mqtt::codec::{Codec, CodecError};
use crate::mqtt::packet::{
    Ack, ConnAck, Disconnect, Packet, PacketId, Publish, Qos, Reason, Subscribe, Version,
};
use crate::mqtt::session::Arrival;
use crate::queue::acks::{self, Acks, Due, Lost, Verdict};
use crate::topic;

pub(super) use newcomer::Newcomer;

/// One connected client.
#[derive(Debug)]
pub(super) struct Client {
    seat: Seat,
    codec: Codec,
    version: Version,
    client_id: Arc<str>,
    login: Login,
    keep_alive: Option<Duration>,
    /// The session had no expiry at CONNECT, so DISCONNECT cannot give it one.
    ends_with_connection: bool,
    their_aliases: TheirAliases,
    our_aliases: OurAliases,
    /// What is not counted in the broker's numbers yet.
    traffic: Traffic,
}

/// A connection's hold on its session: lets go of it however the connection ends, by a panic too.
#[derive(Debug)]
struct Seat {
    broker: Broker,
    place: Place,
    farewell: Farewell,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.broker.leave(self.place, self.farewell);
    }
}

impl Client {
    /// A client that has logged in, with its CONNACK in `out`. `wake` is told when there is
    /// something to send.
    ///
    /// # Errors
    /// The broker does not take it; `out` holds the CONNACK that says so.
    pub(super) fn enter(
        broker: &Broker,
        mut codec: Codec,
        newcomer: &Newcomer,
        login: Login,
        wake: Arc<Notify>,
        out: &mut BytesMut,
    ) -> Result<Self, End> {
        let Newcomer { connect, is_assigned } = newcomer;
        let attached = match broker.enter(connect, &login, wake) {
            Ok(attached) => attached,
            Err(reason) => {
                let end = match reason {
                    Reason::CLIENT_ID => Denial::OthersSession.into(),
                    _ => End::Refused { reason, why: "too many sessions" },
                };
                refuse(&mut codec, &end, out);
                return Err(end);
            }
        };
        // Until it has its CONNACK, nobody knows of its will.
        let farewell = Farewell { drops_will: true, session_expiry_s: None };
        let mut seat = Seat { broker: broker.clone(), place: attached.place, farewell };
        let limits = broker.limits();
        let answer = ConnAck {
            receive_maximum: limits.receive_maximum,
            maximum_packet_size: Some(limits.packet_bytes),
            topic_alias_maximum: MAXIMUM,
            assigned_client_id: is_assigned.then(|| Arc::clone(&connect.client_id)),
            ..ConnAck::new(Reason::SUCCESS, attached.is_resumed)
        };
        codec.encode(&Packet::ConnAck(Box::new(answer)), out)?;
        let mut traffic = Traffic::default();
        traffic.received(0);
        traffic.sent(out.len());
        seat.farewell.drops_will = false;
        let client = Self {
            seat,
            codec,
            version: connect.version,
            client_id: Arc::clone(&connect.client_id),
            login,
            // One and a half times what was agreed (MQTT 5.0, 3.1.2.10).
            keep_alive: match connect.keep_alive_s {
                0 => None,
                seconds => Some(Duration::from_millis(u64::from(seconds) * 1500)),
            },
            ends_with_connection: connect.session_expiry_s == 0,
            their_aliases: TheirAliases::default(),
            our_aliases: OurAliases::new(connect.topic_alias_maximum),
            traffic,
        };
        if attached.is_resumed {
            client.end_denied()?;
        }
        Ok(client)
    }

    /// How long the client may be silent.
    pub(super) fn keep_alive(&self) -> Option<Duration> {
        self.keep_alive
    }

    /// What the topics hold that have aliases, in bytes.
    pub(super) fn aliases_bytes(&self) -> usize {
        self.their_aliases.bytes() + self.our_aliases.bytes()
    }

    /// Its session.
    pub(super) fn place(&self) -> Place {
        self.seat.place
    }

    /// Whether to let it wait before taking more from it. Over 5.0 a client should know by itself
    /// when to wait, from the receive maximum; MQTT.js for one does not, and is better held back
    /// than cut off.
    pub(super) fn must_wait(&self) -> Result<bool, End> {
        Ok(self.broker().lock().is_behind(self.place())?)
    }

    /// The next packet in `input`.
    pub(super) fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Packet>, End> {
        let before = input.len();
        let packet = self.codec.decode(input)?;
        if packet.is_some() {
            self.traffic.received(before - input.len());
        }
        Ok(packet)
    }

    /// Does what a packet asks for, and puts what it says to it in `out`.
    pub(super) fn take(&mut self, packet: Packet, out: &mut BytesMut) -> Result<(), End> {
        match packet {
            Packet::Publish(publish) => self.publish(*publish)?,
            Packet::PubAck(ack) => self.with_session(|session| session.puback(ack.id))?,
            Packet::PubRec(ack) => {
                let answer = self.broker().lock().pubrec(self.place(), ack)?;
                match answer {
                    PubRel::None => {}
                    PubRel::Known => self.send(&Packet::PubRel(Ack::ok(ack.id)), out)?,
                    PubRel::Unknown => self.send(&Packet::PubRel(not_found(ack.id)), out)?,
                }
            }
            Packet::PubRel(ack) => {
                let is_known = self.broker().lock().release(self.place(), ack.id)?;
                let answer = if is_known { Ack::ok(ack.id) } else { not_found(ack.id) };
                self.answer(Packet::PubComp(answer), out)?;
            }
            Packet::PubComp(ack) => self.with_session(|session| session.pubcomp(ack.id))?,
            Packet::Subscribe(subscribe) => {
                let reasons = self.subscribe(&subscribe)?;
                self.answer(Packet::SubAck(subscribe.id, reasons), out)?;
            }
            Packet::Unsubscribe(id, filters) => {
                let reasons = self.broker().lock().unsubscribe(self.place(), &filters)?;
                self.answer(Packet::UnsubAck(id, reasons), out)?;
            }
            Packet::PingReq => self.send(&Packet::PingResp, out)?,
            Packet::Disconnect(disconnect) => return Err(self.goodbye(&disconnect)),
            Packet::Connect(_) => return Err(End::protocol("a second CONNECT")),
            Packet::Auth => return Err(End::protocol("AUTH without an authentication method")),
            Packet::ConnAck(_) | Packet::SubAck(..) | Packet::UnsubAck(..) | Packet::PingResp => {
                return Err(End::protocol("a packet that only a server sends"));
            }
        }
        Ok(())
    }

    /// Puts messages for the client in `out`, until that holds `enough` bytes or nothing is left
    /// that may be sent now.
    pub(super) fn fill(&mut self, out: &mut BytesMut, enough: usize, now: Instant) -> Result<(), End> {
        let traffic = std::mem::take(&mut self.traffic);
        self.broker().lock().count_traffic(traffic);
        while out.len() < enough {
            let next = self.broker().lock().next_outbound(self.place(), now)?;
            match next {
                Some(Outbound::Publish(publish)) => self.deliver(*publish, out)?,
                Some(Outbound::Release(id)) => self.send(&Packet::PubRel(Ack::ok(id)), out)?,
                Some(Outbound::Answer(answer)) => self.send(&answer, out)?,
                None => break,
            }
        }
        Ok(())
    }

    /// Sends the acknowledgements that are ready.
    pub(super) fn acknowledge_ready(&mut self, out: &mut BytesMut) -> Result<(), End> {
        let mut at_once = Context::from_waker(Waker::noop());
        loop {
            let next = self.broker().lock().poll_ack(self.place(), &mut at_once);
            match next {
                Poll::Ready(next) => self.acknowledge(next?, out)?,
                Poll::Pending => return Ok(()),
            }
        }
    }

    /// Sends the acknowledgement whose turn it is.
    pub(super) fn acknowledge(&mut self, next: acks::Next, out: &mut BytesMut) -> Result<(), End> {
        match next {
            Ok((Due::PubAck(id), reason)) => {
                self.with_session(|session| session.incoming.acknowledged())?;
                self.send(&Packet::PubAck(Ack { id, reason }), out)
            }
            Ok((Due::PubRec(id), reason)) => {
                self.with_session(|session| session.incoming.recorded(id))?;
                self.send(&Packet::PubRec(Ack { id, reason }), out)
            }
            Err(Lost(due)) => {
                if let Due::PubRec(id) = due {
                    self.with_session(|session| session.incoming.refused(id))?;
                }
                Err(End::Refused { reason: Reason::FAILED, why: "a message could not be made safe" })
            }
        }
    }

    /// Lets go of the session and, over 5.0, puts the reason in `out`, as code and in words.
    pub(super) fn leave(mut self, end: &End, out: &mut BytesMut) {
        if let Some(reason) = end.reason() {
            let words = Some(end.to_string().into());
            let disconnect = Disconnect { reason_string: words, ..Disconnect::new(reason) };
            // What this reason code cannot be said with, or the client cannot take, stays unsaid.
            let _ = self.codec.encode(&Packet::Disconnect(disconnect), out);
        }
    }

    fn publish(&mut self, mut publish: Publish) -> Result<(), End> {
        self.broker().lock().count_received(publish.payload.len());
        self.their_aliases.resolve(&mut publish)?;
        publish.dup = false;
        match (publish.qos, publish.id.take()) {
            (Qos::AtMostOnce, _) if !self.may_publish(&publish.topic) => Ok(()),
            (Qos::AtLeastOnce, Some(id)) => {
                self.with_session(|session| session.incoming.publish_once_or_more())??;
                self.accept(publish, Due::PubAck(id))
            }
            (Qos::ExactlyOnce, Some(id)) => {
                if self.broker().lock().admit_receipt(self.place())?.is_err() {
                    let why = "too many messages of QoS 2 that it has not released";
                    return Err(End::Refused { reason: Reason::QUOTA, why });
                }
                match self.with_session(|session| session.incoming.publish_once(id))?? {
                    Arrival::New => self.accept(publish, Due::PubRec(id)),
                    Arrival::Half => self.accept_again(&publish, id),
                    Arrival::Pending => Ok(self.with_acks(|acks| acks.push_again(id))?),
                    Arrival::Recorded => self.push_ack(Due::PubRec(id), Verdict::Known(Reason::SUCCESS)),
                }
            }
            _ => {
                // Of QoS 0, what the queue has no room for is counted there.
                let _ = self.broker().publish(publish, self.place(), None, now());
                Ok(())
            }
        }
    }

    fn subscribe(&mut self, subscribe: &Subscribe) -> Result<Vec<Reason>, End> {
        // What is a filter, and yet not taken, has a reason code of its own; this is none (4.7.1).
        if subscribe.filters.iter().any(|wanted| !topic::is_valid_filter(&wanted.filter)) {
            let why =
                "a filter that is empty, or has a wildcard beside other characters or a # not at its end";
            return Err(End::Refused { reason: Reason::FILTER_INVALID, why });
        }
        let shares = |text: &str| Filter::parse(text).is_some_and(|filter| filter.group.is_some());
        if subscribe.filters.iter().any(|wanted| wanted.no_local && shares(&wanted.filter)) {
            return Err(End::protocol("no local on a shared subscription"));
        }
        let names_sys = |text: &str| Filter::parse(text).is_some_and(|filter| sys::is_ours(filter.topics));
        if subscribe.filters.iter().any(|wanted| names_sys(&wanted.filter)) {
            self.broker().want_sys();
        }
        self.subscribe_to_allowed(subscribe)
    }

    fn goodbye(&mut self, disconnect: &Disconnect) -> End {
        if self.ends_with_connection && disconnect.session_expiry_s.is_some_and(|seconds| seconds > 0) {
            return End::protocol("a session without expiry cannot be given one");
        }
        self.seat.farewell = Farewell {
            drops_will: disconnect.reason == Reason::SUCCESS,
            session_expiry_s: disconnect.session_expiry_s,
        };
        End::Goodbye
    }

    fn deliver(&mut self, mut publish: Publish, out: &mut BytesMut) -> Result<(), End> {
        let new_alias = self.our_aliases.apply(&mut publish);
        let packet = Packet::Publish(Box::new(publish));
        match self.encode(&packet, out) {
            Ok(()) => {
                self.our_aliases.settle(new_alias);
                Ok(())
            }
            // For this client the message is as good as delivered (MQTT 5.0, 3.1.2.11.4).
            Err(_) => {
                let Packet::Publish(publish) = packet else { return Ok(()) };
                Ok(self.broker().lock().unsendable(self.place(), publish.id)?)
            }
        }
    }

    fn send(&mut self, packet: &Packet, out: &mut BytesMut) -> Result<(), End> {
        Ok(self.encode(packet, out)?)
    }

    fn encode(&mut self, packet: &Packet, out: &mut BytesMut) -> Result<(), CodecError> {
        let before = out.len();
        self.codec.encode(packet, out)?;
        self.traffic.sent(out.len() - before);
        Ok(())
    }

    /// Sends the answer to something that the file may have to know first.
    fn answer(&mut self, answer: Packet, out: &mut BytesMut) -> Result<(), End> {
        let answer = self.broker().lock().answer(self.place(), answer)?;
        answer.map_or(Ok(()), |answer| self.send(&answer, out))
    }

    fn push_ack(&mut self, due: Due, verdict: Verdict) -> Result<(), End> {
        Ok(self.with_acks(|acks| acks.push(due, verdict))?)
    }

    fn with_session<R>(&self, step: impl FnOnce(&mut Session) -> R) -> Result<R, TakenOver> {
        self.broker().lock().with_session(self.place(), step)
    }

    fn with_acks<R>(&self, step: impl FnOnce(&mut Acks) -> R) -> Result<R, TakenOver> {
        self.broker().lock().with_acks(self.place(), step)
    }

    fn broker(&self) -> &Broker {
        &self.seat.broker
    }
}

fn not_found(id: PacketId) -> Ack {
    Ack { id, reason: Reason::ID_NOT_FOUND }
}

/// Answers a CONNECT with a refusal, where the version has a code for it; over 5.0 in words, too, as
/// far as the client takes them.
pub(super) fn refuse(codec: &mut Codec, end: &End, out: &mut BytesMut) {
    let Some(reason) = end.reason() else { return };
    let answer = ConnAck { reason_string: Some(end.to_string().into()), ..ConnAck::new(reason, false) };
    // To a reason that has no place in a CONNACK, closing the connection is the answer.
    let _ = codec.encode(&Packet::ConnAck(Box::new(answer)), out);
}
