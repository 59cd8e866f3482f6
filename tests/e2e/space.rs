//! A big backlog drains: its space comes back.

use std::fs;
use std::time::Duration;

use tempfile::TempDir;

use crate::support::{
    Cloud, Gateway, Log, Numbered, PATIENCE, assert_account, dropped, free_port, numbers, wait_for,
};

/// Lines of about a kilobyte that does not compress.
const BACKLOG: u64 = 20_000;
/// What that takes on disk, at least, in bytes.
const BACKLOG_BYTES: u64 = 10 << 20;
/// What the file may take in the end, in bytes.
const DRAINED_BYTES: u64 = 1 << 20;
/// What the write-ahead log takes from the first day on, in bytes: 4000 pages with their heads, and
/// some that a transaction may grow it by.
const LOG_BYTES: u64 = 5 << 20;

#[test]
fn the_space_of_a_big_backlog_comes_back() {
    let dir = TempDir::new().unwrap();
    let mut cloud = Cloud::start(dir.path());
    let log = Log::of(dir.path(), cloud.port, "serialgate/#");
    let mut lines = Numbered::plug(dir.path(), "lines");
    let ports = [Numbered::port(dir.path(), "lines")];
    let gateway = Gateway::start(dir.path(), &ports, free_port(), cloud.port);
    gateway.wait_bridge();
    cloud.stop();
    while lines.said() < BACKLOG {
        lines.say(500);
        gateway.wait_status("readings on disk", |status| status["queue"]["volatile"] == 0);
    }
    let bytes = |suffix: &str| {
        fs::metadata(dir.path().join(format!("queue.db{suffix}"))).map_or(0, |meta| meta.len())
    };
    let full = bytes("");
    assert!(full > BACKLOG_BYTES, "{full} bytes");
    cloud.resume();
    let status = gateway.wait_status("an empty queue", |status| status["queue"]["readings"] == 0);
    assert_account(&status);
    assert_eq!(dropped(&status), 0);
    wait_for("everything in the cloud", PATIENCE, || numbers(&log, "lines").len() as u64 == BACKLOG);
    wait_for("the file to shrink", Duration::from_secs(60), || bytes("") < DRAINED_BYTES);
    assert!(bytes("-wal") < LOG_BYTES, "{} bytes", bytes("-wal"));
    eprintln!("{full} bytes, then {} and a log of {}", bytes(""), bytes("-wal"));

    // And it is a queue as before.
    cloud.stop();
    lines.say(500);
    gateway.wait_status("readings on disk", |status| {
        status["queue"]["readings"] == 500 && status["queue"]["volatile"] == 0
    });
    cloud.resume();
    let all: Vec<u64> = (0..lines.said()).collect();
    wait_for("the rest in the cloud", PATIENCE, || numbers(&log, "lines").len() == all.len());
    assert_eq!(numbers(&log, "lines"), all);
}
