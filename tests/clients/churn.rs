//! Clients with the same few names that come, take each other's place and vanish, over and over and
//! under a backlog, while somebody looks whether the broker still answers. This is what killed
//! rumqttd's router within seconds.
//!
//! Four things are watched: a probe gets its own message back all the time; the program lives and its
//! memory stays; every message that was acknowledged comes to each session that was to get it, and
//! nothing is dropped; and in a group, each goes to one member.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::BytesMut;
use serialgate::mqtt::codec::Codec;
use serialgate::mqtt::packet::{
    Ack, Connect, Packet, PacketId, Publish, Qos, RetainHandling, Subscribe, SubscribeFilter, Version, Will,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::site::Site;
use crate::support::PATIENCE;

/// Names, of which each is used by several connections at a time.
const NAMES: usize = 4;
/// Connections at a time.
const CONNECTIONS: usize = 12;
/// The longest that the probe may wait, on any machine.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);
/// Messages that wait for a session at most; its queue holds more.
const BACKLOG: usize = 3000;
/// Messages for each name that are published before the first is acknowledged.
const AT_ONCE: u32 = 20;
/// By how much the program's memory may grow under all this, in KiB.
const GROWS_KIB: u64 = 64 * 1024;

/// What became of the messages for one name.
#[derive(Default)]
struct Ledger {
    /// Numbers of messages that the broker acknowledged.
    acknowledged: BTreeSet<u32>,
    /// Numbers that came, before they were acknowledged by the client.
    came: BTreeSet<u32>,
}

/// What goes on.
struct Churn {
    port: u16,
    ledgers: [Mutex<Ledger>; NAMES],
    /// Jobs of the group that were acknowledged, and that came to a member.
    jobs: Mutex<Ledger>,
    stop: AtomicBool,
}

/// One connection.
struct Link {
    stream: TcpStream,
    codec: Codec,
    input: BytesMut,
}

impl Link {
    /// Connects; `None` when the broker closed before it said yes, because another came meanwhile.
    async fn open(port: u16, connect: Connect) -> Option<(Self, bool)> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
        stream.set_nodelay(true).unwrap();
        let codec = Codec::client(connect.version, 1 << 20);
        let mut link = Self { stream, codec, input: BytesMut::new() };
        link.say(&Packet::Connect(Box::new(connect))).await?;
        match link.hear().await? {
            Packet::ConnAck(answer) if !answer.reason.is_failure() => Some((link, answer.session_present)),
            other => panic!("{other:?}"),
        }
    }

    async fn say(&mut self, packet: &Packet) -> Option<()> {
        let mut bytes = BytesMut::new();
        self.codec.encode(packet, &mut bytes).unwrap();
        self.stream.write_all(&bytes).await.ok()
    }

    /// The next packet; `None` when the connection is over.
    async fn hear(&mut self) -> Option<Packet> {
        loop {
            if let Some(packet) = self.codec.decode(&mut self.input).unwrap() {
                return match packet {
                    Packet::Disconnect(_) => None,
                    packet => Some(packet),
                };
            }
            if self.stream.read_buf(&mut self.input).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// Subscribes; what comes before the SUBACK is left for the session to be sent again.
    async fn subscribe(&mut self, filter: &str) -> Option<()> {
        let id = PacketId::new(u16::MAX).unwrap();
        let filter = SubscribeFilter {
            filter: filter.into(),
            qos: Qos::AtLeastOnce,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::Never,
        };
        let subscribe = Subscribe { id, filters: vec![filter], subscription_id: None };
        self.say(&Packet::Subscribe(subscribe)).await?;
        while !matches!(self.hear().await?, Packet::SubAck(..)) {}
        Some(())
    }
}

/// A session that lasts.
fn connect(version: Version, client_id: &str, receive_maximum: u16) -> Connect {
    Connect {
        version,
        client_id: client_id.into(),
        clean_start: false,
        keep_alive_s: 30,
        session_expiry_s: u32::MAX,
        receive_maximum,
        maximum_packet_size: None,
        topic_alias_maximum: 0,
        username: None,
        password: None,
        will: Some(Will { message: Publish::new("churn/will", "gone", Qos::AtLeastOnce, false), delay_s: 0 }),
    }
}

fn numbered(topic: &str, number: u32, id: u16) -> Packet {
    let publish = Publish::new(topic, number.to_string(), Qos::AtLeastOnce, false);
    Packet::Publish(Box::new(Publish { id: PacketId::new(id), ..publish }))
}

fn number(publish: &Publish) -> u32 {
    std::str::from_utf8(&publish.payload).unwrap().parse().unwrap()
}

impl Churn {
    /// Subscribes each name once, so that from now on its session must miss nothing.
    async fn prepare(&self) {
        for name in 0..NAMES {
            let client_id = format!("churn-{name}");
            let (mut link, _) = Link::open(self.port, connect(Version::V5, &client_id, 10)).await.unwrap();
            link.subscribe(&format!("churn/{name}")).await.unwrap();
            link.subscribe("$share/group/churn/jobs").await.unwrap();
        }
    }

    /// Connections of one name, one after the other.
    async fn come_and_go(self: Arc<Self>, seed: u64) {
        let mut random = fastrand::Rng::with_seed(seed);
        while !self.stop.load(Ordering::Relaxed) {
            let name = random.usize(..NAMES);
            let version = if random.bool() { Version::V5 } else { Version::V3 };
            // It ends because it has had enough, or because another took its place: nobody says goodbye.
            let _ = self.connection(name, version, &mut random).await;
        }
    }

    async fn connection(&self, name: usize, version: Version, random: &mut fastrand::Rng) -> Option<()> {
        let connect = connect(version, &format!("churn-{name}"), random.u16(1..20));
        let (mut link, present) = Link::open(self.port, connect).await?;
        assert!(present, "the session of {name} is gone");
        if random.u8(..4) == 0 {
            link.subscribe(&format!("churn/{name}")).await?;
            link.subscribe("$share/group/churn/jobs").await?;
        }
        let mut left = random.u32(..60);
        while left > 0 {
            let Ok(packet) = timeout(Duration::from_millis(random.u64(1..30)), link.hear()).await else {
                // Nothing came for a while: off it goes, perhaps in the middle of a packet.
                if random.bool() {
                    link.stream.write_all(b"\x32\x50\x00").await.ok()?;
                }
                return None;
            };
            left -= 1;
            let Packet::Publish(publish) = packet? else { continue };
            let number = number(&publish);
            let ledger = if &*publish.topic == "churn/jobs" { &self.jobs } else { &self.ledgers[name] };
            // Written down first: once the broker hears the PUBACK it may forget the message.
            ledger.lock().unwrap().came.insert(number);
            if random.u8(..8) > 0 {
                link.say(&Packet::PubAck(Ack::ok(publish.id?))).await?;
            }
        }
        None
    }

    /// Publishes to all names and to the group, as long as not too much is under way.
    async fn publish(self: Arc<Self>) {
        let everything_clean = Connect {
            clean_start: true,
            session_expiry_s: 0,
            will: None,
            ..connect(Version::V5, "publisher", 10)
        };
        let (mut link, _) = Link::open(self.port, everything_clean).await.unwrap();
        let mut next = 0;
        while !self.stop.load(Ordering::Relaxed) {
            let behind = |ledger: &Mutex<Ledger>| {
                let ledger = ledger.lock().unwrap();
                ledger.acknowledged.len() - ledger.came.len().min(ledger.acknowledged.len())
            };
            let ledgers = self.ledgers.iter().chain([&self.jobs]);
            if ledgers.clone().any(|ledger| behind(ledger) > BACKLOG) {
                sleep(Duration::from_millis(10)).await;
                continue;
            }
            let mut under_way = Vec::new();
            for (name, ledger) in ledgers.enumerate() {
                let topic = if name < NAMES { format!("churn/{name}") } else { "churn/jobs".to_owned() };
                for number in next..next + AT_ONCE {
                    under_way.push((ledger, number));
                    let id = u16::try_from(under_way.len()).unwrap();
                    link.say(&numbered(&topic, number, id)).await.unwrap();
                }
            }
            next += AT_ONCE;
            for (ledger, number) in under_way {
                let Some(Packet::PubAck(ack)) = link.hear().await else { panic!("the publisher was ended") };
                assert!(!ack.reason.is_failure());
                ledger.lock().unwrap().acknowledged.insert(number);
            }
        }
    }

    /// Publishes to itself every 100 ms; the longest that this took.
    async fn probe(self: Arc<Self>) -> Duration {
        let connect = Connect { will: None, ..connect(Version::V3, "probe", 10) };
        let (mut link, _) = Link::open(self.port, connect).await.unwrap();
        link.subscribe("probe").await.unwrap();
        let mut longest = Duration::ZERO;
        let mut next = 0;
        while !self.stop.load(Ordering::Relaxed) {
            let start = Instant::now();
            let round = async {
                link.say(&numbered("probe", next, 1)).await.unwrap();
                let (mut acknowledged, mut came) = (false, false);
                while !acknowledged || !came {
                    match link.hear().await.expect("nobody ends the probe") {
                        Packet::PubAck(_) => acknowledged = true,
                        Packet::Publish(publish) => {
                            assert_eq!(number(&publish), next);
                            link.say(&Packet::PubAck(Ack::ok(publish.id.unwrap()))).await.unwrap();
                            came = true;
                        }
                        other => panic!("{other:?}"),
                    }
                }
            };
            timeout(PATIENCE, round).await.expect("the broker answers its probe");
            longest = longest.max(start.elapsed());
            next += 1;
            sleep(Duration::from_millis(100)).await;
        }
        longest
    }

    /// Connects once more with each name and takes what is left for it. It comes in order, and then
    /// nothing is missing.
    async fn settle(&self) {
        for (name, ledger) in self.ledgers.iter().enumerate() {
            let connect = connect(Version::V5, &format!("churn-{name}"), 100);
            let (mut link, present) = Link::open(self.port, connect).await.unwrap();
            assert!(present);
            let (mut last, mut last_job) = (None, None);
            // When nothing came for a second, nothing is left.
            while let Ok(packet) = timeout(Duration::from_secs(1), link.hear()).await {
                let Packet::Publish(publish) = packet.expect("nobody takes its place any more") else {
                    continue;
                };
                let (number, is_job) = (number(&publish), &*publish.topic == "churn/jobs");
                let last = if is_job { &mut last_job } else { &mut last };
                assert!(*last < Some(number), "{name}: {number} after {last:?}");
                *last = Some(number);
                let ledger = if is_job { &self.jobs } else { ledger };
                ledger.lock().unwrap().came.insert(number);
                link.say(&Packet::PubAck(Ack::ok(publish.id.unwrap()))).await.unwrap();
            }
            ledger.lock().unwrap().assert_complete(&format!("session {name}"));
        }
        self.jobs.lock().unwrap().assert_complete("the group");
    }
}

impl Ledger {
    fn assert_complete(&self, whose: &str) {
        let missing: Vec<_> = self.acknowledged.difference(&self.came).collect();
        assert!(missing.is_empty(), "{whose}: {} are missing: {missing:?}", missing.len());
        assert!(self.came.len() > 100, "{whose}: too little happened: {}", self.came.len());
    }
}

/// How long the storm lasts: 8 seconds, or as many as the variable says; `make interop` says 40.
fn lasts() -> Duration {
    let seconds = std::env::var("CHURN_SECONDS").ok().map(|text| text.parse().unwrap());
    Duration::from_secs(seconds.unwrap_or(8))
}

#[tokio::test]
async fn churn_with_the_same_names_under_backlog_harms_nobody() {
    let site = Site::start();
    let churn = Arc::new(Churn {
        port: site.port,
        ledgers: Default::default(),
        jobs: Mutex::default(),
        stop: AtomicBool::new(false),
    });
    churn.prepare().await;
    let before_kib = site.gateway.rss_kib();
    let probe = tokio::spawn(Arc::clone(&churn).probe());
    let publisher = tokio::spawn(Arc::clone(&churn).publish());
    let clients: Vec<_> =
        (0..CONNECTIONS).map(|n| tokio::spawn(Arc::clone(&churn).come_and_go(n as u64))).collect();
    sleep(lasts()).await;
    let grown_kib = site.gateway.rss_kib().saturating_sub(before_kib);
    churn.stop.store(true, Ordering::Relaxed);
    publisher.await.unwrap();
    for client in clients {
        client.await.unwrap();
    }
    let longest = probe.await.unwrap();
    let counts = churn.ledgers.iter().map(|ledger| ledger.lock().unwrap().acknowledged.len());
    eprintln!(
        "messages {:?}, longest wait {longest:?}, grown by {grown_kib} KiB",
        counts.collect::<Vec<_>>()
    );
    assert!(longest < ANSWERS_WITHIN, "the probe waited {longest:?}");
    assert!(grown_kib < GROWS_KIB, "memory grew by {grown_kib} KiB");
    churn.settle().await;
    site.assert_well();
}
