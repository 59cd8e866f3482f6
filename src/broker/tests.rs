//! The broker as its clients see it, packet by packet and over both versions. The clock is
//! stopped: it jumps when everybody waits, so minutes of silence take no time.

mod about;
mod delivery;
mod intake;
mod limits;
mod listening;
mod overload;
mod sessions;

use std::net::Ipv4Addr;
use std::num::NonZeroU16;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::door::Visit;
use super::remote::Remote;
use super::{Broker, Limits, NoIntake, connection};
use crate::mqtt::codec::Codec;
use crate::mqtt::packet::{
    Ack, Connect, Disconnect, Packet, PacketId, Publish, Qos, Reason, RetainHandling, Subscribe,
    SubscribeFilter, Version, Will,
};

const VERSIONS: [Version; 2] = [Version::V3, Version::V5];
const LEVELS: [Qos; 3] = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce];

/// Long enough for anything that is going to happen by itself.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Long enough to be sure that nothing is on its way, short enough for no timer to fire.
const MOMENT: Duration = Duration::from_millis(100);

fn broker() -> Broker {
    Broker::new(Limits::default(), NoIntake)
}

/// A broker that keeps its deadlines too.
fn serving(limits: Limits) -> (Broker, CancellationToken) {
    let (broker, stop) = (Broker::new(limits, NoIntake), CancellationToken::new());
    let (clone, token) = (broker.clone(), stop.clone());
    tokio::spawn(async move { clone.serve(Vec::new(), token).await });
    (broker, stop)
}

/// A connection's place, as if it came from this machine.
fn visit(broker: &Broker) -> Visit {
    let remote = Remote::at(Ipv4Addr::LOCALHOST.into());
    Visit::begin(broker, remote, CancellationToken::new()).unwrap()
}

fn id(n: u16) -> PacketId {
    NonZeroU16::new(n).unwrap()
}

fn connect(version: Version, client_id: &str) -> Connect {
    Connect {
        version,
        client_id: client_id.into(),
        clean_start: true,
        keep_alive_s: 0,
        session_expiry_s: 0,
        receive_maximum: u16::MAX,
        maximum_packet_size: None,
        topic_alias_maximum: 0,
        username: None,
        password: None,
        will: None,
    }
}

/// A client that comes back to its session.
fn persistent(version: Version, client_id: &str) -> Connect {
    Connect { clean_start: false, session_expiry_s: u32::MAX, ..connect(version, client_id) }
}

fn will(topic: &str, delay_s: u32) -> Will {
    Will { message: Publish::new(topic, "gone", Qos::AtLeastOnce, false), delay_s }
}

fn message(topic: &str, payload: &str, qos: Qos) -> Publish {
    Publish::new(topic, payload.to_owned(), qos, false)
}

fn wanted(filter: &str, qos: Qos) -> SubscribeFilter {
    SubscribeFilter {
        filter: filter.into(),
        qos,
        no_local: false,
        retain_as_published: false,
        retain_handling: RetainHandling::AtSubscribe,
    }
}

/// The other end of a connection: says and hears packets.
struct Peer {
    io: DuplexStream,
    codec: Codec,
    input: BytesMut,
    next_id: u16,
}

impl Peer {
    /// A connection on which nothing was said yet.
    fn open(broker: &Broker, version: Version) -> Self {
        Self::open_until(broker, version, CancellationToken::new(), 1 << 20)
    }

    fn open_until(broker: &Broker, version: Version, stop: CancellationToken, buffer: usize) -> Self {
        let (ours, theirs) = tokio::io::duplex(buffer);
        let (reader, writer) = tokio::io::split(theirs);
        let visit = visit(broker);
        tokio::spawn(connection::run(broker.clone(), reader, writer, visit, stop));
        Self { io: ours, codec: Codec::client(version, 1 << 24), input: BytesMut::new(), next_id: 1 }
    }

    /// A connected client, and whether its session was there before.
    async fn connect(broker: &Broker, connect: Connect) -> (Self, bool) {
        let mut peer = Self::open(broker, connect.version);
        peer.say(Packet::Connect(Box::new(connect))).await;
        match peer.hear().await {
            Packet::ConnAck(answer) => {
                assert_eq!(answer.reason, Reason::SUCCESS);
                (peer, answer.session_present)
            }
            other => panic!("{other:?}"),
        }
    }

    /// A connected client with a fresh session.
    async fn new(broker: &Broker, version: Version, client_id: &str) -> Self {
        Self::connect(broker, connect(version, client_id)).await.0
    }

    /// A connected client that subscribed.
    async fn subscriber(broker: &Broker, version: Version, client_id: &str, filter: &str, qos: Qos) -> Self {
        let mut peer = Self::new(broker, version, client_id).await;
        assert_eq!(peer.subscribe(wanted(filter, qos)).await, [Reason(qos as u8)]);
        peer
    }

    async fn say(&mut self, packet: Packet) {
        let mut bytes = BytesMut::new();
        self.codec.encode(&packet, &mut bytes).unwrap();
        self.say_bytes(&bytes).await;
    }

    async fn say_bytes(&mut self, bytes: &[u8]) {
        self.io.write_all(bytes).await.unwrap();
    }

    /// The next packet; `None` when the broker has closed.
    async fn hear_or_end(&mut self) -> Option<Packet> {
        let next = async {
            loop {
                if let Some(packet) = self.codec.decode(&mut self.input).unwrap() {
                    return Some(packet);
                }
                if self.io.read_buf(&mut self.input).await.unwrap() == 0 {
                    assert!(self.input.is_empty(), "half a packet");
                    return None;
                }
            }
        };
        timeout(PATIENCE, next).await.expect("the broker says something or closes")
    }

    async fn hear(&mut self) -> Packet {
        self.hear_or_end().await.expect("the broker has not closed")
    }

    /// Hears that the broker closes, and what it says before, if anything.
    async fn hear_end(&mut self) -> Option<Reason> {
        match self.hear_or_end().await {
            None => None,
            Some(Packet::Disconnect(Disconnect { reason, .. })) => {
                assert_eq!(self.hear_or_end().await, None);
                Some(reason)
            }
            Some(other) => panic!("{other:?}"),
        }
    }

    /// Hears nothing.
    async fn hear_nothing(&mut self) {
        let heard = timeout(MOMENT, self.io.read_buf(&mut self.input)).await;
        assert!(heard.is_err() && self.input.is_empty(), "something came: {:?}", &self.input[..]);
    }

    async fn hear_publish(&mut self) -> Publish {
        match self.hear().await {
            Packet::Publish(publish) => *publish,
            other => panic!("{other:?}"),
        }
    }

    /// Hears messages with these payloads, in this order, and acknowledges them.
    async fn hear_all(&mut self, payloads: &[&str]) {
        for payload in payloads {
            let publish = self.hear_publish().await;
            assert_eq!(publish.payload, payload.as_bytes());
            self.acknowledge(&publish).await;
        }
    }

    /// Acknowledges a message to the end.
    async fn acknowledge(&mut self, publish: &Publish) {
        match (publish.qos, publish.id) {
            (Qos::AtLeastOnce, Some(id)) => self.say(Packet::PubAck(Ack::ok(id))).await,
            (Qos::ExactlyOnce, Some(id)) => {
                self.say(Packet::PubRec(Ack::ok(id))).await;
                // Messages may come in between; no test has several of QoS 2 under way here.
                assert_eq!(self.hear().await, Packet::PubRel(Ack::ok(id)));
                self.say(Packet::PubComp(Ack::ok(id))).await;
            }
            _ => {}
        }
    }

    /// Publishes and hears the acknowledgements to the end.
    async fn publish(&mut self, publish: Publish) {
        let id = (publish.qos != Qos::AtMostOnce).then(|| self.fresh_id());
        let qos = publish.qos;
        self.say(Packet::Publish(Box::new(Publish { id, ..publish }))).await;
        match (qos, id) {
            (Qos::AtLeastOnce, Some(id)) => match self.hear().await {
                Packet::PubAck(ack) => assert!(ack.id == id && !ack.reason.is_failure()),
                other => panic!("{other:?}"),
            },
            (Qos::ExactlyOnce, Some(id)) => {
                match self.hear().await {
                    Packet::PubRec(ack) => assert!(ack.id == id && !ack.reason.is_failure()),
                    other => panic!("{other:?}"),
                }
                self.say(Packet::PubRel(Ack::ok(id))).await;
                assert_eq!(self.hear().await, Packet::PubComp(Ack::ok(id)));
            }
            _ => {}
        }
    }

    async fn subscribe(&mut self, filter: SubscribeFilter) -> Vec<Reason> {
        let subscribe = Subscribe { id: self.fresh_id(), filters: vec![filter], subscription_id: None };
        self.say(Packet::Subscribe(subscribe.clone())).await;
        match self.hear().await {
            Packet::SubAck(id, reasons) if id == subscribe.id => reasons,
            other => panic!("{other:?}"),
        }
    }

    async fn unsubscribe(&mut self, filters: &[&str]) -> Vec<Reason> {
        let id = self.fresh_id();
        let filters = filters.iter().map(|&filter| filter.into()).collect();
        self.say(Packet::Unsubscribe(id, filters)).await;
        match self.hear().await {
            Packet::UnsubAck(answered, reasons) if answered == id => reasons,
            other => panic!("{other:?}"),
        }
    }

    /// Makes sure that the broker has dealt with everything said so far.
    async fn settle(&mut self) {
        self.say(Packet::PingReq).await;
        assert_eq!(self.hear().await, Packet::PingResp);
    }

    /// As [`settle`](Self::settle); messages may come in between.
    async fn settle_past_messages(&mut self) {
        self.say(Packet::PingReq).await;
        while let Packet::Publish(_) = self.hear().await {}
    }

    async fn disconnect(mut self, reason: Reason) {
        self.say(Packet::Disconnect(Disconnect::new(reason))).await;
        assert_eq!(self.hear_or_end().await, None);
    }

    fn fresh_id(&mut self) -> PacketId {
        self.next_id += 1;
        id(self.next_id)
    }
}
