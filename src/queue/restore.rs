//! Brings back what a damaged file still has, in a thread of its own.
//!
//! ```text
//! queue.db.damaged-1 ──Salvage──> entries ──restore──> core ──commit──> queue.db
//! ```
//! Entries come in by the same door as all others, as fast as the disk takes them, and stand behind
//! what is newer by then. A file that has given all that it can gets a mark beside it, so that it is
//! read once; where the daemon ends before that, the next one begins again, at the price of copies.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::clock::boottime_us;
use crate::reading::Body;

use super::job::Salvaged;
use super::salvage::{Salvage, Step, Survey};
use super::store::{self, with_suffix};
use super::types::{Full, Safe};
use super::{Shared, Ticket, lock};

/// Entries on their way to be safe at a time.
const AHEAD: usize = 4096;
/// How long to wait when there is no room for an entry, and none of ours is on its way.
const PAUSE: Duration = Duration::from_millis(100);
/// Behind the name of a damaged file that was read.
const MARK: &str = "-salvaged";

/// When a file turned out to be damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noticed {
    /// When it was opened: nobody has counted what is in it.
    AtOpening,
    /// In the middle of the work, or in an earlier run of the daemon.
    Before,
}

/// What the thread needs to know.
#[derive(Clone, Debug)]
pub struct Damaged {
    /// Where the file is now.
    pub path: PathBuf,
    /// When that was noticed.
    pub noticed: Noticed,
}

/// Starts a thread for `damaged`.
pub(crate) fn spawn(damaged: Damaged, shared: &Arc<Shared>, bridges: Vec<String>, boot: String) {
    let path = damaged.path.clone();
    let of_thread = Arc::clone(shared);
    let run = move || {
        let restorer = Restorer { damaged, shared: of_thread, ahead: VecDeque::new(), recovered: 0 };
        restorer.run(&bridges, &boot);
    };
    match std::thread::Builder::new().name("salvage".into()).spawn(run) {
        Ok(thread) => lock(&shared.restorers).push(thread),
        Err(error) => {
            tracing::error!(%error, path = %path.display(), "no thread to read the damaged file");
        }
    }
}

/// Damaged files of the queue at `queue` that were not read to their end.
#[must_use]
pub fn left_over(queue: &Path) -> Vec<PathBuf> {
    let aside = store::aside_names(queue);
    let bases: BTreeSet<PathBuf> =
        aside.into_iter().filter(|base| !with_suffix(base, MARK).exists()).collect();
    bases.into_iter().collect()
}

/// Removes the damaged files that were read to their end: all that they had is in the queue.
pub fn forget_read(queue: &Path) {
    for base in store::aside_names(queue).into_iter().filter(|base| with_suffix(base, MARK).exists()) {
        tracing::info!(path = %base.display(), "removing an older damaged file that was read to its end");
        store::remove(&base);
        let _ = fs::remove_file(with_suffix(&base, MARK));
    }
}

#[derive(Debug)]
struct Restorer {
    damaged: Damaged,
    shared: Arc<Shared>,
    /// Tickets of entries that are not safe yet.
    ahead: VecDeque<Ticket>,
    recovered: u64,
}

/// The queue is being closed.
struct Closing;

impl Restorer {
    fn run(mut self, bridges: &[String], boot: &str) {
        let missing = match Salvage::open(&self.damaged.path, bridges, boot) {
            Ok(salvage) => self.read(salvage),
            Err(error) => {
                tracing::error!(%error, path = %self.name(), "the damaged file cannot be read");
                Ok(0)
            }
        };
        if let Ok(missing) = missing {
            self.finish(missing);
        }
    }

    /// Gives how many readings are known to be missing.
    fn read(&mut self, mut salvage: Salvage) -> Result<u64, Closing> {
        loop {
            if self.shared.state().core.is_stopping() {
                return Err(Closing);
            }
            match salvage.step() {
                Step::Working => {}
                Step::Surveyed(survey) => self.inherit(&survey),
                Step::Chunk(chunk) => {
                    chunk
                        .entries
                        .into_iter()
                        .try_for_each(|(position, body)| self.restore(position, &body))?;
                }
                Step::End(counts) => {
                    self.wait_until_ahead(0)?;
                    return Ok(counts.missing);
                }
            }
        }
    }

    fn inherit(&self, survey: &Survey) {
        if self.damaged.noticed == Noticed::AtOpening {
            let ledger = store::ledger_of(&survey.state);
            let boards = store::boards_of(&survey.state);
            self.shared.state().core.inherit(&ledger, boards, boottime_us());
        }
    }

    fn restore(&mut self, position: u64, body: &Arc<Body>) -> Result<(), Closing> {
        loop {
            match self.try_restore(position, body) {
                Ok(Some(ticket)) => {
                    self.recovered += u64::from(body.counts());
                    self.ahead.push_back(ticket);
                    return self.wait_until_ahead(AHEAD);
                }
                Ok(None) => return Ok(()),
                Err(Full) if self.ahead.is_empty() => std::thread::park_timeout(PAUSE),
                Err(Full) => self.wait_until_ahead(self.ahead.len() / 2)?,
            }
            if self.shared.state().core.is_stopping() {
                return Err(Closing);
            }
        }
    }

    fn try_restore(&self, position: u64, body: &Arc<Body>) -> Result<Option<Ticket>, Full> {
        let wants = self.shared.interest.wants(body);
        let (sender, ticket): (oneshot::Sender<Safe>, _) = oneshot::channel();
        let (name, entry) = (self.name(), (position, Arc::clone(body)));
        let taken = self.shared.change(|core| core.restore(&name, entry, wants, sender, boottime_us()))?;
        self.shared.call_bridges();
        Ok(taken.then_some(ticket))
    }

    /// Waits until at most `ahead` entries are on their way.
    fn wait_until_ahead(&mut self, ahead: usize) -> Result<(), Closing> {
        while self.ahead.len() > ahead {
            let Some(ticket) = self.ahead.pop_front() else { break };
            // The other end is gone when the storage thread is.
            ticket.blocking_recv().map_err(|_| Closing)?;
        }
        Ok(())
    }

    fn finish(&self, missing: u64) {
        let path = self.name();
        let salvaged = Salvaged { path: path.clone(), recovered: self.recovered, missing };
        let lost = self.shared.change(|core| core.salvaged(salvaged, boottime_us()));
        self.shared.call_bridges();
        tracing::info!(path, recovered = self.recovered, lost, "damaged queue file read to its end");
        match self.mark() {
            // Only now may be forgotten how far it was read.
            Ok(()) => self.shared.change(|core| core.forget_salvaged(&path, boottime_us())),
            Err(error) => {
                tracing::warn!(%error, path, "cannot mark the damaged file as read: the next start looks again");
            }
        }
    }

    fn mark(&self) -> io::Result<()> {
        let mark = with_suffix(&self.damaged.path, MARK);
        fs::File::create(&mark)?.sync_all()?;
        store::folder::sync_of(&mark)
    }

    fn name(&self) -> String {
        self.damaged.path.display().to_string()
    }
}
