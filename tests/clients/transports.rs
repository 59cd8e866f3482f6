//! TLS, certificates of clients, WebSockets: each library as far as it can do it.

use serde_json::{Value, json};

use crate::agent::{Library, Version, everybody, numbered, payloads};
use crate::certificates::Certificates;
use crate::mosquitto;
use crate::site::Site;
use crate::support::free_port;

/// Messages that a client exchanges with itself.
const COUNT: usize = 100;
/// Bytes that come close to the largest packet, and need many frames of TLS.
const LARGE: usize = 900_000;

/// A broker with a further listener with these keys, and its port.
fn site(keys: impl FnOnce(&Certificates) -> String) -> (Site, Certificates, u16) {
    let port = free_port();
    let mut made = None;
    let site = Site::listening(|folder| {
        let certificates = Certificates::make(folder);
        let keys = keys(&certificates);
        made = Some(certificates);
        format!("    - {{address: \"127.0.0.1:{port}\", {keys}}}\n")
    });
    (site, made.unwrap(), port)
}

/// The listener's key `tls`.
fn tls(certificates: &Certificates) -> String {
    let (certificate, key) = (certificates.server.display(), certificates.server_key.display());
    format!("tls: {{certificate: {certificate}, key: {key}}}")
}

fn mutual_tls(certificates: &Certificates) -> String {
    tls(certificates).replace("}", &format!(", client_ca: {}}}", certificates.ca.display()))
}

/// The client exchanges messages with itself.
fn exchange(site: &Site, library: Library, version: Version, more: Value) {
    let mut agent = site.agent(library);
    let topic = format!("{library:?}/{version:?}");
    agent.connect("client", version, more);
    agent.subscribe("client", &topic, 2);
    let mut expected = Vec::new();
    for qos in 0..3 {
        let prefix = format!("{qos}: ");
        agent.ask("burst", "client", json!({"topic": topic, "qos": qos, "count": COUNT, "prefix": prefix}));
        expected.extend(numbered(&prefix, COUNT));
        let messages = agent.wait_messages("client", expected.len());
        assert_eq!(payloads(&messages), expected, "{topic}");
    }
    agent.ask("publish", "client", json!({"topic": topic, "qos": 1, "fill": LARGE}));
    let messages = agent.wait_messages("client", expected.len() + 1);
    assert_eq!(messages.last().unwrap().payload, "x".repeat(LARGE));
}

#[test]
fn every_client_comes_in_by_tls() {
    let (site, certificates, port) = site(tls);
    for (library, version) in everybody() {
        exchange(&site, library, version, json!({"port": port, "ca": certificates.ca}));
    }
    for version in mosquitto::VERSIONS {
        let mut command = mosquitto::client(&site, "mosquitto_pub", version);
        command.args(["-p", &port.to_string(), "-t", "t", "-m", "x", "-q", "1", "--cafile"]);
        assert!(command.arg(&certificates.ca).status().unwrap().success());
    }
    site.assert_well();
}

#[test]
fn a_client_that_does_not_know_our_authority_stays_away_and_others_do_not_notice() {
    let (site, certificates, port) = site(tls);
    let other = site.folder().join("other");
    std::fs::create_dir(&other).unwrap();
    let other = Certificates::make(&other);
    for (library, version) in everybody() {
        let mut agent = site.agent(library);
        let more = json!({"port": port, "ca": other.ca});
        let error = agent.try_connect("client", version, more).unwrap_err().to_string();
        assert!(error.to_lowercase().contains("certificate"), "{library:?}: {error}");
    }
    exchange(&site, Library::Paho, Version::V5, json!({"port": port, "ca": certificates.ca}));
    site.assert_well();
}

#[test]
fn where_certificates_are_asked_for_nobody_gets_in_without() {
    let (site, certificates, port) = site(mutual_tls);
    let Certificates { ca, client, client_key, .. } = &certificates;
    for (library, version) in everybody() {
        let with = json!({"port": port, "ca": ca, "certificate": client, "key": client_key});
        exchange(&site, library, version, with);
        let mut agent = site.agent(library);
        agent.try_connect("without", version, json!({"port": port, "ca": ca})).unwrap_err();
    }
    site.assert_well();
}

#[test]
fn clients_come_in_by_websocket() {
    let (site, _, port) = site(|_| "websocket: true".into());
    // gmqtt knows no WebSockets.
    for (library, version) in everybody().filter(|(library, _)| *library != Library::Gmqtt) {
        exchange(&site, library, version, json!({"port": port, "transport": "websockets"}));
    }
    site.assert_well();
}

#[test]
fn clients_come_in_by_websocket_over_tls() {
    let (site, certificates, port) = site(|certificates| format!("websocket: true, {}", tls(certificates)));
    for (library, version) in everybody().filter(|(library, _)| *library != Library::Gmqtt) {
        let more = json!({"port": port, "transport": "websockets", "ca": certificates.ca});
        exchange(&site, library, version, more);
    }
    site.assert_well();
}
