//! The TCP side of a bridge: finding the broker, and moving the session's bytes.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use crate::config::SecretError;
use crate::mqtt::codec::CodecError;
use crate::mqtt::packet::Connect;

use super::flights::Outcome;
use super::lost::Lost;
use super::session::Session;

/// The name server has this long to answer.
const LOOKUP_WITHIN: Duration = Duration::from_secs(5);
/// Each address of the broker has this long to answer.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Addresses tried per attempt.
const ADDRESSES_MAX: usize = 8;
/// What the kernel may hold for us to send, in bytes; it takes twice that. Enough for 1 MB/s at a
/// round trip of 250 ms. The kernel would grow it to megabytes on a slow link, and what is in
/// there shows no progress.
const SEND_BYTES: u32 = 128 * 1024;
/// Bytes read at a time.
const READ_BYTES: usize = 4096;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The password cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Something in our CONNECT is too long.
    #[error("client id, user name or password cannot be sent: {0}")]
    Connect(CodecError),
    /// The name server did not answer.
    #[error("no answer about the address of {host} within {LOOKUP_WITHIN:?}")]
    LookupSilent {
        /// The name.
        host: Arc<str>,
    },
    /// The name server said no.
    #[error("the address of {host} cannot be found: {error}")]
    Lookup {
        /// The name.
        host: Arc<str>,
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
    /// The transport ended a connection.
    #[error("the connection broke: {0}")]
    Broken(io::Error),
    /// The protocol ended a connection.
    #[error(transparent)]
    Lost(#[from] Lost),
}

/// Opens TCP connections to one broker.
#[derive(Debug)]
pub(super) struct Dialer {
    host: Arc<str>,
    port: u16,
    /// A look-up that nobody waited for to the end. There is one at a time: in front of a dead
    /// name server each attempt would leave a thread behind.
    lookup: Option<JoinHandle<io::Result<Vec<SocketAddr>>>>,
    /// What worked last is tried first.
    last: Option<SocketAddr>,
}

impl Dialer {
    pub(super) fn new(host: &str, port: u16) -> Self {
        Self { host: host.into(), port, lookup: None, last: None }
    }

    /// Looks the name up and tries its addresses in turn.
    pub(super) async fn dial(&mut self) -> Result<TcpStream, Failure> {
        let mut addresses = self.addresses().await?;
        addresses.sort_by_key(|address| Some(*address) != self.last);
        let mut failure = None;
        for address in addresses.into_iter().take(ADDRESSES_MAX) {
            match connect(address).await {
                Ok(stream) => {
                    self.last = Some(address);
                    return Ok(stream);
                }
                Err(error) => failure = Some(Failure::Unreachable { address, error }),
            }
        }
        Err(failure.unwrap_or_else(|| self.not_found(io::Error::other("it has none"))))
    }

    async fn addresses(&mut self) -> Result<Vec<SocketAddr>, Failure> {
        if let Ok(ip) = self.host.parse::<IpAddr>() {
            return Ok(vec![(ip, self.port).into()]);
        }
        let (host, port) = (Arc::clone(&self.host), self.port);
        let lookup = self.lookup.get_or_insert_with(|| {
            tokio::task::spawn_blocking(move || Ok((&*host, port).to_socket_addrs()?.collect()))
        });
        let Ok(found) = timeout(LOOKUP_WITHIN, lookup).await else {
            return Err(Failure::LookupSilent { host: Arc::clone(&self.host) });
        };
        self.lookup = None;
        found.unwrap_or_else(|error| Err(error.into())).map_err(|error| self.not_found(error))
    }

    fn not_found(&self, error: io::Error) -> Failure {
        Failure::Lookup { host: Arc::clone(&self.host), error }
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

/// A TCP connection and its session.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) session: Session,
    pub(super) address: SocketAddr,
    stream: TcpStream,
    input: BytesMut,
    /// The socket takes bytes. Once it does not, what it still gives says why.
    writable: bool,
}

impl Connection {
    /// Says CONNECT on `stream` and waits until the broker accepts.
    pub(super) async fn open(stream: TcpStream, hello: Connect) -> Result<Self, Failure> {
        let address = stream.peer_addr().map_err(Failure::Broken)?;
        let session = Session::new(hello, Instant::now().into_std()).map_err(Failure::Connect)?;
        let mut connection = Self { session, address, stream, input: BytesMut::new(), writable: true };
        while !connection.session.is_open() {
            connection.turn(&mut Vec::new()).await?;
        }
        Ok(connection)
    }

    /// Takes what came right behind CONNACK, for the session that has been resumed meanwhile.
    pub(super) fn take_rest(&mut self, outcomes: &mut Vec<Outcome>) -> Result<(), Failure> {
        Ok(self.session.receive(&mut self.input, Instant::now().into_std(), outcomes)?)
    }

    /// Writes what the socket takes at once, which mostly is everything: that spares a turn for each
    /// message. The rest is for [`Connection::turn`].
    pub(super) fn flush(&mut self, outcomes: &mut Vec<Outcome>) {
        let output = self.session.output();
        if !self.writable || output.is_empty() {
            return;
        }
        match self.stream.try_write(output) {
            Ok(count) => {
                output.advance(count);
                self.session.wrote(Instant::now().into_std(), outcomes);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.writable = false,
        }
    }

    /// Waits until the socket gave or took bytes or something was due, and lets the session deal
    /// with it. Reading goes on while writing waits, so that two full buffers cannot lock each
    /// other up. Cancel safe.
    pub(super) async fn turn(&mut self, outcomes: &mut Vec<Outcome>) -> Result<(), Failure> {
        let deadline = self.session.deadline();
        let has_output = self.writable && !self.session.output().is_empty();
        self.input.reserve(READ_BYTES);
        let (mut reader, mut writer) = self.stream.split();
        tokio::select! {
            written = writer.write_buf(self.session.output()), if has_output => {
                match written {
                    Ok(_) => self.session.wrote(Instant::now().into_std(), outcomes),
                    Err(_) => self.writable = false,
                }
                Ok(())
            }
            read = reader.read_buf(&mut self.input) => match read {
                Ok(0) => Err(self.closed()),
                Ok(_) => Ok(self.session.receive(&mut self.input, Instant::now().into_std(), outcomes)?),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Err(self.closed()),
                Err(error) => Err(Failure::Broken(error)),
            },
            () = sleep_until(deadline.into()) => Ok(self.session.on_time(Instant::now().into_std())?),
        }
    }

    fn closed(&self) -> Failure {
        if self.session.is_open() { Lost::Closed.into() } else { Lost::ClosedUnanswered.into() }
    }

    /// Sends what is left, and waits until the other side has closed: an early close could throw
    /// away what it has not read yet.
    pub(super) async fn close(&mut self, outcomes: &mut Vec<Outcome>) -> Result<(), Failure> {
        while self.writable && !self.session.output().is_empty() {
            self.turn(outcomes).await?;
        }
        self.stream.shutdown().await.map_err(Failure::Broken)?;
        loop {
            self.turn(outcomes).await?;
        }
    }
}
