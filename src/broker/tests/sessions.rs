//! Sessions that outlive a connection, change hands, and end; and wills.

use super::*;

fn lasting(client_id: &str, session_expiry_s: u32) -> Connect {
    Connect { clean_start: false, session_expiry_s, ..connect(Version::V5, client_id) }
}

#[tokio::test(start_paused = true)]
async fn an_offline_client_gets_what_it_missed_but_not_qos_0() {
    for version in VERSIONS {
        let broker = broker();
        let (mut subscriber, is_resumed) = Peer::connect(&broker, persistent(version, "s")).await;
        assert!(!is_resumed);
        subscriber.subscribe(wanted("t", Qos::ExactlyOnce)).await;
        subscriber.disconnect(Reason::SUCCESS).await;
        let mut publisher = Peer::new(&broker, version, "p").await;
        for (payload, qos) in LEVELS.iter().enumerate() {
            publisher.publish(message("t", &payload.to_string(), *qos)).await;
        }
        let (mut subscriber, is_resumed) = Peer::connect(&broker, persistent(version, "s")).await;
        assert!(is_resumed);
        let (first, second) = (subscriber.hear_publish().await, subscriber.hear_publish().await);
        assert_eq!((&first.payload[..], &second.payload[..]), (&b"1"[..], &b"2"[..]));
        assert!(!first.dup && !second.dup, "sent for the first time");
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_with_qos_0_goes_with_the_connection() {
    let broker = broker();
    let narrow = || Connect { receive_maximum: 1, ..persistent(Version::V5, "s") };
    let (mut subscriber, _) = Peer::connect(&broker, narrow()).await;
    subscriber.subscribe(wanted("t", Qos::AtLeastOnce)).await;
    for (payload, qos) in [("1", Qos::AtLeastOnce), ("2", Qos::AtLeastOnce), ("3", Qos::AtMostOnce)] {
        broker.local().publish(message("t", payload, qos));
    }
    subscriber.hear_publish().await;
    drop(subscriber);
    let (mut subscriber, _) = Peer::connect(&broker, narrow()).await;
    subscriber.hear_all(&["1", "2"]).await;
    subscriber.hear_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_clean_start_finds_nothing() {
    for version in VERSIONS {
        let broker = broker();
        let (mut subscriber, _) = Peer::connect(&broker, persistent(version, "s")).await;
        subscriber.subscribe(wanted("t", Qos::AtLeastOnce)).await;
        drop(subscriber);
        let (mut subscriber, is_resumed) = Peer::connect(&broker, connect(version, "s")).await;
        assert!(!is_resumed);
        assert_eq!(broker.stats().subscriptions, 0);
        broker.local().publish(message("t", "x", Qos::AtLeastOnce));
        subscriber.hear_nothing().await;
    }
}

#[tokio::test(start_paused = true)]
async fn resume_repeats_in_order_with_dup_within_the_receive_maximum() {
    let broker = broker();
    let (mut subscriber, _) = Peer::connect(&broker, persistent(Version::V5, "s")).await;
    subscriber.subscribe(wanted("t", Qos::ExactlyOnce)).await;
    for n in 0..5 {
        broker.local().publish(message("t", &n.to_string(), Qos::ExactlyOnce));
    }
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(subscriber.hear_publish().await.id.unwrap());
    }
    subscriber.say(Packet::PubRec(Ack::ok(ids[1]))).await;
    assert_eq!(subscriber.hear().await, Packet::PubRel(Ack::ok(ids[1])));
    drop(subscriber);
    tokio::time::sleep(MOMENT).await;
    broker.local().publish(message("t", "new", Qos::ExactlyOnce));

    let narrow = Connect { receive_maximum: 2, ..persistent(Version::V5, "s") };
    let (mut subscriber, is_resumed) = Peer::connect(&broker, narrow).await;
    assert!(is_resumed);
    let again = subscriber.hear_publish().await;
    assert_eq!((again.id, again.dup, &again.payload[..]), (Some(ids[0]), true, &b"0"[..]));
    assert_eq!(subscriber.hear().await, Packet::PubRel(Ack::ok(ids[1])));
    subscriber.hear_nothing().await;
    subscriber.say(Packet::PubComp(Ack::ok(ids[1]))).await;
    subscriber.acknowledge(&again).await;
    for (n, payload) in [(2, "2"), (3, "3"), (4, "4")] {
        let again = subscriber.hear_publish().await;
        assert_eq!((again.id, again.dup, &again.payload[..]), (Some(ids[n]), true, payload.as_bytes()));
        subscriber.say(Packet::PubRec(Ack { id: ids[n], reason: Reason::FAILED })).await;
    }
    let new = subscriber.hear_publish().await;
    assert_eq!((new.dup, &new.payload[..]), (false, &b"new"[..]));
}

#[tokio::test(start_paused = true)]
async fn a_client_may_come_back_with_the_other_version() {
    let broker = broker();
    let (mut subscriber, _) = Peer::connect(&broker, persistent(Version::V3, "s")).await;
    subscriber.subscribe(wanted("t", Qos::ExactlyOnce)).await;
    broker.local().publish(message("t", "x", Qos::ExactlyOnce));
    let first = subscriber.hear_publish().await;
    drop(subscriber);
    let (mut subscriber, is_resumed) = Peer::connect(&broker, persistent(Version::V5, "s")).await;
    assert!(is_resumed);
    let again = subscriber.hear_publish().await;
    assert_eq!((again.id, again.dup), (first.id, true));
    subscriber.say(Packet::PubRec(Ack::ok(again.id.unwrap()))).await;
    assert_eq!(subscriber.hear().await, Packet::PubRel(Ack::ok(again.id.unwrap())));
    drop(subscriber);
    let (mut subscriber, _) = Peer::connect(&broker, persistent(Version::V3, "s")).await;
    assert_eq!(subscriber.hear().await, Packet::PubRel(Ack::ok(again.id.unwrap())));
    subscriber.say(Packet::PubComp(Ack::ok(again.id.unwrap()))).await;
    subscriber.settle().await;
}

#[tokio::test(start_paused = true)]
async fn a_takeover_ends_the_old_connection_and_keeps_the_session() {
    for version in VERSIONS {
        let broker = broker();
        let (mut old, _) = Peer::connect(&broker, persistent(version, "s")).await;
        old.subscribe(wanted("t", Qos::AtLeastOnce)).await;
        let before = tokio::time::Instant::now();
        let (mut new, is_resumed) = Peer::connect(&broker, persistent(version, "s")).await;
        assert!(is_resumed);
        let told = (version == Version::V5).then_some(Reason::TAKEN_OVER);
        assert_eq!(old.hear_end().await, told);
        assert!(before.elapsed() < MOMENT, "at once");
        broker.local().publish(message("t", "x", Qos::AtLeastOnce));
        new.hear_all(&["x"]).await;
        assert_eq!(broker.stats().clients, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_without_expiry_ends_with_its_connection_by_takeover_too() {
    for version in VERSIONS {
        let broker = broker();
        let mut old = Peer::subscriber(&broker, version, "s", "t", Qos::AtLeastOnce).await;
        let (_new, is_resumed) = Peer::connect(&broker, persistent(version, "s")).await;
        assert!(!is_resumed);
        assert_eq!(broker.stats().subscriptions, 0);
        old.hear_end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_takeover_does_not_wait_for_an_old_connection_that_is_stuck() {
    let broker = broker();
    let mut old = Peer::open_until(&broker, Version::V5, CancellationToken::new(), 64);
    old.say(Packet::Connect(Box::new(persistent(Version::V5, "s")))).await;
    old.hear().await;
    old.subscribe(wanted("t", Qos::AtLeastOnce)).await;
    // The old client reads no more: the broker's writes to it get stuck.
    for n in 0..100 {
        broker.local().publish(message("t", &n.to_string(), Qos::AtLeastOnce));
    }
    tokio::time::sleep(MOMENT).await;
    let before = tokio::time::Instant::now();
    let (mut new, is_resumed) = Peer::connect(&broker, persistent(Version::V5, "s")).await;
    assert!(is_resumed && before.elapsed() < MOMENT);
    for n in 0..100 {
        new.hear_all(&[&n.to_string()]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_taken_over_connection_does_no_harm_to_its_successor() {
    let broker = broker();
    for n in 0..10 {
        let (mut peer, is_resumed) = Peer::connect(&broker, persistent(Version::V3, "s")).await;
        assert_eq!(is_resumed, n > 0);
        peer.subscribe(wanted("t", Qos::AtLeastOnce)).await;
        let (mut successor, _) = Peer::connect(&broker, persistent(Version::V3, "s")).await;
        drop(peer);
        successor.settle().await;
        broker.local().publish(message("t", "x", Qos::AtLeastOnce));
        successor.hear_all(&["x"]).await;
        successor.settle().await;
        drop(successor);
    }
}

#[tokio::test(start_paused = true)]
async fn sessions_end_when_their_time_is_over() {
    let (broker, _stop) = serving(Limits::default());
    for (expiry, away, is_resumed) in [(10, 9, true), (10, 11, false), (0, 0, false)] {
        let (mut peer, _) = Peer::connect(&broker, lasting("s", expiry)).await;
        peer.subscribe(wanted("t", Qos::AtLeastOnce)).await;
        peer.disconnect(Reason::SUCCESS).await;
        tokio::time::sleep(Duration::from_secs(away)).await;
        let (peer, resumed) = Peer::connect(&broker, lasting("s", 0)).await;
        assert_eq!(resumed, is_resumed, "expiry {expiry}, away {away}");
        peer.disconnect(Reason::SUCCESS).await;
    }
    assert_eq!(broker.stats().subscriptions, 0);
}

#[tokio::test(start_paused = true)]
async fn disconnect_may_change_the_expiry_but_not_give_one() {
    let broker = broker();
    let ending = |seconds| {
        Packet::Disconnect(Disconnect { session_expiry_s: Some(seconds), ..Disconnect::new(Reason::SUCCESS) })
    };
    let (mut peer, _) = Peer::connect(&broker, lasting("s", 100)).await;
    peer.say(ending(0)).await;
    assert_eq!(peer.hear_end().await, None);
    let (mut peer, is_resumed) = Peer::connect(&broker, lasting("s", 0)).await;
    assert!(!is_resumed);
    peer.say(ending(100)).await;
    assert_eq!(peer.hear_end().await, Some(Reason::PROTOCOL_ERROR));
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_drops_the_oldest_and_counts_them() {
    let limits = Limits { queue_messages: 3, ..Limits::default() };
    let broker = Broker::new(limits, NoIntake);
    let (mut peer, _) = Peer::connect(&broker, persistent(Version::V3, "s")).await;
    peer.subscribe(wanted("t", Qos::AtLeastOnce)).await;
    peer.disconnect(Reason::SUCCESS).await;
    for n in 0..5 {
        broker.local().publish(message("t", &n.to_string(), Qos::AtLeastOnce));
    }
    assert_eq!(broker.stats().dropped, 2);
    let (mut peer, _) = Peer::connect(&broker, persistent(Version::V3, "s")).await;
    peer.hear_all(&["2", "3", "4"]).await;
}

#[tokio::test(start_paused = true)]
async fn queues_are_bounded_in_bytes_each_and_together() {
    let payload = "x".repeat(1000);
    let each = Limits { queue_bytes: 5000, ..Limits::default() };
    let together = Limits { all_queues_bytes: 8000, ..Limits::default() };
    for (limits, most_each, most) in [(each, 4, 8), (together, 7, 7)] {
        let broker = Broker::new(limits, NoIntake);
        for client_id in ["a", "b"] {
            let (mut peer, _) = Peer::connect(&broker, persistent(Version::V3, client_id)).await;
            peer.subscribe(wanted("t", Qos::AtLeastOnce)).await;
            peer.disconnect(Reason::SUCCESS).await;
        }
        for _ in 0..20 {
            broker.local().publish(message("t", &payload, Qos::AtLeastOnce));
        }
        let mut kept = Vec::new();
        for client_id in ["a", "b"] {
            let (mut peer, _) = Peer::connect(&broker, persistent(Version::V3, client_id)).await;
            peer.settle_after_publishes().await;
            kept.push(peer.next_id);
        }
        assert!(kept.iter().all(|&kept| kept <= most_each), "{kept:?}");
        assert!(kept.iter().sum::<u16>() <= most && kept.iter().sum::<u16>() > 1, "{kept:?}");
        assert_eq!(broker.stats().dropped, 40 - u64::from(kept.iter().sum::<u16>()));
    }
}

#[tokio::test(start_paused = true)]
async fn delivered_messages_give_their_room_back() {
    let payload = "x".repeat(1000);
    let limits = Limits { all_queues_bytes: 1500, ..Limits::default() };
    let broker = Broker::new(limits, NoIntake);
    let (mut away, _) = Peer::connect(&broker, persistent(Version::V3, "away")).await;
    away.subscribe(wanted("away", Qos::AtLeastOnce)).await;
    away.disconnect(Reason::SUCCESS).await;
    let mut here = Peer::subscriber(&broker, Version::V5, "here", "here", Qos::ExactlyOnce).await;
    for qos in [Qos::ExactlyOnce, Qos::AtLeastOnce, Qos::AtMostOnce] {
        broker.local().publish(message("here", &payload, qos));
        let publish = here.hear_publish().await;
        here.acknowledge(&publish).await;
        here.settle().await;
    }
    broker.local().publish(message("away", &payload, Qos::AtLeastOnce));
    assert_eq!(broker.stats().dropped, 0);
}

#[tokio::test(start_paused = true)]
async fn the_session_that_was_away_longest_gives_way_to_a_new_one() {
    let limits = Limits { sessions: 2, ..Limits::default() };
    let broker = Broker::new(limits, NoIntake);
    for client_id in ["a", "b"] {
        let (peer, _) = Peer::connect(&broker, persistent(Version::V3, client_id)).await;
        peer.disconnect(Reason::SUCCESS).await;
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    let _c = Peer::new(&broker, Version::V3, "c").await;
    let (_b, is_resumed) = Peer::connect(&broker, persistent(Version::V3, "b")).await;
    assert!(is_resumed);
    let mut refused = Peer::open(&broker, Version::V3);
    refused.say(Packet::Connect(Box::new(persistent(Version::V3, "a")))).await;
    let Packet::ConnAck(answer) = refused.hear().await else { panic!("no CONNACK") };
    assert_eq!(answer.reason, Reason::BUSY, "everybody is here");
    assert_eq!(refused.hear_end().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_will_is_published_unless_the_client_takes_it_back() {
    for version in VERSIONS {
        let broker = broker();
        let mut watcher = Peer::subscriber(&broker, version, "w", "will", Qos::AtLeastOnce).await;
        let dying = || Connect { will: Some(will("will", 0)), ..connect(version, "d") };
        let (peer, _) = Peer::connect(&broker, dying()).await;
        peer.disconnect(Reason::SUCCESS).await;
        watcher.hear_nothing().await;
        let (peer, _) = Peer::connect(&broker, dying()).await;
        drop(peer);
        watcher.hear_all(&["gone"]).await;
        let (mut peer, _) = Peer::connect(&broker, dying()).await;
        peer.say_bytes(b"\x00\x00").await;
        watcher.hear_all(&["gone"]).await;
        if version == Version::V5 {
            let (peer, _) = Peer::connect(&broker, dying()).await;
            peer.disconnect(Reason::WITH_WILL).await;
            watcher.hear_all(&["gone"]).await;
        }
        watcher.hear_nothing().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_will_may_be_retained() {
    let broker = broker();
    let mut last = will("will", 0);
    last.message.retain = true;
    let (peer, _) = Peer::connect(&broker, Connect { will: Some(last), ..connect(Version::V3, "d") }).await;
    drop(peer);
    tokio::time::sleep(MOMENT).await;
    Peer::subscriber(&broker, Version::V3, "w", "will", Qos::AtMostOnce).await.hear_all(&["gone"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_takeover_publishes_the_will_of_the_old_connection() {
    for version in VERSIONS {
        let broker = broker();
        let mut watcher = Peer::subscriber(&broker, version, "w", "will", Qos::AtLeastOnce).await;
        let dying = Connect { will: Some(will("will", 0)), ..persistent(version, "d") };
        let (_old, _) = Peer::connect(&broker, dying).await;
        let (_new, is_resumed) = Peer::connect(&broker, persistent(version, "d")).await;
        assert!(is_resumed);
        watcher.hear_all(&["gone"]).await;
        watcher.hear_nothing().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_delayed_will_waits_for_the_client_and_not_longer_than_its_session() {
    let (broker, _stop) = serving(Limits::default());
    let mut watcher = Peer::subscriber(&broker, Version::V5, "w", "will", Qos::AtMostOnce).await;
    let dying = |delay, expiry| Connect { will: Some(will("will", delay)), ..lasting("d", expiry) };
    let seconds = Duration::from_secs;

    // The delay passes.
    drop(Peer::connect(&broker, dying(10, 100)).await);
    assert!(timeout(seconds(9), watcher.hear()).await.is_err());
    watcher.hear_all(&["gone"]).await;
    // The client is back in time.
    drop(Peer::connect(&broker, dying(10, 100)).await);
    tokio::time::sleep(seconds(9)).await;
    let (back, is_resumed) = Peer::connect(&broker, lasting("d", 100)).await;
    assert!(is_resumed);
    assert!(timeout(seconds(50), watcher.hear()).await.is_err());
    back.disconnect(Reason::SUCCESS).await;
    // The client is back even before its old connection is gone.
    let (_old, _) = Peer::connect(&broker, dying(10, 100)).await;
    let (back, is_resumed) = Peer::connect(&broker, lasting("d", 100)).await;
    assert!(is_resumed);
    assert!(timeout(seconds(50), watcher.hear()).await.is_err());
    back.disconnect(Reason::SUCCESS).await;
    // The session ends before the delay has passed.
    drop(Peer::connect(&broker, dying(50, 5)).await);
    assert!(timeout(seconds(4), watcher.hear()).await.is_err());
    watcher.hear_all(&["gone"]).await;
    // The client is back, but without its session.
    drop(Peer::connect(&broker, dying(50, 100)).await);
    tokio::time::sleep(MOMENT).await;
    let (_fresh, is_resumed) = Peer::connect(&broker, connect(Version::V5, "d")).await;
    assert!(!is_resumed);
    watcher.hear_all(&["gone"]).await;
    assert!(timeout(seconds(200), watcher.hear()).await.is_err());
}

/// The pattern that kills rumqttd: clients that come and go under the same few ids, with a backlog.
#[tokio::test(start_paused = true)]
async fn churn_leaves_a_broker_that_works() {
    const ROUNDS: usize = 300;
    let (broker, _stop) = serving(Limits::default());
    let mut random = fastrand::Rng::with_seed(1);
    let mut peers: Vec<Option<Peer>> = (0..6).map(|_| None).collect();
    for round in 0..ROUNDS {
        let slot = random.usize(..peers.len());
        let version = VERSIONS[random.usize(..2)];
        let name = ["a", "b", "c", "d"][random.usize(..4)];
        let joining = match random.u8(..3) {
            0 => connect(version, name),
            1 => persistent(version, name),
            _ => Connect { will: Some(will("churn/will", random.u32(..3))), ..persistent(version, name) },
        };
        let mut peer = Peer::open(&broker, version);
        peer.say(Packet::Connect(Box::new(joining))).await;
        let filters = ["churn/#", "$share/g/churn/+", "churn/x"];
        let filters = vec![wanted(filters[random.usize(..3)], LEVELS[random.usize(..3)])];
        peer.say(Packet::Subscribe(Subscribe { id: id(1), filters, subscription_id: None })).await;
        for n in 0..random.usize(..20) {
            let publish = message("churn/x", &n.to_string(), Qos::AtLeastOnce);
            broker.local().publish(publish);
        }
        // Half of them never read or acknowledge anything before they are gone.
        if random.bool() {
            assert!(matches!(peer.hear().await, Packet::ConnAck(_)), "round {round}");
        }
        if random.bool() {
            tokio::time::sleep(Duration::from_millis(random.u64(..2000))).await;
        }
        peers[slot] = Some(peer);
    }
    let mut peer = Peer::subscriber(&broker, Version::V5, "last", "t", Qos::AtLeastOnce).await;
    peer.publish_to_itself().await;
    drop(peers);
    for name in ["a", "b", "c", "d"] {
        let peer = Peer::new(&broker, Version::V5, name).await;
        peer.disconnect(Reason::SUCCESS).await;
    }
    peer.publish_to_itself().await;
    assert_eq!((broker.stats().clients, broker.stats().subscriptions), (1, 1));
}

impl Peer {
    /// Reads the messages that wait, acknowledging them, and counts them in `next_id`.
    async fn settle_after_publishes(&mut self) {
        self.next_id = 0;
        self.say(Packet::PingReq).await;
        let mut is_answered = false;
        while let Ok(packet) = timeout(MOMENT, self.hear()).await {
            match packet {
                Packet::Publish(publish) => {
                    self.next_id += 1;
                    self.acknowledge(&publish).await;
                }
                Packet::PingResp => is_answered = true,
                other => panic!("{other:?}"),
            }
        }
        assert!(is_answered);
    }

    async fn publish_to_itself(&mut self) {
        let publish = Publish { id: Some(id(77)), ..message("t", "x", Qos::AtLeastOnce) };
        self.say(Packet::Publish(Box::new(publish))).await;
        let (first, second) = (self.hear().await, self.hear().await);
        for packet in [first, second] {
            match packet {
                Packet::PubAck(ack) => assert_eq!(ack, Ack::ok(id(77))),
                Packet::Publish(publish) => self.acknowledge(&publish).await,
                other => panic!("{other:?}"),
            }
        }
    }
}
