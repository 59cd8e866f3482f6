//! What is known of a device beside its readings.

use std::fmt::Display;

use bytes::Bytes;
use serde::Serialize;

use crate::reading::Uid;

use super::unique_keys;

/// What is known of a device, for its `meta` topic. What is not known is absent from the JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DeviceMeta {
    /// Name and version of the firmware, as the board says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firmware: Option<String>,
    /// The board's unique id.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_hex")]
    pub uid: Option<Uid>,
    /// The serial port it speaks on, as configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// Its channels.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<ChannelMeta>,
}

/// What is known of a channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ChannelMeta {
    /// Its name, as the device says it.
    pub name: String,
    /// Unit of its values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// What kind of quantity it is, in Home Assistant's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Whether it can be set.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub writable: bool,
}

impl DeviceMeta {
    /// The payload of `meta`. Channels bear the names that they have as keys of `data`.
    #[must_use]
    pub fn to_json(&self) -> Bytes {
        let json = match unique_keys(self.channels.iter().map(|channel| channel.name.as_str())) {
            None => serde_json::to_vec(self),
            Some(keys) => {
                let mut renamed = self.clone();
                for (channel, key) in renamed.channels.iter_mut().zip(keys) {
                    channel.name = key.into_owned();
                }
                serde_json::to_vec(&renamed)
            }
        };
        // Strings and lists of strings always serialise.
        json.unwrap_or_default().into()
    }
}

fn as_hex<S: serde::Serializer>(uid: &Option<Uid>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(uid.as_ref().map_or(&"" as &dyn Display, |uid| uid))
}
