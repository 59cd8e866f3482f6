//! The connection of a bridge: reading its password, and moving the session's bytes.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, SystemTime};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWrite as _, AsyncWriteExt};
use tokio::time::{Instant, sleep_until};

use crate::config::Password;
use crate::mqtt::codec::CodecError;
use crate::mqtt::packet::Connect;
use crate::transport::{self, Blocking, Step, Stream, Token, TokenError};

use super::flights::Outcome;
use super::lost::Lost;
use super::session::Session;

/// The password has this long to be read.
const PASSWORD_WITHIN: Duration = Duration::from_secs(10);
/// Bytes read at a time.
const READ_BYTES: usize = 4096;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The password cannot be read.
    #[error(transparent)]
    Password(#[from] TokenError),
    /// Something in our CONNECT is too long.
    #[error("client id, user name or password cannot be sent: {0}")]
    Connect(CodecError),
    /// There is no way to the broker.
    #[error(transparent)]
    Transport(#[from] transport::Error),
    /// The transport ended a connection.
    #[error("the connection broke: {0}")]
    Broken(io::Error),
    /// What answers is no broker.
    #[error("{0}")]
    Mistaken(&'static str),
    /// The protocol ended a connection; with what may be the reason.
    #[error("{0}{hint}", hint = Hint(*.1))]
    Lost(Lost, Option<&'static str>),
}

/// What may be the reason, if anything.
struct Hint(Option<&'static str>);

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |hint| write!(f, "; {hint}"))
    }
}

impl From<Lost> for Failure {
    fn from(lost: Lost) -> Self {
        Self::Lost(lost, None)
    }
}

/// Reads the password of a bridge, if it has one, for each connection anew.
#[derive(Debug)]
pub(super) struct Passwords {
    password: Option<Password>,
    reading: Blocking<Result<Token, TokenError>>,
}

impl Passwords {
    pub(super) fn new(password: Option<Password>) -> Self {
        Self { password, reading: Blocking::default() }
    }

    /// The password as text, and when a connection that begins with it is to be renewed.
    pub(super) async fn read(&mut self) -> Result<(Option<String>, Option<Instant>), TokenError> {
        let Some(password) = self.password.clone() else { return Ok((None, None)) };
        let begin = Instant::now();
        let read = self.reading.run(PASSWORD_WITHIN, move || Token::read(&password, SystemTime::now())).await;
        let token = read.unwrap_or(Err(TokenError::Silent))?;
        Ok((Some(token.text), token.renew_after.map(|after| begin + after)))
    }
}

/// Logs certificates that end soon: afterwards the bridge `bridge` cannot connect any more.
pub(super) fn warn_of_end(bridge: &str, step: &Step) {
    let Step::Secured(secured) = step else { return };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let ours = secured.own.iter().map(|own| ("our own", own));
    let theirs = secured.chain.iter().map(|one| ("the broker's", one));
    for (whose, facts) in ours.chain(theirs).filter(|(_, facts)| facts.ends_soon(now)) {
        let (subject, days) = (&facts.subject, facts.days_left(now));
        tracing::warn!(bridge, whose, %subject, days, "a certificate ends soon; it must be renewed");
    }
}

/// Waits until `at`; for ever where there is no such time.
pub(super) async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// A connection and its session.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) session: Session,
    pub(super) address: SocketAddr,
    /// When the token ends with which it began, and a new connection is due.
    pub(super) renew_at: Option<Instant>,
    stream: Stream,
    input: BytesMut,
    /// The stream takes bytes. Once it does not, what it still gives says why.
    writable: bool,
    /// So many bytes of the session's output are in the stream, but not yet all in the socket: TLS
    /// and WebSocket take them at once and wrap them.
    taken: usize,
}

/// What happened first.
enum Moved {
    Sent(io::Result<()>),
    Read(io::Result<usize>),
}

impl Connection {
    /// Says CONNECT on `stream` and waits until the broker accepts. It is to be renewed at `renew_at`.
    pub(super) async fn open(
        stream: Stream,
        hello: Connect,
        renew_at: Option<Instant>,
    ) -> Result<Self, Failure> {
        let address = stream.peer();
        let session = Session::new(hello, Instant::now().into_std()).map_err(Failure::Connect)?;
        let input = BytesMut::new();
        let mut connection = Self { session, address, renew_at, stream, input, writable: true, taken: 0 };
        while !connection.session.is_open() {
            connection.turn(&mut Vec::new()).await?;
        }
        Ok(connection)
    }

    /// Writes what the socket takes at once, which mostly is everything: that spares a turn for each
    /// message. The rest is for [`Connection::turn`].
    pub(super) fn flush(&mut self, outcomes: &mut Vec<Outcome>) {
        let mut nobody = Context::from_waker(Waker::noop());
        while self.has_output() {
            match self.send(&mut nobody) {
                Poll::Ready(sent) => self.sent(&sent, outcomes),
                Poll::Pending => return,
            }
        }
    }

    fn has_output(&mut self) -> bool {
        self.writable && !self.session.output().is_empty()
    }

    /// Hands the stream bytes, and drives it until the socket has them; then they leave the output.
    fn send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let output = self.session.output();
        if self.taken == 0 {
            self.taken = ready!(Pin::new(&mut self.stream).poll_write(cx, output))?;
            if self.taken == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
        }
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        output.advance(std::mem::take(&mut self.taken));
        Poll::Ready(Ok(()))
    }

    fn sent(&mut self, sent: &io::Result<()>, outcomes: &mut Vec<Outcome>) {
        match sent {
            Ok(()) => self.session.wrote(Instant::now().into_std(), outcomes),
            Err(_) => self.writable = false,
        }
    }

    /// Waits until the socket gave or took bytes or something was due, and lets the session deal
    /// with it. Reading goes on while writing waits, so that two full buffers cannot lock each
    /// other up. Cancel safe.
    pub(super) async fn turn(&mut self, outcomes: &mut Vec<Outcome>) -> Result<(), Failure> {
        let deadline = self.session.deadline();
        let moved = tokio::select! {
            moved = std::future::poll_fn(|cx| self.poll_move(cx)) => moved,
            () = sleep_until(deadline.into()) => return Ok(self.session.on_time(Instant::now().into_std())?),
        };
        match moved {
            Moved::Sent(sent) => self.sent(&sent, outcomes),
            Moved::Read(read) => self.took(read, outcomes)?,
        }
        Ok(())
    }

    /// One of both, each first in turn: neither side may keep the other from moving.
    fn poll_move(&mut self, cx: &mut Context<'_>) -> Poll<Moved> {
        let send_first = fastrand::bool();
        for sends in [send_first, !send_first] {
            if !sends {
                self.input.reserve(READ_BYTES);
                if let Poll::Ready(read) = pin!(self.stream.read_buf(&mut self.input)).poll(cx) {
                    return Poll::Ready(Moved::Read(read));
                }
            } else if self.has_output()
                && let Poll::Ready(sent) = self.send(cx)
            {
                return Poll::Ready(Moved::Sent(sent));
            }
        }
        Poll::Pending
    }

    fn took(&mut self, read: io::Result<usize>, outcomes: &mut Vec<Outcome>) -> Result<(), Failure> {
        /// As some systems end a connection, and as TLS calls an end without a goodbye.
        const ENDS: [io::ErrorKind; 2] = [io::ErrorKind::ConnectionReset, io::ErrorKind::UnexpectedEof];
        match read {
            Ok(0) => return Err(self.closed()),
            Ok(_) => {}
            Err(error) if ENDS.contains(&error.kind()) => return Err(self.closed()),
            Err(error) => return Err(Failure::Broken(error)),
        }
        let mistaken = if self.session.is_open() { None } else { self.stream.mistaken(&self.input) };
        if let Some(words) = mistaken {
            return Err(Failure::Mistaken(words));
        }
        Ok(self.session.receive(&mut self.input, Instant::now().into_std(), outcomes)?)
    }

    fn closed(&self) -> Failure {
        if self.session.is_open() {
            Lost::Closed.into()
        } else {
            Failure::Lost(Lost::ClosedUnanswered, self.stream.closed_early())
        }
    }

    /// Sends what is left, and waits until the other side has closed: an early close could throw
    /// away what it has not read yet.
    pub(super) async fn close(&mut self, outcomes: &mut Vec<Outcome>) -> Result<(), Failure> {
        while self.has_output() {
            self.turn(outcomes).await?;
        }
        self.stream.shutdown().await.map_err(Failure::Broken)?;
        loop {
            self.turn(outcomes).await?;
        }
    }
}
