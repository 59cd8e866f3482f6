//! Ports: serial lines, opened and kept open, and what comes from them put into the queue.
//!
//! ```text
//!  board ══UART══> line ──bytes──> feed ──readings, gaps──> queue
//!          <══════       <──bytes──   ──status, meta──────> bulletin
//!                                    <──commands─────────── switchboard
//! ```
//! Each line has a task of its own ([`line`]): it opens the device, reads whatever is there, hands it
//! to the feed of its format ([`wire`], [`json`]), and waits for the device to come back when it is
//! gone ([`watch`]). It never waits for the disk, the network or a board that does not listen.
//!
//! A port whose path is a pattern watches for matches and starts a line for each; a line stays,
//! `absent` or not, until the port is taken out or the daemon ends.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config;
use crate::flow::{Bulletin, Switchboard};
use crate::pulse::Roll;
use crate::queue::Queue;
use crate::status;

pub mod boards;
pub mod chatter;
pub mod found;
pub mod json;
pub mod line;
pub mod open;
pub mod report;
pub mod usb;
pub mod watch;
pub mod wire;

use self::boards::Boards;
use self::line::Line;
use self::watch::Watcher;

/// Most lines that one pattern brings to life.
const MATCHES_MAX: usize = 64;
/// A pattern is looked at so often even if nothing seems to have changed.
const RESCAN: Duration = Duration::from_secs(5);

/// What all ports share.
#[derive(Clone, Debug)]
pub struct Handles {
    /// Where readings and events go.
    pub queue: Queue,
    /// Where devices' status and description are posted.
    pub bulletin: Bulletin,
    /// Where ports keep their counters.
    pub status: status::Ports,
    /// Where each line, and each pattern, shows that it turns.
    pub roll: Roll,
    /// Where commands to devices come from.
    pub switchboard: Switchboard,
    boards: Boards,
}

impl Handles {
    /// Handles for all ports of the daemon.
    #[must_use]
    pub fn new(queue: Queue, bulletin: Bulletin, status: status::Ports) -> Self {
        let (switchboard, boards) = (Switchboard::default(), Boards::default());
        Self { queue, bulletin, status, roll: Roll::default(), switchboard, boards }
    }
}

/// A port of the configuration: one line, or a pattern and the lines that match it.
#[derive(Debug)]
pub struct Port {
    config: config::Port,
    handles: Handles,
}

impl Port {
    /// The port that `config` describes.
    #[must_use]
    pub fn new(config: config::Port, handles: Handles) -> Self {
        Self { config, handles }
    }

    /// Runs the port until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        if self.config.is_pattern() {
            self.run_pattern(&stop).await;
        } else {
            let path = self.config.path.clone();
            Line::new(path, &self.config, self.handles).run(&stop).await;
        }
    }

    /// Runs a line for each match of the pattern.
    async fn run_pattern(&self, stop: &CancellationToken) {
        let Self { config, handles } = self;
        let mut lines = JoinSet::new();
        let mut known = BTreeSet::new();
        let mut watcher = Watcher::default();
        let pulse = handles.roll.enter(format!("port {}", config.path));
        // As long as nothing matches, the pattern itself stands in the status as an absent port.
        let mut nobody = Some(handles.status.add(&config.path));
        loop {
            pulse.beat();
            watcher.watch_pattern(&config.path);
            for path in matches(&config.path) {
                if known.len() < MATCHES_MAX && known.insert(path.clone()) {
                    nobody.take().inspect(|cell| handles.status.remove(cell));
                    tracing::info!(pattern = config.path, port = path, "port found");
                    let line = Line::new(path, config, handles.clone());
                    let stop = stop.clone();
                    lines.spawn(async move { line.run(&stop).await });
                }
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = watcher.changed() => {}
                () = tokio::time::sleep(RESCAN) => {}
                () = pulse.called() => {}
                Some(ended) = lines.join_next() => pass_on_panic(ended),
            }
        }
        nobody.inspect(|cell| handles.status.remove(cell));
        while let Some(ended) = lines.join_next().await {
            pass_on_panic(ended);
        }
    }
}

/// A line that ended by a panic ends the port: a part that is half alive helps nobody.
fn pass_on_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && let Ok(panic) = error.try_into_panic()
    {
        std::panic::resume_unwind(panic);
    }
}

/// The paths that match now.
fn matches(pattern: &str) -> Vec<String> {
    let Ok(paths) = glob::glob(pattern) else { return Vec::new() };
    let names = paths.flatten().filter(|path| !Path::is_dir(path));
    names.filter_map(|path| path.to_str().map(str::to_owned)).collect()
}
