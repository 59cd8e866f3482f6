//! The bridge against a broker that we did not write, with a proxy in between that cuts the link.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

#[path = "support/cloud.rs"]
mod cloud;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use cloud::{Gateway, Mosquitto, PATIENCE, bridge_to, cuttable, subscribe, survives_cuts};
use serialgate::config::{self, Endpoint};
use serialgate::mqtt::codec::Codec;
use serialgate::mqtt::packet::{Connect, Packet, PacketId, Publish, Qos, Version};
use serialgate::topic::{Route, Routes, Subject};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

#[tokio::test]
async fn everything_arrives_through_cuts_in_order_after_dedupe() {
    for protocol in [None, Some(Version::V3)] {
        let mosquitto = Mosquitto::start().await;
        let seen = subscribe(mosquitto.address).await;
        let (address, cut) = cuttable(mosquitto.address).await;
        let gateway = Gateway::start(config::Bridge { protocol, ..bridge_to(Endpoint::tcp(address)) });
        survives_cuts(&gateway, &seen, &cut, 5, 2000).await;
    }
}

#[tokio::test]
async fn the_gateways_status_is_true_at_the_start_after_a_crash_and_at_the_end() {
    let mosquitto = Mosquitto::start().await;
    let seen = subscribe(mosquitto.address).await;
    let word = || seen.lock().unwrap().words.get("serialgate/pi/status").cloned();
    let gateway = Gateway::start(bridge_to(Endpoint::tcp(mosquitto.address)));
    gateway.bulletin.post(Subject::Gateway, "online");
    gateway.until("online", || word().as_deref() == Some("online")).await;
    gateway.task.abort();
    gateway.until("offline by the will", || word().as_deref() == Some("offline")).await;

    let gateway = Gateway::start(bridge_to(Endpoint::tcp(mosquitto.address)));
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

/// Everything of our own, with QoS 2.
fn exactly_once(address: SocketAddr, protocol: Option<Version>) -> config::Bridge {
    let route = Route::plain("serialgate/#").unwrap().with_qos(Qos::ExactlyOnce);
    let forward = Some(Routes::from_iter([route]));
    config::Bridge { protocol, forward, ..bridge_to(Endpoint::tcp(address)) }
}

#[tokio::test]
async fn with_qos_2_everything_arrives_once_through_cuts() {
    for protocol in [None, Some(Version::V3)] {
        let mosquitto = Mosquitto::start().await;
        let seen = subscribe(mosquitto.address).await;
        let (address, cut) = cuttable(mosquitto.address).await;
        let gateway = Gateway::start(exactly_once(address, protocol));
        survives_cuts(&gateway, &seen, &cut, 10, 500).await;
        assert_eq!(seen.lock().unwrap().readings.len(), 5000, "{protocol:?}: not one twice");
        assert_eq!(gateway.status.lock().duplicates_possible, 0);
    }
}

/// A daemon that was killed between PUBREC and PUBREL: the broker holds `count` of its ids.
async fn killed_before_pubrel(broker: SocketAddr, version: Version, count: u16) {
    let mut stream = TcpStream::connect(broker).await.unwrap();
    let mut codec = Codec::client(version, 1 << 16);
    let (mut output, mut input) = (BytesMut::new(), BytesMut::new());
    let connect = Connect {
        version,
        client_id: "serialgate-pi-cloud".into(),
        clean_start: false,
        keep_alive_s: 0,
        session_expiry_s: 3600,
        receive_maximum: u16::MAX,
        maximum_packet_size: None,
        topic_alias_maximum: 0,
        username: None,
        password: None,
        will: None,
    };
    codec.encode(&Packet::Connect(Box::new(connect)), &mut output).unwrap();
    for id in 1..=count {
        let publish = Publish::new(format!("before/{id}"), "x", Qos::ExactlyOnce, false);
        let publish = Publish { id: PacketId::new(id), ..publish };
        codec.encode(&Packet::Publish(Box::new(publish)), &mut output).unwrap();
    }
    stream.write_all(&output).await.unwrap();
    let mut recorded = 0;
    while recorded < count {
        timeout(PATIENCE, stream.read_buf(&mut input)).await.unwrap().unwrap();
        while let Some(packet) = codec.decode(&mut input).unwrap() {
            recorded += u16::from(matches!(packet, Packet::PubRec(_)));
        }
    }
}

#[tokio::test]
async fn what_the_broker_held_at_a_kill_is_handed_on_and_swallows_nothing() {
    const HELD: u16 = 10;
    for version in [Version::V5, Version::V3] {
        let mosquitto = Mosquitto::start().await;
        let seen = subscribe(mosquitto.address).await;
        killed_before_pubrel(mosquitto.address, version, HELD).await;
        assert_eq!(seen.lock().unwrap().words.len(), 0, "mosquitto hands on at PUBREL only");
        let gateway = Gateway::start(exactly_once(mosquitto.address, Some(version)));
        (0..100).for_each(|n| gateway.push(n));
        gateway.until("delivered", || gateway.queue.status().readings == 0).await;
        gateway.until("seen", || seen.lock().unwrap().readings.len() == 100).await;
        let before =
            || seen.lock().unwrap().words.keys().filter(|topic| topic.starts_with("before/")).count();
        gateway.until("what was held as well", || before() == usize::from(HELD)).await;
    }
}
