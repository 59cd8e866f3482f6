//! The way to a broker: name, TCP, proxy, TLS and WebSocket, up to a stream of bytes.
//!
//! ```text
//! files ──┐
//! host ───┴─> addresses ─> TCP ─> [proxy CONNECT] ─> [TLS] ─> [WebSocket] ─> Stream
//! ```
//! Each step has a limit in time and an error of its own that says what to do. What comes from
//! files is read anew for each connection, so that a renewed certificate or password is taken
//! without a restart; whatever may block does so in a thread of its own.
//!
//! [`server`] is the other side: what a listener does before MQTT begins. [`ByteStream`] works on
//! either side of a WebSocket.

mod blocking;
mod certificate;
mod files;
mod proxy;
pub mod server;
mod stream;
mod tls;
mod token;
mod websocket;
mod words;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsStream;

pub use self::blocking::Blocking;
pub use self::certificate::Facts;
pub use self::files::FileError;
pub use self::proxy::ProxyError;
pub use self::stream::{Carrier, Socket, Stream};
use self::tls::Begin;
pub use self::tls::Secured;
pub use self::token::{Token, TokenError};
pub use self::websocket::{ByteStream, limits};
use crate::config::{Authority, Endpoint, Scheme, SecretError};

/// The files have this long to be read.
const FILES_WITHIN: Duration = Duration::from_secs(10);
/// The name server has this long to answer.
const LOOKUP_WITHIN: Duration = Duration::from_secs(5);
/// Each address of the broker has this long to answer.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// The proxy has this long to reach the broker.
const PROXY_WITHIN: Duration = Duration::from_secs(10);
/// The TLS handshake may take this long.
const TLS_WITHIN: Duration = Duration::from_secs(10);
/// The WebSocket handshake may take this long.
const UPGRADE_WITHIN: Duration = Duration::from_secs(10);
/// Addresses tried per attempt.
const ADDRESSES_MAX: usize = 8;
/// What the kernel may hold for us to send, in bytes; it takes twice that. Enough for 1 MB/s at a
/// round trip of 250 ms. The kernel would grow it to megabytes on a slow link, and what is in
/// there shows no progress.
const SEND_BYTES: u32 = 128 * 1024;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of `tls` is not as it should be.
    #[error(transparent)]
    File(#[from] FileError),
    /// The proxy's password cannot be read.
    #[error("proxy: {0}")]
    ProxySecret(SecretError),
    /// The files could not be read in time.
    #[error("the certificates could not be read within {FILES_WITHIN:?}; do they lie on a network drive?")]
    FilesSilent,
    /// The name server did not answer.
    #[error("no answer about the address of {host} within {LOOKUP_WITHIN:?}")]
    LookupSilent {
        /// The name.
        host: String,
    },
    /// The name server said no.
    #[error("the address of {host} cannot be found: {error}")]
    Lookup {
        /// The name.
        host: String,
        /// Why.
        error: io::Error,
    },
    /// The last of the addresses did not take the connection.
    #[error("{address} cannot be reached: {error}")]
    Unreachable {
        /// That address.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// The proxy does not let us through.
    #[error("the proxy {proxy}: {why}")]
    Proxy {
        /// Host and port.
        proxy: String,
        /// Why.
        why: ProxyError,
    },
    /// The proxy does not answer.
    #[error("the proxy {proxy} did not answer within {PROXY_WITHIN:?}")]
    ProxySilent {
        /// Host and port.
        proxy: String,
    },
    /// There is no encrypted link.
    #[error("TLS with {name}: {why}")]
    Tls {
        /// The name of the server.
        name: String,
        /// Why, and what to do.
        why: String,
    },
    /// The server does not go on with TLS.
    #[error("TLS with {name}: no answer within {TLS_WITHIN:?}; does the server speak TLS on this port?")]
    TlsSilent {
        /// The name of the server.
        name: String,
    },
    /// There is no WebSocket.
    #[error("WebSocket: {0}")]
    WebSocket(String),
    /// The server does not answer the request for a WebSocket.
    #[error("WebSocket: no answer within {UPGRADE_WITHIN:?}; does the server speak HTTP on this port?")]
    WebSocketSilent,
}

impl Error {
    /// The step that failed, in a word.
    #[must_use]
    pub fn step(&self) -> &'static str {
        match self {
            Self::File(_) | Self::ProxySecret(_) | Self::FilesSilent => "files",
            Self::LookupSilent { .. } | Self::Lookup { .. } => "name",
            Self::Unreachable { .. } => "tcp",
            Self::Proxy { .. } | Self::ProxySilent { .. } => "proxy",
            Self::Tls { .. } | Self::TlsSilent { .. } => "tls",
            Self::WebSocket(_) | Self::WebSocketSilent => "websocket",
        }
    }
}

/// A step on the way that went well.
#[derive(Clone, Debug)]
pub enum Step {
    /// The name has these addresses.
    Found(Vec<SocketAddr>),
    /// TCP to this one.
    Connected(SocketAddr),
    /// The proxy leads to the broker: its status line.
    Tunnelled(String),
    /// The link is encrypted.
    Secured(Box<Secured>),
    /// The server takes a WebSocket.
    Upgraded,
}

/// What is read from files for one connection.
struct Materials {
    tls: Option<Begin>,
    /// What the proxy is told.
    authorization: Option<String>,
}

/// The password for the proxy is never printed.
impl fmt::Debug for Materials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Materials").field("tls", &self.tls).finish_non_exhaustive()
    }
}

/// Opens connections to one broker.
#[derive(Debug)]
pub struct Dialer {
    endpoint: Endpoint,
    lookup: Blocking<io::Result<Vec<SocketAddr>>>,
    reading: Blocking<Result<Materials, Error>>,
    /// What worked last is tried first.
    last: Option<SocketAddr>,
}

/// Reads the files that a connection to `endpoint` needs, and says what is wrong with them. Blocks.
///
/// # Errors
/// One is missing, or not what it should be.
pub fn check_files(endpoint: &Endpoint) -> Result<(), Error> {
    Materials::read(endpoint).map(drop)
}

impl Materials {
    fn read(endpoint: &Endpoint) -> Result<Self, Error> {
        let tls = endpoint.url.scheme.is_secure().then(|| Begin::new(&endpoint.tls)).transpose()?;
        let proxy = endpoint.proxy.as_ref();
        let authorization = match proxy.and_then(|proxy| Some((proxy.username.as_ref()?, &proxy.password))) {
            Some((name, password)) => {
                let password = password.as_ref().map(crate::config::Secret::read).transpose();
                let password = password.map_err(Error::ProxySecret)?.unwrap_or_default();
                Some(proxy::authorization(name, &password))
            }
            None => None,
        };
        Ok(Self { tls, authorization })
    }
}

impl Dialer {
    /// For the broker at `endpoint`.
    #[must_use]
    pub fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, lookup: Blocking::default(), reading: Blocking::default(), last: None }
    }

    /// Goes all the way to the broker; tells `passed` of each step.
    ///
    /// # Errors
    /// A step failed, or took too long.
    pub async fn dial(&mut self, mut passed: impl FnMut(Step)) -> Result<Stream, Error> {
        let materials = self.materials().await?;
        let (mut stream, peer) = self.tcp(&mut passed).await?;
        let Endpoint { url, tls, proxy } = &self.endpoint;
        if let Some(proxy) = proxy {
            let name = proxy.authority().to_string();
            let target = Authority(&url.host, url.port);
            let asked = proxy::connect(&mut stream, target, materials.authorization.as_deref());
            let Ok(answer) = timeout(PROXY_WITHIN, asked).await else {
                return Err(Error::ProxySilent { proxy: name });
            };
            passed(Step::Tunnelled(answer.map_err(|why| Error::Proxy { proxy: name, why })?));
        }
        let (socket, words) = match materials.tls {
            None => (Socket::Plain(stream), None),
            Some(begin) => {
                let name = tls.server_name.as_ref().unwrap_or(&url.host).clone();
                let Ok(shaken) = timeout(TLS_WITHIN, Box::pin(begin.handshake(&name, stream))).await else {
                    return Err(Error::TlsSilent { name });
                };
                let (stream, secured, words) = shaken.map_err(|why| Error::Tls { name, why })?;
                passed(Step::Secured(Box::new(secured)));
                (Socket::Tls(Box::new(TlsStream::Client(stream))), Some(words))
            }
        };
        if matches!(url.scheme, Scheme::Mqtt | Scheme::Mqtts) {
            return Ok(Stream::bare(url.scheme, peer, socket, words));
        }
        let upgraded = timeout(UPGRADE_WITHIN, Box::pin(websocket::upgrade(url, socket))).await;
        let frames = upgraded.map_err(|_| Error::WebSocketSilent)?.map_err(Error::WebSocket)?;
        passed(Step::Upgraded);
        Ok(Stream::websocket(url.scheme, peer, frames, words))
    }

    async fn materials(&mut self) -> Result<Materials, Error> {
        if !self.endpoint.url.scheme.is_secure() && self.endpoint.proxy.is_none() {
            return Ok(Materials { tls: None, authorization: None });
        }
        let endpoint = self.endpoint.clone();
        let read = self.reading.run(FILES_WITHIN, move || Materials::read(&endpoint)).await;
        read.unwrap_or(Err(Error::FilesSilent))
    }

    /// Looks the name up and tries its addresses in turn.
    async fn tcp(&mut self, passed: &mut impl FnMut(Step)) -> Result<(TcpStream, SocketAddr), Error> {
        let mut addresses = self.addresses().await?;
        passed(Step::Found(addresses.clone()));
        addresses.sort_by_key(|address| Some(*address) != self.last);
        let mut failure = None;
        for address in addresses.into_iter().take(ADDRESSES_MAX) {
            match connect(address).await {
                Ok(stream) => {
                    self.last = Some(address);
                    passed(Step::Connected(address));
                    return Ok((stream, address));
                }
                Err(error) => failure = Some(Error::Unreachable { address, error }),
            }
        }
        Err(failure.unwrap_or_else(|| self.not_found("it has none")))
    }

    async fn addresses(&mut self) -> Result<Vec<SocketAddr>, Error> {
        let (host, port) = self.first_hop();
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![(ip, port).into()]);
        }
        let host = host.to_owned();
        let asked = host.clone();
        let lookup = move || Ok((&*asked, port).to_socket_addrs()?.collect());
        match self.lookup.run(LOOKUP_WITHIN, lookup).await {
            None => Err(Error::LookupSilent { host }),
            Some(found) => found.map_err(|error| Error::Lookup { host, error }),
        }
    }

    /// Where TCP leads: to the broker, or to the proxy, which looks the broker's name up itself.
    fn first_hop(&self) -> (&str, u16) {
        let Endpoint { url, proxy, .. } = &self.endpoint;
        proxy.as_ref().map_or((&url.host, url.port), |proxy| (&proxy.host, proxy.port))
    }

    fn not_found(&self, why: &'static str) -> Error {
        Error::Lookup { host: self.first_hop().0.to_owned(), error: io::Error::other(why) }
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_send_buffer_size(SEND_BYTES)?;
    let connected = timeout(CONNECT_WITHIN, socket.connect(address)).await;
    let stream = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
    // Live readings go out at once; what can be sent together is sent with one write anyway.
    stream.set_nodelay(true)?;
    Ok(stream)
}
