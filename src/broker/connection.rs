//! One client's connection: moves bytes between a socket and [`Client`], and watches the time.

mod held;

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::Broker;
use super::access::Denial;
use super::client::{Client, Newcomer, refuse};
use super::door::{Refusal, Visit};
use super::end::End;
use super::login::Login;
use crate::mqtt::codec::Codec;
use crate::mqtt::packet::{Connect, Packet, Reason, Version};
use held::Held;

/// A client that takes nothing for this long is given up.
const STALLED_AFTER: Duration = Duration::from_secs(20);

/// How long a closing connection may take to send its last words and see the other side close.
pub(super) const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// Bytes read at a time, at most.
const READ_BYTES: usize = 16 * 1024;

/// Bytes collected before they are written. While that many wait, nothing more is read.
const WRITE_BYTES: usize = 64 * 1024;

/// A buffer with so much room to spare is made anew for the little that it holds.
const SPARE_BYTES: usize = 2 * WRITE_BYTES;

/// Far enough away to mean never.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Serves one client, from its first byte to its last.
pub(super) async fn run<R, W>(broker: Broker, reader: R, writer: W, mut visit: Visit, stop: CancellationToken)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let wake = Arc::new(Notify::new());
    let held = Held::new(broker.clone(), Arc::clone(&wake));
    let (input, output) = (BytesMut::new(), BytesMut::new());
    let (input_size, output_size) = (0, 0);
    let mut link = Link {
        reader,
        writer,
        input,
        output,
        input_size,
        output_size,
        is_flushed: true,
        is_behind: false,
        held,
    };
    let mut codec = Codec::server(usize::try_from(broker.limits().packet_bytes).unwrap_or(usize::MAX));
    let first = tokio::select! {
        first = timeout_at(visit.deadline, link.read_connect(&mut codec, &wake)) => first,
        () = stop.cancelled() => return,
    };
    let connect = match first {
        Ok(Ok(connect)) => connect,
        Ok(Err(end)) => {
            match end {
                End::Closed | End::Broken(_) => tracing::debug!(reason = %end, "no CONNECT came"),
                _ => visit.refused(Refusal::Connect, &end),
            }
            refuse_unread(&mut codec, &end, &mut link.output);
            return link.close().await;
        }
        Err(_) => return visit.late(),
    };
    let newcomer = Newcomer::new(connect);
    // Nothing more is decoded until the CONNACK is on its way.
    let admitted = tokio::select! {
        admitted = admit(&broker, &newcomer, &visit) => admitted,
        () = stop.cancelled() => return,
    };
    let login = match admitted {
        Ok(login) => login,
        Err(end) => {
            refuse(&mut codec, &end, &mut link.output);
            return link.close().await;
        }
    };
    let (client_id, version) = (Arc::clone(&newcomer.connect.client_id), newcomer.connect.version);
    let user = login.identity.user().cloned();
    let mut client =
        match Client::enter(&broker, codec, &newcomer, login, Arc::clone(&wake), &mut link.output) {
            Ok(client) => client,
            Err(end) => {
                tracing::debug!(client = ?client_id, ?user, reason = %end, "client refused");
                if end.reason() == Some(Reason::CLIENT_ID) {
                    broker.0.logins.refuse(Denial::OthersSession, &newcomer.connect, &visit.remote);
                }
                visit.part();
                return link.close().await;
            }
        };
    tracing::debug!(client = ?client_id, ?user, ?version, remote = %visit.remote.address, "client connected");
    let end = link.serve(&broker, &mut client, &wake, &stop).await;
    tracing::debug!(client = ?client_id, reason = %end, "client disconnected");
    client.leave(&end, &mut link.output);
    visit.part();
    // Who closed may have closed one direction only, and still wait for its answers.
    if !matches!(end, End::Broken(_) | End::Stalled) {
        link.close().await;
    }
}

/// Finds out who a client is, and gives it a place among the others.
async fn admit(broker: &Broker, newcomer: &Newcomer, visit: &Visit) -> Result<Login, End> {
    // Whoever comes early waits for the sessions to be read.
    broker.ready().await;
    let login = broker.0.logins.login(&newcomer.connect, &visit.remote, visit.deadline).await?;
    visit.settle(&newcomer.connect.client_id)?;
    Ok(login)
}

/// Over 3.1.1 only some refusals have a word of their own; anything else is answered by closing.
fn refuse_unread(codec: &mut Codec, end: &End, out: &mut BytesMut) {
    let End::Codec(error) = end else { return };
    match codec.version() {
        Some(Version::V5) => refuse(codec, end, out),
        Some(Version::V3) if matches!(error.reason(), Reason::UNSUPPORTED_VERSION | Reason::CLIENT_ID) => {
            refuse(codec, end, out);
        }
        Some(Version::V3) | None => {}
    }
}

struct Link<R, W> {
    reader: R,
    writer: W,
    input: BytesMut,
    output: BytesMut,
    /// What the input holds in memory, in bytes. What was taken out at the front is in it.
    input_size: usize,
    /// The same of the output.
    output_size: usize,
    /// Whether what carries the bytes has handed on all of them.
    is_flushed: bool,
    /// Whether there was something to write when it was looked at last.
    is_behind: bool,
    held: Held,
}

impl<R, W> Link<R, W>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    /// The CONNECT. What the client sent after it stays unread until the CONNACK is on its way.
    async fn read_connect(&mut self, codec: &mut Codec, wake: &Notify) -> Result<Connect, End> {
        loop {
            if let Some(why) = foreign(&self.input) {
                return Err(End::Refused { reason: Reason::MALFORMED, why });
            }
            match codec.decode(&mut self.input)? {
                Some(Packet::Connect(connect)) => return Ok(*connect),
                Some(_) => return Err(End::Closed), // The codec lets nothing else come first.
                None => {}
            }
            self.held.hold(self.input.capacity(), false)?;
            let Self { reader, input, .. } = self;
            tokio::select! {
                read = poll_fn(|cx| poll_receive(Pin::new(reader), input, cx)) => if read? == 0 {
                    return Err(End::Closed);
                },
                () = wake.notified() => {}
            }
        }
    }

    /// Serves a client whose CONNACK is in the output, until the connection has to end.
    async fn serve(
        &mut self,
        broker: &Broker,
        client: &mut Client,
        wake: &Notify,
        stop: &CancellationToken,
    ) -> End {
        let place = client.place();
        let mut clock = Clock { heard: Instant::now(), moved: Instant::now(), timeout: client.keep_alive() };
        let mut timer = pin!(sleep_until(clock.heard + NEVER));
        loop {
            let (reads, took_any) = match self.step(client, &mut clock) {
                Ok(step) => step,
                Err(end) => return end,
            };
            if took_any {
                // A client that never pauses must leave the others, its subscribers first, a turn.
                tokio::task::yield_now().await;
            }
            let writes = !self.output.is_empty() || !self.is_flushed;
            let limit = clock.next_limit(reads, writes);
            let deadline = limit.as_ref().map_or_else(|| Instant::now() + NEVER, |limit| limit.at);
            // A deadline that moved further away is looked at again when the timer fires.
            if deadline < timer.deadline() || timer.is_elapsed() {
                timer.as_mut().reset(deadline);
            }
            let ack = poll_fn(|cx| broker.lock().poll_ack(place, cx));
            let Self { reader, writer, input, output, is_flushed, .. } = self;
            let result = tokio::select! {
                read = poll_fn(|cx| poll_receive(Pin::new(reader), input, cx)), if reads => match read {
                    Ok(0) => Err(End::Closed),
                    Ok(_) => Ok(()),
                    Err(error) => Err(End::Broken(error)),
                },
                wrote = poll_fn(|cx| poll_send(Pin::new(writer), output, is_flushed, cx)), if writes => match wrote {
                    Ok(0) => Err(End::Closed),
                    Ok(_) => { clock.moved = Instant::now(); Ok(()) }
                    Err(error) => Err(End::Broken(error)),
                },
                next = ack => match next {
                    Ok(next) => client.acknowledge(next, output),
                    Err(taken_over) => Err(taken_over.into()),
                },
                () = wake.notified() => Ok(()),
                () = timer.as_mut() => match limit {
                    Some(limit) if limit.at <= Instant::now() => Err(limit.end),
                    _ => Ok(()),
                },
                () = stop.cancelled() => Err(End::STOPPING),
            };
            if let Err(end) = result {
                return end;
            }
        }
    }

    /// Takes the packets that have come, as far as there is room for what they cause, and collects
    /// what is to be sent. Tells whether to read on, and whether packets had come.
    fn step(&mut self, client: &mut Client, clock: &mut Clock) -> Result<(bool, bool), End> {
        let now = Instant::now();
        if self.output.is_empty() && self.is_flushed {
            clock.moved = now;
        }
        client.review()?;
        let mut took_any = false;
        // To take what it is sent is no excuse for half a packet.
        let caught_up = self.is_behind && self.output.is_empty() && self.input.len() < READ_BYTES;
        let reads = loop {
            if self.output.len() >= WRITE_BYTES || client.must_wait()? {
                break false;
            }
            let Some(packet) = client.decode(&mut self.input)? else { break true };
            clock.heard = now;
            took_any = true;
            client.take(packet, &mut self.output)?;
        };
        client.acknowledge_ready(&mut self.output)?;
        // Messages have come since: to an earlier moment, one would seem to have more time left than
        // it was given.
        client.fill(&mut self.output, WRITE_BYTES, Instant::now().into_std())?;
        shrink(&mut self.input, &mut self.input_size);
        shrink(&mut self.output, &mut self.output_size);
        let buffers = self.input_size + self.output_size;
        self.held.hold(buffers + client.aliases_bytes(), took_any || caught_up)?;
        self.is_behind = !self.output.is_empty();
        if !reads {
            // It is not the client who is silent.
            clock.heard = now;
        }
        Ok((reads, took_any))
    }

    /// Sends what is left, and waits until the other side has closed as well: closing with unread
    /// input would reset the connection and take our last words with it.
    async fn close(mut self) {
        self.input = BytesMut::new();
        if self.held.hold(self.output_size, false).is_err() {
            // Others need the memory of what it did not read.
            return;
        }
        let last_words = async {
            self.writer.write_all_buf(&mut self.output).await?;
            self.writer.shutdown().await?;
            loop {
                self.input.clear();
                let Self { reader, input, .. } = &mut self;
                if poll_fn(|cx| poll_receive(Pin::new(reader), input, cx)).await? == 0 {
                    return io::Result::Ok(());
                }
            }
        };
        // However this goes, the socket is closed after it.
        let _ = timeout(CLOSE_WITHIN, last_words).await;
    }
}

/// Hands bytes of `output` on, and sees to it that what carries them keeps none back: TLS and
/// WebSockets may. Ready when something has moved; with 0 when nothing can any more.
fn poll_send<W: AsyncWrite>(
    mut writer: Pin<&mut W>,
    output: &mut BytesMut,
    is_flushed: &mut bool,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut moved = 0;
    if !output.is_empty() {
        moved = ready!(writer.as_mut().poll_write(cx, output))?;
        output.advance(moved);
        *is_flushed = false;
        if moved == 0 || !output.is_empty() {
            return Poll::Ready(Ok(moved));
        }
    }
    match writer.poll_flush(cx)? {
        Poll::Ready(()) => {
            *is_flushed = true;
            Poll::Ready(Ok(moved.max(1)))
        }
        Poll::Pending if moved > 0 => Poll::Ready(Ok(moved)),
        Poll::Pending => Poll::Pending,
    }
}

/// What the other side speaks, where it is certainly not MQTT.
fn foreign(input: &[u8]) -> Option<&'static str> {
    match input {
        // A handshake of TLS, of any version (RFC 8446, 5.1).
        [0x16, 0x03, ..] => Some("the client speaks TLS, and this listener does not"),
        [b'G', b'E', b'T', b' ', ..] => Some("the client speaks HTTP, and this listener is no WebSocket"),
        _ => None,
    }
}

/// When a connection has been silent or stuck for too long.
struct Clock {
    /// When the client's last packet came.
    heard: Instant,
    /// When the last byte was written, or when there began to be something to write.
    moved: Instant,
    /// How long the client may be silent.
    timeout: Option<Duration>,
}

/// A moment at which the connection has to end.
struct Limit {
    at: Instant,
    end: End,
}

impl Clock {
    fn next_limit(&self, reads: bool, writes: bool) -> Option<Limit> {
        let silent = self.timeout.filter(|_| reads);
        let silent = silent.map(|timeout| Limit { at: self.heard + timeout, end: End::KEEP_ALIVE });
        let stalled = writes.then(|| Limit { at: self.moved + STALLED_AFTER, end: End::Stalled });
        silent.into_iter().chain(stalled).min_by_key(|limit| limit.at)
    }
}

/// Reads what there is, without keeping memory for what may never come: most connections are idle.
fn poll_receive<R: AsyncRead>(
    reader: Pin<&mut R>,
    input: &mut BytesMut,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut space = [const { MaybeUninit::uninit() }; READ_BYTES];
    let mut space = ReadBuf::uninit(&mut space);
    ready!(reader.poll_read(cx, &mut space))?;
    input.extend_from_slice(space.filled());
    Poll::Ready(Ok(space.filled().len()))
}

/// Gives back the memory of a buffer that is empty, or that one large packet has blown up; brings
/// `size`, what it holds, up to date.
fn shrink(buffer: &mut BytesMut, size: &mut usize) {
    if buffer.is_empty() {
        *buffer = BytesMut::new();
        *size = 0;
    } else if buffer.len() < READ_BYTES && buffer.try_reclaim(SPARE_BYTES) {
        *buffer = BytesMut::from(&buffer[..]);
        *size = 0;
    }
    *size = buffer.capacity().max(*size);
}
