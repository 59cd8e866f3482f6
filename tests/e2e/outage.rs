//! The cloud goes away and comes back.

use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::{
    Boards, Cloud, Gateway, Log, PATIENCE, assert_account, compare, free_port, pause, port, wait_for,
};

#[test]
fn an_outage_loses_nothing_and_ends_at_once() {
    let dir = TempDir::new().unwrap();
    let mut cloud = Cloud::start(dir.path());
    let log = Log::of(dir.path(), cloud.port, "serialgate/#");
    let ports = [port(dir.path(), "a", "format: wire"), port(dir.path(), "b", "format: wire")];
    let gateway = Gateway::start(dir.path(), &ports, free_port(), cloud.port);
    let mut boards = ["a", "b"].map(|name| Boards::start(dir.path(), name, "wire", 50, &["--seconds", "20"]));
    gateway.wait_status("readings in the cloud", |s| s["queue"]["delivered"].as_u64() > Some(20));

    cloud.stop();
    pause(Duration::from_secs(8));
    let status = gateway.status().unwrap();
    assert_account(&status);
    assert!(status["queue"]["readings"].as_u64() > Some(500), "{}", status["queue"]);
    assert!(status["queue"]["commits"].as_u64() > Some(10), "{}", status["queue"]);
    assert!(status["queue"]["volatile"].as_u64() < Some(100), "{}", status["queue"]);
    assert_eq!(status["bridges"][0]["state"], "backoff");
    let before = log.count();
    cloud.resume();
    let back = Instant::now();
    wait_for("flow after the outage", Duration::from_millis(3500), || log.count() > before);
    // The log itself needs up to a second to come back to mosquitto.
    eprintln!(
        "flow again {:?} after the cloud was back (the subscriber's own return included)",
        back.elapsed()
    );

    boards.iter_mut().for_each(Boards::wait_all_acknowledged);
    let produced = boards.iter().flat_map(|board| board.ids("produced")).collect();
    wait_for("the backlog to drain", PATIENCE, || log.has(&produced));
    let arrived = log.readings();
    let verdict = compare(&produced, &arrived);
    assert!(verdict.duplicates <= 500, "{} duplicates", verdict.duplicates);
    assert!(arrived.iter().any(|reading| reading.late), "nothing says that it is late");
    assert!(!arrived[0].late);
    let status = gateway.wait_status("an empty queue", |status| status["queue"]["readings"] == 0);
    assert_account(&status);
    assert_eq!(status["queue"]["dropped"], serde_json::json!({"full": 0, "expired": 0, "corrupt": 0}));
}

#[test]
fn a_gateway_that_starts_without_its_cloud_reads_its_ports() {
    let dir = TempDir::new().unwrap();
    let nobody = free_port();
    let mut boards = Boards::start(dir.path(), "a", "wire", 100, &["--count", "200"]);
    let mut gateway =
        Gateway::start(dir.path(), &[port(dir.path(), "a", "format: wire")], free_port(), nobody);
    boards.wait_all_acknowledged();
    let status = gateway.wait_status("the queue", |status| status["queue"]["readings"] == 200);
    assert_account(&status);
    assert_eq!(status["queue"]["volatile"], 0);
    // And everything is still there after a clean restart.
    gateway.terminate();
    gateway.resume();
    let status = gateway.wait_status("the restart", |_| true);
    assert_account(&status);
    assert_eq!(status["queue"]["readings"], 200);
}

#[test]
fn readings_that_waited_on_their_board_say_so() {
    let dir = TempDir::new().unwrap();
    let cloud = Cloud::start(dir.path());
    let log = Log::of(dir.path(), cloud.port, "serialgate/#");
    let mut boards = Boards::start(dir.path(), "a", "wire", 10, &["--seconds", "25"]);
    let ports = [port(dir.path(), "a", "format: wire")];
    let mut gateway = Gateway::start(dir.path(), &ports, free_port(), cloud.port);
    wait_for("readings", PATIENCE, || log.count() >= 20);
    gateway.kill();
    pause(Duration::from_secs(13));
    gateway.resume();
    boards.wait_all_acknowledged();
    let produced = boards.ids("produced");
    wait_for("all of them", PATIENCE, || log.has(&produced));
    let readings = log.readings();
    let late = readings.iter().filter(|reading| reading.late).count();
    // Three seconds of those thirteen, less what the gateway was quick to take at first.
    assert!(!readings[0].late && late >= 20, "{late} of {}", readings.len());
    assert!(!readings.last().unwrap().late, "what comes at once is not late");
}
