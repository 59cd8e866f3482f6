//! The real daemon, with a configuration of its own.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::site::PATIENCE;

/// A running daemon with a configuration of its own; ends with its handle.
pub(crate) struct Daemon {
    child: Child,
    folder: TempDir,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address that is free. Its port lies below those that the kernel gives to outgoing connections, so
/// that none of them takes it while nobody listens there.
pub(crate) fn free() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let _ = NEXT.compare_exchange(0, fastrand::u16(10_000..30_000), Ordering::Relaxed, Ordering::Relaxed);
    loop {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, NEXT.fetch_add(1, Ordering::Relaxed)));
        if std::net::TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

fn serialgate() -> Command {
    Command::new(env!("CARGO_BIN_EXE_serialgate"))
}

impl Daemon {
    /// Starts it, and waits until `address` answers.
    pub(crate) async fn start(config: &str, address: SocketAddr) -> Self {
        Self::start_as(serialgate(), config, address).await
    }

    /// The same with `command` for the program.
    pub(crate) async fn start_as(mut command: Command, config: &str, address: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::write(folder.path(), config);
        let log = File::create(folder.path().join("log")).unwrap();
        let child = command
            .args(["run", "--config"])
            .arg(folder.path().join("serialgate.yaml"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let daemon = Self { child, folder };
        daemon.until_open(address).await;
        daemon
    }

    fn write(folder: &Path, config: &str) {
        let own = "gateway: pi\nqueue: {path: queue.db}\ncontrol: {socket: control.sock}\n";
        fs::write(folder.join("serialgate.yaml"), format!("{own}{config}")).unwrap();
    }

    /// Changes the configuration, and has it read.
    pub(crate) fn reload(&self, config: &str) {
        Self::write(self.folder.path(), config);
        self.hang_up();
    }

    pub(crate) fn hang_up(&self) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), Signal::SIGHUP).unwrap();
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    pub(crate) async fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let waiting = async {
            while !holds() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        assert!(timeout(PATIENCE, waiting).await.is_ok(), "never {what}:\n{}", self.log());
    }

    pub(crate) async fn until_open(&self, address: SocketAddr) {
        self.until("open", || std::net::TcpStream::connect(address).is_ok()).await;
    }

    /// Waits until `words` have been said `times` times.
    pub(crate) async fn until_said(&self, words: &str, times: usize) {
        self.until(words, || self.log().matches(words).count() >= times).await;
    }

    pub(crate) fn ports(&self) -> Vec<Value> {
        let mut command = serialgate();
        command.args(["status", "--json", "--socket"]).arg(self.folder.path().join("control.sock"));
        let mut status: Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
        status["ports"].as_array_mut().unwrap().drain(..).collect()
    }
}
