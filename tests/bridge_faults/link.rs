//! The whole gateway on one host, the cloud on another, and a network between them that fails without a word.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::namespace::{CLOUD, Net};
use crate::support::{
    Boards, Cloud, Gateway, Log, assert_account, compare, dropped, free_port, pause, port, serialgate,
    wait_for,
};
use crate::{MACHINE, PATIENCE, signal, wanted};

/// Readings per second of the board.
const RATE: u32 = 20;
/// A dead link is `connected` for no longer than this.
const CONNECTED_MAX: Duration = Duration::from_secs(90);
/// How long it stays dead after that was noticed: for a few vain attempts.
const DEAD_FOR: Duration = Duration::from_secs(8);
/// How long a link is bad.
const BAD_FOR: Duration = Duration::from_secs(15);
/// How long the other side says RST.
const RESET_FOR: Duration = Duration::from_secs(4);
/// Of a hundred packets, each way.
const LOSS_PERCENT: u32 = 30;

/// What becomes of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    BlackHole,
    /// The cloud's process is stopped; its kernel lives.
    Frozen,
    Loss,
    Reset,
}

/// What declared first is dropped first.
struct Scene {
    gateway: Gateway,
    board: Option<Boards>,
    log: Log,
    cloud: Cloud,
    net: Net,
    dir: TempDir,
}

impl Scene {
    /// A gateway that is connected; with a board that talks, or without.
    fn start(talks: bool) -> Self {
        let dir = TempDir::new().unwrap();
        let net = Net::new();
        let (cloud, log) = net.cloud.within(|| {
            let cloud = Cloud::start_at(dir.path(), "0.0.0.0");
            let log = Log::of(dir.path(), cloud.port, "serialgate/#");
            (cloud, log)
        });
        let board = talks.then(|| {
            Boards::start(dir.path(), "board", "wire", RATE, &["--ring", "20000", "--seconds", "3600"])
        });
        let ports = [port(dir.path(), "board", "format: wire")];
        let config = Gateway::config(dir.path(), if talks { &ports } else { &[] }, free_port(), cloud.port);
        let config = config.replace("mqtt://127.0.0.1", &format!("mqtt://{CLOUD}"));
        let gateway = net.gateway.within(|| Gateway::configured(dir.path(), &config));
        gateway.wait_bridge();
        // The event of the connection too is acknowledged: an idle link has nothing in flight.
        gateway.wait_status("a quiet link", |status| {
            talks && log.count() > 10 || !talks && status["bridges"][0]["in_flight"] == 0
        });
        Self { gateway, board, log, cloud, net, dir }
    }

    fn begin(&self, fault: Fault) {
        match fault {
            Fault::BlackHole => self.net.black_hole(),
            Fault::Frozen => signal(&self.cloud, Signal::SIGSTOP),
            Fault::Loss => self.net.lose(LOSS_PERCENT),
            Fault::Reset => self.net.reset(),
        }
    }

    fn end(&self, fault: Fault) {
        match fault {
            Fault::Frozen => signal(&self.cloud, Signal::SIGCONT),
            Fault::BlackHole | Fault::Loss | Fault::Reset => self.net.heal(),
        }
    }

    /// The bridge's entry in what `serialgate status --json` says.
    fn bridge(&self) -> Value {
        let mut command: Command = serialgate();
        command.args(["status", "--json", "--socket"]).arg(self.dir.path().join("control.sock"));
        let output = command.output().unwrap();
        let mut status: Value = serde_json::from_slice(&output.stdout).unwrap();
        status["bridges"][0].take()
    }

    /// How long the status says `connected` from now on. Looks on until that was over for a while.
    fn connected_for(&self) -> (Duration, String) {
        let start = Instant::now();
        let (mut last, mut error) = (Duration::ZERO, None);
        while start.elapsed() < last + DEAD_FOR {
            let bridge = self.bridge();
            if bridge["state"] == "connected" {
                last = start.elapsed();
                assert!(last < CONNECTED_MAX, "connected to nobody for {last:?}: {bridge}");
            } else {
                error = error.or_else(|| bridge["last_error"].as_str().map(str::to_owned));
            }
            pause(Duration::from_millis(100));
        }
        (last, error.unwrap_or_default())
    }

    /// Everything has arrived. Gives how many there were, and how many copies.
    fn check(&mut self) -> (usize, usize) {
        let acknowledged = self.board.as_mut().map(|board| {
            board.stop();
            board.ids("acknowledged")
        });
        let acknowledged = acknowledged.unwrap_or_default();
        wait_for("everything in the cloud", PATIENCE, || self.log.has(&acknowledged));
        let status = self.gateway.wait_status("an empty queue", |status| status["queue"]["readings"] == 0);
        assert_account(&status);
        assert_eq!(dropped(&status), 0, "{status}");
        let verdict = compare(&acknowledged, &self.log.readings());
        assert!(verdict.missing.is_empty());
        let possible = status["bridges"][0]["duplicates_possible"].as_u64().unwrap();
        assert!(verdict.duplicates as u64 <= possible, "{} copies of {possible}", verdict.duplicates);
        (acknowledged.len(), verdict.duplicates)
    }
}

/// A link that is dead, with readings to send or without. Gives its line of the table.
fn dies(fault: Fault, talks: bool) -> String {
    let mut scene = Scene::start(talks);
    scene.begin(fault);
    let (connected, error) = scene.connected_for();
    scene.end(fault);
    scene.gateway.wait_bridge();
    let (readings, copies) = scene.check();
    let what = if talks { "readings flow" } else { "idle" };
    line(
        &format!("{fault:?}, {what}"),
        readings,
        copies,
        &format!("{:4.1} s  {error}", connected.as_secs_f64()),
    )
}

/// A link that is bad for a while, while readings flow.
fn suffers(fault: Fault, time: Duration) -> String {
    let mut scene = Scene::start(true);
    scene.begin(fault);
    let before = scene.log.count();
    pause(time);
    let arrived = scene.log.count() - before;
    let error = scene.bridge()["last_error"].as_str().unwrap_or("-").to_owned();
    match fault {
        // Bad is not dead. It stays bad to the end.
        Fault::Loss => assert!(arrived > 0, "nothing comes through"),
        _ => {
            assert!(error.contains("refused") || error.contains("closed"), "{error}");
            scene.end(fault);
        }
    }
    let (readings, copies) = scene.check();
    line(&format!("{fault:?}, {arrived} came meanwhile"), readings, copies, &format!("   -    {error}"))
}

fn line(what: &str, readings: usize, copies: usize, rest: &str) -> String {
    format!("{what:28} {readings:8} {copies:6} {rest}")
}

#[test]
fn a_network_that_fails_without_a_word_loses_nothing_and_is_noticed() {
    let _here = MACHINE.blocking_read();
    type Act = fn() -> String;
    let acts: [(&str, Act); 6] = [
        ("a black hole while readings flow", || dies(Fault::BlackHole, true)),
        ("a black hole on an idle link", || dies(Fault::BlackHole, false)),
        ("a frozen cloud while readings flow", || dies(Fault::Frozen, true)),
        ("a frozen cloud on an idle link", || dies(Fault::Frozen, false)),
        ("30 % loss", || suffers(Fault::Loss, BAD_FOR)),
        ("RST", || suffers(Fault::Reset, RESET_FOR)),
    ];
    let acts = acts.into_iter().filter(|(name, _)| wanted(name));
    let running: Vec<_> = acts.map(|(name, act)| (name, thread::spawn(act))).collect();
    println!("link                         readings copies connected for, and why not");
    let mut failed = Vec::new();
    for (name, act) in running {
        match act.join() {
            Ok(line) => println!("{line}"),
            Err(_) => failed.push(name),
        }
    }
    assert!(failed.is_empty(), "BRIDGE_FAULT={failed:?}: see the panics above");
}
