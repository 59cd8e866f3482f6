//! The processes that take part: the cloud, the gateway, and the shell pipeline that it is held
//! against.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serialgate::control::{self, Request, Response};
use serialgate::status::{BridgeState, Status};

use crate::process::{Usage, family};

/// How long anything may take before the run is given up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `condition` holds.
pub(crate) fn wait_for(
    what: &str,
    mut condition: impl FnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let start = Instant::now();
    while !condition()? {
        ensure!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        pause(Duration::from_millis(5));
    }
    Ok(())
}

/// Lets `duration` pass.
#[expect(clippy::disallowed_methods, reason = "a thread of its own, and a span of time is meant")]
pub(crate) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// A child of ours and its own children, which all end with it. They stay in the process group of
/// the terminal, so that Ctrl-C ends everything.
#[derive(Debug)]
pub(crate) struct Family(Child);

impl Family {
    pub(crate) fn spawn(command: &mut Command) -> anyhow::Result<Self> {
        let name = format!("{command:?}");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        Ok(Self(child.context(name)?))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// What they have used so far, together.
    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        Usage::of_all(&family(self.pid())?)
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        for pid in family(self.pid()).unwrap_or_default() {
            if let Ok(pid) = i32::try_from(pid) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Debian's mosquitto. It drops nothing for a slow reader and does not wait to fill a packet.
#[derive(Debug)]
pub(crate) struct Cloud {
    pub(crate) port: u16,
    _family: Family,
}

impl Cloud {
    pub(crate) fn start(dir: &Path) -> anyhow::Result<Self> {
        let port = free_port()?;
        let config = dir.join("mosquitto.conf");
        fs::write(
            &config,
            format!(
                "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nlog_type error\n\
                 max_queued_messages 0\nmax_inflight_messages 0\nset_tcp_nodelay true\n"
            ),
        )?;
        let mut command = Command::new("mosquitto");
        // It lies in sbin, which is not on everybody's path.
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/sbin")).arg("-c").arg(config).stderr(Stdio::null());
        let family = Family::spawn(&mut command)?;
        wait_for("mosquitto", || Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()))?;
        Ok(Self { port, _family: family })
    }
}

/// The gateway under test, its local broker on, with no local subscriber.
#[derive(Debug)]
pub(crate) struct Gateway {
    socket: PathBuf,
    pub(crate) family: Family,
}

impl Gateway {
    /// Starts one in `dir`, whose bridge goes to `cloud`, with a queue that may be there already.
    pub(crate) fn start(dir: &Path, ports: &[PathBuf], format: &str, cloud: u16) -> anyhow::Result<Self> {
        Self::bridged(dir, ports, format, cloud, "")
    }

    /// The same with more `keys` for the bridge, each behind a comma.
    pub(crate) fn bridged(
        dir: &Path,
        ports: &[PathBuf],
        format: &str,
        cloud: u16,
        keys: &str,
    ) -> anyhow::Result<Self> {
        let item = |port: &PathBuf| format!("  - {{path: {}, format: {format}}}\n", port.display());
        let ports = if ports.is_empty() { " []\n".to_owned() } else { ports.iter().map(item).collect() };
        let (config, socket) = (dir.join("serialgate.yaml"), dir.join("control.sock"));
        let text = format!(
            "gateway: bench\nports:\n{ports}queue: {{path: queue.db}}\n\
             broker: {{listen: [{{address: \"127.0.0.1:{broker}\"}}]}}\n\
             control: {{socket: control.sock}}\n\
             bridges:\n  - {{name: cloud, url: \"mqtt://127.0.0.1:{cloud}\"{keys}}}\n",
            broker = free_port()?,
        );
        fs::write(&config, text)?;
        let log = File::options().create(true).append(true).open(dir.join("log"))?;
        let mut command = serialgate();
        let family = Family::spawn(command.arg("run").arg("--config").arg(config).stderr(log))?;
        Ok(Self { socket, family })
    }

    /// Waits until its bridge is in `state`.
    pub(crate) fn wait_bridge(&self, state: BridgeState) -> anyhow::Result<()> {
        // It does not listen from its first moment on.
        let in_state = |status: Status| status.bridges.iter().all(|bridge| bridge.state == state);
        wait_for("the bridge", || Ok(self.status().is_ok_and(in_state)))
    }

    pub(crate) fn status(&self) -> anyhow::Result<Status> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        match runtime.block_on(control::ask(&self.socket, Request::Status))? {
            Response::Status(status) => Ok(*status),
            other => bail!("no status: {other:?}"),
        }
    }
}

pub(crate) fn serialgate() -> Command {
    Command::new(env!("CARGO_BIN_EXE_serialgate"))
}

/// `cat` into `mosquitto_pub` for each port: nothing parsed, checked or stored.
pub(crate) fn shell(ports: &[PathBuf], cloud: u16) -> anyhow::Result<Family> {
    let mut script = String::new();
    for (index, port) in ports.iter().enumerate() {
        // One open for both: a pseudo terminal forgets its settings at the last close.
        script += &format!(
            "(stty raw -echo; exec cat) <'{}' | \
             mosquitto_pub -h 127.0.0.1 -p {cloud} -l -q 1 -t bench/peer{index}/data &\n",
            port.display()
        );
    }
    script += "wait";
    Family::spawn(Command::new("sh").arg("-c").arg(script).stderr(Stdio::null()))
}
