//! Two clients on the local network: one speaks, one hears, and how long that takes.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use serialgate::mqtt::codec::{Codec, MAX_PACKET_BYTES};
use serialgate::mqtt::packet::{
    Connect, Packet, PacketId, Publish, Qos, RetainHandling, Subscribe, SubscribeFilter, Version,
};

use crate::support::pause;

/// A client of the local broker.
pub(crate) struct Client {
    stream: TcpStream,
    codec: Codec,
    input: BytesMut,
}

/// How long messages took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) longest: Duration,
}

impl Client {
    pub(crate) fn connect(port: u16, id: &str) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut client =
            Self { stream, codec: Codec::client(Version::V5, MAX_PACKET_BYTES), input: BytesMut::new() };
        client.say(&Packet::Connect(Box::new(Connect {
            version: Version::V5,
            client_id: id.into(),
            clean_start: true,
            keep_alive_s: 0,
            session_expiry_s: 0,
            receive_maximum: u16::MAX,
            maximum_packet_size: None,
            topic_alias_maximum: 0,
            username: None,
            password: None,
            will: None,
        })));
        let answer = client.next();
        assert!(matches!(&answer, Packet::ConnAck(ack) if !ack.reason.is_failure()), "{answer:?}");
        client
    }

    pub(crate) fn subscribe(&mut self, filter: &str) {
        let filter = SubscribeFilter {
            filter: filter.into(),
            qos: Qos::AtMostOnce,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::Never,
        };
        self.say(&Packet::Subscribe(Subscribe {
            id: PacketId::MIN,
            filters: vec![filter],
            subscription_id: None,
        }));
        let answer = self.next();
        assert!(matches!(&answer, Packet::SubAck(_, reasons) if !reasons[0].is_failure()), "{answer:?}");
    }

    pub(crate) fn publish(&mut self, topic: &str, payload: String) {
        self.say(&Packet::Publish(Box::new(Publish::new(topic, payload, Qos::AtMostOnce, false))));
    }

    fn say(&mut self, packet: &Packet) {
        let mut output = BytesMut::new();
        self.codec.encode(packet, &mut output).unwrap();
        self.stream.write_all(&output).unwrap();
    }

    fn next(&mut self) -> Packet {
        loop {
            if let Some(packet) = self.codec.decode(&mut self.input).unwrap() {
                return packet;
            }
            let mut bytes = [0; 4096];
            let count = self.stream.read(&mut bytes).unwrap();
            assert!(count > 0, "the local broker has closed");
            self.input.extend_from_slice(&bytes[..count]);
        }
    }
}

/// So many messages to `topic`, one every `every`: how long each takes from one client to the other.
pub(crate) fn times(port: u16, topic: &str, count: usize, every: Duration) -> Times {
    let mut hears = Client::connect(port, "hears");
    hears.subscribe(topic);
    let mut speaks = Client::connect(port, "speaks");
    let hearing = thread::spawn(move || {
        let heard = |n: usize| match hears.next() {
            Packet::Publish(publish) => {
                assert_eq!(publish.payload, n.to_string());
                Instant::now()
            }
            other => panic!("{other:?}"),
        };
        (0..count).map(heard).collect::<Vec<_>>()
    });
    let said = (0..count).map(|n| {
        pause(every);
        let now = Instant::now();
        speaks.publish(topic, n.to_string());
        now
    });
    let said: Vec<_> = said.collect();
    let heard = hearing.join().unwrap();
    let mut times: Vec<_> = heard.iter().zip(&said).map(|(heard, said)| *heard - *said).collect();
    times.sort();
    Times { p50: times[count / 2], p99: times[count * 99 / 100], longest: times[count - 1] }
}
