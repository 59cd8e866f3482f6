//! The two brokers, and what their processes use.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

use crate::machine::number_after;

/// How long anything may take before the run is given up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Which broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Serialgate,
    /// The same program with `broker: {listen: []}`.
    WithoutBroker,
    Mosquitto,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Serialgate => "serialgate",
            Self::WithoutBroker => "serialgate without listeners",
            Self::Mosquitto => "mosquitto",
        }
    }
}

/// A running broker; ends with this.
#[derive(Debug)]
pub(crate) struct Broker {
    pub(crate) port: u16,
    child: Child,
}

impl Broker {
    /// Starts one whose files are in `dir`; for Serialgate with more `keys` under `broker`, each
    /// behind a comma.
    pub(crate) fn start(kind: Kind, dir: &Path, keys: &str) -> anyhow::Result<Self> {
        let port = free_port()?;
        let mut command = match kind {
            Kind::Serialgate => serialgate(dir, &format!("[{{address: \"127.0.0.1:{port}\"}}]{keys}"))?,
            Kind::WithoutBroker => serialgate(dir, "[]")?,
            Kind::Mosquitto => mosquitto(dir, port)?,
        };
        let name = format!("{command:?}");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut broker = Self { port, child: child.context(name)? };
        let start = Instant::now();
        let is_up = |_: &mut Self| match kind {
            Kind::WithoutBroker => dir.join("control.sock").exists(),
            _ => TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok(),
        };
        while !is_up(&mut broker) {
            ensure!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} for {}", kind.name());
            ensure!(broker.child.try_wait()?.is_none(), "{} did not start", kind.name());
            pause(Duration::from_millis(5));
        }
        Ok(broker)
    }

    /// User and system time of all its threads so far.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        let clock = clock_getcpuclockid(Pid::from_raw(i32::try_from(self.child.id())?))?;
        Ok(Duration::from(clock_gettime(clock)?))
    }

    /// Resident memory that is its own, in KiB: what is read from files may leave at any time.
    pub(crate) fn anonymous_kib(&self) -> anyhow::Result<u64> {
        let path = format!("/proc/{}/status", self.child.id());
        number_after(&fs::read_to_string(path)?, "RssAnon:")
    }

    /// Resident memory, in KiB.
    pub(crate) fn rss_kib(&self) -> anyhow::Result<u64> {
        let path = format!("/proc/{}/status", self.child.id());
        number_after(&fs::read_to_string(path)?, "VmRSS:")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serialgate(dir: &Path, listen: &str) -> anyhow::Result<Command> {
    let config = dir.join("serialgate.yaml");
    let text = format!(
        "gateway: bench\nports: []\nqueue: {{path: queue.db}}\ncontrol: {{socket: control.sock}}\n\
         broker: {{listen: {listen}}}\n"
    );
    fs::write(&config, text)?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_serialgate"));
    command.arg("run").arg("--config").arg(config);
    Ok(command)
}

fn mosquitto(dir: &Path, port: u16) -> anyhow::Result<Command> {
    let config = dir.join("mosquitto.conf");
    let text = format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nlog_type error\n\
         max_queued_messages 0\nmax_inflight_messages 100\nset_tcp_nodelay true\n"
    );
    fs::write(&config, text)?;
    let mut command = Command::new("mosquitto");
    command.env("PATH", path()).arg("-c").arg(config);
    Ok(command)
}

/// Mosquitto in words, with its version.
pub(crate) fn mosquitto_version() -> String {
    let output = Command::new("mosquitto").arg("-h").env("PATH", path()).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("mosquitto").to_owned()
}

/// It lies in sbin, which is not on everybody's path.
fn path() -> String {
    format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default())
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

#[expect(clippy::disallowed_methods, reason = "a span of time is meant, and nobody else runs here yet")]
pub(crate) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}
