//! What arrives at a broker, written down and read as it comes.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::tail::Tail;
use super::{PATIENCE, Process, wait_for};

/// A subscriber that writes down everything. It comes back after every restart of the broker.
pub(crate) struct Log {
    seen: RefCell<Seen>,
    _process: Process,
}

/// What was read so far: each look costs only what is new.
struct Seen {
    tail: Tail,
    messages: Vec<Message>,
    readings: Vec<Arrived>,
    ids: HashSet<String>,
}

impl Log {
    /// Writes down what a broker delivers under `filter`.
    pub(crate) fn of(dir: &Path, port: u16, filter: &str) -> Self {
        Self::with(dir, port, filter, "mqttv311")
    }

    /// The same in a version of MQTT, as mosquitto_sub calls it.
    pub(crate) fn with(dir: &Path, port: u16, filter: &str, version: &str) -> Self {
        let id = format!("log-{}", fastrand::u32(..));
        let path = dir.join(&id);
        let file = File::create(&path).unwrap();
        let mut command = Command::new("mosquitto_sub");
        command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-i", &id, "-c", "-q", "1", "-V", version]);
        let ready = format!("ready/{id}");
        command.args(["-t", filter, "-t", &ready, "-F", "%U\t%t\t%r\t%p"]).stdout(file).stderr(Stdio::null());
        let process = Process::spawn(&mut command);
        let seen =
            Seen { tail: Tail::open(&path), messages: Vec::new(), readings: Vec::new(), ids: HashSet::new() };
        let log = Self { seen: RefCell::new(seen), _process: process };
        wait_for("the log's subscription", PATIENCE, || {
            publish(port, &ready, "yes");
            log.any(|message| message.topic == ready)
        });
        log
    }

    /// Everything so far, in order.
    pub(crate) fn messages(&self) -> Vec<Message> {
        self.look(|seen| seen.messages.clone())
    }

    /// Whether there is such a message.
    pub(crate) fn any(&self, is_it: impl Fn(&Message) -> bool) -> bool {
        self.look(|seen| seen.messages.iter().any(is_it))
    }

    /// The payloads under `topic`, in order.
    pub(crate) fn payloads(&self, topic: &str) -> Vec<String> {
        let here = |message: &&Message| message.topic == topic;
        self.look(|seen| seen.messages.iter().filter(here).map(|message| message.payload.clone()).collect())
    }

    /// The events of one kind, in order.
    pub(crate) fn events(&self, kind: &str) -> Vec<Value> {
        let messages = self.messages().into_iter().filter(|message| message.topic.ends_with("/event"));
        messages.map(|message| message.json()).filter(|event| event["event"] == kind).collect()
    }

    /// The readings so far, in order.
    pub(crate) fn readings(&self) -> Vec<Arrived> {
        self.look(|seen| seen.readings.clone())
    }

    /// How many readings there are so far, copies included.
    pub(crate) fn count(&self) -> usize {
        self.look(|seen| seen.readings.len())
    }

    /// How many of the readings so far are copies of others.
    pub(crate) fn copies(&self) -> usize {
        self.look(|seen| seen.readings.len() - seen.ids.len())
    }

    /// Whether all these readings have arrived.
    pub(crate) fn has(&self, ids: &BTreeSet<String>) -> bool {
        self.look(|seen| ids.iter().all(|id| seen.ids.contains(id)))
    }

    fn look<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        let mut seen = self.seen.borrow_mut();
        seen.read();
        look(&seen)
    }
}

impl Seen {
    fn read(&mut self) {
        for line in self.tail.lines() {
            let mut parts = line.splitn(4, '\t');
            let (Some(at), Some(topic), Some(retained), Some(payload)) =
                (parts.next(), parts.next(), parts.next(), parts.next())
            else {
                panic!("not a line of ours: {line:?}");
            };
            let at = at.parse().unwrap();
            let message =
                Message { at, topic: topic.into(), retained: retained == "1", payload: payload.into() };
            if message.topic.ends_with("/data") {
                let reading = message.reading();
                self.ids.insert(reading.id.clone());
                self.readings.push(reading);
            }
            self.messages.push(message);
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// When it arrived, in seconds of Unix time.
    pub(crate) at: f64,
    pub(crate) topic: String,
    pub(crate) retained: bool,
    pub(crate) payload: String,
}

impl Message {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.payload).unwrap_or_else(|error| panic!("{}: {error}", self.payload))
    }

    pub(crate) fn reading(&self) -> Arrived {
        let json = self.json();
        Arrived {
            device: self.topic.split('/').nth(2).unwrap().into(),
            id: json["id"].as_str().unwrap().into(),
            seq: json["seq"].as_u64().unwrap(),
            late: json["late"].as_bool().unwrap_or(false),
            json,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    pub(crate) device: String,
    pub(crate) id: String,
    pub(crate) seq: u64,
    pub(crate) late: bool,
    pub(crate) json: Value,
}

/// One message, QoS 1. Whether it arrived is for others to see.
pub(crate) fn publish(port: u16, topic: &str, payload: &str) {
    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-q", "1", "-t", topic, "-m", payload]);
    let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
}

/// What is wrong with what arrived: nothing may be missing, and copies of one reading are the same
/// reading.
pub(crate) struct Verdict {
    pub(crate) missing: BTreeSet<String>,
    pub(crate) duplicates: usize,
}

pub(crate) fn compare(expected: &BTreeSet<String>, arrived: &[Arrived]) -> Verdict {
    let mut first: BTreeMap<&str, &Arrived> = BTreeMap::new();
    let mut last_seq: BTreeMap<&str, u64> = BTreeMap::new();
    let mut duplicates = 0;
    for reading in arrived {
        if let Some(original) = first.get(reading.id.as_str()) {
            assert_eq!(
                (&original.device, original.seq),
                (&reading.device, reading.seq),
                "one id, two readings"
            );
            duplicates += 1;
            continue;
        }
        first.insert(&reading.id, reading);
        let last = last_seq.insert(&reading.device, reading.seq);
        assert!(last.is_none_or(|last| last < reading.seq), "{} came after {last:?}", reading.id);
    }
    let missing = expected.iter().filter(|id| !first.contains_key(id.as_str())).cloned().collect();
    Verdict { missing, duplicates }
}
