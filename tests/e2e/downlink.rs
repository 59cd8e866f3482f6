//! What comes from the cloud, and messages that could go in circles.

use std::collections::BTreeSet;
use std::io::Write;
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
        tell(
            cloud.port,
            "cmd/lamp/set",
            "stale",
            &["-q", "1", "-D", "publish", "message-expiry-interval", "1"],
        );
        tell(
            cloud.port,
            "cmd/lamp/set",
            "fresh",
            &["-q", "2", "-D", "publish", "message-expiry-interval", "60"],
        );
        pause(Duration::from_secs(2));
        // The local client comes back by itself, after the bridge: the commands wait for it.
        gateway.resume();
        wait_for("the commands", PATIENCE, || commands(&log).len() >= 3);
        wait_open(cloud.port, &log);
        assert_eq!(commands(&log), ["one", "two", "fresh"], "{version}");
    }
}

#[test]
fn qos_2_loses_nothing_to_a_kill() {
    for version in VERSIONS {
        let dir = TempDir::new().unwrap();
        let cloud = Cloud::start(dir.path());
        let log = Log::of(dir.path(), cloud.port, "lan/#");
        let local = free_port();
        let forward = "    forward: [{filter: \"lan/#\", qos: 2}]\n";
        let mut gateway = gateway(dir.path(), local, cloud.port, &format!("{version}{forward}"));
        gateway.wait_bridge();
        for round in 0..5 {
            let mut lines = Command::new("mosquitto_pub");
            lines.args(["-h", "127.0.0.1", "-p", &local.to_string(), "-q", "1", "-t", "lan/y", "-l"]);
            let mut lines = lines.stdin(Stdio::piped()).spawn().unwrap();
            let texts: Vec<_> = (0..300).map(|n| format!("{round}-{n}")).collect();
            lines.stdin.take().unwrap().write_all((texts.join("\n") + "\n").as_bytes()).unwrap();
            let before = log.payloads("lan/y").len();
            wait_for("some of them", PATIENCE, || log.payloads("lan/y").len() > before + 20);
            gateway.kill();
            gateway.resume();
            assert!(lines.wait().unwrap().success());
            let arrived = || log.payloads("lan/y").into_iter().collect::<BTreeSet<_>>();
            wait_for("all of them", PATIENCE, || texts.iter().all(|text| arrived().contains(text)));
        }
    }
}

/// Bridges to two clouds that carry the same both ways.
fn both_ways(name: &str, dir: &Path, local: u16, clouds: &[u16], version: &str) -> Gateway {
    let own = dir.join(name);
    std::fs::create_dir(&own).unwrap();
    let bridge = |(n, port): (usize, &u16)| {
        format!(
            "  - name: cloud-{n}\n    url: mqtt://127.0.0.1:{port}\n{version}    \
             forward: [\"lan/#\"]\n    receive: [\"lan/#\"]\n"
        )
    };
    let bridges: String = clouds.iter().enumerate().map(bridge).collect();
    let config = Gateway::config(&own, &[], local, 1);
    let (head, _) = config.split_once("bridges:").unwrap();
    let head = head.replace("gateway: pi", &format!("gateway: {name}"));
    Gateway::configured(&own, &format!("{head}bridges:\n{bridges}"))
}

#[test]
fn what_is_carried_both_ways_between_two_gateways_and_two_clouds_arrives_once_at_each_place() {
    for version in VERSIONS {
        let dir = TempDir::new().unwrap();
        let folder = |name: &str| {
            let folder = dir.path().join(name);
            std::fs::create_dir(&folder).unwrap();
            folder
        };
        let clouds = [Cloud::start(&folder("one")), Cloud::start(&folder("two"))];
        let locals = [free_port(), free_port()];
        // east ── one ── west ── two
        let east = both_ways("east", dir.path(), locals[0], &[clouds[0].port], version);
        let west = both_ways("west", dir.path(), locals[1], &[clouds[0].port, clouds[1].port], version);
        let all_connected = |gateway: &Gateway| {
            gateway.wait_status("all bridges", |status| {
                status["bridges"].as_array().unwrap().iter().all(|bridge| bridge["state"] == "connected")
            });
        };
        all_connected(&east);
        all_connected(&west);
        let places = [locals[0], locals[1], clouds[0].port, clouds[1].port];
        let logs: Vec<_> = places.iter().map(|port| Log::of(dir.path(), *port, "lan/#")).collect();
        // Until a message from each end has reached the other, the subscriptions may be on their way.
        wait_for("all subscriptions", PATIENCE, || {
            publish(places[0], "lan/probe", "from east");
            publish(places[3], "lan/probe", "from two");
            let both = |log: &Log| {
                ["from east", "from two"].iter().all(|from| log.any(|message| message.payload == *from))
            };
            logs.iter().all(both)
        });
        for (n, port) in places.iter().enumerate() {
            publish(*port, "lan/x", &format!("{n}"));
        }
        let expected: Vec<String> = (0..places.len()).map(|n| n.to_string()).collect();
        let has_all = |log: &Log| expected.iter().all(|text| log.payloads("lan/x").contains(text));
        wait_for("everything everywhere", PATIENCE, || logs.iter().all(has_all));
        // What goes in circles would go on.
        pause(Duration::from_secs(2));
        for (place, log) in logs.iter().enumerate() {
            let mut arrived = log.payloads("lan/x");
            arrived.sort();
            assert_eq!(arrived, expected, "{version} at place {place}");
        }
    }
}

#[test]
fn in_a_ring_of_gateways_and_clouds_nothing_goes_round_for_ever() {
    let dir = TempDir::new().unwrap();
    let folder = |name: &str| {
        let folder = dir.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        folder
    };
    let clouds = [Cloud::start(&folder("one")), Cloud::start(&folder("two"))];
    let ports = [clouds[0].port, clouds[1].port];
    let locals = [free_port(), free_port()];
    let names = ["east", "west"];
    let gateways: Vec<_> =
        (0..2).map(|n| both_ways(names[n], dir.path(), locals[n], &ports, VERSIONS[0])).collect();
    for gateway in &gateways {
        gateway.wait_status("all bridges", |status| {
            status["bridges"].as_array().unwrap().iter().all(|bridge| bridge["state"] == "connected")
        });
    }
    let log = Log::of(dir.path(), locals[1], "lan/#");
    let home = Log::of(dir.path(), locals[0], "lan/#");
    wait_for("all subscriptions", PATIENCE, || {
        publish(locals[0], "lan/probe", "x");
        log.messages().len() > 4
    });
    publish(locals[0], "lan/x", "1");
    wait_for("it over there", PATIENCE, || !log.payloads("lan/x").is_empty());
    pause(Duration::from_secs(3));
    // One copy by each cloud; and none came home.
    assert_eq!(log.payloads("lan/x"), ["1", "1"]);
    assert_eq!(home.payloads("lan/x"), ["1"]);
}
