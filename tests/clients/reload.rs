//! New certificates while clients are connected: SIGHUP.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::agent::{Agent, LIBRARIES, Library, Version};
use crate::certificates::Certificates;
use crate::site::Site;
use crate::support::{PATIENCE, free_port, wait_for};

pub(crate) fn reload(site: &Site) {
    kill(Pid::from_raw(site.gateway.pid().cast_signed()), Signal::SIGHUP).unwrap();
}

/// The client still gets its own messages, over the connection that it had.
pub(crate) fn assert_served(agent: &mut Agent, client: &str, payload: &str) {
    let before = agent.messages(client).len();
    agent.ask("publish", client, json!({"topic": format!("own/{client}"), "payload": payload, "qos": 1}));
    let messages = agent.wait_messages(client, before + 1);
    assert_eq!(messages.last().unwrap().payload, payload);
    assert!(!agent.has_ended(client), "{client}");
}

#[test]
fn a_renewed_certificate_is_shown_and_nobody_is_dropped() {
    let port = free_port();
    let mut made = None;
    let site = Site::listening(|folder| {
        let old = Certificates::make(folder);
        let (certificate, key) = (old.server.display(), old.server_key.display());
        let listener = format!(
            "    - {{address: \"127.0.0.1:{port}\", tls: {{certificate: {certificate}, key: {key}}}}}\n"
        );
        made = Some(old);
        listener
    });
    let old = made.unwrap();
    let mut clients = Vec::new();
    for library in LIBRARIES {
        let (mut agent, name) = (site.agent(library), format!("{library:?}"));
        agent.connect(&name, Version::V5, json!({"port": port, "ca": old.ca}));
        agent.subscribe(&name, &format!("own/{name}"), 1);
        assert_served(&mut agent, &name, "before");
        clients.push((agent, name));
    }
    let folder = site.folder().join("renewed");
    fs::create_dir(&folder).unwrap();
    let new = Certificates::make(&folder);
    fs::copy(&new.server_key, &old.server_key).unwrap();
    fs::copy(&new.server, &old.server).unwrap();
    reload(&site);
    let mut late = site.agent(Library::Paho);
    wait_for("the new certificate", PATIENCE, || {
        late.try_connect("late", Version::V5, json!({"port": port, "ca": new.ca})).is_ok()
    });
    for (agent, name) in &mut clients {
        assert_served(agent, name, "after");
    }
    site.assert_well();
}
