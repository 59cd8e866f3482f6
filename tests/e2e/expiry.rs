//! Messages of local clients that are of no use after a while.

use std::process::Command;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use crate::support::{Cloud, Gateway, PATIENCE, answers, assert_account, free_port, pause, wait_for};

/// One message with QoS 1 that expires after `seconds`.
fn publish_expiring(port: u16, topic: &str, seconds: u32) {
    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-V", "mqttv5", "-q", "1", "-t", topic]);
    command.args(["-m", "on", "-D", "publish", "message-expiry-interval", &seconds.to_string()]);
    assert!(command.status().unwrap().success());
}

/// A subscriber of its own session at the cloud.
fn subscriber(port: u16, more: &[&str]) -> String {
    let mut command = Command::new("mosquitto_sub");
    command.args([
        "-h",
        "127.0.0.1",
        "-p",
        &port.to_string(),
        "-V",
        "mqttv5",
        "-c",
        "-i",
        "reader",
        "-q",
        "1",
    ]);
    command.args(["-t", "sensors/#", "-W", "50"]);
    let output = command.args(more).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_local_clients_expiry_goes_on_to_the_cloud_also_over_a_crash() {
    let dir = TempDir::new().unwrap();
    let mut cloud = Cloud::start(dir.path());
    wait_for("the cloud", PATIENCE, || answers(cloud.port));
    subscriber(cloud.port, &["-E"]);
    cloud.stop();
    let local = free_port();
    let config = Gateway::config(dir.path(), &[], local, cloud.port) + "    forward: [\"sensors/#\"]\n";
    let mut gateway = Gateway::configured(dir.path(), &config);
    wait_for("the local broker", PATIENCE, || answers(local));
    publish_expiring(local, "sensors/short", 2);
    publish_expiring(local, "sensors/long", 600);
    gateway.wait_status("both on disk", |status| {
        status["queue"]["readings"] == 2 && status["queue"]["volatile"] == 0
    });
    gateway.kill();
    pause(Duration::from_secs(3));
    cloud.resume();
    gateway.resume();
    let status = gateway.wait_status("both gone", |status| {
        status["queue"]["accepted"] == 2 && status["queue"]["readings"] == 0
    });
    assert_account(&status);
    assert_eq!(
        (&status["queue"]["dropped"]["expired"], &status["queue"]["delivered"]),
        (&json!(1), &json!(1))
    );
    let seen = subscriber(cloud.port, &["-C", "1", "-F", "%t %E"]);
    let left = seen.trim().strip_prefix("sensors/long ").unwrap().parse::<u32>().unwrap();
    assert!((500..=597).contains(&left), "{left} seconds are left");
}
