//! `proxy` of a bridge: an HTTP proxy that lets us through to the broker (RFC 9110, 9.3.6).

use super::MAX_NAME_BYTES;
use super::url::{Authority, host_and_port};
use crate::config::read::{Problems, Table, Wrong, text};
use crate::config::secret::Secret;
use crate::config::tree::{Node, Value};
use crate::config::values;

/// What to write instead of a wrong url.
const EXAMPLE: &str = "write for example `http://proxy.example.com:3128`";

/// An HTTP proxy. What the environment says about proxies is not asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxy {
    /// Host name or IP address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The user name.
    pub username: Option<String>,
    /// The password; never without a user name.
    pub password: Option<Secret>,
}

impl Proxy {
    /// Reads `http://host:port`, or a group of keys with the same as `url`, for the bridge `bridge`.
    pub(super) fn read(bridge: &str, node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut proxy = Self::default();
        if let Value::Text(_) = node.value {
            (proxy.host, proxy.port) = text("proxy", node, problems, url)?;
            return Some(proxy);
        }
        let mut table = Table::open("`proxy`", node, problems)?;
        let mut address = Default::default();
        table.require("url", "url: http://proxy.example.com:3128", &mut address, problems, url);
        (proxy.host, proxy.port) = address;
        table.set("username", &mut proxy.username, problems, |text| {
            values::line(text, MAX_NAME_BYTES).map(Some)
        });
        if let (Some(name), Some(place)) = (&proxy.username, table.place_of("username"))
            && name.contains(':')
        {
            // RFC 7617, 2.
            let wrong =
                Wrong::value(name, "has a colon", "a proxy can have no such user; write another name");
            problems.add_for("username", place, &wrong);
        }
        if let Some(node) = table.node("password") {
            proxy.password = Secret::read_from(&format!("{bridge}-proxy"), node, problems);
            super::needs_username(&table, node, problems);
        }
        table.close(&[], problems);
        Some(proxy)
    }

    /// Host and port as they stand together.
    #[must_use]
    pub fn authority(&self) -> Authority<'_> {
        Authority(&self.host, self.port)
    }
}

fn url(text: &str) -> Result<(String, u16), Wrong> {
    if text.contains('@') {
        // The text is not repeated: it may hold a password.
        let instead = "write `proxy: {url: \"http://host:port\", username: NAME, password: {file: PATH}}`";
        return Err(Wrong::new("user name and password do not belong in the url", instead));
    }
    let Some(rest) = text.strip_prefix("http://") else {
        return Err(Wrong::value(text, "is not the address of an HTTP proxy", EXAMPLE));
    };
    match host_and_port(rest.strip_suffix('/').unwrap_or(rest)) {
        Some((host, Some(port))) => Ok((host.to_owned(), port)),
        // There is no usual port: 80, 3128 and 8080 are all common.
        Some((_, None)) => Err(Wrong::value(text, "names no port", EXAMPLE)),
        None => Err(Wrong::value(text, "is not of the form `http://host:port`", EXAMPLE)),
    }
}
