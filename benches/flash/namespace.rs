//! A mount namespace of our own: whatever is mounted in it is gone when its last process is, however
//! that ends, and with the mount its loop device. So nothing is left behind by an interrupt either.

use std::fmt::Display;
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, bail};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::{Pid, Uid};
use serialgate::command::complain;
use tempfile::TempDir;

use crate::disk;

/// Runs this program again, with the same arguments, in a mount namespace of its own.
pub(crate) fn enter() -> anyhow::Result<()> {
    if let Some(why) = refusal() {
        skipped(why);
        return Ok(());
    }
    let scratch = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).context("scratch directory")?;
    let mut child = Command::new("unshare")
        .args(["--mount", "--propagation", "private"])
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .arg("--inside")
        .arg(scratch.path())
        .stdin(Stdio::piped())
        .spawn()
        .context("unshare (package util-linux)")?;
    // Waiting would close it, which says that we are gone.
    let alive = child.stdin.take();
    pass_signals_on(&child)?;
    let status = child.wait();
    drop(alive);
    disk::detach_all(scratch.path());
    let status = status?;
    if !status.success() {
        bail!("measuring ended with {status}");
    }
    Ok(())
}

/// Why this machine lets us have no namespace, if it does not.
fn refusal() -> Option<String> {
    if !Uid::effective().is_root() {
        return Some("run as root".to_owned());
    }
    match Command::new("unshare").args(["--mount", "true"]).output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(format!("unshare (package util-linux): {error}")),
    }
}

/// Says that nothing was measured.
pub(crate) fn skipped(why: impl Display) {
    complain(format_args!(
        "flash: SKIPPED, nothing measured and nothing written: a file system on a loop device cannot be had: {why}"
    ));
}

/// An interrupt ends the process inside; we stay to tidy up.
fn pass_signals_on(child: &Child) -> anyhow::Result<()> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block()?;
    let pid = Pid::from_raw(i32::try_from(child.id())?);
    std::thread::spawn(move || {
        while let Ok(signal) = signals.wait() {
            // It may have ended already.
            let _ = kill(pid, signal);
        }
    });
    Ok(())
}

/// Ends this process when the one that waits for it is gone: its end of our standard input closes.
pub(crate) fn end_with_parent() {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(1);
    });
}

/// Whether `path` lies in `dir`, as the kernel names backing files.
pub(crate) fn lies_in(path: &str, dir: &Path) -> bool {
    Path::new(path.trim_end_matches(" (deleted)")).starts_with(dir)
}
