//! Listening sockets: binding them, again and again if need be, and accepting connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::remote::Remote;
use super::{Broker, connection, holder};

/// How long to wait before trying again to bind an address.
const REBIND_AFTER: Duration = Duration::from_secs(5);

/// How long to wait after the system failed to give us a connection, for want of file descriptors
/// mostly: trying at once would only burn time.
const REACCEPT_AFTER: Duration = Duration::from_millis(200);

/// How long connections may take to close when the broker stops.
const STOP_WITHIN: Duration = Duration::from_millis(2500);

/// Where to listen.
#[derive(Debug)]
pub enum Listen {
    /// On this address; bound by the broker, and retried for as long as it is taken.
    Address(SocketAddr),
    /// On a socket that is bound already.
    Bound(TcpListener),
}

impl From<SocketAddr> for Listen {
    fn from(address: SocketAddr) -> Self {
        Self::Address(address)
    }
}

impl From<TcpListener> for Listen {
    fn from(listener: TcpListener) -> Self {
        Self::Bound(listener)
    }
}

/// Accepts connections until `stop`, then waits for them to close.
pub(super) async fn run(broker: Broker, listen: Listen, stop: CancellationToken) {
    let listener = match listen {
        Listen::Bound(listener) => listener,
        Listen::Address(address) => {
            let bound = tokio::select! {
                bound = bind(address) => bound,
                () = stop.cancelled() => return,
            };
            bound
        }
    };
    let mut connections = JoinSet::new();
    accept(&broker, &listener, &mut connections, &stop).await;
    drop(listener);
    let all_closed = async {
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    };
    if timeout(STOP_WITHIN, all_closed).await.is_err() {
        tracing::warn!(connections = connections.len(), "connections cut off");
    }
}

async fn bind(address: SocketAddr) -> TcpListener {
    let mut last_error = None;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => {
                tracing::info!(%address, "listening");
                return listener;
            }
            Err(error) if last_error == Some(error.kind()) => {}
            Err(error) => {
                last_error = Some(error.kind());
                report_taken(address, &error).await;
            }
        }
        sleep(REBIND_AFTER).await;
    }
}

async fn report_taken(address: SocketAddr, error: &io::Error) {
    // Reads /proc: quick, but not for the thread that serves the ports.
    let holder = match error.kind() {
        io::ErrorKind::AddrInUse => tokio::task::spawn_blocking(move || holder::of(address)).await,
        _ => Ok(None),
    };
    let holder = holder.ok().flatten().unwrap_or_else(|| "unknown".to_owned());
    tracing::warn!(%address, %error, holder, "cannot listen; will try again");
}

async fn accept(
    broker: &Broker,
    listener: &TcpListener,
    connections: &mut JoinSet<()>,
    stop: &CancellationToken,
) {
    let mut is_failing = false;
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    is_failing = false;
                    start(broker, stream, peer, connections, stop);
                }
                Err(error) => {
                    if !is_failing {
                        tracing::warn!(%error, "cannot accept connections; will try again");
                    }
                    is_failing = true;
                    sleep(REACCEPT_AFTER).await;
                }
            },
            Some(ended) = connections.join_next() => report(ended),
            () = stop.cancelled() => return,
        }
    }
}

/// Starts a connection's task. One too many is closed at once: a client that knows is better off
/// than one that waits.
fn start(
    broker: &Broker,
    stream: TcpStream,
    peer: SocketAddr,
    connections: &mut JoinSet<()>,
    stop: &CancellationToken,
) {
    let Ok(permit) = Arc::clone(&broker.0.connections).try_acquire_owned() else {
        return tracing::debug!(%peer, "too many connections");
    };
    // Small packets must not wait for each other; without this it works all the same.
    let _ = stream.set_nodelay(true);
    let (broker, stop) = (broker.clone(), stop.clone());
    connections.spawn(async move {
        let _permit = permit;
        let (reader, writer) = stream.into_split();
        connection::run(broker, reader, writer, Remote::at(peer.ip()), stop).await;
    });
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "connection ended badly");
    }
}
