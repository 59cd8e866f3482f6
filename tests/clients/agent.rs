//! Clients under command. A small program for each library (`tests/clients/agents`) does what one
//! JSON line after the other tells it, and writes its answers and the messages that come as JSON
//! lines. So every test is written once, for all libraries.
//!
//! | `do` | with | answer |
//! |---|---|---|
//! | `connect` | `client` (a name), `version` (4 or 5), `host`, `port`, and any of `id`, `clean`, `keep_alive`, `reconnect`, `username`, `password`, `will`, `transport` (`tcp`, `websockets`), `ca`, `certificate`, `key`, and over 5 `session_expiry`, `receive_maximum`, `maximum_packet_size`, `topic_alias_maximum` | `present`: whether the session was there; what CONNACK says |
//! | `subscribe` | `filter`, `qos`, `no_local`, `retain_as_published`, `retain_handling`, `subscription_id` | `reasons` |
//! | `unsubscribe` | `filter` | `reasons` |
//! | `publish` | `topic`, `qos`, `retain`, one of `payload`, `hex`, `fill` (that many bytes), and over 5 `format`, `content_type`, `response_topic`, `correlation`, `expiry`, `alias`, `user` (pairs) | `reason`, if the library tells it |
//! | `burst` | `topic`, `qos`, `count`, `prefix`: payloads are the prefix and a number | nothing, once all are acknowledged |
//! | `disconnect` | over 5 `session_expiry` | |

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::{PATIENCE, Process, wait_for};

/// A client library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Library {
    Paho,
    Gmqtt,
    MqttJs,
}

/// A version of MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V3,
    V5,
}

pub(crate) const LIBRARIES: [Library; 3] = [Library::Paho, Library::Gmqtt, Library::MqttJs];
pub(crate) const VERSIONS: [Version; 2] = [Version::V3, Version::V5];

/// Every library with every version.
pub(crate) fn everybody() -> impl Iterator<Item = (Library, Version)> {
    LIBRARIES.into_iter().flat_map(|library| VERSIONS.map(|version| (library, version)))
}

impl Version {
    /// As CONNECT says it.
    fn level(self) -> u8 {
        match self {
            Self::V3 => 4,
            Self::V5 => 5,
        }
    }
}

/// Where `scripts/setup test` puts the libraries.
pub(crate) fn tools() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients")
}

impl Library {
    fn command(self) -> Command {
        let agents = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/agents");
        let mut command;
        let program = match self {
            Self::Paho | Self::Gmqtt => {
                command = Command::new(tools().join("venv/bin/python"));
                // No `__pycache__` in the sources.
                command.arg("-B");
                if self == Self::Paho { "with_paho.py" } else { "with_gmqtt.py" }
            }
            Self::MqttJs => {
                command = Command::new("node");
                command.env("NODE_PATH", tools().join("node_modules"));
                "with_mqttjs.js"
            }
        };
        command.arg(agents.join(program));
        command
    }
}

/// A message as a client got it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
pub(crate) struct Message {
    pub(crate) topic: String,
    /// If it is text.
    #[serde(default)]
    pub(crate) payload: String,
    /// If it is not.
    #[serde(default)]
    pub(crate) hex: String,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) dup: bool,
    pub(crate) properties: Value,
}

/// What an agent has said.
#[derive(Default)]
struct Said {
    answers: Vec<Value>,
    /// With the name of the client that got it.
    messages: Vec<(String, Message)>,
    /// Connections that ended: client, words, reason code.
    ends: Vec<(String, String, Option<u64>)>,
}

/// A process with clients of one library. Killing it breaks their connections.
pub(crate) struct Agent {
    process: Process,
    stdin: ChildStdin,
    said: Arc<Mutex<Said>>,
    port: u16,
    last_order: u64,
    /// What it was told last, for people.
    last: String,
}

impl Agent {
    /// Clients for the broker at this port.
    pub(crate) fn start(library: Library, port: u16) -> Self {
        let mut command = library.command();
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| {
            panic!("{library:?}: {error}; scripts/setup test installs what is missing")
        });
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let said = Arc::default();
        let heard = Arc::clone(&said);
        thread::spawn(move || listen(stdout, &heard));
        Self { process: Process::of(child), stdin, said, port, last_order: 0, last: String::new() }
    }

    /// Connects a client, with `more` in the command.
    pub(crate) fn connect(&mut self, client: &str, version: Version, more: Value) -> Value {
        self.try_connect(client, version, more).unwrap_or_else(|error| panic!("{client}: {error}"))
    }

    /// The same; the error is what the library tells its user, with a reason code if it has one.
    pub(crate) fn try_connect(
        &mut self,
        client: &str,
        version: Version,
        more: Value,
    ) -> Result<Value, Value> {
        let order = json!({"host": "localhost", "port": self.port, "version": version.level()});
        self.try_ask("connect", client, merged(order, more))
    }

    /// Tells a client to do something and waits until it has.
    pub(crate) fn ask(&mut self, what: &str, client: &str, order: Value) -> Value {
        self.try_ask(what, client, order).unwrap_or_else(|error| panic!("{client}: {what}: {error}"))
    }

    pub(crate) fn try_ask(&mut self, what: &str, client: &str, order: Value) -> Result<Value, Value> {
        let number = self.order(what, client, order);
        self.wait(number)
    }

    /// Tells a client to do something; [`wait`](Self::wait) for its answer.
    pub(crate) fn order(&mut self, what: &str, client: &str, order: Value) -> u64 {
        self.last_order += 1;
        self.last = format!("{client}: {what}");
        let head = json!({"order": self.last_order, "do": what, "client": client});
        writeln!(self.stdin, "{}", merged(head, order)).unwrap();
        self.last_order
    }

    pub(crate) fn wait(&self, number: u64) -> Result<Value, Value> {
        let mut found = None;
        wait_for(&format!("an answer; {}", self.last), PATIENCE, || {
            let said = self.said.lock().unwrap();
            found = said.answers.iter().find(|answer| answer["answer"] == number).cloned();
            found.is_some()
        });
        let mut found = found.unwrap();
        if found.get("error").is_some() { Err(found) } else { Ok(found["ok"].take()) }
    }

    /// Subscribes; gives the reason code.
    pub(crate) fn subscribe(&mut self, client: &str, filter: &str, qos: u8) -> u64 {
        let answer = self.ask("subscribe", client, json!({"filter": filter, "qos": qos}));
        answer["reasons"][0].as_u64().unwrap()
    }

    /// The messages that a client got so far.
    pub(crate) fn messages(&self, client: &str) -> Vec<Message> {
        let said = self.said.lock().unwrap();
        said.messages.iter().filter(|(name, _)| name == client).map(|(_, message)| message.clone()).collect()
    }

    /// Waits until a client has got so many; gives them all.
    pub(crate) fn wait_messages(&self, client: &str, count: usize) -> Vec<Message> {
        let mut messages = Vec::new();
        let start = std::time::Instant::now();
        while messages.len() < count {
            messages = self.messages(client);
            let last = messages.last();
            let seen = messages.len();
            assert!(start.elapsed() < PATIENCE, "{client}: {seen} of {count} messages; the last: {last:?}");
            crate::support::pause(std::time::Duration::from_millis(5));
        }
        messages
    }

    /// Forgets the messages that came so far.
    pub(crate) fn forget(&self) {
        self.said.lock().unwrap().messages.clear();
    }

    /// Waits until a client's connection has ended; what the client was told.
    pub(crate) fn wait_end(&self, client: &str) -> (String, Option<u64>) {
        let mut found = None;
        wait_for("the end of a connection", PATIENCE, || {
            let said = self.said.lock().unwrap();
            // A library may tell of one end twice, first with the reason.
            found = said.ends.iter().find(|(name, ..)| name == client).cloned();
            found.is_some()
        });
        let (_, words, reason) = found.unwrap();
        (words, reason)
    }

    /// Whether a client's connection has ended by now.
    pub(crate) fn has_ended(&self, client: &str) -> bool {
        self.said.lock().unwrap().ends.iter().any(|(name, ..)| name == client)
    }

    /// Breaks all connections: nothing is said on them any more.
    pub(crate) fn kill(mut self) {
        self.process.kill();
    }
}

/// Only the payloads.
pub(crate) fn payloads(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|message| message.payload.as_str()).collect()
}

/// What a burst with this prefix consists of.
pub(crate) fn numbered(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{prefix}{n}")).collect()
}

/// Both objects' keys in one.
pub(crate) fn merged(mut into: Value, more: Value) -> Value {
    let (Some(keys), Value::Object(more)) = (into.as_object_mut(), more) else {
        panic!("an order is an object");
    };
    keys.extend(more);
    into
}

/// Reads what an agent says, until it ends.
fn listen(stdout: ChildStdout, said: &Mutex<Said>) {
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        let mut line: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
        let mut said = said.lock().unwrap();
        let client = line["client"].as_str().unwrap_or_default().to_owned();
        if line.get("answer").is_some() {
            said.answers.push(line);
        } else if line.get("message").is_some() {
            let message = serde_json::from_value(line["message"].take()).unwrap();
            said.messages.push((client, message));
        } else {
            let words = line["closed"].as_str().unwrap_or_default().to_owned();
            said.ends.push((client, words, line["reason"].as_u64()));
        }
    }
}
