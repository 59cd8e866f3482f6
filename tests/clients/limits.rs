//! What happens at the broker's limits.

use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::agent::{Library, Version, numbered, payloads};
use crate::mosquitto;
use crate::site::Site;
use crate::support::{PATIENCE, cpu_time, pause, wait_for};

/// Messages that wait for one client at most, as it is set where nothing else is said.
const QUEUE: usize = 10_000;

#[test]
fn past_the_limit_of_its_queue_a_client_gets_the_newest_and_the_rest_is_counted() {
    const TOO_MANY: usize = 500;
    let site = Site::start();
    let lasting = json!({"clean": false, "session_expiry": 600});
    let mut agent = site.agent(Library::Gmqtt);
    agent.connect("away", Version::V5, lasting.clone());
    agent.subscribe("away", "many", 1);
    agent.ask("disconnect", "away", json!({}));
    let lines = numbered("", QUEUE + TOO_MANY);
    mosquitto::publish_lines(&site, "mqttv5", 1, "many", &lines);
    assert_eq!(site.broker()["dropped"], TOO_MANY);
    assert_eq!(agent.connect("away", Version::V5, lasting)["present"], true);
    let messages = agent.wait_messages("away", QUEUE);
    assert_eq!(payloads(&messages), lines[TOO_MANY..]);
}

/// Where the system has no file left for another connection, those that are there are served, nothing
/// is burnt, and others get in once there is room again.
#[test]
fn without_files_for_more_connections_the_broker_waits_and_goes_on() {
    const FILES: usize = 64;
    let mut site = Site::start();
    let mut agent = site.agent(Library::Paho);
    agent.connect("there", Version::V3, json!({}));
    agent.subscribe("there", "t", 1);
    let pid = site.gateway.pid().to_string();
    let mut limit = Command::new("prlimit");
    limit.args(["--pid", &pid, &format!("--nofile={FILES}")]);
    assert!(limit.status().unwrap().success());
    // The system takes them all, the broker only some.
    let many: Vec<_> = (0..FILES).map(|_| TcpStream::connect(("127.0.0.1", site.port)).unwrap()).collect();
    wait_for("the broker to say so", PATIENCE, || site.gateway.log().contains("cannot accept connections"));
    let (before, span) = (cpu_time(site.gateway.pid()), Duration::from_secs(2));
    pause(span);
    let burnt = cpu_time(site.gateway.pid()).saturating_sub(before);
    assert!(burnt < span / 4, "it burns {burnt:?} in {span:?}");
    agent.ask("publish", "there", json!({"topic": "t", "qos": 1, "payload": "still"}));
    agent.wait_messages("there", 1);
    drop(many);
    let mut late = site.agent(Library::Gmqtt);
    late.connect("late", Version::V5, json!({}));
    late.ask("publish", "late", json!({"topic": "t", "qos": 1, "payload": "again"}));
    assert_eq!(payloads(&agent.wait_messages("there", 2)), ["still", "again"]);
    site.gateway.assert_runs();
}
