//! The example board in Rust, over `embedded-io`: a process whose UART is a pseudo-terminal.

use std::fs::{self, File, OpenOptions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use serialgate::mqtt::packet::Qos;
use tempfile::TempDir;

use crate::emulated::{assert_complete, scene_at};
use crate::support::{PATIENCE, Process, Raw, free_port, pause, wait_for};

/// The board, and the far end of its line, which stays open: a UART does not end when nobody listens.
struct Board {
    _process: Process,
    _line: File,
}

impl Board {
    /// A board that is plugged in as `link`.
    fn start(link: &Path) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let into = Path::new(env!("CARGO_TARGET_TMPDIR")).join("rust");
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--locked", "--quiet", "--package", "serialgate-wire", "--example", "board"]);
        build.arg("--manifest-path").arg(root.join("Cargo.toml")).arg("--target-dir").arg(&into);
        assert!(build.status().unwrap().success(), "the example does not build");

        let uart = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).unwrap();
        grantpt(&uart).unwrap();
        unlockpt(&uart).unwrap();
        let device = ptsname_r(&uart).unwrap();
        let line =
            OpenOptions::new().read(true).write(true).custom_flags(OFlag::O_NOCTTY.bits()).open(&device);
        let mut settings = tcgetattr(&uart).unwrap();
        cfmakeraw(&mut settings);
        tcsetattr(&uart, SetArg::TCSANOW, &settings).unwrap();
        symlink(&device, link).unwrap();
        let uart = OwnedFd::from(uart);
        let mut board = Command::new(into.join("debug/examples/board"));
        board.stdin(Stdio::from(uart.try_clone().unwrap())).stdout(Stdio::from(uart));
        Self { _process: Process::spawn(&mut board), _line: line.unwrap() }
    }
}

#[test]
fn its_readings_wait_while_the_gateway_is_down_and_it_does_what_it_is_told() {
    let dir = TempDir::new().unwrap();
    let _board = Board::start(&dir.path().join("board"));
    let local = free_port();
    let (_cloud, log, mut gateway) = scene_at(dir.path(), &["board"], local);
    wait_for("readings", PATIENCE, || log.count() >= 3);
    let device = log.readings()[0].device.clone();
    // The last four digits of its uid, which is "rust".
    assert_eq!(device, "rust-7374");
    gateway.kill();
    pause(Duration::from_secs(6));
    let before = assert_complete(&log, &device);
    gateway.resume();
    wait_for("what was measured meanwhile", PATIENCE, || log.count() >= before + 8);
    assert!(assert_complete(&log, &device) >= before + 6);
    assert_eq!(log.events("gap"), [] as [serde_json::Value; 0]);
    let port = gateway.wait_port(0, "open");
    assert_eq!((&port["bad_check"], &port["bad_decode"]), (&0.into(), &0.into()), "{port}");

    let mut client = Raw::new("operator", 0);
    client.connect(local).subscribe("serialgate/pi/+/result", Qos::AtMostOnce);
    let topic = format!("serialgate/pi/{device}/set");
    for (payload, status) in [(r#"{"lamp":true}"#, "ok"), (r#"{"$call":{"command":16}}"#, "unknown")] {
        let before = client.messages.len();
        client.publish(&topic, payload, Qos::AtMostOnce, false).unwrap();
        client.go_on("the result", |client| client.messages.len() > before);
        let result: serde_json::Value = serde_json::from_str(&client.messages[before].1).unwrap();
        assert_eq!(result["status"], status, "{result}");
    }
    wait_for("the lamp to be on", PATIENCE, || log.readings().iter().any(|r| r.json["lamp"] == true));
    assert_complete(&log, &device);
}

/// On a microcontroller there is nothing else: no std, no allocation.
#[test]
fn the_board_uses_nothing_that_a_microcontroller_does_not_have() {
    let board = Path::new(env!("CARGO_MANIFEST_DIR")).join("firmware/rust/examples/board/board.rs");
    let board = fs::read_to_string(board).unwrap();
    let uses: Vec<&str> = board.lines().filter(|line| line.starts_with("use ")).collect();
    assert!(uses.iter().all(|line| line.contains("embedded_io::") || line.contains("serialgate_wire::")));
    for word in ["std::", "alloc::", "Vec<", "String", "format!", "f32", "f64"] {
        assert!(!board.contains(word), "{word}");
    }
}
