//! The HTTP request that begins a WebSocket (RFC 6455, 4.2; MQTT 5.0, 6), and answers to all others.
//!
//! Any path will do. What is not a WebSocket for MQTT gets a line of text that says what this port
//! is, for whoever opens it in a browser.

use std::net::IpAddr;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::machine::TryParse as _;
use tokio_tungstenite::tungstenite::handshake::server::{Request, create_response, write_response};
use tokio_tungstenite::tungstenite::http::{HeaderMap, HeaderName, header};
use tokio_tungstenite::tungstenite::protocol::Role;

use super::{READ_BYTES, part};
use crate::transport::websocket::{ByteStream, SUBPROTOCOL, limits};

/// Bytes that a request may have, up to its empty line. Cookies of other servers on the same host
/// come with it.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// What a message may have beside the packet in it: clients may send several packets in one.
const BESIDE_BYTES: usize = 64 * 1024;

/// Which WebSockets are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upgrade {
    /// Pages of which servers may use it.
    pub origins: Origins,
    /// Bytes of the largest packet of MQTT.
    pub packet_bytes: usize,
}

/// The servers whose pages may open a WebSocket. A browser lets any page try, and says from where the
/// page came (RFC 6455, 10.2); other programs send no origin and are not meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origins {
    /// All: each client must say who it is, and a page cannot know that.
    Any,
    /// Only this machine's: whoever is at its browser would let a page of somebody else in.
    Loopback,
    /// And those of the host that the client connects to: what the browser shows here is a
    /// certificate, which it shows for any page.
    SameHost,
}

/// Why there is no WebSocket.
struct Refusal {
    status: &'static str,
    why: String,
}

impl Refusal {
    const BAD: &str = "400 Bad Request";
    const FORBIDDEN: &str = "403 Forbidden";
    const UPGRADE: &str = "426 Upgrade Required";
    const TOO_LARGE: &str = "431 Request Header Fields Too Large";

    fn new(status: &'static str, why: impl Into<String>) -> Self {
        Self { status, why: why.into() }
    }

    /// The answer, which every client may read.
    fn answer(&self) -> String {
        let text = format!(
            "This is a port for MQTT through a WebSocket (subprotocol mqtt), of a Serialgate gateway.\n{}.\n",
            self.why
        );
        let upgrade = match self.status {
            Self::UPGRADE => "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
            _ => "",
        };
        format!(
            "HTTP/1.1 {}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n{upgrade}\
             Connection: {}close\r\n\r\n{text}",
            self.status,
            text.len(),
            if upgrade.is_empty() { "" } else { "upgrade, " },
        )
    }
}

/// Reads the request on `stream` and answers it; `secure` is whether TLS carries it.
pub(super) async fn receive<S>(
    mut stream: S,
    upgrade: &Upgrade,
    secure: bool,
) -> Result<ByteStream<S>, String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut input = Vec::new();
    let head = match read_head(&mut stream, &mut input).await {
        Ok(head) => head.ok_or_else(|| "the client closed the connection before its request".to_owned())?,
        Err(error) => return Err(format!("the connection broke: {error}")),
    };
    let accepted = head.and_then(|end| {
        let tail = input.split_off(end);
        answer(&input, upgrade.origins, secure).map(|answer| (answer, tail))
    });
    let (answer, tail) = match accepted {
        Ok(accepted) => accepted,
        Err(refusal) => {
            part(stream, refusal.answer().as_bytes()).await;
            return Err(refusal.why);
        }
    };
    let sent = async {
        stream.write_all(&answer).await?;
        stream.flush().await
    };
    sent.await.map_err(|error| format!("the connection broke: {error}"))?;
    let largest = upgrade.packet_bytes.saturating_add(BESIDE_BYTES);
    let limits = limits().max_frame_size(Some(largest)).max_message_size(Some(largest));
    let frames = WebSocketStream::from_partially_read(stream, tail, Role::Server, Some(limits)).await;
    Ok(ByteStream::new(frames))
}

/// Reads until the end of the request's head, and tells where that is; `None` where the client closed
/// the connection before.
async fn read_head<S>(stream: &mut S, input: &mut Vec<u8>) -> std::io::Result<Option<Result<usize, Refusal>>>
where
    S: AsyncRead + Unpin,
{
    const END: &[u8] = b"\r\n\r\n";
    loop {
        // What is new, and what may be the beginning of the end before it.
        let seen = input.len().saturating_sub(END.len() - 1);
        input.reserve(READ_BYTES);
        if stream.read_buf(input).await? == 0 {
            return Ok(None);
        }
        if !input.first().is_some_and(u8::is_ascii_uppercase) {
            return Ok(Some(Err(Refusal::new(Refusal::BAD, "What came does not speak HTTP"))));
        }
        let found = input[seen..].windows(END.len()).position(|window| window == END);
        let end = found.map(|at| seen + at + END.len());
        if end.unwrap_or(input.len()) > HEAD_BYTES_MAX {
            let why = format!("The head of the request has more than {HEAD_BYTES_MAX} bytes");
            return Ok(Some(Err(Refusal::new(Refusal::TOO_LARGE, why))));
        }
        if let Some(end) = end {
            return Ok(Some(Ok(end)));
        }
    }
}

/// The answer to a request for a WebSocket.
fn answer(head: &[u8], origins: Origins, secure: bool) -> Result<Vec<u8>, Refusal> {
    let request = match Request::try_parse(head) {
        Ok(Some((_, request))) => request,
        Ok(None) => return Err(Refusal::new(Refusal::BAD, "The request has no end")),
        Err(error) => return Err(Refusal::new(Refusal::BAD, format!("The request is not right: {error}"))),
    };
    let headers = request.headers();
    let mut response = create_response(&request).map_err(|error| {
        Refusal::new(Refusal::UPGRADE, format!("The request is for no WebSocket: {error}"))
    })?;
    if !items(headers, &header::SEC_WEBSOCKET_PROTOCOL).any(|name| SUBPROTOCOL == name) {
        let why = "The client does not offer the subprotocol mqtt (Sec-WebSocket-Protocol: mqtt)";
        return Err(Refusal::new(Refusal::BAD, why));
    }
    if let Some(origin) = headers.get(header::ORIGIN) {
        let origin = origin.to_str().unwrap_or_default();
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).filter(|_| secure);
        if !allowed(origins, origin, host) {
            let why = format!(
                "A page from {origin:?} may not use it: only pages of this machine may, unless each client has to \
                 give a name and a password"
            );
            return Err(Refusal::new(Refusal::FORBIDDEN, why));
        }
    }
    response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL);
    let mut bytes = Vec::new();
    write_response(&mut bytes, &response)
        .map_err(|error| Refusal::new(Refusal::BAD, format!("The request cannot be answered: {error}")))?;
    Ok(bytes)
}

/// The items of a header that holds a list, over all its lines.
fn items<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

/// Whether a page from `origin` may come in; `host` is the one that the client connects to, if that
/// is certain.
fn allowed(origins: Origins, origin: &str, host: Option<&str>) -> bool {
    // `null`, of pages without a server, has none.
    let page = origin.split_once("://").map(|(_, authority)| name(authority));
    match (origins, page) {
        (Origins::Any, _) => true,
        (_, None) => false,
        (Origins::Loopback, Some(page)) => is_loopback(page),
        (Origins::SameHost, Some(page)) => {
            is_loopback(page) || host.is_some_and(|host| name(host).eq_ignore_ascii_case(page))
        }
    }
}

/// The name in `name:port`.
fn name(authority: &str) -> &str {
    match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => authority.split(':').next().unwrap_or_default(),
    }
}

fn is_loopback(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REQUEST: &str = "GET /mqtt HTTP/1.1\r\nHost: gateway.lan\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Protocol: mqtt\r\n\r\n";

    proptest! {
        #[test]
        fn a_damaged_request_is_answered_or_refused(
            cuts in prop::collection::vec((0..REQUEST.len(), 0..9_usize, prop::collection::vec(any::<u8>(), 0..5)), 0..4)
        ) {
            let mut head = REQUEST.as_bytes().to_vec();
            for (at, length, new) in cuts {
                let start = at.min(head.len());
                let end = (start + length).min(head.len());
                head.splice(start..end, new);
            }
            if let Ok(answer) = answer(&head, Origins::Loopback, false) {
                let answer = String::from_utf8(answer).unwrap();
                prop_assert!(answer.starts_with("HTTP/1.1 101 ") && answer.contains("sec-websocket-protocol: mqtt\r\n"));
            }
        }
    }

    #[tokio::test]
    async fn a_request_may_come_in_pieces_and_what_follows_it_is_kept() {
        for size in [1, 3, 50, 1000] {
            let (mut client, mut server) = tokio::io::duplex(size);
            let said = [REQUEST.as_bytes(), b"rest"].concat();
            let saying = async {
                client.write_all(&said).await.unwrap();
                client.shutdown().await.unwrap();
            };
            let hearing = async {
                let mut input = Vec::new();
                let Ok(Some(Ok(end))) = read_head(&mut server, &mut input).await else { panic!("no head") };
                let tail = input.split_off(end);
                server.read_to_end(&mut input).await.unwrap();
                [&input[..end], &tail, &input[end..]].concat()
            };
            let ((), heard) = tokio::join!(saying, hearing);
            assert_eq!(heard, said, "in pieces of {size}");
        }
    }

    #[test]
    fn pages_from_elsewhere_stay_out_where_nobody_says_who_they_are() {
        use Origins::{Any, Loopback, SameHost};
        for (origin, host, expected) in [
            ("http://localhost:8080", None, [true, true, true]),
            ("http://LOCALHOST", None, [true, true, true]),
            ("http://app.localhost", None, [true, true, true]),
            ("https://127.0.0.1:1880", None, [true, true, true]),
            ("http://[::1]:80", None, [true, true, true]),
            ("http://evil.example", Some("evil.example:8083"), [true, false, true]),
            ("https://gateway.lan", Some("GATEWAY.lan:8084"), [true, false, true]),
            ("http://192.168.1.9", Some("192.168.1.5:8083"), [true, false, false]),
            ("http://localhost.evil.example", None, [true, false, false]),
            ("http://127.0.0.1.evil.example", None, [true, false, false]),
            ("http://evil.example", None, [true, false, false]),
            ("null", Some("gateway.lan"), [true, false, false]),
            ("", Some(""), [true, false, false]),
        ] {
            let found = [Any, Loopback, SameHost].map(|origins| allowed(origins, origin, host));
            assert_eq!(found, expected, "{origin} at {host:?}");
        }
    }
}
