//! `systemctl stop` in bad times: it ends within its deadline, and everything acknowledged is on disk.

use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::manager::Manager;
use crate::support::{Boards, Faults, Gateway, PATIENCE, port, serialgate};

/// `TimeoutStopSec` of the unit.
const STOPS_WITHIN: Duration = Duration::from_secs(45);

/// Stops it; it has to end well and in time.
fn stop(gateway: &mut Gateway) -> Duration {
    let start = Instant::now();
    gateway.signal(nix::sys::signal::Signal::SIGTERM);
    let status = gateway.wait_end(STOPS_WITHIN);
    assert!(status.success(), "{status}\n{}", gateway.log());
    start.elapsed()
}

/// How many entries wait in the queue's file.
fn waiting(dir: &std::path::Path) -> usize {
    let mut command = serialgate();
    command.args(["queue", "export", "--file"]).arg(dir.join("queue.db"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().filter(|line| line.contains("\"reading\"")).count()
}

/// A cloud that accepts and says nothing, a taken address, a board at full speed, a disk that takes a
/// second for each sync: all at once.
#[test]
fn it_stops_in_time_with_everything_on_disk() {
    let dir = TempDir::new().unwrap();
    let manager = Manager::new(dir.path());
    let dead = TcpListener::bind("127.0.0.1:0").unwrap();
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let faults = Faults::of(dir.path(), ".db");
    let mut environment = manager.environment();
    environment.extend(faults.environment.clone());
    let (broker, cloud) = (held.local_addr().unwrap().port(), dead.local_addr().unwrap().port());
    let config = Gateway::config(dir.path(), &[port(dir.path(), "board", "format: wire")], broker, cloud);
    let mut gateway = Gateway::in_environment(dir.path(), &config, &environment);
    manager.wait("ready", PATIENCE, &gateway, |said| said.starts_with("READY=1\n"));
    let board = Boards::start(dir.path(), "board", "wire", 200, &["--seconds", "3600"]);
    gateway.wait_status("readings on disk", |status| status["queue"]["commits"].as_u64() > Some(2));
    faults.syncs_take(Duration::from_secs(1));
    let volatile = |status: &serde_json::Value| status["queue"]["volatile"].as_u64();
    gateway.wait_status("readings in memory only", |status| volatile(status) > Some(100));
    let took = stop(&mut gateway);
    manager.wait("the end", PATIENCE, &gateway, |said| said.starts_with("STOPPING=1\n"));
    faults.heal();
    let acknowledged = board.count("acknowledged");
    let kept = waiting(dir.path());
    assert!(acknowledged > 0 && kept >= acknowledged, "{kept} of {acknowledged} after {took:?}");
}

/// The name server does not answer: looking up a name blocks a thread for as long as the system likes.
#[test]
fn a_hung_name_server_does_not_hold_it_up() {
    let dir = TempDir::new().unwrap();
    let (queue, socket) = (dir.path().join("queue.db"), dir.path().join("control.sock"));
    let config = format!(
        "gateway: pi\nqueue: {{path: {}}}\nbroker: {{listen: []}}\ncontrol: {{socket: {}}}\n\
         bridges: [{{name: cloud, url: 'mqtt://broker.example.com'}}]\n",
        queue.display(),
        socket.display()
    );
    let (file, resolv) = (dir.path().join("serialgate.yaml"), dir.path().join("resolv.conf"));
    fs::write(&file, config).unwrap();
    // A port of ours that takes every question and answers none.
    fs::write(&resolv, "nameserver 127.0.0.1\noptions timeout:30 attempts:5\n").unwrap();
    let script = format!(
        "set -e; ip link set lo up; mount --bind {} /etc/resolv.conf; exec 3<>/dev/null; \
         python3 -c 'import socket,time; s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); \
         s.bind((\"127.0.0.1\",53)); print(len(s.recv(512)),flush=True); time.sleep(3600)' > {asked} & \
         dns=$!; {} run --config {} & daemon=$!; \
         until [ -s {asked} ]; do sleep 0.05; done; \
         kill -TERM $daemon; wait $daemon; code=$?; kill $dns; exit $code",
        resolv.display(),
        env!("CARGO_BIN_EXE_serialgate"),
        file.display(),
        asked = dir.path().join("asked").display(),
    );
    let start = Instant::now();
    let mut command = Command::new("unshare");
    let output = command.args(["-m", "-n", "bash", "-c"]).arg(script).output().unwrap();
    let took = start.elapsed();
    assert!(output.status.success(), "{output:?}");
    assert!(took < STOPS_WITHIN, "{took:?}");
}
