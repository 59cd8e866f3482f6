//! The disk fills up, or is read-only: a real ext4, small, and shared with somebody else.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    Boards, Cloud, Disk, Gateway, Log, Numbered, PATIENCE, assert_account, compare, dropped, free_port,
    numbers, pause, port, wait_for,
};

/// The disk, in MiB.
const DISK_MIB: u64 = 40;
/// What the queue may take of it; a quarter may be held in memory.
const MAX_SIZE: &str = "16MiB";
/// With a queue of so much, the ballast has its full size.
const BIG: &str = "1GiB";
/// The least that a ballast of use has, in bytes.
const BALLAST: u64 = 3 << 20;
/// The disk is looked at once a minute for room for a ballast.
const BALLAST_WITHIN: Duration = Duration::from_secs(75);
/// More lines than memory has room for.
const TOO_MANY: u64 = 6000;
/// After an outage of minutes a bridge takes its time.
const COMES_BACK_WITHIN: Duration = Duration::from_secs(90);
/// A disk that refuses is noticed within this time.
const NOTICED_WITHIN: Duration = Duration::from_secs(10);
/// Once the disk takes writes again, so does the gateway, by itself, within this time.
const RECOVERS_WITHIN: Duration = Duration::from_secs(10);
/// The most memory that the gateway may take during all this, in KiB.
const RSS_KIB: u64 = 40 * 1024;

/// A gateway whose queue lies on a small disk, a board, and a device that prints numbered lines.
/// What is declared first is dropped first.
struct Scene {
    gateway: Gateway,
    board: Boards,
    lines: Numbered,
    log: Log,
    cloud: Cloud,
    disk: Disk,
    dir: TempDir,
}

impl Scene {
    /// `harm` comes over the disk before the gateway starts.
    fn start(max_size: &str, harm: impl Fn(&Disk)) -> Self {
        let dir = TempDir::new().unwrap();
        let disk = Disk::make(dir.path(), DISK_MIB);
        harm(&disk);
        let cloud = Cloud::start(dir.path());
        let log = Log::of(dir.path(), cloud.port, "serialgate/#");
        let lines = Numbered::plug(dir.path(), "lines");
        let board = board(dir.path(), "board", &["--seconds", "3600"]);
        let gateway = Gateway::configured(dir.path(), &config(dir.path(), &disk, max_size, cloud.port));
        Self { gateway, board, lines, log, cloud, disk, dir }
    }

    fn status(&self) -> Value {
        let status = self.gateway.status().unwrap();
        assert_account(&status);
        status
    }

    fn wait_degraded(&mut self, words: &str) -> Value {
        let status = self.gateway.wait_status("the queue to be degraded", |status| is(status, "degraded"));
        assert_account(&status);
        let said = status["queue"]["last_error"].as_str().unwrap_or_default();
        assert!(said.contains(words), "{status}");
        let screen = self.gateway.screen();
        assert!(screen.contains("DEGRADED") && screen.contains(said), "{screen}");
        self.gateway.assert_runs();
        status
    }

    fn wait_ok(&self) {
        let what = "the queue to recover";
        self.gateway.wait_status_for(what, RECOVERS_WITHIN, |status| !is(status, "degraded"));
    }

    fn wait_safe(&self) {
        self.gateway.wait_status("everything to be on disk", |status| status["queue"]["volatile"] == 0);
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

    fn assert_memory(&self) {
        let rss = self.gateway.rss_kib();
        eprintln!("{rss} KiB of memory");
        assert!(rss < RSS_KIB, "{rss} KiB");
    }

    /// The cloud is told that so many lines are lost.
    fn wait_told(&self, lost: u64) {
        let told = || -> u64 {
            let gaps = self.log.events("gap");
            let lines = gaps.iter().filter(|gap| gap["device"] == "lines");
            // A kill may send it twice.
            let by_id: BTreeMap<_, _> = lines.map(|gap| (gap["id"].to_string(), gap)).collect();
            by_id.values().map(|gap| gap["lost"].as_u64().unwrap()).sum()
        };
        self.gateway.wait_status("the word of what is lost", |_| told() >= lost);
        assert_eq!(told(), lost, "{:?}", self.log.events("gap"));
    }

    /// Everything that the board had acknowledged is in the cloud, every line is there or counted,
    /// and the log is no flood. Gives how many lines were dropped.
    fn end(mut self) -> u64 {
        self.board.stop();
        let connected = |status: &Value| status["bridges"][0]["state"] == "connected";
        self.gateway.wait_status_for("the bridge", COMES_BACK_WITHIN, connected);
        let acknowledged = self.board.ids("acknowledged");
        self.gateway
            .wait_status("everything acknowledged to be in the cloud", |_| self.log.has(&acknowledged));
        let status = self.gateway.wait_status("an empty queue", |status| status["queue"]["readings"] == 0);
        assert_account(&status);
        assert_eq!(status["queue"]["state"], "ok", "{status}");
        compare(&acknowledged, &self.log.readings());
        // The log comes behind.
        let missing = || self.lines.said() - numbers(&self.log, "lines").len() as u64;
        self.gateway.wait_status("every other line", |_| missing() <= dropped(&status));
        assert_eq!(missing(), dropped(&status), "{status}");
        self.wait_told(missing());
        let missing = missing();
        let log = self.gateway.log();
        assert!(log.lines().count() < 60, "{log}");
        missing
    }
}

fn board(dir: &Path, name: &str, more: &[&str]) -> Boards {
    let mut all = vec!["--ring", "20000"];
    all.extend(more);
    Boards::start(dir, name, "wire", 50, &all)
}

fn config(dir: &Path, disk: &Disk, max_size: &str, cloud: u16) -> String {
    let ports = [port(dir, "board", "format: wire"), Numbered::port(dir, "lines")];
    let ours = format!("path: {}/queue.db", dir.display());
    let on_disk = format!("path: {}, max_size: {max_size}", disk.path("queue.db").display());
    Gateway::config(dir, &ports, free_port(), cloud).replace(&ours, &on_disk)
}

fn is(status: &Value, state: &str) -> bool {
    status["queue"]["state"] == state
}

#[test]
fn a_disk_that_others_fill_up_costs_nothing_that_was_acknowledged() {
    let mut scene = Scene::start(MAX_SIZE, |_| {});
    scene.gateway.wait_bridge();
    scene.lines.say(100);
    scene.cloud.stop();
    scene.lines.say(300);
    scene.wait_safe();
    // Whatever the gateway gives back is taken as well.
    wait_for("the disk to refuse", PATIENCE, || {
        scene.disk.fill();
        scene.lines.say(200);
        is(&scene.status(), "degraded")
    });
    scene.wait_degraded("full");
    scene.assert_nothing_acknowledged();
    let before = dropped(&scene.status());
    scene.lines.say(TOO_MANY);
    wait_for("drops", PATIENCE, || dropped(&scene.status()) > before);
    scene.assert_memory();
    scene.assert_nothing_acknowledged();
    scene.wait_degraded("full");

    scene.disk.clear();
    scene.wait_ok();
    scene.wait_acknowledged(100);
    scene.cloud.resume();
    assert!(scene.end() > 0);
}

/// The gateway starts on a disk that refuses, delivers what it can, and keeps what it can.
fn started_on_a_disk_that_refuses(words: &str, harm: impl Fn(&Disk), heal: impl Fn(&Disk)) {
    let mut scene = Scene::start(MAX_SIZE, harm);
    wait_for("the gateway to be up", NOTICED_WITHIN, || scene.gateway.status().is_some());
    scene.wait_degraded(words);
    scene.lines.say(100);
    wait_for("lines in the cloud", PATIENCE, || numbers(&scene.log, "lines").len() == 100);
    scene.wait_acknowledged(50);

    scene.cloud.stop();
    scene.gateway.wait_status("the bridge to notice", |status| status["bridges"][0]["state"] != "connected");
    // Answers that were on their way.
    pause(Duration::from_secs(1));
    scene.lines.say(TOO_MANY);
    wait_for("drops", PATIENCE, || dropped(&scene.status()) > 0);
    scene.assert_nothing_acknowledged();
    scene.assert_memory();
    scene.wait_degraded(words);

    heal(&scene.disk);
    scene.wait_ok();
    scene.wait_acknowledged(100);
    scene.cloud.resume();
    scene.wait_told(dropped(&scene.status()));
    scene.cloud.stop();
    scene.wait_acknowledged(50);
    scene.lines.say(100);
    // What it says is on disk, is.
    scene.wait_safe();
    scene.gateway.kill();
    scene.gateway.resume();
    scene.cloud.resume();
    assert!(scene.end() > 0);
}

#[test]
fn a_gateway_starts_on_a_full_disk() {
    started_on_a_disk_that_refuses("full", Disk::fill, Disk::clear);
}

#[test]
fn a_gateway_starts_on_a_read_only_disk() {
    started_on_a_disk_that_refuses("ead-only", Disk::read_only, Disk::writable);
}

#[test]
fn a_backlog_on_a_disk_that_is_read_only_at_the_start_arrives_once_it_is_writable() {
    let mut scene = Scene::start(MAX_SIZE, |_| {});
    scene.gateway.wait_bridge();
    scene.cloud.stop();
    scene.wait_acknowledged(100);
    scene.board.stop();
    scene.lines.say(300);
    scene.wait_safe();
    scene.gateway.terminate();
    let backlog = scene.board.ids("acknowledged");

    scene.disk.read_only();
    scene.gateway.resume();
    scene.wait_degraded("ead-only");
    scene.cloud.resume();
    // Another board, so that nothing is asked of the order of the two.
    scene.board = board(scene.dir.path(), "board", &["--seconds", "3600", "--uid", "0099"]);
    scene.wait_acknowledged(50);
    scene.disk.writable();
    scene.wait_ok();
    wait_for("the backlog in the cloud", PATIENCE, || scene.log.has(&backlog));
    scene.wait_acknowledged(50);
    assert_eq!(scene.end(), 0);
}

#[test]
fn a_file_system_that_gave_up_keeps_what_was_safe_for_the_time_after_its_repair() {
    let mut scene = Scene::start(MAX_SIZE, |_| {});
    scene.gateway.wait_bridge();
    scene.cloud.stop();
    scene.lines.say(300);
    scene.wait_acknowledged(100);
    scene.wait_safe();
    scene.disk.abort();
    scene.wait_degraded("ead-only");
    scene.assert_nothing_acknowledged();
    // What the cloud takes is safe with no disk.
    scene.cloud.resume();
    scene.wait_acknowledged(50);
    scene.cloud.stop();
    pause(Duration::from_secs(1));
    scene.assert_nothing_acknowledged();
    let waiting = scene.status()["queue"]["volatile"].as_u64().unwrap();
    scene.gateway.terminate();
    // Somebody reads the log to know what a stop has cost.
    let log = scene.gateway.log();
    let words = log.lines().last().unwrap();
    assert!(waiting > 0 && words.contains("lost"), "{log}");
    scene.disk.replace();
    scene.gateway.resume();
    scene.wait_acknowledged(50);
    scene.wait_safe();
    scene.cloud.resume();
    assert_eq!(scene.end(), 0);
}

#[test]
fn a_ballast_keeps_commits_going_when_others_fill_the_disk() {
    let mut scene = Scene::start(BIG, |_| {});
    scene.gateway.wait_bridge();
    let ballast = scene.disk.path("queue.db-ballast");
    let bytes = || fs::metadata(&ballast).map_or(0, |meta| meta.blocks() * 512);
    wait_for("the ballast", PATIENCE, || bytes() >= BALLAST);
    scene.cloud.stop();
    scene.lines.say(300);
    scene.wait_safe();
    scene.disk.fill();
    assert!(scene.disk.free() < 64 * 1024, "{} bytes free", scene.disk.free());
    wait_for("the ballast to be given up", PATIENCE, || {
        scene.lines.say(500);
        scene.wait_safe();
        !ballast.exists()
    });
    // It was room for some more.
    let start = scene.lines.said();
    for _ in 0..10 {
        scene.lines.say(100);
        scene.wait_safe();
    }
    let status = scene.status();
    eprintln!("{} lines on a full disk; {}", scene.lines.said() - start, status["queue"]);
    assert!(is(&status, "ok"), "{status}");
    scene.wait_acknowledged(50);
    scene.disk.clear();
    wait_for("the ballast to be made again", BALLAST_WITHIN, || bytes() >= BALLAST);
    scene.cloud.resume();
    assert_eq!(scene.end(), 0);
}
