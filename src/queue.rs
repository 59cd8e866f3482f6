//! The store-and-forward queue: everything that the gateway accepted and somebody still wants.
//!
//! ```text
//! port, LAN client ──push──> core (memory) ──take──> bridge
//!        <──ticket──           │   ^           <──done──
//!                       commit v   │ load
//!                         storage thread ──> SQLite file
//! ```
//! An entry is *safe* at the acknowledgement of every bridge that wants it or at the commit of the
//! chunk that holds it, whichever comes first; its ticket resolves then. No entry is in memory
//! only for longer than `commit_within`. Pushing and taking never wait for the disk: the pure
//! [`core`] stands behind a mutex that is held for microseconds, and all SQL runs in one thread of
//! its own ([`worker`]).

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use uuid::Uuid;

use crate::clock::{Clock, boottime_us};
use crate::config;
use crate::reading::{Body, MessageId, Uid};
use crate::status;
use crate::topic::{Forward, Topics};

pub mod ballast;
pub mod chunk;
pub mod core;
pub mod cursor;
pub mod gaps;
pub mod held;
pub mod job;
pub mod outlet;
pub mod ranges;
pub mod restore;
pub mod salvage;
pub mod schema;
pub mod store;
pub mod types;
pub mod worker;

#[cfg(test)]
mod tests;

use self::core::Core;
pub use self::cursor::Order;
pub use self::outlet::Outlet;
use self::store::{KernelBoot, Limits, StoreError};
pub use self::types::{Full, Resume, Safe, Taken};
use self::types::{Room, Settings, WhenFull};
use self::worker::{Place, Worker};

/// What may be held in memory while the disk does not take it, in bytes; a quarter of `max_size` if
/// that is less, so that it fits in one commit.
const MEMORY_BYTES: usize = 8 * 1024 * 1024;
/// With `durability: always`, committed entries that stay in memory for bridges that keep up.
const CACHE_BYTES: usize = 256 * 1024;
/// The most bridges there can be: one bit each.
pub const BRIDGES_MAX: usize = 32;

/// Resolves when an entry is safe. An error means that it never became so.
pub type Ticket = oneshot::Receiver<Safe>;

/// A bridge, as the queue sees it.
#[derive(Clone, Debug)]
pub struct Consumer {
    /// Its name: the cursor in the file is kept under it.
    pub name: String,
    /// What it wants.
    pub forward: Forward,
    /// In which order.
    pub order: Order,
}

/// Why the queue cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file system does not let us.
    #[error(
        "queue file {path}: {error}; check that its directory belongs to the user that runs the gateway and has space, and that \
         no other program uses the file"
    )]
    Refused {
        /// The file.
        path: String,
        /// What was said.
        error: String,
    },
    /// The thread could not be started.
    #[error("storage thread: {0}")]
    Thread(io::Error),
}

/// The handle. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Queue(Arc<Shared>);

#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Calls the storage thread.
    work: Condvar,
    /// One per bridge: something may be there to take.
    news: Vec<Notify>,
    interest: Interest,
    clock: Clock,
    tap: Mutex<Option<mpsc::Sender<Arc<Body>>>>,
    worker: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) core: Core<oneshot::Sender<Safe>>,
    /// When the storage thread wakes by itself; `None`: when it is called.
    pub(crate) wakes_at: Option<i64>,
}

/// Which bridges want what.
#[derive(Clone, Debug)]
struct Interest {
    topics: Topics,
    consumers: Vec<Consumer>,
}

impl Interest {
    /// The bridges that get what is live before what waits, one bit each.
    fn live_first(&self) -> u32 {
        let bits = self.consumers.iter().enumerate();
        bits.map(|(index, consumer)| u32::from(consumer.order == Order::LiveFirst) << index).sum()
    }

    fn wants(&self, body: &Body) -> u32 {
        let mut wants = 0;
        for (index, consumer) in self.consumers.iter().enumerate() {
            wants |= u32::from(self.wants_one(consumer, body)) << index;
        }
        wants
    }

    fn wants_one(&self, consumer: &Consumer, body: &Body) -> bool {
        match (&consumer.forward, body) {
            (Forward::Own, body) => !matches!(body, Body::Message(_)),
            (forward, Body::Reading(reading)) => forward.wants_own(&self.topics.data(&reading.device)),
            (forward, Body::Event(_)) => forward.wants_own(&self.topics.event()),
            (forward, Body::Message(message)) => forward.wants_message(&message.topic),
        }
    }
}

impl Queue {
    /// Opens the queue and starts its storage thread. A damaged file is set aside under a new name
    /// and a new one is begun. Where the disk is full, read-only or broken, the queue begins in
    /// memory and opens the file as soon as that can be done.
    ///
    /// # Errors
    /// [`OpenError`] when somebody must do something about it.
    pub fn open(config: &config::Queue, topics: Topics, consumers: Vec<Consumer>) -> Result<Self, OpenError> {
        let late = config.durability == config::Durability::Late;
        let limits = Limits {
            max_bytes: config.max_size,
            max_age_us: micros(config.max_age),
            max_readings: config.max_readings,
            when_full: match config.when_full {
                config::WhenFull::DropOldest => WhenFull::DropOldest,
                config::WhenFull::DropNewest => WhenFull::DropNewest,
                config::WhenFull::Thin => WhenFull::Thin,
            },
        };
        let mut place = Place {
            path: config.path.clone(),
            bridges: consumers.iter().map(|consumer| consumer.name.clone()).collect(),
            limits: limits.clone(),
            kernel: KernelBoot { uuid: kernel_boot_id(), row: None },
            clock: Clock::default(),
        };
        let interest = Interest { topics, consumers };
        let event = interest.consumers.iter().enumerate().map(|(index, consumer)| {
            u32::from(consumer.forward.wants_own(&interest.topics.event())) << index
        });
        let settings = Settings {
            commit_within_us: micros(config.commit_within),
            commit_first: !late,
            memory_bytes: MEMORY_BYTES.min(usize::try_from(limits.max_bytes / 4).unwrap_or(MEMORY_BYTES)),
            cache_bytes: if late { 0 } else { CACHE_BYTES },
            keep_oldest: (limits.when_full == WhenFull::DropNewest)
                .then(|| Room { bytes: limits.content_bytes(), readings: limits.max_readings }),
            event_wants: event.fold(0, |a, b| a | b),
            live_first: interest.live_first(),
        };
        let start = Uuid::new_v4();
        let now = boottime_us();
        let (core, opened) = match place.open() {
            Ok(mut opened) => {
                let mut core = Core::new(settings, start, std::mem::take(&mut opened.found));
                if let Some(damage) = opened.damage.clone() {
                    core.announce_damage(damage, now);
                }
                (core, Some(opened))
            }
            Err(StoreError::Disk(error)) => {
                tracing::error!(
                    error,
                    "the queue file cannot be opened now: readings stay in memory until it can"
                );
                (Core::unopened(settings, start, place.bridges.len(), error, now), None)
            }
            Err(error) => {
                return Err(OpenError::Refused {
                    path: config.path.display().to_string(),
                    error: error.to_string(),
                });
            }
        };
        let clock = place.clock.clone();
        let shared = Arc::new(Shared {
            state: Mutex::new(State { core, wakes_at: None }),
            work: Condvar::new(),
            news: interest.consumers.iter().map(|_| Notify::new()).collect(),
            interest,
            clock,
            tap: Mutex::new(None),
            worker: Mutex::new(None),
        });
        let worker = Worker::new(opened, place);
        let handle = worker::spawn(worker, Arc::clone(&shared)).map_err(OpenError::Thread)?;
        *lock(&shared.worker) = Some(handle);
        Ok(Self(shared))
    }

    /// The clock that all stamps in this queue follow.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// A fresh id for something that has no numbers of its own.
    #[must_use]
    pub fn name(&self) -> MessageId {
        self.0.state().core.name()
    }

    /// Takes `body` without telling when it is safe. Where there is no room it is dropped and
    /// counted. Never blocks.
    pub fn push(&self, body: Body) {
        let body = Arc::new(body);
        if self.admit(&body, None).is_err() {
            let mut state = self.0.state();
            state.core.refuse(&body, boottime_us());
            self.0.call_worker(&mut state);
        }
        self.copy_to_tap(&body);
    }

    /// Takes `body`; the ticket tells when it is safe. Never blocks.
    ///
    /// # Errors
    /// [`Full`]: nothing was taken; whoever sent it must keep it.
    pub fn push_ticketed(&self, body: Body) -> Result<Ticket, Full> {
        let body = Arc::new(body);
        let (sender, ticket) = oneshot::channel();
        self.admit(&body, Some(sender))?;
        self.copy_to_tap(&body);
        Ok(ticket)
    }

    fn admit(&self, body: &Arc<Body>, ticket: Option<oneshot::Sender<Safe>>) -> Result<(), Full> {
        let wants = self.0.interest.wants(body);
        let mut state = self.0.state();
        state.core.push(Arc::clone(body), wants, ticket, boottime_us())?;
        self.0.call_worker(&mut state);
        let safe = state.core.take_safe();
        drop(state);
        resolve(safe);
        if wants != 0 {
            self.0.call_bridges();
        }
        Ok(())
    }

    fn copy_to_tap(&self, body: &Arc<Body>) {
        // LAN clients' messages come from the local broker: it has routed them already.
        if !matches!(**body, Body::Message(_))
            && let Some(tap) = lock(&self.0.tap).as_ref()
        {
            let _ = tap.try_send(Arc::clone(body));
        }
    }

    /// Where the link to a board resumes; `None` for a boot of it that was never seen.
    #[must_use]
    pub fn resume(&self, uid: &Uid, boot: u32) -> Option<Resume> {
        self.0.state().core.resume(uid, boot)
    }

    /// Sets where the link to a board resumes; kept with the next transaction.
    pub fn set_resume(&self, uid: &Uid, boot: u32, resume: Resume) {
        self.0.state().core.set_resume(uid, boot, resume, boottime_us());
    }

    /// Whether some bridge forwards LAN clients' messages on `topic`.
    #[must_use]
    pub fn wants_message(&self, topic: &str) -> bool {
        self.0.interest.consumers.iter().any(|consumer| consumer.forward.wants_message(topic))
    }

    /// Live copies of every reading and event from now on, for the local broker. Lossy: a reader
    /// that falls `capacity` behind misses some. There is one tap; a new one replaces the old.
    #[must_use]
    pub fn tap(&self, capacity: usize) -> mpsc::Receiver<Arc<Body>> {
        let (sender, receiver) = mpsc::channel(capacity);
        *lock(&self.0.tap) = Some(sender);
        receiver
    }

    /// The side of bridge number `index` of those given to [`Queue::open`].
    #[must_use]
    pub fn outlet(&self, index: usize) -> Outlet {
        Outlet { shared: Arc::clone(&self.0), index }
    }

    /// Counters and state.
    #[must_use]
    pub fn status(&self) -> status::Queue {
        self.0.state().core.status(boottime_us())
    }

    /// Commits everything that is held and ends the storage thread. Blocks until that is done.
    pub fn close(&self) {
        let mut state = self.0.state();
        state.core.stop();
        self.0.call_worker(&mut state);
        drop(state);
        let worker = lock(&self.0.worker).take();
        if worker.is_some_and(|worker| worker.join().is_err()) {
            tracing::error!("the storage thread ended with a panic");
        }
    }
}

impl Shared {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Waits for a call, but not longer than `at_most`.
    fn wait_for<'a>(&self, state: MutexGuard<'a, State>, at_most: Duration) -> MutexGuard<'a, State> {
        self.work.wait_timeout(state, at_most).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Calls the storage thread if it would otherwise sleep past something that is due.
    fn call_worker(&self, state: &mut State) {
        let due = state.core.wake_at();
        if due.is_some_and(|due| state.wakes_at.is_none_or(|wakes| due < wakes)) {
            state.wakes_at = Some(i64::MIN);
            self.work.notify_one();
        }
    }

    /// Tells the bridges that there may be something to take.
    fn call_bridges(&self) {
        self.news.iter().for_each(Notify::notify_one);
    }
}

fn resolve(safe: Vec<(oneshot::Sender<Safe>, Safe)>) {
    for (ticket, how) in safe {
        // Whoever waited may have gone.
        let _ = ticket.send(how);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn micros(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn kernel_boot_id() -> String {
    let read = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    read.map_or_else(|_| Uuid::new_v4().to_string(), |id| id.trim().to_owned())
}
