//! One connection, whatever carries it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

use super::tls;
use super::websocket::ByteStream;
use super::words::Words;
use crate::config::Scheme;

/// Bytes that TLS takes at a time: one record (RFC 8446, 5.1). The next is taken when the socket
/// has all of it, so that on a slow link what was taken is what is gone.
const RECORD_BYTES: usize = 16 * 1024;

/// A connection to a broker that carries the bytes of MQTT.
#[derive(Debug)]
pub struct Stream {
    carrier: Carrier,
    scheme: Scheme,
    peer: SocketAddr,
    words: Option<Words>,
}

/// What carries the bytes of MQTT. Either side.
#[derive(Debug)]
pub enum Carrier {
    /// TCP or TLS.
    Bare(Socket),
    /// A WebSocket on it.
    WebSocket(Box<ByteStream<Socket>>),
}

/// The bytes below MQTT or its WebSocket.
#[derive(Debug)]
pub enum Socket {
    /// As they are.
    Plain(TcpStream),
    /// Encrypted.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    pub(super) fn bare(scheme: Scheme, peer: SocketAddr, socket: Socket, words: Option<Words>) -> Self {
        Self { carrier: Carrier::Bare(socket), scheme, peer, words }
    }

    pub(super) fn websocket(
        scheme: Scheme,
        peer: SocketAddr,
        frames: ByteStream<Socket>,
        words: Option<Words>,
    ) -> Self {
        Self { carrier: Carrier::WebSocket(Box::new(frames)), scheme, peer, words }
    }

    /// The address that we are connected to: that of the broker, or of the proxy in front of it.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// What the other side probably is, where its first bytes are not MQTT; in words, with what to
    /// write instead.
    #[must_use]
    pub fn mistaken(&self, first: &[u8]) -> Option<&'static str> {
        /// An alert, or a handshake, of any version of TLS (RFC 8446, 5.1).
        const TLS: [&[u8]; 2] = [&[0x15, 0x03], &[0x16, 0x03]];
        let http = first.starts_with(b"HTTP/");
        match self.scheme {
            Scheme::Mqtt if TLS.iter().any(|record| first.starts_with(record)) => {
                Some("the server speaks TLS on this port; write `mqtts://` in the url")
            }
            Scheme::Mqtt if http => Some("a web server answers on this port; write `ws://` in the url"),
            Scheme::Mqtts if http => Some("a web server answers on this port; write `wss://` in the url"),
            _ => None,
        }
    }

    /// Why the other side may have closed the connection before it said anything.
    #[must_use]
    pub fn closed_early(&self) -> Option<&'static str> {
        match &self.words {
            Some(words) => words.closed(),
            None if self.scheme == Scheme::Mqtt => Some(
                "if it speaks TLS or WebSocket on this port, write `mqtts://`, `ws://` or `wss://` in the url",
            ),
            None => None,
        }
    }

    /// `error` in words, where it comes from TLS.
    fn told(&self, error: io::Error) -> io::Error {
        match (&self.words, tls::inner(&error)) {
            (Some(words), Some(inner)) => io::Error::new(error.kind(), words.of(inner)),
            _ => error,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.carrier).poll_read(cx, buffer);
        read.map_err(|error| self.told(error))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.carrier).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.carrier).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.carrier).poll_shutdown(cx)
    }
}

impl AsyncRead for Carrier {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Bare(socket) => Pin::new(socket).poll_read(cx, buffer),
            Self::WebSocket(frames) => Pin::new(frames).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Carrier {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Bare(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::WebSocket(frames) => Pin::new(frames).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Bare(socket) => Pin::new(socket).poll_flush(cx),
            Self::WebSocket(frames) => Pin::new(frames).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Bare(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::WebSocket(frames) => Pin::new(frames).poll_shutdown(cx),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, &bytes[..bytes.len().min(RECORD_BYTES)]),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
