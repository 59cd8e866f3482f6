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
//! socket; `connection` moves the bytes, and `door` lets clients in.
//!
//! It is a tap on the durable path, not a stage of it: sessions and retained messages live in
//! memory and are gone after a restart. A client's message that a bridge forwards goes into the
//! queue first, and is acknowledged when it is safe there. Everything has a limit ([`Limits`]);
//! what does not fit is dropped and counted, never waited for.

mod aliases;
mod buffers;
mod client;
mod connection;
mod door;
mod end;
mod filter;
mod intake;
mod load;
mod losses;
mod message;
mod pool;
mod remote;
mod retained;
mod routing;
mod session;
mod state;
mod sys;
mod tell;
#[cfg(test)]
mod tests;
mod traffic;
mod trie;

pub use crate::config::Limits;
pub use door::Listen;
pub use intake::{Intake, NoIntake};

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::config::{self, Listener};
use crate::mqtt::packet::{Connect, Publish, Reason};
use crate::queue::{Full, Ticket};
use crate::status;
use buffers::Buffers;
use door::{Doors, Hall, Visit};
use losses::Loss;
use remote::Remote;
use state::{Attached, Farewell, Place, State};

/// The broker. Cheap to clone; all clones are the same broker.
#[derive(Clone)]
pub struct Broker(Arc<Inner>);

struct Inner {
    limits: Mutex<Limits>,
    intake: Box<dyn Intake>,
    hall: Hall,
    /// The listeners that a reload wants.
    listeners: watch::Sender<Option<Vec<Listener>>>,
    state: Mutex<State>,
    /// What connections hold in their buffers.
    buffers: Mutex<Buffers<Arc<Notify>>>,
    /// Told when the next deadline of a session may have changed.
    deadline_changed: Notify,
    /// Told when somebody subscribes to `$SYS`.
    sys_wanted: Notify,
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("limits", &self.limits()).finish_non_exhaustive()
    }
}

impl Broker {
    /// A broker without clients. What a bridge wants of its clients' messages goes to `intake`.
    #[must_use]
    pub fn new(limits: Limits, intake: impl Intake + 'static) -> Self {
        Self(Arc::new(Inner {
            limits: Mutex::new(limits),
            intake: Box::new(intake),
            hall: Hall::new(),
            listeners: watch::Sender::new(None),
            state: Mutex::new(State::new(limits, now())),
            buffers: Mutex::new(Buffers::new(buffers_bytes(&limits))),
            deadline_changed: Notify::new(),
            sys_wanted: Notify::new(),
        }))
    }

    /// A way in for our own parts.
    #[must_use]
    pub fn local(&self) -> Local {
        Local(self.clone())
    }

    /// The numbers for `status`.
    #[must_use]
    pub fn stats(&self) -> status::Broker {
        status::Broker { refused: self.0.hall.refused(), ..self.lock().stats() }
    }

    /// Takes over what a new configuration says, without ending a connection: limits, which hold from
    /// now on, and listeners. Those that stay read their certificates again.
    pub fn reload(&self, config: &config::Broker) {
        *self.0.limits.lock().unwrap_or_else(PoisonError::into_inner) = config.limits;
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
        loop {
            tokio::select! {
                _ = &mut deadlines => break,
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
                    for (session, will) in wills {
                        self.publish_will(will, session, now);
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
            self.publish_will(will, attached.place.session, now);
        }
        Ok(attached)
    }

    /// A client's connection is over.
    fn leave(&self, place: Place, farewell: Farewell) {
        let now = now();
        let will = self.lock().detach(place, farewell, now);
        if let Some(will) = will {
            self.publish_will(will, place.session, now);
        }
        self.0.deadline_changed.notify_one();
    }

    /// A client publishes: first into the queue, if a bridge wants it, then to the subscribers.
    /// Tells how many of those there are.
    fn publish(&self, publish: Publish, place: Place, now: Instant) -> Result<(Option<Ticket>, usize), Full> {
        let ticket = self.0.intake.offer(&publish)?;
        let reached = self.lock().publish(publish, Some(place.session), now);
        Ok((ticket, reached))
    }

    /// Nobody waits for a will's acknowledgement: if the queue is full, the queue's own counters
    /// do not know of it, so it counts as dropped here.
    fn publish_will(&self, will: Publish, session: routing::SessionKey, now: Instant) {
        let taken = self.0.intake.offer(&will);
        let mut state = self.lock();
        if taken.is_err() {
            state.count_lost(Loss::Will);
        }
        state.publish(will, Some(session), now);
    }

    /// The limits as of now: a reload changes them.
    fn limits(&self) -> Limits {
        *self.0.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn buffers(&self) -> MutexGuard<'_, Buffers<Arc<Notify>>> {
        self.0.buffers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
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
pub struct Local(Broker);

impl Local {
    /// Publishes to all clients that subscribed, as far as they have room; tells how many those are.
    /// Never blocks.
    pub fn publish(&self, publish: Publish) -> usize {
        self.0.lock().publish(publish, None, now())
    }
}

/// Now, on the runtime's clock: tests may stop it.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
