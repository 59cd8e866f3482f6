//! A client of the local broker that keeps its side of a session itself: which messages it owes an
//! answer for, and which it has, over any number of connections.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use serialgate::mqtt::codec::{Codec, MAX_PACKET_BYTES};
use serialgate::mqtt::packet::{
    Ack, Connect, Packet, PacketId, Publish, Qos, RetainHandling, Subscribe, SubscribeFilter, Version, Will,
};

use super::{LOOK_AGAIN, PATIENCE, pause};

/// A connection: packets in and out.
pub(crate) struct Wire {
    stream: TcpStream,
    codec: Codec,
    input: BytesMut,
}

/// The connection is gone.
#[derive(Debug)]
pub(crate) struct Gone;

impl Wire {
    fn open(port: u16) -> Option<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
        stream.set_nodelay(true).ok()?;
        stream.set_read_timeout(Some(Duration::from_millis(50))).ok()?;
        Some(Self { stream, codec: Codec::client(Version::V5, MAX_PACKET_BYTES), input: BytesMut::new() })
    }

    fn say(&mut self, packet: &Packet) -> Result<(), Gone> {
        let mut bytes = BytesMut::new();
        self.codec.encode(packet, &mut bytes).unwrap();
        self.stream.write_all(&bytes).map_err(|_| Gone)
    }

    /// The next packet; `None` when nothing comes for a moment.
    fn hear(&mut self) -> Result<Option<Packet>, Gone> {
        loop {
            if let Some(packet) = self.codec.decode(&mut self.input).map_err(|_| Gone)? {
                return Ok(Some(packet));
            }
            let mut piece = [0; 16 * 1024];
            match self.stream.read(&mut piece) {
                Ok(0) => return Err(Gone),
                Ok(n) => self.input.extend_from_slice(&piece[..n]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Ok(None);
                }
                Err(_) => return Err(Gone),
            }
        }
    }
}

/// A message of ours that is not acknowledged to the end.
#[derive(Clone)]
struct Sent {
    publish: Publish,
    is_released: bool,
}

/// A client with a session that it keeps.
pub(crate) struct Raw {
    connect: Connect,
    wire: Option<Wire>,
    /// Whether the broker had the session at the last connection.
    pub(crate) was_present: bool,
    /// Ours, in the order in which they were sent.
    sent: BTreeMap<u16, Sent>,
    order: Vec<u16>,
    last_id: u16,
    /// Of QoS 2, those that the broker has not released.
    received: BTreeSet<u16>,
    /// What came, each message once: topic and payload.
    pub(crate) messages: Vec<(String, String)>,
    /// What came a second time and may: QoS 1.
    pub(crate) copies: usize,
    /// How many of ours are acknowledged to the end.
    pub(crate) done: usize,
    subscribed: usize,
}

impl Raw {
    /// One that comes back to its session.
    pub(crate) fn persistent(id: &str) -> Self {
        Self::new(id, u32::MAX)
    }

    /// One whose session lasts so long.
    pub(crate) fn new(id: &str, session_expiry_s: u32) -> Self {
        let connect = Connect {
            version: Version::V5,
            client_id: id.into(),
            clean_start: session_expiry_s == 0,
            keep_alive_s: 0,
            session_expiry_s,
            receive_maximum: 100,
            maximum_packet_size: None,
            topic_alias_maximum: 0,
            username: None,
            password: None,
            will: None,
        };
        Self {
            connect,
            wire: None,
            was_present: false,
            sent: BTreeMap::new(),
            order: Vec::new(),
            last_id: 0,
            received: BTreeSet::new(),
            messages: Vec::new(),
            copies: 0,
            done: 0,
            subscribed: 0,
        }
    }

    pub(crate) fn with_will(mut self, topic: &str, payload: &str) -> Self {
        let message = Publish::new(topic, payload.to_owned(), Qos::AtLeastOnce, true);
        self.connect.will = Some(Will { message, delay_s: 0 });
        self
    }

    /// Connects, as soon as somebody listens.
    pub(crate) fn connect(&mut self, port: u16) -> &mut Self {
        let start = Instant::now();
        while self.try_connect(port).is_err() {
            assert!(start.elapsed() < PATIENCE, "no connection for {}", self.connect.client_id);
            pause(LOOK_AGAIN);
        }
        self
    }

    /// One attempt.
    pub(crate) fn try_connect(&mut self, port: u16) -> Result<(), Gone> {
        self.wire = None;
        let mut wire = Wire::open(port).ok_or(Gone)?;
        wire.say(&Packet::Connect(Box::new(self.connect.clone())))?;
        let start = Instant::now();
        let answer = loop {
            match wire.hear()? {
                Some(Packet::ConnAck(answer)) => break answer,
                Some(other) => panic!("{other:?} before CONNACK"),
                None => assert!(start.elapsed() < PATIENCE, "no CONNACK"),
            }
        };
        assert!(!answer.reason.is_failure(), "{answer:?}");
        self.was_present = answer.session_present;
        if !answer.session_present {
            // What was released is with the broker; the rest begins anew.
            self.received.clear();
            self.order.retain(|id| !self.sent[id].is_released);
            self.sent.retain(|_, sent| !sent.is_released);
        }
        for id in &self.order {
            let sent = &self.sent[id];
            let packet = if sent.is_released {
                Packet::PubRel(Ack::ok(NonZeroU16::new(*id).unwrap()))
            } else {
                Packet::Publish(Box::new(Publish { dup: answer.session_present, ..sent.publish.clone() }))
            };
            wire.say(&packet)?;
        }
        self.wire = Some(wire);
        Ok(())
    }

    /// Closes the connection without a word.
    pub(crate) fn drop_connection(&mut self) {
        self.wire = None;
    }

    pub(crate) fn subscribe(&mut self, filter: &str, qos: Qos) -> &mut Self {
        let filter = SubscribeFilter {
            filter: filter.into(),
            qos,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::AtSubscribe,
        };
        let packet =
            Packet::Subscribe(Subscribe { id: PacketId::MAX, filters: vec![filter], subscription_id: None });
        let before = self.subscribed;
        self.say(&packet).unwrap();
        self.go_on("SUBACK", |raw| raw.subscribed > before);
        self
    }

    /// Publishes; does not wait.
    pub(crate) fn publish(&mut self, topic: &str, payload: &str, qos: Qos, retain: bool) -> Result<(), Gone> {
        let mut publish = Publish::new(topic, payload.to_owned(), qos, retain);
        if qos != Qos::AtMostOnce {
            loop {
                self.last_id = self.last_id % 60_000 + 1;
                if !self.sent.contains_key(&self.last_id) {
                    break;
                }
            }
            publish.id = NonZeroU16::new(self.last_id);
            self.sent.insert(self.last_id, Sent { publish: publish.clone(), is_released: false });
            self.order.push(self.last_id);
        }
        self.say(&Packet::Publish(Box::new(publish)))
    }

    /// How many of ours are not acknowledged to the end.
    pub(crate) fn open(&self) -> usize {
        self.sent.len()
    }

    fn say(&mut self, packet: &Packet) -> Result<(), Gone> {
        self.wire.as_mut().ok_or(Gone)?.say(packet)
    }

    /// Takes what comes until `condition` holds.
    pub(crate) fn go_on(&mut self, what: &str, condition: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !condition(self) {
            let state = format!("{} messages, {} open", self.messages.len(), self.open());
            assert!(start.elapsed() < PATIENCE, "{}: waited for {what}; {state}", self.connect.client_id);
            self.step().unwrap_or_else(|_| panic!("the connection broke; waiting for {what}; {state}"));
        }
    }

    /// Takes what comes for a while, and is sure that nothing more does.
    pub(crate) fn settle(&mut self) {
        while self.step().unwrap() {}
    }

    /// Takes the next packet, if one comes within a moment.
    pub(crate) fn step(&mut self) -> Result<bool, Gone> {
        let Some(packet) = self.wire.as_mut().ok_or(Gone)?.hear()? else { return Ok(false) };
        match packet {
            Packet::Publish(publish) => self.take(&publish)?,
            Packet::PubRel(ack) => {
                self.received.remove(&ack.id.get());
                self.say(&Packet::PubComp(Ack::ok(ack.id)))?;
            }
            Packet::PubAck(ack) | Packet::PubComp(ack) => self.over(ack.id.get()),
            Packet::PubRec(ack) => {
                assert!(!ack.reason.is_failure(), "{ack:?}");
                if let Some(sent) = self.sent.get_mut(&ack.id.get()) {
                    sent.is_released = true;
                }
                self.say(&Packet::PubRel(Ack::ok(ack.id)))?;
            }
            Packet::SubAck(_, reasons) => {
                assert!(reasons.iter().all(|reason| !reason.is_failure()), "{reasons:?}");
                self.subscribed += 1;
            }
            Packet::Disconnect(_) => return Err(Gone),
            other => panic!("{other:?}"),
        }
        Ok(true)
    }

    fn over(&mut self, id: u16) {
        if self.sent.remove(&id).is_some() {
            self.order.retain(|other| *other != id);
            self.done += 1;
        }
    }

    fn take(&mut self, publish: &Publish) -> Result<(), Gone> {
        let payload = String::from_utf8_lossy(&publish.payload).into_owned();
        let message = (publish.topic.to_string(), payload);
        match (publish.qos, publish.id) {
            (Qos::ExactlyOnce, Some(id)) => {
                if self.received.insert(id.get()) {
                    self.messages.push(message);
                }
                self.say(&Packet::PubRec(Ack::ok(id)))
            }
            (Qos::AtLeastOnce, Some(id)) => {
                if publish.dup && self.messages.contains(&message) {
                    self.copies += 1;
                } else {
                    self.messages.push(message);
                }
                self.say(&Packet::PubAck(Ack::ok(id)))
            }
            _ => {
                self.messages.push(message);
                Ok(())
            }
        }
    }
}
