//! What the cloud sends, against a broker that the test plays.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::mqtt::packet::Subscribe;
use crate::topic::VIA;

/// A bridge that receives, and what it gave to the local broker.
struct Down {
    rig: Rig,
    arrived: Arc<Mutex<Vec<Publish>>>,
    /// How many local clients there are.
    clients: Arc<AtomicUsize>,
}

impl Down {
    /// `receive` are filter, strip, prefix and QoS of each entry.
    async fn start(receive: &[(&str, &str, &str, Qos)], change: impl FnOnce(&mut config::Bridge)) -> Self {
        let route = |(filter, strip, prefix, qos): &(&str, &str, &str, Qos)| {
            Route::plain(filter).unwrap().renamed(strip, prefix).unwrap().with_qos(*qos)
        };
        let receive = receive.iter().map(route).collect();
        let arrived = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&arrived);
        let clients = Arc::new(AtomicUsize::new(1));
        let reached = Arc::clone(&clients);
        let local = LocalPublish::new(move |publish| {
            let reached = reached.load(Ordering::Relaxed);
            if reached > 0 {
                into.lock().unwrap().push(publish);
            }
            Some(Passed { reached, kept: None })
        });
        let change = |config: &mut config::Bridge| {
            config.receive = receive;
            change(config);
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { rig: Rig::with_local(tempfile::tempdir().unwrap(), listener, local, change), arrived, clients }
    }

    /// The next connection, accepted with `answer` and with all subscriptions granted.
    async fn open(&self, answer: ConnAck) -> Broker {
        let mut broker = self.rig.open(answer).await;
        let subscribe = broker.subscribe().await;
        let granted = subscribe.filters.iter().map(|filter| Reason(filter.qos as u8)).collect();
        broker.say(Packet::SubAck(subscribe.id, granted)).await;
        broker
    }

    fn topics(&self) -> Vec<String> {
        self.arrived.lock().unwrap().iter().map(|publish| publish.topic.to_string()).collect()
    }

    async fn until_arrived(&self, count: usize) {
        self.rig.until("arrived", |_, _| self.arrived.lock().unwrap().len() == count).await;
    }
}

impl Broker {
    /// The next packet that is no message; messages are acknowledged on the way.
    async fn answer(&mut self) -> Packet {
        loop {
            match self.next().await.expect("a connection") {
                Packet::Publish(publish) => match (publish.qos, publish.id) {
                    (Qos::AtLeastOnce, Some(id)) => self.ack(id, Reason::SUCCESS).await,
                    (Qos::ExactlyOnce, Some(id)) => self.say(Packet::PubRec(Ack::ok(id))).await,
                    _ => {}
                },
                Packet::PubRel(Ack { id, .. }) => self.say(Packet::PubComp(Ack::ok(id))).await,
                Packet::PingReq => self.say(Packet::PingResp).await,
                other => return other,
            }
        }
    }

    /// The next message of a LAN client; events are acknowledged on the way.
    async fn message(&mut self) -> Publish {
        loop {
            let publish = self.publish().await;
            self.ack(publish.id.unwrap(), Reason::SUCCESS).await;
            if !publish.topic.starts_with("serialgate/") {
                return publish;
            }
        }
    }

    /// The next packet, which is not the message of a LAN client.
    async fn answer_only(&mut self) -> Packet {
        loop {
            match self.next().await.expect("a connection") {
                Packet::Publish(publish) if publish.topic.starts_with("serialgate/") => {
                    self.ack(publish.id.unwrap(), Reason::SUCCESS).await;
                }
                other => return other,
            }
        }
    }

    async fn subscribe(&mut self) -> Subscribe {
        match self.answer().await {
            Packet::Subscribe(subscribe) => subscribe,
            other => panic!("{other:?}"),
        }
    }

    async fn send(&mut self, id: u16, topic: &str, payload: &str, qos: Qos) {
        self.say(Packet::Publish(Box::new(message(id, topic, payload, qos)))).await;
    }
}

fn message(id: u16, topic: &str, payload: &str, qos: Qos) -> Publish {
    Publish { id: PacketId::new(id), ..Publish::new(topic, payload.to_owned(), qos, false) }
}

fn ok(id: u16) -> Ack {
    Ack::ok(PacketId::new(id).unwrap())
}

fn present() -> ConnAck {
    ConnAck::new(Reason::SUCCESS, true)
}

#[tokio::test]
async fn a_command_reaches_the_local_broker_and_is_acknowledged() {
    let receive =
        [("cmd/#", "cmd/", "serialgate/pi/", Qos::ExactlyOnce), ("lamps/+", "", "", Qos::AtMostOnce)];
    let down = Down::start(&receive, |_| {}).await;
    let (mut broker, connect) = down.rig.accept().await;
    assert_eq!((connect.clean_start, connect.session_expiry_s), (false, 24 * 60 * 60));
    assert_eq!((connect.receive_maximum, connect.maximum_packet_size), (100, Some(1024 * 1024)));
    broker.say(Packet::ConnAck(Box::new(accepted()))).await;
    let subscribe = broker.subscribe().await;
    let asked: Vec<_> = subscribe.filters.iter().map(|filter| (&*filter.filter, filter.qos)).collect();
    assert_eq!(asked, [("cmd/#", Qos::ExactlyOnce), ("lamps/+", Qos::AtMostOnce)]);
    broker.say(Packet::SubAck(subscribe.id, vec![Reason(2), Reason(0)])).await;

    broker.send(1, "cmd/shed/set", "a", Qos::AtLeastOnce).await;
    assert_eq!(broker.answer().await, Packet::PubAck(ok(1)));
    broker.send(2, "cmd/shed/set", "b", Qos::ExactlyOnce).await;
    assert_eq!(broker.answer().await, Packet::PubRec(ok(2)));
    broker.send(2, "cmd/shed/set", "b", Qos::ExactlyOnce).await;
    assert_eq!(broker.answer().await, Packet::PubRec(ok(2)), "a copy is answered");
    broker.say(Packet::PubRel(ok(2))).await;
    assert_eq!(broker.answer().await, Packet::PubComp(ok(2)));
    let mut rich = message(3, "lamps/1", "c", Qos::AtLeastOnce);
    rich.retain = true;
    rich.expiry_s = Some(60);
    rich.properties.response_topic = Some("answers".into());
    rich.properties.correlation_data = Some(Bytes::from("7"));
    rich.properties.user.push(("k".into(), "v".into()));
    broker.say(Packet::Publish(Box::new(rich.clone()))).await;
    assert_eq!(broker.answer().await, Packet::PubAck(ok(3)));

    assert_eq!(down.topics(), ["serialgate/pi/shed/set", "serialgate/pi/shed/set", "lamps/1"]);
    let last = down.arrived.lock().unwrap().pop().unwrap();
    rich.id = None;
    rich.properties.user.push((VIA.into(), "serialgate/pi/cloud".into()));
    assert_eq!(last, rich);
    assert_eq!(down.rig.status.lock().received, 3);
}

#[tokio::test]
async fn after_the_start_a_command_waits_for_the_local_clients_to_come_back() {
    let down = Down::start(&[("cmd", "", "", Qos::ExactlyOnce)], |_| {}).await;
    down.clients.store(0, Ordering::Relaxed);
    let mut broker = down.open(accepted()).await;
    broker.send(1, "cmd", "a", Qos::ExactlyOnce).await;
    broker.send(2, "elsewhere", "b", Qos::AtLeastOnce).await;
    down.rig.until("both there", |status, _| (status.received, status.not_taken) == (1, 1)).await;
    drop(broker);
    down.rig.until("cut", |status, _| status.state == BridgeState::Backoff).await;
    let mut broker = down.rig.open(present()).await;
    broker.send(1, "cmd", "a", Qos::ExactlyOnce).await;
    down.rig.until("again", |status, _| status.received == 2).await;
    down.clients.store(1, Ordering::Relaxed);
    assert_eq!(broker.answer().await, Packet::PubRec(ok(1)));
    assert_eq!(down.topics(), ["cmd"]);
}

#[tokio::test]
async fn nobody_in_the_cloud_speaks_for_the_gateway() {
    let down = Down::start(&[("#", "", "", Qos::AtLeastOnce)], |_| {}).await;
    let mut broker = down.open(accepted()).await;
    let forged = ["status", "shed/data", "shed/state", "shed/meta", "event"];
    for (id, topic) in (1..).zip(forged) {
        broker.send(id, &format!("serialgate/pi/{topic}"), "0", Qos::AtLeastOnce).await;
        assert_eq!(broker.answer().await, Packet::PubAck(ok(id)), "it must not come again");
    }
    broker.send(6, "serialgate/pi/shed/set", "1", Qos::AtLeastOnce).await;
    down.until_arrived(1).await;
    assert_eq!(down.topics(), ["serialgate/pi/shed/set"]);
    let status = down.rig.status.lock().clone();
    assert_eq!((status.received, status.not_taken), (1, 5));
}

#[tokio::test]
async fn a_refused_subscription_is_named_and_the_rest_goes_on() {
    let receive = [("yes", "", "", Qos::ExactlyOnce), ("no/#", "", "", Qos::AtLeastOnce)];
    let down = Down::start(&receive, |_| {}).await;
    for round in 0..2 {
        let mut broker = down.rig.open(accepted()).await;
        let subscribe = broker.subscribe().await;
        assert_eq!(subscribe.filters.len(), 2, "asked for again with each connection");
        broker.say(Packet::SubAck(subscribe.id, vec![Reason(1), Reason::NOT_AUTHORIZED])).await;
        broker.send(1, "yes", "1", Qos::AtLeastOnce).await;
        down.until_arrived(round + 1).await;
        let error = down.rig.status.lock().last_error.clone().unwrap();
        assert_eq!(error, "subscription to no/# refused: not authorized (0x87)");
        drop(broker);
        down.rig.until("cut", |status, _| status.state == BridgeState::Backoff).await;
    }
    // Told once: connected, refused, and two times what a cut and a connect tell.
    let mut broker = down.rig.open(accepted()).await;
    let told = async {
        let mut told = Vec::new();
        while told.len() < 6 {
            match broker.next().await.unwrap() {
                Packet::Publish(publish) => {
                    let event: serde_json::Value = serde_json::from_slice(&publish.payload).unwrap();
                    told.push(event["state"].as_str().unwrap().to_owned());
                    broker.ack(publish.id.unwrap(), Reason::SUCCESS).await;
                }
                Packet::Subscribe(_) => {}
                other => panic!("{other:?}"),
            }
        }
        told
    };
    let told = timeout(PATIENCE, told).await.unwrap();
    assert_eq!(told.iter().filter(|state| *state == "subscription_refused").count(), 1, "{told:?}");
}

#[tokio::test]
async fn the_session_goes_on_after_a_cut() {
    let route = Route::plain("serialgate/#").unwrap().with_qos(Qos::ExactlyOnce);
    let forward = Routes::from_iter([route]);
    let down = Down::start(&[("cmd/#", "", "", Qos::ExactlyOnce)], |config| {
        config.forward = Some(forward);
    })
    .await;
    let mut broker = down.open(accepted()).await;
    down.rig.push(1, 1);
    // The event of the connection is of QoS 2, too.
    let (event, reading) = (broker.publish().await, broker.publish().await);
    assert_eq!((event.qos, reading.qos, seq(&reading)), (Qos::ExactlyOnce, Qos::ExactlyOnce, Some(0)));
    broker.say(Packet::PubRec(Ack::ok(event.id.unwrap()))).await;
    broker.send(9, "cmd/a", "1", Qos::ExactlyOnce).await;
    assert_eq!(broker.next().await, Some(Packet::PubRel(Ack::ok(event.id.unwrap()))));
    assert_eq!(broker.next().await, Some(Packet::PubRec(ok(9))));
    drop(broker);
    down.rig.until("cut", |status, _| status.state == BridgeState::Backoff).await;

    let mut broker = down.rig.open(present()).await;
    // Not subscribed again: a 3.1.1 broker would send all retained messages again.
    assert_eq!(broker.next().await, Some(Packet::PubRel(Ack::ok(event.id.unwrap()))));
    let again = broker.publish().await;
    assert_eq!(again, Publish { dup: true, ..reading.clone() });
    broker.send(9, "cmd/a", "1", Qos::ExactlyOnce).await;
    broker.say(Packet::PubComp(Ack::ok(event.id.unwrap()))).await;
    broker.say(Packet::PubRec(Ack::ok(again.id.unwrap()))).await;
    assert_eq!(broker.answer().await, Packet::PubRec(ok(9)));
    broker.say(Packet::PubRel(ok(9))).await;
    assert_eq!(broker.answer().await, Packet::PubComp(ok(9)));
    down.rig.until("delivered", |status, _| status.delivered == 1).await;
    assert_eq!(down.topics(), ["cmd/a"], "once");
    assert_eq!(down.rig.status.lock().duplicates_possible, 0);
    drop(broker);
    down.rig.until("cut", |status, _| status.state == BridgeState::Backoff).await;

    // A broker that has lost the session gets everything again.
    down.rig.push(1, 1);
    let mut broker = down.open(accepted()).await;
    let (_, seq) = broker.reading_once().await;
    assert_eq!(seq, 1);
}

impl Broker {
    /// The next reading, of QoS 2; everything else is acknowledged on the way.
    async fn reading_once(&mut self) -> (PacketId, u64) {
        loop {
            match self.next().await.expect("a connection") {
                Packet::Publish(publish) => {
                    let id = publish.id.unwrap();
                    self.say(Packet::PubRec(Ack::ok(id))).await;
                    if let Some(seq) = seq(&publish) {
                        return (id, seq);
                    }
                }
                Packet::PubRel(ack) => self.say(Packet::PubComp(ack)).await,
                other => panic!("{other:?}"),
            }
        }
    }
}

// === Circles ===

#[tokio::test]
async fn what_came_from_here_goes_to_other_bridges_and_not_back() {
    let everything = Routes::plain(["#"]).unwrap();
    let down = Down::start(&[("in/#", "in/", "", Qos::AtLeastOnce)], |config| {
        config.forward = Some(everything);
    })
    .await;
    let neighbour = down.rig.queue.outlet(1);
    let mut broker = down.open(accepted()).await;
    broker.send(1, "in/x", "1", Qos::AtLeastOnce).await;
    // Safe on disk, since the neighbour does not take it.
    assert_eq!(broker.answer_only().await, Packet::PubAck(ok(1)));
    timeout(PATIENCE, neighbour.ready()).await.expect("something for the neighbour");
    let taken = neighbour.take(100);
    assert!(matches!(&taken[..], [row] if matches!(&*row.body, Body::Message(m) if &*m.topic == "x")));
    // A LAN client's message does go up, after it: so the other did not.
    down.rig.queue.offer(&Publish::new("y", "2", Qos::AtMostOnce, false)).unwrap();
    let up = broker.message().await;
    assert_eq!(&*up.topic, "y");
    assert_eq!(up.properties.user, [(VIA.into(), "serialgate/pi".into())]);
    // Should it come back by another way, it is dropped.
    let back = Publish { topic: "in/y".into(), id: PacketId::new(5), ..up };
    broker.say(Packet::Publish(Box::new(back))).await;
    assert_eq!(broker.answer().await, Packet::PubAck(ok(5)));
    assert_eq!(down.topics(), ["x"]);
}

#[tokio::test]
async fn a_3_1_1_broker_that_echoes_starts_no_circle() {
    let everything = Routes::plain(["lan/#"]).unwrap();
    let down = Down::start(&[("lan/#", "", "", Qos::AtLeastOnce)], |config| {
        config.forward = Some(everything);
        config.protocol = Some(Version::V3);
    })
    .await;
    let mut broker = down.open(accepted()).await;
    down.rig.queue.offer(&Publish::new("lan/y", "2", Qos::AtMostOnce, false)).unwrap();
    assert_eq!(&*broker.message().await.topic, "lan/y");
    broker.send(5, "lan/y", "2", Qos::AtLeastOnce).await;
    assert_eq!(broker.answer_only().await, Packet::PubAck(ok(5)));
    broker.send(6, "lan/y", "2", Qos::AtLeastOnce).await;
    assert_eq!(broker.answer_only().await, Packet::PubAck(ok(6)));
    assert_eq!(down.topics(), ["lan/y"], "the second is somebody else's");
    down.rig.queue.offer(&Publish::new("lan/z", "3", Qos::AtMostOnce, false)).unwrap();
    assert_eq!(&*broker.message().await.topic, "lan/z", "and does not go back");
    assert_eq!(down.rig.status.lock().not_taken, 1);
}

#[tokio::test]
async fn what_finds_no_room_is_not_acknowledged_and_comes_again() {
    let down = Down::start(&[("#", "", "", Qos::ExactlyOnce)], |_| {}).await;
    let mut broker = down.open(accepted()).await;
    let room = u16::try_from(ROOM).unwrap();
    for id in 1..=room {
        broker.send(id, "x", "1", Qos::AtLeastOnce).await;
        assert_eq!(broker.answer().await, Packet::PubAck(ok(id)));
    }
    broker.send(room + 1, "x", "2", Qos::ExactlyOnce).await;
    broker.send(room + 2, "y", "3", Qos::AtLeastOnce).await;
    // Neither is acknowledged, and the rest of the work goes on: so nothing but messages comes, to the end.
    while let Some(packet) = broker.next().await {
        match packet {
            Packet::Publish(publish) => broker.ack(publish.id.unwrap(), Reason::SUCCESS).await,
            Packet::PingReq => broker.say(Packet::PingResp).await,
            other => panic!("{other:?}"),
        }
    }
    down.rig.until("told", |status, _| status.last_error.is_some()).await;
    let error = down.rig.status.lock().last_error.clone().unwrap();
    assert_eq!(error, "the queue has no room for a message from the broker, which is to come again");
    assert_eq!(down.topics().len(), usize::from(room));
    // The neighbour makes room.
    let neighbour = down.rig.queue.outlet(1);
    timeout(PATIENCE, neighbour.ready()).await.expect("something for the neighbour");
    neighbour.take(1).iter().for_each(|row| neighbour.done(row.position));
    let mut broker = down.rig.open(present()).await;
    broker.send(room + 1, "x", "2", Qos::ExactlyOnce).await;
    broker.send(room + 2, "y", "3", Qos::AtLeastOnce).await;
    assert_eq!(broker.answer().await, Packet::PubRec(ok(room + 1)));
    assert_eq!(broker.answer().await, Packet::PubAck(ok(room + 2)));
    assert_eq!(down.topics()[usize::from(room)..], ["x", "y"]);
}

#[tokio::test]
async fn what_is_too_large_for_us_is_named() {
    let down = Down::start(&[("#", "", "", Qos::AtLeastOnce)], |config| {
        config.protocol = Some(Version::V3);
    })
    .await;
    let mut broker = down.open(accepted()).await;
    broker.send(1, "x", &"x".repeat(1024 * 1024), Qos::AtLeastOnce).await;
    while broker.next().await.is_some() {}
    down.rig.until("told", |status, _| status.last_error.is_some()).await;
    let error = down.rig.status.lock().last_error.clone().unwrap();
    assert!(error.contains("1048576 is the limit") && error.contains("protocol: 5"), "{error}");
}

#[tokio::test]
async fn what_waits_for_its_batch_at_a_cut_arrives_once() {
    let down = Down::start(&[("cmd", "", "", Qos::AtLeastOnce)], |config| {
        config.batch = Some(config::Batch { max: 3, within: Duration::from_secs(3600), compress: None });
    })
    .await;
    let mut broker = down.open(accepted()).await;
    broker.ack_event().await;
    down.rig.push(2, 1);
    down.rig.until("taken", |_, queue| queue.readings == 2).await;
    for answer in [present(), accepted()] {
        drop(broker);
        down.rig.until("cut", |status, _| status.state == BridgeState::Backoff).await;
        broker = if answer.session_present { down.rig.open(answer).await } else { down.open(answer).await };
    }
    down.rig.push(1, 1);
    let batch = loop {
        let publish = broker.publish().await;
        broker.ack(publish.id.unwrap(), Reason::SUCCESS).await;
        if publish.topic.ends_with("/data") {
            break publish;
        }
    };
    let batch: Vec<serde_json::Value> = serde_json::from_slice(&batch.payload).unwrap();
    assert_eq!(batch.iter().map(|reading| reading["seq"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1, 2]);
    down.rig.until("delivered", |status, _| status.delivered == 3).await;
}
