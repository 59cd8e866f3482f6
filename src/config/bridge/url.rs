//! `url` of a bridge: where the other broker is, and what carries MQTT there.

use std::fmt;
use std::net::Ipv6Addr;

use crate::config::read::Wrong;
use crate::config::values;

/// Longest host name, in bytes (RFC 1035, 2.3.4).
const MAX_HOST_BYTES: usize = 253;

/// Longest path of a WebSocket with its query, in bytes.
const MAX_PATH_BYTES: usize = 2048;

/// Where most brokers serve MQTT over WebSocket.
const WEBSOCKET_PATH: &str = "/mqtt";

/// What to write instead of a wrong url.
const EXAMPLE: &str =
    "write for example `mqtts://broker.example.com`, or `mqtt://192.168.1.5:1884` for a port of its own";

/// What carries MQTT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// TCP.
    #[default]
    Mqtt,
    /// TLS.
    Mqtts,
    /// WebSocket over TCP.
    Ws,
    /// WebSocket over TLS.
    Wss,
}

impl Scheme {
    /// All of them, as they stand in a url.
    const ALL: [(&str, Self); 4] =
        [("mqtt", Self::Mqtt), ("mqtts", Self::Mqtts), ("ws", Self::Ws), ("wss", Self::Wss)];

    /// As it stands in a url.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::Mqtts => "mqtts",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }

    /// The port that it is known by.
    #[must_use]
    pub fn port(self) -> u16 {
        match self {
            Self::Mqtt => 1883,
            Self::Mqtts => 8883,
            Self::Ws => 80,
            Self::Wss => 443,
        }
    }

    /// Whether the link is encrypted.
    #[must_use]
    pub fn is_secure(self) -> bool {
        matches!(self, Self::Mqtts | Self::Wss)
    }

    fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }
}

/// The address of a broker. In text, as [`fmt::Display`] gives it, the query of the path is left
/// out: some clouds want tokens there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Url {
    /// What carries MQTT.
    pub scheme: Scheme,
    /// Host name or IP address, an IPv6 one without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The path of a WebSocket with its query, beginning with `/`; empty for the others.
    pub path: String,
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, query) = self.path.split_once('?').map_or((&*self.path, ""), |(path, _)| (path, "?…"));
        write!(f, "{}://{}{path}{query}", self.scheme.as_str(), Authority(&self.host, self.port))
    }
}

/// A host and a port as they stand together: `[::1]:1883`.
#[derive(Clone, Copy, Debug)]
pub struct Authority<'a>(pub &'a str, pub u16);

impl fmt::Display for Authority<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(host, port) = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl Url {
    pub(super) fn parse(text: &str) -> Result<Self, Wrong> {
        if text.contains('@') {
            // The text is not repeated: it may hold a password.
            return Err(Wrong::new(
                "user name and password do not belong in the url",
                "write them as `username` and `password`, and the url as `mqtts://host:port`",
            ));
        }
        let Some((name, rest)) = text.split_once("://") else {
            return Err(Wrong::value(text, "has no scheme", EXAMPLE));
        };
        let Some((_, scheme)) = Scheme::ALL.into_iter().find(|(known, _)| *known == name) else {
            return Err(Wrong::value(
                &format!("{name}://"),
                "is not one of mqtt, mqtts, ws and wss",
                EXAMPLE,
            ));
        };
        let (authority, path) = rest.find(['/', '?']).map_or((rest, ""), |at| rest.split_at(at));
        let (host, port) = host_and_port(authority).ok_or_else(|| {
            let form = format!("is not of the form `{name}://host:port`");
            Wrong::value(text.split('?').next().unwrap_or_default(), &form, EXAMPLE)
        })?;
        let path = if scheme.is_websocket() { websocket_path(path)? } else { no_path(name, path)? };
        Ok(Self { scheme, host: host.to_owned(), port: port.unwrap_or(scheme.port()), path })
    }
}

fn no_path(scheme: &str, path: &str) -> Result<String, Wrong> {
    if path.is_empty() || path == "/" {
        return Ok(String::new());
    }
    let what = format!("`{scheme}://` has no path");
    Err(Wrong::new(what, "write `mqtts://host:port`; only `ws://` and `wss://` have one"))
}

fn websocket_path(path: &str) -> Result<String, Wrong> {
    let path = match path.as_bytes() {
        [] => WEBSOCKET_PATH.to_owned(),
        [b'?', ..] => format!("{WEBSOCKET_PATH}{path}"),
        _ => path.to_owned(),
    };
    let allowed = |byte: u8| byte.is_ascii_graphic() && !br##"#"<>\^`{|}"##.contains(&byte);
    if path.len() <= MAX_PATH_BYTES && path.bytes().all(allowed) {
        return Ok(path);
    }
    let what = format!("the path is longer than {MAX_PATH_BYTES} bytes or has characters that a url has not");
    Err(Wrong::new(what, "write for example `wss://broker.example.com/mqtt`, and other characters as %20"))
}

/// The parts of `host`, `host:port`, `[ipv6]` or `[ipv6]:port`.
pub(super) fn host_and_port(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']').filter(|(host, _)| host.parse::<Ipv6Addr>().is_ok())?,
        None => {
            let (host, port) = text.find(':').map_or((text, ""), |colon| text.split_at(colon));
            (is_host(host).then_some(host)?, port)
        }
    };
    if port.is_empty() {
        return Some((host, None));
    }
    let port = values::number(port.strip_prefix(':')?, 1..=u16::MAX, "1883").ok()?;
    Some((host, Some(port)))
}

/// Whether `text` can be a host name or an IPv4 address.
pub(super) fn is_host(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    !text.is_empty() && text.len() <= MAX_HOST_BYTES && text.chars().all(allowed)
}
