//! `broker.listen`: where clients connect.

use std::net::SocketAddr;

use super::MQTT_PORT;
use crate::config::read::{Problems, Table, Wrong, text};
use crate::config::tree::{Node, Value};

/// Keys of a listener in later versions.
const LATER: [&str; 2] = ["tls", "websocket"];

/// One address that clients connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// A loopback address: clients are anonymous in this version. Port 0 is any free port.
    pub address: SocketAddr,
}

pub(super) fn all(items: &[Node], problems: &mut Problems) -> Vec<Listener> {
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
    table.close(&LATER, problems);
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
