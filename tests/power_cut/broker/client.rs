//! A client of a broker in this process, over a stream in memory.

use std::time::Duration;

use bytes::BytesMut;
use serialgate::broker::Broker;
use serialgate::mqtt::codec::Codec;
use serialgate::mqtt::packet::{Ack, Connect, Packet, Publish, Reason, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_util::sync::CancellationToken;

/// Nothing takes longer than this but a hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// More than anybody sends at a time, in bytes.
const PIPE: usize = 4 << 20;

pub(crate) struct Client {
    stream: DuplexStream,
    codec: Codec,
    input: BytesMut,
}

/// Lets everything happen that does not wait for the disk.
pub(crate) async fn settle() {
    for _ in 0..40 {
        tokio::task::yield_now().await;
    }
}

impl Client {
    /// Connects. Tells whether there was a session.
    pub(crate) async fn enter(
        broker: &Broker,
        client_id: &str,
        clean_start: bool,
        session_expiry_s: u32,
    ) -> (Self, bool) {
        let (stream, theirs) = tokio::io::duplex(PIPE);
        let broker = broker.clone();
        tokio::spawn(async move { broker.serve_stream(theirs, CancellationToken::new()).await });
        let codec = Codec::client(Version::V5, 1 << 24);
        let mut client = Self { stream, codec, input: BytesMut::new() };
        let connect = Connect {
            version: Version::V5,
            client_id: client_id.into(),
            clean_start,
            keep_alive_s: 0,
            session_expiry_s,
            receive_maximum: u16::MAX,
            maximum_packet_size: None,
            topic_alias_maximum: 0,
            username: None,
            password: None,
            will: None,
        };
        client.say(&Packet::Connect(Box::new(connect))).await;
        match client.next().await {
            Packet::ConnAck(answer) if answer.reason == Reason::SUCCESS => (client, answer.session_present),
            other => panic!("{client_id} is not let in: {other:?}"),
        }
    }

    pub(crate) async fn say(&mut self, packet: &Packet) {
        let mut bytes = BytesMut::new();
        self.codec.encode(packet, &mut bytes).unwrap();
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// The next packet.
    pub(crate) async fn next(&mut self) -> Packet {
        tokio::time::timeout(PATIENCE, self.read()).await.expect("the broker hangs")
    }

    /// The next packet that comes within a millisecond or so.
    pub(crate) async fn try_next(&mut self) -> Option<Packet> {
        tokio::time::timeout(Duration::from_millis(1), self.read()).await.ok()
    }

    async fn read(&mut self) -> Packet {
        loop {
            if let Some(packet) = self.codec.decode(&mut self.input).unwrap() {
                return packet;
            }
            assert!(self.stream.read_buf(&mut self.input).await.unwrap() > 0, "the broker hangs up");
        }
    }

    /// Takes and acknowledges all messages that wait.
    pub(crate) async fn drain(&mut self) -> Vec<Publish> {
        let mut messages = Vec::new();
        loop {
            let before = messages.len();
            settle().await;
            self.say(&Packet::PingReq).await;
            loop {
                match self.next().await {
                    Packet::PingResp => break,
                    Packet::Publish(publish) => messages.push(*publish),
                    _ => {}
                }
            }
            for id in messages[before..].iter().filter_map(|message| message.id) {
                self.say(&Packet::PubAck(Ack::ok(id))).await;
            }
            if messages.len() == before {
                return messages;
            }
        }
    }
}
