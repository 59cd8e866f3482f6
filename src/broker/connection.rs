//! One client's connection: moves bytes between a socket and [`Client`], and watches the time.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::Broker;
use super::client::{Client, refuse};
use super::end::End;
use super::remote::Remote;
use crate::mqtt::codec::Codec;
use crate::mqtt::packet::{Connect, Packet, Reason, Version};

/// A client has this long to say CONNECT.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// A client that takes nothing for this long is given up.
const STALLED_AFTER: Duration = Duration::from_secs(20);

/// How long a closing connection may take to send its last words and see the other side close.
pub(super) const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// Bytes read at a time, at least.
const READ_BYTES: usize = 8 * 1024;

/// Bytes collected before they are written. While that many wait, nothing more is read.
const WRITE_BYTES: usize = 64 * 1024;

/// Larger buffers than this are not kept when they are empty.
const KEEP_BYTES: usize = 2 * WRITE_BYTES;

/// Far enough away to mean never.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Serves one client, from its first byte to its last.
pub(super) async fn run<R, W>(broker: Broker, reader: R, writer: W, remote: Remote, stop: CancellationToken)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut link = Link { reader, writer, input: BytesMut::new(), output: BytesMut::new() };
    let mut codec = Codec::server(usize::try_from(broker.limits().packet_bytes).unwrap_or(usize::MAX));
    let first = tokio::select! {
        first = timeout(CONNECT_WITHIN, link.read_connect(&mut codec)) => first,
        () = stop.cancelled() => return,
    };
    let connect = match first {
        Ok(Ok(connect)) => connect,
        Ok(Err(end)) => {
            tracing::debug!(reason = %end, "connection refused");
            refuse_unread(&mut codec, &end, &mut link.output);
            return link.close().await;
        }
        Err(_) => return tracing::debug!("no CONNECT came"),
    };
    let wake = Arc::new(Notify::new());
    let (client_id, version) = (Arc::clone(&connect.client_id), connect.version);
    let mut client = match Client::enter(&broker, codec, connect, Arc::clone(&wake), &mut link.output) {
        Ok(client) => client,
        Err(end) => {
            tracing::debug!(client = ?client_id, reason = %end, "client refused");
            return link.close().await;
        }
    };
    tracing::debug!(client = ?client_id, ?version, remote = %remote.address, "client connected");
    let end = link.serve(&broker, &mut client, &wake, &stop).await;
    tracing::debug!(client = ?client_id, reason = %end, "client disconnected");
    client.leave(&end, &mut link.output);
    if !matches!(end, End::Closed | End::Broken(_) | End::Stalled) {
        link.close().await;
    }
}

/// Over 3.1.1 only some refusals have a word of their own; anything else is answered by closing.
fn refuse_unread(codec: &mut Codec, end: &End, out: &mut BytesMut) {
    let End::Codec(error) = end else { return };
    let reason = error.reason();
    match codec.version() {
        Some(Version::V5) => refuse(codec, reason, out),
        Some(Version::V3) if matches!(reason, Reason::UNSUPPORTED_VERSION | Reason::CLIENT_ID) => {
            refuse(codec, reason, out);
        }
        Some(Version::V3) | None => {}
    }
}

struct Link<R, W> {
    reader: R,
    writer: W,
    input: BytesMut,
    output: BytesMut,
}

impl<R, W> Link<R, W>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    /// The CONNECT. What the client sent after it stays unread until the CONNACK is on its way.
    async fn read_connect(&mut self, codec: &mut Codec) -> Result<Connect, End> {
        loop {
            match codec.decode(&mut self.input)? {
                Some(Packet::Connect(connect)) => return Ok(*connect),
                Some(_) => return Err(End::Closed), // The codec lets nothing else come first.
                None => {}
            }
            self.input.reserve(READ_BYTES);
            if self.reader.read_buf(&mut self.input).await? == 0 {
                return Err(End::Closed);
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
            let limit = clock.next_limit(reads, !self.output.is_empty());
            let deadline = limit.as_ref().map_or_else(|| Instant::now() + NEVER, |limit| limit.at);
            // A deadline that moved further away is looked at again when the timer fires.
            if deadline < timer.deadline() || timer.is_elapsed() {
                timer.as_mut().reset(deadline);
            }
            let ack = poll_fn(|cx| broker.lock().poll_ack(place, cx));
            let result = tokio::select! {
                read = self.reader.read_buf(&mut self.input), if reads => match read {
                    Ok(0) => Err(End::Closed),
                    Ok(_) => Ok(()),
                    Err(error) => Err(End::Broken(error)),
                },
                wrote = self.writer.write_buf(&mut self.output), if !self.output.is_empty() => match wrote {
                    Ok(0) => Err(End::Closed),
                    Ok(_) => { clock.moved = Instant::now(); Ok(()) }
                    Err(error) => Err(End::Broken(error)),
                },
                next = ack => match next {
                    Ok(next) => client.acknowledge(next, &mut self.output),
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
        if self.output.is_empty() {
            clock.moved = now;
        }
        let mut took_any = false;
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
        shrink(&mut self.output);
        if reads {
            shrink(&mut self.input);
            self.input.reserve(READ_BYTES);
        } else {
            // It is not the client who is silent.
            clock.heard = now;
        }
        Ok((reads, took_any))
    }

    /// Sends what is left, and waits until the other side has closed as well: closing with unread
    /// input would reset the connection and take our last words with it.
    async fn close(mut self) {
        let last_words = async {
            self.writer.write_all_buf(&mut self.output).await?;
            self.writer.shutdown().await?;
            loop {
                self.input.clear();
                self.input.reserve(READ_BYTES);
                if self.reader.read_buf(&mut self.input).await? == 0 {
                    return std::io::Result::Ok(());
                }
            }
        };
        // However this goes, the socket is closed after it.
        let _ = timeout(CLOSE_WITHIN, last_words).await;
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

/// Gives back the memory of a buffer that one large packet has blown up.
fn shrink(buffer: &mut BytesMut) {
    if buffer.is_empty() && buffer.try_reclaim(KEEP_BYTES) {
        *buffer = BytesMut::new();
    }
}
