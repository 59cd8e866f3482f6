//! The local MQTT broker: 3.1.1 and 5.0 on one port, for the clients of the LAN and for our own
//! publisher.
//!
//! ```text
//! listener ── connection (one task each) ── client ──┐
//!                                                    ├─ state: sessions, router, retained
//! Local::publish (publisher, bridges' downlink) ─────┘        (one mutex, short steps)
//!                                    client ── Intake ──> queue, for what a bridge forwards
//! ```
//!
//! `routing`, `session`, `filter`, `trie`, `retained` and `message` are pure. `state` puts them
//! together and knows who is connected; `client` speaks the protocol for one connection, without a
//! socket; `connection` and `listener` move the bytes.
//!
//! It is a tap on the durable path, not a stage of it: sessions and retained messages live in
//! memory and are gone after a restart. A client's message that a bridge forwards goes into the
//! queue first, and is acknowledged when it is safe there. Everything has a limit ([`Limits`]);
//! what does not fit is dropped and counted, never waited for.

mod aliases;
mod client;
mod connection;
mod end;
mod filter;
mod holder;
mod intake;
mod journal;
mod listener;
mod losses;
mod message;
mod remote;
mod retained;
mod routing;
mod session;
mod state;
mod store;
#[cfg(test)]
mod tests;
mod trie;

pub use intake::{Intake, NoIntake};
pub use listener::Listen;
pub use store::{News, Storage};

use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::flow::Passed;
use crate::mqtt::packet::{Connect, PacketId, Publish, Reason};
use crate::queue::acks::Verdict;
use crate::queue::{Full, Ticket};
use crate::status;
use losses::Loss;
use state::{Attached, Bequest, Farewell, Origin, Place, Published, State};

/// What the broker allows. What goes over a limit is refused, or dropped and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time.
    pub connections: usize,
    /// Sessions, connected or not. Beyond them the one that was offline for longest is forgotten.
    pub sessions: usize,
    /// Subscriptions of one session.
    pub subscriptions: usize,
    /// Bytes of the largest packet that is taken.
    pub packet_bytes: u32,
    /// Messages that wait for one client.
    pub queue_messages: usize,
    /// Bytes that wait for one client.
    pub queue_bytes: usize,
    /// Bytes that wait for all clients together.
    pub all_queues_bytes: usize,
    /// Messages under way to one client, unacknowledged.
    pub in_flight: u16,
    /// Messages under way from one client, unacknowledged.
    pub receive_maximum: u16,
    /// Retained messages.
    pub retained_messages: usize,
    /// Bytes of retained messages.
    pub retained_bytes: usize,
}

impl Default for Limits {
    /// Enough for a few hundred clients on a machine with 512 MiB.
    fn default() -> Self {
        const MIB: usize = 1 << 20;
        Self {
            connections: 500,
            sessions: 2000,
            subscriptions: 1000,
            packet_bytes: 1 << 20,
            queue_messages: 10_000,
            queue_bytes: 4 * MIB,
            all_queues_bytes: 32 * MIB,
            in_flight: 100,
            // Bursts of QoS 2 beyond it end the connection, and MQTT.js does not count.
            receive_maximum: 1000,
            retained_messages: 10_000,
            retained_bytes: 16 * MIB,
        }
    }
}

/// The broker. Cheap to clone; all clones are the same broker.
#[derive(Clone)]
pub struct Broker(Arc<Inner>);

struct Inner {
    limits: Limits,
    intake: Box<dyn Intake>,
    connections: Arc<Semaphore>,
    state: Mutex<State>,
    /// Calls the thread that keeps the file.
    work: Condvar,
    storage: Mutex<Keeper>,
    /// Cancelled when the file has been read, or there is none: clients may come.
    ready: CancellationToken,
    /// Told when the next deadline of a session may have changed.
    deadline_changed: Notify,
}

/// The thread that keeps the file.
#[derive(Debug, Default)]
struct Keeper {
    phase: Phase,
    thread: Option<JoinHandle<()>>,
}

/// What the thread is to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Its work.
    #[default]
    Running,
    /// Write what is left, and end.
    Stopping,
    /// End at once, as a kill would end it.
    Abandoned,
}

/// The state, locked. Calls the file's thread at the end, if there is more for it to do than it knows.
struct Locked<'a> {
    state: MutexGuard<'a, State>,
    work: &'a Condvar,
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
    fn raw(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn phase(&self) -> Phase {
        lock(&self.storage).phase
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("limits", &self.0.limits).finish_non_exhaustive()
    }
}

impl Broker {
    /// A broker without clients. What a bridge wants of its clients' messages goes to `intake`.
    #[must_use]
    pub fn new(limits: Limits, intake: impl Intake + 'static) -> Self {
        let ready = CancellationToken::new();
        ready.cancel();
        Self(Arc::new(Inner {
            limits,
            intake: Box::new(intake),
            connections: Arc::new(Semaphore::new(limits.connections)),
            state: Mutex::new(State::new(limits)),
            work: Condvar::new(),
            storage: Mutex::default(),
            ready,
            deadline_changed: Notify::new(),
        }))
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
        let Some(inner) = Arc::into_inner(self.0) else {
            return Err(io::Error::other("the broker is in use already"));
        };
        let inner = Arc::new(Inner { ready: CancellationToken::new(), ..inner });
        lock(&inner.state).begin_unread();
        let worker = store::Worker::new(Arc::clone(&inner), storage, boot, Box::new(report));
        let thread = store::spawn(worker)?;
        lock(&inner.storage).thread = Some(thread);
        Ok(Self(inner))
    }

    /// Waits until the file has been read, or clients need not wait for it any longer.
    pub async fn ready(&self) {
        self.0.ready.cancelled().await;
    }

    /// Writes what is left to the file and closes it. Blocks until that is done. Clients must have gone.
    pub fn close(&self) {
        self.end(Phase::Stopping);
    }

    fn end(&self, phase: Phase) {
        let state = lock(&self.0.state);
        let mut keeper = lock(&self.0.storage);
        keeper.phase = phase;
        let thread = keeper.thread.take();
        drop(keeper);
        self.0.work.notify_one();
        drop(state);
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that keeps the local broker's file ended with a panic");
        }
    }

    /// A way in for our own publisher.
    #[must_use]
    pub fn local(&self) -> Local {
        Local { broker: self.clone(), origin: Origin::Ours }
    }

    /// A way in for a bridge.
    #[must_use]
    pub fn local_for_bridge(&self) -> Local {
        Local { broker: self.clone(), origin: Origin::Bridge }
    }

    /// The numbers for `status`.
    #[must_use]
    pub fn stats(&self) -> status::Broker {
        self.lock().stats()
    }

    /// Serves `listeners` until `stop`, then tells the clients and closes their connections.
    /// Without listeners it serves our own parts only.
    pub async fn serve(&self, listeners: Vec<Listen>, stop: CancellationToken) {
        let mut tasks = JoinSet::new();
        tokio::select! {
            () = self.ready() => {}
            () = stop.cancelled() => return,
        }
        for listener in listeners {
            tasks.spawn(listener::run(self.clone(), listener, stop.clone()));
        }
        self.keep_deadlines(&stop).await;
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "listener ended");
            }
        }
    }

    /// Ends sessions and publishes wills when they are due.
    async fn keep_deadlines(&self, stop: &CancellationToken) {
        loop {
            let next = self.lock().next_deadline();
            let due = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => {
                    let now = now();
                    let wills = self.lock().expire(now);
                    for will in wills {
                        self.publish_will(will, now);
                    }
                }
                () = self.0.deadline_changed.notified() => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// A client of the user `owner` connects; `None` is an anonymous one.
    fn enter(
        &self,
        connect: &Connect,
        owner: Option<&Arc<str>>,
        wake: Arc<Notify>,
    ) -> Result<Attached, Reason> {
        let now = now();
        let mut attached = self.lock().attach(connect, owner, wake, now)?;
        if let Some(will) = attached.will.take() {
            self.publish_will(will, now);
        }
        Ok(attached)
    }

    /// A client's connection is over.
    fn leave(&self, place: Place, farewell: Farewell) {
        let now = now();
        let will = self.lock().detach(place, farewell, now);
        if let Some(will) = will {
            self.publish_will(will, now);
        }
        self.0.deadline_changed.notify_one();
    }

    /// A client publishes: first into the queue, if a bridge wants it, then to the subscribers. Tells
    /// how and when it may be acknowledged. `id`: its packet id, with QoS 2.
    fn publish(
        &self,
        publish: Publish,
        place: Place,
        id: Option<PacketId>,
        now: Instant,
    ) -> Result<Verdict, Full> {
        let ticket = self.offer(&publish)?;
        let once = id.map(|id| (id, ticket.is_some()));
        let origin = Origin::Client { session: place.session, once };
        let Published { reached, kept } = self.lock().publish(publish, origin, now);
        let otherwise = if reached == 0 { Reason::NO_SUBSCRIBERS } else { Reason::SUCCESS };
        Ok(Verdict::when(ticket, kept, otherwise))
    }

    /// A client's message goes into the queue, if a bridge wants it.
    fn offer(&self, publish: &Publish) -> Result<Option<Ticket>, Full> {
        self.0.intake.offer(publish)
    }

    /// Nobody waits for a will's acknowledgement: if the queue is full, the queue's own counters
    /// do not know of it, so it counts as dropped here.
    fn publish_will(&self, will: Bequest, now: Instant) {
        let Bequest { client_id, session, message } = will;
        let taken = self.offer(&message);
        let mut state = self.lock();
        if taken.is_err() {
            state.count_lost(Loss::Will);
        }
        state.publish(message, Origin::Client { session, once: None }, now);
        state.will_published(&client_id);
    }

    fn limits(&self) -> &Limits {
        &self.0.limits
    }

    fn lock(&self) -> Locked<'_> {
        Locked { state: lock(&self.0.state), work: &self.0.work }
    }
}

/// Publishes for our own parts: to the broker's clients only, never back into the queue.
#[derive(Clone, Debug)]
pub struct Local {
    broker: Broker,
    origin: Origin,
}

impl Local {
    /// Publishes to all clients that subscribed, as far as they have room. Never blocks. `None`: nobody
    /// is let in yet.
    pub fn publish(&self, publish: Publish) -> Option<Passed> {
        if !self.broker.0.ready.is_cancelled() {
            return None;
        }
        let Published { reached, kept } = self.broker.lock().publish(publish, self.origin, now());
        Some(Passed { reached, kept })
    }

    /// Waits until somebody may be let in.
    pub async fn ready(&self) {
        self.broker.ready().await;
    }
}

/// Now, on the runtime's clock: tests may stop it.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
