//! Clients that are silent, stuck, broken or hostile, and the end.

use tokio::time::Instant;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_silent_socket_is_closed_after_ten_seconds_and_blocks_nobody() {
    let broker = broker();
    let start = Instant::now();
    let mut silent: Vec<_> = (0..20).map(|_| Peer::open(&broker, Version::V3)).collect();
    silent[0].say_bytes(b"\x10\x0c\x00\x04MQ").await;
    Peer::new(&broker, Version::V3, "a").await.settle().await;
    assert!(start.elapsed() < Duration::from_millis(1));
    let mut half = silent.remove(0);
    for peer in &mut silent {
        assert_eq!(peer.hear_end().await, None);
    }
    assert_eq!(half.hear_end().await, None);
    assert!((10..11).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_connect_may_come_byte_by_byte_with_more_behind_it() {
    for version in VERSIONS {
        let broker = broker();
        let mut peer = Peer::open(&broker, version);
        let mut bytes = BytesMut::new();
        peer.codec.encode(&Packet::Connect(Box::new(connect(version, "s"))), &mut bytes).unwrap();
        peer.codec.encode(&Packet::PingReq, &mut bytes).unwrap();
        for byte in bytes {
            peer.say_bytes(&[byte]).await;
            tokio::task::yield_now().await;
        }
        assert!(matches!(peer.hear().await, Packet::ConnAck(_)));
        assert_eq!(peer.hear().await, Packet::PingResp);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_connect_is_answered_where_the_version_has_words_for_it() {
    let broker = broker();
    for (connect, answer) in [
        (&b"\x10\x0c\x00\x04MQTT\x03\x02\x00\x3c\x00\x00"[..], &b"\x20\x02\x00\x01"[..]),
        (b"\x10\x0c\x00\x04MQTT\x04\x00\x00\x3c\x00\x00", b"\x20\x02\x00\x02"),
        (b"\x10\x0d\x00\x04MQTT\x06\x02\x00\x3c\x00\x00\x00", b"\x20\x03\x00\x84\x00"),
        (
            b"\x10\x11\x00\x04MQTT\x05\x02\x00\x3c\x04\x15\x00\x01x\x00\x00",
            b"\x20\x2e\x00\x8c\x2b\x1f\x00\x28enhanced authentication is not supported",
        ),
        (b"\x10\x0c\x00\x04MQTT\x04\x03\x00\x3c\x00\x00", b""),
        (b"GET / HTTP/1.1\r\n\r\n", b""),
        (b"\xc0\x00", b""),
        (b"\x10\xff\xff\xff\x7f", b""),
    ] {
        let mut peer = Peer::open(&broker, Version::V5);
        peer.say_bytes(connect).await;
        let mut heard = Vec::new();
        peer.io.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, answer, "{connect:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_client_must_not_send_ends_its_connection_with_the_reason() {
    use Reason as R;
    for (what, bytes, reason) in [
        ("a second CONNECT", &b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x00"[..], R::PROTOCOL_ERROR),
        ("UNSUBACK", b"\xb0\x04\x00\x01\x00\x00", R::PROTOCOL_ERROR),
        ("AUTH", b"\xf0\x00", R::PROTOCOL_ERROR),
        ("a wildcard topic", b"\x30\x04\x00\x01#\x00", R::TOPIC_INVALID),
        ("packet id 0", b"\x32\x06\x00\x01a\x00\x00\x00", R::MALFORMED),
        ("a huge packet", b"\x30\xff\xff\xff\x7f", R::TOO_LARGE),
    ] {
        let broker = broker();
        let mut watcher = Peer::subscriber(&broker, Version::V5, "w", "will", Qos::AtMostOnce).await;
        let dying = Connect { will: Some(will("will", 0)), ..connect(Version::V5, "d") };
        let (mut peer, _) = Peer::connect(&broker, dying).await;
        peer.say_bytes(bytes).await;
        assert_eq!(peer.hear_end().await, Some(reason), "{what}");
        watcher.hear_all(&["gone"]).await;
        assert_eq!(broker.stats().clients, 1, "its place is free again");
    }
}

#[tokio::test(start_paused = true)]
async fn keep_alive_is_enforced_also_while_messages_flow_to_the_client() {
    for version in VERSIONS {
        let broker = broker();
        let quick = Connect { keep_alive_s: 2, ..connect(version, "s") };
        let (mut peer, _) = Peer::connect(&broker, quick).await;
        peer.subscribe(wanted("t", Qos::AtMostOnce)).await;
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_secs(2)).await;
            peer.settle().await;
        }
        let start = Instant::now();
        let end = loop {
            broker.local().publish(message("t", "x", Qos::AtMostOnce));
            match peer.hear_or_end().await {
                Some(Packet::Publish(_)) if start.elapsed() < Duration::from_secs(10) => {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
                end => break end,
            }
        };
        if version == Version::V5 {
            assert!(
                matches!(&end, Some(Packet::Disconnect(end)) if end.reason == Reason::KEEP_ALIVE),
                "{end:?}"
            );
        }
        assert!((2900..4000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn without_keep_alive_a_client_may_be_silent_for_ever() {
    for version in VERSIONS {
        let mut peer = Peer::new(&broker(), version, "s").await;
        tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
        peer.settle().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_is_given_up_and_blocks_nobody() {
    let broker = broker();
    let mut stuck = Peer::open_until(&broker, Version::V5, CancellationToken::new(), 1000);
    stuck.say(Packet::Connect(Box::new(connect(Version::V5, "stuck")))).await;
    stuck.hear().await;
    stuck.subscribe(wanted("t", Qos::AtMostOnce)).await;
    let mut quick = Peer::subscriber(&broker, Version::V5, "quick", "t", Qos::AtMostOnce).await;
    for n in 0..50 {
        broker.local().publish(message("t", &format!("{n}{}", " ".repeat(100)), Qos::AtMostOnce));
        assert!(quick.hear_publish().await.payload.starts_with(n.to_string().as_bytes()));
    }
    assert_eq!(broker.stats().clients, 2);
    tokio::time::sleep(Duration::from_secs(21)).await;
    assert_eq!(broker.stats().clients, 1);
}

#[tokio::test(start_paused = true)]
async fn more_than_the_receive_maximum_ends_a_v5_connection() {
    let limits = Limits { receive_maximum: 2, ..Limits::default() };
    let broker = Broker::new(limits, NoIntake);
    let mut peer = Peer::open(&broker, Version::V5);
    peer.say(Packet::Connect(Box::new(connect(Version::V5, "p")))).await;
    let Packet::ConnAck(answer) = peer.hear().await else { panic!("no CONNACK") };
    assert_eq!(answer.receive_maximum, 2);
    for n in 1..=3 {
        let publish = Publish { id: Some(id(n)), ..message("t", "x", Qos::ExactlyOnce) };
        peer.say(Packet::Publish(Box::new(publish))).await;
    }
    let mut answers = 0;
    while let Packet::PubRec(_) = peer.hear().await {
        answers += 1;
    }
    assert!(answers <= 2);
    assert_eq!(peer.hear_or_end().await, None);
}

#[tokio::test(start_paused = true)]
async fn subscriptions_of_a_session_are_limited() {
    let limits = Limits { subscriptions: 2, ..Limits::default() };
    let broker = Broker::new(limits, NoIntake);
    let mut peer = Peer::new(&broker, Version::V5, "s").await;
    for (filter, reason) in [("a", Reason(0)), ("b", Reason(0)), ("c", Reason::QUOTA), ("a", Reason(0))] {
        assert_eq!(peer.subscribe(wanted(filter, Qos::AtMostOnce)).await, [reason], "{filter}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stopping_broker_says_so() {
    let broker = broker();
    let stop = CancellationToken::new();
    for version in VERSIONS {
        let stop = stop.child_token();
        let mut peer = Peer::open_until(&broker, version, stop.clone(), 1 << 16);
        peer.say(Packet::Connect(Box::new(connect(version, "s")))).await;
        peer.hear().await;
        stop.cancel();
        let told = (version == Version::V5).then_some(Reason::SHUTTING_DOWN);
        assert_eq!(peer.hear_end().await, told);
    }
    assert_eq!(broker.stats().clients, 0);
}

#[tokio::test(start_paused = true)]
async fn the_receive_maximum_counts_only_what_is_unacknowledged() {
    let limits = Limits { receive_maximum: 2, ..Limits::default() };
    let broker = Broker::new(limits, NoIntake);
    let mut peer = Peer::new(&broker, Version::V5, "p").await;
    for qos in LEVELS {
        for _ in 0..5 {
            peer.publish(message("t", "x", qos)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_more_is_read_from_a_client_that_does_not_read_its_answers() {
    const TOO_MUCH: usize = 1 << 20;
    let broker = broker();
    let mut peer = Peer::open_until(&broker, Version::V5, CancellationToken::new(), 1000);
    peer.say(Packet::Connect(Box::new(connect(Version::V5, "s")))).await;
    peer.hear().await;
    let pings = [0xC0, 0x00].repeat(500);
    let mut taken = 0;
    while timeout(MOMENT, peer.io.write_all(&pings)).await.is_ok() {
        taken += pings.len();
        assert!(taken < TOO_MUCH, "the broker would hold any number of answers");
    }
}

/// A client's packets, some of them with a few bytes changed.
fn noisy_traffic(random: &mut fastrand::Rng, version: Version) -> BytesMut {
    let mut codec = Codec::client(version, 1 << 20);
    let mut bytes = BytesMut::new();
    let hello = match random.u8(..3) {
        0 => connect(version, "a"),
        1 => persistent(version, "b"),
        _ => Connect {
            will: Some(will("t", random.u32(..2))),
            receive_maximum: random.u16(1..4),
            maximum_packet_size: random.bool().then(|| random.u32(1..60)),
            topic_alias_maximum: random.u16(..3),
            ..persistent(version, "c")
        },
    };
    codec.encode(&Packet::Connect(Box::new(hello)), &mut bytes).unwrap();
    for _ in 0..random.usize(1..12) {
        let packet_id = id(random.u16(1..6));
        let ack = Ack { id: packet_id, reason: Reason::SUCCESS };
        let qos = LEVELS[random.usize(..3)];
        let packet = match random.u8(..10) {
            0 => Packet::PubAck(ack),
            1 => Packet::PubRec(ack),
            2 => Packet::PubRel(ack),
            3 => Packet::PubComp(ack),
            4 => Packet::PingReq,
            5 => Packet::Unsubscribe(packet_id, vec!["t".into(), "$share/g/t".into()]),
            6 | 7 => {
                let filter = ["t", "#", "$share/g/t", "t/+/#"][random.usize(..4)];
                let subscription_id = (version == Version::V5).then_some(7);
                Packet::Subscribe(Subscribe {
                    id: packet_id,
                    filters: vec![wanted(filter, qos)],
                    subscription_id,
                })
            }
            _ => Packet::Publish(Box::new(Publish {
                id: (qos != Qos::AtMostOnce).then_some(packet_id),
                retain: random.bool(),
                topic_alias: NonZeroU16::new(random.u16(..3)).filter(|_| version == Version::V5),
                ..message("t", &"x".repeat(random.usize(..100)), qos)
            })),
        };
        codec.encode(&packet, &mut bytes).unwrap();
    }
    for _ in 0..random.usize(..4) {
        let at = random.usize(..bytes.len());
        bytes[at] = random.u8(..);
    }
    bytes
}

#[tokio::test(start_paused = true)]
async fn mutated_traffic_never_panics_and_leaves_a_broker_that_works() {
    const CASES: usize = 5000;
    let (broker, _stop) = serving(Limits { queue_messages: 50, sessions: 3, ..Limits::default() });
    let mut random = fastrand::Rng::with_seed(11);
    for case in 0..CASES {
        let bytes = noisy_traffic(&mut random, VERSIONS[case % 2]);
        let (mut ours, theirs) = tokio::io::duplex(1 << 16);
        ours.write_all(&bytes).await.unwrap();
        ours.shutdown().await.unwrap();
        let (reader, writer) = tokio::io::split(theirs);
        // Not in a task of its own: its panic would be nobody's.
        connection::run(broker.clone(), reader, writer, visit(&broker), CancellationToken::new()).await;
    }
    assert!(broker.stats().received > 1000, "{:?}", broker.stats());
    assert_eq!(broker.stats().clients, 0);
    let mut peer = Peer::subscriber(&broker, Version::V5, "after", "u", Qos::AtMostOnce).await;
    broker.local().publish(message("u", "alive", Qos::AtMostOnce));
    peer.hear_all(&["alive"]).await;
}
