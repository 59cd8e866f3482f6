//! The thread that keeps the broker's file: reads it once, then brings it up to date.

use std::io;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::value::Base;
use super::{News, Opened, Storage, Store, open};
use crate::broker::Inner;
use crate::broker::journal::pace::Pace;
use crate::broker::journal::{Batch, Urgency};
use crate::broker::keeper::Phase;
use crate::broker::state::Promise;
use crate::clock::boottime_us;
use crate::queue::store::StoreError;

/// Clients wait so long for a file that cannot be opened, in microseconds; and for a disk that does not
/// take what they send. Then the broker goes on without.
const WAIT_US: i64 = 10_000_000;
/// A disk that refused is tried again after this, in microseconds, and then less and less often.
const TRY_AGAIN_US: (i64, i64) = (1_000_000, 10_000_000);
/// The thread wakes at least so often, in microseconds.
const LOOK_US: i64 = 60_000_000;

/// Everything the thread owns.
pub(in crate::broker) struct Worker {
    inner: Arc<Inner>,
    storage: Storage,
    /// The kernel's boot id.
    boot: String,
    /// What may have to be kept of messages, in bytes.
    messages_bytes: u64,
    report: Box<dyn Fn(News) + Send>,
    disk: Disk,
    /// Whether what the file had is in memory.
    is_read: bool,
    /// Whether somebody was told that the disk refuses, and not yet that it does so no longer.
    is_told: bool,
    pace: Pace,
    /// Since when there are changes.
    since: Option<i64>,
}

/// How the disk is.
enum Disk {
    /// It takes what we write.
    Well(Store),
    /// It does not.
    Refuses {
        /// The file, while it is open.
        store: Option<Store>,
        /// Since when.
        since: i64,
        /// When to try again.
        again: i64,
        /// And how long to wait after that.
        pause: i64,
        /// Nobody waits for it any more.
        is_given_up: bool,
    },
}

/// What is to be done.
enum Step {
    Commit,
    TryAgain,
    GiveUp,
    Stop,
}

/// Starts the thread.
pub(in crate::broker) fn spawn(mut worker: Worker) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("broker".into()).spawn(move || worker.run())
}

impl Worker {
    pub(in crate::broker) fn new(
        inner: Arc<Inner>,
        storage: Storage,
        boot: String,
        report: Box<dyn Fn(News) + Send>,
    ) -> Self {
        let now = boottime_us();
        Self {
            pace: Pace::new(storage.commit_within_us, storage.is_strict, now),
            messages_bytes: room_for(&inner),
            inner,
            storage,
            boot,
            report,
            disk: Disk::refuses(None, now),
            is_read: false,
            is_told: false,
            since: None,
        }
    }

    fn run(&mut self) {
        self.try_again();
        loop {
            match self.next_step() {
                Step::Commit => self.commit(),
                Step::TryAgain => self.try_again(),
                Step::GiveUp => self.give_up(),
                Step::Stop => break,
            }
        }
        self.end();
        // Whoever still waits to be let in learns that the broker is stopping, not that it starts.
        self.inner.ready.cancel();
    }

    /// Waits for something to do.
    fn next_step(&mut self) -> Step {
        let inner = Arc::clone(&self.inner);
        let mut state = inner.raw();
        loop {
            inner.beat();
            if inner.phase() != Phase::Running {
                return Step::Stop;
            }
            let now = boottime_us();
            let (due, step) = match &self.disk {
                Disk::Well(_) => {
                    let urgency = state.urgency();
                    self.since = (urgency > Urgency::None).then(|| self.since.unwrap_or(now));
                    let due = self.since.and_then(|since| self.pace.due(urgency, since, now));
                    (due.unwrap_or(now + LOOK_US), Step::Commit)
                }
                Disk::Refuses { since, is_given_up: false, again, .. } if since + WAIT_US <= *again => {
                    (since + WAIT_US, Step::GiveUp)
                }
                Disk::Refuses { again, .. } => (*again, Step::TryAgain),
            };
            if due <= now && !(matches!(step, Step::Commit) && self.since.is_none()) {
                return step;
            }
            let wait = Duration::from_micros(u64::try_from(due - now).unwrap_or(0));
            state = inner.work.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn commit(&mut self) {
        self.since = None;
        self.allow();
        let (batch, base) = {
            let mut state = self.inner.raw();
            (state.take_batch(), now())
        };
        self.write(batch, base);
    }

    /// A reload may have changed how much there can be.
    fn allow(&mut self) {
        let bytes = room_for(&self.inner);
        if let Disk::Well(store) = &self.disk
            && bytes != self.messages_bytes
            && self.inner.at_disk(|| store.allow(bytes)).is_ok()
        {
            self.messages_bytes = bytes;
        }
    }

    /// Writes a batch. Whether it is on disk.
    fn write(&mut self, batch: Batch<Promise>, base: Base) -> bool {
        let store = match &mut self.disk {
            Disk::Well(store) | Disk::Refuses { store: Some(store), .. } => store,
            Disk::Refuses { store: None, .. } => {
                self.refused(Some(batch), &StoreError::Disk("the file is not open".into()));
                return false;
            }
        };
        let committed = self.inner.at_disk(|| store.commit(&batch, base));
        match committed.map_err(|error| error.looked_into(&self.storage.path)) {
            Ok(has_written) => {
                if has_written {
                    self.pace.spend(boottime_us());
                }
                self.inner.raw().committed(&batch);
                true
            }
            Err(error) => {
                self.refused(Some(batch), &error);
                false
            }
        }
    }

    /// The disk did not take something, or did not let us open the file.
    fn refused(&mut self, batch: Option<Batch<Promise>>, error: &StoreError) {
        let is_damaged = matches!(error, StoreError::Damaged(_));
        let text = error.to_string();
        self.inner.raw().not_committed(batch, text.clone());
        let now = boottime_us();
        match &mut self.disk {
            Disk::Refuses { store, again, pause, is_given_up, .. } => {
                *again = now + *pause;
                *pause = (*pause * 2).min(TRY_AGAIN_US.1);
                if is_damaged {
                    *store = None;
                }
                if *is_given_up {
                    drop(self.inner.raw().stop_waiting());
                }
            }
            Disk::Well(_) => {
                tracing::error!(error = %text, "disk refuses: what local clients send stays in memory until it takes it");
                (self.report)(News::Degraded(text));
                self.is_told = true;
                let Disk::Well(store) = std::mem::replace(&mut self.disk, Disk::refuses(None, now)) else {
                    return;
                };
                // A damaged one is opened anew, which sets it aside: all that it had is in memory.
                let store = (!is_damaged).then_some(store);
                self.disk = Disk::refuses(store, if is_damaged { now } else { now + TRY_AGAIN_US.0 });
            }
        }
    }

    fn try_again(&mut self) {
        let base = now();
        if let Disk::Refuses { store: Some(store), .. } = &mut self.disk {
            if let Err(error) = self.inner.at_disk(|| store.note_time(base)) {
                return self.refused(None, &error.looked_into(&self.storage.path));
            }
        } else {
            let is_first = !self.is_read;
            let opened = self.inner.at_disk(|| open(&self.storage, &self.boot, self.messages_bytes, base));
            match opened {
                Ok(opened) => self.opened(opened),
                Err(error) if is_first => return self.not_opened(&error),
                Err(error) => return self.refused(None, &error),
            }
        }
        if self.inner.raw().follows_file() {
            return self.recover();
        }
        let (batch, base) = {
            let mut state = self.inner.raw();
            (state.take_whole(Instant::now()), now())
        };
        if self.write(batch, base) {
            self.recover();
        }
    }

    /// The disk is well, and has everything.
    fn recover(&mut self) {
        let disk = std::mem::replace(&mut self.disk, Disk::refuses(None, 0));
        self.disk = match disk {
            Disk::Refuses { store: Some(store), .. } => Disk::Well(store),
            other => other,
        };
        if std::mem::take(&mut self.is_told) {
            tracing::info!("disk takes what local clients send again, and has all of it");
            (self.report)(News::Recovered);
        }
    }

    /// The file is open.
    fn opened(&mut self, opened: Opened) {
        let Opened { store, image, damage } = opened;
        if let Some((path, reason)) = damage {
            tracing::error!(
                reason,
                aside = path,
                "the local broker's file is damaged: set aside, beginning a new one"
            );
            self.inner.raw().count_set_aside();
            (self.report)(News::SetAside { path, reason });
        }
        if !self.is_read {
            self.is_read = true;
            let (sessions, retained) = (image.sessions.len(), image.retained.len());
            let dropped = self.inner.raw().restore(image, Instant::now());
            tracing::info!(sessions, retained, dropped, "local sessions and retained messages read");
            self.inner.ready.cancel();
            self.inner.deadline_changed.notify_one();
        }
        if let Err(error) = self.inner.at_disk(|| store.tidy()) {
            tracing::warn!(%error, "the broker's log could not be brought to its full size");
        }
        if let Disk::Refuses { store: place, .. } = &mut self.disk {
            *place = Some(store);
        }
    }

    /// The file could not be opened the first time, or the next ones after that.
    fn not_opened(&mut self, error: &StoreError) {
        if matches!(&self.disk, Disk::Refuses { pause, .. } if *pause == TRY_AGAIN_US.0) {
            tracing::error!(
                %error,
                path = %self.storage.path.display(),
                "the local broker's file cannot be opened: clients wait for it, but not for long"
            );
            (self.report)(News::Degraded(error.to_string()));
            self.is_told = true;
        }
        self.refused(None, error);
    }

    /// Nobody waits for the disk any longer.
    fn give_up(&mut self) {
        if let Disk::Refuses { is_given_up, .. } = &mut self.disk {
            *is_given_up = true;
        }
        tracing::warn!("local clients get their acknowledgements without the disk");
        drop(self.inner.raw().stop_waiting());
        self.inner.ready.cancel();
    }

    /// What is left is written, and the file learns how long the machine has run.
    fn end(&mut self) {
        match &self.disk {
            Disk::Well(_) => self.commit(),
            Disk::Refuses { .. } => self.try_again(),
        }
        if let Disk::Well(store) = &mut self.disk {
            // To lose this costs nothing but that some sessions last longer.
            let _ = self.inner.at_disk(|| store.note_time(now()));
        } else {
            tracing::error!(
                "the disk did not take what was in memory: sessions and retained messages are as old as the file"
            );
        }
    }
}

impl Disk {
    fn refuses(store: Option<Store>, again: i64) -> Self {
        let since = boottime_us();
        Self::Refuses { store, since, again, pause: TRY_AGAIN_US.0, is_given_up: false }
    }
}

/// What messages may take, in bytes.
fn room_for(inner: &Inner) -> u64 {
    let limits = inner.raw().limits();
    (limits.all_queues_bytes + limits.retained_bytes) as u64
}

/// Now, on both clocks. The thread has no runtime, so no test stops its clock.
fn now() -> Base {
    Base::new(Instant::now(), boottime_us())
}
