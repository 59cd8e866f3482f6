//! The bridge against a broker that we did not write, with a proxy in between that cuts the link.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

#[path = "support/cloud.rs"]
mod cloud;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cloud::{Gateway, Mosquitto, PATIENCE, bridge_to, cuttable, free_address, subscribe, survives_cuts};
use serialgate::config::{self, Endpoint};
use serialgate::mqtt::packet::Version;
use serialgate::topic::Subject;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
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
    let rate = config::Rate { messages: Some(u32::try_from(RATE).unwrap()), bytes: None };
    let order = config::Order::LiveFirst;
    let gateway = Gateway::start(config::Bridge { rate, order, ..bridge_to(Endpoint::tcp(address)) });
    (0..BACKLOG).for_each(|seq| gateway.push(seq));
    gateway.until("on disk", || gateway.queue.status().volatile == 0).await;
    let mosquitto = Mosquitto::start_with(&[(address, "")]).await;
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
    let span = Duration::from_secs(10);
    let in_span = |from: &Instant| seen.times.iter().filter(|at| *at >= from && **at <= *from + span).count();
    let most = seen.times.iter().map(in_span).max().unwrap() as u64;
    println!("{:?} for {} readings, at most {most} in 10 s, p99 of live ones {p99:?}", took, BACKLOG + LIVE);
    assert!(most <= RATE * 11, "{most} in 10 s");
    assert!(took <= Duration::from_secs((BACKLOG + LIVE) / RATE) * 11 / 10, "{took:?}");
    assert!(p99 < Duration::from_secs(1), "{p99:?}");
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

/// Sends 1000 readings over a listener of mosquitto with `options`; gives how many bytes it took.
async fn bytes_for_1000(options: &str, change: impl FnOnce(&mut config::Bridge)) -> usize {
    let address = free_address();
    let mosquitto = Mosquitto::start_with(&[(address, options)]).await;
    let seen = subscribe(mosquitto.address).await;
    let (address, count) = counting_proxy(address).await;
    let mut config = bridge_to(Endpoint::tcp(address));
    change(&mut config);
    let gateway = Gateway::start(config);
    gateway.until("connected", || gateway.is_connected()).await;
    // Not so many at a time that some would go to disk first, and be longer by saying so.
    for hundred in 1..=10 {
        (hundred * 100 - 100..hundred * 100).for_each(|seq| gateway.push(seq));
        gateway.until("delivered", || gateway.status.lock().delivered == hundred * 100).await;
    }
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
