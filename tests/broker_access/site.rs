//! A running gateway, and clients that try it.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Longest wait for anything that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The hash of `hunter2`, as cheap to check as is allowed.
pub(crate) const HASH: &str =
    "$argon2id$v=19$m=4096,t=1,p=1$c29tZXNhbHQxNmJ5dGVzIQ$AxbPsoar4jn1B/TXxLkKTzwX53OVAvuM6N1Za4BCEU8";

/// Both versions, as Mosquitto's clients call them.
pub(crate) const VERSIONS: [&str; 2] = ["311", "5"];

/// A gateway with a local broker on loopback; dies with its handle.
pub(crate) struct Site {
    child: Child,
    pub(crate) address: SocketAddr,
    folder: tempfile::TempDir,
}

impl Site {
    /// With these `users`, a line each, in which HASH is one that `hunter2` fits.
    pub(crate) fn start(users: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let users: String =
            users.lines().map(|user| format!("    - {}\n", user.trim().trim_start_matches("- "))).collect();
        let users = users.replace("HASH", &format!("password_hash: \"{HASH}\""));
        let config = folder.path().join("s.yaml");
        let text = format!(
            "gateway: g\nqueue: {{path: q.db}}\ncontrol: {{socket: c.sock}}\nbroker:\n  listen: [\"{address}\"]\n  users:\n{users}"
        );
        fs::write(&config, text).unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_serialgate"))
            .args(["run", "--config"])
            .arg(&config)
            .env("RUST_LOG", "debug")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let site = Self { child, address, folder };
        until("the broker listens", || TcpStream::connect(address).is_ok());
        site
    }

    /// Everything that the gateway has logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// What `status --json` says of the broker.
    pub(crate) fn broker_status(&self, key: &str) -> u64 {
        let output = Command::new(env!("CARGO_BIN_EXE_serialgate"))
            .args(["status", "--json", "--socket"])
            .arg(self.folder.path().join("c.sock"))
            .output()
            .unwrap();
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        status["broker"][key].as_u64().unwrap()
    }

    /// Publishes; `args` is a command line for `mosquitto_pub`, split at blanks.
    pub(crate) fn publish(&self, args: &str) -> Output {
        self.client("mosquitto_pub", args).output().unwrap()
    }

    /// Subscribes and waits until that is granted.
    pub(crate) fn subscribe(&self, args: &str) -> Subscriber {
        let mut child =
            self.client("mosquitto_sub", &format!("-d {args}")).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let mut subscriber = Subscriber { child, lines, heard: VecDeque::new() };
        while !subscriber.line().starts_with("Subscribed") {}
        subscriber
    }

    /// Subscribes, or tries to, until it ends by itself; at most for a few seconds.
    pub(crate) fn try_subscribe(&self, args: &str) -> Output {
        self.client("mosquitto_sub", &format!("-W 30 {args}")).output().unwrap()
    }

    fn client(&self, program: &str, args: &str) -> Command {
        // By lines: into a pipe it would keep its debug lines to itself.
        let mut command = Command::new("stdbuf");
        command.args(["-oL", program, "-h", "127.0.0.1", "-p", &self.address.port().to_string()]);
        command.args(args.split_whitespace());
        command
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A `mosquitto_sub` that prints messages as its debug lines and payloads; dies with its handle.
pub(crate) struct Subscriber {
    child: Child,
    lines: BufReader<ChildStdout>,
    heard: VecDeque<String>,
}

impl Subscriber {
    /// The next payloads. What waited in a session may come before the subscription is granted.
    pub(crate) fn hear(&mut self, count: usize) -> Vec<String> {
        while self.heard.len() < count {
            self.line();
        }
        self.heard.drain(..count).collect()
    }

    /// The next line; a payload is kept.
    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.lines.read_line(&mut line).unwrap() > 0, "the subscriber ended");
        let line = line.trim_end().to_owned();
        if !line.starts_with("Client ") && !line.starts_with("Subscribed ") {
            self.heard.push_back(line.clone());
        }
        line
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until `is_so`.
pub(crate) fn until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "not in time: {what}");
        sleep(Duration::from_millis(20));
    }
}

/// All that a program said.
pub(crate) fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A file's folder in the source, for programs that need no gateway.
pub(crate) fn serialgate() -> PathBuf {
    env!("CARGO_BIN_EXE_serialgate").into()
}
