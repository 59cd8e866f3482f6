//! The gateway dies under its clients, as when the power goes, and comes back.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::agent::{Agent, Library, Version, everybody, merged, numbered};
use crate::mosquitto;
use crate::site::Site;
use crate::support::{PATIENCE, wait_for};

/// Messages of each publisher.
const COUNT: usize = 1000;

/// A session that lasts, of a client that comes back by itself.
fn lasting(version: Version) -> Value {
    let common = json!({"clean": false, "reconnect": true});
    match version {
        Version::V3 => common,
        Version::V5 => merged(common, json!({"session_expiry": 600})),
    }
}

/// Connects one client of each library and version under names that begin with `role`.
fn all(site: &Site, role: &str, libraries: &[Library]) -> Vec<(Agent, String)> {
    let chosen = everybody().filter(|(library, _)| libraries.contains(library));
    let connected = chosen.map(|(library, version)| {
        let (mut agent, name) = (site.agent(library), format!("{role}-{library:?}-{version:?}"));
        agent.connect(&name, version, lasting(version));
        (agent, name)
    });
    connected.collect()
}

/// Publishers of QoS 1 and subscribers are at work when the gateway is killed. All come back by
/// themselves, and every message that a publisher was told is safe comes to every subscriber.
#[test]
fn a_kill_loses_nothing_that_was_acknowledged() {
    let mut site = Site::start();
    let mut subscribers = all(&site, "subscriber", &[Library::Paho, Library::Gmqtt, Library::MqttJs]);
    for (agent, name) in &mut subscribers {
        assert_eq!(agent.subscribe(name, "outage/#", 1), 1);
    }
    // gmqtt cannot publish while it is not connected.
    let mut publishers = all(&site, "publisher", &[Library::Paho, Library::MqttJs]);
    let orders: Vec<u64> = publishers
        .iter_mut()
        .map(|(agent, name)| {
            let order = json!({"topic": format!("outage/{name}"), "qos": 1, "count": COUNT, "prefix": ""});
            agent.order("burst", name, order)
        })
        .collect();
    for _ in 0..3 {
        let (first, name) = &subscribers[0];
        let seen = first.messages(name).len();
        first.wait_messages(name, seen + COUNT / 5);
        site.gateway.kill();
        site.gateway.resume();
        site.wait_up();
    }
    for (order, (agent, _)) in orders.into_iter().zip(&publishers) {
        agent.wait(order).unwrap();
    }
    let expected: BTreeSet<(String, String)> = publishers
        .iter()
        .flat_map(|(_, name)| numbered("", COUNT).into_iter().map(move |n| (format!("outage/{name}"), n)))
        .collect();
    for (agent, name) in &subscribers {
        let came = || -> BTreeSet<(String, String)> {
            agent.messages(name).into_iter().map(|message| (message.topic, message.payload)).collect()
        };
        wait_for(&format!("all messages for {name}"), PATIENCE, || came().len() >= expected.len());
        assert_eq!(came(), expected, "{name}");
    }
    site.gateway.assert_runs();
}

#[test]
fn retained_messages_and_what_waits_for_the_absent_survive_a_kill() {
    const MANY: usize = 1000;
    let mut site = Site::start();
    let absent: Vec<(Library, Version, String)> = everybody()
        .map(|(library, version)| (library, version, format!("{library:?}-{version:?}")))
        .collect();
    for (library, version, name) in &absent {
        let mut agent = site.agent(*library);
        agent.connect(name, *version, merged(lasting(*version), json!({"reconnect": false})));
        agent.subscribe(name, "missed/#", 2);
        agent.ask("disconnect", name, json!({}));
    }
    for qos in [1, 2] {
        let topic = format!("missed/{qos}");
        mosquitto::publish_lines(&site, "mqttv5", qos, &topic, &numbered("", MANY));
    }
    for (topic, payload) in [("kept/a", "old"), ("kept/a", "new"), ("kept/b", "gone"), ("kept/b", "")] {
        let published = mosquitto::publish(&site, "mqttv311", topic, &["-q", "1", "-r", "-m", payload]);
        assert!(published.status.success());
    }
    site.gateway.kill();
    site.gateway.resume();
    site.wait_up();
    for (library, version, name) in &absent {
        let mut agent = site.agent(*library);
        let answer = agent.connect(name, *version, merged(lasting(*version), json!({"reconnect": false})));
        assert_eq!(answer["present"], true, "{name}");
        let messages = agent.wait_messages(name, 2 * MANY);
        for qos in [1, 2] {
            let of = messages.iter().filter(|message| message.qos == qos);
            assert_eq!(
                of.map(|message| message.payload.clone()).collect::<Vec<_>>(),
                numbered("", MANY),
                "{name}"
            );
        }
        agent.subscribe(name, "kept/#", 1);
        let messages = agent.wait_messages(name, 2 * MANY + 1);
        let last = messages.last().unwrap();
        assert_eq!((last.topic.as_str(), last.payload.as_str(), last.retain), ("kept/a", "new", true));
        assert_eq!(messages.len(), 2 * MANY + 1, "{name}");
    }
    site.assert_well();
}
