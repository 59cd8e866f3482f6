//! Who listens at the cloud: a client of our own, so that arrivals are stamped the moment the
//! socket gives them, on the clock that the readings carry.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{bail, ensure};
use bytes::BytesMut;
use serialgate::clock::boottime_us;
use serialgate::mqtt::codec::{Codec, MAX_PACKET_BYTES};
use serialgate::mqtt::packet::{
    Ack, Connect, Packet, Publish, Qos, RetainHandling, Subscribe, SubscribeFilter, Version,
};

use crate::players::wait_for;

/// One reading that came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    /// Its number, where it carries one.
    pub(crate) n: Option<u64>,
    /// When it was sent, where it says so, in microseconds of the boot clock.
    pub(crate) sent_us: Option<i64>,
    /// When it came.
    pub(crate) came_us: i64,
}

/// A subscriber. Ends when dropped.
#[derive(Debug)]
pub(crate) struct Subscriber {
    arrivals: Arc<Mutex<Vec<Arrival>>>,
    stream: TcpStream,
}

impl Subscriber {
    /// Subscribes to everything at a broker on this machine.
    pub(crate) fn start(port: u16) -> anyhow::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        let arrivals = Arc::new(Mutex::new(Vec::new()));
        let mut session = Session {
            stream: stream.try_clone()?,
            codec: Codec::client(Version::V5, MAX_PACKET_BYTES),
            input: BytesMut::new(),
            output: BytesMut::new(),
            arrivals: Arc::clone(&arrivals),
        };
        session.subscribe()?;
        // It ends with its socket, and then there is nothing left to say.
        std::thread::spawn(move || while session.turn().is_ok() {});
        Ok(Self { arrivals, stream })
    }

    pub(crate) fn arrivals(&self) -> MutexGuard<'_, Vec<Arrival>> {
        lock(&self.arrivals)
    }

    /// How many readings came.
    pub(crate) fn count(&self) -> usize {
        self.arrivals().len()
    }

    /// Waits until at least `count` readings have come.
    pub(crate) fn wait_count(&self, count: usize) -> anyhow::Result<()> {
        wait_for(&format!("{count} readings"), || Ok(self.count() >= count))
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

struct Session {
    stream: TcpStream,
    codec: Codec,
    input: BytesMut,
    output: BytesMut,
    arrivals: Arc<Mutex<Vec<Arrival>>>,
}

impl Session {
    fn subscribe(&mut self) -> anyhow::Result<()> {
        self.codec.encode(&Packet::Connect(Box::new(hello())), &mut self.output)?;
        let everything = SubscribeFilter {
            filter: "#".into(),
            qos: Qos::AtLeastOnce,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::Never,
        };
        let subscribe = Subscribe { id: NonZeroU16::MIN, filters: vec![everything], subscription_id: None };
        self.codec.encode(&Packet::Subscribe(subscribe), &mut self.output)?;
        self.send()?;
        loop {
            self.read()?;
            while let Some(packet) = self.codec.decode(&mut self.input)? {
                match packet {
                    Packet::ConnAck(answer) => ensure!(!answer.reason.is_failure(), "{answer:?}"),
                    Packet::SubAck(..) => return Ok(()),
                    other => bail!("{other:?} before the subscription"),
                }
            }
        }
    }

    /// Reads once; stamps all that came with it, writes it down and acknowledges it.
    fn turn(&mut self) -> anyhow::Result<()> {
        let came_us = self.read()?;
        let mut came = Vec::new();
        while let Some(packet) = self.codec.decode(&mut self.input)? {
            let Packet::Publish(publish) = packet else { continue };
            came.extend(arrival(&publish, came_us));
            if let Some(id) = publish.id {
                self.codec.encode(&Packet::PubAck(Ack::ok(id)), &mut self.output)?;
            }
        }
        lock(&self.arrivals).append(&mut came);
        self.send()
    }

    fn read(&mut self) -> anyhow::Result<i64> {
        let mut buffer = [0; 64 * 1024];
        let count = self.stream.read(&mut buffer)?;
        let came_us = boottime_us();
        ensure!(count > 0, "the broker closed");
        self.input.extend_from_slice(buffer.get(..count).unwrap_or_default());
        Ok(came_us)
    }

    fn send(&mut self) -> anyhow::Result<()> {
        self.stream.write_all(&self.output)?;
        self.output.clear();
        Ok(())
    }
}

fn hello() -> Connect {
    Connect {
        version: Version::V5,
        client_id: "bench-subscriber".into(),
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

fn arrival(publish: &Publish, came_us: i64) -> Option<Arrival> {
    let text = std::str::from_utf8(&publish.payload).ok()?;
    let is_reading = publish.topic.ends_with("/data");
    is_reading.then(|| Arrival { n: number(text, "\"n\":"), sent_us: number(text, "\"t\":"), came_us })
}

fn number<T: std::str::FromStr>(text: &str, key: &str) -> Option<T> {
    let (_, rest) = text.split_once(key)?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
