//! A device that the sandbox keeps out.

use std::fs;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::support::{Gateway, PATIENCE, Process, Tty, free_port, port, wait_for};

#[test]
fn a_device_that_the_service_may_not_open_is_told_with_the_remedy() {
    let dir = TempDir::new().unwrap();
    let link = dir.path().join("board");
    let ports = [port(dir.path(), "board", "format: wire")];
    let gateway =
        Gateway::configured(dir.path(), &Gateway::config(dir.path(), &ports, free_port(), free_port()));
    gateway.wait_port(0, "absent");
    // The kernel's answer where the unit's `DeviceAllow` does not know the kind of device.
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-p", &gateway.pid().to_string(), "-P"]).arg(&link);
    strace.args(["-e", "trace=openat", "-e", "inject=openat:error=EPERM"]).stderr(Stdio::null());
    let sandbox = Process::spawn(&mut strace);
    let status = format!("/proc/{}/status", gateway.pid());
    wait_for("the sandbox", PATIENCE, || {
        fs::read_to_string(&status).unwrap().contains(&format!("TracerPid:\t{}\n", sandbox.pid()))
    });
    let _tty = Tty::plug(&link);
    let denied = gateway.wait_port(0, "denied");
    let why = denied["last_error"].as_str().unwrap();
    assert!(why.contains("the service's sandbox does not") && why.contains("systemctl restart"), "{why}");
    drop(sandbox);
    gateway.wait_port(0, "open");
}
