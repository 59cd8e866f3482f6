//! Readings that outlive a reset of their board, or its loss of power, while the gateway is away.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::board::{Board, Firmware};
use crate::emulated::{counts, scene};
use crate::support::log::Message;
use crate::support::{Log, PATIENCE, pause, wait_for};

/// The sketch counts from 0 in each of its lives. This many readings of each have arrived.
fn lives(log: &Log, device: &str) -> Vec<usize> {
    let mut lives = Vec::new();
    for n in counts(log, device).into_values() {
        if n == 0 {
            lives.push(0);
        }
        if let Some(life) = lives.last_mut() {
            *life += 1;
        }
    }
    lives
}

/// All of them came once, as one boot, with numbers that go on, and each life counts on.
fn assert_none_is_missing(log: &Log, device: &str) {
    let counts = counts(log, device);
    let boots: BTreeSet<_> = counts.keys().map(|(boot, _)| boot).collect();
    assert_eq!(boots.len(), 1, "the gateway sees one boot: {boots:?}");
    let seqs: Vec<u64> = counts.keys().map(|(_, seq)| *seq).collect();
    assert_eq!(seqs, (0..).take(seqs.len()).collect::<Vec<u64>>(), "none is missing");
    let mut expected = 0;
    for n in counts.values() {
        expected = if *n == 0 { 0 } else { expected };
        assert_eq!(*n, expected, "{counts:?}");
        expected += 1;
    }
    assert_eq!(log.events("gap"), [] as [Value; 0]);
}

fn wait_lives(log: &Log, device: &str, count: usize) {
    wait_for("readings of each life", PATIENCE, || {
        let lives = lives(log, device);
        lives.len() == count && lives.last().is_some_and(|life| *life >= 3)
    });
}

#[test]
fn readings_outlive_a_reset_where_the_sketch_keeps_them() {
    let dir = TempDir::new().unwrap();
    let mut board = Board::start(dir.path(), "uno", Firmware::Kept);
    let (_cloud, log, mut gateway) = scene(dir.path(), &["uno"]);
    wait_for("readings", PATIENCE, || log.count() >= 3);
    let device = log.readings()[0].device.clone();
    gateway.kill();
    // Readings of before each of two resets, and of after them, and nobody listens.
    for _ in 0..2 {
        pause(Duration::from_secs(5));
        board.command("reset");
    }
    pause(Duration::from_secs(3));
    gateway.resume();
    wait_lives(&log, &device, 3);
    assert_none_is_missing(&log, &device);
}

/// As most boards do it: the gateway opens the port, and that resets the board.
#[test]
fn readings_outlive_the_reset_when_the_port_is_opened() {
    let dir = TempDir::new().unwrap();
    let mut board = Board::start(dir.path(), "uno", Firmware::Kept);
    board.command("autoreset");
    // Measured before anybody listens for the first time.
    pause(Duration::from_secs(3));
    let (_cloud, log, mut gateway) = scene(dir.path(), &["uno"]);
    wait_for("readings", PATIENCE, || log.count() >= 5);
    let device = log.readings()[0].device.clone();
    wait_lives(&log, &device, 2);
    gateway.kill();
    pause(Duration::from_secs(5));
    gateway.resume();
    wait_lives(&log, &device, 3);
    assert_none_is_missing(&log, &device);
}

#[test]
fn readings_in_eeprom_outlive_a_loss_of_power() {
    let dir = TempDir::new().unwrap();
    let board = Board::start(dir.path(), "uno", Firmware::Eeprom);
    let (_cloud, log, mut gateway) = scene(dir.path(), &["uno"]);
    wait_for("readings", PATIENCE, || log.count() >= 3);
    let device = log.readings()[0].device.clone();
    gateway.kill();
    let before = counts(&log, &device).len();
    pause(Duration::from_secs(6));
    board.power_off();
    let mut board = Board::start(dir.path(), "uno", Firmware::Eeprom);
    pause(Duration::from_secs(5));
    // RAM holds noise, and the EEPROM what it did.
    board.command("power");
    pause(Duration::from_secs(4));
    gateway.resume();
    wait_lives(&log, &device, 3);
    assert_none_is_missing(&log, &device);
    // How many those are depends on how busy the emulator's machine was.
    let lives = lives(&log, &device);
    assert!(lives[0] > before && lives[1] >= 1, "{lives:?}");
}

/// The cable is pulled, the board goes on, and opening its port resets it: what it measured before has the
/// times of before.
#[test]
fn readings_keep_their_times_over_a_reset() {
    let dir = TempDir::new().unwrap();
    let mut board = Board::start(dir.path(), "uno", Firmware::Kept);
    let (_cloud, log, gateway) = scene(dir.path(), &["uno"]);
    wait_for("readings", PATIENCE, || log.count() >= 5);
    let device = log.readings()[0].device.clone();
    board.command("autoreset");
    board.command("unplug");
    gateway.wait_port(0, "absent");
    pause(Duration::from_secs(5));
    board.command("plug");
    wait_lives(&log, &device, 2);
    assert_none_is_missing(&log, &device);
    let arrived: Vec<_> =
        log.messages().into_iter().filter(|message| message.topic.ends_with("/data")).collect();
    let times: Vec<_> = arrived
        .iter()
        .map(|message| (message.json()["n"].as_u64().unwrap(), since_midnight_s(message)))
        .collect();
    for pair in times.windows(2) {
        let [(before, before_s), (n, at_s)] = pair else { continue };
        let apart_s = (at_s - before_s).rem_euclid(DAY_S);
        assert!(*n != before + 1 || (0.3..2.0).contains(&apart_s), "{n}: {apart_s} s after {before}");
    }
    // Of those after the reset at least one came at once.
    let begun = times.iter().rposition(|(n, _)| *n == 0).unwrap();
    let ages = arrived.iter().zip(&times).skip(begun).map(|(message, (_, at_s))| message.at - at_s);
    let age_s = ages.map(|age_s| age_s.rem_euclid(DAY_S)).fold(DAY_S, f64::min);
    assert!(age_s < 1.0, "all readings after the reset seem to have waited for {age_s} s");
}

const DAY_S: f64 = 86_400.0;

/// When a reading was sampled: `2026-01-01T00:00:00.123Z`.
fn since_midnight_s(message: &Message) -> f64 {
    let ts = message.json()["ts"].as_str().unwrap().to_owned();
    let number = |range: std::ops::Range<usize>| ts[range].parse::<f64>().unwrap();
    (number(11..13) * 60.0 + number(14..16)) * 60.0 + number(17..23)
}
