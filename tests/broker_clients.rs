//! The local broker with a client that we did not write, over TCP; and with nonsense.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail the test")]

use std::net::SocketAddr;
use std::time::Duration;

use serialgate::broker::{Broker, Limits, NoIntake};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Messages of each QoS that a test sends; more than any window.
const COUNT: usize = 300;

/// Fails a test that hangs.
const PATIENCE: Duration = Duration::from_secs(30);

async fn broker() -> (Broker, SocketAddr, DropGuard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (broker, stop) = (Broker::new(Limits::default(), NoIntake), CancellationToken::new());
    let (served, token) = (broker.clone(), stop.clone());
    tokio::spawn(async move { served.serve(vec![listener.into()], token).await });
    (broker, address, stop.drop_guard())
}

/// rumqttc for MQTT 3.1.1.
mod v4 {
    use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};

    use super::*;

    pub(super) fn client(address: SocketAddr, id: &str, clean: bool) -> (AsyncClient, EventLoop) {
        let mut options = MqttOptions::new(id, address.ip().to_string(), address.port());
        options.set_clean_session(clean);
        AsyncClient::new(options, 10)
    }

    /// Polls until `count` messages came, and gives their payloads.
    pub(super) async fn hear(events: &mut EventLoop, count: usize) -> Vec<String> {
        let mut heard = Vec::new();
        while heard.len() < count {
            let event = timeout(PATIENCE, events.poll()).await.expect("a message in time").unwrap();
            if let Event::Incoming(Packet::Publish(publish)) = event {
                heard.push(String::from_utf8(publish.payload.to_vec()).unwrap());
            }
        }
        heard
    }

    pub(super) async fn subscribed(events: &mut EventLoop) {
        loop {
            let event = timeout(PATIENCE, events.poll()).await.expect("a SUBACK in time").unwrap();
            if matches!(event, Event::Incoming(Packet::SubAck(_))) {
                return;
            }
        }
    }

    /// Publishes `COUNT` messages of each QoS on `topic`, and sees them acknowledged.
    pub(super) async fn publish_all(address: SocketAddr, topic: &'static str) {
        let (client, mut events) = client(address, "publisher4", true);
        tokio::spawn(async move {
            for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
                for n in 0..COUNT {
                    client.publish(topic, qos, false, format!("{}-{n}", qos as u8)).await.unwrap();
                }
            }
            std::future::pending::<()>().await;
        });
        let mut acknowledged = 0;
        while acknowledged < 2 * COUNT {
            let event = timeout(PATIENCE, events.poll()).await.expect("an answer in time").unwrap();
            if matches!(event, Event::Incoming(Packet::PubAck(_) | Packet::PubComp(_))) {
                acknowledged += 1;
            }
        }
    }
}

/// rumqttc for MQTT 5.0.
mod v5 {
    use rumqttc::v5::mqttbytes::QoS;
    use rumqttc::v5::mqttbytes::v5::Packet;
    use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};

    use super::*;

    pub(super) fn client(address: SocketAddr, id: &str) -> (AsyncClient, EventLoop) {
        let mut options = MqttOptions::new(id, address.ip().to_string(), address.port());
        options.set_clean_start(true);
        AsyncClient::new(options, 10)
    }

    pub(super) async fn hear(events: &mut EventLoop, count: usize) -> Vec<String> {
        let mut heard = Vec::new();
        while heard.len() < count {
            let event = timeout(PATIENCE, events.poll()).await.expect("a message in time").unwrap();
            if let Event::Incoming(Packet::Publish(publish)) = event {
                heard.push(String::from_utf8(publish.payload.to_vec()).unwrap());
            }
        }
        heard
    }

    pub(super) async fn subscribed(events: &mut EventLoop) {
        loop {
            let event = timeout(PATIENCE, events.poll()).await.expect("a SUBACK in time").unwrap();
            if matches!(event, Event::Incoming(Packet::SubAck(_))) {
                return;
            }
        }
    }

    pub(super) async fn publish_all(address: SocketAddr, topic: &'static str) {
        let (client, mut events) = client(address, "publisher5");
        tokio::spawn(async move {
            for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
                for n in 0..COUNT {
                    client.publish(topic, qos, false, format!("{}-{n}", qos as u8)).await.unwrap();
                }
            }
            std::future::pending::<()>().await;
        });
        let mut acknowledged = 0;
        while acknowledged < 2 * COUNT {
            let event = timeout(PATIENCE, events.poll()).await.expect("an answer in time").unwrap();
            if matches!(event, Event::Incoming(Packet::PubAck(_) | Packet::PubComp(_))) {
                acknowledged += 1;
            }
        }
    }
}

fn expected() -> Vec<String> {
    (0..3).flat_map(|qos| (0..COUNT).map(move |n| format!("{qos}-{n}"))).collect()
}

#[tokio::test]
async fn rumqttc_exchanges_every_qos_in_order_in_both_versions() {
    for subscribed_qos in [rumqttc::QoS::AtMostOnce, rumqttc::QoS::AtLeastOnce, rumqttc::QoS::ExactlyOnce] {
        let (broker, address, _stop) = broker().await;
        let (old, mut old_events) = v4::client(address, "old", true);
        old.subscribe("t/#", subscribed_qos).await.unwrap();
        v4::subscribed(&mut old_events).await;
        let (new, mut new_events) = v5::client(address, "new");
        new.subscribe("t/+", rumqttc::v5::mqttbytes::qos(subscribed_qos as u8).unwrap()).await.unwrap();
        v5::subscribed(&mut new_events).await;
        let (_, old_heard, new_heard) = tokio::join!(
            v4::publish_all(address, "t/a"),
            v4::hear(&mut old_events, 3 * COUNT),
            v5::hear(&mut new_events, 3 * COUNT),
        );
        assert_eq!(old_heard, expected());
        assert_eq!(new_heard, expected());
        let (_, old_heard, new_heard) = tokio::join!(
            v5::publish_all(address, "t/b"),
            v4::hear(&mut old_events, 3 * COUNT),
            v5::hear(&mut new_events, 3 * COUNT),
        );
        assert_eq!(old_heard, expected());
        assert_eq!(new_heard, expected());
        assert_eq!(broker.stats().dropped, 0);
    }
}

#[tokio::test]
async fn rumqttc_gets_what_it_missed_when_it_comes_back() {
    let (broker, address, _stop) = broker().await;
    let (client, mut events) = v4::client(address, "away", false);
    client.subscribe("t", rumqttc::QoS::AtLeastOnce).await.unwrap();
    v4::subscribed(&mut events).await;
    drop((client, events));
    v4::publish_all(address, "t").await;
    let (_client, mut events) = v4::client(address, "away", false);
    let heard = v4::hear(&mut events, 2 * COUNT).await;
    assert_eq!(heard[..], expected()[COUNT..], "all but QoS 0");
    assert_eq!(broker.stats().dropped, 0);
}

#[tokio::test]
async fn nonsense_on_many_sockets_leaves_a_broker_that_works() {
    let (broker, address, _stop) = broker().await;
    let mut random = fastrand::Rng::with_seed(3);
    let connect = b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x00";
    for _ in 0..500 {
        let Ok(mut stream) = TcpStream::connect(address).await else { continue };
        let mut bytes = Vec::new();
        if random.bool() {
            bytes.extend_from_slice(connect);
        }
        bytes.extend((0..random.usize(..200)).map(|_| random.u8(..)));
        // The broker may close before it has read all of that.
        let _ = stream.write_all(&bytes).await;
        if random.bool() {
            let _ = timeout(Duration::from_millis(5), stream.read(&mut [0; 64])).await;
        }
    }
    let (client, mut events) = v4::client(address, "after", true);
    client.subscribe("t", rumqttc::QoS::AtLeastOnce).await.unwrap();
    v4::subscribed(&mut events).await;
    client.publish("t", rumqttc::QoS::AtLeastOnce, false, "alive").await.unwrap();
    assert_eq!(v4::hear(&mut events, 1).await, ["alive"]);
    let gone = async {
        while broker.stats().clients > 1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, gone).await.expect("every broken connection gives its place back");
}
