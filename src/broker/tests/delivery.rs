//! Messages from one client to another.

use super::*;

fn retained(topic: &str, payload: &str, qos: Qos) -> Publish {
    Publish { retain: true, ..message(topic, payload, qos) }
}

#[tokio::test(start_paused = true)]
async fn both_versions_exchange_messages_of_every_qos() {
    for from in VERSIONS {
        for to in VERSIONS {
            let broker = broker();
            let mut subscriber = Peer::subscriber(&broker, to, "s", "a/+", Qos::ExactlyOnce).await;
            let mut publisher = Peer::new(&broker, from, "p").await;
            for qos in LEVELS {
                publisher.publish(message("a/b", "x", qos)).await;
                let publish = subscriber.hear_publish().await;
                assert_eq!((publish.qos, &*publish.topic, &publish.payload[..]), (qos, "a/b", &b"x"[..]));
                assert!(!publish.dup && !publish.retain);
                subscriber.acknowledge(&publish).await;
            }
            subscriber.hear_nothing().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_never_gains_qos() {
    for version in VERSIONS {
        for subscribed in LEVELS {
            let broker = broker();
            let mut subscriber = Peer::subscriber(&broker, version, "s", "t", subscribed).await;
            for published in LEVELS {
                Peer::new(&broker, version, "p").await.publish(message("t", "x", published)).await;
                let publish = subscriber.hear_publish().await;
                assert_eq!(publish.qos, published.min(subscribed));
                subscriber.acknowledge(&publish).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_wildcard_subscriber_gets_every_retained_message() {
    const COUNT: usize = 500;
    for version in VERSIONS {
        for qos in LEVELS {
            let broker = broker();
            for n in 0..COUNT {
                broker.local().publish(retained(&format!("a/{n:03}"), "x", Qos::ExactlyOnce));
            }
            let mut subscriber = Peer::subscriber(&broker, version, "s", "a/#", qos).await;
            for n in 0..COUNT {
                let publish = loop {
                    match subscriber.hear().await {
                        Packet::Publish(publish) => break publish,
                        Packet::PubRel(ack) => subscriber.say(Packet::PubComp(ack)).await,
                        other => panic!("{other:?}"),
                    }
                };
                assert_eq!((&*publish.topic, publish.qos), (&*format!("a/{n:03}"), qos));
                assert!(publish.retain);
                match (qos, publish.id) {
                    (Qos::AtLeastOnce, Some(id)) => subscriber.say(Packet::PubAck(Ack::ok(id))).await,
                    (Qos::ExactlyOnce, Some(id)) => subscriber.say(Packet::PubRec(Ack::ok(id))).await,
                    _ => {}
                }
            }
            assert_eq!(broker.stats().dropped, 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn retained_messages_come_again_with_every_subscription_that_wants_them() {
    let broker = broker();
    broker.local().publish(retained("t", "x", Qos::AtMostOnce));
    let mut peer = Peer::new(&broker, Version::V5, "s").await;
    for (handling, comes) in [
        (RetainHandling::AtSubscribeNew, true),
        (RetainHandling::AtSubscribeNew, false),
        (RetainHandling::Never, false),
        (RetainHandling::AtSubscribe, true),
        (RetainHandling::AtSubscribe, true),
    ] {
        peer.subscribe(SubscribeFilter { retain_handling: handling, ..wanted("t", Qos::AtMostOnce) }).await;
        if comes {
            peer.hear_all(&["x"]).await;
        }
        peer.hear_nothing().await;
    }
    peer.subscribe(wanted("$share/g/t", Qos::AtMostOnce)).await;
    peer.hear_nothing().await;
    let mut old = Peer::subscriber(&broker, Version::V3, "o", "t", Qos::AtMostOnce).await;
    old.hear_all(&["x"]).await;
    old.subscribe(wanted("t", Qos::AtMostOnce)).await;
    old.hear_all(&["x"]).await;
}

#[tokio::test(start_paused = true)]
async fn only_an_empty_retained_message_clears_the_topic() {
    for version in VERSIONS {
        let broker = broker();
        let mut publisher = Peer::new(&broker, version, "p").await;
        publisher.publish(retained("t", "x", Qos::AtLeastOnce)).await;
        publisher.publish(message("t", "", Qos::AtLeastOnce)).await;
        assert_eq!(broker.stats().retained, 1);
        Peer::subscriber(&broker, version, "a", "t", Qos::AtMostOnce).await.hear_all(&["x"]).await;
        publisher.publish(retained("t", "", Qos::AtLeastOnce)).await;
        assert_eq!(broker.stats().retained, 0);
        Peer::subscriber(&broker, version, "b", "t", Qos::AtMostOnce).await.hear_nothing().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_retain_flag_tells_new_messages_from_stored_ones() {
    let broker = broker();
    let mut plain = Peer::subscriber(&broker, Version::V5, "a", "t", Qos::AtMostOnce).await;
    let mut kept = Peer::new(&broker, Version::V5, "b").await;
    kept.subscribe(SubscribeFilter { retain_as_published: true, ..wanted("t", Qos::AtMostOnce) }).await;
    Peer::new(&broker, Version::V3, "p").await.publish(retained("t", "x", Qos::AtMostOnce)).await;
    assert!(!plain.hear_publish().await.retain);
    assert!(kept.hear_publish().await.retain);
    let mut late = Peer::subscriber(&broker, Version::V5, "c", "t", Qos::AtMostOnce).await;
    assert!(late.hear_publish().await.retain);
}

#[tokio::test(start_paused = true)]
async fn qos_2_duplicates_are_delivered_once() {
    for version in VERSIONS {
        let broker = broker();
        let mut subscriber = Peer::subscriber(&broker, version, "s", "t", Qos::AtMostOnce).await;
        let mut publisher = Peer::new(&broker, version, "p").await;
        for (n, payload, dup) in [(1, "A", false), (1, "A", true), (2, "B", false), (3, "C", false)] {
            let publish = Publish { id: Some(id(n)), dup, ..message("t", payload, Qos::ExactlyOnce) };
            publisher.say(Packet::Publish(Box::new(publish))).await;
            assert_eq!(publisher.hear().await, Packet::PubRec(Ack::ok(id(n))));
        }
        for n in [1, 2, 3] {
            publisher.say(Packet::PubRel(Ack::ok(id(n)))).await;
            assert_eq!(publisher.hear().await, Packet::PubComp(Ack::ok(id(n))));
        }
        subscriber.hear_all(&["A", "B", "C"]).await;
        subscriber.hear_nothing().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_publisher_that_reconnects_between_pubrec_and_pubrel_goes_on() {
    for version in VERSIONS {
        let broker = broker();
        let mut subscriber = Peer::subscriber(&broker, version, "s", "t", Qos::AtMostOnce).await;
        let (mut publisher, _) = Peer::connect(&broker, persistent(version, "p")).await;
        let publish = Publish { id: Some(id(7)), ..message("t", "x", Qos::ExactlyOnce) };
        publisher.say(Packet::Publish(Box::new(publish.clone()))).await;
        assert_eq!(publisher.hear().await, Packet::PubRec(Ack::ok(id(7))));
        drop(publisher);
        let (mut publisher, is_resumed) = Peer::connect(&broker, persistent(version, "p")).await;
        assert!(is_resumed);
        publisher.say(Packet::Publish(Box::new(Publish { dup: true, ..publish }))).await;
        assert_eq!(publisher.hear().await, Packet::PubRec(Ack::ok(id(7))));
        publisher.say(Packet::PubRel(Ack::ok(id(7)))).await;
        assert_eq!(publisher.hear().await, Packet::PubComp(Ack::ok(id(7))));
        subscriber.hear_all(&["x"]).await;
        subscriber.hear_nothing().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_pubrel_is_answered() {
    for version in VERSIONS {
        let mut peer = Peer::new(&broker(), version, "p").await;
        peer.say(Packet::PubRel(Ack::ok(id(9)))).await;
        let reason = if version == Version::V5 { Reason::ID_NOT_FOUND } else { Reason::SUCCESS };
        assert_eq!(peer.hear().await, Packet::PubComp(Ack { id: id(9), reason }));
    }
}

#[tokio::test(start_paused = true)]
async fn acknowledgements_may_come_out_of_order_or_for_nothing() {
    for version in VERSIONS {
        let broker = broker();
        let mut subscriber = Peer::subscriber(&broker, version, "s", "t", Qos::AtLeastOnce).await;
        let mut publisher = Peer::new(&broker, version, "p").await;
        let mut ids = Vec::new();
        for payload in ["1", "2", "3"] {
            publisher.publish(message("t", payload, Qos::AtLeastOnce)).await;
            ids.push(subscriber.hear_publish().await.id.unwrap());
        }
        for id in [ids[2], ids[0], ids[0], ids[1]] {
            subscriber.say(Packet::PubAck(Ack::ok(id))).await;
        }
        subscriber.settle().await;
        publisher.publish(message("t", "4", Qos::AtLeastOnce)).await;
        subscriber.hear_all(&["4"]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_message_is_over() {
    let broker = broker();
    let narrow = Connect { receive_maximum: 1, ..connect(Version::V5, "s") };
    let (mut subscriber, _) = Peer::connect(&broker, narrow).await;
    subscriber.subscribe(wanted("t", Qos::ExactlyOnce)).await;
    let mut publisher = Peer::new(&broker, Version::V5, "p").await;
    for payload in ["1", "2", "3"] {
        publisher.publish(message("t", payload, Qos::ExactlyOnce)).await;
    }
    for payload in ["1", "2", "3"] {
        let publish = subscriber.hear_publish().await;
        assert_eq!(publish.payload, payload.as_bytes());
        subscriber.hear_nothing().await;
        let refusal = Ack { id: publish.id.unwrap(), reason: Reason::QUOTA };
        subscriber.say(Packet::PubRec(refusal)).await;
    }
    subscriber.hear_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn each_unsubscribe_is_answered_once() {
    for version in VERSIONS {
        let broker = broker();
        let mut peer = Peer::subscriber(&broker, version, "s", "a", Qos::AtMostOnce).await;
        let reasons = peer.unsubscribe(&["unknown", "a"]).await;
        if version == Version::V5 {
            assert_eq!(reasons, [Reason::NO_SUBSCRIPTION, Reason::SUCCESS]);
        }
        peer.unsubscribe(&["b"]).await;
        peer.publish(message("a", "x", Qos::AtMostOnce)).await;
        peer.hear_nothing().await;
        assert_eq!(broker.stats().subscriptions, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_filter_that_is_not_taken_is_refused_alone() {
    for version in VERSIONS {
        let broker = broker();
        let mut peer = Peer::new(&broker, version, "s").await;
        let filters = ["$share/g", "$SYS/#", "b"].map(|filter| wanted(filter, Qos::AtLeastOnce)).to_vec();
        peer.say(Packet::Subscribe(Subscribe { id: id(1), filters, subscription_id: None })).await;
        let refused = if version == Version::V5 { Reason::FILTER_INVALID } else { Reason::FAILED };
        assert_eq!(peer.hear().await, Packet::SubAck(id(1), vec![refused, Reason(1), Reason(1)]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_publisher_hears_whether_anybody_listens() {
    let broker = broker();
    let mut publisher = Peer::new(&broker, Version::V5, "p").await;
    let say = |payload| Packet::Publish(Box::new(Publish { id: Some(id(1)), ..payload }));
    publisher.say(say(message("t", "x", Qos::AtLeastOnce))).await;
    let nobody = Ack { id: id(1), reason: Reason::NO_SUBSCRIBERS };
    assert_eq!(publisher.hear().await, Packet::PubAck(nobody));
    let _subscriber = Peer::subscriber(&broker, Version::V5, "s", "t", Qos::AtMostOnce).await;
    publisher.say(say(message("t", "x", Qos::AtLeastOnce))).await;
    assert_eq!(publisher.hear().await, Packet::PubAck(Ack::ok(id(1))));
}

#[tokio::test(start_paused = true)]
async fn subscription_identifiers_travel_with_the_message() {
    let broker = broker();
    let mut peer = Peer::new(&broker, Version::V5, "s").await;
    for (filter, number) in [("a/+", 1), ("a/b", 268_435_455), ("c", 3)] {
        let filters = vec![wanted(filter, Qos::AtMostOnce)];
        peer.say(Packet::Subscribe(Subscribe { id: id(1), filters, subscription_id: Some(number) })).await;
        peer.hear().await;
    }
    peer.publish(message("a/b", "x", Qos::AtMostOnce)).await;
    let mut ids = peer.hear_publish().await.subscription_ids;
    ids.sort_unstable();
    assert_eq!(ids, [1, 268_435_455]);
    peer.hear_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn no_local_keeps_a_clients_own_messages_from_it() {
    let broker = broker();
    let mut peer = Peer::new(&broker, Version::V5, "s").await;
    peer.subscribe(SubscribeFilter { no_local: true, ..wanted("t", Qos::AtMostOnce) }).await;
    peer.publish(message("t", "own", Qos::AtMostOnce)).await;
    peer.hear_nothing().await;
    Peer::new(&broker, Version::V5, "p").await.publish(message("t", "other", Qos::AtMostOnce)).await;
    peer.hear_all(&["other"]).await;
    let filters = vec![SubscribeFilter { no_local: true, ..wanted("$share/g/t", Qos::AtMostOnce) }];
    peer.say(Packet::Subscribe(Subscribe { id: id(9), filters, subscription_id: None })).await;
    assert_eq!(peer.hear_end().await, Some(Reason::PROTOCOL_ERROR));
}

#[tokio::test(start_paused = true)]
async fn properties_travel_end_to_end() {
    let broker = broker();
    let mut subscriber = Peer::subscriber(&broker, Version::V5, "s", "t", Qos::AtMostOnce).await;
    let mut publish = message("t", "x", Qos::AtMostOnce);
    publish.properties.content_type = Some("text/plain".into());
    publish.properties.response_topic = Some("r".into());
    publish.properties.correlation_data = Some("c".into());
    publish.properties.is_utf8_payload = true;
    publish.properties.user = vec![("a".into(), "1".into()), ("a".into(), "2".into())];
    Peer::new(&broker, Version::V5, "p").await.publish(publish.clone()).await;
    assert_eq!(subscriber.hear_publish().await, publish);
}

#[tokio::test(start_paused = true)]
async fn topic_aliases_work_both_ways() {
    let broker = broker();
    let aliasing = Connect { topic_alias_maximum: 1, ..connect(Version::V5, "s") };
    let (mut subscriber, _) = Peer::connect(&broker, aliasing).await;
    subscriber.subscribe(wanted("#", Qos::AtMostOnce)).await;
    let mut publisher = Peer::new(&broker, Version::V5, "p").await;
    for (topic, alias) in [("a", 1), ("", 1), ("b", 1), ("", 1)] {
        let publish = Publish { topic_alias: NonZeroU16::new(alias), ..message(topic, "x", Qos::AtMostOnce) };
        publisher.say(Packet::Publish(Box::new(publish))).await;
    }
    for (topic, alias) in [("a", Some(1)), ("", Some(1)), ("b", None), ("b", None)] {
        let publish = subscriber.hear_publish().await;
        assert_eq!((&*publish.topic, publish.topic_alias.map(NonZeroU16::get)), (topic, alias));
    }
    for (topic, alias) in [("", 2), ("c", 1000)] {
        let mut publisher = Peer::new(&broker, Version::V5, "q").await;
        let publish = Publish { topic_alias: NonZeroU16::new(alias), ..message(topic, "x", Qos::AtMostOnce) };
        publisher.say(Packet::Publish(Box::new(publish))).await;
        assert_eq!(publisher.hear_end().await, Some(Reason::ALIAS_INVALID));
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_client_cannot_take_is_dropped_for_it_and_counted() {
    let broker = broker();
    let small = Connect { maximum_packet_size: Some(100), ..connect(Version::V5, "s") };
    let (mut subscriber, _) = Peer::connect(&broker, small).await;
    subscriber.subscribe(wanted("t", Qos::AtLeastOnce)).await;
    let mut publisher = Peer::new(&broker, Version::V5, "p").await;
    publisher.publish(message("t", &"x".repeat(200), Qos::AtLeastOnce)).await;
    publisher.publish(message("t", "small", Qos::AtLeastOnce)).await;
    subscriber.hear_all(&["small"]).await;
    assert_eq!(broker.stats().dropped, 1);
    assert_eq!(broker.stats().sent, 1);
}

#[tokio::test(start_paused = true)]
async fn messages_expire_and_tell_how_long_they_have_left() {
    let broker = broker();
    let (subscriber, _) = Peer::connect(&broker, persistent(Version::V5, "s")).await;
    let mut subscriber = subscriber;
    subscriber.subscribe(wanted("t", Qos::AtLeastOnce)).await;
    subscriber.disconnect(Reason::SUCCESS).await;
    let mut publisher = Peer::new(&broker, Version::V5, "p").await;
    for (payload, expiry_s) in [("short", Some(5)), ("long", Some(60)), ("ever", None)] {
        let publish = Publish { expiry_s, ..message("t", payload, Qos::AtLeastOnce) };
        publisher.publish(publish).await;
    }
    tokio::time::advance(Duration::from_millis(10_500)).await;
    let (mut subscriber, _) = Peer::connect(&broker, persistent(Version::V5, "s")).await;
    let long = subscriber.hear_publish().await;
    assert_eq!((&long.payload[..], long.expiry_s), (&b"long"[..], Some(50)));
    let ever = subscriber.hear_publish().await;
    assert_eq!((&ever.payload[..], ever.expiry_s), (&b"ever"[..], None));
}

#[tokio::test(start_paused = true)]
async fn groups_share_by_filter_and_outlive_their_members() {
    for version in VERSIONS {
        let broker = broker();
        let (mut first, _) = Peer::connect(&broker, persistent(version, "1")).await;
        first.subscribe(wanted("$share/g/t", Qos::AtLeastOnce)).await;
        let mut second = Peer::subscriber(&broker, version, "2", "$share/g/+", Qos::AtLeastOnce).await;
        let mut publisher = Peer::new(&broker, version, "p").await;
        for payload in ["1", "2"] {
            publisher.publish(message("t", payload, Qos::AtLeastOnce)).await;
        }
        second.hear_all(&["1", "2"]).await;
        assert_eq!(first.hear_publish().await.payload, "1");
        // The last member of its group leaves with a message unacknowledged.
        drop(first);
        publisher.publish(message("t", "3", Qos::AtLeastOnce)).await;
        second.hear_all(&["3"]).await;
        let (mut first, is_resumed) = Peer::connect(&broker, persistent(version, "1")).await;
        assert!(is_resumed);
        first.hear_all(&["1", "2", "3"]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn any_client_id_is_welcome_and_none_is_replaced() {
    for version in VERSIONS {
        let broker = broker();
        for client_id in ["/", "+", "#", "$", "a b", "ä€", &"x".repeat(1000)] {
            Peer::new(&broker, version, client_id).await.settle().await;
        }
        let mut anonymous = Peer::open(&broker, version);
        anonymous.say(Packet::Connect(Box::new(connect(version, "")))).await;
        let Packet::ConnAck(answer) = anonymous.hear().await else { panic!("no CONNACK") };
        assert_eq!(answer.reason, Reason::SUCCESS);
        assert_eq!(answer.assigned_client_id.is_some(), version == Version::V5);
    }
}

#[tokio::test(start_paused = true)]
async fn our_own_parts_publish_without_a_connection() {
    let broker = broker();
    let mut subscriber = Peer::subscriber(&broker, Version::V3, "s", "#", Qos::AtLeastOnce).await;
    broker.local().publish(message("serialgate/pi/status", "online", Qos::AtLeastOnce));
    subscriber.hear_all(&["online"]).await;
    assert_eq!(broker.stats().received, 0, "only clients' messages are counted as received");
}

#[tokio::test(start_paused = true)]
async fn subscribing_again_starts_the_retained_messages_anew() {
    let broker = broker();
    for n in 0..3 {
        broker.local().publish(retained(&format!("a/{n}"), &n.to_string(), Qos::AtLeastOnce));
    }
    let narrow = Connect { receive_maximum: 1, ..connect(Version::V5, "s") };
    let (mut peer, _) = Peer::connect(&broker, narrow).await;
    peer.subscribe(wanted("a/#", Qos::AtLeastOnce)).await;
    let first = peer.hear_publish().await;
    peer.subscribe(wanted("a/#", Qos::AtLeastOnce)).await;
    peer.acknowledge(&first).await;
    peer.hear_all(&["0", "1", "2"]).await;
    peer.hear_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn an_unsubscribed_client_gets_no_more_retained_messages() {
    let broker = broker();
    for n in 0..5 {
        broker.local().publish(retained(&format!("a/{n}"), "x", Qos::AtLeastOnce));
    }
    let narrow = Connect { receive_maximum: 1, ..connect(Version::V5, "s") };
    let (mut peer, _) = Peer::connect(&broker, narrow).await;
    peer.subscribe(wanted("a/#", Qos::AtLeastOnce)).await;
    let first = peer.hear_publish().await;
    peer.unsubscribe(&["a/#"]).await;
    peer.acknowledge(&first).await;
    peer.hear_nothing().await;
}
