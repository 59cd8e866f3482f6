//! HTTP CONNECT: asks a proxy for a way to the broker (RFC 9110, 9.3.6).

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::config::Authority;

/// Largest head of an answer, in bytes.
const ANSWER_BYTES: usize = 8 * 1024;
/// The most of a status line that is repeated, in characters.
const QUOTED_CHARS: usize = 100;

/// Why a proxy does not let us through.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The connection to it broke.
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
    /// It closed the connection.
    #[error("it closed the connection instead of an answer")]
    Closed,
    /// It wants to know who we are.
    #[error(
        "it wants a user name and a password (`{0}`); give them as `proxy: {{url: …, username: …, password: …}}`"
    )]
    WantsUser(String),
    /// It does not believe who we are.
    #[error("it does not accept the user name and the password of `proxy` (`{0}`)")]
    WrongUser(String),
    /// It does not let us there.
    #[error(
        "it does not let us through to {target} (`{status}`); whom it belongs to must allow CONNECT to that port"
    )]
    Forbidden {
        /// Where we wanted to go.
        target: String,
        /// Its status line.
        status: String,
    },
    /// It does not get there.
    #[error("it cannot reach {target} (`{status}`)")]
    Unreachable {
        /// Where we wanted to go.
        target: String,
        /// Its status line.
        status: String,
    },
    /// Something else.
    #[error("it answers `{0}`")]
    Refused(String),
    /// What it says is not HTTP.
    #[error("what answers there is no HTTP proxy: it says {0:?}")]
    NotHttp(String),
}

/// What a proxy is told about who we are (RFC 7617).
pub(super) fn authorization(username: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
}

/// Asks for a way to `target`; gives the proxy's status line. From then on the stream leads there.
pub(super) async fn connect(
    stream: &mut TcpStream,
    target: Authority<'_>,
    authorization: Option<&str>,
) -> Result<String, ProxyError> {
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if let Some(who) = authorization {
        request.push_str(&format!("Proxy-Authorization: {who}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await?;
    let head = head(stream).await?;
    let status = head.lines().next().unwrap_or_default();
    let shown: String = status.chars().take(QUOTED_CHARS).filter(|c| !c.is_control()).collect();
    if !status.starts_with("HTTP/1.") {
        return Err(ProxyError::NotHttp(shown));
    }
    let target = target.to_string();
    match status.split(' ').nth(1).and_then(|code| code.parse::<u16>().ok()) {
        Some(200..=299) => Ok(shown),
        Some(407) if authorization.is_none() => Err(ProxyError::WantsUser(shown)),
        Some(407 | 401) => Err(ProxyError::WrongUser(shown)),
        Some(403 | 405) => Err(ProxyError::Forbidden { target, status: shown }),
        Some(502..=504) => Err(ProxyError::Unreachable { target, status: shown }),
        _ => Err(ProxyError::Refused(shown)),
    }
}

/// The answer up to its empty line. Byte for byte, so that nothing of what follows is taken; it is
/// short, and comes once per connection.
async fn head(stream: &mut TcpStream) -> Result<String, ProxyError> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match stream.read(&mut byte).await {
            Ok(0) if head.is_empty() => return Err(ProxyError::Closed),
            Ok(0) => break,
            Ok(_) if head.len() < ANSWER_BYTES => head.extend_from_slice(&byte),
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Err(ProxyError::Closed),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}
