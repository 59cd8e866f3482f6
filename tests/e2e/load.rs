//! Many ports at once.

use std::time::Duration;

use tempfile::TempDir;

use crate::support::{Boards, Cloud, Gateway, Log, assert_account, compare, free_port, port, wait_for};

#[test]
fn eight_ports_at_a_hundred_readings_a_second() {
    let dir = TempDir::new().unwrap();
    let cloud = Cloud::start(dir.path());
    let log = Log::of(dir.path(), cloud.port, "serialgate/#");
    let names: Vec<String> = (0..8).map(|n| format!("board{n}")).collect();
    let ports: Vec<String> = names.iter().map(|name| port(dir.path(), name, "format: wire")).collect();
    let gateway = Gateway::start(dir.path(), &ports, free_port(), cloud.port);
    gateway.wait_status("the bridge", |status| status["bridges"][0]["state"] == "connected");
    let mut boards: Vec<Boards> =
        names.iter().map(|name| Boards::start(dir.path(), name, "wire", 100, &["--seconds", "60"])).collect();
    boards.iter_mut().for_each(Boards::wait_all_acknowledged);
    let produced: std::collections::BTreeSet<String> =
        boards.iter().flat_map(|board| board.ids("produced")).collect();
    assert!(produced.len() >= 8 * 100 * 59, "{} readings", produced.len());
    wait_for("all readings in the cloud", Duration::from_secs(10), || log.count() >= produced.len());
    let verdict = compare(&produced, &log.readings());
    assert!(verdict.missing.is_empty(), "{} missing", verdict.missing.len());
    assert_eq!(verdict.duplicates, 0);
    let status = gateway.wait_status("an empty queue", |status| status["queue"]["readings"] == 0);
    assert_account(&status);
    for port in status["ports"].as_array().unwrap() {
        assert_eq!((&port["bad_check"], &port["bad_decode"]), (&0.into(), &0.into()), "{port}");
    }
}
