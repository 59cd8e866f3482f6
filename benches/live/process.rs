//! What the kernel knows about running processes.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

use crate::machine::{mib, number_after};

/// What some processes have used so far, together. All of them must still run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// User and system time of all their threads, ended ones included. From the scheduler, in
    /// nanoseconds: ticks would be useless at ten readings a second.
    pub(crate) cpu: Duration,
    /// Resident memory, in KiB.
    pub(crate) rss_kib: u64,
    /// The same with shared pages divided among those who share them.
    pub(crate) pss_kib: u64,
    /// Bytes written to block devices, or about to be.
    pub(crate) written: u64,
}

impl Usage {
    pub(crate) fn of_all(pids: &[u32]) -> anyhow::Result<Self> {
        let mut sum = Self::default();
        for pid in pids {
            let one = Self::of(*pid).with_context(|| format!("process {pid}"))?;
            sum.cpu += one.cpu;
            sum.rss_kib += one.rss_kib;
            sum.pss_kib += one.pss_kib;
            sum.written += one.written;
        }
        Ok(sum)
    }

    fn of(pid: u32) -> anyhow::Result<Self> {
        let clock = clock_getcpuclockid(Pid::from_raw(i32::try_from(pid)?))?;
        let memory = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let io = fs::read_to_string(format!("/proc/{pid}/io"))?;
        Ok(Self {
            cpu: Duration::from(clock_gettime(clock)?),
            rss_kib: number_after(&memory, "Rss:")?,
            pss_kib: number_after(&memory, "Pss:")?,
            written: number_after(&io, "write_bytes:")?,
        })
    }

    /// CPU time since `earlier`, in milliseconds.
    pub(crate) fn cpu_ms_since(&self, earlier: &Self) -> f64 {
        (self.cpu - earlier.cpu).as_secs_f64() * 1e3
    }

    /// Resident memory in MiB.
    pub(crate) fn rss_mib(&self) -> f64 {
        mib(self.rss_kib)
    }

    /// Proportional memory in MiB.
    pub(crate) fn pss_mib(&self) -> f64 {
        mib(self.pss_kib)
    }
}

/// How often the process has gone to sleep so far.
pub(crate) fn sleeps(pid: u32) -> anyhow::Result<u64> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let status = fs::read_to_string(task?.path().join("status"))?;
        sum += number_after(&status, "\nvoluntary_ctxt_switches:")?;
    }
    Ok(sum)
}

/// A process, its children, and theirs.
pub(crate) fn family(ancestor: u32) -> anyhow::Result<Vec<u32>> {
    let mut family = vec![ancestor];
    let mut looked_at = 0;
    while let Some(pid) = family.get(looked_at) {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        family.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        looked_at += 1;
    }
    Ok(family)
}
