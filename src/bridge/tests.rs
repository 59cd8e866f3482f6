//! The bridge against brokers that a test plays packet by packet.

mod batch;
mod ending;
mod expiry;
mod pace;
mod receiving;
mod refusals;
mod renewal;

use std::sync::Mutex;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::flow::Passed;
use crate::mqtt::codec::Codec;
use crate::mqtt::packet::{
    Ack, ConnAck, Connect, Disconnect, Packet, PacketId, Publish, Qos, Reason, Version,
};
use crate::pulse::Roll;
use crate::reading::{Reading, Value};
use crate::status::BridgeState;
use crate::topic::{Route, Routes};

/// Longest wait for anything that must happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// So many readings and messages fit into the queue of a bridge that receives.
const ROOM: u64 = 10;

/// A bridge with a queue of its own, and the port where its broker is to listen.
struct Rig {
    queue: Queue,
    bulletin: Bulletin,
    status: Cell<status::Bridge>,
    listener: TcpListener,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
    next_seq: Mutex<u64>,
    folder: tempfile::TempDir,
}

impl Rig {
    async fn start() -> Self {
        Self::with(TcpListener::bind("127.0.0.1:0").await.unwrap(), |_| {})
    }

    fn with(listener: TcpListener, change: impl FnOnce(&mut config::Bridge)) -> Self {
        Self::on(tempfile::tempdir().unwrap(), listener, change)
    }

    /// On the queue that lies in `folder`.
    fn on(
        folder: tempfile::TempDir,
        listener: TcpListener,
        change: impl FnOnce(&mut config::Bridge),
    ) -> Self {
        Self::with_local(folder, listener, LocalPublish::new(|_| Some(Passed::default())), change)
    }

    /// With somebody to take what comes from the cloud.
    fn with_local(
        folder: tempfile::TempDir,
        listener: TcpListener,
        local: LocalPublish,
        change: impl FnOnce(&mut config::Bridge),
    ) -> Self {
        let mut config = config::Bridge {
            name: "cloud".into(),
            endpoint: config::Endpoint::tcp(listener.local_addr().unwrap()),
            ..config::Bridge::default()
        };
        change(&mut config);
        let topics = Topics::new("serialgate", "pi");
        let path = folder.path().join("queue.db");
        let mut file = config::Queue { path, ..config::Config::default().queue };
        let mut consumers = vec![consumer(&config)];
        if !config.receive.is_empty() {
            // A neighbour that nobody serves: what it wants stays in the queue.
            let forward = Forward::Routes(Routes::plain(["x"]).unwrap());
            consumers.push(Consumer { name: "neighbour".into(), forward, order: Order::Oldest });
            file.when_full = config::WhenFull::DropNewest;
            file.max_readings = Some(ROOM);
        }
        let queue = Queue::open(&file, topics.clone(), consumers).unwrap();
        let (bulletin, status) = (Bulletin::default(), Cell::default());
        let handles = Handles {
            outlet: queue.outlet(0),
            queue: queue.clone(),
            bulletin: bulletin.clone(),
            local,
            topics,
            status: status.clone(),
            pulse: Arc::new(Roll::default().enter("bridge")),
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let bridge = Bridge::new(config, "pi", handles);
        let task = tokio::spawn(bridge.run(async move {
            let _ = stopped.await;
        }));
        let stop = Some(stop);
        Self { queue, bulletin, status, listener, stop, task, next_seq: Mutex::new(0), folder }
    }

    /// Pushes `n` readings, numbered on, each with a text of `bytes`.
    fn push(&self, n: u64, bytes: usize) {
        self.push_of("shed", n, bytes);
    }

    /// The same of a device of one's own choice: a topic of its own.
    fn push_of(&self, device: &str, n: u64, bytes: usize) {
        let mut next = self.next_seq.lock().unwrap();
        for seq in *next..*next + n {
            let values = vec![("text".into(), Value::Text("x".repeat(bytes).into()))];
            let (id, at) = (self.queue.name(), self.queue.clock().now());
            self.queue.push(Body::Reading(Reading { device: device.into(), id, seq, at, values }));
        }
        *next += n;
    }

    /// The next connection, with its CONNECT read.
    async fn accept(&self) -> (Broker, Connect) {
        let (stream, _) = timeout(PATIENCE, self.listener.accept()).await.expect("connects").unwrap();
        let mut broker = Broker { stream, codec: Codec::server(1 << 24), input: BytesMut::new() };
        match broker.next().await {
            Some(Packet::Connect(connect)) => (broker, *connect),
            other => panic!("no CONNECT: {other:?}"),
        }
    }

    /// The next connection, accepted with `answer`.
    async fn open(&self, answer: ConnAck) -> Broker {
        let (mut broker, _) = self.accept().await;
        broker.say(Packet::ConnAck(Box::new(answer))).await;
        broker
    }

    async fn until(&self, what: &str, holds: impl Fn(&status::Bridge, &status::Queue) -> bool) {
        let waiting = async {
            while !holds(&self.status.lock(), &self.queue.status()) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        if timeout(PATIENCE, waiting).await.is_err() {
            panic!("never {what}: {:?} {:?}", self.status.lock(), self.queue.status());
        }
    }

    async fn until_empty(&self) {
        self.until("empty", |_, queue| queue.readings == 0).await;
        let queue = self.queue.status();
        assert_eq!((queue.accepted, queue.dropped.total()), (queue.delivered, 0));
    }

    async fn stop(&mut self) {
        drop(self.stop.take());
        timeout(PATIENCE, &mut self.task).await.expect("ends").unwrap();
    }
}

fn accepted() -> ConnAck {
    ConnAck::new(Reason::SUCCESS, false)
}

/// One connection, seen from the broker.
struct Broker {
    stream: TcpStream,
    codec: Codec,
    input: BytesMut,
}

impl Broker {
    /// The next packet; `None` when the bridge has closed.
    async fn next(&mut self) -> Option<Packet> {
        loop {
            if let Some(packet) = self.codec.decode(&mut self.input).unwrap() {
                return Some(packet);
            }
            let read =
                timeout(PATIENCE, self.stream.read_buf(&mut self.input)).await.expect("says something");
            if read.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// The next message.
    async fn publish(&mut self) -> Publish {
        loop {
            match self.next().await {
                Some(Packet::Publish(publish)) => return *publish,
                Some(Packet::PingReq) => self.say(Packet::PingResp).await,
                other => panic!("{other:?}"),
            }
        }
    }

    /// The next reading; everything else is acknowledged on the way.
    async fn reading(&mut self) -> (PacketId, u64) {
        loop {
            let publish = self.publish().await;
            let id = publish.id.unwrap();
            if let Some(seq) = seq(&publish) {
                return (id, seq);
            }
            self.ack(id, Reason::SUCCESS).await;
        }
    }

    async fn say(&mut self, packet: Packet) {
        let mut output = BytesMut::new();
        self.codec.encode(&packet, &mut output).unwrap();
        // A bridge that has gone hears nothing.
        let _ = self.stream.write_all(&output).await;
    }

    async fn ack(&mut self, id: PacketId, reason: Reason) {
        self.say(Packet::PubAck(Ack { id, reason })).await;
    }

    /// Acknowledges the next message, which is an event.
    async fn ack_event(&mut self) {
        let publish = self.publish().await;
        assert_eq!(&*publish.topic, "serialgate/pi/event");
        self.ack(publish.id.unwrap(), Reason::SUCCESS).await;
    }

    /// Acknowledges everything until reading number `last`; gives the readings.
    async fn ack_through(&mut self, last: u64) -> Vec<u64> {
        let mut seen = Vec::new();
        while seen.last() != Some(&last) {
            let (id, seq) = self.reading().await;
            self.ack(id, Reason::SUCCESS).await;
            seen.push(seq);
        }
        seen
    }
}

fn seq(publish: &Publish) -> Option<u64> {
    let json: serde_json::Value = serde_json::from_slice(&publish.payload).ok()?;
    publish.topic.ends_with("/data").then(|| json["seq"].as_u64().unwrap())
}

// === The plain way ===

#[tokio::test]
async fn the_first_packet_is_as_the_design_says() {
    let mut secret = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut secret, b"hunter2\n").unwrap();
    let rig = Rig::with(TcpListener::bind("127.0.0.1:0").await.unwrap(), |config| {
        config.username = Some("greenhouse".into());
        config.password = Some(config::Password::Plain(config::Secret::File(secret.path().into())));
    });
    let (_broker, connect) = rig.accept().await;
    assert_eq!((connect.version, connect.clean_start, connect.keep_alive_s), (Version::V5, true, 30));
    assert_eq!(&*connect.client_id, "serialgate-pi-cloud");
    assert_eq!(connect.username.as_deref(), Some("greenhouse"));
    assert_eq!(connect.password, Some(Bytes::from("hunter2")));
    let will = connect.will.unwrap().message;
    assert_eq!((&*will.topic, &will.payload[..]), ("serialgate/pi/status", &b"offline"[..]));
    assert_eq!((will.qos, will.retain), (Qos::AtLeastOnce, true));
}

#[tokio::test]
async fn readings_arrive_in_order_and_leave_the_queue_at_their_puback() {
    let rig = Rig::start().await;
    rig.push(1000, 10);
    let mut broker = rig.open(accepted()).await;
    let (id, first) = broker.reading().await;
    assert_eq!((first, rig.queue.status().delivered), (0, 0));
    broker.ack(id, Reason::SUCCESS).await;
    assert_eq!(broker.ack_through(999).await, (1..1000).collect::<Vec<_>>());
    broker.ack_event().await;
    rig.until_empty().await;
    rig.until("told", |bridge, _| bridge.in_flight == 0 && bridge.backlog == 0).await;
    let status = rig.status.lock().clone();
    assert_eq!((status.name.as_str(), status.state), ("cloud", BridgeState::Connected));
    assert_eq!((status.delivered, status.duplicates_possible, status.refused), (1000, 0, 0));
}

#[tokio::test]
async fn live_readings_carry_their_id_and_come_at_once() {
    let rig = Rig::start().await;
    let mut broker = rig.open(accepted()).await;
    broker.publish().await;
    rig.push(1, 1);
    let publish = broker.publish().await;
    assert_eq!(&*publish.topic, "serialgate/pi/shed/data");
    let json: serde_json::Value = serde_json::from_slice(&publish.payload).unwrap();
    assert_eq!(publish.properties.user, [("id".into(), json["id"].as_str().unwrap().into())]);
    assert_eq!(json.get("late"), None);
}

#[tokio::test]
async fn the_connection_itself_is_an_event() {
    let rig = Rig::start().await;
    let mut broker = rig.open(accepted()).await;
    let publish = broker.publish().await;
    assert_eq!(&*publish.topic, "serialgate/pi/event");
    let json: serde_json::Value = serde_json::from_slice(&publish.payload).unwrap();
    assert_eq!(
        (&json["event"], &json["name"], &json["state"]),
        (&"bridge".into(), &"cloud".into(), &"connected".into())
    );
    drop(broker);
    let mut broker = rig.open(accepted()).await;
    let mut states = Vec::new();
    while states.len() < 3 {
        let publish = broker.publish().await;
        let json: serde_json::Value = serde_json::from_slice(&publish.payload).unwrap();
        states.push(json["state"].as_str().unwrap().to_owned());
        broker.ack(publish.id.unwrap(), Reason::SUCCESS).await;
    }
    assert_eq!(states, ["connected", "disconnected", "connected"]);
}

#[tokio::test]
async fn retained_words_come_after_each_connect_and_when_they_change() {
    let rig = Rig::start().await;
    rig.bulletin.post(Subject::Gateway, "online");
    rig.bulletin.post(Subject::Meta("shed".into()), "{}");
    rig.bulletin.post(Subject::State("shed".into()), "{}");
    for _ in 0..2 {
        let mut broker = rig.open(accepted()).await;
        let mut words = Vec::new();
        while words.len() < 2 {
            let publish = broker.publish().await;
            broker.ack(publish.id.unwrap(), Reason::SUCCESS).await;
            if publish.retain {
                words.push(publish.topic.to_string());
            }
        }
        assert_eq!(words, ["serialgate/pi/status", "serialgate/pi/shed/meta"]);
        rig.bulletin.post(Subject::Status("shed".into()), "online");
        rig.bulletin.post(Subject::Status("shed".into()), "");
        loop {
            let publish = broker.publish().await;
            broker.ack(publish.id.unwrap(), Reason::SUCCESS).await;
            if &*publish.topic == "serialgate/pi/shed/status" && publish.payload.is_empty() {
                break;
            }
        }
        rig.bulletin.post(Subject::Status("shed".into()), "");
    }
}

#[tokio::test]
async fn filters_choose_what_is_forwarded() {
    let rig = Rig::with(TcpListener::bind("127.0.0.1:0").await.unwrap(), |config| {
        config.forward = Some(Routes::plain(["serialgate/+/+/state", "sensors/#"]).unwrap());
    });
    rig.push(1, 1);
    rig.bulletin.post(Subject::Gateway, "online");
    rig.bulletin.post(Subject::Meta("shed".into()), "{}");
    rig.bulletin.post(Subject::State("shed".into()), "{}");
    rig.queue.push(Body::Message(crate::reading::Message {
        topic: "sensors/a".into(),
        payload: Bytes::from("1"),
        qos: 0,
        retain: true,
        properties: crate::reading::Properties::default(),
        expiry: None,
    }));
    let mut broker = rig.open(accepted()).await;
    let mut topics = Vec::new();
    for _ in 0..3 {
        let publish = broker.publish().await;
        topics.push((publish.topic.to_string(), publish.qos, publish.retain));
    }
    let at_least_once = |topic: &str| (topic.to_owned(), Qos::AtLeastOnce, true);
    assert_eq!(topics, ["serialgate/pi/status", "serialgate/pi/shed/state", "sensors/a"].map(at_least_once));
}

#[tokio::test]
async fn everything_goes_out_under_the_names_and_with_the_qos_of_its_route() {
    let route = |filter: &str, strip: &str, prefix: &str, qos| {
        Route::plain(filter).unwrap().renamed(strip, prefix).unwrap().with_qos(qos)
    };
    let routes = [
        route("serialgate/+/+/data", "serialgate/", "lake/", Qos::AtMostOnce),
        route("serialgate/+/+/meta", "", "lake/", Qos::ExactlyOnce),
        route("serialgate/pi/status", "serialgate/pi/", "gateways/pi-", Qos::AtLeastOnce),
    ];
    let mut rig = Rig::with(TcpListener::bind("127.0.0.1:0").await.unwrap(), |config| {
        config.forward = Some(routes.into_iter().collect());
    });
    rig.push(1, 1);
    rig.bulletin.post(Subject::Gateway, "online");
    rig.bulletin.post(Subject::Meta("shed".into()), "{}");
    let (mut broker, connect) = rig.accept().await;
    assert_eq!(&*connect.will.unwrap().message.topic, "gateways/pi-status");
    broker.say(Packet::ConnAck(Box::new(accepted()))).await;
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let publish = broker.publish().await;
        if let Some(id) = publish.id {
            broker.ack(id, Reason::SUCCESS).await;
        }
        seen.push((publish.topic.to_string(), publish.qos));
    }
    let expected = [
        ("gateways/pi-status", Qos::AtLeastOnce),
        // Of a retained word only the newest counts: QoS 2 would add nothing.
        ("lake/serialgate/pi/shed/meta", Qos::AtLeastOnce),
        ("lake/pi/shed/data", Qos::AtMostOnce),
    ];
    assert_eq!(seen, expected.map(|(topic, qos)| (topic.to_owned(), qos)));
    rig.until_empty().await;
    drop(rig.stop.take());
    let goodbye = broker.publish().await;
    assert_eq!((&*goodbye.topic, &goodbye.payload[..]), ("gateways/pi-status", &b"offline"[..]));
    rig.stop().await;
}

// === Connections that break ===

#[tokio::test]
async fn what_was_not_acknowledged_comes_again_after_a_cut() {
    let rig = Rig::start().await;
    rig.push(30, 10);
    let mut broker = rig.open(ConnAck { receive_maximum: 10, ..accepted() }).await;
    for expected in 0..3 {
        let (id, seq) = broker.reading().await;
        assert_eq!(seq, expected);
        broker.ack(id, Reason::SUCCESS).await;
    }
    while broker.reading().await.1 < 9 {}
    rig.until("acknowledged", |bridge, _| bridge.delivered == 3).await;
    drop(broker);
    let mut broker = rig.open(accepted()).await;
    assert_eq!(broker.ack_through(29).await, (3..30).collect::<Vec<_>>());
    rig.until_empty().await;
    let duplicates = rig.status.lock().duplicates_possible;
    assert!((7..=10).contains(&duplicates), "{duplicates}");
}

#[tokio::test]
async fn acknowledgements_out_of_order_are_kept_over_a_cut() {
    let rig = Rig::start().await;
    rig.push(5, 10);
    let mut broker = rig.open(accepted()).await;
    let mut ids = Vec::new();
    while ids.len() < 5 {
        ids.push(broker.reading().await.0);
    }
    broker.ack(ids[4], Reason::SUCCESS).await;
    broker.ack(ids[1], Reason::SUCCESS).await;
    rig.until("acknowledged", |bridge, _| bridge.delivered == 2).await;
    drop(broker);
    let mut broker = rig.open(accepted()).await;
    assert_eq!(broker.ack_through(3).await, [0, 2, 3]);
    rig.until_empty().await;
}

#[tokio::test]
async fn flow_is_back_soon_after_the_broker_is() {
    let mut rig = Rig::start().await;
    drop(rig.open(accepted()).await);
    let address = rig.listener.local_addr().unwrap();
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    drop(std::mem::replace(&mut rig.listener, elsewhere));
    rig.push(10, 10);
    let refused = |bridge: &status::Bridge| bridge.last_error.as_ref().is_some_and(|e| e.contains("refused"));
    rig.until("refused", |bridge, _| bridge.state == BridgeState::Backoff && refused(bridge)).await;
    rig.listener = TcpListener::bind(address).await.unwrap();
    let back = Instant::now();
    let mut broker = rig.open(accepted()).await;
    broker.reading().await;
    // 1.5 s is the promise; the rest is for a busy machine that runs many tests at a time.
    assert!(back.elapsed() < Duration::from_secs(2), "{:?}", back.elapsed());
    assert_eq!(rig.status.lock().state, BridgeState::Connected);
}

#[tokio::test]
async fn nonsense_from_the_broker_costs_the_connection_and_nothing_else() {
    let rig = Rig::start().await;
    rig.push(5, 10);
    for nonsense in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], &[0xFF; 100], &[0x20, 0xFF, 0xFF, 0xFF, 0x7F]]
    {
        let (mut broker, _) = rig.accept().await;
        broker.stream.write_all(nonsense).await.unwrap();
        assert_eq!(broker.next().await, None);
    }
    let mut broker = rig.open(accepted()).await;
    broker.reading().await;
    broker.stream.write_all(&[0x40, 0x02, 0x00, 0x00]).await.unwrap();
    while broker.next().await.is_some() {}
    let mut broker = rig.open(accepted()).await;
    assert_eq!(broker.ack_through(4).await, [0, 1, 2, 3, 4]);
    rig.until_empty().await;
}

#[tokio::test]
async fn a_broker_that_never_answers_is_tried_again() {
    let rig = Rig::start().await;
    rig.push(1, 10);
    let (silent, _) = rig.accept().await;
    let mut broker = rig.open(accepted()).await;
    assert_eq!(broker.ack_through(0).await, [0]);
    rig.until("told", |bridge, _| bridge.last_error.as_ref().is_some_and(|e| e.contains("did not answer")))
        .await;
    drop(silent);
}

#[tokio::test]
async fn an_event_is_told_once_per_transition_and_not_per_attempt() {
    let rig = Rig::start().await;
    drop(rig.open(accepted()).await);
    for _ in 0..3 {
        drop(rig.accept().await);
    }
    let mut broker = rig.open(accepted()).await;
    rig.until("connected", |bridge, _| bridge.state == BridgeState::Connected).await;
    rig.push(1, 1);
    let mut states = Vec::new();
    loop {
        let publish = broker.publish().await;
        broker.ack(publish.id.unwrap(), Reason::SUCCESS).await;
        if seq(&publish).is_some() {
            break;
        }
        let json: serde_json::Value = serde_json::from_slice(&publish.payload).unwrap();
        states.push(json["state"].as_str().unwrap().to_owned());
    }
    assert_eq!(states, ["connected", "disconnected", "connected"]);
}

// === Versions ===

#[tokio::test]
async fn version_3_1_1_is_spoken_where_5_is_refused() {
    type Refusal = fn(Broker) -> std::pin::Pin<Box<dyn Future<Output = ()>>>;
    let refusals: [(Refusal, usize); 3] = [
        (|mut broker| Box::pin(async move { broker.stream.write_all(&[0x20, 2, 0, 1]).await.unwrap() }), 1),
        (
            |mut broker| {
                let answer = ConnAck::new(Reason::UNSUPPORTED_VERSION, false);
                Box::pin(async move { broker.say(Packet::ConnAck(Box::new(answer))).await })
            },
            1,
        ),
        (|broker| Box::pin(async move { drop(broker) }), 2),
    ];
    for (refuse, times) in refusals {
        let rig = Rig::start().await;
        rig.push(5, 10);
        for _ in 0..times {
            let (broker, connect) = rig.accept().await;
            assert_eq!(connect.version, Version::V5);
            refuse(broker).await;
        }
        let (mut broker, connect) = rig.accept().await;
        assert_eq!(connect.version, Version::V3);
        broker.say(Packet::ConnAck(Box::new(accepted()))).await;
        let (_, first) = broker.reading().await;
        assert_eq!(first, 0);
        drop(broker);
        let (mut broker, connect) = rig.accept().await;
        assert_eq!(connect.version, Version::V3, "what worked is kept");
        broker.say(Packet::ConnAck(Box::new(accepted()))).await;
        assert_eq!(broker.ack_through(4).await, [0, 1, 2, 3, 4]);
        rig.until_empty().await;
    }
}

#[tokio::test]
async fn a_receive_maximum_of_one_is_kept_to() {
    let rig = Rig::start().await;
    rig.push(50, 10);
    let mut broker = rig.open(ConnAck { receive_maximum: 1, ..accepted() }).await;
    let mut seen = 0;
    while seen < 50 {
        let (id, seq) = broker.reading().await;
        assert_eq!(seq, seen);
        assert_eq!(broker.codec.decode(&mut broker.input).unwrap(), None, "a second one before the answer");
        broker.ack(id, Reason::SUCCESS).await;
        seen += 1;
    }
    rig.until_empty().await;
}
