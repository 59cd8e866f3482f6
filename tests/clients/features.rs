//! What MQTT 5 adds, as the libraries use it.

use serde_json::{Value, json};

use crate::agent::{Agent, LIBRARIES, Library, Version, numbered, payloads};
use crate::mosquitto;
use crate::site::Site;

/// An agent with one client of its library's name, connected over MQTT 5.
fn connected(site: &Site, library: Library, more: Value) -> (Agent, String) {
    let (mut agent, name) = (site.agent(library), format!("{library:?}"));
    agent.connect(&name, Version::V5, more);
    (agent, name)
}

#[test]
fn properties_travel_from_every_library_to_every_other() {
    let site = Site::start();
    let mut players: Vec<_> = LIBRARIES.map(|library| connected(&site, library, json!({}))).into();
    for (agent, name) in &mut players {
        agent.subscribe(name, "properties/#", 1);
    }
    let listener = mosquitto::Sub::start(&site, "mqttv5", 1, &["properties/#"]);
    let properties = json!({
        "format": 1,
        "content_type": "application/json",
        "response_topic": "answers/here",
        "correlation": "request 7",
        "expiry": 3600,
        "user": [["id", "0011-2a/7"], ["unit", "°C"], ["id", "again"]],
    });
    for (agent, name) in &mut players {
        let mut order = json!({"topic": format!("properties/{name}"), "qos": 1, "payload": "{}"});
        order.as_object_mut().unwrap().extend(properties.as_object().unwrap().clone());
        agent.ask("publish", name, order);
    }
    let sorted = |pairs: &Value| {
        let mut pairs: Vec<String> = pairs.as_array().unwrap().iter().map(Value::to_string).collect();
        // MQTT.js has one list for each name, so the order between names is not kept.
        pairs.sort();
        pairs
    };
    for (agent, name) in &players {
        for message in agent.wait_messages(name, players.len()) {
            for key in ["format", "content_type", "response_topic", "correlation"] {
                assert_eq!(message.properties[key], properties[key], "{} to {name}: {key}", message.topic);
            }
            assert_eq!(sorted(&message.properties["user"]), sorted(&properties["user"]));
            let left = message.properties["expiry"].as_u64().unwrap();
            assert!((3500..=3600).contains(&left), "{} to {name}: {left} s left", message.topic);
        }
    }
    for message in listener.wait_messages(players.len()) {
        assert_eq!(message.properties["response-topic"], "answers/here");
        assert_eq!(message.properties["correlation-data"], "request 7");
    }
    site.assert_well();
}

#[test]
fn a_request_finds_its_answer() {
    let site = Site::start();
    for library in LIBRARIES {
        let (mut agent, name) = connected(&site, library, json!({}));
        let topic = format!("requests/{name}");
        agent.subscribe(&name, &topic, 1);
        // mosquitto_rr subscribes, asks, prints the answer and ends.
        let answers = format!("answers/{name}");
        let mut asks = mosquitto::client(&site, "mosquitto_rr", "mqttv5");
        asks.args(["-t", &topic, "-e", &answers, "-m", "how warm?", "-q", "1", "-W", "60"]);
        asks.args(["-D", "PUBLISH", "correlation-data", "seven"]);
        let asks = asks.stdout(std::process::Stdio::piped()).spawn().unwrap();
        let request = agent.wait_messages(&name, 1).remove(0);
        assert_eq!(request.payload, "how warm?");
        let order = json!({
            "topic": request.properties["response_topic"],
            "correlation": request.properties["correlation"],
            "payload": "21.5",
            "qos": 1,
        });
        agent.ask("publish", &name, order);
        let output = asks.wait_with_output().unwrap();
        assert!(output.status.success());
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "21.5", "{name}");
    }
    site.assert_well();
}

#[test]
fn subscription_identifiers_tell_which_subscription_a_message_is_for() {
    let site = Site::start();
    for library in LIBRARIES {
        let (mut agent, name) = connected(&site, library, json!({}));
        for (filter, id) in [("a/+", 1), ("+/b", 268_435_455), ("c", 5)] {
            let filter = format!("{name}/{filter}");
            let order = json!({"filter": filter, "qos": 1, "subscription_id": id});
            assert_eq!(agent.ask("subscribe", &name, order)["reasons"][0], 1);
        }
        for topic in ["a/b", "a/x", "c"] {
            agent.ask("publish", &name, json!({"topic": format!("{name}/{topic}"), "qos": 1}));
        }
        let messages = agent.wait_messages(&name, 3);
        let ids: Vec<Vec<u64>> = messages
            .iter()
            .map(|message| {
                let ids = message.properties["ids"].as_array().unwrap();
                let mut ids: Vec<u64> = ids.iter().map(|id| id.as_u64().unwrap()).collect();
                ids.sort_unstable();
                ids
            })
            .collect();
        assert_eq!(ids, [vec![1, 268_435_455], vec![1], vec![5]], "{name}");
    }
    site.assert_well();
}

#[test]
fn subscription_options_are_kept() {
    let site = Site::start();
    for library in LIBRARIES {
        let (mut agent, name) = connected(&site, library, json!({}));
        let topic = |topic: &str| format!("{name}/{topic}");
        let publish = |agent: &mut Agent, at: &str, payload: &str| {
            agent.ask(
                "publish",
                &name,
                json!({"topic": topic(at), "payload": payload, "qos": 1, "retain": true}),
            );
        };
        publish(&mut agent, "stored", "before");
        // No local: one's own messages do not come back.
        agent.ask("subscribe", &name, json!({"filter": topic("own"), "qos": 1, "no_local": true}));
        publish(&mut agent, "own", "mine");
        // Retain handling: 0 sends what is stored, 1 for a new subscription only, 2 never.
        for (handling, again, expected) in [(0, false, 1), (0, true, 2), (1, true, 2), (2, true, 2)] {
            let order = json!({"filter": topic("stored"), "qos": 1, "retain_handling": handling});
            agent.ask("subscribe", &name, order);
            // What is stored would come before the answer to what is asked after it.
            agent.ask("unsubscribe", &name, json!({"filter": "nothing"}));
            let seen = agent.wait_messages(&name, expected).len();
            assert_eq!(seen, expected, "{name}: retain handling {handling}, again: {again}");
        }
        agent.ask("unsubscribe", &name, json!({"filter": topic("stored")}));
        agent.forget();
        for (handling, expected) in [(2, 0), (1, 0)] {
            let order = json!({"filter": topic("stored"), "qos": 1, "retain_handling": handling});
            agent.ask("subscribe", &name, order);
            agent.ask("unsubscribe", &name, json!({"filter": "nothing"}));
            assert_eq!(agent.messages(&name).len(), expected, "{name}: retain handling {handling}");
        }
        // Retain as published: the flag stays as the publisher set it.
        let order =
            json!({"filter": topic("stored"), "qos": 1, "retain_handling": 2, "retain_as_published": true});
        agent.ask("subscribe", &name, order);
        publish(&mut agent, "stored", "after");
        let messages = agent.wait_messages(&name, 1);
        assert!(messages[0].retain && messages[0].payload == "after", "{name}");
    }
    site.assert_well();
}

#[test]
fn a_message_that_expired_is_not_delivered_and_another_tells_what_is_left() {
    let site = Site::start();
    let (mut publisher, sender) = connected(&site, LIBRARIES[0], json!({}));
    for library in LIBRARIES {
        let lasting = json!({"id": format!("away-{library:?}"), "clean": false, "session_expiry": 600});
        let (mut agent, name) = connected(&site, library, lasting.clone());
        let topic = format!("expiry/{name}");
        agent.subscribe(&name, &topic, 1);
        agent.ask("disconnect", &name, json!({}));
        for (payload, expiry) in [("short", 1), ("long", 1000)] {
            let order = json!({"topic": topic, "payload": payload, "qos": 1, "expiry": expiry});
            publisher.ask("publish", &sender, order);
        }
        // The first one's time runs out; the second has less of it left then.
        crate::support::pause(std::time::Duration::from_millis(2100));
        agent.connect(&name, Version::V5, lasting);
        let messages = agent.wait_messages(&name, 1);
        assert_eq!(payloads(&messages), ["long"], "{name}");
        let left = messages[0].properties["expiry"].as_u64().unwrap();
        assert!((900..=998).contains(&left), "{name}: {left}");
    }
    site.gateway.wait_status("the count", |_| true);
}

#[test]
fn topic_aliases_work_in_both_directions() {
    let site = Site::start();
    let (mut listener, heard) = connected(&site, Library::MqttJs, json!({"topic_alias_maximum": 10}));
    listener.subscribe(&heard, "alias/#", 1);
    // gmqtt and MQTT.js put the topic back where an alias stands for it; both get aliases.
    let (mut second, also) = connected(&site, Library::Gmqtt, json!({"topic_alias_maximum": 2}));
    second.subscribe(&also, "alias/#", 1);
    let mut expected = Vec::new();
    for library in [Library::Paho, Library::Gmqtt] {
        let (mut agent, name) = {
            let mut agent = site.agent(library);
            let name = format!("{library:?}-publisher");
            agent.connect(&name, Version::V5, json!({}));
            (agent, name)
        };
        // The alias is given once and used after that, with an empty topic.
        let topic = format!("alias/{name}");
        for (n, topic) in [topic.as_str(), "", "", "alias/other", ""].into_iter().enumerate() {
            let order = json!({"topic": topic, "alias": 3, "payload": n.to_string(), "qos": 1});
            agent.ask("publish", &name, order);
        }
        expected.extend(["", "", ""].map(|_| topic.clone()));
        expected.extend(["alias/other".to_owned(), "alias/other".to_owned()]);
    }
    let mut agent = site.agent(Library::MqttJs);
    agent.connect("automatic", Version::V5, json!({"auto_alias": true}));
    for _ in 0..3 {
        agent.ask("publish", "automatic", json!({"topic": "alias/automatic", "qos": 1}));
        expected.push("alias/automatic".to_owned());
    }
    for (agent, name) in [(&listener, &heard), (&second, &also)] {
        let messages = agent.wait_messages(name, expected.len());
        let topics: Vec<_> = messages.iter().map(|message| message.topic.clone()).collect();
        assert_eq!(topics, expected, "{name}");
        let with_alias = messages.iter().filter(|message| message.properties.get("alias").is_some()).count();
        assert!(with_alias > 5, "{name}: the broker used {with_alias} aliases");
    }
    site.assert_well();
}

#[test]
fn a_group_shares_its_messages() {
    const COUNT: usize = 120;
    let site = Site::start();
    let mut members: Vec<_> = LIBRARIES.map(|library| connected(&site, library, json!({}))).into();
    for (agent, name) in &mut members {
        assert_eq!(agent.subscribe(name, "$share/group/jobs/#", 1), 1);
    }
    let all = mosquitto::Sub::start(&site, "mqttv5", 1, &["jobs/#"]);
    let lines = numbered("job ", COUNT);
    mosquitto::publish_lines(&site, "mqttv5", 1, "jobs/now", &lines);
    assert_eq!(payloads(&all.wait_messages(COUNT)), lines);
    // The messages that were published before these arrived are all on their way by now.
    crate::support::wait_for("the group's share", crate::support::PATIENCE, || {
        members.iter().map(|(agent, name)| agent.messages(name).len()).sum::<usize>() >= COUNT
    });
    let mut seen = Vec::new();
    for (agent, name) in &members {
        let messages = agent.messages(name);
        assert!(messages.len() >= COUNT / members.len() / 2, "{name} has only {}", messages.len());
        seen.extend(messages.into_iter().map(|message| message.payload));
    }
    seen.sort();
    let mut expected = lines;
    expected.sort();
    assert_eq!(seen, expected, "each job went to one member");
    site.assert_well();
}

#[test]
fn limits_that_a_client_sets_are_kept() {
    let site = Site::start();
    for library in LIBRARIES {
        // At most two messages unacknowledged, at most 1000 bytes in one.
        let limits = json!({"receive_maximum": 2, "maximum_packet_size": 1000});
        let (mut agent, name) = connected(&site, library, limits);
        agent.subscribe(&name, &format!("limits/{name}"), 1);
        let before = site.broker()["dropped"].as_u64().unwrap();
        let topic = format!("limits/{name}");
        mosquitto::publish_lines(&site, "mqttv5", 1, &topic, &numbered("", 100));
        let large = "x".repeat(2000);
        mosquitto::publish_lines(&site, "mqttv5", 1, &topic, &[large, "last".to_owned()]);
        let messages = agent.wait_messages(&name, 101);
        let expected: Vec<_> = numbered("", 100).into_iter().chain(["last".to_owned()]).collect();
        assert_eq!(payloads(&messages), expected, "{name}");
        assert_eq!(site.broker()["dropped"].as_u64(), Some(before + 1), "what it cannot take is counted");
    }
}

#[test]
fn a_client_without_a_name_is_given_one() {
    let site = Site::start();
    // gmqtt makes up a name by itself.
    for library in [Library::Paho, Library::MqttJs] {
        let mut agent = site.agent(library);
        let given = agent.connect("nameless", Version::V5, json!({"id": ""}));
        let name = given["assigned_client_id"].as_str().unwrap();
        assert!(name.len() > 10, "{library:?}: {name}");
    }
    site.assert_well();
}
