//! `broker`: the local MQTT broker.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::read::{Problems, Table, Wrong, text};
use super::tree::{Node, Value};

/// Most entries in `listen`.
const MAX_LISTENERS: usize = 16;

/// The port that MQTT without TLS is known by.
const MQTT_PORT: u16 = 1883;

/// Keys of later versions.
const LATER: [&str; 1] = ["users"];

/// Keys of a listener in later versions.
const LATER_LISTENER: [&str; 2] = ["tls", "websocket"];

/// The local broker. It does not run where nothing is to be listened on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Where clients connect; may be empty.
    pub listen: Vec<Listener>,
}

/// One address that clients connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// A loopback address: clients are anonymous in this version. Port 0 is any free port.
    pub address: SocketAddr,
}

impl Default for Broker {
    fn default() -> Self {
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), MQTT_PORT);
        Self { listen: vec![Listener { address }] }
    }
}

impl Broker {
    pub(super) fn read(root: &mut Table<'_>, problems: &mut Problems) -> Self {
        let mut broker = Self::default();
        let Some(node) = root.node("broker") else { return broker };
        let Some(mut table) = Table::open("`broker`", node, problems) else { return broker };
        let example = "one address per line, as in `- 127.0.0.1:1883`, or `listen: []` for no local broker";
        if let Some(items) = table.list("listen", MAX_LISTENERS, example, problems) {
            broker.listen = listeners(items, problems);
        }
        table.close(&LATER, problems);
        broker
    }
}

fn listeners(items: &[Node], problems: &mut Problems) -> Vec<Listener> {
    let mut listeners: Vec<Listener> = Vec::new();
    for item in items {
        let Some(listener) = listener(item, problems) else { continue };
        if listener.address.port() != 0 && listeners.contains(&listener) {
            let what = format!("`{}` stands in `listen` twice", listener.address);
            problems.add(item.place, &Wrong::new(what, "keep one of the two"));
        }
        listeners.push(listener);
    }
    listeners
}

fn listener(node: &Node, problems: &mut Problems) -> Option<Listener> {
    if matches!(node.value, Value::Text(_)) {
        let address = text("listen", node, problems, address)?;
        return Some(Listener { address });
    }
    let mut found = None;
    let mut table = Table::open("a listener", node, problems)?;
    table.require("address", "address: 127.0.0.1:1883", &mut found, problems, |text| address(text).map(Some));
    table.close(&LATER_LISTENER, problems);
    found.map(|address| Listener { address })
}

fn address(text: &str) -> Result<SocketAddr, Wrong> {
    let Ok(address) = text.parse::<SocketAddr>() else {
        let port = text.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(MQTT_PORT);
        return Err(Wrong::value(
            text,
            "is not an IP address with a port",
            format!("write `127.0.0.1:{port}`"),
        ));
    };
    if !address.ip().is_loopback() {
        let what = format!("`{address}` is open to the network: that needs users or TLS, which");
        let instead = format!("write `127.0.0.1:{}`, which only this machine reaches", address.port());
        return Err(Wrong::later(&what, instead));
    }
    Ok(address)
}
