//! Emulated boards and the gateway: what is measured arrives, whatever happens to either.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::board::{Board, Firmware};
use crate::support::{Cloud, Gateway, Log, PATIENCE, free_port, pause, port, wait_for};

/// How long the gateway is down. The boards measure once a second.
const OUTAGE: Duration = Duration::from_secs(30);

/// A gateway with these ports, a cloud behind it, and what arrives there.
pub(crate) fn scene(dir: &Path, ports: &[&str]) -> (Cloud, Log, Gateway) {
    scene_at(dir, ports, free_port())
}

/// The same, where the local broker listens at port `local`.
pub(crate) fn scene_at(dir: &Path, ports: &[&str], local: u16) -> (Cloud, Log, Gateway) {
    let cloud = Cloud::start(dir);
    let log = Log::of(dir, cloud.port, "serialgate/#");
    let ports: Vec<String> = ports.iter().map(|name| port(dir, name, "format: wire")).collect();
    let config = Gateway::config(dir, &ports, local, cloud.port);
    (cloud, log, Gateway::configured(dir, &config))
}

/// The readings of a device so far: for each id what was counted.
pub(crate) fn counts(log: &Log, device: &str) -> BTreeMap<(String, u64), u64> {
    let mut counts = BTreeMap::new();
    for reading in log.readings().into_iter().filter(|reading| reading.device == device) {
        let boot = reading.id.split('/').next().unwrap().to_owned();
        let n = reading.json["n"].as_u64().unwrap();
        let before = counts.insert((boot, reading.seq), n);
        assert!(before.is_none_or(|before| before == n), "two readings are called {}", reading.id);
    }
    counts
}

/// All of one boot, from 0 on, without a gap; how many.
pub(crate) fn assert_complete(log: &Log, device: &str) -> usize {
    let counts = counts(log, device);
    let boots: BTreeSet<_> = counts.keys().map(|(boot, _)| boot.clone()).collect();
    assert_eq!(boots.len(), 1, "one boot: {boots:?}");
    for (expected, ((_, seq), n)) in (0..).zip(&counts) {
        assert_eq!((*seq, *n), (expected, expected), "{device}");
    }
    counts.len()
}

#[test]
fn a_sketch_is_heard_with_all_that_it_says_of_itself() {
    let dir = TempDir::new().unwrap();
    let _board = Board::start(dir.path(), "uno", Firmware::Arduino);
    let (_cloud, log, gateway) = scene(dir.path(), &["uno"]);
    wait_for("readings", PATIENCE, || log.count() >= 12);
    let first = log.readings().remove(0);
    let count = assert_complete(&log, &first.device);
    assert!(count >= 12);
    assert!(first.device.starts_with("bench-"), "{}", first.device);
    // Half of the reference at A0, in two decimals.
    assert_eq!(first.json["volts"].to_string(), "2.5");
    let meta = log.payloads(&format!("serialgate/pi/{}/meta", first.device));
    let meta: Value = serde_json::from_str(meta.last().unwrap()).unwrap();
    assert_eq!(meta["firmware"], "bench 1.0", "{meta}");
    let text = meta.to_string();
    for said in ["\"volts\"", "\"V\"", "\"lamp\"", "counter"] {
        assert!(text.contains(said), "{said} in {text}");
    }
    assert_eq!(log.events("gap"), [] as [Value; 0]);
    // What the sketch prints between its frames is text, and no frame suffers.
    wait_for("the sketch's text", PATIENCE, || gateway.log().contains("bench: still here"));
    let port = gateway.wait_port(0, "open");
    assert_eq!((&port["bad_check"], &port["bad_decode"]), (&0.into(), &0.into()), "{port}");
}

#[test]
fn readings_wait_on_the_board_while_the_gateway_is_down() {
    let dir = TempDir::new().unwrap();
    let _arduino = Board::start(dir.path(), "arduino", Firmware::Arduino);
    let _bare = Board::start(dir.path(), "bare", Firmware::Bare);
    let (_cloud, log, mut gateway) = scene(dir.path(), &["arduino", "bare"]);
    let devices = || log.readings().into_iter().map(|reading| reading.device).collect::<BTreeSet<_>>();
    wait_for("both boards", PATIENCE, || devices().len() == 2);
    gateway.kill();
    let down = Instant::now();
    pause(OUTAGE);
    gateway.resume();
    let outage = down.elapsed().as_secs();
    let each = |condition: &dyn Fn(usize) -> bool| {
        devices().iter().all(|device| condition(counts(&log, device).len()))
    };
    let enough = usize::try_from(outage).unwrap();
    wait_for("what was measured meanwhile", PATIENCE, || each(&|count| count > enough + 2));
    // A board whose memory has overflowed says so.
    assert_eq!(log.events("gap"), [] as [Value; 0], "down for {outage} s\n{}", gateway.log());
    for device in devices() {
        assert!(assert_complete(&log, &device) > enough);
    }
    assert_eq!(log.events("gap"), [] as [Value; 0]);
}

#[test]
fn a_board_that_is_unplugged_or_reset_is_heard_again() {
    let dir = TempDir::new().unwrap();
    let mut board = Board::start(dir.path(), "uno", Firmware::Arduino);
    let (_cloud, log, gateway) = scene(dir.path(), &["uno"]);
    wait_for("readings", PATIENCE, || log.count() >= 3);
    let device = log.readings()[0].device.clone();

    // The cable alone: the board goes on, and nothing is missing.
    board.command("unplug");
    gateway.wait_port(0, "absent");
    pause(Duration::from_secs(3));
    board.command("plug");
    gateway.wait_port(0, "open");
    let so_far = log.count();
    wait_for("more readings", PATIENCE, || log.count() >= so_far + 5);
    assert_complete(&log, &device);

    // Each boot has its number, and begins at 0. The board is the same.
    for (boots, how) in [(2, "reset"), (3, "power")] {
        board.command(how);
        wait_for("readings of the next boot", PATIENCE, || {
            let mut of_boot = BTreeMap::new();
            for ((boot, _), n) in counts(&log, &device) {
                of_boot.entry(boot).or_insert_with(Vec::new).push(n);
            }
            of_boot.len() == boots && of_boot.values().all(|counts| counts.len() >= 3)
        });
    }
    assert!(log.readings().iter().all(|reading| reading.device == device));
    for ((_, seq), n) in counts(&log, &device) {
        assert_eq!(seq, n);
    }
}

#[test]
fn eight_boards_at_once_are_eight_devices() {
    let dir = TempDir::new().unwrap();
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let _boards = names.map(|name| Board::start(dir.path(), name, Firmware::Arduino));
    let (_cloud, log, _gateway) = scene(dir.path(), &names);
    let heard = || {
        let mut counts = BTreeMap::new();
        for reading in log.readings() {
            *counts.entry(reading.device).or_insert(0) += 1;
        }
        counts
    };
    wait_for("ten readings of each", PATIENCE * 2, || {
        let heard = heard();
        heard.len() == names.len() && heard.values().all(|count| *count >= 10)
    });
    for device in heard().keys() {
        assert_complete(&log, device);
    }
    assert_eq!(log.events("gap"), [] as [Value; 0]);
}
