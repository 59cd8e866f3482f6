//! What the broker does not take.

use super::*;

#[tokio::test]
async fn a_will_that_the_broker_does_not_take_is_asked_for_less() {
    let rig = Rig::start().await;
    for (refusal, qos, retain) in
        [(0x9A, Qos::AtLeastOnce, true), (0x9B, Qos::AtLeastOnce, false), (0x89, Qos::AtMostOnce, false)]
    {
        let (mut broker, connect) = rig.accept().await;
        let will = connect.will.unwrap().message;
        assert_eq!((will.qos, will.retain), (qos, retain));
        broker.say(Packet::ConnAck(Box::new(ConnAck::new(Reason(refusal), false)))).await;
    }
}

// === Limits of the broker ===

#[tokio::test]
async fn rows_over_the_brokers_size_are_dead_letters_and_the_rest_flows() {
    let rig = Rig::start().await;
    for _ in 0..3 {
        rig.push(1, 10);
        rig.push(2, 5000);
    }
    let mut broker = rig.open(ConnAck { maximum_packet_size: Some(1000), ..accepted() }).await;
    assert_eq!(broker.ack_through(6).await, [0, 3, 6]);
    rig.until("over", |bridge, queue| queue.readings == 0 && bridge.refused == 6).await;
    assert_eq!(rig.status.lock().delivered, 3);
}

#[tokio::test]
async fn a_broker_that_says_too_large_only_at_the_end_loses_the_largest_row() {
    let rig = Rig::start().await;
    rig.push(3, 10);
    rig.push(1, 500);
    rig.push(3, 10);
    let mut broker = rig.open(accepted()).await;
    while broker.reading().await.1 < 6 {}
    broker.say(Packet::Disconnect(Disconnect::new(Reason::TOO_LARGE))).await;
    let mut broker = rig.open(accepted()).await;
    assert_eq!(broker.ack_through(6).await, [0, 1, 2, 4, 5, 6]);
    rig.until("over", |bridge, queue| queue.readings == 0 && bridge.refused == 1).await;
}

#[tokio::test]
async fn a_row_refused_for_good_is_a_dead_letter_and_one_refused_for_now_is_not() {
    let rig = Rig::start().await;
    rig.push(3, 10);
    let mut broker = rig.open(accepted()).await;
    for reason in [Reason(0x99), Reason::QUOTA, Reason::SUCCESS] {
        let (id, _) = broker.reading().await;
        broker.ack(id, reason).await;
    }
    rig.until("refused", |bridge, _| bridge.refused == 1).await;
    let (id, seq) = broker.reading().await;
    assert_eq!(seq, 1);
    broker.ack(id, Reason::SUCCESS).await;
    rig.until("empty", |_, queue| queue.readings == 0).await;
    let queue = rig.queue.status();
    assert_eq!((queue.accepted, queue.delivered, queue.dropped.refused), (3, 2, 1));
    assert_eq!(rig.status.lock().delivered, 2);
}

#[tokio::test]
async fn a_topic_that_is_not_allowed_is_held_and_the_rest_flows() {
    let rig = Rig::start().await;
    rig.push_of("secret", 1, 10);
    let mut broker = rig.open(accepted()).await;
    let (id, _) = broker.reading().await;
    broker.ack(id, Reason(0x87)).await;
    rig.until("held", |bridge, _| bridge.refused == 1).await;
    rig.push_of("secret", 20, 10);
    rig.push(5, 10);
    let (mut seen, mut told) = (Vec::new(), Vec::new());
    while seen.len() < 5 || told.is_empty() {
        let publish = broker.publish().await;
        let json: serde_json::Value = serde_json::from_slice(&publish.payload).unwrap();
        match json["event"].as_str() {
            Some("bridge") if json["state"] == "topic_refused" => told.push(json["reason"].to_string()),
            Some(_) => {}
            None => {
                assert_eq!(&*publish.topic, "serialgate/pi/shed/data");
                seen.push(json["seq"].as_u64().unwrap());
            }
        }
        broker.ack(publish.id.unwrap(), Reason::SUCCESS).await;
    }
    assert_eq!(seen, (21..26).collect::<Vec<_>>());
    assert!(told.len() == 1 && told[0].contains("serialgate/pi/secret/data"), "{told:?}");
    rig.until("all of it", |bridge, queue| queue.readings == 0 && bridge.refused == 21).await;
    let error = rig.status.lock().last_error.clone().unwrap();
    assert!(
        error.starts_with("the cloud does not allow publishing on serialgate/pi/secret/data: "),
        "{error}"
    );
    // Over a new connection as well.
    drop(broker);
    let mut broker = rig.open(accepted()).await;
    rig.push_of("secret", 1, 10);
    rig.push(1, 10);
    assert_eq!(broker.reading().await.1, 27);
    rig.until("the dead letters on disk", |_, queue| queue.dead_letters.count == 22).await;
    let letters = rig.queue.dead_letters(None).await.unwrap().letters;
    let reason = |n: usize| letters[n].1.reason.as_str();
    // An operator tries it again.
    let body = crate::queue::portable::read(&letters[0].1.entry).unwrap();
    rig.queue.retry(0, &std::sync::Arc::new(body)).unwrap();
    let publish = loop {
        let publish = broker.publish().await;
        broker.ack(publish.id.unwrap(), Reason::SUCCESS).await;
        if publish.topic.ends_with("/data") {
            break publish;
        }
    };
    assert_eq!((&*publish.topic, seq(&publish)), ("serialgate/pi/secret/data", Some(0)));
    rig.until("told", |bridge, _| bridge.last_error.is_none()).await;
    assert_eq!(
        (reason(0), reason(1)),
        ("not authorized (0x87)", "its topic is held back: not authorized (0x87)")
    );
}

/// The numbers of the readings in a message.
fn seqs(publish: &Publish) -> Vec<u64> {
    match serde_json::from_slice(&publish.payload) {
        Ok(serde_json::Value::Array(all)) => all.iter().map(|json| json["seq"].as_u64().unwrap()).collect(),
        _ => seq(publish).into_iter().collect(),
    }
}

/// A broker that takes everything but what `closes` says: there it closes. Ends when all is over.
async fn closing_broker(rig: &Rig, closes: impl Fn(usize, u64) -> bool) -> (usize, Vec<u64>) {
    let (mut connections, mut taken) = (0, Vec::new());
    let over = || rig.queue.status().readings == 0;
    while !over() {
        let mut broker = rig.open(accepted()).await;
        connections += 1;
        loop {
            let packet = tokio::select! {
                packet = broker.next() => packet,
                () = rig.until("over", |_, queue| queue.readings == 0), if connections > 1 => break,
            };
            match packet {
                Some(Packet::PingReq) => broker.say(Packet::PingResp).await,
                Some(Packet::Publish(publish)) => {
                    let seqs = seqs(&publish);
                    if seqs.iter().any(|seq| closes(connections, *seq)) {
                        break;
                    }
                    taken.extend(seqs);
                    broker.ack(publish.id.unwrap(), Reason::SUCCESS).await;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    (connections, taken)
}

#[tokio::test]
async fn a_row_on_which_the_broker_closes_each_time_is_found() {
    let rig = Rig::with(TcpListener::bind("127.0.0.1:0").await.unwrap(), |config| {
        config.protocol = Some(Version::V3);
    });
    rig.push(30, 10);
    let (connections, taken) = closing_broker(&rig, |_, seq| seq == 7).await;
    let taken: std::collections::BTreeSet<u64> = taken.into_iter().collect();
    assert_eq!(taken, (0..30).filter(|seq| *seq != 7).collect());
    assert!(connections <= 20, "{connections}");
    rig.until("the dead letter on disk", |bridge, queue| {
        queue.dead_letters.count == 1 && bridge.refused == 1
    })
    .await;
    let letters = rig.queue.dead_letters(None).await.unwrap().letters;
    assert!(letters[0].1.reason.starts_with("the broker closed the connection each time it was sent"));
    assert!(letters[0].1.entry.contains("\"seq\":7,"), "{:?}", letters[0].1);
}

#[tokio::test]
async fn of_a_batch_on_which_the_broker_closes_one_row_is_found() {
    let rig = Rig::with(TcpListener::bind("127.0.0.1:0").await.unwrap(), |config| {
        config.protocol = Some(Version::V3);
        config.batch = Some(config::Batch { max: 10, within: Duration::from_millis(20), compress: None });
    });
    rig.push(40, 10);
    let (_, taken) = closing_broker(&rig, |_, seq| seq == 7).await;
    let taken: std::collections::BTreeSet<u64> = taken.into_iter().collect();
    assert_eq!(taken, (0..40).filter(|seq| *seq != 7).collect());
    rig.until("over", |bridge, queue| queue.dead_letters.count == 1 && bridge.refused == 1).await;
}

#[tokio::test]
async fn a_broker_that_closes_for_a_while_costs_nothing() {
    let rig = Rig::start().await;
    rig.push(30, 10);
    let (connections, taken) = closing_broker(&rig, |connection, seq| connection <= 5 && seq == 3).await;
    let taken: std::collections::BTreeSet<u64> = taken.into_iter().collect();
    assert_eq!((taken.len(), connections), (30, 6));
    rig.until_empty().await;
    assert_eq!(rig.status.lock().refused, 0);
}

#[tokio::test]
async fn reading_goes_on_while_the_broker_takes_nothing() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let rig = Rig::with(socket.listen(1).unwrap(), |_| {});
    rig.push(400, 10_000);
    let mut broker = rig.open(accepted()).await;
    // The broker says more than the buffers hold before it reads: with a bridge that waits for its
    // own write this would never end.
    let chatter = [0xD0, 0x00].repeat(4 * 1024 * 1024);
    timeout(PATIENCE, broker.stream.write_all(&chatter)).await.expect("the bridge reads").unwrap();
    assert_eq!(broker.ack_through(399).await, (0..400).collect::<Vec<_>>());
    rig.until_empty().await;
}

// === The end ===
