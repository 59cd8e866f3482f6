//! `broker`: the local MQTT broker.

mod listener;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

pub use self::listener::Listener;
use super::read::{Problems, Table};
use super::values;

/// Most entries in `listen`.
const MAX_LISTENERS: usize = 16;

/// The port that MQTT without TLS is known by.
const MQTT_PORT: u16 = 1883;

/// Keys of later versions.
const LATER: [&str; 1] = ["users"];

/// The local broker. It does not run where nothing is to be listened on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Where clients connect; may be empty.
    pub listen: Vec<Listener>,
    /// The SQLite file that keeps sessions and retained messages; `None`: `broker.db` beside the
    /// queue's.
    pub path: Option<PathBuf>,
}

impl Default for Broker {
    fn default() -> Self {
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), MQTT_PORT);
        Self { listen: vec![Listener { address }], path: None }
    }
}

impl Broker {
    pub(super) fn read(root: &mut Table<'_>, problems: &mut Problems) -> Self {
        let mut broker = Self::default();
        let Some(node) = root.node("broker") else { return broker };
        let Some(mut table) = Table::open("`broker`", node, problems) else { return broker };
        let example = "one address per line, as in `- 127.0.0.1:1883`, or `listen: []` for no local broker";
        if let Some(items) = table.list("listen", MAX_LISTENERS, example, problems) {
            broker.listen = listener::all(items, problems);
        }
        table.set("path", &mut broker.path, problems, |text| values::file(text).map(Some));
        table.close(&LATER, problems);
        broker
    }
}
