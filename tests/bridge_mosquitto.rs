//! The bridge against a broker that we did not write: Debian's mosquitto, on a free port, with a
//! proxy in between that cuts the link.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::collections::HashMap;
use std::io::Read as _;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{AsyncClient, Event, MqttOptions};
use serialgate::bridge::{Bridge, Handles, consumer};
use serialgate::config;
use serialgate::flow::Bulletin;
use serialgate::mqtt::packet::Version;
use serialgate::queue::Queue;
use serialgate::reading::{Body, Reading, Value};
use serialgate::status::{self, BridgeState, Cell};
use serialgate::topic::{Subject, Topics};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(60);

/// A mosquitto with an open port on loopback; dies with its handle.
struct Mosquitto {
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Mosquitto {
    async fn start() -> Self {
        Self::start_at(free_address()).await
    }

    async fn start_at(address: SocketAddr) -> Self {
        Self::start_with(address, "").await
    }

    /// With more lines of configuration.
    async fn start_with(address: SocketAddr, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            "listener {} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nset_tcp_nodelay true\n{more}\n",
            address.port()
        );
        let file = folder.path().join("mosquitto.conf");
        std::fs::write(&file, config).unwrap();
        let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap());
        let child = Command::new("mosquitto")
            .env("PATH", path)
            .arg("-c")
            .arg(file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("mosquitto is installed");
        let ready = async {
            while TcpStream::connect(address).await.is_err() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, ready).await.expect("mosquitto listens");
        Self { child, address, _folder: folder }
    }
}

/// An address on loopback where nobody listens.
fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a subscriber has seen.
#[derive(Default)]
struct Seen {
    /// Numbers of readings, in the order in which they came.
    readings: Vec<u64>,
    /// And when each came.
    times: Vec<Instant>,
    /// Ids by number; one that differs between two copies is a bug.
    ids: HashMap<u64, String>,
    /// Newest payload of every other topic.
    words: HashMap<String, String>,
}

/// Subscribes to everything; gives what comes.
async fn subscribe(broker: SocketAddr) -> Arc<Mutex<Seen>> {
    let seen = Arc::new(Mutex::new(Seen::default()));
    let mut options = MqttOptions::new("subscriber", broker.ip().to_string(), broker.port());
    options.set_max_packet_size(Some(1 << 20));
    let (client, mut events) = AsyncClient::new(options, 100);
    client.subscribe("#", QoS::AtLeastOnce).await.unwrap();
    let (subscribed, ready) = oneshot::channel::<()>();
    let mut subscribed = Some(subscribed);
    let into = Arc::clone(&seen);
    tokio::spawn(async move {
        let _client = client;
        loop {
            match events.poll().await.unwrap() {
                Event::Incoming(Packet::SubAck(_)) => drop(subscribed.take()),
                Event::Incoming(Packet::Publish(publish)) => {
                    let topic = String::from_utf8(publish.topic.to_vec()).unwrap();
                    into.lock().unwrap().take(topic, &publish.payload);
                }
                _ => {}
            }
        }
    });
    let _ = timeout(PATIENCE, ready).await.expect("subscribes");
    seen
}

/// A payload as a consumer of any version reads it: the first bytes say how it is packed.
fn unpacked(payload: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    match payload {
        [0x1f, 0x8b, ..] => drop(GzDecoder::new(payload).read_to_end(&mut plain).unwrap()),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => plain = zstd::decode_all(payload).unwrap(),
        plainly => plain = plainly.to_vec(),
    }
    plain
}

impl Seen {
    fn take(&mut self, topic: String, payload: &[u8]) {
        let payload = unpacked(payload);
        if !topic.ends_with("/data") {
            self.words.insert(topic, String::from_utf8(payload).unwrap());
            return;
        }
        let objects: Vec<serde_json::Value> = match serde_json::from_slice(&payload).unwrap() {
            serde_json::Value::Array(objects) => objects,
            one => vec![one],
        };
        for json in objects {
            let (seq, id) = (json["seq"].as_u64().unwrap(), json["id"].as_str().unwrap().to_owned());
            assert_eq!(*self.ids.entry(seq).or_insert_with(|| id.clone()), id, "one id for reading {seq}");
            self.readings.push(seq);
            self.times.push(Instant::now());
        }
    }
}

/// Passes connections on to `to`, and can cut them.
async fn proxy(to: SocketAddr) -> (SocketAddr, Arc<tokio::sync::Notify>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let cut = Arc::new(tokio::sync::Notify::new());
    let when = Arc::clone(&cut);
    tokio::spawn(async move {
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            let mut far = TcpStream::connect(to).await.unwrap();
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                () = when.notified() => {}
            }
        }
    });
    (address, cut)
}

/// Passes one connection on to `to`, and counts the bytes that go there.
async fn counting_proxy(to: SocketAddr) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        let (near, _) = listener.accept().await.unwrap();
        let (mut from_bridge, mut to_bridge) = near.into_split();
        let (mut from_broker, mut to_broker) = TcpStream::connect(to).await.unwrap().into_split();
        tokio::spawn(async move { tokio::io::copy(&mut from_broker, &mut to_bridge).await });
        let mut bytes = vec![0; 65_536];
        loop {
            let read = from_bridge.read(&mut bytes).await.unwrap();
            counted.fetch_add(read, Ordering::Relaxed);
            if read == 0 || to_broker.write_all(&bytes[..read]).await.is_err() {
                return;
            }
        }
    });
    (address, count)
}

/// A gateway's durable half: queue and bridge.
struct Gateway {
    queue: Queue,
    bulletin: Bulletin,
    status: Cell<status::Bridge>,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Gateway {
    fn start(broker: SocketAddr, protocol: Option<Version>) -> Self {
        Self::with(broker, |config| config.protocol = protocol)
    }

    fn with(broker: SocketAddr, change: impl FnOnce(&mut config::Bridge)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config::Bridge {
            name: "cloud".into(),
            host: broker.ip().to_string(),
            port: broker.port(),
            ..config::Bridge::default()
        };
        change(&mut config);
        let topics = Topics::new("serialgate", "pi");
        let file = config::Queue { path: folder.path().join("queue.db"), ..config::Config::default().queue };
        let queue = Queue::open(&file, topics.clone(), vec![consumer(&config)]).unwrap();
        let (bulletin, status) = (Bulletin::default(), Cell::default());
        let handles = Handles {
            outlet: queue.outlet(0),
            queue: queue.clone(),
            bulletin: bulletin.clone(),
            topics,
            status: status.clone(),
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let bridge = Bridge::new(config, "pi", handles);
        let task = tokio::spawn(bridge.run(async move {
            let _ = stopped.await;
        }));
        Self { queue, bulletin, status, stop, task, _folder: folder }
    }

    fn push(&self, seq: u64) {
        let decimal = |mantissa, exponent| Value::Decimal { mantissa, exponent };
        let noise = |range| i64::try_from(seq * 7919 % range).unwrap();
        let values = vec![
            ("temp".into(), decimal(2345 + noise(61), -2)),
            ("hum".into(), decimal(412 + noise(29), -1)),
        ];
        let (id, at) = (self.queue.name(), self.queue.clock().now());
        self.queue.push(Body::Reading(Reading { device: "shed".into(), id, seq, at, values }));
    }

    async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let waiting = async {
            while !holds() {
                sleep(Duration::from_millis(1)).await;
            }
        };
        if timeout(PATIENCE, waiting).await.is_err() {
            panic!("never {what}: {:?} {:?}", self.status.lock(), self.queue.status());
        }
    }
}

const CUTS: u64 = 5;
const PER_CUT: u64 = 2000;
const READINGS: u64 = CUTS * PER_CUT;

#[tokio::test]
async fn everything_arrives_through_cuts_in_order_after_dedupe() {
    for protocol in [None, Some(Version::V3)] {
        let mosquitto = Mosquitto::start().await;
        let seen = subscribe(mosquitto.address).await;
        let (address, cut) = proxy(mosquitto.address).await;
        let gateway = Gateway::start(address, protocol);
        for round in 0..CUTS {
            let connected = || gateway.status.lock().state == BridgeState::Connected;
            gateway.until("connected", connected).await;
            let delivered = gateway.status.lock().delivered;
            (0..PER_CUT).for_each(|n| gateway.push(round * PER_CUT + n));
            gateway.until("flowing", || gateway.status.lock().delivered > delivered + PER_CUT / 10).await;
            cut.notify_waiters();
            gateway.until("cut", || !connected()).await;
        }
        gateway.until("delivered", || gateway.queue.status().readings == 0).await;
        gateway.until("seen", || seen.lock().unwrap().ids.len() as u64 == READINGS).await;
        let queue = gateway.queue.status();
        assert_eq!((queue.accepted, queue.delivered, queue.dropped.total()), (READINGS, READINGS, 0));
        let seen = seen.lock().unwrap();
        let duplicates = seen.readings.len() as u64 - READINGS;
        assert!(duplicates <= gateway.status.lock().duplicates_possible, "{duplicates}");
        let mut first = std::collections::HashSet::new();
        let deduped: Vec<_> = seen.readings.iter().copied().filter(|seq| first.insert(*seq)).collect();
        assert_eq!(deduped, (0..READINGS).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn the_gateways_status_is_true_at_the_start_after_a_crash_and_at_the_end() {
    let mosquitto = Mosquitto::start().await;
    let seen = subscribe(mosquitto.address).await;
    let word = || seen.lock().unwrap().words.get("serialgate/pi/status").cloned();
    let gateway = Gateway::start(mosquitto.address, None);
    gateway.bulletin.post(Subject::Gateway, "online");
    gateway.until("online", || word().as_deref() == Some("online")).await;
    gateway.task.abort();
    gateway.until("offline by the will", || word().as_deref() == Some("offline")).await;

    let gateway = Gateway::start(mosquitto.address, None);
    gateway.bulletin.post(Subject::Gateway, "online");
    gateway.until("online", || word().as_deref() == Some("online")).await;
    gateway.stop.send(()).unwrap();
    gateway.task.await.unwrap();
    let offline = async {
        while word().as_deref() != Some("offline") {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, offline).await.expect("offline by the goodbye");
}

/// Readings that wait while the broker is away.
const BACKLOG: u64 = 3000;
/// Readings a second that may be sent.
const RATE: u64 = 200;
/// Readings that come while the backlog is sent, and how often.
const LIVE: u64 = 240;
const LIVE_EACH: Duration = Duration::from_millis(50);

#[tokio::test]
async fn a_rate_holds_over_any_10_seconds_and_live_readings_overtake_the_backlog() {
    let address = free_address();
    let gateway = Gateway::with(address, |config| {
        config.rate.messages = Some(u32::try_from(RATE).unwrap());
        config.order = config::Order::LiveFirst;
    });
    (0..BACKLOG).for_each(|seq| gateway.push(seq));
    gateway.until("on disk", || gateway.queue.status().volatile == 0).await;
    let mosquitto = Mosquitto::start_at(address).await;
    let seen = subscribe(mosquitto.address).await;
    gateway.until("flowing", || gateway.status.lock().delivered > 0).await;
    let mut pushed = Vec::new();
    for seq in BACKLOG..BACKLOG + LIVE {
        pushed.push(Instant::now());
        gateway.push(seq);
        sleep(LIVE_EACH).await;
    }
    gateway.until("delivered", || gateway.queue.status().readings == 0).await;
    gateway.until("seen", || seen.lock().unwrap().ids.len() as u64 == BACKLOG + LIVE).await;
    let seen = seen.lock().unwrap();
    let waits = seen.readings.iter().zip(&seen.times).filter_map(|(seq, at)| {
        let live = usize::try_from(seq.checked_sub(BACKLOG)?).unwrap();
        Some(at.duration_since(pushed[live]))
    });
    let mut waits: Vec<_> = waits.collect();
    waits.sort();
    let p99 = waits[waits.len() * 99 / 100];
    let took = seen.times.last().unwrap().duration_since(seen.times[0]);
    let window = Duration::from_secs(10);
    let in_window =
        |from: &Instant| seen.times.iter().filter(|at| *at >= from && **at <= *from + window).count();
    let most = seen.times.iter().map(in_window).max().unwrap() as u64;
    println!("{:?} for {} readings, at most {most} in 10 s, p99 of live ones {p99:?}", took, BACKLOG + LIVE);
    assert!(most <= RATE * 11, "{most} in 10 s");
    assert!(took <= Duration::from_secs((BACKLOG + LIVE) / RATE) * 11 / 10, "{took:?}");
    assert!(p99 < Duration::from_secs(1), "{p99:?}");
}

/// Sends 1000 readings to a mosquitto with a configuration of `more`; gives how many bytes it took.
async fn bytes_for_1000(more: &str, change: impl FnOnce(&mut config::Bridge)) -> usize {
    let mosquitto = Mosquitto::start_with(free_address(), more).await;
    let seen = subscribe(mosquitto.address).await;
    let (address, count) = counting_proxy(mosquitto.address).await;
    let gateway = Gateway::with(address, change);
    (0..1000).for_each(|seq| gateway.push(seq));
    gateway.until("delivered", || gateway.queue.status().readings == 0).await;
    gateway.until("seen", || seen.lock().unwrap().ids.len() == 1000).await;
    assert_eq!(seen.lock().unwrap().readings, (0..1000).collect::<Vec<_>>());
    count.load(Ordering::Relaxed)
}

#[tokio::test]
async fn topic_aliases_spare_the_topic() {
    let without = bytes_for_1000("max_topic_alias 0", |_| {}).await;
    let with = bytes_for_1000("", |_| {}).await;
    let spared = without - with;
    println!("1000 readings: {without} bytes without topic aliases, {with} with; {spared} spared");
    // "serialgate/pi/shed/data" has 23 bytes, and its number needs 3.
    assert!((19_000..=21_000).contains(&spared), "{spared}");
}

#[tokio::test]
async fn batches_spare_most_of_the_bytes() {
    let batch = |max, compress| {
        move |config: &mut config::Bridge| {
            config.batch = Some(config::Batch { max, compress, ..config::Batch::default() });
        }
    };
    let alone = bytes_for_1000("", |_| {}).await;
    let mut sizes = Vec::new();
    for (name, compress) in [
        ("plain", None),
        ("gzip", Some(config::Compression::Gzip)),
        ("zstd", Some(config::Compression::Zstd)),
    ] {
        let bytes = bytes_for_1000("", batch(100, compress)).await;
        println!("1000 readings: {alone} bytes alone, {bytes} in batches of 100, {name}");
        sizes.push(bytes);
    }
    let old = Some(Version::V3);
    let gzip = batch(100, Some(config::Compression::Gzip));
    let v3 = bytes_for_1000("", |config| (gzip(config), config.protocol = old).1).await;
    println!("1000 readings: {v3} bytes in batches of 100, gzip, MQTT 3.1.1");
    assert!(sizes[0] < alone && sizes[1] < alone / 5 && sizes[2] < alone / 5 && v3 < alone / 5);
}
