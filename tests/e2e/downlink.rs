//! What comes from the cloud, and messages that could go in circles.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::support::{Cloud, Gateway, Log, PATIENCE, free_port, pause, publish, wait_for};

/// mosquitto_pub with more on its command line.
fn tell(port: u16, topic: &str, payload: &str, more: &[&str]) {
    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-V", "mqttv5", "-t", topic, "-m", payload]);
    assert!(command.args(more).stdout(Stdio::null()).status().unwrap().success(), "{topic}");
}

/// A gateway with more keys for its bridge.
fn gateway(dir: &Path, local: u16, cloud: u16, more: &str) -> Gateway {
    Gateway::configured(dir, &(Gateway::config(dir, &[], local, cloud) + more))
}

/// Both versions, as keys of a bridge.
const VERSIONS: [&str; 2] = ["    protocol: 5\n", "    protocol: 3.1.1\n"];

/// Waits until the bridge has its subscriptions: a message gets through.
fn wait_open(cloud: u16, log: &Log) {
    wait_for("the bridge to receive", PATIENCE, || {
        publish(cloud, "cmd/probe/set", "probe");
        log.any(|message| message.payload == "probe")
    });
}

fn commands(log: &Log) -> Vec<String> {
    let all = log.messages().into_iter().filter(|message| message.topic.ends_with("/lamp/set"));
    all.map(|message| message.payload).collect()
}

const RECEIVE: &str = "    receive: [{filter: \"cmd/#\", qos: 2, strip: cmd/, prefix: serialgate/pi/}]\n";

#[test]
fn commands_sent_while_the_daemon_is_down_arrive_once_after_its_start() {
    for version in VERSIONS {
        let dir = TempDir::new().unwrap();
        let cloud = Cloud::start(dir.path());
        let local = free_port();
        let mut gateway = gateway(dir.path(), local, cloud.port, &format!("{version}{RECEIVE}"));
        gateway.wait_bridge();
        let log = Log::of(dir.path(), local, "serialgate/pi/#");
        wait_open(cloud.port, &log);
        gateway.kill();
        tell(cloud.port, "cmd/lamp/set", "one", &["-q", "1"]);
        tell(cloud.port, "cmd/lamp/set", "two", &["-q", "2"]);
        tell(cloud.port, "cmd/lamp/set", "stale", &["-q", "1", "-D", "publish", "message-expiry-interval", "1"]);
        tell(cloud.port, "cmd/lamp/set", "fresh", &["-q", "2", "-D", "publish", "message-expiry-interval", "60"]);
        pause(Duration::from_secs(2));
        drop(log);
        // The local broker keeps nothing over a restart: somebody must be there when they come.
        let waiting = LateLog::start(dir.path(), local);
        gateway.resume();
        let log = waiting.subscribed();
        wait_for("the commands", PATIENCE, || commands(&log).len() >= 3);
        wait_open(cloud.port, &log);
        assert_eq!(commands(&log), ["one", "two", "fresh"], "{version}");
    }
}

/// A subscriber that is there as soon as the broker is.
struct LateLog {
    dir: std::path::PathBuf,
    port: u16,
}

impl LateLog {
    fn start(dir: &Path, port: u16) -> Self {
        Self { dir: dir.to_owned(), port }
    }

    fn subscribed(self) -> Log {
        wait_for("the local broker", PATIENCE, || crate::support::answers(self.port));
        Log::of(&self.dir, self.port, "serialgate/pi/#")
    }
}
