//! The watchdog is fed as long as every part turns, and no longer.
//!
//! Parts are held up from outside: strace keeps one thread from entering the call that it sleeps in.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::manager::Manager;
use crate::support::{Faults, Gateway, PATIENCE, Process, free_port, port, wait_for};

/// The watchdog's patience in these tests.
const LIMIT: Duration = Duration::from_secs(4);
/// A disk that hangs does so for longer than anybody's patience.
const HANGS: Duration = Duration::from_secs(3600);
/// A write that takes so long is told.
const TOLD_WITHIN: Duration = Duration::from_secs(20);

fn is_food(said: &str) -> bool {
    said == "WATCHDOG=1"
}

struct Scene {
    gateway: Gateway,
    manager: Manager,
    broker: u16,
    _dir: TempDir,
}

impl Scene {
    fn start(environment: impl Fn(&Path) -> Vec<(&'static str, std::path::PathBuf)>) -> Self {
        let dir = TempDir::new().unwrap();
        let manager = Manager::new(dir.path());
        let (broker, cloud) = (free_port(), free_port());
        // A port, a pattern, a bridge without a broker, a listener: all of them have nothing to do.
        let ports = [port(dir.path(), "board", "format: wire"), port(dir.path(), "by-id-*", "format: wire")];
        let config = Gateway::config(dir.path(), &ports, broker, cloud);
        let mut variables = manager.watching(LIMIT);
        variables.extend(environment(dir.path()));
        let gateway = Gateway::in_environment(dir.path(), &config, &variables);
        manager.wait("ready", PATIENCE, &gateway, |said| said.starts_with("READY=1\n"));
        Self { gateway, manager, broker, _dir: dir }
    }

    /// It is fed again and again.
    fn assert_fed(&self, times: usize) {
        for _ in 0..times {
            self.manager.wait("food", LIMIT, &self.gateway, is_food);
        }
    }

    /// Before long there is no food for longer than the watchdog waits.
    fn assert_starves(&self) {
        let (start, mut fed) = (Instant::now(), Instant::now());
        while fed.elapsed() < LIMIT + LIMIT / 4 {
            let said = self.manager.hear(LIMIT / 4);
            if said.is_some_and(|said| is_food(&said)) {
                fed = Instant::now();
            }
            assert!(start.elapsed() < LIMIT * 4, "still fed\n{}", self.gateway.log());
        }
    }

    /// Keeps the thread of that name from entering `call`, until the answer is dropped.
    fn hold(&self, thread: &str, call: &str) -> Process {
        let tasks = format!("/proc/{}/task", self.gateway.pid());
        let named = |task: &Path| fs::read_to_string(task.join("comm")).unwrap_or_default().trim() == thread;
        // A thread gives itself its name when it first runs.
        let mut found = None;
        wait_for("the thread", PATIENCE, || {
            let mut tasks = fs::read_dir(&tasks).unwrap().map(|task| task.unwrap().path());
            found = tasks.find(|task| named(task));
            found.is_some()
        });
        let task = found.unwrap();
        let mut strace = Command::new("strace");
        strace.arg("-p").arg(task.file_name().unwrap()).args(["-qq", "-o", "/dev/null", "-e"]);
        strace.arg(format!("trace={call}")).arg("-e").arg(format!("inject={call}:delay_enter=3600s"));
        let strace = Process::spawn(strace.stderr(Stdio::null()));
        let traced = || {
            let status = fs::read_to_string(task.join("status")).unwrap();
            status.lines().any(|line| line == format!("TracerPid:\t{}", strace.pid()))
        };
        wait_for("strace", PATIENCE, traced);
        strace
    }
}

#[test]
fn idle_parts_are_woken_and_it_is_fed() {
    let mut scene = Scene::start(|_| Vec::new());
    scene.assert_fed(6);
    // Nobody was late.
    assert!(!scene.gateway.log().contains("does not turn"), "{}", scene.gateway.log());
    assert!(scene.gateway.terminate().success());
}

#[test]
fn a_process_that_is_stopped_starves_it() {
    let scene = Scene::start(|_| Vec::new());
    scene.assert_fed(1);
    let pid = nix::unistd::Pid::from_raw(scene.gateway.pid().cast_signed());
    nix::sys::signal::kill(pid, Signal::SIGSTOP).unwrap();
    drop(scene.manager.heard());
    assert_eq!(scene.manager.hear(LIMIT * 2), None);
    nix::sys::signal::kill(pid, Signal::SIGCONT).unwrap();
    scene.assert_fed(2);
}

#[test]
fn the_thread_of_all_tasks_starves_it() {
    let scene = Scene::start(|_| Vec::new());
    let held = scene.hold("serialgate", "epoll_wait");
    scene.assert_starves();
    drop(held);
    scene.assert_fed(2);
}

#[test]
fn a_storage_thread_that_hangs_beside_its_disk_starves_it_and_is_named() {
    for (thread, name) in [("queue", "the queue's storage"), ("broker", "the local broker's storage")] {
        let scene = Scene::start(|_| Vec::new());
        let held = scene.hold(thread, "futex");
        scene.assert_starves();
        let expected = format!("parts=\"{name}\"");
        let log = scene.gateway.log();
        assert!(log.lines().any(|line| line.contains("ERROR") && line.contains(&expected)), "{log}");
        drop(held);
        scene.assert_fed(2);
    }
}

/// A restart would lose what is in memory, and the disk would hang afterwards, too.
#[test]
fn a_disk_that_hangs_does_not_starve_it_but_is_told() {
    for (file, part) in [("queue.db", "queue"), ("broker.db", "broker")] {
        let mut faults = None;
        let scene = {
            let cell = std::cell::RefCell::new(&mut faults);
            Scene::start(|dir| {
                let disk = Faults::of(dir, file);
                let environment = disk.environment.clone();
                **cell.borrow_mut() = Some(disk);
                environment
            })
        };
        let faults = faults.unwrap();
        faults.syncs_take(HANGS);
        // A retained message is kept by the broker, and one to a forwarded topic by the queue.
        let mut publish = Command::new("mosquitto_pub");
        publish.args(["-h", "127.0.0.1", "-q", "1", "-r", "-t", "serialgate/pi/x", "-m", "x", "-p"]);
        let mut client = Process::spawn(publish.arg(scene.broker.to_string()).stderr(Stdio::null()));
        wait_for("the disk to hang", PATIENCE, || faults.is_syncing());
        let status = scene
            .gateway
            .wait_status_for("the trouble", TOLD_WITHIN, |status| status[part]["state"] == "degraded");
        let error = status[part]["last_error"].as_str().unwrap();
        assert!(error.starts_with("the disk has been at one write for "), "{error}");
        scene.manager.wait("the line for people", TOLD_WITHIN, &scene.gateway, |said| {
            said.contains("disk does not take")
        });
        drop(scene.manager.heard());
        scene.assert_fed(4);
        if part == "broker" {
            assert!(!client.has_ended(), "a message was acknowledged that is not on disk");
        }
    }
}
