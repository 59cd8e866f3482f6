//! The boards: lines of JSON on pseudo terminals, each with its number and the moment it was sent.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serialgate::clock::boottime_us;
use serialgate::sim::pty::{Event, Pty};
use tokio::runtime::Runtime;

use crate::players::{PATIENCE, pause};

/// How long a line that is full is left alone.
const FULL_WAIT: Duration = Duration::from_micros(200);

/// Some serial lines.
#[derive(Debug)]
pub(crate) struct Lines {
    runtime: Runtime,
    ptys: Vec<Pty>,
    pub(crate) paths: Vec<PathBuf>,
    /// Readings sent so far, over all lines; the next one's number.
    pub(crate) sent: u64,
}

impl Lines {
    /// Plugs `count` boards in.
    pub(crate) fn plug(dir: &Path, count: usize) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let paths: Vec<PathBuf> = (0..count).map(|n| dir.join(format!("board{n}"))).collect();
        let open = async { paths.iter().map(|path| Pty::open(path)).collect::<Result<Vec<_>, _>>() };
        let ptys = runtime.block_on(open)?;
        Ok(Self { runtime, ptys, paths, sent: 0 })
    }

    /// Waits until somebody has every port open.
    pub(crate) fn wait_heard(&mut self) -> anyhow::Result<()> {
        let ptys = &mut self.ptys;
        let all = async {
            for pty in ptys {
                while pty.event(&mut [0; 64], false).await? != Event::Opened {}
            }
            anyhow::Ok(())
        };
        self.runtime.block_on(async { tokio::time::timeout(PATIENCE, all).await }).context("ports")?
    }

    /// Sends `rate_hz` readings a second on every line for `seconds`. The lines take turns, and
    /// each reading has its own place in time, so that a late one delays no other.
    pub(crate) fn feed(&mut self, rate_hz: u32, seconds: u32) -> anyhow::Result<()> {
        let lines = u32::try_from(self.ptys.len())?;
        let per_second = rate_hz * lines;
        let start = Instant::now();
        for k in 0..per_second * seconds {
            let due = start + Duration::from_secs(1) * k / per_second;
            pause(due.saturating_duration_since(Instant::now()));
            let n = self.sent;
            let line = reading(usize::try_from(k % lines)?, n, boottime_us());
            if let Some(pty) = self.ptys.get_mut(usize::try_from(k % lines)?) {
                write_all(pty, line.as_bytes())?;
            }
            self.sent += 1;
        }
        Ok(())
    }
}

fn reading(board: usize, n: u64, t: i64) -> String {
    let (temp, hum) = (15 + n % 10, 40 + n % 7);
    format!("{{\"id\":\"s{board}\",\"n\":{n},\"t\":{t},\"temp\":{temp}.45,\"hum\":{hum}.2}}\n")
}

fn write_all(pty: &mut Pty, mut bytes: &[u8]) -> anyhow::Result<()> {
    while !bytes.is_empty() {
        let written = pty.write(bytes)?;
        bytes = bytes.get(written..).unwrap_or_default();
        if written == 0 {
            pause(FULL_WAIT);
        }
    }
    Ok(())
}
