//! What clients are told when they ask for what they cannot have, or are ended for another reason.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use serde_json::json;

use crate::agent::{LIBRARIES, Library, VERSIONS, Version, numbered, payloads};
use crate::mosquitto;
use crate::site::Site;
use crate::support::{PATIENCE, free_port};

/// More bytes than the broker takes in one packet.
const TOO_LARGE: usize = 1_100_000;

/// Whether a client's connection ended with this reason, as far as its version has words for it.
fn assert_told(version: Version, told: &(String, Option<u64>), expected: u64, what: &str) {
    if version == Version::V5 {
        assert_eq!(told.1, Some(expected), "{what}: {}", told.0);
    }
}

#[test]
fn a_packet_that_is_too_large_is_refused_and_the_client_may_come_back() {
    let site = Site::start();
    // MQTT.js does not even send it over 5.0: CONNACK told how much fits.
    for (library, version) in [
        (Library::Paho, Version::V3),
        (Library::Paho, Version::V5),
        (Library::Gmqtt, Version::V3),
        (Library::Gmqtt, Version::V5),
        (Library::MqttJs, Version::V3),
    ] {
        let mut agent = site.agent(library);
        agent.connect("client", version, json!({}));
        agent.order("publish", "client", json!({"topic": "large", "qos": 1, "fill": TOO_LARGE}));
        assert_told(version, &agent.wait_end("client"), 0x95, &format!("{library:?}"));
        let mut agent = site.agent(library);
        agent.connect("client", version, json!({}));
        agent.ask("publish", "client", json!({"topic": "small", "qos": 1, "payload": "x"}));
    }
    site.assert_well();
}

#[test]
fn a_share_that_is_none_is_refused_and_the_others_are_not() {
    let site = Site::start();
    // The other libraries do not let it through.
    for (version, refused) in [(Version::V3, 0x80), (Version::V5, 0x8F)] {
        let mut agent = site.agent(Library::Gmqtt);
        agent.connect("client", version, json!({}));
        for filter in ["$share/group", "$share//a", "$share/+/a"] {
            assert_eq!(agent.subscribe("client", filter, 1), refused, "{filter}");
        }
        assert_eq!(agent.subscribe("client", "a/+/b/#", 1), 1);
    }
    let output =
        mosquitto::client(&site, "mosquitto_sub", "mqttv5").args(["-t", "$share//x"]).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains("All subscription requests were denied"), "{words}");
    site.assert_well();
}

#[test]
fn a_filter_that_is_none_ends_the_connection() {
    let site = Site::start();
    for version in VERSIONS {
        for filter in ["a/#/b", "a/b#", "a+", "$share/g+/a"] {
            let mut agent = site.agent(Library::Gmqtt);
            agent.connect("client", version, json!({}));
            agent.order("subscribe", "client", json!({"filter": filter, "qos": 1}));
            assert_told(version, &agent.wait_end("client"), 0x8F, filter);
        }
    }
    site.assert_well();
}

#[test]
fn a_topic_with_wildcards_cannot_be_published_to() {
    let site = Site::start();
    for version in VERSIONS {
        let mut agent = site.agent(Library::Gmqtt);
        agent.connect("client", version, json!({}));
        agent.order("publish", "client", json!({"topic": "a/+/b", "qos": 1, "payload": "x"}));
        assert_told(version, &agent.wait_end("client"), 0x90, "gmqtt");
    }
    site.assert_well();
}

#[test]
fn no_local_on_a_shared_subscription_is_a_protocol_error() {
    let site = Site::start();
    let mut agent = site.agent(Library::Gmqtt);
    agent.connect("client", Version::V5, json!({}));
    agent.order("subscribe", "client", json!({"filter": "$share/g/a", "qos": 1, "no_local": true}));
    assert_told(Version::V5, &agent.wait_end("client"), 0x82, "gmqtt");
    site.assert_well();
}

#[test]
fn a_broker_that_stops_tells_its_clients() {
    let mut site = Site::start();
    let mut agents = Vec::new();
    for library in LIBRARIES {
        for version in VERSIONS {
            let (mut agent, name) = (site.agent(library), format!("{library:?}-{version:?}"));
            agent.connect(&name, version, json!({}));
            agents.push((name, version, agent));
        }
    }
    assert!(site.gateway.terminate().success());
    for (name, version, agent) in agents {
        assert_told(version, &agent.wait_end(&name), 0x8B, &name);
    }
}

#[test]
fn a_version_that_nobody_speaks_any_more_is_named_as_the_reason() {
    let site = Site::start();
    let output = mosquitto::publish(&site, "mqttv31", "a", &["-m", "x"]);
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(words.contains("unacceptable protocol version"), "{words}");
    site.assert_well();
}

/// Somebody who types the address into a browser, and a client that expects TLS, see the end at once.
#[test]
fn other_protocols_on_the_port_are_not_kept_waiting() {
    let site = Site::start();
    let hello = b"\x16\x03\x01\x00\xf5\x01\x00\x00\xf1\x03\x03";
    for first in [b"GET / HTTP/1.1\r\nHost: gateway:1883\r\n\r\n".as_slice(), hello.as_slice()] {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, site.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(first).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, b"");
    }
    site.assert_well();
}

/// MQTT.js sends as much as it has, whatever the receive maximum. Where a bridge forwards it, that is
/// acknowledged when it is safe, so later than the next message comes: the client is held back and
/// not cut off, over both versions.
#[test]
fn a_client_that_does_not_count_is_held_back() {
    const MANY: usize = 3000;
    let forwards = format!(
        "bridges:\n  - {{name: cloud, url: \"mqtt://127.0.0.1:{}\", forward: [\"sensors/#\"]}}\n",
        free_port()
    );
    let site = Site::with(&forwards);
    for version in VERSIONS {
        let mut agent = site.agent(Library::MqttJs);
        let topic = format!("sensors/{version:?}");
        for client in ["publisher", "subscriber"] {
            agent.connect(client, version, json!({}));
        }
        agent.subscribe("subscriber", &topic, 1);
        let order = json!({"topic": topic, "qos": 1, "count": MANY, "prefix": ""});
        agent.ask("burst", "publisher", order);
        assert_eq!(payloads(&agent.wait_messages("subscriber", MANY)), numbered("", MANY));
    }
    let queued = site.gateway.wait_status("the queue", |_| true)["queue"]["readings"].as_u64();
    assert!(queued >= Some(2 * 3000), "{queued:?}");
    site.assert_well();
}
