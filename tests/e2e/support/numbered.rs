//! A device that prints JSON lines, each with a number and a text that does not compress.

use std::collections::HashSet;
use std::iter::repeat_with;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::{Log, Tty};

/// Characters of text per line: what the file grows by, about.
const TEXT_CHARS: usize = 1000;

/// At the far end of a serial line. It hears nothing: what is lost behind it, is lost.
pub(crate) struct Numbered {
    tty: Tty,
    said: u64,
}

impl Numbered {
    /// Plugs it in at `dir/name`; the port's configuration is [`Numbered::port`].
    pub(crate) fn plug(dir: &Path, name: &str) -> Self {
        Self { tty: Tty::plug(&dir.join(name)), said: 0 }
    }

    /// The port it is at; the device has the port's name.
    pub(crate) fn port(dir: &Path, name: &str) -> String {
        super::port(dir, name, &format!("format: json, device: {name}"))
    }

    /// Prints so many lines, as fast as they are read.
    pub(crate) fn say(&mut self, lines: u64) {
        for _ in 0..lines {
            let text: String = repeat_with(fastrand::alphanumeric).take(TEXT_CHARS).collect();
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
            let line = json!({"n": self.said, "said": now, "text": text});
            self.tty.write(format!("{line}\n").as_bytes());
            self.said += 1;
        }
    }

    /// How many lines it printed so far.
    pub(crate) fn said(&self) -> u64 {
        self.said
    }
}

/// The numbers of device `name` that have arrived, in the order in which they came first.
pub(crate) fn numbers(log: &Log, name: &str) -> Vec<u64> {
    let readings = log.readings();
    let of_it = readings.iter().filter(|reading| reading.device == name);
    let mut seen = HashSet::new();
    of_it.map(|reading| reading.json["n"].as_u64().unwrap()).filter(|n| seen.insert(*n)).collect()
}

/// How long the lines of device `name` from number `from` on took to arrive, in seconds; the longest.
pub(crate) fn slowest(log: &Log, name: &str, from: u64) -> f64 {
    let topic = format!("/{name}/data");
    let messages = log.messages().into_iter().filter(|message| message.topic.ends_with(&topic));
    let of_it = messages.map(|message| (message.at, message.json()));
    let late = of_it.filter(|(_, json)| json["n"].as_u64().unwrap() >= from);
    late.map(|(at, json)| at - json["said"].as_f64().unwrap()).fold(0.0, f64::max)
}
