//! `ports`: the serial lines and what is spoken on them.

use std::collections::HashMap;
use std::path::Path;

use super::read::{Problems, Table, Wrong, quoted};
use super::tree::{Node, Place};
use super::values;
use crate::topic;

/// Most entries in `ports`. Each may be a pattern that matches several lines.
const MAX_PORTS: usize = 64;

/// Longest JSON key that names a device, in bytes.
const MAX_KEY_BYTES: usize = 64;

/// Slowest and fastest line, in bits per second.
const BAUD: std::ops::RangeInclusive<u32> = 50..=12_000_000;

/// Keys of later versions.
const LATER: [&str; 9] = [
    "check",
    "data_bits",
    "flow_control",
    "framing",
    "home_assistant",
    "output",
    "parity",
    "payload",
    "stop_bits",
];

/// Formats of later versions.
const LATER_FORMATS: [&str; 7] = ["csv", "fields", "influx", "key_value", "modbus", "mysensors", "nmea"];

/// One entry of `ports`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// A path, a by-id link or a glob pattern. Always absolute.
    pub path: String,
    /// What is spoken on the line.
    pub format: Format,
    /// Bits per second.
    pub baud: u32,
    /// The device's name in topics. With format `json` it is `None` where `device_key` names the
    /// device or `path` is a pattern: see [`Port::device_at`].
    pub device: Option<String>,
    /// The JSON key whose value names the device; format `json` only.
    pub device_key: Option<String>,
}

/// What is spoken on a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Serialgate wire v1: boards describe themselves, and readings are acknowledged.
    #[default]
    Wire,
    /// One JSON object per line.
    Json,
}

impl Format {
    /// The word in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wire => "wire",
            Self::Json => "json",
        }
    }
}

impl Default for Port {
    fn default() -> Self {
        Self { path: String::new(), format: Format::default(), baud: 115_200, device: None, device_key: None }
    }
}

impl Port {
    /// Whether `path` is a pattern, so that it may stand for several lines.
    #[must_use]
    pub fn is_pattern(&self) -> bool {
        self.path.contains(['*', '?', '['])
    }

    /// The device's name where neither the port nor the readings give one and the line was found at
    /// `path`: the last component of the path as a slug.
    #[must_use]
    pub fn device_at(path: &str) -> Option<String> {
        topic::slug(Path::new(path).file_name()?.to_str()?)
    }

    /// Reads the whole list.
    pub(super) fn read_all(table: &mut Table<'_>, problems: &mut Problems) -> Vec<Self> {
        let example = "one port per line, as in `- path: /dev/ttyUSB0`";
        let items = table.list("ports", MAX_PORTS, example, problems).unwrap_or_default();
        let mut ports = Vec::new();
        let mut paths = HashMap::new();
        let mut devices = HashMap::new();
        for item in items {
            let Some(port) = Self::read(item, problems) else { continue };
            let instead = "keep one of the two";
            once(&mut paths, "path", &port.path, item.place, instead, problems);
            if let Some(device) = &port.device {
                let instead = "give each port a `device` of its own";
                once(&mut devices, "device", device, item.place, instead, problems);
            }
            ports.push(port);
        }
        ports
    }

    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut port = Self::default();
        let mut table = Table::open("a port", node, problems)?;
        table.require("path", "path: /dev/ttyUSB0", &mut port.path, problems, path);
        table.set("format", &mut port.format, problems, format);
        table.set("baud", &mut port.baud, problems, |text| values::number(text, BAUD, "115200"));
        table.set("device", &mut port.device, problems, |text| values::slug(text).map(Some));
        table.set("device_key", &mut port.device_key, problems, |text| {
            values::line(text, MAX_KEY_BYTES).map(Some)
        });
        if let Some(place) = table.place_of("device_key") {
            if port.format == Format::Wire {
                let what = "boards that speak `wire` name themselves";
                let instead = "leave it out, or write `format: json`";
                problems.add_for("device_key", place, &Wrong::new(what, instead));
            }
            if table.place_of("device").is_some() {
                let what = "`device` names the device of this port already";
                problems.add_for("device_key", place, &Wrong::new(what, "keep one of the two"));
            }
        }
        table.close(&LATER, problems);
        let named = port.device.is_some() || port.device_key.is_some();
        if port.format == Format::Json && !named && !port.is_pattern() {
            port.device = Self::device_at(&port.path);
        }
        Some(port)
    }
}

/// Notes a problem where `value` was seen before.
fn once(
    seen: &mut HashMap<String, Place>,
    key: &str,
    value: &str,
    place: Place,
    instead: &str,
    problems: &mut Problems,
) {
    if value.is_empty() {
        return;
    }
    if let Some(first) = seen.get(value) {
        let what = format!("the port in line {} has {key} {} already", first.line, quoted(value));
        problems.add(place, &Wrong::new(what, instead));
    } else {
        seen.insert(value.to_owned(), place);
    }
}

fn path(text: &str) -> Result<String, Wrong> {
    let text = values::line(text, values::MAX_PATH_BYTES)?;
    if !text.starts_with('/') {
        let bare = text.trim_start_matches("./");
        return Err(Wrong::value(
            &text,
            "is not a full path",
            format!("write {}", quoted(&format!("/dev/{bare}"))),
        ));
    }
    match glob::Pattern::new(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(Wrong::value(
            &text,
            &format!("is not a pattern: {}", error.msg.to_lowercase()),
            "write for example `/dev/serial/by-id/usb-Arduino_*`",
        )),
    }
}

fn format(text: &str) -> Result<Format, Wrong> {
    match text {
        "wire" => Ok(Format::Wire),
        "json" => Ok(Format::Json),
        later if LATER_FORMATS.contains(&later) => {
            Err(Wrong::later(&format!("`{later}`"), "write `wire` or `json`"))
        }
        other => Err(Wrong::choice(other, &["wire", "json"])),
    }
}
