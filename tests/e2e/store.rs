//! The local broker's file is in trouble: nobody stands still for it, and nothing is lost that came
//! meanwhile.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use serde_json::Value;
use serialgate::mqtt::packet::Qos;
use tempfile::TempDir;

use crate::support::{Cloud, Disk, Faults, Gateway, Log, PATIENCE, Raw, free_port, wait_for};

/// The small disk, in MiB.
const DISK_MIB: u64 = 40;
/// A payload of which a few hundred fill the log that the file was given room for.
const BIG_BYTES: usize = 32 << 10;
/// Acknowledgements wait for so long at least for a disk that refuses: ten seconds, less one between
/// our clock and the gateway's.
const WAITS: Duration = Duration::from_secs(9);
/// How long a sync hangs: as on a card that is busy with itself.
const HANG: Duration = Duration::from_secs(8);
/// Somebody who need not wait for the disk is not made to: far below the ten seconds.
const AT_ONCE: Duration = Duration::from_secs(5);

/// A gateway with the broker's file elsewhere, and clients. What is declared first is dropped first.
struct Scene {
    gateway: Gateway,
    local: u16,
    /// Whoever reads the events, at the local broker and at a cloud.
    events: Raw,
    log: Log,
    /// It comes back for its messages.
    away: Raw,
    publisher: Raw,
    /// How many messages wait for `away`, and since when the last one is on its way.
    sent: usize,
    last: Instant,
    _cloud: Cloud,
    _dir: TempDir,
}

impl Scene {
    /// With the file at `path`.
    fn start(dir: TempDir, path: &Path, environment: &[(&'static str, PathBuf)]) -> Self {
        let mut scene = Self::begin(dir, path, environment);
        scene.gateway.wait_bridge();
        scene.wait_state("ok");
        scene.meet();
        scene
    }

    /// The same, before anybody has connected.
    fn begin(dir: TempDir, path: &Path, environment: &[(&'static str, PathBuf)]) -> Self {
        let cloud = Cloud::start(dir.path());
        let log = Log::of(dir.path(), cloud.port, "serialgate/pi/event");
        let local = free_port();
        let broker = format!("broker: {{path: {}, limits: {{queue: 32MiB}}, ", path.display());
        let config = Gateway::config(dir.path(), &[], local, cloud.port).replace("broker: {", &broker);
        let gateway = Gateway::in_environment(dir.path(), &config, environment);
        let (events, away) = (Raw::new("events", 0), Raw::persistent("away"));
        let publisher = Raw::new("publisher", 0);
        let last = Instant::now();
        Self { gateway, local, events, log, away, publisher, sent: 0, last, _cloud: cloud, _dir: dir }
    }

    /// Everybody connects; then one goes away.
    fn meet(&mut self) {
        self.events.connect(self.local).subscribe("serialgate/pi/event", Qos::AtLeastOnce);
        self.events.subscribe("live/#", Qos::AtLeastOnce);
        self.away.connect(self.local).subscribe("kept", Qos::AtLeastOnce);
        self.away.drop_connection();
        self.publisher.connect(self.local);
        self.gateway.wait_status("two clients", |status| status["broker"]["clients"] == 2);
    }

    fn wait_state(&self, state: &str) -> Value {
        let what = format!("the broker to be {state}");
        self.gateway.wait_status(&what, |status| status["broker"]["state"] == state)
    }

    /// Everybody is told that the disk refuses, and why.
    fn wait_degraded(&self, words: &str) {
        let status = self.wait_state("degraded");
        let said = status["broker"]["last_error"].as_str().unwrap();
        assert!(said.contains(words), "{status}");
        let screen = self.gateway.screen();
        assert!(screen.contains("Local broker: DEGRADED") && screen.contains(said), "{screen}");
    }

    /// The events of the kind `broker` that a local client got, as states.
    fn told(&self) -> Vec<Value> {
        events(&self.events, "broker").iter().map(|event| event["state"].clone()).collect()
    }

    /// Publishes the next message for who is away; does not wait.
    fn say(&mut self, bytes: usize) {
        let payload = format!("{:0bytes$}", self.sent);
        self.publisher.publish("kept", &payload, Qos::AtLeastOnce, false).unwrap();
        self.sent += 1;
        self.last = Instant::now();
    }

    fn wait_acknowledged(&mut self) {
        self.publisher.go_on("the acknowledgement", |raw| raw.open() == 0);
    }

    /// The last one waits for the disk.
    fn assert_waits(&mut self) {
        self.publisher.settle();
        assert!(self.publisher.open() == 1 || self.last.elapsed() > WAITS, "acknowledged, and safe nowhere");
    }

    /// Nobody has to wait.
    fn assert_acknowledged_at_once(&mut self) {
        for _ in 0..20 {
            self.say(10);
            self.wait_acknowledged();
            assert!(self.last.elapsed() < AT_ONCE, "waited for {:?}", self.last.elapsed());
        }
    }

    /// Clients that are there get and acknowledge as on any other day.
    fn assert_traffic(&mut self, word: &str) {
        let start = Instant::now();
        let mut speaker = Raw::new("speaker", 0);
        speaker.connect(self.local);
        for (qos, topic) in [(Qos::AtMostOnce, "live/0"), (Qos::AtLeastOnce, "live/1")] {
            speaker.publish(topic, word, qos, false).unwrap();
            let wanted = (topic.to_owned(), word.to_owned());
            self.events.go_on(topic, |raw| raw.messages.contains(&wanted));
        }
        speaker.go_on("its acknowledgement", |raw| raw.open() == 0);
        assert!(start.elapsed() < AT_ONCE, "{word}: took {:?}", start.elapsed());
    }

    /// With a disk that is well again: all is ok by itself, and survives a kill. `told` is what a local
    /// client has heard of it by then.
    fn end(&mut self, told: &[&str]) {
        let status = self.wait_state("ok");
        assert_eq!(status["broker"]["last_error"], Value::Null);
        self.events.go_on("the word that all is well", |raw| events(raw, "broker").len() == told.len());
        assert_eq!(self.told(), told);
        wait_for("the cloud to be told", PATIENCE, || self.log.events("broker").len() == 2);
        let states: Vec<Value> =
            self.log.events("broker").iter().map(|event| event["state"].clone()).collect();
        assert_eq!(states, ["degraded", "ok"]);
        self.assert_survives_a_kill();
    }

    fn assert_survives_a_kill(&mut self) {
        self.gateway.kill();
        self.gateway.resume();
        self.away.connect(self.local);
        assert!(self.away.was_present, "the session is lost");
        let sent = self.sent;
        self.away.go_on("all messages", |raw| raw.messages.len() >= sent);
        self.away.settle();
        let numbers: Vec<usize> =
            self.away.messages.iter().map(|(_, payload)| payload.parse().unwrap()).collect();
        assert_eq!(numbers, (0..sent).collect::<Vec<_>>());
        let status = self.gateway.status().unwrap();
        assert_eq!(status["broker"]["dropped"], 0, "{status}");
        let log = self.gateway.log();
        assert!(log.lines().count() < 60, "{log}");
    }
}

/// The events of one kind that a client got.
fn events(raw: &Raw, kind: &str) -> Vec<Value> {
    let ours = raw.messages.iter().filter(|(topic, _)| topic.ends_with("/event"));
    let events = ours.map(|(_, payload)| serde_json::from_str::<Value>(payload).unwrap());
    events.filter(|event| event["event"] == kind).collect()
}

/// The disk refuses what is published while it does so, as `provoke` has it.
fn while_the_disk_refuses(scene: &mut Scene, words: &str, provoke: impl Fn(&mut Scene)) {
    provoke(scene);
    scene.wait_degraded(words);
    scene.assert_waits();
    scene.assert_traffic("while it waits");
    scene.events.go_on("the event", |raw| !events(raw, "broker").is_empty());
    let event = events(&scene.events, "broker").remove(0);
    assert!(event["reason"].as_str().unwrap().contains(words), "{event}");
    scene.assert_waits();
    scene.wait_acknowledged();
    eprintln!("{words}: acknowledged after {:?}", scene.last.elapsed());
    scene.assert_acknowledged_at_once();
    scene.assert_traffic("in memory");
    scene.wait_degraded(words);
    assert_eq!(scene.told(), ["degraded"]);
}

#[test]
fn a_full_disk_holds_up_acknowledgements_for_ten_seconds_and_costs_nothing() {
    let dir = TempDir::new().unwrap();
    let disk = Disk::make(dir.path(), DISK_MIB);
    let mut scene = Scene::start(dir, &disk.path("broker.db"), &[]);
    scene.say(10);
    scene.wait_acknowledged();
    while_the_disk_refuses(&mut scene, "full", |scene| {
        // What the log has room for goes in; the first that does not is the one that waits.
        disk.fill();
        let start = Instant::now();
        while scene.gateway.status().unwrap()["broker"]["state"] == "ok" {
            assert!(start.elapsed() < PATIENCE, "{} messages on a full disk", scene.sent);
            if scene.publisher.open() == 0 {
                scene.say(BIG_BYTES);
            }
            scene.publisher.step().unwrap();
        }
    });
    disk.clear();
    scene.end(&["degraded", "ok"]);
}

fn a_file_that_fails(words: &str, harm: impl Fn(&Faults)) {
    let dir = TempDir::new().unwrap();
    let faults = Faults::of(dir.path(), "broker.db");
    let path = dir.path().join("broker.db");
    let mut scene = Scene::start(dir, &path, &faults.environment);
    scene.say(10);
    scene.wait_acknowledged();
    while_the_disk_refuses(&mut scene, words, |scene| {
        harm(&faults);
        scene.say(10);
    });
    assert!(faults.failed() > 0);
    faults.heal();
    scene.end(&["degraded", "ok"]);
}

#[test]
fn a_disk_that_fails_to_write_holds_up_acknowledgements_for_ten_seconds_and_costs_nothing() {
    a_file_that_fails("I/O error", |faults| faults.writes_fail(Errno::EIO));
}

#[test]
fn a_disk_that_becomes_read_only_holds_up_acknowledgements_for_ten_seconds_and_costs_nothing() {
    a_file_that_fails("", |faults| faults.writes_fail(Errno::EROFS));
}

#[test]
fn a_sync_that_hangs_holds_up_who_waits_for_it_and_nobody_else() {
    let dir = TempDir::new().unwrap();
    let faults = Faults::of(dir.path(), "broker.db");
    let path = dir.path().join("broker.db");
    let mut scene = Scene::start(dir, &path, &faults.environment);
    faults.syncs_take(HANG);
    scene.say(10);
    wait_for("the sync", PATIENCE, || faults.is_syncing());
    scene.assert_traffic("while it hangs");
    scene.publisher.settle();
    assert!(scene.publisher.open() == 1 || scene.last.elapsed() > HANG, "acknowledged, and safe nowhere");
    faults.heal();
    scene.wait_acknowledged();
    scene.assert_survives_a_kill();
}

/// The file cannot be had at the start: the daemon runs, lets clients in after a while, and takes the
/// file once it can.
fn started_without(dir: TempDir, path: &Path, words: &str, heal: impl FnOnce()) {
    let mut scene = Scene::begin(dir, path, &[]);
    scene.wait_degraded(words);
    let log = scene.gateway.log();
    assert!(log.contains("the local broker's file cannot be opened"), "{log}");
    scene.gateway.wait_bridge();
    scene.meet();
    scene.assert_acknowledged_at_once();
    scene.assert_traffic("without a file");
    scene.wait_degraded(words);
    assert_eq!(scene.told(), [] as [Value; 0]);
    heal();
    // It was told before there were clients.
    scene.end(&["ok"]);
}

#[test]
fn a_gateway_starts_with_a_folder_in_place_of_the_file() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("broker.db");
    fs::create_dir(&path).unwrap();
    started_without(dir, &path.clone(), "", || fs::remove_dir(&path).unwrap());
}

#[test]
fn a_gateway_starts_where_it_may_not_write_the_file() {
    let dir = TempDir::new().unwrap();
    let disk = Disk::make(dir.path(), DISK_MIB);
    disk.read_only();
    started_without(dir, &disk.path("broker.db"), "", || disk.writable());
}

#[test]
fn clients_that_wait_for_the_file_find_their_sessions() {
    let dir = TempDir::new().unwrap();
    // A link, so that the place changes in one step: a card that is mounted late.
    let card = dir.path().join("card");
    let point = |target: &str| {
        let new = card.with_file_name("new");
        symlink(target, &new).unwrap();
        fs::rename(&new, &card).unwrap();
    };
    fs::create_dir(card.with_file_name("mounted")).unwrap();
    fs::write(card.with_file_name("not-mounted"), "").unwrap();
    point("mounted");
    let mut scene = Scene::start(dir, &card.join("broker.db"), &[]);
    scene.say(10);
    scene.wait_acknowledged();
    scene.gateway.terminate();
    point("not-mounted");
    scene.gateway.resume();
    scene.wait_degraded("");
    point("mounted");
    scene.events = Raw::new("events", 0);
    // Whoever was told of the trouble is told that it is over.
    scene.end(&[]);
}

#[test]
fn a_file_that_is_damaged_while_the_gateway_runs_is_set_aside_and_costs_nothing() {
    const COUNT: usize = 1000;
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("broker.db");
    let mut scene = Scene::start(dir, &path, &[]);
    // More than is cached.
    let body = "x".repeat(1000);
    let retain = |scene: &mut Scene, n: usize, word: &str| {
        let payload = format!("{word}{body}");
        scene.publisher.publish(&format!("r/{n}"), &payload, Qos::AtLeastOnce, true).unwrap();
        scene.publisher.go_on("room", |raw| raw.open() < 50);
    };
    (0..COUNT).for_each(|n| retain(&mut scene, n, "old"));
    scene.say(10);
    scene.wait_acknowledged();
    for suffix in ["", "-wal"] {
        let path = path.with_file_name(format!("broker.db{suffix}"));
        let garbage: Vec<u8> = (0..fs::metadata(&path).unwrap().len()).map(|_| fastrand::u8(..)).collect();
        fs::write(&path, garbage).unwrap();
    }
    (0..COUNT).for_each(|n| retain(&mut scene, n, "new"));
    scene.wait_acknowledged();
    let status = scene.gateway.wait_status("a new file", |status| status["broker"]["set_aside"] == 1);
    assert!(path.with_file_name("broker.db.damaged-1").exists(), "{status}");
    scene.events.go_on("the event", |raw| !events(raw, "quarantine").is_empty());
    let event = events(&scene.events, "quarantine").remove(0);
    assert!(event["path"].as_str().unwrap().ends_with("broker.db.damaged-1"), "{event}");
    scene.end(&["degraded", "ok"]);
    let mut late = Raw::new("late", 0);
    late.connect(scene.local).subscribe("r/#", Qos::AtLeastOnce);
    late.go_on("what is retained", |late| late.messages.len() == COUNT);
    assert!(late.messages.iter().all(|(_, payload)| payload.starts_with("new")));
}
