//! Commands to emulated boards: through the local broker, the real binary, a serial line at the real one's
//! pace, and back.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use serialgate::mqtt::packet::Qos;
use tempfile::TempDir;

use crate::board::{Board, Firmware};
use crate::emulated::scene_at;
use crate::support::{Cloud, Gateway, Log, PATIENCE, Raw, free_port, wait_for};

/// A command is answered within so long.
const ROUND_TRIP: Duration = Duration::from_millis(100);

struct Scene {
    _board: Board,
    _cloud: Cloud,
    log: Log,
    _gateway: Gateway,
    client: Raw,
    device: String,
}

impl Scene {
    fn new(dir: &Path) -> Self {
        let board = Board::start(dir, "uno", Firmware::Arduino);
        let local = free_port();
        let (cloud, log, gateway) = scene_at(dir, &["uno"], local);
        wait_for("readings", PATIENCE, || log.count() >= 2);
        let device = log.readings()[0].device.clone();
        let mut client = Raw::new("operator", 0);
        client.connect(local).subscribe("serialgate/pi/+/result", Qos::AtMostOnce);
        Self { _board: board, _cloud: cloud, log, _gateway: gateway, client, device }
    }

    /// Sends a command; gives its result, and how long that took.
    fn call(&mut self, payload: &str) -> (Value, Duration) {
        let before = self.client.messages.len();
        let began = Instant::now();
        let topic = format!("serialgate/pi/{}/set", self.device);
        self.client.publish(&topic, payload, Qos::AtMostOnce, false).unwrap();
        self.client.go_on("the result", |client| client.messages.len() > before);
        let took = began.elapsed();
        (serde_json::from_str(&self.client.messages[before].1).unwrap(), took)
    }
}

#[test]
fn a_command_is_done_and_answered_within_a_tenth_of_a_second() {
    let dir = TempDir::new().unwrap();
    let mut scene = Scene::new(dir.path());
    let mut took = Vec::new();
    for round in 0..21 {
        let on = round % 2 == 0;
        let (result, time) = scene.call(&json!({ "lamp": on }).to_string());
        assert_eq!(result["status"], "ok", "{result}");
        took.push(time);
    }
    took.sort_unstable();
    eprintln!("round trips: least {:?}, median {:?}, most {:?}", took[0], took[10], took[20]);
    assert!(took[10] < ROUND_TRIP, "{took:?}");
    // The sketch tells what its lamp is now.
    let lamps = || {
        let readings = scene.log.readings().into_iter();
        readings.filter_map(|reading| reading.json.get("lamp").cloned()).collect::<Vec<_>>()
    };
    wait_for("the lamp's states", PATIENCE, || lamps().len() >= 21);
    assert_eq!(lamps(), (0..21).map(|round| json!(round % 2 == 0)).collect::<Vec<_>>(), "each was done once");
    assert_eq!(scene.log.events("gap"), [] as [Value; 0]);
}

#[test]
fn a_sketch_has_commands_of_its_own_and_says_no() {
    let dir = TempDir::new().unwrap();
    let mut scene = Scene::new(dir.path());
    for (payload, expected) in [
        (r#"{"$call":{"command":16,"arguments":[41]}}"#, json!({"status":"ok","answer":[42]})),
        (r#"{"$call":{"command":17}}"#, json!({"status":"unknown","code":1,"answer":[1]})),
        (r#"{"lamp":"ON"}"#, json!({"status":"ok"})),
        (r#"{"n":1}"#, json!({"status":"invalid","error":"n cannot be set; channels that can: lamp"})),
    ] {
        let (mut result, _) = scene.call(payload);
        // When that was, and whether this machine knows the time, is of no matter.
        result.as_object_mut().unwrap().retain(|key, _| !key.starts_with("ts"));
        assert_eq!(result, expected, "{payload}");
    }
}

#[test]
fn a_board_measures_at_another_interval_and_reboots_when_told_to() {
    let dir = TempDir::new().unwrap();
    let mut scene = Scene::new(dir.path());
    assert_eq!(scene.call(r#"{"$interval":0.1}"#).0["status"], "ok");
    let stamps = || {
        let readings = scene.log.readings().into_iter().rev().take(10);
        let seconds = |ts: &str| ts[17..23].parse::<f64>().unwrap();
        readings.map(|reading| seconds(reading.json["ts"].as_str().unwrap())).collect::<Vec<_>>()
    };
    wait_for("readings ten times a second", PATIENCE, || {
        let stamps = stamps();
        stamps.windows(2).filter(|pair| (pair[0] - pair[1]).abs() < 0.15).count() >= 8
    });
    assert_eq!(scene.call(r#"{"$reboot":true}"#).0["status"], "ok");
    wait_for("the next boot", PATIENCE, || {
        let boots =
            scene.log.readings().into_iter().map(|reading| reading.id.split('/').next().unwrap().to_owned());
        boots.collect::<BTreeSet<_>>().len() == 2
    });
    // Its commands go on.
    assert_eq!(scene.call(r#"{"lamp":true}"#).0["status"], "ok");
}
