//! `bridges`: the links to other brokers.

use std::collections::HashMap;

use super::broker::MQTT_PORT;
use super::read::{Problems, Table, Wrong, text};
use super::secret::Secret;
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

/// Longest host name, in bytes (RFC 1035, 2.3.4).
const MAX_HOST_BYTES: usize = 253;

/// What to write instead of a wrong url.
const URL_EXAMPLE: &str =
    "write for example `mqtt://broker.example.com`, or `mqtt://192.168.1.5:1884` for another port than 1883";

/// Keys of later versions.
const LATER: [&str; 2] = ["receive", "tls"];

/// In which order a bridge gets what waits for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// As it came in.
    #[default]
    Oldest,
    /// New readings first, while what waits keeps a share.
    LiveFirst,
}

/// A link from here to another broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bridge {
    /// Its name in logs and status: a slug, different for each bridge.
    pub name: String,
    /// Host name or IP address of the other broker (`mqtt://host:port`).
    pub host: String,
    /// TCP port of the other broker.
    pub port: u16,
    /// The version to speak; `None`: try 5, then 3.1.1 when refused.
    pub protocol: Option<Version>,
    /// The client id; `None`: one made from the gateway and the bridge.
    pub client_id: Option<String>,
    /// The user name.
    pub username: Option<String>,
    /// The password; never without a user name.
    pub password: Option<Secret>,
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
        let mut address = Default::default();
        table.require("url", "url: mqtt://broker.example.com:1883", &mut address, problems, url);
        (bridge.host, bridge.port) = address;
        table.set("protocol", &mut bridge.protocol, problems, |text| protocol(text).map(Some));
        table.set("client_id", &mut bridge.client_id, problems, name);
        table.set("username", &mut bridge.username, problems, name);
        if let Some(node) = table.node("password") {
            bridge.password = Secret::read_from(&bridge.name, node, problems);
            if table.place_of("username").is_none() {
                let wrong =
                    Wrong::new("there is no user name for it", "add a line such as `username: greenhouse`");
                problems.add_for("password", node.place, &wrong);
            }
        }
        table.set("order", &mut bridge.order, problems, order);
        bridge.rate = Rate::read(&mut table, problems);
        bridge.batch = Batch::read(&mut table, problems);
        bridge.forward = forward(&mut table, problems);
        table.close(&LATER, problems);
        Some(bridge)
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

/// Host and port of `mqtt://host:port`.
fn url(text: &str) -> Result<(String, u16), Wrong> {
    if text.contains('@') {
        // The text is not repeated: it may hold a password.
        let what = "user name and password do not belong in the url";
        return Err(Wrong::new(
            what,
            "write them as `username` and `password`, and the url as `mqtt://host:port`",
        ));
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(Wrong::value(text, "has no scheme", URL_EXAMPLE));
    };
    match scheme {
        "mqtt" => {}
        "mqtts" | "ws" | "wss" => {
            let instead = "write `mqtt://`, and keep that link inside a network you trust or a VPN";
            return Err(Wrong::later(&format!("`{scheme}://`"), instead));
        }
        other => {
            return Err(Wrong::value(&format!("{other}://"), "is not a scheme of MQTT", URL_EXAMPLE));
        }
    }
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let broken = || Wrong::value(text, "is not of the form `mqtt://host:port`", URL_EXAMPLE);
    let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) if host.parse::<std::net::Ipv6Addr>().is_ok() => (host, port),
        Some(_) => return Err(broken()),
        None => rest.find(':').map_or((rest, ""), |colon| rest.split_at(colon)),
    };
    let host_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if host.is_empty() || host.len() > MAX_HOST_BYTES || !host.chars().all(host_char) {
        return Err(broken());
    }
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => MQTT_PORT,
        Some(digits) => values::number(digits, 1..=u16::MAX, "1883").map_err(|_| broken())?,
        None => return Err(broken()),
    };
    Ok((host.to_owned(), port))
}
