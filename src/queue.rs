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

use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Notify, broadcast, mpsc, oneshot};

use crate::clock::{Clock, boottime_us};
use crate::mqtt::packet::{Publish, Qos};
use crate::pulse::{Pulse, Roll};
use crate::reading::{Body, Expiry, Message, MessageId, Properties, Uid};
use crate::status;
use crate::topic::{Forward, Topics};

pub mod acks;
pub mod ballast;
pub mod chunk;
pub mod core;
pub mod cursor;
mod desk;
pub mod gaps;
pub mod held;
pub mod job;
pub mod letters;
pub mod operate;
pub mod outlet;
pub mod portable;
pub mod ranges;
pub mod restore;
pub mod salvage;
pub mod schema;
mod start;
pub mod store;
pub mod types;
pub mod worker;

#[cfg(test)]
mod tests;

use self::core::Core;
pub use self::cursor::Order;
use self::desk::Replies;
pub use self::desk::Unanswered;
pub use self::outlet::Outlet;
pub use self::start::OpenError;
pub use self::types::{Full, Resume, Safe, Taken};

/// The most bridges there can be: one bit each.
pub const BRIDGES_MAX: usize = 32;

/// Live copies that wait for those who look on: as many of the longest lines take 16 MiB.
pub const ONLOOKERS_AHEAD: usize = 1024;

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

/// The handle. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Queue(Arc<Shared>);

#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Calls the storage thread.
    work: Condvar,
    /// The storage thread's sign of life, once somebody wants to see it.
    pulse: OnceLock<Pulse>,
    /// One per bridge: something may be there to take.
    news: Vec<Notify>,
    interest: Interest,
    /// Whether what bridges refuse is kept as dead letters.
    keeps_letters: bool,
    clock: Clock,
    tap: Mutex<Option<mpsc::Sender<Arc<Body>>>>,
    /// For operators who look on.
    onlookers: broadcast::Sender<Arc<Body>>,
    worker: Mutex<Option<JoinHandle<()>>>,
    /// Threads that read damaged files.
    restorers: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) core: Core<oneshot::Sender<Safe>>,
    /// When the storage thread wakes by itself; `None`: when it is called.
    pub(crate) wakes_at: Option<i64>,
    /// Operators who wait for an answer, by the number of their request.
    pub(crate) replies: Replies,
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
            (Forward::Own, body) => self.is_own(body),
            (forward, Body::Reading(reading)) => forward.wants_own(&self.topics.data(&reading.device)),
            (forward, Body::Event(_)) => forward.wants_own(&self.topics.event()),
            (_, Body::Message(message)) => {
                self.wants_message_of(consumer, &message.topic, &message.properties)
            }
        }
    }

    /// Of messages, only results of commands are our own.
    fn is_own(&self, body: &Body) -> bool {
        !matches!(body, Body::Message(message) if !self.topics.is_result(&message.topic))
    }

    fn wants_message(&self, topic: &str, properties: &Properties) -> bool {
        self.consumers.iter().any(|consumer| self.wants_message_of(consumer, topic, properties))
    }

    /// What came from a bridge's cloud does not go back there.
    fn wants_message_of(&self, consumer: &Consumer, topic: &str, properties: &Properties) -> bool {
        consumer.forward.wants_message(topic) && !self.topics.came_from(&consumer.name, properties)
    }
}

impl Queue {
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
            self.0.change(|core| core.refuse(&body, boottime_us()));
        }
        self.copy_to_taps(&body);
    }

    /// Takes `body`; the ticket tells when it is safe. Never blocks.
    ///
    /// # Errors
    /// [`Full`]: nothing was taken; whoever sent it must keep it.
    pub fn push_ticketed(&self, body: Body) -> Result<Ticket, Full> {
        let body = Arc::new(body);
        let (sender, ticket) = oneshot::channel();
        self.admit(&body, Some(sender))?;
        self.copy_to_taps(&body);
        Ok(ticket)
    }

    fn admit(&self, body: &Arc<Body>, ticket: Option<oneshot::Sender<Safe>>) -> Result<(), Full> {
        let wants = self.0.interest.wants(body);
        self.0.change(|core| core.push(Arc::clone(body), wants, ticket, boottime_us()))?;
        if wants != 0 {
            self.0.call_bridges();
        }
        Ok(())
    }

    fn copy_to_taps(&self, body: &Arc<Body>) {
        // Mostly nobody looks on, and then it costs no look at topics.
        if self.0.onlookers.receiver_count() > 0 && self.0.interest.is_own(body) {
            // The last one may have gone meanwhile.
            let _ = self.0.onlookers.send(Arc::clone(body));
        }
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

    /// Takes a message of a LAN client or of a cloud, if some bridge forwards it. Never blocks. With
    /// QoS 1 and 2 there is a ticket; what comes with QoS 0 is dropped and counted when there is no
    /// room.
    ///
    /// # Errors
    /// [`Full`]: wanted, but nothing was taken; whoever sent it must keep it.
    pub fn offer(&self, publish: &Publish) -> Result<Option<Ticket>, Full> {
        if !self.0.interest.wants_message(&publish.topic, &publish.properties) {
            return Ok(None);
        }
        let body = self.message(publish);
        if publish.qos == Qos::AtMostOnce {
            self.push(body);
            return Ok(None);
        }
        self.push_ticketed(body).map(Some)
    }

    /// Takes what became of a command. Where there is no room it is dropped and counted. Never blocks.
    pub fn push_result(&self, publish: &Publish) {
        self.push(self.message(publish));
    }

    fn message(&self, publish: &Publish) -> Body {
        Body::Message(Message {
            topic: publish.topic.clone(),
            payload: publish.payload.clone(),
            qos: publish.qos as u8,
            retain: publish.retain,
            properties: publish.properties.clone(),
            expiry: publish.expiry_s.map(|after_s| Expiry { since: self.clock().now(), after_s }),
        })
    }

    /// Live copies of every reading and event from now on, for the local broker. Lossy: a reader
    /// that falls `capacity` behind misses some. There is one tap; a new one replaces the old.
    #[must_use]
    pub fn tap(&self, capacity: usize) -> mpsc::Receiver<Arc<Body>> {
        let (sender, receiver) = mpsc::channel(capacity);
        *lock(&self.0.tap) = Some(sender);
        receiver
    }

    /// Live copies of every reading, event and result from now on, for somebody who looks on; there may be
    /// several. Who falls [`ONLOOKERS_AHEAD`] behind loses the oldest, and is told how many.
    #[must_use]
    pub fn look_on(&self) -> broadcast::Receiver<Arc<Body>> {
        self.0.onlookers.subscribe()
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

    /// From now on the storage thread answers to `roll`.
    pub fn answer_to(&self, roll: &Roll) {
        let shared = Arc::downgrade(&self.0);
        let wake = move || {
            shared.upgrade().inspect(|shared| shared.work.notify_one());
        };
        let _ = self.0.pulse.set(roll.enter_thread("the queue's storage", wake));
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
        let restorers = std::mem::take(&mut *lock(&self.0.restorers));
        if restorers.into_iter().any(|restorer| restorer.join().is_err()) {
            tracing::error!("the thread that read a damaged file ended with a panic");
        }
        let readings = self.status().volatile;
        if readings > 0 {
            tracing::error!(
                readings,
                "the disk did not take what was in memory: lost, except what boards still hold"
            );
        }
    }
}

impl Shared {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Does `how` to the core, and sees that the storage thread and those who hold tickets hear of it.
    fn change<R>(&self, how: impl FnOnce(&mut Core<oneshot::Sender<Safe>>) -> R) -> R {
        let mut state = self.state();
        let result = how(&mut state.core);
        self.call_worker(&mut state);
        let safe = state.core.take_safe();
        drop(state);
        resolve(safe);
        result
    }

    /// The storage thread comes round.
    fn beat(&self) {
        self.pulse.get().inspect(|pulse| pulse.beat());
    }

    /// The storage thread does something that the disk may hold up.
    fn at_disk<T>(&self, work: impl FnOnce() -> T) -> T {
        match self.pulse.get() {
            Some(pulse) => pulse.at_disk(work),
            None => work(),
        }
    }

    /// Waits for a call, but not longer than `at_most`.
    fn wait_for<'a>(&self, state: MutexGuard<'a, State>, at_most: Duration) -> MutexGuard<'a, State> {
        self.work.wait_timeout(state, at_most).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Calls the storage thread if it would otherwise sleep past something that is due.
    fn call_worker(&self, state: &mut State) {
        // A machine that was suspended has slept less than its boot clock has gone on.
        let overslept = |wakes| wakes > i64::MIN && wakes < boottime_us();
        let sleeps = |due| state.wakes_at.is_none_or(|wakes| due < wakes || overslept(wakes));
        if state.core.wake_at().is_some_and(sleeps) {
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
