//! STUB: shapes of the configuration; the branch `config` fills in parsing, defaults, checks.
#![expect(missing_docs, reason = "stub")]
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Config {
    pub gateway: String,
    pub base: String,
    pub ports: Vec<Port>,
    pub queue: Queue,
    pub broker: Broker,
    pub bridges: Vec<Bridge>,
    pub control: Control,
}
#[derive(Clone, Debug)]
pub struct Port {
    /// A path, a by-id link or a glob.
    pub path: String,
    pub format: Format,
    pub baud: u32,
    pub device: Option<String>,
    pub device_key: Option<String>,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Wire,
    Json,
}
#[derive(Clone, Debug)]
pub struct Queue {
    pub path: PathBuf,
    pub durability: Durability,
    pub commit_within: Duration,
    /// bytes
    pub max_size: u64,
    pub max_age: Duration,
    pub when_full: WhenFull,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    Late,
    Always,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    DropOldest,
    DropNewest,
}
#[derive(Clone, Debug)]
pub struct Broker {
    pub listen: Vec<Listener>,
}
#[derive(Clone, Debug)]
pub struct Listener {
    pub address: SocketAddr,
}
#[derive(Clone, Debug)]
pub struct Bridge {
    pub name: String,
    /// host and port of `mqtt://host:port`
    pub host: String,
    pub port: u16,
    /// None: try 5, then 3.1.1 when refused
    pub protocol: Option<crate::mqtt::packet::Version>,
    pub client_id: Option<String>,
    pub username: Option<String>,
    pub password: Option<Secret>,
    /// None: our own topics except `state`
    pub forward: Option<Vec<String>>,
}
/// Where a password comes from; read at each connect, never printed.
#[derive(Clone, Debug)]
pub enum Secret {
    File(PathBuf),
    Env(String),
    Credential(String),
}
#[derive(Clone, Debug)]
pub struct Control {
    pub socket: Option<PathBuf>,
}
