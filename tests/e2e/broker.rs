//! Clients on the local network, and the broker's place in the whole.

use std::io::Write;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::{
    Boards, Cloud, Gateway, Log, PATIENCE, Process, answers, assert_account, free_port, port, publish,
    wait_for,
};

/// How long a reading may stay in memory in the test that watches that.
const COMMIT_WITHIN: Duration = Duration::from_secs(2);

/// mosquitto_pub to `port`, QoS 1. Returns when it has its PUBACK: how long that took.
fn publish_timed(port: u16, topic: &str, payload: &str) -> Duration {
    let start = Instant::now();
    publish(port, topic, payload);
    start.elapsed()
}

#[test]
fn a_lan_clients_acknowledged_message_survives_a_kill() {
    let dir = TempDir::new().unwrap();
    let mut cloud = Cloud::start(dir.path());
    let log = Log::of(dir.path(), cloud.port, "#");
    let local = free_port();
    let config = Gateway::config(dir.path(), &[], local, cloud.port);
    let config = config
        .replace("queue.db}", &format!("queue.db, commit_within: {}s}}", COMMIT_WITHIN.as_secs()))
        + "    forward: [\"serialgate/#\", \"sensors/#\"]\n";
    let mut gateway = Gateway::configured(dir.path(), &config);
    gateway.wait_bridge();
    // With the cloud there, its acknowledgement is ours.
    let took = publish_timed(local, "sensors/a", "online");
    assert!(took < COMMIT_WITHIN / 2, "{took:?}");

    // Should the cloud stop before it has heard that the log has the message, it would send it again.
    for settled in ["settled/1", "settled/2"] {
        publish(cloud.port, settled, "yes");
        wait_for("what comes after it", PATIENCE, || log.any(|message| message.topic == settled));
    }
    cloud.stop();
    gateway.wait_status("the outage", |status| status["bridges"][0]["state"] != "connected");
    // Without it, the message is on disk before the client is told. Not before its time, so that
    // this cannot be by chance.
    let took = publish_timed(local, "sensors/a", "offline");
    assert!(took > COMMIT_WITHIN / 2 && took < COMMIT_WITHIN * 3, "{took:?}");
    // What no bridge wants is nobody's loss, and need not wait.
    let took = publish_timed(local, "elsewhere", "not forwarded");
    assert!(took < COMMIT_WITHIN / 2, "{took:?}");
    let mut lines = Command::new("mosquitto_pub");
    lines.args(["-h", "127.0.0.1", "-p", &local.to_string(), "-V", "mqttv5", "-q", "2", "-t", "sensors/b"]);
    let mut lines = lines.arg("-l").stdin(Stdio::piped()).spawn().unwrap();
    let text: String = (0..50).map(|n| format!("line {n}\n")).collect();
    lines.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(lines.wait().unwrap().success());
    gateway.kill();
    gateway.resume();
    cloud.resume();
    wait_for("all messages in the cloud", PATIENCE, || log.payloads("sensors/b").len() >= 50);
    let expected: Vec<&str> = text.lines().collect();
    assert_eq!(log.payloads("sensors/b"), expected);
    assert_eq!(log.payloads("sensors/a"), ["online", "offline"]);
    assert!(!log.any(|message| message.topic == "elsewhere"));
    let status = gateway.wait_status("an empty queue", |status| status["queue"]["readings"] == 0);
    assert_account(&status);
    // Whether the first was counted as delivered before the kill, nobody knows after it.
    assert!(matches!(status["queue"]["delivered"].as_u64(), Some(51 | 52)), "{status}");
}

#[test]
fn clients_of_both_versions_are_served() {
    let dir = TempDir::new().unwrap();
    let local = free_port();
    let config = Gateway::config(dir.path(), &[], local, free_port());
    let gateway = Gateway::configured(dir.path(), &config);
    gateway.wait_status("the start", |_| true);
    for version in ["mqttv311", "mqttv5"] {
        let base = format!("lan/{version}");
        let client = |program: &str, more: &[&str]| {
            let mut command = Command::new(program);
            command.args(["-h", "127.0.0.1", "-p", &local.to_string(), "-V", version]).args(more);
            command.stdout(Stdio::null());
            command
        };
        let publish = |topic: &str, payload: &str, more: &[&str]| {
            let topic = format!("{base}/{topic}");
            let mut command = client("mosquitto_pub", &["-q", "1", "-t", &topic, "-m", payload]);
            assert!(command.args(more).status().unwrap().success(), "{topic}");
        };
        publish("state/a", "old", &["-r"]);
        publish("state/a", "new", &["-r"]);
        publish("state/b", "gone", &["-r"]);
        publish("state/b", "", &["-r"]);
        publish("data/a", "missed", &[]);
        let all = Log::with(dir.path(), local, &format!("{base}/#"), version);
        let one_level = Log::with(dir.path(), local, &format!("{base}/+/a"), version);
        publish("data/a", "live", &[]);
        publish("data/b/c", "deeper", &["-q", "2"]);
        publish("", "", &[]);

        let mut doomed = client(
            "mosquitto_sub",
            &[
                "-t",
                "x",
                "--will-topic",
                &format!("{base}/will"),
                "--will-payload",
                "died",
                "--will-qos",
                "1",
            ],
        );
        let clients = gateway.status().unwrap()["broker"]["clients"].as_u64().unwrap();
        let mut doomed = Process::spawn(&mut doomed);
        gateway.wait_status("it to be there", |status| status["broker"]["clients"].as_u64() > Some(clients));
        doomed.kill();
        wait_for("its will", PATIENCE, || all.any(|message| message.payload == "died"));

        let seen = |log: &Log| {
            let ours = log.messages().into_iter().filter(|message| message.topic.starts_with(&base));
            ours.map(|m| (m.topic[base.len()..].to_owned(), m.payload, m.retained)).collect::<Vec<_>>()
        };
        let message = |topic: &str, payload: &str, retained| (topic.to_owned(), payload.to_owned(), retained);
        assert_eq!(
            seen(&all),
            [
                message("/state/a", "new", true),
                message("/data/a", "live", false),
                message("/data/b/c", "deeper", false),
                message("/", "", false),
                message("/will", "died", false),
            ]
        );
        assert_eq!(seen(&one_level), [message("/state/a", "new", true), message("/data/a", "live", false)]);
    }
    assert_eq!(gateway.status().unwrap()["broker"]["dropped"], 0);
}

#[test]
fn a_broker_port_that_is_taken_stops_nothing_else() {
    let dir = TempDir::new().unwrap();
    let cloud = Cloud::start(dir.path());
    let log = Log::of(dir.path(), cloud.port, "serialgate/#");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let local = taken.local_addr().unwrap().port();
    let ports = [port(dir.path(), "board", "format: wire")];
    let gateway = Gateway::start(dir.path(), &ports, local, cloud.port);
    let mut board = Boards::start(dir.path(), "board", "wire", 100, &["--count", "100", "--wait"]);
    board.wait_all_acknowledged();
    let produced = board.ids("produced");
    wait_for("all readings in the cloud", PATIENCE, || log.has(&produced));
    // The one who has it is this test.
    let holder = format!("(pid {})", std::process::id());
    wait_for("the log to name the holder", PATIENCE, || {
        gateway
            .log()
            .lines()
            .any(|line| line.contains(&holder) && line.contains(&format!("127.0.0.1:{local}")))
    });
    drop(taken);
    let freed = Instant::now();
    wait_for("our broker to take over", PATIENCE, || answers(local));
    eprintln!("taken over {:?} after it was free", freed.elapsed());
    assert!(freed.elapsed() < Duration::from_secs(8), "{:?}", freed.elapsed());
    let words = Log::of(dir.path(), local, "serialgate/#");
    wait_for("retained words", PATIENCE, || words.any(|m| m.topic == "serialgate/pi/status" && m.retained));
    assert_eq!(gateway.log().matches("cannot listen").count(), 1, "{}", gateway.log());
}

#[test]
fn the_cloud_is_told_when_the_gateway_dies() {
    let dir = TempDir::new().unwrap();
    let cloud = Cloud::start(dir.path());
    let status = "serialgate/pi/status";
    let log = Log::of(dir.path(), cloud.port, status);
    let config = Gateway::config(dir.path(), &[], free_port(), cloud.port);
    for protocol in ["5", "3.1.1"] {
        let told = log.payloads(status).len();
        let config = format!("{config}    protocol: {protocol}\n");
        let mut gateway = Gateway::configured(dir.path(), &config);
        let wait_words = |words: &[&str]| {
            wait_for("the word", PATIENCE, || log.payloads(status)[told..] == *words);
        };
        wait_words(&["online"]);
        gateway.kill();
        wait_words(&["online", "offline"]);
        gateway.resume();
        wait_words(&["online", "offline", "online"]);
        // One that leaves says so itself.
        gateway.terminate();
        wait_words(&["online", "offline", "online", "offline"]);
        let late = Log::of(dir.path(), cloud.port, status);
        wait_for("the retained word", PATIENCE, || late.any(|m| m.retained && m.payload == "offline"));
    }
}
