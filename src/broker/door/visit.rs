//! One connection, from the moment it is accepted: its place among the others, and its time.

use std::fmt::Display;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::crowd::{Crowd, Number, TooMany};
use super::refusals::{Refusal, Refusals};
use crate::broker::end::End;
use crate::broker::keeper::lock;
use crate::broker::remote::Remote;
use crate::broker::{Broker, now};
use crate::mqtt::packet::Reason;

/// A client has this long for TLS, the WebSocket and CONNECT together.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// What all doors share: who is there, and who was not let in.
#[derive(Debug)]
pub(in crate::broker) struct Hall {
    crowd: Mutex<Crowd<CancellationToken>>,
    refusals: Mutex<Refusals>,
}

impl Hall {
    /// Nobody is there.
    pub(in crate::broker) fn new() -> Self {
        Self { crowd: Mutex::new(Crowd::new()), refusals: Mutex::default() }
    }

    /// Connections that came to nothing.
    pub(in crate::broker) fn refused(&self) -> u64 {
        lock(&self.refusals).total()
    }

    /// Counts a connection from `remote` that came to nothing, and says so, but not each time.
    pub(in crate::broker) fn refuse(&self, kind: Refusal, remote: &Remote, why: &dyn Display) {
        let line = lock(&self.refusals).count(kind, now());
        let remote = remote.address;
        match (line, kind) {
            (None, _) => tracing::debug!(%remote, reason = %why, "connection refused"),
            (Some(0), Refusal::TooMany | Refusal::GaveWay) => {
                tracing::warn!(%remote, reason = %why, "connection refused");
            }
            (Some(0), _) => tracing::info!(%remote, reason = %why, "connection refused"),
            (Some(more), _) => {
                tracing::warn!(%remote, reason = %why, more_since = more, "connections refused");
            }
        }
    }

    /// Ends the connections that give way.
    fn end(&self, ends: Vec<(IpAddr, CancellationToken)>) {
        for (address, end) in ends {
            let why =
                "it said nothing of use, and gave way to a new one (`handshakes`, `connections_per_address`)";
            self.refuse(Refusal::GaveWay, &Remote::at(address), &why);
            end.cancel();
        }
    }

    fn crowd<R>(&self, step: impl FnOnce(&mut Crowd<CancellationToken>) -> R) -> R {
        step(&mut lock(&self.crowd))
    }
}

/// One connection's place; free again when this is dropped.
#[derive(Debug)]
pub(in crate::broker) struct Visit {
    broker: Broker,
    number: Number,
    /// Who is at the other end.
    pub(in crate::broker) remote: Remote,
    /// CONNECT must be there by then.
    pub(in crate::broker) deadline: Instant,
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.broker.0.hall.crowd(|crowd| crowd.leave(self.number));
    }
}

impl Visit {
    /// A connection from `remote` comes. `end` is cancelled when it has to give way.
    ///
    /// # Errors
    /// It is one too many.
    pub(in crate::broker) fn begin(
        broker: &Broker,
        remote: Remote,
        end: CancellationToken,
    ) -> Result<Self, TooMany> {
        let limits = broker.limits();
        let entered = broker.0.hall.crowd(|crowd| crowd.enter(remote.address, end, &limits));
        let (number, ends) = entered.inspect_err(|_| {
            let most = limits.connections_per_address;
            let why = format!("{most} connections from this address (`connections_per_address`)");
            broker.0.hall.refuse(Refusal::TooMany, &remote, &why);
        })?;
        broker.0.hall.end(ends);
        Ok(Self { broker: broker.clone(), number, remote, deadline: Instant::now() + CONNECT_WITHIN })
    }

    /// The client has said who it is: from here on it is one of the clients.
    ///
    /// # Errors
    /// There are too many of those.
    pub(in crate::broker) fn settle(&self, client_id: &str) -> Result<(), End> {
        let (limits, takes_over) = (self.broker.limits(), self.broker.lock().is_online(client_id));
        let settled = self.broker.0.hall.crowd(|crowd| crowd.settle(self.number, takes_over, &limits));
        settled.map_err(|_| {
            let why = format!("{} clients are connected (`connections`)", limits.connections);
            self.refused(Refusal::TooMany, &why);
            End::Refused { reason: Reason::BUSY, why: "too many clients" }
        })
    }

    /// The connection is closing: it leaves its place among the clients to others.
    pub(in crate::broker) fn part(&mut self) {
        let limits = self.broker.limits();
        let (number, ends) = self.broker.0.hall.crowd(|crowd| crowd.part(self.number, &limits));
        self.number = number;
        self.broker.0.hall.end(ends);
    }

    /// Nothing comes of this connection.
    pub(in crate::broker) fn refused(&self, kind: Refusal, why: &dyn Display) {
        self.broker.0.hall.refuse(kind, &self.remote, why);
    }

    /// No CONNECT came in time.
    pub(in crate::broker) fn late(&self) {
        self.refused(Refusal::Late, &format!("no CONNECT within {CONNECT_WITHIN:?}"));
    }
}
