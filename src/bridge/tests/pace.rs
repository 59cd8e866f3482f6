//! How fast a bridge sends, and what it says of it.

use std::sync::Arc;

use super::*;

#[tokio::test]
async fn a_broker_over_its_quota_gets_everything_later_and_slower() {
    let rig = Rig::start().await;
    rig.push(40, 10);
    let mut broker = rig.open(accepted()).await;
    let mut refused = Vec::new();
    while refused.len() < 40 {
        let (id, seq) = broker.reading().await;
        refused.push(seq);
        broker.ack(id, Reason::QUOTA).await;
    }
    let start = Instant::now();
    assert_eq!(broker.ack_through(39).await, (0..40).collect::<Vec<_>>());
    // At most 42 messages a second were measured, so half of them at most are sent a second, after a
    // burst of a quarter of a second.
    assert!(start.elapsed() > Duration::from_millis(1500), "{:?}", start.elapsed());
    rig.until("over", |_, queue| queue.readings == 0).await;
    let status = rig.status.lock().clone();
    assert_eq!((status.delivered, status.dead_letters, status.state), (40, 0, BridgeState::Connected));
    let said = status.last_error.unwrap();
    assert!(said.starts_with("the broker says quota exceeded (0x97); sending at "), "{said}");
}

#[tokio::test]
async fn a_broker_that_ends_the_connection_over_the_rate_gets_less_on_the_next() {
    for reason in [Reason::RATE_TOO_HIGH, Reason::RECEIVE_MAXIMUM] {
        let rig = Rig::start().await;
        rig.push(40, 10);
        let mut broker = rig.open(accepted()).await;
        while broker.reading().await.1 < 39 {}
        broker.say(Packet::Disconnect(Disconnect::new(reason))).await;
        let said = |bridge: &status::Bridge| bridge.last_error.clone().unwrap_or_default();
        rig.until("slower", |bridge, _| said(bridge).contains("; sending at ")).await;
        let mut broker = rig.open(accepted()).await;
        let start = Instant::now();
        assert_eq!(broker.ack_through(39).await, (0..40).collect::<Vec<_>>());
        assert!(start.elapsed() > Duration::from_secs(1), "{:?}", start.elapsed());
    }
}

#[tokio::test]
async fn words_and_readings_share_a_rate() {
    let rig = Rig::with(TcpListener::bind("127.0.0.1:0").await.unwrap(), |config| {
        config.rate.messages = Some(20);
        config.forward = Some(vec!["#".into()]);
    });
    rig.push(30, 10);
    let devices: Vec<Arc<str>> = (0..30).map(|n| format!("d{n}").into()).collect();
    for device in &devices {
        rig.bulletin.post(Subject::State(Arc::clone(device)), "x");
    }
    let mut broker = rig.open(accepted()).await;
    let start = Instant::now();
    let (mut words, mut readings) = (0, 0);
    while words + readings < 40 {
        let publish = broker.publish().await;
        broker.ack(publish.id.unwrap(), Reason::SUCCESS).await;
        if publish.retain { words += 1 } else { readings += 1 }
    }
    assert!(start.elapsed() > Duration::from_millis(1600), "{:?}", start.elapsed());
    assert!(words >= 10 && readings >= 10, "{words} words and {readings} readings");
}

#[tokio::test]
async fn the_backlogs_end_is_foreseen_from_the_rate() {
    let rig = Rig::with(TcpListener::bind("127.0.0.1:0").await.unwrap(), |config| {
        config.rate.messages = Some(100);
    });
    rig.push(1000, 10);
    let mut broker = rig.open(accepted()).await;
    broker.ack_through(399).await;
    let status = rig.status.lock().clone();
    let eta = status.eta_s.unwrap();
    let expected = status.backlog.div_ceil(100);
    assert!(eta.abs_diff(expected) <= 2, "{eta} s for {} readings at 100/s", status.backlog);
}
