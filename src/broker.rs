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
//! `routing`, `session`, `filter`, `trie`, `retained`, `message` and `access` (who may do what) are
//! pure. `state` puts them together and knows who is connected; `client` speaks the protocol for one
//! connection, without a socket; `connection` moves the bytes, `door` lets clients come to it, and
//! `login` checks their passwords.
//!
//! It is a tap on the durable path, not a stage of it. What its clients are promised lives in memory,
//! and a thread of its own keeps a file up to date with it (`journal`, `store`, `keeper`). A client's
//! message that a bridge forwards goes into the queue first, and is acknowledged when it is safe there,
//! and here for everybody it is kept for. Everything has a limit ([`Limits`]);
//! what does not fit is dropped and counted, never waited for.

mod access;
mod aliases;
mod buffers;
mod client;
mod connection;
mod door;
mod ear;
mod end;
mod filter;
mod intake;
mod journal;
mod keeper;
mod load;
mod login;
mod losses;
mod message;
mod pool;
mod remote;
mod retained;
mod routing;
mod session;
mod state;
mod store;
mod sys;
mod tell;
#[cfg(test)]
mod tests;
mod traffic;
mod trie;

pub use crate::config::Limits;
pub use access::Access;
pub use door::Listen;
pub use ear::Heard;
pub use intake::{Intake, NoIntake};
pub use store::{News, Storage};

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::config::{self, Listener};
use crate::flow::Passed;
use crate::mqtt::packet::{Connect, PacketId, Publish, Reason};
use crate::pulse::{Pulse, Roll};
use crate::queue::acks::Verdict;
use crate::queue::{Full, Ticket};
use crate::status;
use buffers::Buffers;
use door::{Doors, Hall, Visit};
use ear::Ear;
use keeper::{Keeper, Locked, lock};
use login::{Login, Logins};
use losses::Loss;
use remote::Remote;
use state::{Attached, Bequest, Farewell, Origin, Place, Published, State};

/// The broker. Cheap to clone; all clones are the same broker.
#[derive(Clone)]
pub struct Broker(Arc<Inner>);

struct Inner {
    intake: Box<dyn Intake>,
    ear: Ear,
    logins: Logins,
    hall: Hall,
    /// The listeners that a reload wants.
    listeners: watch::Sender<Option<Vec<Listener>>>,
    state: Mutex<State>,
    /// Calls the thread that keeps the file.
    work: Condvar,
    storage: Mutex<Keeper>,
    /// Where our loops show that they turn, and the sign of life of the thread that keeps the file.
    roll: Roll,
    pulse: OnceLock<Pulse>,
    /// How many listeners have tried to bind their address.
    doors_tried: watch::Sender<usize>,
    /// Cancelled when the file has been read, or there is none: clients may come.
    ready: CancellationToken,
    /// What connections hold in their buffers.
    buffers: Mutex<Buffers<Arc<Notify>>>,
    /// Told when the next deadline of a session may have changed.
    deadline_changed: Notify,
    /// Told when somebody subscribes to `$SYS`.
    sys_wanted: Notify,
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").finish_non_exhaustive()
    }
}

impl Broker {
    /// A broker without clients. What a bridge wants of its clients' messages goes to `intake`.
    #[must_use]
    pub fn new(limits: Limits, intake: impl Intake + 'static) -> Self {
        let ready = CancellationToken::new();
        ready.cancel();
        Self(Arc::new(Inner {
            intake: Box::new(intake),
            ear: Ear::default(),
            logins: Logins::new(),
            hall: Hall::new(),
            listeners: watch::Sender::new(None),
            state: Mutex::new(State::new(limits, now())),
            buffers: Mutex::new(Buffers::new(buffers_bytes(&limits))),
            work: Condvar::new(),
            storage: Mutex::default(),
            roll: Roll::default(),
            pulse: OnceLock::new(),
            doors_tried: watch::Sender::new(0),
            ready,
            deadline_changed: Notify::new(),
            sys_wanted: Notify::new(),
        }))
    }

    /// The same broker, which lets in whom `access` allows. Without this it is open to anonymous
    /// clients on loopback, and to nobody else.
    #[must_use]
    pub fn with_access(self, access: Access) -> Self {
        self.reload_access(access);
        self
    }

    /// From now on `access` holds. Clients stay connected, also where their password has changed;
    /// subscriptions that are no longer allowed end, and so do the connections of users who are gone.
    pub fn reload_access(&self, access: Access) {
        self.0.logins.replace(access);
        self.lock().wake_all();
    }

    /// From now on `take` gets what clients and bridges publish on topics that match `filter`, after
    /// the subscribers have got it. It must neither block nor wait.
    pub fn hear(&self, filter: String, take: impl Fn(Heard) + Send + Sync + 'static) {
        self.0.ear.open(filter, take);
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
        let (refused, logins_refused) = (self.0.hall.refused(), self.0.logins.refused());
        let stats = status::Broker { refused, logins_refused, ..self.lock().stats() };
        self.0.with_slow_disk(stats)
    }

    /// Takes over what a new configuration says, without ending a connection that may stay: who may
    /// do what, limits, which hold from now on, and listeners. Those that stay read their
    /// certificates again.
    pub fn reload(&self, config: &config::Broker) {
        self.reload_access(Access::new(config, uuid::Uuid::new_v4().into_bytes()));
        self.lock().set_limits(config.limits);
        self.buffers().set_limit(buffers_bytes(&config.limits));
        self.0.listeners.send_replace(Some(config.listen.clone()));
    }

    /// Serves `listeners` until `stop`, then tells the clients and closes their connections.
    /// Without listeners it serves our own parts only.
    pub async fn serve(&self, listeners: Vec<Listen>, stop: CancellationToken) {
        let mut doors = Doors::new(self.clone(), stop.clone());
        for listener in listeners {
            doors.open(listener);
        }
        let mut wanted = self.0.listeners.subscribe();
        let came_early = wanted.borrow().is_some();
        if came_early {
            wanted.mark_changed();
        }
        let mut deadlines =
            std::pin::pin!(async { tokio::join!(self.keep_deadlines(&stop), self.keep_telling(&stop)) });
        let pulse = self.0.roll.enter("the local broker");
        loop {
            pulse.beat();
            tokio::select! {
                _ = &mut deadlines => break,
                () = pulse.called() => {}
                Ok(()) = wanted.changed() => {
                    let listeners = wanted.borrow_and_update().clone().unwrap_or_default();
                    doors.change(&listeners).await;
                }
                true = doors.next_end() => {}
            }
        }
        doors.ended().await;
    }

    /// Serves one client of this machine over `stream`, until either side ends it or `stop`: for a stream
    /// that no listener has accepted. One too many is not served.
    pub async fn serve_stream<S>(&self, stream: S, stop: CancellationToken)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let here = Remote::at(Ipv4Addr::LOCALHOST.into());
        let Ok(visit) = Visit::begin(self, here, stop.clone()) else { return };
        let (reader, writer) = tokio::io::split(stream);
        connection::run(self.clone(), reader, writer, visit, stop).await;
    }

    /// Ends sessions and publishes wills when they are due.
    async fn keep_deadlines(&self, stop: &CancellationToken) {
        let pulse = self.0.roll.enter("the local broker's deadlines");
        loop {
            pulse.beat();
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
                () = pulse.called() => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// A client connects that has logged in.
    fn enter(&self, connect: &Connect, login: &Login, wake: Arc<Notify>) -> Result<Attached, Reason> {
        let now = now();
        let mut attached = {
            let mut state = self.lock();
            state.forget_abandoned(&connect.client_id, |owner| !login.access().knows(owner));
            state.attach(connect, login.identity.user(), wake, now)?
        };
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
        let Published { reached, kept } = self.route(publish, origin, now);
        let otherwise = if reached == 0 { Reason::NO_SUBSCRIBERS } else { Reason::SUCCESS };
        Ok(Verdict::when(ticket, kept, otherwise))
    }

    /// Gives a message to all who subscribed, and to our own ear.
    fn route(&self, publish: Publish, origin: Origin, now: Instant) -> Published {
        let heard = self.0.ear.pricks(&publish, origin);
        let Published { mut reached, kept } = self.lock().publish(publish, origin, now);
        if let Some(heard) = heard {
            heard.tell();
            reached += 1;
        }
        Published { reached, kept }
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
        if taken.is_err() {
            self.lock().count_lost(Loss::Will);
        }
        self.route(message, Origin::Client { session, once: None }, now);
        self.lock().will_published(&client_id);
    }

    /// The limits as of now: a reload changes them.
    fn limits(&self) -> Limits {
        self.lock().limits()
    }

    fn buffers(&self) -> MutexGuard<'_, Buffers<Arc<Notify>>> {
        lock(&self.0.buffers)
    }

    fn lock(&self) -> Locked<'_> {
        Locked { state: lock(&self.0.state), work: &self.0.work }
    }
}

/// What all connections together may hold in their buffers, beyond the little that each has for
/// itself: some of the largest packets at a time.
fn buffers_bytes(limits: &Limits) -> usize {
    const LEAST: usize = 16 << 20;
    const PACKETS: usize = 4;
    LEAST.max(usize::try_from(limits.packet_bytes).unwrap_or(usize::MAX).saturating_mul(PACKETS))
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
        let Published { reached, kept } = self.broker.route(publish, self.origin, now());
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
