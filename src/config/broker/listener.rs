//! `broker.listen`: where clients connect.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::MQTT_PORT;
use crate::config::bridge::Identity;
use crate::config::read::{Problems, Table, Wrong, text};
use crate::config::tree::{Node, Place, Value};
use crate::config::values;

/// One address that clients connect to, and how.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Listener {
    /// Where. Port 0 is any free port; the wildcard of IPv6 takes clients of IPv4 as well.
    pub address: SocketAddr,
    /// How connections are encrypted, if they are.
    pub tls: Option<ServerTls>,
    /// Whether MQTT comes through a WebSocket.
    pub websocket: bool,
    /// Whether clients on this machine need no name.
    pub anonymous: bool,
}

/// How a listener encrypts. The files are PEM.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerTls {
    /// The certificate that clients are shown, and its key.
    pub identity: Identity,
    /// Who issues clients' certificates; where it is given, nobody gets in without one.
    pub client_ca: Option<PathBuf>,
}

/// A listener, and where it stands in the file.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) listener: Listener,
    pub(super) place: Place,
}

impl Listener {
    /// Without TLS or WebSocket.
    #[must_use]
    pub fn plain(address: SocketAddr) -> Self {
        Self { address, tls: None, websocket: false, anonymous: true }
    }

    /// Whether it lets in only whom a certificate authority of its own vouches for.
    #[must_use]
    pub fn wants_certificates(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some())
    }

    /// The files that it names.
    pub(super) fn files(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        self.tls.iter_mut().flat_map(|ServerTls { identity, client_ca }| {
            [&mut identity.certificate, &mut identity.key].into_iter().chain(client_ca)
        })
    }

    /// Whether the system can give only one of the two their address.
    fn collides(&self, other: &Self) -> bool {
        let (one, two) = (self.address, other.address);
        let all = |address: SocketAddr| address.ip().is_unspecified();
        let covers = |wide: SocketAddr, narrow: SocketAddr| all(wide) && (wide.is_ipv6() || narrow.is_ipv4());
        one.port() != 0
            && one.port() == two.port()
            && (one.ip() == two.ip() || covers(one, two) || covers(two, one))
    }
}

pub(super) fn all(items: &[Node], problems: &mut Problems) -> Vec<Placed> {
    let mut listeners: Vec<Placed> = Vec::new();
    for item in items {
        let Some(listener) = listener(item, problems) else { continue };
        if let Some(other) = listeners.iter().find(|other| other.listener.collides(&listener)) {
            let (new, old) = (listener.address, other.listener.address);
            let what = if new == old {
                format!("`{new}` stands in `listen` twice")
            } else {
                format!("`{new}` and `{old}` are one port, because one of them means all addresses")
            };
            problems
                .add(item.place, &Wrong::new(what, "keep one of the two, or give each a port of its own"));
        }
        listeners.push(Placed { listener, place: item.place });
    }
    listeners
}

fn listener(node: &Node, problems: &mut Problems) -> Option<Listener> {
    if matches!(node.value, Value::Text(_)) {
        return text("listen", node, problems, address).map(Listener::plain);
    }
    let mut found = None;
    let mut table = Table::open("a listener", node, problems)?;
    table.require("address", "address: 127.0.0.1:1883", &mut found, problems, |text| address(text).map(Some));
    let tls = tls(&mut table, problems);
    let mut websocket = false;
    table.set("websocket", &mut websocket, problems, values::truth);
    let mut anonymous = true;
    table.set("anonymous", &mut anonymous, problems, values::truth);
    table.close(&[], problems);
    found.map(|address| Listener { address, tls, websocket, anonymous })
}

/// Reads the key `tls` of a listener.
fn tls(listener: &mut Table<'_>, problems: &mut Problems) -> Option<ServerTls> {
    let node = listener.node("tls")?;
    let mut table = Table::open("`tls`", node, problems)?;
    let file = |text: &str| values::file(text).map(Some);
    let (mut certificate, mut key, mut client_ca) = (None, None, None);
    table.require("certificate", "certificate: server.pem", &mut certificate, problems, file);
    table.require("key", "key: server.key", &mut key, problems, file);
    table.set("client_ca", &mut client_ca, problems, file);
    table.close(&[], problems);
    let (certificate, key) = certificate.zip(key)?;
    Some(ServerTls { identity: Identity { certificate, key }, client_ca })
}

fn address(text: &str) -> Result<SocketAddr, Wrong> {
    text.parse().map_err(|_| {
        let port = text.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(MQTT_PORT);
        Wrong::value(
            text,
            "is not an IP address with a port",
            format!("write `127.0.0.1:{port}` for this machine only, `0.0.0.0:{port}` for the network"),
        )
    })
}
