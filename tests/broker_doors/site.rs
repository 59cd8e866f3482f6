//! A broker in this process, and clients that say only as much as a test needs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serialgate::broker::{Broker, Limits, Listen, NoIntake};
use serialgate::config::{Listener, ServerTls};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Longest wait for anything that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// CONNECT of 3.1.1, with a client id that the broker makes up.
pub(crate) const CONNECT: &[u8] = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00";
pub(crate) const CONNACK: &[u8] = b"\x20\x02\x00\x00";
pub(crate) const PINGREQ: &[u8] = b"\xc0\x00";
pub(crate) const PINGRESP: &[u8] = b"\xd0\x00";

/// A broker that serves some listeners until it is dropped.
pub(crate) struct Site {
    pub(crate) broker: Broker,
    pub(crate) addresses: Vec<SocketAddr>,
    _stop: DropGuard,
}

/// How a listener is: TLS, and whether through a WebSocket.
pub(crate) type Kind = (Option<ServerTls>, bool);

impl Site {
    /// With a listener of each kind on loopback.
    pub(crate) async fn new(limits: Limits, kinds: &[Kind]) -> Self {
        let mut listeners = Vec::new();
        for (tls, websocket) in kinds {
            let bound = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = bound.local_addr().unwrap();
            let config = Listener { tls: tls.clone(), websocket: *websocket, ..Listener::plain(address) };
            listeners.push((address, Listen::on(bound, config)));
        }
        Self::with(limits, listeners)
    }

    pub(crate) fn with(limits: Limits, listeners: Vec<(SocketAddr, Listen)>) -> Self {
        let (addresses, listeners) = listeners.into_iter().unzip();
        let (broker, stop) = (Broker::new(limits, NoIntake), CancellationToken::new());
        let (served, token) = (broker.clone(), stop.clone());
        tokio::spawn(async move { served.serve(listeners, token).await });
        Self { broker, addresses, _stop: stop.drop_guard() }
    }

    /// Waits until the broker has refused so many connections.
    pub(crate) async fn refused(&self, count: u64) {
        self.until("refusals", |broker| broker.stats().refused >= count).await;
        assert_eq!(self.broker.stats().refused, count);
    }

    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Broker) -> bool) {
        let waiting = async {
            while !holds(&self.broker) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = timeout(PATIENCE, waiting).await;
        assert!(waited.is_ok(), "never {what}: {:?}", self.broker.stats());
    }
}

pub(crate) async fn tcp(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

/// TLS to the server `localhost` at `address`.
pub(crate) async fn tls(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::clone(config)).connect(name, tcp(address).await).await
}

/// Says CONNECT and PINGREQ, and hears the answers.
pub(crate) async fn greet<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    let heard = timeout(PATIENCE, exchange(stream, CONNECT, CONNACK.len())).await.unwrap();
    assert_eq!(heard.unwrap(), CONNACK);
    ping(stream).await;
}

pub(crate) async fn ping<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    let heard = timeout(PATIENCE, exchange(stream, PINGREQ, PINGRESP.len())).await.unwrap();
    assert_eq!(heard.unwrap(), PINGRESP);
}

pub(crate) async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    said: &[u8],
    count: usize,
) -> std::io::Result<Vec<u8>> {
    stream.write_all(said).await?;
    stream.flush().await?;
    let mut heard = vec![0; count];
    stream.read_exact(&mut heard).await?;
    Ok(heard)
}

/// What comes until the other side closes.
pub(crate) async fn rest<S: AsyncRead + Unpin>(stream: &mut S) -> Vec<u8> {
    let mut heard = Vec::new();
    // A reset is an end as well.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut heard)).await.expect("an end");
    heard
}

/// A WebSocket for MQTT on `stream`, from a page of `origin`.
pub(crate) async fn websocket<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    origin: Option<&str>,
) -> tungstenite::Result<WebSocketStream<S>> {
    let mut request = "ws://localhost/any/path?x=1".into_client_request().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", "mqttv3.1, mqtt".parse().unwrap());
    if let Some(origin) = origin {
        request.headers_mut().insert("Origin", origin.parse().unwrap());
    }
    let (frames, answer) = client_async(request, stream).await?;
    assert_eq!(answer.headers()["Sec-WebSocket-Protocol"], "mqtt");
    Ok(frames)
}

/// Says `said` in one binary frame, and hears `count` bytes in frames of any size.
pub(crate) async fn through<S: AsyncRead + AsyncWrite + Unpin>(
    frames: &mut WebSocketStream<S>,
    said: &[u8],
    count: usize,
) -> Vec<u8> {
    frames.send(Message::binary(said.to_vec())).await.unwrap();
    heard(frames, count).await
}

pub(crate) async fn heard<S: AsyncRead + AsyncWrite + Unpin>(
    frames: &mut WebSocketStream<S>,
    count: usize,
) -> Vec<u8> {
    let mut heard = Vec::new();
    while heard.len() < count {
        match timeout(PATIENCE, frames.next()).await.unwrap().unwrap().unwrap() {
            Message::Binary(bytes) => heard.extend_from_slice(&bytes),
            other => panic!("{other:?}"),
        }
    }
    heard
}
