//! The gateway: `serialgate run`, with files of its own.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use super::{LOOK_AGAIN, PATIENCE, Process, pause};

/// The program under test.
pub(crate) fn serialgate() -> Command {
    Command::new(env!("CARGO_BIN_EXE_serialgate"))
}

pub(crate) struct Gateway {
    dir: PathBuf,
    environment: Vec<(&'static str, PathBuf)>,
    process: Option<Process>,
}

impl Gateway {
    /// A gateway with `ports` (YAML list items) that bridges to a cloud at `cloud`.
    pub(crate) fn start(dir: &Path, ports: &[String], broker: u16, cloud: u16) -> Self {
        Self::configured(dir, &Self::config(dir, ports, broker, cloud))
    }

    /// A gateway with this configuration; [`Gateway::config`] is a good beginning of one.
    pub(crate) fn configured(dir: &Path, config: &str) -> Self {
        Self::in_environment(dir, config, &[])
    }

    /// The same with more in its environment.
    pub(crate) fn in_environment(dir: &Path, config: &str, environment: &[(&'static str, PathBuf)]) -> Self {
        fs::write(dir.join("serialgate.yaml"), config).unwrap();
        let mut gateway = Self { dir: dir.to_owned(), environment: environment.to_vec(), process: None };
        gateway.resume();
        gateway
    }

    /// The last line is the bridge's, for more of its keys to follow.
    pub(crate) fn config(dir: &Path, ports: &[String], broker: u16, cloud: u16) -> String {
        let ports: String = ports.iter().map(|port| format!("  - {port}\n")).collect();
        format!(
            "gateway: pi\nports:\n{ports}queue: {{path: {dir}/queue.db}}\n\
             broker: {{listen: [{{address: \"127.0.0.1:{broker}\"}}]}}\n\
             control: {{socket: {dir}/control.sock}}\n\
             bridges:\n  - name: cloud\n    url: mqtt://127.0.0.1:{cloud}\n",
            dir = dir.display()
        )
    }

    pub(crate) fn resume(&mut self) {
        let log = File::options().create(true).append(true).open(self.dir.join("gateway.log")).unwrap();
        let mut command = serialgate();
        command.arg("run").arg("--config").arg(self.dir.join("serialgate.yaml"));
        command.envs(self.environment.iter().cloned());
        self.process = Some(Process::spawn(command.stdout(Stdio::null()).stderr(log)));
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.as_ref().unwrap().pid()
    }

    pub(crate) fn kill(&mut self) {
        self.process.take().unwrap().kill();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.as_ref().unwrap().signal(signal);
    }

    /// Has it read its configuration again.
    pub(crate) fn hang_up(&self) {
        self.signal(Signal::SIGHUP);
    }

    pub(crate) fn terminate(&mut self) -> ExitStatus {
        self.process.take().unwrap().terminate()
    }

    /// Waits until it ends by itself.
    pub(crate) fn wait_end(&mut self, limit: Duration) -> ExitStatus {
        self.process.take().unwrap().wait(limit)
    }

    pub(crate) fn assert_runs(&mut self) {
        assert!(!self.process.as_mut().unwrap().has_ended(), "the gateway ended:\n{}", self.log());
    }

    /// The status, from where `serialgate status` gets it; `None` while nobody answers.
    pub(crate) fn status(&self) -> Option<Value> {
        let mut socket = UnixStream::connect(self.dir.join("control.sock")).ok()?;
        socket.write_all(b"{\"command\":\"status\"}\n").ok()?;
        let mut line = String::new();
        BufReader::new(socket).read_line(&mut line).ok()?;
        let mut answer: Value = serde_json::from_str(&line).ok()?;
        Some(answer["status"].take())
    }

    pub(crate) fn wait_status(&self, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        self.wait_status_for(what, PATIENCE, condition)
    }

    pub(crate) fn wait_status_for(
        &self,
        what: &str,
        limit: Duration,
        condition: impl Fn(&Value) -> bool,
    ) -> Value {
        let start = Instant::now();
        loop {
            let status = self.status();
            if let Some(status) = &status
                && condition(status)
            {
                return status.clone();
            }
            let said = status.as_ref().map(|status| [&status["queue"], &status["bridges"]]);
            assert!(start.elapsed() < limit, "waited {limit:?} for {what}; {said:?}\n{}", self.log());
            pause(LOOK_AGAIN);
        }
    }

    /// Waits until the port at that place in the configuration is in `state`.
    pub(crate) fn wait_port(&self, index: usize, state: &str) -> Value {
        let what = format!("port {index} to be {state}");
        self.wait_status(&what, |status| status["ports"][index]["state"] == state)["ports"][index].take()
    }

    /// What `serialgate status` shows people.
    pub(crate) fn screen(&self) -> String {
        let mut command = serialgate();
        command.arg("status").arg("--socket").arg(self.dir.join("control.sock"));
        String::from_utf8_lossy(&command.output().unwrap().stdout).into_owned()
    }

    pub(crate) fn wait_bridge(&self) {
        self.wait_status("the bridge", |status| status["bridges"][0]["state"] == "connected");
    }

    /// What it wrote to standard error, over all its lives.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.join("gateway.log")).unwrap_or_default()
    }

    /// Memory in use, in KiB.
    pub(crate) fn rss_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

/// What all threads of a process have computed so far.
pub(crate) fn cpu_time(pid: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let nanos = tasks.map(|task| {
        // A thread may end while we look.
        let text = fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap_or_default();
        text.split(' ').next().and_then(|first| first.parse::<u64>().ok()).unwrap_or_default()
    });
    Duration::from_nanos(nanos.sum())
}

/// Readings given up, for whatever reason.
pub(crate) fn dropped(status: &Value) -> u64 {
    let dropped = status["queue"]["dropped"].as_object().unwrap();
    dropped.values().map(|n| n.as_u64().unwrap()).sum()
}

/// The exactness that `status` promises at every moment.
pub(crate) fn assert_account(status: &Value) {
    let queue = &status["queue"];
    let n = |value: &Value| value.as_u64().unwrap();
    let gone = n(&queue["delivered"]) + dropped(status);
    assert_eq!(n(&queue["accepted"]), gone + n(&queue["readings"]), "{queue}");
}
