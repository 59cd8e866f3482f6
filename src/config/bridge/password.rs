//! `password` of a bridge: one that stands somewhere, or a token made from a key.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::MAX_NAME_BYTES;
use crate::config::read::{Problems, Table, Wrong};
use crate::config::secret::Secret;
use crate::config::tree::{Node, Value};
use crate::config::values;

/// How long a token may be valid. A shorter one would be renewed all the time.
const VALID: RangeInclusive<Duration> = Duration::from_secs(5 * 60)..=Duration::from_secs(365 * 86_400);

/// How long a token is valid where nothing is said.
const VALID_DEFAULT: Duration = Duration::from_secs(3600);

/// What a bridge says as its password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Password {
    /// What is there, as it is.
    Plain(Secret),
    /// A token that is made for each connection.
    Sas(Sas),
}

/// A shared access signature: a token that Azure takes for a limited time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sas {
    /// The key, in base64.
    pub key: Secret,
    /// What it opens: `HUB.azure-devices.net/devices/DEVICE`.
    pub resource: String,
    /// The name of the key, where it is not the device's own.
    pub policy: Option<String>,
    /// How long one token is valid.
    pub valid: Duration,
}

impl Password {
    /// Reads the value of `password` for the bridge `bridge`.
    pub(super) fn read(bridge: &str, node: &Node, problems: &mut Problems) -> Option<Self> {
        let is_sas = |(key, _): &(Node, Node)| matches!(&key.value, Value::Text(key) if key == "sas");
        match &node.value {
            Value::Mapping(pairs) if pairs.iter().any(is_sas) => {
                let mut table = Table::open("`password`", node, problems)?;
                let sas = table.node("sas").and_then(|node| Sas::read(bridge, node, problems));
                table.close(&[], problems);
                sas.map(Self::Sas)
            }
            _ => Secret::read_from(bridge, node, problems).map(Self::Plain),
        }
    }

    /// Where it, or the key for it, stands.
    #[must_use]
    pub fn secret(&self) -> &Secret {
        match self {
            Self::Plain(secret) | Self::Sas(Sas { key: secret, .. }) => secret,
        }
    }

    /// The file where it stands.
    pub(super) fn file(&mut self) -> Option<&mut PathBuf> {
        match self {
            Self::Plain(secret) | Self::Sas(Sas { key: secret, .. }) => secret.file(),
        }
    }
}

impl Sas {
    fn read(bridge: &str, node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut table = Table::open("`sas`", node, problems)?;
        let key = match table.node("key") {
            Some(node) => Secret::read_from(&format!("{bridge}-key"), node, problems),
            None => {
                let what = "`sas` has no `key`";
                let instead = format!("add a line such as `key: {{file: /etc/serialgate/secrets/{bridge}}}`");
                problems.add(table.place, &Wrong::new(what, instead));
                None
            }
        };
        let (mut resource, mut policy, mut valid) = (String::new(), None, VALID_DEFAULT);
        let example = "resource: hub.azure-devices.net/devices/greenhouse";
        table
            .require("resource", example, &mut resource, problems, |text| values::line(text, MAX_NAME_BYTES));
        table.set("policy", &mut policy, problems, |text| values::line(text, MAX_NAME_BYTES).map(Some));
        table.set("valid", &mut valid, problems, |text| values::duration(text, &VALID, "1h"));
        table.close(&[], problems);
        Some(Self { key: key?, resource, policy, valid })
    }
}
