//! Readings that go together.

use std::io::Read as _;

use super::*;
use crate::config::{Batch, Compression};

async fn batching(batch: Batch) -> Rig {
    Rig::with(TcpListener::bind("127.0.0.1:0").await.unwrap(), |config| config.batch = Some(batch))
}

/// Batches that are sent when they are full, and only then.
fn full(max: usize) -> Batch {
    Batch { max, within: Duration::from_secs(3600), compress: None }
}

impl Broker {
    /// The next message with readings, and their numbers; everything else is acknowledged on the way.
    async fn readings(&mut self) -> (Publish, Vec<u64>) {
        loop {
            let publish = self.publish().await;
            if publish.topic.ends_with("/data") {
                let numbers = numbers(&unpacked(&publish));
                return (publish, numbers);
            }
            self.ack(publish.id.unwrap(), Reason::SUCCESS).await;
        }
    }

    /// As many messages with readings as hold `count` of them, each acknowledged with what `reason` says.
    async fn batches(&mut self, count: usize, reason: impl Fn(&[u64]) -> Reason) -> Vec<Vec<u64>> {
        let (mut seen, mut left) = (Vec::new(), count);
        while left > 0 {
            let (publish, numbers) = self.readings().await;
            let reason = reason(&numbers);
            self.ack(publish.id.unwrap(), reason).await;
            if reason == Reason::SUCCESS || numbers.len() == 1 {
                left -= numbers.len();
            }
            seen.push(numbers);
        }
        seen
    }
}

/// What a consumer reads: how it is packed shows in its first bytes.
fn unpacked(publish: &Publish) -> Vec<u8> {
    let mut plain = Vec::new();
    match &publish.payload[..] {
        [0x1f, 0x8b, ..] => {
            flate2::read::GzDecoder::new(&publish.payload[..]).read_to_end(&mut plain).unwrap();
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => plain = zstd::decode_all(&publish.payload[..]).unwrap(),
        json => plain = json.to_vec(),
    }
    plain
}

fn numbers(json: &[u8]) -> Vec<u64> {
    let objects: Vec<serde_json::Value> = serde_json::from_slice(json).unwrap();
    objects.iter().map(|object| object["seq"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn a_backlog_goes_in_full_batches_and_one_puback_settles_each() {
    let rig = batching(full(10)).await;
    rig.push(35, 10);
    let mut broker = rig.open(accepted()).await;
    let (publish, first) = broker.readings().await;
    assert_eq!((&*publish.topic, first), ("serialgate/pi/shed/data", (0..10).collect()));
    assert_eq!(publish.properties.user, [], "the ids stand in the objects");
    let objects: Vec<serde_json::Value> = serde_json::from_slice(&publish.payload).unwrap();
    assert!(objects.iter().all(|object| object["id"].is_string() && object["ts"].is_string()));
    broker.ack(publish.id.unwrap(), Reason::SUCCESS).await;
    rig.until("10 delivered", |bridge, queue| bridge.delivered == 10 && queue.delivered == 10).await;
    let rest = broker.batches(20, |_| Reason::SUCCESS).await;
    assert_eq!(rest, [(10..20).collect::<Vec<_>>(), (20..30).collect()]);
    rig.push(5, 10);
    assert_eq!(broker.batches(10, |_| Reason::SUCCESS).await, [(30..40).collect::<Vec<_>>()]);
    rig.until_empty().await;
}

#[tokio::test]
async fn what_makes_no_full_batch_goes_when_it_has_waited() {
    let within = Duration::from_millis(700);
    let rig = batching(Batch { within, ..full(10) }).await;
    let mut broker = rig.open(accepted()).await;
    let start = Instant::now();
    rig.push(3, 10);
    assert_eq!(broker.batches(3, |_| Reason::SUCCESS).await, [[0, 1, 2]]);
    assert!(start.elapsed() >= within, "{:?}", start.elapsed());
    rig.until_empty().await;
}

#[tokio::test]
async fn a_cut_costs_the_batches_in_flight_twice_and_nothing_else() {
    let rig = batching(full(10)).await;
    rig.push(25, 10);
    let mut broker = rig.open(accepted()).await;
    broker.batches(10, |_| Reason::SUCCESS).await;
    rig.until("10 delivered", |bridge, _| bridge.delivered == 10).await;
    broker.readings().await;
    drop(broker);
    let mut broker = rig.open(accepted()).await;
    rig.push(5, 10);
    let again = broker.batches(20, |_| Reason::SUCCESS).await;
    assert_eq!(again, [(10..20).collect::<Vec<_>>(), (20..30).collect()]);
    rig.until_empty().await;
    assert_eq!(rig.status.lock().duplicates_possible, 10);
}

#[tokio::test]
async fn of_a_refused_batch_only_the_refused_row_is_given_up() {
    let rig = batching(full(8)).await;
    rig.push(8, 10);
    let mut broker = rig.open(accepted()).await;
    let refused = |numbers: &[u64]| if numbers.contains(&5) { Reason(0x99) } else { Reason::SUCCESS };
    let seen = broker.batches(8, refused).await;
    let expected: [&[u64]; 7] =
        [&[0, 1, 2, 3, 4, 5, 6, 7], &[0, 1, 2, 3], &[4, 5, 6, 7], &[4, 5], &[6, 7], &[4], &[5]];
    assert_eq!(seen, expected);
    rig.until("over", |bridge, queue| queue.readings == 0 && bridge.dead_letters == 1).await;
    let queue = rig.queue.status();
    assert_eq!((queue.accepted, queue.delivered, queue.dropped.refused), (8, 7, 1));
}

#[tokio::test]
async fn a_batch_over_the_brokers_limit_is_made_smaller_told_or_not() {
    let rig = batching(full(8)).await;
    rig.push(8, 100);
    let mut broker = rig.open(ConnAck { maximum_packet_size: Some(700), ..accepted() }).await;
    assert_eq!(broker.batches(8, |_| Reason::SUCCESS).await, [[0, 1], [2, 3], [4, 5], [6, 7]]);
    rig.until_empty().await;
    rig.push(8, 100);
    drop(broker);
    let mut broker = rig.open(accepted()).await;
    while broker.readings().await.1.len() > 2 {
        broker.say(Packet::Disconnect(Disconnect::new(Reason::TOO_LARGE))).await;
        broker = rig.open(accepted()).await;
    }
    broker.say(Packet::Disconnect(Disconnect::new(Reason::SHUTTING_DOWN))).await;
    let mut broker = rig.open(accepted()).await;
    let seen = broker.batches(8, |_| Reason::SUCCESS).await;
    assert_eq!(seen, [[8, 9], [10, 11], [12, 13], [14, 15]]);
    rig.until_empty().await;
}

#[tokio::test]
async fn what_is_compressed_says_so_and_what_would_not_gain_is_not() {
    for (compression, name) in [(Compression::Gzip, "gzip"), (Compression::Zstd, "zstd")] {
        let rig = batching(Batch { compress: Some(compression), ..full(50) }).await;
        rig.push(50, 10);
        let mut broker = rig.open(accepted()).await;
        let (publish, numbers) = broker.readings().await;
        assert_eq!(numbers, (0..50).collect::<Vec<_>>());
        assert_eq!(publish.properties.user, [("content-encoding".into(), name.into())]);
        assert_eq!(publish.properties.content_type.as_deref(), Some("application/json"));
        assert!(publish.payload.len() < 1500, "{} bytes", publish.payload.len());
    }
    let within = Duration::from_millis(10);
    let rig = batching(Batch { compress: Some(Compression::Gzip), within, max: 50 }).await;
    rig.push(1, 1);
    let mut broker = rig.open(accepted()).await;
    let (publish, _) = broker.readings().await;
    assert_eq!((publish.payload[0], publish.properties.content_type), (b'[', None));
}

#[tokio::test]
async fn a_rate_counts_messages_and_each_holds_a_batch() {
    let rig = Rig::with(TcpListener::bind("127.0.0.1:0").await.unwrap(), |config| {
        config.batch = Some(full(50));
        config.rate.messages = Some(10);
    });
    rig.push(1000, 10);
    let mut broker = rig.open(accepted()).await;
    let start = Instant::now();
    let seen = broker.batches(1000, |_| Reason::SUCCESS).await;
    assert_eq!(seen.len(), 20);
    // A burst of 2.5 and then 10 a second.
    assert!(start.elapsed() > Duration::from_millis(1600), "{:?}", start.elapsed());
    rig.until_empty().await;
}
