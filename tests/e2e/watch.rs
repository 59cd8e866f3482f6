//! `serialgate watch`: readings as they come, over the control socket alone.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    Boards, Gateway, PATIENCE, Process, Tty, free_port, port, publish, serialgate, wait_for,
};

/// As many may watch at a time.
const WATCHERS_MAX: usize = 8;

/// `serialgate watch`, whose output goes to files.
struct Watcher {
    process: Process,
    out: PathBuf,
    err: PathBuf,
}

impl Watcher {
    fn start(dir: &Path, args: &[&str]) -> Self {
        let name = format!("watch-{}", fastrand::u32(..));
        let (out, err) = (dir.join(&name), dir.join(name + ".err"));
        let mut command = watch(dir, args);
        command.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
        Self { process: Process::spawn(&mut command), out, err }
    }

    fn lines(&self) -> Vec<String> {
        fs::read_to_string(&self.out).unwrap().lines().map(str::to_owned).collect()
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.err).unwrap()
    }

    fn wait_line(&self, has: &str) {
        wait_for(has, PATIENCE, || self.lines().iter().any(|line| line.contains(has)));
    }

    fn wait_said(&self, has: &str) {
        wait_for(has, PATIENCE, || self.said().contains(has));
    }
}

/// The command, for which Ctrl-C is what it is at a terminal: what a shell runs in the background ignores it.
fn watch(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("env");
    command.arg("--default-signal=INT").arg(serialgate().get_program());
    command.arg("watch").arg("--socket").arg(dir.join("control.sock")).args(args).stdin(Stdio::null());
    command
}

/// Runs it to its end.
fn watched(dir: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = watch(dir, args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

/// A gateway without a local broker, whose cloud is away.
fn gateway(dir: &Path, ports: &[String]) -> Gateway {
    let config = Gateway::config(dir, ports, 1, free_port()).replace("[{address: \"127.0.0.1:1\"}]", "[]");
    let config = if ports.is_empty() { config.replace("ports:\n", "ports: []\n") } else { config };
    let gateway = Gateway::configured(dir, &config);
    gateway.wait_status("the gateway", |_| true);
    gateway
}

#[test]
fn a_reading_is_a_line_with_time_device_values_and_units() {
    let dir = TempDir::new().unwrap();
    let _boards = Boards::start(dir.path(), "a", "wire", 5, &["--name", "bench", "--uid", "0a0b0c0d"]);
    let _gateway = gateway(dir.path(), &[port(dir.path(), "a", "format: wire")]);
    let (code, out, err) = watched(dir.path(), &["--count", "3", "--timeout", "60"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let readings: Vec<&str> = out.lines().filter(|line| line.contains("bench-0c0d  temp ")).collect();
    assert_eq!(readings.len(), 3, "{out}");
    for line in readings {
        let (time, rest) = line.split_once("  ").unwrap();
        let digits = time.bytes().filter(u8::is_ascii_digit).count();
        assert!((time.len(), digits) == (12, 9) && time.contains('.'), "{line}");
        assert!(rest.contains(" Cel  hum ") && rest.contains(" %RH"), "{line}");
    }
}

#[test]
fn json_is_what_local_clients_get_and_devices_can_be_chosen() {
    let dir = TempDir::new().unwrap();
    let mut ttys = ["shed", "attic"].map(|name| Tty::plug(&dir.path().join(name)));
    let ports =
        ["shed", "attic"].map(|name| port(dir.path(), name, &format!("format: json, device: {name}")));
    let _gateway = gateway(dir.path(), &ports);
    let all = Watcher::start(dir.path(), &["--json"]);
    let one = Watcher::start(dir.path(), &["--json", "attic"]);
    let later = Watcher::start(dir.path(), &["--json", "cellar"]);
    let mut n = 0;
    wait_for("readings of both", PATIENCE, || {
        n += 1;
        ttys.iter_mut().for_each(|tty| tty.write(format!("\n{{\"n\":{n},\"temp\":21.50}}\n").as_bytes()));
        let seen = all.lines();
        !one.lines().is_empty()
            && ["shed", "attic"].iter().all(|name| seen.iter().any(|line| line.contains(name)))
    });
    for line in all.lines().into_iter().chain(one.lines()) {
        let live: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(live.as_object().unwrap().keys().collect::<Vec<_>>(), ["topic", "payload"]);
        if live["topic"].as_str().unwrap().ends_with("/data") {
            assert!(line.contains(r#","temp":21.50}}"#) && live["payload"]["id"].is_string(), "{line}");
        }
    }
    assert!(one.lines().iter().all(|line| line.starts_with(r#"{"topic":"serialgate/pi/attic/data","#)));
    later.wait_said("cellar is not known; devices that are: attic, shed");
    assert_eq!(later.lines(), [""; 0]);
}

#[test]
fn results_and_events_are_shown_too() {
    let dir = TempDir::new().unwrap();
    let broker = free_port();
    let tty = Tty::plug(&dir.path().join("shed"));
    let ports = [port(dir.path(), "shed", "format: json, device: shed")];
    let gateway = Gateway::start(dir.path(), &ports, broker, free_port());
    gateway.wait_port(0, "open");
    let watcher = Watcher::start(dir.path(), &[]);
    wait_for("a result", PATIENCE, || {
        publish(broker, "serialgate/pi/cellar/set", "nonsense");
        watcher.lines().iter().any(|line| line.contains("  cellar  result  status invalid  error "))
    });
    drop(tty);
    watcher.wait_line("  event port  path ");
    assert!(watcher.lines().iter().any(|line| line.contains("  state absent")), "{:?}", watcher.lines());
}

#[test]
fn it_goes_on_when_the_daemon_restarts() {
    let dir = TempDir::new().unwrap();
    let _boards = Boards::start(dir.path(), "a", "json", 20, &[]);
    let mut gateway = gateway(dir.path(), &[port(dir.path(), "a", "format: json, device: shed")]);
    let watcher = Watcher::start(dir.path(), &["shed"]);
    watcher.wait_line("shed");
    for _ in 0..2 {
        assert!(gateway.terminate().success());
        let shown = watcher.lines().len();
        gateway.resume();
        wait_for("more readings", PATIENCE, || watcher.lines().len() > shown);
    }
    let said = watcher.said();
    gateway.kill();
    let what: Vec<bool> = said.lines().map(|line| line.ends_with("it is back")).collect();
    assert_eq!(what, [false, true, false, true], "{said}");
    assert!(said.contains("waiting for it to come back, and what comes meanwhile is not shown"), "{said}");
    // One that was never there is another matter.
    let (code, out, err) = watched(dir.path(), &[]);
    assert_eq!((code, out.as_str()), (Some(69), ""));
    assert!(err.starts_with("serialgate: no serialgate is running"), "{err}");
}

#[test]
fn a_terminal_that_is_too_slow_is_told_what_it_missed_and_holds_up_nobody() {
    const LINES: usize = 20_000;
    let dir = TempDir::new().unwrap();
    let mut tty = Tty::plug(&dir.path().join("shed"));
    let gateway = gateway(dir.path(), &[port(dir.path(), "shed", "format: json, device: shed")]);
    gateway.wait_port(0, "open");
    // A pipe stands for a terminal that nobody looks at.
    let mut child =
        watch(dir.path(), &["shed"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let watcher = Process::of(child);
    let pipe = out.as_fd().try_clone_to_owned().unwrap();
    wait_for("it to watch", PATIENCE, || {
        tty.write(b"\n{\"n\":0}\n");
        let mut ready = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
        poll(&mut ready, PollTimeout::ZERO).unwrap() > 0
    });
    (1..=LINES).for_each(|n| tty.write(format!("{{\"n\":{n}}}\n").as_bytes()));
    let all = |status: &Value| status["queue"]["readings"].as_u64().unwrap() > LINES as u64;
    gateway.wait_status("the queue to take all", all);
    // Now somebody looks.
    let number =
        |line: String| line.split("n ").nth(1).unwrap().trim().split(' ').next().unwrap().parse().unwrap();
    let mut shown: Vec<usize> = Vec::new();
    let mut out = BufReader::new(out).lines();
    while shown.last() != Some(&LINES) {
        shown.push(number(out.next().unwrap().unwrap()));
    }
    watcher.signal(Signal::SIGINT);
    let mut said = String::new();
    err.read_to_string(&mut said).unwrap();
    let missed = said.lines().map(|line| {
        let missed = line.strip_prefix("serialgate: missed ").unwrap();
        let (count, rest) = missed.split_once(' ').unwrap();
        assert_eq!(rest, "readings of all devices: this terminal is too slow");
        count.parse::<usize>().unwrap()
    });
    let (missed, shown) = (missed.sum::<usize>(), shown.into_iter().filter(|n| *n > 0).count());
    assert!(missed > 0 && missed + shown == LINES, "{missed} missed and {shown} shown of {LINES}");
}

#[test]
fn whoever_waits_for_a_first_reading_learns_what_keeps_it_away() {
    let dir = TempDir::new().unwrap();
    let mut empty = gateway(dir.path(), &[]);
    let (code, out, err) = watched(dir.path(), &["--timeout", "0.5"]);
    assert_eq!((code, out.as_str()), (Some(69), ""));
    assert!(err.contains("no port is configured: `serialgate init`"), "{err}");
    assert!(empty.terminate().success());

    let _gateway = gateway(dir.path(), &[port(dir.path(), "shed", "format: json, device: shed")]);
    let watcher = Watcher::start(dir.path(), &[]);
    watcher.wait_said("shed is absent");
    // And goes on waiting.
    let mut tty = Tty::plug(&dir.path().join("shed"));
    wait_for("a reading", PATIENCE, || {
        tty.write(b"\n{\"temp\":21.5}\n");
        watcher.lines().iter().any(|line| line.contains("shed  temp 21.5"))
    });
    assert_eq!(watcher.said().lines().count(), 2, "{}", watcher.said());
}

#[test]
fn ctrl_c_and_a_closed_pipe_end_it_quietly() {
    let dir = TempDir::new().unwrap();
    let _boards = Boards::start(dir.path(), "a", "json", 20, &[]);
    let _gateway = gateway(dir.path(), &[port(dir.path(), "a", "format: json, device: shed")]);
    let mut watcher = Watcher::start(dir.path(), &["shed"]);
    watcher.wait_line("shed");
    watcher.process.signal(Signal::SIGINT);
    assert_eq!(watcher.process.wait(PATIENCE).signal(), Some(Signal::SIGINT as i32));
    assert_eq!(watcher.said(), "");

    let mut child =
        watch(dir.path(), &["shed"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]), "{line}");
}

#[test]
fn those_who_watch_leave_room_for_those_who_ask() {
    let dir = TempDir::new().unwrap();
    let _boards = Boards::start(dir.path(), "a", "json", 20, &[]);
    let gateway = gateway(dir.path(), &[port(dir.path(), "a", "format: json, device: shed")]);
    let mut watchers: Vec<Watcher> =
        (0..WATCHERS_MAX).map(|_| Watcher::start(dir.path(), &["shed"])).collect();
    watchers.iter().for_each(|watcher| watcher.wait_line("shed"));
    let (code, _, err) = watched(dir.path(), &[]);
    assert_eq!(
        (code, err.as_str()),
        (Some(69), "serialgate: 8 watch already, which is the limit: end one of them\n")
    );
    assert!(gateway.status().is_some());
    watchers.pop();
    wait_for("a free place", PATIENCE, || watched(dir.path(), &["--count", "1"]).0 == Some(0));
}
