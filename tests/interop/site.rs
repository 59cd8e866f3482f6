//! One gateway, and those who publish and watch on both of its sides.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::certificates::Certificates;
use crate::support::{Gateway, Log, PATIENCE, free_port, wait_for};
use crate::trials::{Case, Transport, attempt};

/// The broker has this long to acknowledge what `mosquitto_pub` says.
const PUBLISHED_WITHIN: Duration = Duration::from_secs(20);

pub(crate) struct Site {
    gateway: Gateway,
    here: u16,
    there: u16,
    seen_here: Option<Log>,
    seen_there: Log,
    folder: PathBuf,
}

impl Site {
    /// A gateway that bridges to `case` through the proxy at `port`.
    pub(crate) fn start(folder: &Path, case: &Case, port: u16, certificates: &Certificates) -> Self {
        let here = free_port();
        let seen_there = Log::of(folder, case.plain, "#");
        let config = config(folder, case, (here, port), certificates);
        let mut gateway = Gateway::configured(folder, &config);
        wait_up(&mut gateway);
        let seen_here = Some(Log::of(folder, here, "down/#"));
        Self { gateway, here, there: case.plain, seen_here, seen_there, folder: folder.to_owned() }
    }

    pub(crate) fn wait_connected(&self, limit: Duration) {
        self.gateway
            .wait_status_for("the bridge", limit, |status| status["bridges"][0]["state"] == "connected");
    }

    pub(crate) fn last_error(&self) -> Option<String> {
        Some(self.gateway.status()?["bridges"][0]["last_error"].as_str()?.to_owned())
    }

    /// The gateway's own broker.
    pub(crate) fn port_here(&self) -> u16 {
        self.here
    }

    /// The other one.
    pub(crate) fn port_there(&self) -> u16 {
        self.there
    }

    // === Watching ===

    /// What arrived at the broker.
    pub(crate) fn there(&self, topic: &str) -> Vec<String> {
        self.seen_there.payloads(topic)
    }

    /// What arrived at the gateway.
    pub(crate) fn here(&self, topic: &str) -> Vec<String> {
        self.seen_here.as_ref().map_or_else(Vec::new, |log| log.payloads(topic))
    }

    /// Waits for so many different payloads, or in vain.
    pub(crate) fn wait_there(&self, topic: &str, count: usize, limit: Duration) {
        let _ = attempt(|| wait_for("messages", limit, || distinct(self.there(topic)) >= count));
    }

    pub(crate) fn wait_here(&self, topic: &str, count: usize, limit: Duration) {
        let _ = attempt(|| wait_for("messages", limit, || distinct(self.here(topic)) >= count));
    }

    // === The gateway's life ===

    pub(crate) fn stop(&mut self) {
        self.seen_here = None;
        self.gateway.terminate();
    }

    pub(crate) fn restart(&mut self) {
        let port = self.here;
        self.gateway.resume();
        wait_up(&mut self.gateway);
        self.seen_here = Some(Log::of(&self.folder, port, "down/#"));
    }

    pub(crate) fn kill(&mut self) {
        self.gateway.kill();
    }
}

fn wait_up(gateway: &mut Gateway) {
    wait_for("the gateway", PATIENCE, || {
        gateway.assert_runs();
        gateway.status().is_some()
    });
}

fn distinct(mut payloads: Vec<String>) -> usize {
    payloads.sort_unstable();
    payloads.dedup();
    payloads.len()
}

/// Publishes `payloads` one by one.
pub(crate) fn publish(port: u16, topic: &str, qos: usize, payloads: &[String]) {
    let mut command = Command::new("mosquitto_pub");
    command.args([
        "-h",
        "127.0.0.1",
        "-p",
        &port.to_string(),
        "-V",
        "mqttv311",
        "-q",
        &qos.to_string(),
        "-t",
        topic,
        "-l",
    ]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    for payload in payloads {
        writeln!(input, "{payload}").unwrap();
    }
    drop(input);
    let mut ended = None;
    let answered = attempt(|| {
        wait_for("the end of mosquitto_pub", PUBLISHED_WITHIN, || {
            ended = child.try_wait().unwrap();
            ended.is_some()
        });
    });
    if answered.is_err() {
        child.kill().unwrap();
        child.wait().unwrap();
        panic!("mosquitto_pub gets no answer to QoS {qos}");
    }
    assert!(ended.unwrap().success(), "{topic}: not published");
}

fn config(folder: &Path, case: &Case, (here, port): (u16, u16), certificates: &Certificates) -> String {
    let base = Gateway::config(folder, &[], here, port);
    let (base, _) = base.split_once("    url:").unwrap();
    let host = if case.transport == Transport::Tcp { "127.0.0.1" } else { "localhost" };
    let path = match case.transport {
        Transport::WebSocket | Transport::WebSocketTls => case.path,
        Transport::Tcp | Transport::Tls | Transport::MutualTls => "",
    };
    let tls = match case.transport {
        Transport::Tcp | Transport::WebSocket => String::new(),
        Transport::Tls | Transport::WebSocketTls => {
            format!("    tls: {{ca: {}}}\n", certificates.ca.display())
        }
        Transport::MutualTls => format!(
            "    tls: {{ca: {}, certificate: {}, key: {}}}\n",
            certificates.ca.display(),
            certificates.client.display(),
            certificates.client_key.display()
        ),
    };
    let routes = |name: &str| {
        let all: Vec<String> =
            (0..=case.max_qos).map(|qos| format!("{{filter: \"{name}/{qos}/#\", qos: {qos}}}")).collect();
        all.join(", ")
    };
    format!(
        "{base}    url: {}://{host}:{port}{path}\n    protocol: {}\n{tls}    forward: [{}, \"serialgate/#\"]\n    receive: [{}]\n",
        case.transport.scheme(),
        case.version.words(),
        routes("up"),
        routes("down"),
    )
}
