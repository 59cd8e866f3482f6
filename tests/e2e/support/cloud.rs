//! The cloud: Debian's mosquitto.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{PATIENCE, Process, answers, free_port, wait_for};

/// A broker that is not ours.
pub(crate) struct Cloud {
    pub(crate) port: u16,
    config: PathBuf,
    /// `None` while it is stopped.
    pub(crate) process: Option<Process>,
}

impl Cloud {
    /// A cloud that is up.
    pub(crate) fn start(dir: &Path) -> Self {
        Self::start_at(dir, "127.0.0.1")
    }

    /// The same, where it listens at another address than loopback.
    pub(crate) fn start_at(dir: &Path, address: &str) -> Self {
        let port = free_port();
        let data = dir.join("cloud");
        fs::create_dir_all(&data).unwrap();
        let config = dir.join("mosquitto.conf");
        // It keeps what it was told to keep when it is stopped, and drops nothing for a slow reader.
        fs::write(
            &config,
            format!(
                "listener {port} {address}\nallow_anonymous true\npersistence true\n\
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
