//! `$SYS`: what the broker tells about itself.

use std::collections::HashMap;

use super::*;

/// Hears everything that comes at once, by topic.
async fn told(peer: &mut Peer) -> HashMap<String, Publish> {
    let mut told = HashMap::new();
    while let Ok(packet) = timeout(MOMENT, peer.hear()).await {
        if let Packet::Publish(publish) = packet {
            told.insert(publish.topic.to_string(), *publish);
        }
    }
    told
}

fn value<'a>(told: &'a HashMap<String, Publish>, name: &str) -> &'a str {
    std::str::from_utf8(&told[&format!("$SYS/broker/{name}")].payload).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_new_subscriber_finds_all_values_as_they_are_now() {
    let (broker, _stop) = serving(Limits::default());
    let mut other = Peer::subscriber(&broker, Version::V3, "other", "a/#", Qos::AtLeastOnce).await;
    other.publish(message("b", "12345", Qos::AtLeastOnce)).await;
    for version in VERSIONS {
        let mut peer = Peer::subscriber(&broker, version, "s", "$SYS/#", Qos::AtMostOnce).await;
        let told = told(&mut peer).await;
        assert!(told.values().all(|publish| publish.retain), "all of them, as retained messages");
        assert!(value(&told, "version").starts_with("serialgate version "));
        for (name, expected) in [
            ("clients/connected", "2"),
            ("publish/messages/received", "1"),
            ("publish/bytes/received", "5"),
            ("subscriptions/count", "1"),
            ("shared_subscriptions/count", "0"),
            ("retained messages/count", "0"),
            ("serialgate/dropped/qos1", "0"),
        ] {
            assert_eq!(value(&told, name), expected, "{name}");
        }
        assert!(value(&told, "bytes/received").parse::<u64>().unwrap() > 10);
        peer.disconnect(Reason::SUCCESS).await;
    }
}

#[tokio::test(start_paused = true)]
async fn while_somebody_subscribes_what_changes_is_told_every_ten_seconds() {
    let (broker, _stop) = serving(Limits::default());
    let mut peer = Peer::subscriber(&broker, Version::V5, "s", "$SYS/broker/+", Qos::AtMostOnce).await;
    assert_eq!(told(&mut peer).await.len(), 2, "version and uptime");
    tokio::time::sleep(Duration::from_secs(10)).await;
    let told = told(&mut peer).await;
    assert_eq!(told.keys().collect::<Vec<_>>(), ["$SYS/broker/uptime"], "the version does not change");
    assert!(!told["$SYS/broker/uptime"].retain);
}

#[tokio::test(start_paused = true)]
async fn without_subscribers_nothing_is_told_and_nothing_is_kept() {
    let (broker, _stop) = serving(Limits::default());
    let mut all = Peer::subscriber(&broker, Version::V5, "all", "#", Qos::AtMostOnce).await;
    all.publish(message("x", "y", Qos::AtMostOnce)).await;
    assert_eq!(all.hear_publish().await.topic, "x".into());
    tokio::time::sleep(Duration::from_secs(60)).await;
    all.hear_nothing().await;
    let mut peer = Peer::subscriber(&broker, Version::V5, "s", "$SYS/broker/uptime", Qos::AtMostOnce).await;
    assert_eq!(peer.hear_publish().await.payload, "60 seconds");
    peer.unsubscribe(&["$SYS/broker/uptime"]).await;
    assert!(!broker.lock().is_sys_wanted());
    assert_eq!(broker.stats().retained, 0);
    all.hear_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn nobody_else_speaks_there() {
    let (broker, _stop) = serving(Limits::default());
    let mut peer = Peer::subscriber(&broker, Version::V3, "s", "$SYS/mine", Qos::AtMostOnce).await;
    for retain in [false, true] {
        let publish = Publish { retain, ..message("$SYS/mine", "x", Qos::AtMostOnce) };
        peer.say(Packet::Publish(Box::new(publish))).await;
    }
    let dying = Connect { will: Some(will("$SYS/mine", 0)), ..connect(Version::V3, "d") };
    let mut dead = Peer::open(&broker, Version::V3);
    dead.say(Packet::Connect(Box::new(dying))).await;
    assert!(matches!(dead.hear().await, Packet::ConnAck(answer) if answer.reason == Reason::NOT_AUTHORIZED));
    peer.settle().await;
    peer.subscribe(wanted("$SYS/mine", Qos::AtMostOnce)).await;
    peer.hear_nothing().await;
}
