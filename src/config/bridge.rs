//! `bridges`: the links to other brokers.

mod password;
mod proxy;
mod tls;
mod url;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;

pub use self::password::{Password, Sas};
pub use self::proxy::Proxy;
pub use self::tls::{Identity, Tls};
pub use self::url::{Authority, Scheme, Url};
use super::read::{Problems, Table, Wrong, text};
use super::sending::{Batch, Rate};
use super::tree::Node;
use super::values;
use crate::mqtt::packet::Version;
use crate::topic;

/// Most entries in `bridges`.
const MAX_BRIDGES: usize = 16;

/// Most filters of one bridge.
const MAX_FILTERS: usize = 256;

/// Longest client id and user name, in bytes; brokers take less than the 65535 of the protocol.
const MAX_NAME_BYTES: usize = 1024;

/// Keys of later versions.
const LATER: [&str; 1] = ["receive"];

/// In which order a bridge gets what waits for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// As it came in.
    #[default]
    Oldest,
    /// New readings first, while what waits keeps a share.
    LiveFirst,
}

/// How a broker is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it is, and what carries MQTT there.
    pub url: Url,
    /// How the link is encrypted, where the url says that it is.
    pub tls: Tls,
    /// The proxy on the way.
    pub proxy: Option<Proxy>,
}

impl Endpoint {
    /// A broker at `address`, by TCP alone.
    #[must_use]
    pub fn tcp(address: SocketAddr) -> Self {
        let (host, port) = (address.ip().to_string(), address.port());
        Self { url: Url { scheme: Scheme::Mqtt, host, port, path: String::new() }, ..Self::default() }
    }

    /// Reads the keys of a bridge that say where it leads.
    fn read(bridge: &str, table: &mut Table<'_>, problems: &mut Problems) -> Self {
        let mut endpoint = Self::default();
        let example = "url: mqtts://broker.example.com:8883";
        table.require("url", example, &mut endpoint.url, problems, Url::parse);
        let known = (!endpoint.url.host.is_empty()).then_some(endpoint.url.scheme);
        endpoint.tls = Tls::read(table, known, problems);
        endpoint.proxy = table.node("proxy").and_then(|node| Proxy::read(bridge, node, problems));
        endpoint
    }
}

/// A link from here to another broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bridge {
    /// Its name in logs and status: a slug, different for each bridge.
    pub name: String,
    /// How the other broker is reached.
    pub endpoint: Endpoint,
    /// The version to speak; `None`: try 5, then 3.1.1 when refused.
    pub protocol: Option<Version>,
    /// The client id; `None`: one made from the gateway and the bridge.
    pub client_id: Option<String>,
    /// The user name.
    pub username: Option<String>,
    /// The password; never without a user name.
    pub password: Option<Password>,
    /// In which order it gets what waits.
    pub order: Order,
    /// The most that it sends.
    pub rate: Rate,
    /// How readings go together in one message; `None`: each goes alone.
    pub batch: Option<Batch>,
    /// Filters for the topics to forward; `None`: our own topics except `state`.
    pub forward: Option<Vec<String>>,
}

impl Bridge {
    /// Reads the whole list.
    pub(super) fn read_all(table: &mut Table<'_>, problems: &mut Problems) -> Vec<Self> {
        let example = "one bridge per line, as in `- {name: cloud, url: \"mqtt://broker.example.com\"}`";
        let items = table.list("bridges", MAX_BRIDGES, example, problems).unwrap_or_default();
        let mut bridges = Vec::new();
        let mut seen = HashMap::new();
        for item in items {
            let Some(bridge) = Self::read(item, problems) else { continue };
            if !bridge.name.is_empty()
                && let Some(line) = seen.insert(bridge.name.clone(), item.place.line)
            {
                let what = format!("the bridge in line {line} has the name `{}` already", bridge.name);
                problems.add(item.place, &Wrong::new(what, "give each bridge a name of its own"));
            }
            bridges.push(bridge);
        }
        bridges
    }

    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut bridge = Self::default();
        let mut table = Table::open("a bridge", node, problems)?;
        table.require("name", "name: cloud", &mut bridge.name, problems, values::slug);
        bridge.endpoint = Endpoint::read(&bridge.name, &mut table, problems);
        table.set("protocol", &mut bridge.protocol, problems, |text| protocol(text).map(Some));
        table.set("client_id", &mut bridge.client_id, problems, name);
        table.set("username", &mut bridge.username, problems, name);
        if let Some(node) = table.node("password") {
            bridge.password = Password::read(&bridge.name, node, problems);
            needs_username(&table, node, problems);
        }
        table.set("order", &mut bridge.order, problems, order);
        bridge.rate = Rate::read(&mut table, problems);
        bridge.batch = Batch::read(&mut table, problems);
        bridge.forward = forward(&mut table, problems);
        table.close(&LATER, problems);
        Some(bridge)
    }

    /// The files that it names.
    pub(super) fn files(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let Endpoint { tls, proxy, .. } = &mut self.endpoint;
        let proxy = proxy.iter_mut().filter_map(|proxy| proxy.password.as_mut()?.file());
        let password = self.password.iter_mut().filter_map(Password::file);
        tls.files().chain(proxy).chain(password)
    }
}

/// Notes that the password at `node` has no user name in `table`.
fn needs_username(table: &Table<'_>, node: &Node, problems: &mut Problems) {
    if table.place_of("username").is_none() {
        let wrong = Wrong::new("there is no user name for it", "add a line such as `username: greenhouse`");
        problems.add_for("password", node.place, &wrong);
    }
}

fn forward(table: &mut Table<'_>, problems: &mut Problems) -> Option<Vec<String>> {
    let example = "`forward: [\"sensors/#\"]`";
    let items = table.list("forward", MAX_FILTERS, example, problems)?;
    if let (true, Some(place)) = (items.is_empty(), table.place_of("forward")) {
        let what = "the list is empty, so this bridge would carry nothing";
        let instead = format!("leave the key out for the gateway's own topics, or write {example}");
        problems.add_for("forward", place, &Wrong::new(what, instead));
    }
    Some(items.iter().filter_map(|item| text("forward", item, problems, filter)).collect())
}

fn order(text: &str) -> Result<Order, Wrong> {
    match text {
        "oldest" => Ok(Order::Oldest),
        "live_first" => Ok(Order::LiveFirst),
        other => Err(Wrong::choice(other, &["oldest", "live_first"])),
    }
}

fn name(text: &str) -> Result<Option<String>, Wrong> {
    values::line(text, MAX_NAME_BYTES).map(Some)
}

fn filter(text: &str) -> Result<String, Wrong> {
    if topic::is_valid_filter(text) {
        return Ok(text.to_owned());
    }
    Err(Wrong::value(
        text,
        "is not a topic filter: `+` fills a whole level, and `#` only the last one",
        "write for example `sensors/+/temp` or `sensors/#`",
    ))
}

fn protocol(text: &str) -> Result<Version, Wrong> {
    match text {
        "5" | "5.0" => Ok(Version::V5),
        "3.1.1" => Ok(Version::V3),
        other => Err(Wrong::value(
            other,
            "is no version of MQTT that we speak",
            "write 5 or 3.1.1, or leave it out to try 5 first",
        )),
    }
}
