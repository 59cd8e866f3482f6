//! Other processes, and what the kernel knows of them and of us.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use nix::time::{ClockId, clock_gettime};

use crate::machine::{mib, number_after};

/// How long anything may take before the run is given up.
const PATIENCE: Duration = Duration::from_secs(120);

/// A child that ends with us, even if we are killed: else it would keep the file system mounted.
#[derive(Debug)]
pub(crate) struct Helper(pub(crate) Child);

impl Helper {
    pub(crate) fn spawn(command: &Command) -> anyhow::Result<Self> {
        let mut with_us = Command::new("setpriv");
        // Mosquitto lies in sbin, which is not on everybody's path.
        with_us.env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()));
        with_us.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program()).args(command.get_args());
        with_us.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        Ok(Self(with_us.spawn().context("setpriv (package util-linux)")?))
    }

    /// Resident memory, in MiB.
    pub(crate) fn rss_mib(&self) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        Ok(mib(number_after(&status, "VmRSS:")?))
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// CPU time of this process so far.
pub(crate) fn cpu() -> anyhow::Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?.into())
}

/// Waits until `condition` holds.
pub(crate) fn wait_for(
    what: &str,
    mut condition: impl FnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let start = Instant::now();
    while !condition()? {
        ensure!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        wait_until(Instant::now() + Duration::from_millis(5));
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "it paces a thread in which no runtime runs")]
pub(crate) fn wait_until(moment: Instant) {
    std::thread::sleep(moment.saturating_duration_since(Instant::now()));
}
