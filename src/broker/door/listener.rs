//! One listening socket: binding it, again and again if need be, and accepting connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::visit::Visit;
use super::{Listen, Refusal, holder, papers};
use crate::broker::remote::Remote;
use crate::broker::{Broker, connection};
use crate::config::Listener;
use crate::transport::server::{self, Guest, Origins, Papers, Upgrade};

/// How long to wait before trying again to bind an address.
const REBIND_AFTER: Duration = Duration::from_secs(5);

/// How long to wait after the system failed to give us a connection, for want of file descriptors
/// mostly: trying at once would only burn time.
const REACCEPT_AFTER: Duration = Duration::from_millis(200);

/// How long connections may take to close when the broker stops.
const STOP_WITHIN: Duration = Duration::from_millis(2500);

/// Connections that the kernel accepts ahead of us.
const BACKLOG: u32 = 1024;

/// A connection that says nothing for this long is asked by the kernel whether it is still there: in
/// seconds, then every so many seconds, so often. Clients may go without the keep-alive of MQTT.
const PROBE_S: (u32, u32, u32) = (60, 15, 4);

/// The orders that a listener gets.
#[derive(Debug, Default)]
pub(super) struct Orders {
    /// Close everything: the broker stops.
    pub(super) stop: CancellationToken,
    /// Accept nobody more. Who is there may stay.
    pub(super) retire: CancellationToken,
    /// Read the files again.
    pub(super) renew: Arc<tokio::sync::Notify>,
}

/// Accepts connections until it has to retire or stop, then waits for them to close. `open` is
/// dropped when the address is free again.
pub(super) async fn run(broker: Broker, listen: Listen, orders: Orders, open: impl Send) {
    let Listen { config, bound } = listen;
    let (publish, shown) = watch::channel(None);
    let keeping = async {
        match &config.tls {
            Some(tls) => papers::keep(config.address, tls, &orders.renew, publish).await,
            None => std::future::pending().await,
        }
    };
    let serving = async {
        let mut door = Door { broker, config: &config, papers: shown, stop: &orders.stop };
        let mut connections = JoinSet::new();
        tokio::select! {
            () = async {
                door.wait_for_papers().await;
                let listener = match bound {
                    Some(listener) => listener,
                    None => bind(&config, &door.broker).await,
                };
                door.accept(&listener, &mut connections).await;
            } => {}
            () = orders.retire.cancelled() => {}
            () = orders.stop.cancelled() => {}
        }
        drop(open);
        let mut all_closed = std::pin::pin!(async {
            while let Some(ended) = connections.join_next().await {
                report(ended);
            }
        });
        tokio::select! {
            () = &mut all_closed => return,
            () = orders.stop.cancelled() => {}
        }
        if timeout(STOP_WITHIN, all_closed).await.is_err() {
            tracing::warn!(address = %config.address, "connections cut off");
        }
    };
    tokio::select! {
        () = serving => {}
        () = keeping => {}
    }
}

async fn bind(config: &Listener, broker: &Broker) -> TcpListener {
    let (mut last_error, mut tried) = (None, Some(broker));
    let pulse = broker.0.roll.enter(format!("the listener at {}", config.address));
    let mut has_tried = || tried.take().inspect(|broker| broker.0.doors_tried.send_modify(|n| *n += 1));
    loop {
        match open(config.address) {
            Ok(listener) => {
                has_tried();
                let address = listener.local_addr().unwrap_or(config.address);
                let (tls, websocket) = (config.tls.is_some(), config.websocket);
                tracing::info!(%address, tls, websocket, "listening");
                return listener;
            }
            Err(error) if last_error == Some(error.kind()) => {}
            Err(error) => {
                last_error = Some(error.kind());
                report_taken(config.address, &error).await;
                has_tried();
            }
        }
        pulse.during(sleep(REBIND_AFTER)).await;
    }
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => {
            let socket = TcpSocket::new_v6()?;
            // The wildcard is for IPv4 as well, whatever the system's setting is.
            setsockopt(&socket, sockopt::Ipv6V6Only, &!address.ip().is_unspecified())?;
            socket
        }
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
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

/// What connections need of their listener.
struct Door<'a> {
    broker: Broker,
    config: &'a Listener,
    papers: watch::Receiver<Option<Papers>>,
    stop: &'a CancellationToken,
}

impl Door<'_> {
    async fn wait_for_papers(&mut self) {
        if self.config.tls.is_some() {
            // It ends only with this listener.
            let _ = self.papers.wait_for(Option::is_some).await;
        }
    }

    async fn accept(&self, listener: &TcpListener, connections: &mut JoinSet<()>) {
        let mut is_failing = false;
        let pulse = self.broker.0.roll.enter(format!("the listener at {}", self.config.address));
        loop {
            pulse.beat();
            tokio::select! {
                () = pulse.called() => {}
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => {
                        is_failing = false;
                        self.start(stream, peer, connections);
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
            }
        }
    }

    /// Starts a connection's task. One too many is closed at once: a client that knows is better off
    /// than one that waits.
    fn start(&self, stream: TcpStream, peer: SocketAddr, connections: &mut JoinSet<()>) {
        let end = CancellationToken::new();
        let remote = Remote { anonymous: self.config.anonymous, ..Remote::at(peer.ip()) };
        let origins = self.origins(&remote);
        let Ok(visit) = Visit::begin(&self.broker, remote, end.clone()) else { return };
        tune(&stream);
        let papers = self.papers.borrow().clone();
        let upgrade = self.config.websocket.then(|| Upgrade {
            origins,
            packet_bytes: usize::try_from(self.broker.limits().packet_bytes).unwrap_or(usize::MAX),
        });
        let (broker, stop) = (self.broker.clone(), self.stop.clone());
        connections.spawn(async move {
            tokio::select! {
                () = serve(broker, stream, visit, papers, upgrade, stop) => {}
                () = end.cancelled() => {}
            }
        });
    }

    /// The pages that may open a WebSocket from `remote`. Where it is enough to be on this machine, or
    /// to have a certificate in the browser, any page that is open there would be let in.
    fn origins(&self, remote: &Remote) -> Origins {
        if self.config.wants_certificates() {
            Origins::SameHost
        } else if remote.may_be_anonymous() {
            Origins::Loopback
        } else {
            Origins::Any
        }
    }
}

/// Without these a connection works all the same.
fn tune(stream: &TcpStream) {
    // Small packets must not wait for each other.
    let _ = stream.set_nodelay(true);
    let (idle, interval, count) = PROBE_S;
    let _ = setsockopt(stream, sockopt::TcpKeepIdle, &idle);
    let _ = setsockopt(stream, sockopt::TcpKeepInterval, &interval);
    let _ = setsockopt(stream, sockopt::TcpKeepCount, &count);
    let _ = setsockopt(stream, sockopt::KeepAlive, &true);
}

/// Serves one connection, from its first byte to its last.
async fn serve(
    broker: Broker,
    stream: TcpStream,
    mut visit: Visit,
    papers: Option<Papers>,
    upgrade: Option<Upgrade>,
    stop: CancellationToken,
) {
    if papers.is_none() && upgrade.is_none() {
        let (reader, writer) = stream.into_split();
        return connection::run(broker, reader, writer, visit, stop).await;
    }
    // Apart, so that connections without it need not carry its weight.
    let received = Box::pin(async {
        tokio::select! {
            received = timeout_at(
                visit.deadline,
                server::receive(stream, papers.as_ref(), upgrade.as_ref()),
            ) => Some(received),
            () = stop.cancelled() => None,
        }
    });
    match received.await {
        Some(Ok(Ok(Guest { carrier, certificate }))) => {
            visit.remote.certificate = certificate;
            let (reader, writer) = tokio::io::split(carrier);
            Box::pin(connection::run(broker, reader, writer, visit, stop)).await;
        }
        Some(Ok(Err(refused))) => visit.refused(Refusal::Handshake, &refused),
        Some(Err(_)) => visit.late(),
        None => {}
    }
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "connection ended badly");
    }
}
