//! The disk gives errors, or takes its time: the gateway's calls are intercepted.

use std::time::{Duration, Instant};

use nix::errno::Errno;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    Boards, Cloud, Faults, Gateway, Log, Numbered, PATIENCE, Slow, assert_account, compare, dropped,
    free_port, numbers, pause, port, slowest, wait_for,
};

/// How long a sync hangs: as on a card that is busy with itself.
const HANG: Duration = Duration::from_secs(5);
/// A disk that does not answer is noticed within this time.
const NOTICED_WITHIN: Duration = Duration::from_secs(15);
/// Once the disk is well again, so is the gateway, by itself, within this time.
const RECOVERS_WITHIN: Duration = Duration::from_secs(10);
/// How long a reading may take to a subscriber, whatever the disk does, in seconds.
const LATENCY_S: f64 = 1.0;
/// Readings per second of the board.
const RATE: u32 = 50;

/// A gateway with a disk that can be told to fail. What is declared first is dropped first.
struct Scene {
    gateway: Gateway,
    board: Boards,
    lines: Numbered,
    /// What arrives at the local broker.
    local: Log,
    log: Log,
    link: Slow,
    cloud: Cloud,
    faults: Faults,
    _dir: TempDir,
}

impl Scene {
    fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let faults = Faults::of(dir.path(), "queue.db");
        let cloud = Cloud::start(dir.path());
        let log = Log::of(dir.path(), cloud.port, "serialgate/#");
        let link = Slow::to(cloud.port);
        let lines = Numbered::plug(dir.path(), "lines");
        let board =
            Boards::start(dir.path(), "board", "wire", RATE, &["--ring", "20000", "--seconds", "3600"]);
        let ports = [port(dir.path(), "board", "format: wire"), Numbered::port(dir.path(), "lines")];
        let broker = free_port();
        let config = Gateway::config(dir.path(), &ports, broker, link.port);
        let gateway = Gateway::in_environment(dir.path(), &config, &faults.environment);
        gateway.wait_bridge();
        let local = Log::of(dir.path(), broker, "serialgate/#");
        let scene = Self { gateway, board, lines, local, log, link, cloud, faults, _dir: dir };
        scene.wait_acknowledged(10);
        scene
    }

    fn status(&self) -> Value {
        let start = Instant::now();
        let status = self.gateway.status().unwrap();
        assert!(start.elapsed() < Duration::from_secs(1), "status took {:?}", start.elapsed());
        assert_account(&status);
        status
    }

    fn wait_degraded(&mut self, words: &str) {
        wait_for("the queue to be degraded", NOTICED_WITHIN, || {
            self.status()["queue"]["state"] == "degraded"
        });
        let status = self.status();
        let said = status["queue"]["last_error"].as_str().unwrap_or_default();
        assert!(said.contains(words), "{status}");
        let screen = self.gateway.screen();
        assert!(screen.contains("DEGRADED") && screen.contains(said), "{screen}");
        self.gateway.assert_runs();
    }

    fn wait_ok(&self) {
        wait_for("the queue to recover", RECOVERS_WITHIN, || self.status()["queue"]["state"] == "ok");
    }

    fn cut_off(&mut self) {
        self.cloud.stop();
        self.gateway
            .wait_status("the bridge to notice", |status| status["bridges"][0]["state"] != "connected");
    }

    fn wait_acknowledged(&self, more: usize) {
        let enough = self.board.count("acknowledged") + more;
        wait_for("acknowledgements", PATIENCE, || self.board.count("acknowledged") >= enough);
    }

    /// Nothing is acknowledged while the board goes on.
    fn assert_nothing_acknowledged(&self) {
        let (before, produced) = (self.board.count("acknowledged"), self.board.count("produced"));
        wait_for("more readings", PATIENCE, || self.board.count("produced") > produced + 50);
        assert_eq!(self.board.count("acknowledged"), before, "acknowledged, and safe nowhere");
    }

    /// Nothing is missing, nothing was dropped, and the log is no flood.
    fn end(mut self) {
        self.board.stop();
        let acknowledged = self.board.ids("acknowledged");
        self.gateway
            .wait_status("everything acknowledged to be in the cloud", |_| self.log.has(&acknowledged));
        let status = self.gateway.wait_status("an empty queue", |status| status["queue"]["readings"] == 0);
        assert_account(&status);
        assert_eq!(dropped(&status), 0, "{status}");
        compare(&acknowledged, &self.log.readings());
        let said = self.lines.said();
        self.gateway.wait_status("all lines", |_| numbers(&self.log, "lines").len() as u64 >= said);
        assert_eq!(numbers(&self.log, "lines"), (0..said).collect::<Vec<_>>());
        assert_eq!(self.log.events("gap"), [] as [Value; 0]);
        let log = self.gateway.log();
        assert!(log.lines().count() < 60, "{log}");
    }
}

#[test]
fn a_sync_that_hangs_delays_no_reading() {
    let mut scene = Scene::start();
    // A cloud that answers later than an entry may stay in memory: everything goes to the disk too.
    scene.link.delay(Duration::from_millis(300));
    scene.faults.syncs_take(HANG);
    wait_for("a sync", PATIENCE, || scene.faults.is_syncing());
    let from = scene.lines.said();
    let mut behind = 0;
    let start = Instant::now();
    let mut was_degraded = false;
    while start.elapsed() < 3 * HANG {
        scene.lines.say(1);
        let acknowledged = scene.board.count("acknowledged");
        behind = behind.max(scene.board.count("produced") - acknowledged);
        was_degraded |= scene.status()["queue"]["state"] == "degraded";
        pause(Duration::from_millis(100));
    }
    assert!(was_degraded, "nothing says that the disk hangs: {}", scene.status());
    scene.wait_degraded("");
    let said = scene.lines.said();
    wait_for("all lines", PATIENCE, || numbers(&scene.log, "lines").len() as u64 >= said);
    let (near, far) = (slowest(&scene.local, "lines", from), slowest(&scene.log, "lines", from));
    eprintln!("slowest line: {near:.3} s to a local client, {far:.3} s to the cloud; board {behind} behind");
    assert!(near < LATENCY_S && far < LATENCY_S, "local {near} s, cloud {far} s");
    // The cloud's answer takes a fraction of a second, and the acknowledgement with it.
    assert!(behind < 2 * RATE as usize, "{behind} readings not acknowledged");
    scene.faults.heal();
    scene.wait_ok();
    scene.end();
}

#[test]
fn a_sync_that_hangs_in_an_outage_delays_no_local_client_and_loses_nothing() {
    let mut scene = Scene::start();
    scene.cut_off();
    scene.faults.syncs_take(HANG);
    wait_for("a sync", PATIENCE, || scene.faults.is_syncing());
    let from = scene.lines.said();
    let start = Instant::now();
    while start.elapsed() < 3 * HANG {
        scene.lines.say(1);
        scene.status();
        pause(Duration::from_millis(100));
    }
    scene.wait_degraded("");
    let near = slowest(&scene.local, "lines", from);
    assert!(near < LATENCY_S, "{near} s to a local client");
    // Slow is not never.
    scene.wait_acknowledged(10);
    scene.gateway.kill();
    scene.faults.heal();
    let lost = scene.lines.said();
    scene.gateway.resume();
    scene.cloud.resume();
    scene.gateway.wait_bridge();
    scene.lines.say(10);
    // Lines that were in memory only went with the kill. What the board was promised did not.
    scene.board.stop();
    let acknowledged = scene.board.ids("acknowledged");
    wait_for("everything acknowledged to be in the cloud", PATIENCE, || scene.log.has(&acknowledged));
    assert!(numbers(&scene.log, "lines").iter().all(|n| *n < lost + 10));
    let status = scene.gateway.wait_status("an empty queue", |status| status["queue"]["readings"] == 0);
    assert_account(&status);
    assert_eq!(dropped(&status), 0, "{status}");
}

/// The disk refuses for a while, in an outage and after.
fn while_the_disk_refuses(words: &str, harm: impl Fn(&Faults)) {
    let mut scene = Scene::start();
    scene.cut_off();
    scene.lines.say(100);
    scene.wait_acknowledged(20);
    harm(&scene.faults);
    scene.wait_degraded(words);
    assert!(scene.faults.failed() > 0);
    scene.lines.say(100);
    scene.assert_nothing_acknowledged();
    // What the cloud has is safe, and the board is told.
    scene.cloud.resume();
    scene.wait_acknowledged(50);
    let said = scene.lines.said();
    wait_for("all lines", PATIENCE, || numbers(&scene.log, "lines").len() as u64 >= said);
    scene.wait_degraded(words);
    scene.cut_off();
    scene.lines.say(100);
    scene.assert_nothing_acknowledged();
    scene.faults.heal();
    scene.wait_ok();
    scene.wait_acknowledged(20);
    scene.gateway.wait_status("everything to be on disk", |status| status["queue"]["volatile"] == 0);
    scene.gateway.kill();
    scene.gateway.resume();
    scene.cloud.resume();
    scene.gateway.wait_bridge();
    scene.end();
}

#[test]
fn a_disk_that_fails_to_sync_loses_nothing() {
    while_the_disk_refuses("I/O error", |faults| faults.syncs_fail(Errno::EIO));
}

#[test]
fn a_disk_that_fails_to_write_loses_nothing() {
    while_the_disk_refuses("I/O error", |faults| faults.writes_fail(Errno::EIO));
}

#[test]
fn a_disk_that_becomes_read_only_loses_nothing() {
    while_the_disk_refuses("", |faults| faults.writes_fail(Errno::EROFS));
}

#[test]
fn a_backlog_that_cannot_be_read_for_a_while_arrives_after_that() {
    let mut scene = Scene::start();
    scene.cut_off();
    // More than is cached.
    for _ in 0..10 {
        scene.lines.say(300);
        scene.gateway.wait_status("lines on disk", |status| status["queue"]["volatile"].as_u64() < Some(100));
    }
    scene.faults.reads_fail(0..u32::MAX, Errno::EIO);
    scene.cloud.resume();
    scene.gateway.wait_bridge();
    scene.wait_degraded("output error");
    let from = scene.lines.said();
    scene.lines.say(10);
    wait_for("live lines", PATIENCE, || numbers(&scene.local, "lines").contains(&(from + 9)));
    scene.faults.heal();
    scene.wait_ok();
    scene.end();
}
