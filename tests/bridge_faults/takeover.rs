//! Two gateways with one client id, as two copies of one SD card are: each cuts the other off, for ever.

use std::any::Any;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::support::{
    Boards, Cloud, Gateway, Log, PATIENCE, answers, compare, free_port, pause, port, wait_for,
};
use crate::{MACHINE, wanted};

/// Readings per second of each board.
const RATE: u32 = 10;
/// Once it was told, the two go on for so long: a few times to and fro.
const GO_ON: Duration = Duration::from_secs(6);
/// Lines of the log that may come before it is clear what happens: where the broker only closes it takes
/// three ends of connections that worked; one or two may be over before that.
const LINES_BEFORE_MAX: usize = 10;

/// A gateway with a board and the client id that it shares.
struct Twin {
    gateway: Gateway,
    board: Boards,
    config: String,
    dir: TempDir,
}

impl Twin {
    fn start(cloud: u16, protocol: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let board =
            Boards::start(dir.path(), "board", "wire", RATE, &["--ring", "20000", "--seconds", "3600"]);
        let ports = [port(dir.path(), "board", "format: wire")];
        let config = Gateway::config(dir.path(), &ports, free_port(), cloud)
            + &format!("    protocol: {protocol}\n    client_id: twin\n");
        let gateway = Gateway::configured(dir.path(), &config);
        Self { gateway, board, config, dir }
    }

    /// How often the log tells of the bridge's coming and going.
    fn lines(&self) -> usize {
        let log = self.gateway.log();
        log.lines().filter(|line| line.contains("bridge connected") || line.contains("bridge lost")).count()
    }

    /// Waits until the status says so.
    fn wait_told(&self, words: &str) {
        let words = words.trim_start_matches("error=\"");
        self.gateway.wait_status(words, |status| {
            status["bridges"][0]["last_error"].as_str().is_some_and(|error| error.contains(words))
        });
    }

    /// The log names it, once.
    fn assert_told_once(&self, words: &str) {
        let log = self.gateway.log();
        assert_eq!(log.lines().filter(|line| line.contains(words)).count(), 1, "{log}");
        let line = log.lines().find(|line| line.contains(words)).unwrap();
        assert!(line.contains("WARN") && line.contains("its own `client_id`"), "{line}");
    }

    /// Does as it was told.
    fn take_another_id(&mut self) {
        self.gateway.terminate();
        let config = self.config.replace("client_id: twin", "client_id: another");
        std::fs::write(self.dir.path().join("serialgate.yaml"), config).unwrap();
        self.gateway.resume();
        self.gateway.wait_bridge();
    }
}

/// The broker that both want.
#[derive(Clone, Copy)]
enum Hub {
    /// Our own: it says why it ends a connection.
    Serialgate,
    /// It only closes; this version of it in MQTT 5 too.
    Mosquitto,
}

impl Hub {
    /// Starts it; gives its port, and what keeps it alive.
    fn start(self, dir: &TempDir) -> (u16, Box<dyn Any>) {
        match self {
            Self::Mosquitto => {
                let cloud = Cloud::start(dir.path());
                (cloud.port, Box::new(cloud))
            }
            Self::Serialgate => {
                let port = free_port();
                let config = Gateway::config(dir.path(), &[], port, 0);
                let config = config.split("bridges:").next().unwrap();
                let gateway = Gateway::configured(dir.path(), config);
                wait_for("the hub", PATIENCE, || answers(port));
                (port, Box::new(gateway))
            }
        }
    }
}

fn twins(hub: Hub, protocol: &str, words: &str) -> String {
    let dir = TempDir::new().unwrap();
    let (cloud, _hub) = hub.start(&dir);
    let log = Log::of(dir.path(), cloud, "serialgate/pi/#");
    let mut twins = [(); 2].map(|()| Twin::start(cloud, protocol));
    twins.iter().for_each(|twin| twin.wait_told(words));
    let before = twins.each_ref().map(Twin::lines);
    let connections = || log.events("bridge").iter().filter(|event| event["state"] == "connected").count();
    let first = connections();
    pause(GO_ON);
    let more = connections() - first;
    assert!(more > 2, "they do not cut each other off");
    for (twin, before) in twins.iter().zip(before) {
        twin.assert_told_once(words);
        assert!(before <= LINES_BEFORE_MAX, "{}", twin.gateway.log());
        assert_eq!(twin.lines(), before, "{}", twin.gateway.log());
    }
    twins[1].take_another_id();
    let mut readings = 0;
    for twin in &mut twins {
        twin.gateway.wait_bridge();
        twin.board.stop();
        let acknowledged = twin.board.ids("acknowledged");
        readings += acknowledged.len();
        wait_for("everything in the cloud", PATIENCE, || log.has(&acknowledged));
        assert!(compare(&acknowledged, &log.readings()).missing.is_empty());
    }
    format!("{before:?} lines of the log, and none of {more} connections later; {readings} readings")
}

#[test]
fn two_gateways_with_one_client_id_are_told_so_once() {
    let _here = MACHINE.blocking_read();
    let certain = "error=\"another client uses our client id `twin`";
    let perhaps = "perhaps another client uses our client id `twin`";
    let cases = [
        ("one client id, MQTT 5, told", Hub::Serialgate, "5", certain),
        ("one client id, MQTT 5, not told", Hub::Mosquitto, "5", perhaps),
        ("one client id, MQTT 3.1.1", Hub::Mosquitto, "3.1.1", perhaps),
    ];
    let cases = cases.into_iter().filter(|(name, ..)| wanted(name));
    let run = |(name, hub, protocol, words)| (name, thread::spawn(move || twins(hub, protocol, words)));
    let running: Vec<_> = cases.map(run).collect();
    running.into_iter().for_each(|(name, twins)| println!("{name:32} {}", twins.join().unwrap()));
}
