//! The broker's side of its file: who keeps it, and how the state is locked so that it keeps up.

use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::state::State;
use super::store::{self, News, Storage};
use super::{Broker, Inner};
use crate::pulse::{Pulse, Roll};
use crate::status::{self, BrokerState};

/// The disk has been at one write for so long: that is told.
const SLOW: Duration = Duration::from_secs(2);

/// The thread that keeps the file.
#[derive(Debug, Default)]
pub(super) struct Keeper {
    pub(super) phase: Phase,
    pub(super) thread: Option<JoinHandle<()>>,
}

/// What the thread is to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its work.
    #[default]
    Running,
    /// Write what is left, and end.
    Stopping,
}

/// The state, locked. Calls the file's thread at the end, if there is more for it to do than it knows.
pub(super) struct Locked<'a> {
    pub(super) state: MutexGuard<'a, State>,
    pub(super) work: &'a Condvar,
}

impl Deref for Locked<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        if self.state.take_call() {
            self.work.notify_one();
        }
    }
}

impl Inner {
    /// The state, for the file's own thread.
    pub(super) fn raw(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// The file's thread comes round.
    pub(super) fn beat(&self) {
        self.pulse.get().inspect(|pulse| pulse.beat());
    }

    /// The file's thread does something that the disk may hold up.
    pub(super) fn at_disk<T>(&self, work: impl FnOnce() -> T) -> T {
        match self.pulse.get() {
            Some(pulse) => pulse.at_disk(work),
            None => work(),
        }
    }

    /// `stats`, and that the disk hangs, where it does.
    pub(super) fn with_slow_disk(&self, stats: status::Broker) -> status::Broker {
        let busy = self.pulse.get().and_then(Pulse::at_disk_for).filter(|busy| *busy >= SLOW);
        match busy {
            Some(busy) if stats.last_error.is_none() => status::Broker {
                state: BrokerState::Degraded,
                last_error: Some(format!("the disk has been at one write for {} s", busy.as_secs())),
                ..stats
            },
            _ => stats,
        }
    }

    pub(super) fn phase(&self) -> Phase {
        lock(&self.storage).phase
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Broker {
    /// The same broker, whose loops and whose file's thread answer to `roll`.
    ///
    /// # Errors
    /// When the broker is in use already.
    pub fn with_roll(self, roll: Roll) -> io::Result<Self> {
        let inner = self.unused()?;
        Ok(Self(Arc::new(Inner { roll, ..inner })))
    }

    fn unused(self) -> io::Result<Inner> {
        Arc::into_inner(self.0).ok_or_else(|| io::Error::other("the broker is in use already"))
    }

    /// The same broker, with a file: retained messages, sessions that outlive their connections, and
    /// wills survive the daemon in it. It is read in a thread of its own; until then nobody is let in.
    /// `report` is told, from that thread, what happens to it.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn with_store(
        self,
        storage: Storage,
        boot: String,
        report: impl Fn(News) + Send + 'static,
    ) -> io::Result<Self> {
        let inner = Arc::new(Inner { ready: CancellationToken::new(), ..self.unused()? });
        lock(&inner.state).begin_unread();
        let keeper = Arc::downgrade(&inner);
        let wake = move || {
            keeper.upgrade().inspect(|inner| inner.work.notify_one());
        };
        let _ = inner.pulse.set(inner.roll.enter_thread("the local broker's storage", wake));
        let worker = store::Worker::new(Arc::clone(&inner), storage, boot, Box::new(report));
        let thread = store::spawn(worker)?;
        lock(&inner.storage).thread = Some(thread);
        Ok(Self(inner))
    }

    /// Waits until the file has been read, or clients need not wait for it any longer.
    pub async fn ready(&self) {
        self.0.ready.cancelled().await;
    }

    /// Waits until this many listeners are bound, or have found their address taken.
    pub async fn doors_tried(&self, count: usize) {
        // The sender is here.
        let _ = self.0.doors_tried.subscribe().wait_for(|tried| *tried >= count).await;
    }

    /// Writes what is left to the file and closes it. Blocks until that is done. Clients must have gone.
    pub fn close(&self) {
        self.0.ear.close();
        let state = lock(&self.0.state);
        let mut keeper = lock(&self.0.storage);
        keeper.phase = Phase::Stopping;
        let thread = keeper.thread.take();
        drop(keeper);
        self.0.work.notify_one();
        drop(state);
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that keeps the local broker's file ended with a panic");
        }
    }
}
