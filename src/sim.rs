//! Simulated boards on pseudo terminals: what `serialgate sim` and `serialgate demo` plug in when
//! there is no hardware, and what the tests unplug.
//!
//! ```text
//!            options
//!               │            board (wire v1, pure)  ─┐
//!  run() ──> one line ────>                          ├──> noise ──> pty ──> whoever opens the link
//!            per pty         boards (JSON lines)    ─┘
//!               └──> ledger: what was produced, what was acknowledged
//! ```

use std::future::Future;
use std::io;
use std::num::NonZeroUsize;
use std::ops::AddAssign;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::reading::Uid;

pub mod board;
#[cfg(test)]
mod host;
mod ledger;
mod line;
pub mod pty;
mod source;

pub use ledger::Ledger;

/// What the boards say, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Wire v1, with acknowledgements: each board has a port of its own.
    Wire,
    /// One JSON object per line: all boards share one port.
    Json,
}

/// What to simulate.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the first port lies; the others get `.1`, `.2` and so on behind the name.
    pub link: PathBuf,
    /// What the boards speak.
    pub format: Format,
    /// Readings per second of each board; above 0.
    pub rate_hz: f64,
    /// How many boards.
    pub devices: NonZeroUsize,
    /// Readings that each board takes; `None` for no end.
    pub count: Option<u64>,
    /// Time for which the boards take readings; `None` for no end.
    pub duration: Option<Duration>,
    /// How long to wait, after the last reading, until all are acknowledged.
    pub linger: Duration,
    /// Take the first reading only when somebody has opened the port.
    pub wait: bool,
    /// Probability that a byte is damaged on its way, in either direction.
    pub noise: f64,
    /// Readings that a wire board holds.
    pub ring: usize,
    /// Unique id of the first wire board, the others count up from there; `None` for ids that
    /// follow from the links.
    pub uid: Option<Uid>,
    /// Boot number of the wire boards; `None` for random ones.
    pub boot: Option<u32>,
    /// Firmware name of the wire boards.
    pub name: String,
    /// Whether the boards are plugged in; they go on taking readings when not. `None` for always.
    pub plugged: Option<watch::Receiver<bool>>,
}

impl Options {
    /// One board at `link` that takes `rate_hz` readings a second until it is stopped.
    #[must_use]
    pub fn new(link: &Path, format: Format, rate_hz: f64) -> Self {
        Self {
            link: link.to_owned(),
            format,
            rate_hz,
            devices: NonZeroUsize::MIN,
            count: None,
            duration: None,
            linger: Duration::from_secs(30),
            wait: false,
            noise: 0.0,
            ring: 1_000,
            uid: None,
            boot: None,
            name: "sim".to_owned(),
            plugged: None,
        }
    }
}

/// What became of all readings. Those that nobody heard or that found the line full were JSON
/// lines, which boards do not repeat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Taken.
    pub produced: u64,
    /// Acknowledged by the gateway.
    pub acknowledged: u64,
    /// Dropped because a ring was full, or lost in a reboot.
    pub dropped: u64,
    /// Still held by a board.
    pub held: u64,
    /// Taken while nobody had the port open.
    pub unheard: u64,
    /// Taken while the listener did not read.
    pub overrun: u64,
}

impl AddAssign for Summary {
    fn add_assign(&mut self, other: Self) {
        self.produced += other.produced;
        self.acknowledged += other.acknowledged;
        self.dropped += other.dropped;
        self.held += other.held;
        self.unheard += other.unheard;
        self.overrun += other.overrun;
    }
}

/// Plugs the boards in and lets them run until they have done all that they should, or until
/// `stop` resolves. Then their links are gone again.
///
/// # Errors
/// When a port cannot be made or the ledger cannot be written.
pub async fn run(options: Options, ledger: Ledger, stop: impl Future<Output = ()>) -> io::Result<Summary> {
    let (stopping, stopped) = watch::channel(false);
    let mut lines = JoinSet::new();
    for (link, source) in source::all(&options) {
        let line = line::Line::open(&options, link, source, ledger.clone())?;
        lines.spawn(line.run(stopped.clone()));
    }
    drop(stopped);

    let mut summary = Summary::default();
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop, if !*stopping.borrow() => {
                stopping.send_replace(true);
            }
            line = lines.join_next() => match line {
                Some(done) => summary += done.map_err(io::Error::other)??,
                None => return Ok(summary),
            },
        }
    }
}

#[cfg(test)]
mod tests;
