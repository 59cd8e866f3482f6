//! WebSocket (RFC 6455) as a stream of bytes: MQTT does not care where a frame ends (MQTT 5.0, 6).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use futures_util::{Sink as _, Stream as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::error::{ProtocolError, SubProtocolError};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::config::Url;

/// The name of MQTT among what a WebSocket can carry (MQTT 5.0, 6).
pub(super) const SUBPROTOCOL: HeaderValue = HeaderValue::from_static("mqtt");
/// Largest frame and message that we take, in bytes.
const FRAME_BYTES_MAX: usize = 1 << 20;
/// Bytes read at a time.
const READ_BYTES: usize = 8 * 1024;
/// Bytes of one frame that we send, at most.
const SEND_BYTES: usize = 16 * 1024;

/// The bytes in the binary frames of a WebSocket.
#[derive(Debug)]
pub struct ByteStream<S> {
    frames: WebSocketStream<S>,
    /// What is left of the newest frame.
    rest: Bytes,
}

/// Asks the server on `stream` for a WebSocket at `url`.
pub(super) async fn upgrade<S>(url: &Url, stream: S) -> Result<ByteStream<S>, String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let scheme = url.scheme.as_str();
    let host = crate::config::Authority(&url.host, url.port);
    let mut request =
        format!("{scheme}://{host}{}", url.path).into_client_request().map_err(|error| error.to_string())?;
    request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL);
    match client_async_with_config(request, stream, Some(limits())).await {
        Ok((frames, _)) => Ok(ByteStream::new(frames)),
        Err(error) => Err(words(&error, url)),
    }
}

/// The limits of a WebSocket that carries MQTT. Each frame goes out at once.
#[must_use]
pub fn limits() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(4 * SEND_BYTES)
        .max_frame_size(Some(FRAME_BYTES_MAX))
        .max_message_size(Some(FRAME_BYTES_MAX))
}

fn words(error: &Error, url: &Url) -> String {
    let path = url.path.split('?').next().unwrap_or_default();
    match error {
        Error::Http(answer) => {
            let status = answer.status();
            let advice = match status {
                StatusCode::NOT_FOUND => {
                    format!("there is nothing at the path {path}; brokers use /mqtt, /ws or / (see its manual)")
                }
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                    "it does not let us in; does the url need a token?".to_owned()
                }
                status if status.is_redirection() => match answer.headers().get(header::LOCATION) {
                    Some(location) => format!("it wants us at {location:?}; write that in the url"),
                    None => "it wants us elsewhere".to_owned(),
                },
                StatusCode::BAD_REQUEST => {
                    format!("it does not take WebSockets at {path}, or speaks TLS on this port (`wss://`)")
                }
                _ => format!("there is no WebSocket at {path}"),
            };
            format!("the server answers `HTTP {status}`: {advice}")
        }
        Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(SubProtocolError::NoSubProtocol)) => {
            format!("there is a WebSocket at {path}, but not one for MQTT: the server does not say `mqtt`")
        }
        Error::Protocol(ProtocolError::HttparseError(_)) => {
            "what answers there does not speak HTTP; is the port that of another protocol (`mqtt://`, `mqtts://`)?"
                .to_owned()
        }
        Error::Protocol(ProtocolError::HandshakeIncomplete) | Error::Io(_) => {
            "the server closed the connection instead of an answer; does it speak HTTP on this port, with or \
             without TLS (`wss://`, `ws://`)?"
                .to_owned()
        }
        other => other.to_string(),
    }
}

impl<S> ByteStream<S> {
    /// The bytes of `frames`, whose handshake is done. Either side.
    pub fn new(frames: WebSocketStream<S>) -> Self {
        Self { frames, rest: Bytes::new() }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> ByteStream<S> {
    /// What carries the frames.
    pub fn get_ref(&self) -> &S {
        self.frames.get_ref()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for ByteStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.rest.is_empty() {
            match ready!(Pin::new(&mut self.frames).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) => self.rest = bytes,
                // Pings are answered by the crate, and so is a close; its end comes next.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Text(_))) => {
                    let what = "text came through the WebSocket, and MQTT is binary (MQTT 5.0, 6)";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, what)));
                }
                Some(Err(error)) => return ended(error),
                None => return Poll::Ready(Ok(())),
            }
        }
        let count = self.rest.len().min(buffer.remaining());
        buffer.put_slice(&self.rest[..count]);
        self.rest.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ByteStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(Pin::new(&mut self.frames).poll_ready(cx)).map_err(io_error)?;
        let part = &bytes[..bytes.len().min(SEND_BYTES)];
        let frame = Message::Binary(Bytes::copy_from_slice(part));
        Pin::new(&mut self.frames).start_send(frame).map_err(io_error)?;
        Poll::Ready(Ok(part.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.frames).poll_flush(cx).map_err(io_error)
    }

    /// Says that we are through. The server answers, and closes the connection (RFC 6455, 7.1.1).
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.frames).poll_close(cx).map_err(io_error)
    }
}

/// The end of reading. One without the closing handshake is an end as well: MQTT has its own.
fn ended(error: Error) -> Poll<io::Result<()>> {
    match error {
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Poll::Ready(Ok(())),
        other => Poll::Ready(Err(io_error(other))),
    }
}

fn io_error(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        Error::ConnectionClosed | Error::AlreadyClosed => io::ErrorKind::NotConnected.into(),
        other => io::Error::new(io::ErrorKind::InvalidData, other),
    }
}
