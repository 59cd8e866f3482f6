//! What outlives a connection: sessions, their queues, wills.

use serde_json::{Value, json};

use crate::agent::{Agent, LIBRARIES, Library, Version, everybody, merged, numbered, payloads};
use crate::mosquitto;
use crate::site::Site;
use crate::support::{PATIENCE, wait_for};

/// Seconds that a session lasts which is to be found again.
const LASTS_S: u32 = 600;

/// How to connect to a session that lasts, however the version calls that.
fn lasting(version: Version) -> Value {
    match version {
        Version::V3 => json!({"clean": false}),
        Version::V5 => json!({"clean": false, "session_expiry": LASTS_S}),
    }
}

/// Somebody to publish to the client under test.
fn publisher(site: &Site) -> Agent {
    let mut agent = site.agent(LIBRARIES[0]);
    agent.connect("publisher", Version::V5, json!({}));
    agent
}

/// Publishes so many messages to a client.
fn burst(publisher: &mut Agent, topic: &str, qos: u8, prefix: &str, count: usize) {
    let order = json!({"topic": topic, "qos": qos, "prefix": prefix, "count": count});
    publisher.ask("burst", "publisher", order);
}

#[test]
fn a_client_that_was_away_gets_what_it_missed_in_order() {
    const MISSED: usize = 200;
    let site = Site::start();
    let mut publisher = publisher(&site);
    for (library, version) in everybody() {
        for qos in [1, 2] {
            let name = format!("{library:?}-{version:?}-{qos}");
            let (topic, client) = (format!("{name}/data"), name.as_str());
            let mut agent = site.agent(library);
            assert_eq!(agent.connect(client, version, lasting(version))["present"], false, "{name}");
            agent.subscribe(client, &topic, qos);
            agent.ask("disconnect", client, json!({}));
            burst(&mut publisher, &topic, qos, "polite ", MISSED);
            burst(&mut publisher, &topic, 0, "not for the absent ", 1);
            assert_eq!(agent.connect(client, version, lasting(version))["present"], true, "{name}");
            let messages = agent.wait_messages(client, MISSED);
            assert_eq!(payloads(&messages), numbered("polite ", MISSED), "{name}");
            agent.kill();
            wait_gone(&site, 1);
            burst(&mut publisher, &topic, qos, "abrupt ", MISSED);
            let mut agent = site.agent(library);
            assert_eq!(agent.connect(client, version, lasting(version))["present"], true, "{name}");
            let messages = agent.wait_messages(client, MISSED);
            assert_eq!(payloads(&messages), numbered("abrupt ", MISSED), "{name}");
            assert!(messages.iter().all(|message| message.qos == qos));
            // A clean start ends the session.
            agent.ask("disconnect", client, json!({}));
            burst(&mut publisher, &topic, qos, "for nobody ", 1);
            assert_eq!(agent.connect(client, version, json!({}))["present"], false, "{name}");
            agent.subscribe(client, &topic, qos);
            burst(&mut publisher, &topic, qos, "new ", 1);
            let messages = agent.wait_messages(client, MISSED + 1);
            assert_eq!(messages[MISSED].payload, "new 0", "{name}");
            agent.ask("disconnect", client, json!({}));
        }
    }
    site.assert_well();
}

/// Waits until so many clients are left.
fn wait_gone(site: &Site, left: u64) {
    site.gateway.wait_status("the broken connection's end", |status| status["broker"]["clients"] == left);
}

#[test]
fn a_client_may_come_back_with_another_library_and_the_other_version() {
    let site = Site::start();
    let mut publisher = publisher(&site);
    let client = "wanderer";
    let mut first = site.agent(LIBRARIES[0]);
    first.connect(client, Version::V3, lasting(Version::V3));
    first.subscribe(client, "wanderer/#", 1);
    first.ask("disconnect", client, json!({}));
    for (round, (library, version)) in everybody().enumerate() {
        burst(&mut publisher, "wanderer/data", 1, &format!("round {round}: "), 50);
        let mut agent = site.agent(library);
        assert_eq!(agent.connect(client, version, lasting(version))["present"], true, "{library:?}");
        let messages = agent.wait_messages(client, 50);
        assert_eq!(payloads(&messages), numbered(&format!("round {round}: "), 50), "{library:?}");
        agent.ask("disconnect", client, json!({}));
    }
    site.assert_well();
}

#[test]
fn a_second_connection_with_the_same_id_takes_over() {
    let site = Site::start();
    let mut publisher = publisher(&site);
    for (library, version) in everybody() {
        let id = format!("{library:?}-{version:?}");
        let (mut old, mut new) = (site.agent(library), site.agent(library));
        old.connect("old", version, merged(lasting(version), json!({"id": id})));
        old.subscribe("old", &id, 1);
        let answer = new.connect("new", version, merged(lasting(version), json!({"id": id})));
        assert_eq!(answer["present"], true, "{id}");
        let (words, reason) = old.wait_end("old");
        if version == Version::V5 {
            // "Session taken over": the old one is told why.
            assert_eq!(reason, Some(0x8E), "{id}: {words}");
        }
        burst(&mut publisher, &id, 1, "", 10);
        assert_eq!(payloads(&new.wait_messages("new", 10)), numbered("", 10), "{id}");
        assert_eq!(old.messages("old"), [], "{id}");
    }
    site.assert_well();
}

#[test]
fn a_session_lasts_as_long_as_it_asked_for() {
    let site = Site::start();
    for library in LIBRARIES {
        let client = format!("{library:?}");
        let mut agent = site.agent(library);
        let connect = |agent: &mut Agent, expiry: u32| {
            let more = json!({"clean": false, "session_expiry": expiry});
            agent.connect(&client, Version::V5, more)["present"].as_bool().unwrap()
        };
        assert!(!connect(&mut agent, LASTS_S), "{client}");
        agent.ask("disconnect", &client, json!({}));
        assert!(connect(&mut agent, LASTS_S), "{client}: the session is there for now");
        // DISCONNECT ends it at once.
        agent.ask("disconnect", &client, json!({"session_expiry": 0}));
        assert!(!connect(&mut agent, 1), "{client}: it was ended");
        agent.ask("disconnect", &client, json!({}));
        // After its second it is gone. Each look gives it another one, so they lie further apart.
        wait_for("the end of a session", PATIENCE, || {
            crate::support::pause(std::time::Duration::from_millis(1500));
            let was_there = connect(&mut agent, 1);
            agent.ask("disconnect", &client, json!({}));
            !was_there
        });
    }
    site.assert_well();
}

/// A will as the tests set it.
fn will(topic: &str) -> Value {
    json!({"topic": topic, "payload": "gone", "qos": 1, "retain": true, "user": [["why", "power"]]})
}

#[test]
fn a_will_is_published_when_a_client_vanishes_and_not_when_it_leaves() {
    let site = Site::start();
    for (library, version) in everybody() {
        let topic = format!("{library:?}/{version:?}");
        let listener = mosquitto::Sub::start(&site, "mqttv5", 1, &[&format!("{topic}/#")]);
        let mut agent = site.agent(library);
        agent.connect("polite", version, json!({"will": will(&format!("{topic}/polite"))}));
        agent.ask("disconnect", "polite", json!({}));
        agent.connect("doomed", version, json!({"will": will(&format!("{topic}/doomed"))}));
        agent.kill();
        let messages = listener.wait_messages(1);
        assert_eq!((messages[0].topic.as_str(), messages[0].qos), (format!("{topic}/doomed").as_str(), 1));
        assert_eq!(messages[0].payload, "gone");
        if version == Version::V5 {
            assert_eq!(messages[0].properties["user-properties"]["why"], "power");
        }
        // It is retained, as it was meant to be.
        let late = mosquitto::Sub::start(&site, "mqttv311", 1, &[&format!("{topic}/#")]);
        let stored = late.wait_messages(1);
        assert!(stored[0].retain && stored.len() == 1);
        assert_eq!(listener.messages().len(), 1, "the polite one's will was not published");
    }
    site.assert_well();
}

#[test]
fn a_delayed_will_comes_later_and_not_if_the_client_is_back() {
    let site = Site::start();
    // gmqtt puts the delay where it belongs, too; one library is enough to see the broker's part, and
    // each has to be able to ask for it.
    for library in LIBRARIES {
        let topic = format!("{library:?}/will");
        let listener = mosquitto::Sub::start(&site, "mqttv5", 1, &[&topic]);
        let with_will = |payload: &str, delay: u32| {
            let will = json!({"topic": topic, "payload": payload, "qos": 1, "delay": delay});
            json!({"clean": false, "session_expiry": LASTS_S, "will": will})
        };
        let client = format!("{library:?}");
        let connect = |library: Library, more: Value| {
            let mut agent = site.agent(library);
            agent.connect(&client, Version::V5, more);
            agent
        };
        let before = site.broker()["clients"].as_u64().unwrap();
        connect(library, with_will("never", LASTS_S)).kill();
        wait_gone(&site, before);
        let agent = connect(library, with_will("soon", 1));
        agent.kill();
        let messages = listener.wait_messages(1);
        assert_eq!(payloads(&messages), ["soon"], "{library:?}");
    }
    site.assert_well();
}
