//! How a bridge ends.

use super::*;

#[tokio::test]
async fn the_end_waits_for_what_is_in_flight_and_says_offline() {
    let mut rig = Rig::start().await;
    rig.push(3, 10);
    let mut broker = rig.open(accepted()).await;
    let mut ids = Vec::new();
    while ids.len() < 3 {
        ids.push(broker.reading().await.0);
    }
    drop(rig.stop.take());
    tokio::task::yield_now().await;
    for id in ids {
        broker.ack(id, Reason::SUCCESS).await;
    }
    broker.ack_event().await;
    let word = broker.publish().await;
    assert_eq!(
        (&*word.topic, &word.payload[..], word.retain),
        ("serialgate/pi/status", &b"offline"[..], true)
    );
    assert_eq!(broker.next().await, Some(Packet::Disconnect(Disconnect::new(Reason::SUCCESS))));
    drop(broker);
    rig.stop().await;
    rig.until_empty().await;
}

#[tokio::test]
async fn the_end_does_not_wait_for_ever() {
    let mut rig = Rig::start().await;
    rig.push(3, 10);
    let mut broker = rig.open(accepted()).await;
    broker.reading().await;
    let begun = Instant::now();
    rig.stop().await;
    assert!(begun.elapsed() < FINISH_WITHIN + CLOSE_WITHIN + Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(rig.queue.status().readings, 3);
}

#[tokio::test]
async fn the_end_comes_in_every_state() {
    let mut rig = Rig::start().await;
    rig.stop().await;
    let mut rig = Rig::start().await;
    drop(rig.accept().await);
    rig.until("waiting", |bridge, _| bridge.state == BridgeState::Backoff).await;
    rig.stop().await;
}
