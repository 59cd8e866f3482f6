//! The players: a gateway, boards, a cloud, and somebody who writes down what arrives there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a condition may take before a test gives up on it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `condition` holds; panics with `what` after `limit`.
pub(crate) fn wait_for(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < limit, "waited {limit:?} for {what}");
        pause(Duration::from_millis(5));
    }
}

/// Lets `duration` pass: for outages whose length is part of the story.
#[expect(clippy::disallowed_methods, reason = "a test's own thread, and a span of time is meant")]
pub(crate) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

fn answers(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// A child process that does not outlive its test.
pub(crate) struct Process(Child);

impl Process {
    fn spawn(command: &mut Command) -> Self {
        let name = format!("{command:?}");
        Self(command.stdin(Stdio::null()).spawn().unwrap_or_else(|error| panic!("{name}: {error}")))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    pub(crate) fn terminate(&mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.0.id()).unwrap());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let start = Instant::now();
        while self.0.try_wait().unwrap().is_none() {
            assert!(start.elapsed() < Duration::from_secs(20), "did not end after SIGTERM");
            pause(Duration::from_millis(5));
        }
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Debian's mosquitto.
pub(crate) struct Cloud {
    pub(crate) port: u16,
    config: PathBuf,
    process: Option<Process>,
}

impl Cloud {
    pub(crate) fn start(dir: &Path) -> Self {
        let port = free_port();
        let data = dir.join("cloud");
        fs::create_dir_all(&data).unwrap();
        let config = dir.join("mosquitto.conf");
        // It keeps what it was told to keep when it is stopped, and drops nothing for a slow reader.
        fs::write(
            &config,
            format!(
                "listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\n\
                 persistence_location {}/\nautosave_interval 0\nmax_queued_messages 0\n\
                 max_inflight_messages 0\nset_tcp_nodelay true\nuser root\nlog_type error\n",
                data.display()
            ),
        )
        .unwrap();
        let mut cloud = Self { port, config, process: None };
        cloud.resume();
        cloud
    }

    /// Stops it as an operator would: it saves its sessions.
    pub(crate) fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.terminate();
        }
    }

    pub(crate) fn resume(&mut self) {
        let mut command = Command::new("mosquitto");
        command.arg("-c").arg(&self.config).stdout(Stdio::null()).stderr(Stdio::null());
        self.process = Some(Process::spawn(&mut command));
        wait_for("mosquitto", PATIENCE, || answers(self.port));
    }
}

/// What arrived at a broker: one line per message, topic and payload.
pub(crate) struct Log {
    path: PathBuf,
    _process: Process,
}

impl Log {
    /// Writes down everything that a broker delivers under `filter`, over any number of its restarts.
    pub(crate) fn of(dir: &Path, port: u16, filter: &str) -> Self {
        let path = dir.join(format!("log-{port}"));
        let file = File::create(&path).unwrap();
        let mut command = Command::new("mosquitto_sub");
        command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-i", "log", "-c", "-q", "1"]);
        command.args(["-t", filter, "-t", "ready", "-F", "%t\t%r\t%p"]).stdout(file).stderr(Stdio::null());
        let process = Process::spawn(&mut command);
        let log = Self { path, _process: process };
        wait_for("the log's subscription", PATIENCE, || {
            publish(port, "ready", "yes");
            log.messages().iter().any(|message| message.topic == "ready")
        });
        log
    }

    /// Everything so far, in order; a line that is still being written is left out.
    pub(crate) fn messages(&self) -> Vec<Message> {
        let text = String::from_utf8_lossy(&fs::read(&self.path).unwrap()).into_owned();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let parse = |line: &str| {
            let mut parts = line.splitn(3, '\t');
            let (topic, retained, payload) = (parts.next()?, parts.next()?, parts.next()?);
            Some(Message { topic: topic.into(), retained: retained == "1", payload: payload.into() })
        };
        whole.lines().filter_map(parse).collect()
    }

    /// The readings so far, in order.
    pub(crate) fn readings(&self) -> Vec<Arrived> {
        let messages = self.messages();
        messages.iter().filter(|message| message.topic.ends_with("/data")).map(Message::reading).collect()
    }
}

pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) retained: bool,
    pub(crate) payload: String,
}

impl Message {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.payload).unwrap_or_else(|error| panic!("{}: {error}", self.payload))
    }

    fn reading(&self) -> Arrived {
        let json = self.json();
        Arrived {
            device: self.topic.split('/').nth(2).unwrap().into(),
            id: json["id"].as_str().unwrap().into(),
            seq: json["seq"].as_u64().unwrap(),
            late: json["late"].as_bool().unwrap_or(false),
            json,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    pub(crate) device: String,
    pub(crate) id: String,
    pub(crate) seq: u64,
    pub(crate) late: bool,
    pub(crate) json: Value,
}

pub(crate) fn publish(port: u16, topic: &str, payload: &str) {
    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-q", "1", "-t", topic, "-m", payload]);
    let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
}

/// The gateway.
pub(crate) struct Gateway {
    pub(crate) dir: PathBuf,
    process: Option<Process>,
}

impl Gateway {
    /// A gateway with `ports` (YAML list items) that bridges to a cloud at `cloud_port`.
    pub(crate) fn start(dir: &Path, ports: &[String], broker: u16, cloud: u16) -> Self {
        let ports: String = ports.iter().map(|port| format!("  - {port}\n")).collect();
        let config = format!(
            "gateway: pi\nports:\n{ports}queue: {{path: {dir}/queue.db}}\n\
             broker: {{listen: [{{address: \"127.0.0.1:{broker}\"}}]}}\n\
             control: {{socket: {dir}/control.sock}}\n\
             bridges:\n  - {{name: cloud, url: \"mqtt://127.0.0.1:{cloud}\"}}\n",
            dir = dir.display()
        );
        fs::write(dir.join("serialgate.yaml"), config).unwrap();
        let mut gateway = Self { dir: dir.to_owned(), process: None };
        gateway.resume();
        gateway
    }

    pub(crate) fn resume(&mut self) {
        let log = File::options().create(true).append(true).open(self.dir.join("gateway.log")).unwrap();
        let mut command = serialgate();
        command.arg("run").arg("--config").arg(self.dir.join("serialgate.yaml"));
        self.process = Some(Process::spawn(command.stdout(Stdio::null()).stderr(log)));
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.as_ref().unwrap().pid()
    }

    pub(crate) fn kill(&mut self) {
        self.process.take().unwrap().kill();
    }

    pub(crate) fn terminate(&mut self) {
        self.process.take().unwrap().terminate();
    }

    /// `serialgate status --json`; `None` while nobody answers.
    pub(crate) fn status(&self) -> Option<Value> {
        let mut command = serialgate();
        command.args(["status", "--json", "--socket"]).arg(self.dir.join("control.sock"));
        let output = command.stderr(Stdio::null()).output().unwrap();
        output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap())
    }

    pub(crate) fn wait_status(&self, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let mut last = None;
        wait_for(what, PATIENCE, || {
            last = self.status();
            last.as_ref().is_some_and(&condition)
        });
        last.unwrap()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.join("gateway.log")).unwrap_or_default()
    }
}

/// The exactness that `status` promises at every moment.
pub(crate) fn assert_account(status: &Value) {
    let queue = &status["queue"];
    let n = |value: &Value| value.as_u64().unwrap();
    let dropped: u64 = ["full", "expired", "corrupt"].iter().map(|why| n(&queue["dropped"][why])).sum();
    assert_eq!(n(&queue["accepted"]), n(&queue["delivered"]) + dropped + n(&queue["readings"]), "{queue}");
}

pub(crate) fn serialgate() -> Command {
    Command::new(env!("CARGO_BIN_EXE_serialgate"))
}

/// Simulated boards.
pub(crate) struct Boards {
    pub(crate) ledger: PathBuf,
    process: Process,
}

impl Boards {
    pub(crate) fn start(dir: &Path, name: &str, format: &str, rate: u32, more: &[&str]) -> Self {
        let ledger = dir.join(format!("{name}.ledger"));
        let mut command = serialgate();
        command.arg("sim").arg("--link").arg(dir.join(name)).args(["--format", format]);
        command.args(["--rate", &rate.to_string(), "--ledger"]).arg(&ledger).args(more);
        let process = Process::spawn(command.stdout(Stdio::null()).stderr(Stdio::null()));
        wait_for("the board's port", PATIENCE, || dir.join(name).exists());
        Self { ledger, process }
    }

    pub(crate) fn stop(&mut self) {
        self.process.terminate();
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.process.has_ended()
    }

    /// Ids in the ledger under `event`.
    pub(crate) fn ids(&self, event: &str) -> BTreeSet<String> {
        let text = fs::read_to_string(&self.ledger).unwrap();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let lines = whole.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["event"] == event).map(|line| line["id"].as_str().unwrap().into()).collect()
    }

    pub(crate) fn wait_all_acknowledged(&mut self) {
        wait_for("all readings to be acknowledged", Duration::from_secs(180), || self.has_ended());
        assert_eq!(self.ids("produced"), self.ids("acknowledged"));
    }
}

/// What is wrong with what arrived: nothing may be missing, and copies of one reading are the same
/// reading.
pub(crate) struct Verdict {
    pub(crate) missing: BTreeSet<String>,
    pub(crate) duplicates: usize,
}

pub(crate) fn compare(expected: &BTreeSet<String>, arrived: &[Arrived]) -> Verdict {
    let mut first: BTreeMap<&str, &Arrived> = BTreeMap::new();
    let mut last_seq: BTreeMap<&str, u64> = BTreeMap::new();
    let mut duplicates = 0;
    for reading in arrived {
        if let Some(original) = first.get(reading.id.as_str()) {
            assert_eq!(
                (&original.device, original.seq),
                (&reading.device, reading.seq),
                "one id, two readings"
            );
            duplicates += 1;
            continue;
        }
        first.insert(&reading.id, reading);
        let last = last_seq.insert(&reading.device, reading.seq);
        assert!(last.is_none_or(|last| last < reading.seq), "{} came after {last:?}", reading.id);
    }
    let missing = expected.iter().filter(|id| !first.contains_key(id.as_str())).cloned().collect();
    Verdict { missing, duplicates }
}

/// A port entry for a board of ours.
pub(crate) fn port(dir: &Path, name: &str, rest: &str) -> String {
    format!("{{path: {}, {rest}}}", dir.join(name).display())
}

pub(crate) fn write_all(path: &Path, bytes: &[u8]) {
    File::options().write(true).open(path).unwrap().write_all(bytes).unwrap();
}
