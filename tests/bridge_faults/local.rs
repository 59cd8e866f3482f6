//! Whatever happens to the cloud, clients on the local network notice nothing: how long a message takes from one to
//! another through the local broker.
//!
//! Their messages are forwarded to the cloud too, so each of them goes through the queue.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::lan::{Client, Times, times};
use crate::namespace::{CLOUD, Host, Net};
use crate::support::{Cloud, Gateway, PATIENCE, free_port, wait_for};
use crate::{MACHINE, signal, wanted};

/// 99 of 100 messages take less than this.
const P99_MAX: Duration = Duration::from_millis(50);
/// The median of so many rounds counts: a busy neighbour may spoil one.
const ROUNDS: usize = 3;
/// Messages of a round.
const MESSAGES: usize = 1000;
/// Between two messages.
const EVERY: Duration = Duration::from_micros(1500);
/// Messages that wait for the cloud when it comes back.
const BACKLOG: u64 = 20_000;
/// What is measured, and what waits.
const TOPIC: &str = "lan/measured";
const BULK: &str = "lan/bulk";

/// A gateway whose cloud is at `url`.
struct Local {
    gateway: Gateway,
    port: u16,
    _dir: TempDir,
}

impl Local {
    fn start(dir: TempDir, url: &str) -> Self {
        let port = free_port();
        let config = Gateway::config(dir.path(), &[], port, 0).replace("mqtt://127.0.0.1:0", url)
            + "    forward: [\"serialgate/#\", \"lan/#\"]\n";
        let gateway = Gateway::configured(dir.path(), &config);
        wait_for("the local broker", PATIENCE, || crate::support::answers(port));
        Self { gateway, port, _dir: dir }
    }

    fn start_here(url: &str) -> Self {
        Self::start(TempDir::new().unwrap(), url)
    }

    /// Waits until the bridge has met its fault.
    fn wait_error(&self, words: &str) {
        self.gateway.wait_status(words, |status| {
            status["bridges"][0]["last_error"].as_str().is_some_and(|error| error.contains(words))
        });
    }

    /// Lets so many messages wait for the cloud.
    fn fill(&self) {
        let mut client = Client::connect(self.port, "fills");
        for n in 0..BACKLOG {
            client.publish(BULK, format!("{n:050}"));
        }
        self.wait_backlog(|backlog| backlog >= BACKLOG);
    }

    fn wait_backlog(&self, holds: impl Fn(u64) -> bool) {
        self.gateway.wait_status("the backlog", |status| holds(backlog(status)));
    }

    fn backlog(&self) -> u64 {
        backlog(&self.gateway.status().unwrap())
    }

    fn measure(&self) -> Times {
        times(self.port, TOPIC, MESSAGES, EVERY)
    }
}

fn backlog(status: &Value) -> u64 {
    status["bridges"][0]["backlog"].as_u64().unwrap()
}

/// Measures while `fault` lasts, and says what it found.
fn judge(fault: &str, mut round: impl FnMut() -> Times) {
    let mut rounds: Vec<_> = (0..ROUNDS).map(|_| round()).collect();
    rounds.sort_by_key(|times| times.p99);
    let Times { p50, p99, longest } = rounds[ROUNDS / 2];
    println!("{fault:44} p50 {p50:9.1?}  p99 {p99:9.1?}  longest {longest:9.1?}");
    assert!(p99 < P99_MAX, "{fault}: {rounds:?}");
}

#[test]
fn local_clients_notice_nothing_of_an_uplink_fault() {
    let _here = MACHINE.blocking_write();
    type Case = fn(&str);
    let cases: [(&str, Case); 7] = [
        ("no fault", no_fault),
        ("the name server never answers", name_server_is_silent),
        ("SYN is dropped", syn_is_dropped),
        ("the handshake of MQTT stalls", mqtt_stalls),
        ("the handshake of TLS stalls", tls_stalls),
        ("the cloud is frozen, 20 000 rows wait", cloud_is_frozen),
        ("the cloud is back, 20 000 rows drain", backlog_drains),
    ];
    for (name, case) in cases.into_iter().filter(|(name, _)| wanted(name)) {
        case(name);
    }
}

fn no_fault(name: &str) {
    let dir = TempDir::new().unwrap();
    let cloud = Cloud::start(dir.path());
    let local = Local::start_here(&format!("mqtt://127.0.0.1:{}", cloud.port));
    local.gateway.wait_bridge();
    judge(name, || local.measure());
}

fn name_server_is_silent(name: &str) {
    let (host, dir) = (Host::new(), TempDir::new().unwrap());
    let server = host.within(|| UdpSocket::bind((Ipv4Addr::LOCALHOST, 53)).unwrap());
    let conf = dir.path().to_owned();
    let local = host.within_resolving(&conf, "nameserver 127.0.0.1\n", || {
        Local::start(dir, "mqtt://cloud.example.com:1883")
    });
    local.wait_error("no answer about the address of cloud.example.com");
    // It was asked.
    assert!(server.recv(&mut [0; 512]).unwrap() > 0);
    host.within(|| judge(name, || local.measure()));
}

fn syn_is_dropped(name: &str) {
    let net = Net::new();
    net.black_hole();
    let local = net.gateway.within(|| Local::start_here(&format!("mqtt://{CLOUD}:1883")));
    local.wait_error("cannot be reached");
    net.gateway.within(|| judge(name, || local.measure()));
}

fn mqtt_stalls(name: &str) {
    handshake_stalls(name, "mqtt", "did not answer CONNECT");
}

fn tls_stalls(name: &str) {
    handshake_stalls(name, "mqtts", "no answer within");
}

/// A server that accepts, and says nothing.
fn handshake_stalls(name: &str, scheme: &str, words: &str) {
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, free_port())).unwrap();
    let port = server.local_addr().unwrap().port();
    thread::spawn(move || {
        // Each connection stays open as long as the test's process.
        let _open: Vec<_> = server.incoming().collect();
    });
    let local = Local::start_here(&format!("{scheme}://127.0.0.1:{port}"));
    local.wait_error(words);
    judge(name, || local.measure());
}

fn cloud_is_frozen(name: &str) {
    let dir = TempDir::new().unwrap();
    let cloud = Cloud::start(dir.path());
    let local = Local::start_here(&format!("mqtt://127.0.0.1:{}", cloud.port));
    local.gateway.wait_bridge();
    signal(&cloud, Signal::SIGSTOP);
    local.fill();
    judge(name, || local.measure());
    signal(&cloud, Signal::SIGCONT);
}

fn backlog_drains(name: &str) {
    let dir = TempDir::new().unwrap();
    let mut cloud = Cloud::start(dir.path());
    let local = Local::start_here(&format!("mqtt://127.0.0.1:{}", cloud.port));
    judge(name, || {
        local.gateway.wait_bridge();
        cloud.stop();
        local.gateway.wait_status("the outage", |status| status["bridges"][0]["state"] != "connected");
        local.fill();
        cloud.resume();
        local.wait_backlog(|backlog| backlog < BACKLOG - 100);
        let (before, start) = (local.backlog(), Instant::now());
        let times = local.measure();
        let went = before.saturating_sub(local.backlog());
        println!("    {went} of the rows went to the cloud in {:.1?} of measurement", start.elapsed());
        assert!(went > BACKLOG / 10, "only {went} rows: that is no drain");
        local.wait_backlog(|backlog| backlog == 0);
        times
    });
}
