//! The doors: where clients come in.
//!
//! ```text
//! listener (one task each) ── accept ── Visit ── [TLS] ── [WebSocket] ── connection
//!        └ papers: its certificate        └ crowd: who is there, who gives way
//! ```
//! Every connection has a task of its own from its first byte on, and ten seconds until its CONNECT:
//! one that is silent or slow holds nobody up.

mod crowd;
mod holder;
mod listener;
mod papers;
mod refusals;
mod visit;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Broker;
use crate::config::Listener;

use listener::Orders;
pub(super) use refusals::Refusal;
pub(super) use visit::{Hall, Visit};

/// Where to listen, and how.
#[derive(Debug)]
pub struct Listen {
    config: Listener,
    /// A socket that is bound already; else the broker binds the address, and tries again for as long
    /// as it is taken.
    bound: Option<TcpListener>,
}

impl Listen {
    /// As `config` says, on a socket that is bound already.
    #[must_use]
    pub fn on(bound: TcpListener, config: Listener) -> Self {
        Self { config, bound: Some(bound) }
    }
}

impl From<Listener> for Listen {
    fn from(config: Listener) -> Self {
        Self { config, bound: None }
    }
}

impl From<SocketAddr> for Listen {
    fn from(address: SocketAddr) -> Self {
        Listener::plain(address).into()
    }
}

impl From<TcpListener> for Listen {
    fn from(bound: TcpListener) -> Self {
        let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
        let address = bound.local_addr().unwrap_or(unknown);
        Self::on(bound, Listener::plain(address))
    }
}

/// All listeners of a broker.
#[derive(Debug)]
pub(super) struct Doors {
    broker: Broker,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    open: Vec<Open>,
}

/// A listener that runs.
#[derive(Debug)]
struct Open {
    config: Listener,
    retire: CancellationToken,
    renew: Arc<Notify>,
    /// Cancelled when its address is free again.
    closed: CancellationToken,
}

impl Doors {
    /// None yet. They close at `stop`.
    pub(super) fn new(broker: Broker, stop: CancellationToken) -> Self {
        Self { broker, stop, tasks: JoinSet::new(), open: Vec::new() }
    }

    /// Opens one more.
    pub(super) fn open(&mut self, listen: Listen) {
        let orders = Orders { stop: self.stop.clone(), ..Orders::default() };
        let open = Open {
            config: listen.config.clone(),
            retire: orders.retire.clone(),
            renew: Arc::clone(&orders.renew),
            closed: CancellationToken::new(),
        };
        let closes = open.closed.clone().drop_guard();
        self.tasks.spawn(listener::run(self.broker.clone(), listen, orders, closes));
        self.open.push(open);
    }

    /// Makes the doors those of `wanted`. One that stays keeps its socket and reads its files again; of
    /// one that goes, or changes, the clients stay.
    pub(super) async fn change(&mut self, wanted: &[Listener]) {
        let (stay, go): (Vec<Open>, Vec<Open>) =
            std::mem::take(&mut self.open).into_iter().partition(|open| wanted.contains(&open.config));
        self.open = stay;
        for open in &self.open {
            open.renew.notify_one();
        }
        for open in &go {
            open.retire.cancel();
        }
        for open in go {
            // The next one may need its address.
            open.closed.cancelled().await;
            tracing::info!(address = %open.config.address, "no longer listening");
        }
        for listener in wanted {
            if !self.open.iter().any(|open| open.config == *listener) {
                self.open(listener.clone().into());
            }
        }
    }

    /// Waits for all of them to end, which they do after `stop`.
    pub(super) async fn ended(mut self) {
        while self.next_end().await {}
    }

    /// Waits for a door that has retired, or stopped, to lose its last client. Tells whether there was
    /// one.
    pub(super) async fn next_end(&mut self) -> bool {
        let Some(ended) = self.tasks.join_next().await else { return false };
        if let Err(error) = ended {
            tracing::error!(%error, "listener ended");
        }
        true
    }
}
