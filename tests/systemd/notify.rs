//! Up, reloading, stopping, and the line for people.

use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use tempfile::TempDir;

use crate::manager::Manager;
use crate::support::{Boards, Cloud, Gateway, PATIENCE, answers, free_port, port};

/// The line is brought up to date within this time.
const TOLD_WITHIN: Duration = Duration::from_secs(20);

#[test]
fn ready_means_that_everything_is_up() {
    let dir = TempDir::new().unwrap();
    let manager = Manager::new(dir.path());
    let broker = free_port();
    let config =
        Gateway::config(dir.path(), &[port(dir.path(), "board", "format: wire")], broker, free_port());
    let mut gateway = Gateway::in_environment(dir.path(), &config, &manager.environment());
    let first = manager.hear(PATIENCE).unwrap();
    // The very next moment: nothing is waited for.
    assert!(answers(broker), "the local broker");
    let status = gateway.status().expect("the control socket");
    assert_eq!(status["ports"][0]["state"], "absent", "a port that is not plugged in is no reason to wait");
    assert!(first.starts_with("STATUS=starting, ") || first.starts_with("READY=1\n"), "{first}");
    if !first.starts_with("READY") {
        manager.wait("ready", PATIENCE, &gateway, |said| said.starts_with("READY=1\n"));
    }
    assert!(gateway.terminate().success());
    let last = manager.heard().pop().unwrap();
    assert!(last.starts_with("STOPPING=1\nEXTEND_TIMEOUT_USEC=20000000\nSTATUS=stopping, "), "{last}");
}

#[test]
fn a_taken_port_does_not_keep_it_from_being_ready() {
    let dir = TempDir::new().unwrap();
    let manager = Manager::new(dir.path());
    let broker = free_port();
    let _holder = TcpListener::bind(("127.0.0.1", broker)).unwrap();
    let config = Gateway::config(dir.path(), &[], broker, free_port());
    let gateway = Gateway::in_environment(dir.path(), &config, &manager.environment());
    manager.wait("ready", PATIENCE, &gateway, |said| said.starts_with("READY=1\n"));
    assert!(gateway.log().contains("cannot listen; will try again"), "{}", gateway.log());
}

#[test]
fn the_line_for_people_follows() {
    let dir = TempDir::new().unwrap();
    let (manager, mut cloud) = (Manager::new(dir.path()), Cloud::start(dir.path()));
    let mut board = Boards::start(dir.path(), "board", "wire", 5, &["--seconds", "3600"]);
    let config =
        Gateway::config(dir.path(), &[port(dir.path(), "board", "format: wire")], free_port(), cloud.port);
    let gateway = Gateway::in_environment(dir.path(), &config, &manager.environment());
    let says = |line: &str| {
        let line = format!("STATUS={line}");
        manager.wait(&line, PATIENCE, &gateway, |said| said.contains(&line))
    };
    says("1 port open, cloud connected, ");
    cloud.stop();
    board.stop();
    says("0 of 1 ports open, cloud not connected, ");
    // And is not repeated while nothing changes.
    while manager.hear(TOLD_WITHIN).is_some_and(|said| said.contains("reading")) {}
    assert_eq!(manager.hear(TOLD_WITHIN), None);
}

#[test]
fn a_reload_is_told_and_a_bad_one_stays_told() {
    let dir = TempDir::new().unwrap();
    let manager = Manager::new(dir.path());
    let config = Gateway::config(dir.path(), &[], free_port(), free_port());
    let gateway = Gateway::in_environment(dir.path(), &config, &manager.environment());
    let ready = |said: &str| said.starts_with("READY=1\n");
    manager.wait("ready", PATIENCE, &gateway, ready);
    for (text, trouble) in [(config.clone(), false), ("nonsense: 1".to_owned(), true), (config, false)] {
        fs::write(dir.path().join("serialgate.yaml"), text).unwrap();
        gateway.hang_up();
        let told = manager.wait("the reload", PATIENCE, &gateway, |said| said.starts_with("RELOADING=1\n"));
        let time = told.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap();
        assert!(time.parse::<u64>().unwrap() > 0, "{told}");
        let told = manager.wait("its end", PATIENCE, &gateway, ready);
        assert_eq!(told.contains("STATUS=CONFIGURATION WRONG, "), trouble, "{told}");
    }
}
