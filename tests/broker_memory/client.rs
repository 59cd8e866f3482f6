//! A client that keeps to the protocol only where it wants to.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use bytes::BytesMut;
use serialgate::mqtt::codec::Codec;
use serialgate::mqtt::packet::{
    Ack, Connect, Packet, PacketId, Publish, Qos, Reason, RetainHandling, Subscribe, SubscribeFilter, Version,
};

use crate::support::PATIENCE;

/// A broker that takes nothing for so long does not want more of it.
const PUSH: Duration = Duration::from_millis(300);

pub(crate) struct Client {
    stream: TcpStream,
    codec: Codec,
    input: BytesMut,
}

pub(crate) fn connect(version: Version, client_id: &str) -> Connect {
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

impl Client {
    /// A connection on which nothing was said yet.
    pub(crate) fn open(port: u16, version: Version) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, codec: Codec::client(version, 1 << 24), input: BytesMut::new() }
    }

    pub(crate) fn enter(port: u16, connect: Connect) -> Self {
        Self::try_enter(port, connect).expect("the broker takes it")
    }

    /// A connected client; `None` if the broker does not want it.
    pub(crate) fn try_enter(port: u16, connect: Connect) -> Option<Self> {
        let mut client = Self::open(port, connect.version);
        client.say(&Packet::Connect(Box::new(connect)));
        match client.next()? {
            Packet::ConnAck(answer) => (answer.reason == Reason::SUCCESS).then_some(client),
            other => panic!("{other:?}"),
        }
    }

    /// The packet of a message.
    pub(crate) fn encoded(&mut self, publish: Publish) -> BytesMut {
        let mut bytes = BytesMut::new();
        self.codec.encode(&Packet::Publish(Box::new(publish)), &mut bytes).unwrap();
        bytes
    }

    /// Sends as much of it as the broker takes.
    pub(crate) fn send_unless_closed(&mut self, bytes: &[u8]) {
        self.stream.set_write_timeout(Some(PUSH)).unwrap();
        let _ = self.stream.write_all(bytes);
    }

    /// Subscribes without waiting for the answer.
    pub(crate) fn ask(&mut self, filter: &str, qos: Qos) {
        self.ask_all(&[filter.to_owned()], qos);
    }

    pub(crate) fn ask_all(&mut self, filters: &[String], qos: Qos) {
        let wanted = |filter: &String| SubscribeFilter {
            filter: filter.as_str().into(),
            qos,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::AtSubscribe,
        };
        let filters = filters.iter().map(wanted).collect();
        let packet = Packet::Subscribe(Subscribe { id: PacketId::MIN, filters, subscription_id: None });
        let mut bytes = BytesMut::new();
        self.codec.encode(&packet, &mut bytes).unwrap();
        self.send_unless_closed(&bytes);
    }

    pub(crate) fn subscribe(&mut self, filter: &str, qos: Qos) {
        self.ask(filter, qos);
        assert!(matches!(self.next(), Some(Packet::SubAck(_, reasons)) if reasons == [Reason(qos as u8)]));
    }

    /// Publishes with QoS 1 and waits for the answer.
    pub(crate) fn publish(&mut self, publish: Publish) {
        self.say(&Packet::Publish(Box::new(Publish { id: Some(PacketId::MIN), ..publish })));
        while !matches!(self.next().expect("an answer"), Packet::PubAck(_)) {}
    }

    /// Begins `count` messages of QoS 2, as long as the broker lets it, and ends none.
    pub(crate) fn begin(&mut self, count: u16) {
        self.stream.set_nonblocking(false).unwrap();
        for first in (1..=count).step_by(100) {
            let mut bytes = BytesMut::new();
            for n in first..first + 100 {
                let publish =
                    Publish { id: PacketId::new(n), ..Publish::new("b", "", Qos::ExactlyOnce, false) };
                self.codec.encode(&Packet::Publish(Box::new(publish)), &mut bytes).unwrap();
            }
            self.send_unless_closed(&bytes);
            for _ in 0..100 {
                if self.next().is_none() {
                    return;
                }
            }
        }
    }

    /// The next message, which it acknowledges.
    pub(crate) fn hear(&mut self) -> Publish {
        loop {
            if let Packet::Publish(publish) = self.next().expect("a message") {
                if let Some(id) = publish.id {
                    self.say(&Packet::PubAck(Ack::ok(id)));
                }
                return *publish;
            }
        }
    }

    fn say(&mut self, packet: &Packet) {
        let mut bytes = BytesMut::new();
        self.codec.encode(packet, &mut bytes).unwrap();
        self.send_unless_closed(&bytes);
    }

    /// The next packet; `None` when the broker has closed.
    fn next(&mut self) -> Option<Packet> {
        let mut space = [0; 4096];
        loop {
            match self.codec.decode(&mut self.input).unwrap() {
                Some(Packet::Disconnect(_)) => return None,
                Some(packet) => return Some(packet),
                None => {}
            }
            match self.stream.read(&mut space) {
                Ok(0) => return None,
                Ok(read) => self.input.extend_from_slice(&space[..read]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("{error}"),
            }
        }
    }
}
