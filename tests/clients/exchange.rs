//! Messages of every QoS, from every client to every other.

use serde_json::json;

use crate::agent::{Agent, LIBRARIES, Version, everybody, numbered, payloads};
use crate::mosquitto;
use crate::site::Site;

/// Messages of each QoS.
const COUNT: usize = 300;

/// A client that publishes and subscribes in the great exchange.
struct Player {
    name: String,
    version: Version,
    agent: Agent,
}

/// Each client publishes 300 messages of each QoS and all get all of them: once, in order, with the
/// QoS that they were published with. The libraries publish at the same time.
#[test]
fn every_client_hears_every_other_once_and_in_order() {
    let site = Site::start();
    let mut players: Vec<Player> = everybody()
        .map(|(library, version)| Player {
            name: format!("{library:?}-{version:?}"),
            version,
            agent: site.agent(library),
        })
        .collect();
    for Player { name, version, agent } in &mut players {
        agent.connect(name, *version, json!({}));
        assert_eq!(agent.subscribe(name, "exchange/#", 2), 2, "{name}");
    }
    let listeners =
        mosquitto::VERSIONS.map(|version| mosquitto::Sub::start(&site, version, 2, &["exchange/#"]));
    let everyone: Vec<String> = players
        .iter()
        .map(|player| player.name.clone())
        .chain(mosquitto::VERSIONS.map(|version| format!("mosquitto-{version}")))
        .collect();

    for qos in 0..3 {
        let prefix = |name: &str| format!("{name}: ");
        let orders: Vec<u64> = players
            .iter_mut()
            .map(|Player { name, agent, .. }| {
                let topic = format!("exchange/{name}/{qos}");
                let order = json!({"topic": topic, "qos": qos, "count": COUNT, "prefix": prefix(name)});
                agent.order("burst", name, order)
            })
            .collect();
        for version in mosquitto::VERSIONS {
            let name = format!("mosquitto-{version}");
            let topic = format!("exchange/{name}/{qos}");
            mosquitto::publish_lines(&site, version, qos, &topic, &numbered(&prefix(&name), COUNT));
        }
        for (order, player) in orders.into_iter().zip(&players) {
            player.agent.wait(order).unwrap();
        }
        let total = everyone.len() * COUNT * (usize::from(qos) + 1);
        let heard = players.iter().map(|Player { name, agent, .. }| agent.wait_messages(name, total));
        let heard = heard.chain(listeners.iter().map(|listener| listener.wait_messages(total)));
        for (messages, receiver) in heard.zip(&everyone) {
            assert_eq!(messages.len(), total, "{receiver}");
            for sender in &everyone {
                let topic = format!("exchange/{sender}/{qos}");
                let from: Vec<_> =
                    messages.iter().filter(|message| message.topic == topic).cloned().collect();
                assert_eq!(payloads(&from), numbered(&prefix(sender), COUNT), "{sender} to {receiver}");
                assert!(from.iter().all(|message| message.qos == qos && !message.dup && !message.retain));
            }
        }
    }
    site.assert_well();
}

#[test]
fn a_subscription_lowers_the_qos_and_never_raises_it() {
    let site = Site::start();
    for (library, version) in everybody() {
        let mut agent = site.agent(library);
        let base = format!("{library:?}/{version:?}");
        agent.connect("publisher", version, json!({}));
        for qos in 0..3 {
            let client = format!("subscriber-{qos}");
            agent.connect(&client, version, json!({}));
            assert_eq!(agent.subscribe(&client, &format!("{base}/#"), qos), u64::from(qos));
        }
        for qos in 0..3 {
            agent.ask("publish", "publisher", json!({"topic": format!("{base}/{qos}"), "qos": qos}));
        }
        for granted in 0..3 {
            let messages = agent.wait_messages(&format!("subscriber-{granted}"), 3);
            let seen: Vec<u8> = messages.iter().map(|message| message.qos).collect();
            assert_eq!(seen, [0, 1, 2].map(|published| granted.min(published)), "{base}");
        }
    }
    site.assert_well();
}

/// Bytes that come close to the largest packet.
const LARGE: usize = 900_000;

#[test]
fn large_and_binary_and_empty_payloads_and_topics_in_any_script_arrive_unharmed() {
    let site = Site::start();
    let topic = "Haus/Küche/温度/🌡️ innen";
    for (library, version) in everybody() {
        let mut agent = site.agent(library);
        agent.connect("client", version, json!({}));
        assert_eq!(agent.subscribe("client", "Haus/+/温度/#", 1), 1);
        let mut publish = |more: serde_json::Value| {
            let mut order = json!({"topic": topic, "qos": 1});
            order.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            agent.ask("publish", "client", order);
        };
        publish(json!({"fill": LARGE}));
        publish(json!({"hex": "00ff80fe0a0d"}));
        publish(json!({"payload": ""}));
        publish(json!({"payload": "21,5 °C ✓"}));
        let messages = agent.wait_messages("client", 4);
        assert!(messages.iter().all(|message| message.topic == topic), "{library:?}");
        assert_eq!(messages[0].payload, "x".repeat(LARGE), "{library:?} {version:?}");
        assert_eq!(messages[1].hex, "00ff80fe0a0d");
        assert_eq!((messages[2].payload.as_str(), messages[2].hex.as_str()), ("", ""));
        assert_eq!(messages[3].payload, "21,5 °C ✓");
    }
    site.assert_well();
}

#[test]
fn retained_messages_are_kept_replaced_and_cleared() {
    let site = Site::start();
    for (library, version) in everybody() {
        let base = format!("{library:?}/{version:?}");
        let mut agent = site.agent(library);
        agent.connect("watcher", version, json!({}));
        agent.subscribe("watcher", &format!("{base}/#"), 1);
        agent.connect("publisher", version, json!({}));
        for (topic, payload) in [("a", "old"), ("a", "new"), ("b", "kept"), ("c", "gone"), ("c", "")] {
            let order =
                json!({"topic": format!("{base}/{topic}"), "payload": payload, "qos": 1, "retain": true});
            agent.ask("publish", "publisher", order);
        }
        let live = agent.wait_messages("watcher", 5);
        assert_eq!(payloads(&live), ["old", "new", "kept", "gone", ""]);
        assert!(live.iter().all(|message| !message.retain), "they are news to this one");
        agent.connect("late", version, json!({}));
        agent.subscribe("late", &format!("{base}/+"), 2);
        let stored = agent.wait_messages("late", 2);
        let of = |topic: &str, payload: &str| (format!("{base}/{topic}"), payload.to_owned(), true, 1);
        let seen: Vec<_> =
            stored.iter().map(|m| (m.topic.clone(), m.payload.clone(), m.retain, m.qos)).collect();
        assert_eq!(seen, [of("a", "new"), of("b", "kept")]);
        // Once more with the next subscription, and not without one.
        agent.subscribe("late", &format!("{base}/a"), 0);
        let stored = agent.wait_messages("late", 3);
        assert_eq!((stored[2].payload.as_str(), stored[2].retain, stored[2].qos), ("new", true, 0));
        for topic in ["a", "b"] {
            let order = json!({"topic": format!("{base}/{topic}"), "retain": true, "qos": 1});
            agent.ask("publish", "publisher", order);
        }
    }
    assert_eq!(site.broker()["retained"].as_u64(), Some(own_retained(&site)));
    site.assert_well();
}

/// What the gateway itself keeps for its own topics.
fn own_retained(site: &Site) -> u64 {
    let listener = mosquitto::Sub::start(site, "mqttv5", 0, &["#"]);
    let count = listener.messages().iter().filter(|message| message.topic.starts_with("serialgate/")).count();
    u64::try_from(count).unwrap()
}

/// 1000 retained messages and a new subscriber: it gets 1000, whatever the QoS of its subscription.
#[test]
fn a_thousand_retained_messages_are_a_thousand() {
    const MANY: usize = 1000;
    let site = Site::start();
    let mut publisher = site.agent(LIBRARIES[0]);
    publisher.connect("publisher", Version::V5, json!({}));
    for n in 0..MANY {
        let order =
            json!({"topic": format!("many/{n:04}"), "payload": n.to_string(), "qos": n % 3, "retain": true});
        publisher.ask("publish", "publisher", order);
    }
    for (library, version) in everybody() {
        let mut agent = site.agent(library);
        for qos in 0..3 {
            let client = format!("{library:?}-{version:?}-{qos}");
            agent.connect(&client, version, json!({}));
            agent.subscribe(&client, "many/#", qos);
            let messages = agent.wait_messages(&client, MANY);
            assert!(messages.iter().all(|message| message.retain));
            // paho tells of a message of QoS 2 when its handshake is over, so later than of others.
            let mut numbers: Vec<usize> =
                messages.iter().map(|message| message.payload.parse().unwrap()).collect();
            numbers.sort_by_key(|n| n % 3);
            let one_of_each: Vec<usize> = (0..3).flat_map(|qos| (qos..MANY).step_by(3)).collect();
            assert_eq!(numbers, one_of_each, "{client}");
        }
    }
    site.assert_well();
}
