//! A bridge and a broker that we did not write: Debian's mosquitto, on free ports.

use std::collections::HashMap;
use std::io::Read as _;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{AsyncClient, Event, MqttOptions};
use serialgate::bridge::{Bridge, Handles, consumer};
use serialgate::config;
use serialgate::flow::{Bulletin, LocalPublish, Passed};
use serialgate::pulse::Roll;
use serialgate::queue::Queue;
use serialgate::reading::{Body, Reading, Value};
use serialgate::status::{self, BridgeState, Cell};
use serialgate::topic::Topics;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio::time::{sleep, timeout};

/// Longest wait for anything that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A mosquitto with open ports on loopback; dies with its handle.
pub(crate) struct Mosquitto {
    child: Child,
    /// A listener without TLS.
    pub(crate) address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Mosquitto {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With further listeners, each with its options, a line each.
    pub(crate) async fn start_with(listeners: &[(SocketAddr, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = free_address();
        let all: Vec<_> = [(address, "")].into_iter().chain(listeners.iter().copied()).collect();
        let mut config = String::from("allow_anonymous true\nmax_queued_messages 0\nset_tcp_nodelay true\n");
        for (address, options) in &all {
            config.push_str(&format!("listener {} 127.0.0.1\n{options}\n", address.port()));
        }
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
            for (address, _) in all {
                while TcpStream::connect(address).await.is_err() {
                    sleep(Duration::from_millis(5)).await;
                }
            }
        };
        timeout(PATIENCE, ready).await.expect("mosquitto listens");
        Self { child, address, _folder: folder }
    }
}

/// An address on loopback where nobody listens.
pub(crate) fn free_address() -> SocketAddr {
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
pub(crate) struct Seen {
    /// Numbers of readings, in the order in which they came.
    pub(crate) readings: Vec<u64>,
    /// And when each came.
    pub(crate) times: Vec<Instant>,
    /// Ids by number; one that differs between two copies is a bug.
    pub(crate) ids: HashMap<u64, String>,
    /// Newest payload of every other topic.
    pub(crate) words: HashMap<String, String>,
}

/// Subscribes to everything; gives what comes.
pub(crate) async fn subscribe(broker: SocketAddr) -> Arc<Mutex<Seen>> {
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

/// Passes connections on to `to`, and can cut them. Gives where it listens.
pub(crate) async fn cuttable(to: SocketAddr) -> (SocketAddr, Arc<Notify>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let cut = Arc::new(Notify::new());
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

/// A gateway's durable half: queue and bridge.
pub(crate) struct Gateway {
    pub(crate) queue: Queue,
    pub(crate) bulletin: Bulletin,
    pub(crate) status: Cell<status::Bridge>,
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) task: tokio::task::JoinHandle<()>,
    _folder: tempfile::TempDir,
}

/// The bridge `cloud`, to `endpoint`.
pub(crate) fn bridge_to(endpoint: config::Endpoint) -> config::Bridge {
    config::Bridge { name: "cloud".into(), endpoint, ..config::Bridge::default() }
}

impl Gateway {
    pub(crate) fn start(config: config::Bridge) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let topics = Topics::new("serialgate", "pi");
        let file = config::Queue { path: folder.path().join("queue.db"), ..config::Config::default().queue };
        let queue = Queue::open(&file, topics.clone(), vec![consumer(&config)]).unwrap();
        let (bulletin, status) = (Bulletin::default(), Cell::default());
        let handles = Handles {
            outlet: queue.outlet(0),
            queue: queue.clone(),
            bulletin: bulletin.clone(),
            local: LocalPublish::new(|_| Some(Passed::default())),
            topics,
            status: status.clone(),
            pulse: Arc::new(Roll::default().enter("bridge")),
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let bridge = Bridge::new(config, "pi", handles);
        let task = tokio::spawn(bridge.run(async move {
            let _ = stopped.await;
        }));
        Self { queue, bulletin, status, stop, task, _folder: folder }
    }

    pub(crate) fn push(&self, seq: u64) {
        let decimal = |mantissa, exponent| Value::Decimal { mantissa, exponent };
        let noise = |range| i64::try_from(seq * 7919 % range).unwrap();
        let values = vec![
            ("temp".into(), decimal(2345 + noise(61), -2)),
            ("hum".into(), decimal(412 + noise(29), -1)),
        ];
        let (id, at) = (self.queue.name(), self.queue.clock().now());
        self.queue.push(Body::Reading(Reading { device: "shed".into(), id, seq, at, values }));
    }

    pub(crate) async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let waiting = async {
            while !holds() {
                sleep(Duration::from_millis(1)).await;
            }
        };
        if timeout(PATIENCE, waiting).await.is_err() {
            panic!("never {what}: {:?} {:?}", self.status.lock(), self.queue.status());
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.status.lock().state == BridgeState::Connected
    }
}

/// Pushes `cuts` times `per_cut` readings through `gateway`, and cuts its link in the middle of each
/// batch; all of them are in the broker afterwards, in order and with one id each.
pub(crate) async fn survives_cuts(
    gateway: &Gateway,
    seen: &Mutex<Seen>,
    cut: &Notify,
    cuts: u64,
    per_cut: u64,
) {
    let all = cuts * per_cut;
    for round in 0..cuts {
        gateway.until("connected", || gateway.is_connected()).await;
        let delivered = gateway.status.lock().delivered;
        (0..per_cut).for_each(|n| gateway.push(round * per_cut + n));
        gateway.until("flowing", || gateway.status.lock().delivered > delivered + per_cut / 10).await;
        cut.notify_waiters();
        gateway.until("cut", || !gateway.is_connected()).await;
    }
    gateway.until("delivered", || gateway.queue.status().readings == 0).await;
    gateway.until("seen", || seen.lock().unwrap().ids.len() as u64 == all).await;
    let queue = gateway.queue.status();
    assert_eq!((queue.accepted, queue.delivered, queue.dropped.total()), (all, all, 0));
    let seen = seen.lock().unwrap();
    let duplicates = seen.readings.len() as u64 - all;
    assert!(duplicates <= gateway.status.lock().duplicates_possible, "{duplicates}");
    let mut first = std::collections::HashSet::new();
    let deduped: Vec<_> = seen.readings.iter().copied().filter(|seq| first.insert(*seq)).collect();
    assert_eq!(deduped, (0..all).collect::<Vec<_>>());
}
