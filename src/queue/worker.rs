//! The storage thread: asks the core what to do, does it with the file, and tells how it went.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::clock::{Clock, boottime_us};

use super::Shared;
use super::ballast::Ballast;
use super::job::{Damage, Job, Next, Outcome};
use super::restore::{self, Damaged, Noticed};
use super::store::{self, Done, KernelBoot, Limits, Store, StoreError};
use super::types::{File, Found};

/// So often in a row may reading fail before the file counts as damaged: with the pauses between them,
/// about a minute.
const READ_TRIES: u32 = 8;

/// What the thread needs to open the file, at any time.
#[derive(Debug)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// The names of the bridges, in the order of the configuration.
    pub bridges: Vec<String>,
    /// The limits that the file keeps.
    pub limits: Limits,
    /// The present boot.
    pub kernel: KernelBoot,
    /// Learns of earlier boots.
    pub clock: Clock,
}

/// The file as it was opened.
#[derive(Debug)]
pub struct Opened {
    store: Store,
    /// What stands in it.
    pub found: Found,
    /// What was wrong with the one that was there, if it had to be set aside.
    pub damage: Option<Damage>,
}

impl Place {
    /// Opens the file; a damaged one is set aside and a new one begun.
    ///
    /// # Errors
    /// Every [`StoreError`] but [`StoreError::Damaged`].
    pub fn open(&mut self) -> Result<Opened, StoreError> {
        match self.open_once().map_err(|error| error.looked_into(&self.path)) {
            Err(StoreError::Damaged(reason)) => {
                let damage = set_aside(&self.path, reason)?;
                let (store, found) = self.open_once()?;
                Ok(Opened { store, found, damage: Some(damage) })
            }
            other => other.map(|(store, found)| Opened { store, found, damage: None }),
        }
    }

    fn open_once(&mut self) -> Result<(Store, Found), StoreError> {
        let mut store = Store::open(&self.path, &self.bridges, self.limits.clone(), &self.kernel)?;
        let found = store.found()?;
        self.kernel.row = Some(store.boot());
        self.clock.learn(store.boots.iter().map(|(row, boot)| (*row, boot.offset)));
        if store.boots.get(&store.boot()).is_some_and(|boot| boot.offset.synced) {
            self.clock.was_synced();
        }
        Ok((store, found))
    }
}

fn set_aside(path: &Path, reason: String) -> Result<Damage, StoreError> {
    // Two of them would take as much room as the queue itself.
    restore::forget_read(path);
    let aside = store::set_aside(path)?.display().to_string();
    tracing::error!(reason, aside, "queue file damaged: set aside, beginning a new one");
    Ok(Damage { path: aside, reason })
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
    /// `None` while the file could not be opened.
    store: Option<Store>,
    place: Place,
    ballast: Ballast,
    /// Files to be read once the thread runs.
    damaged: Vec<Damaged>,
    /// How often in a row the disk did not give back what is in the file.
    unreadable: u32,
}

/// Starts the thread.
///
/// # Errors
/// When the system has no thread to give.
pub(crate) fn spawn(mut worker: Worker, shared: Arc<Shared>) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("queue".into()).spawn(move || worker.run(&shared))
}

impl Worker {
    /// A worker for a file that is open, or could not be opened yet.
    #[must_use]
    pub fn new(opened: Option<Opened>, place: Place) -> Self {
        let ballast = Ballast::new(&place.path, place.limits.max_bytes);
        let mut damaged = of_opening(opened.as_ref().and_then(|opened| opened.damage.as_ref()));
        let known = damaged.first().map(|damaged| damaged.path.clone());
        let left_over =
            restore::left_over(&place.path).into_iter().filter(|path| Some(path) != known.as_ref());
        damaged.extend(left_over.map(|path| Damaged { path, noticed: Noticed::Before }));
        Self { store: opened.map(|opened| opened.store), place, ballast, damaged, unreadable: 0 }
    }

    fn run(&mut self, shared: &Arc<Shared>) {
        let (mut failing, mut look_at) = (false, 0);
        shared.state().core.begin_work(boottime_us());
        let file = shared.at_disk(|| {
            self.grow_log();
            self.look()
        });
        let mut state = shared.state();
        state.core.end_work();
        state.core.observe(file, boottime_us());
        drop(state);
        self.read_damaged(shared);
        loop {
            let job = match next_job(shared, look_at) {
                Wake::Job(job) => job,
                Wake::Look => {
                    look_at = boottime_us() + LOOK_US;
                    self.look_at_clock(shared);
                    continue;
                }
                Wake::Stop => break,
            };
            let outcome = shared.at_disk(|| {
                let outcome = self.perform(job);
                self.ballast.keep(boottime_us());
                outcome
            });
            failing = log_change(&outcome, failing);
            self.damaged.extend(noticed(&outcome));
            let file = shared.at_disk(|| self.look());
            let mut state = shared.state();
            state.core.finished(outcome, boottime_us());
            state.core.observe(file, boottime_us());
            let safe = state.core.take_safe();
            state.answer();
            drop(state);
            super::resolve(safe);
            shared.call_bridges();
            self.read_damaged(shared);
        }
        let mut state = shared.state();
        state.core.abandon();
        // Whoever still waits for an answer learns that there will be none.
        state.replies.clear();
    }

    /// Starts to bring back what damaged files have.
    fn read_damaged(&mut self, shared: &Arc<Shared>) {
        for damaged in self.damaged.drain(..) {
            let (bridges, boot) = (self.place.bridges.clone(), self.place.kernel.uuid.clone());
            restore::spawn(damaged, shared, bridges, boot);
        }
    }

    /// The wall clock may have been set while nothing was written: the file must learn of it.
    fn look_at_clock(&self, shared: &Shared) {
        let now = boottime_us();
        let outdated = |store: &Store| store.is_outdated(now, self.place.clock.offset()).unwrap_or(false);
        if self.store.as_ref().is_some_and(outdated) {
            shared.state().core.save_soon(now);
        }
    }

    /// A log that could not be grown grows with the commits, at the price of a flush each.
    fn grow_log(&self) {
        if let Some(Err(error)) = self.store.as_ref().map(|store| store.grow_log(&self.place.path)) {
            tracing::warn!(%error, "the queue's log could not be brought to its full size");
        }
    }

    fn perform(&mut self, job: Job) -> Outcome {
        if self.store.is_none() {
            return self.open(job);
        }
        let mut result = self.attempt(&job);
        if matches!(result, Err(StoreError::Disk(_))) && self.ballast.give_up() {
            result = self.attempt(&job);
        }
        match result {
            Ok(outcome) => {
                if matches!(job, Job::Load { .. }) {
                    self.unreadable = 0;
                }
                outcome
            }
            // Whatever it says about reading.
            Err(StoreError::Disk(error)) if matches!(job, Job::Load { .. }) && self.gives_nothing_back() => {
                self.replace(job, error)
            }
            Err(StoreError::Unreadable(error)) if self.gives_nothing_back() => self.replace(job, error),
            Err(StoreError::Disk(error) | StoreError::Unreadable(error) | StoreError::Refused(error)) => {
                Outcome::Failed { job, error }
            }
            Err(StoreError::Damaged(reason)) => self.replace(job, reason),
        }
    }

    /// Whether the disk has refused to read for so long that it will not do so any more. What waits
    /// behind the bad place would wait for ever.
    fn gives_nothing_back(&mut self) -> bool {
        self.unreadable += 1;
        self.unreadable > READ_TRIES
    }

    fn attempt(&mut self, job: &Job) -> Result<Outcome, StoreError> {
        let store = self.store.as_mut().ok_or_else(|| StoreError::Refused("no queue file".into()))?;
        do_job(store, job, &self.place.clock).map_err(|error| error.looked_into(&self.place.path))
    }

    /// Opens the file. What was found in it may change what is to be done: `job` waits for that.
    fn open(&mut self, job: Job) -> Outcome {
        let mut opened = self.place.open();
        if matches!(opened, Err(StoreError::Disk(_))) && self.ballast.give_up() {
            opened = self.place.open();
        }
        match opened {
            Ok(Opened { store, found, damage }) => {
                self.store = Some(store);
                self.grow_log();
                Outcome::Opened { job, found, damage }
            }
            Err(error) => Outcome::Failed { job, error: error.looked_into(&self.place.path).to_string() },
        }
    }

    /// Sets a damaged file aside and begins a new one.
    fn replace(&mut self, job: Job, reason: String) -> Outcome {
        self.store = None;
        match set_aside(&self.place.path, reason) {
            Ok(damage) => {
                // If that fails, the next job tries again.
                match self.place.open() {
                    Ok(opened) => {
                        self.store = Some(opened.store);
                        self.grow_log();
                    }
                    Err(error) => tracing::error!(%error, "no new queue file yet"),
                }
                Outcome::Replaced { job, damage }
            }
            Err(error) => {
                Outcome::Failed { job, error: format!("damaged, and cannot be set aside: {error}") }
            }
        }
    }

    fn look(&self) -> File {
        let now = boottime_us();
        let Some(store) = &self.store else { return File::default() };
        File {
            bytes: store.used_bytes().unwrap_or_default(),
            size: store.size_bytes().unwrap_or_default(),
            oldest: store.oldest_age_us(now).ok().flatten().map(|age| now - age),
            written: thread_written_bytes(),
            letters: store.dead_letters(),
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
        Job::Compact => {
            store.compact()?;
            Outcome::Compacted
        }
        Job::Load { bridge, from } => Outcome::Loaded { bridge: *bridge, loaded: store.load(*from)? },
        Job::Operate { id, task } => {
            let work = match store.operate(task, now) {
                // It may be the first that looks at the bad place.
                Err(error @ StoreError::Damaged(_)) => return Err(error),
                work => work.map_err(|error| error.to_string()),
            };
            Outcome::Operated { id: *id, work }
        }
        Job::Open => Outcome::Opened { job: Job::Open, found: store.found()?, damage: None },
    })
}

/// A file that was damaged when it was opened.
fn of_opening(damage: Option<&Damage>) -> Vec<Damaged> {
    let path = damage.map(|damage| PathBuf::from(&damage.path));
    path.into_iter().map(|path| Damaged { path, noticed: Noticed::AtOpening }).collect()
}

/// The file that turned out to be damaged.
fn noticed(outcome: &Outcome) -> Vec<Damaged> {
    match outcome {
        Outcome::Opened { job: Job::Open, damage, .. } => of_opening(damage.as_ref()),
        Outcome::Opened { damage: Some(damage), .. } | Outcome::Replaced { damage, .. } => {
            vec![Damaged { path: PathBuf::from(&damage.path), noticed: Noticed::Before }]
        }
        _ => Vec::new(),
    }
}

/// Waits for the next job, but not beyond `look_at`.
fn next_job(shared: &Shared, look_at: i64) -> Wake {
    let mut state = shared.state();
    loop {
        shared.beat();
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
        Outcome::Loaded { .. } | Outcome::Compacted | Outcome::Operated { .. } => was_failing,
        Outcome::Opened { .. }
        | Outcome::Committed { .. }
        | Outcome::Saved { .. }
        | Outcome::Replaced { .. } => {
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
