//! Debian's mosquitto_sub, mosquitto_pub and mosquitto_rr.

use std::fs::File;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::agent::Message;
use crate::site::Site;
use crate::support::{PATIENCE, Process, pause, wait_for};

/// As the programs call them.
pub(crate) const VERSIONS: [&str; 2] = ["mqttv311", "mqttv5"];

/// One of the programs, with its connection to the broker.
pub(crate) fn client(site: &Site, program: &str, version: &str) -> Command {
    let mut command = Command::new(program);
    command.args(["-h", "localhost", "-p", &site.port.to_string(), "-V", version]);
    command
}

/// Publishes one line after the other; returns when all are acknowledged.
pub(crate) fn publish_lines(site: &Site, version: &str, qos: u8, topic: &str, lines: &[String]) {
    let mut command = client(site, "mosquitto_pub", version);
    let mut child =
        command.args(["-q", &qos.to_string(), "-t", topic, "-l"]).stdin(Stdio::piped()).spawn().unwrap();
    let text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{topic}");
}

/// Publishes one message, with more options; what came of it.
pub(crate) fn publish(site: &Site, version: &str, topic: &str, more: &[&str]) -> Output {
    client(site, "mosquitto_pub", version).args(["-t", topic]).args(more).output().unwrap()
}

/// A subscriber that writes down what comes.
pub(crate) struct Sub {
    file: std::path::PathBuf,
    _process: Process,
}

impl Sub {
    /// Subscribes and waits until that is done.
    pub(crate) fn start(site: &Site, version: &str, qos: u8, filters: &[&str]) -> Self {
        Self::with(site, version, &["-q", &qos.to_string()], filters)
    }

    /// With options of its own.
    pub(crate) fn with(site: &Site, version: &str, more: &[&str], filters: &[&str]) -> Self {
        let id = format!("sub-{}", fastrand::u32(..));
        let file = site.folder().join(&id);
        let mut command = client(site, "mosquitto_sub", version);
        // Its last filter tells when all are subscribed to.
        let ready = format!("ready/{id}");
        for filter in filters.iter().copied().chain([ready.as_str()]) {
            command.args(["-t", filter]);
        }
        command.args(["-F", "%j"]).args(more).stdout(File::create(&file).unwrap());
        let sub = Self { file, _process: Process::spawn(&mut command) };
        wait_for("a subscription", PATIENCE, || {
            assert!(publish(site, version, &ready, &["-n"]).status.success());
            sub.all().iter().any(|message| message.topic == ready)
        });
        sub
    }

    /// What came so far.
    pub(crate) fn messages(&self) -> Vec<Message> {
        self.all().into_iter().filter(|message| !message.topic.starts_with("ready/")).collect()
    }

    /// Waits until so many came; gives them all.
    pub(crate) fn wait_messages(&self, count: usize) -> Vec<Message> {
        let start = std::time::Instant::now();
        loop {
            let messages = self.messages();
            if messages.len() >= count {
                return messages;
            }
            assert!(start.elapsed() < PATIENCE, "{} of {count} messages", messages.len());
            pause(std::time::Duration::from_millis(20));
        }
    }

    fn all(&self) -> Vec<Message> {
        let text = std::fs::read_to_string(&self.file).unwrap();
        // The last line may not be written to its end.
        let Some((complete, _)) = text.rsplit_once('\n') else { return Vec::new() };
        complete.lines().map(message).collect()
    }
}

fn message(line: &str) -> Message {
    let json: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    Message {
        topic: json["topic"].as_str().unwrap().to_owned(),
        payload: json["payload"].as_str().unwrap_or_default().to_owned(),
        qos: u8::try_from(json["qos"].as_u64().unwrap()).unwrap(),
        retain: json["retain"] == 1,
        properties: json["properties"].clone(),
        ..Message::default()
    }
}
