//! The library for MicroPython, in the Python of this machine.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::emulated::{assert_complete, scene};
use crate::support::{PATIENCE, pause, wait_for};

fn python(what: &str, path: &Path) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/emul/micropython.py");
    let mut command = Command::new("python3");
    // Without a folder of compiled files beside the library.
    command.arg("-B").arg(script).arg(what).arg(path);
    command
}

#[test]
fn it_speaks_as_the_vectors_say() {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("firmware/vectors.txt");
    let output = python("vectors", &vectors).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "13 vectors\n");
}

#[test]
fn its_readings_wait_while_the_gateway_is_down() {
    let dir = TempDir::new().unwrap();
    let link = dir.path().join("pico");
    let mut board = python("board", &link).stdin(Stdio::piped()).spawn().unwrap();
    wait_for("the board", PATIENCE, || link.exists());
    let (_cloud, log, mut gateway) = scene(dir.path(), &["pico"]);
    wait_for("readings", PATIENCE, || log.count() >= 5);
    gateway.kill();
    pause(Duration::from_secs(5));
    gateway.resume();
    let device = log.readings()[0].device.clone();
    assert!(device.starts_with("python-"), "{device}");
    // Of what was on its way at the kill there may be copies: they count once.
    let before = assert_complete(&log, &device);
    wait_for("what was measured meanwhile", PATIENCE, || assert_complete(&log, &device) >= before + 30);
    drop(board.stdin.take());
    board.wait().unwrap();
    let last = log.readings().pop().unwrap();
    let [n, half] = ["n", "half"].map(|name| last.json[name].as_f64().unwrap());
    assert!((half - n / 2.0).abs() < 1e-9, "{}", last.json);
    assert_eq!(log.events("gap"), [] as [serde_json::Value; 0]);
}
