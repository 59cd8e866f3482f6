//! The storage thread: asks the core what to do, does it with the file, and tells how it went.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::clock::{Clock, boottime_us};

use super::Shared;
use super::job::{Job, Next, Outcome};
use super::store::{Done, KernelBoot, Limits, Store, StoreError};
use super::types::{File, Found};

/// What was wrong with a file that was set aside: its new name and the reason.
pub type Damage = (String, String);

/// Opens the file; a damaged one is set aside and a new one begun.
///
/// # Errors
/// [`StoreError::Refused`] when the file system does not let us.
pub fn open(
    path: &Path,
    bridges: &[String],
    limits: &Limits,
    kernel: &KernelBoot,
) -> Result<(Store, Found, Option<Damage>), StoreError> {
    match open_once(path, bridges, limits, kernel) {
        Err(StoreError::Damaged(reason)) => {
            let aside = Store::set_aside(path).map_err(|error| StoreError::Refused(error.to_string()))?;
            let aside = aside.display().to_string();
            tracing::error!(reason, aside, "queue file damaged: set aside, beginning a new one");
            let (store, found) = open_once(path, bridges, limits, kernel)?;
            Ok((store, found, Some((aside, reason))))
        }
        other => other.map(|(store, found)| (store, found, None)),
    }
}

fn open_once(
    path: &Path,
    bridges: &[String],
    limits: &Limits,
    kernel: &KernelBoot,
) -> Result<(Store, Found), StoreError> {
    let mut store = Store::open(path, bridges, limits.clone(), kernel)?;
    let found = store.found()?;
    Ok((store, found))
}

/// So often the thread looks at the clock while it has nothing else to do, in microseconds.
const LOOK_US: i64 = 20_000_000;

/// Why the thread woke.
#[derive(Debug)]
enum Wake {
    /// For this.
    Job(Job),
    /// To look at the clock.
    Look,
    /// To end.
    Stop,
}

/// Everything the thread owns.
#[derive(Debug)]
pub struct Worker {
    /// `None` while a new file could not be made in place of a damaged one.
    store: Option<Store>,
    path: PathBuf,
    bridges: Vec<String>,
    limits: Limits,
    kernel: KernelBoot,
    clock: Clock,
}

/// Starts the thread.
///
/// # Errors
/// When the system has no thread to give.
pub(crate) fn spawn(mut worker: Worker, shared: Arc<Shared>) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("queue".into()).spawn(move || worker.run(&shared))
}

impl Worker {
    /// A worker for a file that is open.
    #[must_use]
    pub fn new(
        store: Store,
        path: PathBuf,
        bridges: Vec<String>,
        limits: Limits,
        kernel: KernelBoot,
        clock: Clock,
    ) -> Self {
        Self { store: Some(store), path, bridges, limits, kernel, clock }
    }

    fn run(&mut self, shared: &Shared) {
        let (mut failing, mut look_at) = (false, 0);
        self.grow_log();
        let file = self.look();
        shared.state().core.observe(file);
        loop {
            let job = match next_job(shared, look_at) {
                Wake::Job(job) => job,
                Wake::Look => {
                    look_at = boottime_us() + LOOK_US;
                    self.look_at_clock(shared);
                    continue;
                }
                Wake::Stop => return,
            };
            let outcome = self.perform(job);
            failing = log_change(&outcome, failing);
            let file = self.look();
            let mut state = shared.state();
            state.core.finished(outcome, boottime_us());
            state.core.observe(file);
            let safe = state.core.take_safe();
            drop(state);
            super::resolve(safe);
            shared.call_bridges();
        }
    }

    /// The wall clock may have been set while nothing was written: the file must learn of it.
    fn look_at_clock(&self, shared: &Shared) {
        let now = boottime_us();
        let outdated = |store: &Store| store.is_outdated(now, self.clock.offset()).unwrap_or(false);
        if self.store.as_ref().is_some_and(outdated) {
            shared.state().core.save_soon(now);
        }
    }

    /// A log that could not be grown grows with the commits, at the price of a flush each.
    fn grow_log(&self) {
        if let Some(Err(error)) = self.store.as_ref().map(|store| store.grow_log(&self.path)) {
            tracing::warn!(%error, "the queue's log could not be brought to its full size");
        }
    }

    fn perform(&mut self, job: Job) -> Outcome {
        let result = self.store().and_then(|(store, clock)| do_job(store, &job, clock));
        match result {
            Ok(outcome) => outcome,
            Err(StoreError::Refused(error)) => Outcome::Failed { job, error },
            Err(StoreError::Damaged(reason)) => self.replace(job, reason),
        }
    }

    /// The open store; a missing one is opened first.
    fn store(&mut self) -> Result<(&mut Store, &Clock), StoreError> {
        if self.store.is_none() {
            self.store = Some(Store::open(&self.path, &self.bridges, self.limits.clone(), &self.kernel)?);
            self.grow_log();
        }
        let store = self.store.as_mut().ok_or_else(|| StoreError::Refused("no queue file".into()))?;
        Ok((store, &self.clock))
    }

    /// Sets a damaged file aside and begins a new one.
    fn replace(&mut self, job: Job, reason: String) -> Outcome {
        self.store = None;
        match Store::set_aside(&self.path) {
            Ok(aside) => {
                let path = aside.display().to_string();
                tracing::error!(reason, aside = path, "queue file damaged: set aside, beginning a new one");
                // If that fails, the next job tries again.
                let opened = self.store().map(|_| ());
                if let Err(error) = opened {
                    tracing::error!(%error, "no new queue file yet");
                }
                Outcome::Replaced { job, path, reason }
            }
            Err(error) => {
                Outcome::Failed { job, error: format!("{reason}; cannot set the file aside: {error}") }
            }
        }
    }

    fn look(&self) -> File {
        let now = boottime_us();
        let Some(store) = &self.store else { return File::default() };
        File {
            bytes: store.used_bytes().unwrap_or_default(),
            oldest: store.oldest_age_us(now).ok().flatten().map(|age| now - age),
            written: thread_written_bytes(),
        }
    }
}

fn do_job(store: &mut Store, job: &Job, clock: &Clock) -> Result<Outcome, StoreError> {
    let (now, offset) = (boottime_us(), clock.offset());
    Ok(match job {
        Job::Commit { entries, save } => {
            let Done { last, evicted, full } = store.commit(entries, save, now, offset)?;
            Outcome::Committed { last, evicted, full }
        }
        Job::Save(save) => {
            let Done { last, evicted, full } = store.save(save, now, offset)?;
            Outcome::Saved { last, evicted, full }
        }
        Job::Load { bridge, from } => Outcome::Loaded { bridge: *bridge, loaded: store.load(*from)? },
    })
}

/// Waits for the next job, but not beyond `look_at`.
fn next_job(shared: &Shared, look_at: i64) -> Wake {
    let mut state = shared.state();
    loop {
        let now = boottime_us();
        let wait = match state.core.next_job(now) {
            Next::Do(job) => {
                state.wakes_at = Some(i64::MIN);
                return Wake::Job(job);
            }
            Next::Stop => return Wake::Stop,
            Next::Wait => look_at,
            Next::WaitUntil(due) => due.min(look_at),
        };
        if look_at <= now {
            state.wakes_at = Some(i64::MIN);
            return Wake::Look;
        }
        state.wakes_at = Some(wait);
        let us = u64::try_from(wait.saturating_sub(now)).unwrap_or(0);
        state = shared.wait_for(state, Duration::from_micros(us));
    }
}

/// Logs when the disk begins or ceases to refuse.
fn log_change(outcome: &Outcome, was_failing: bool) -> bool {
    match outcome {
        Outcome::Failed { error, .. } => {
            if !was_failing {
                tracing::error!(%error, "disk refuses: readings stay in memory until it takes them");
            }
            true
        }
        Outcome::Loaded { .. } => was_failing,
        Outcome::Committed { .. } | Outcome::Saved { .. } | Outcome::Replaced { .. } => {
            if was_failing {
                tracing::info!("disk takes writes again");
            }
            false
        }
    }
}

/// Bytes that this thread caused to be written to storage, as the kernel counts them.
fn thread_written_bytes() -> u64 {
    let io = fs::read_to_string("/proc/thread-self/io").unwrap_or_default();
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|n| n.trim().parse().ok()).unwrap_or(0)
}
