//! The walking path: bytes from a board to local and cloud subscribers.

use tempfile::TempDir;

use crate::support::{
    Boards, Cloud, Gateway, Log, PATIENCE, assert_account, compare, free_port, port, wait_for,
};

#[test]
fn a_wire_board_needs_no_configuration_of_its_own() {
    let dir = TempDir::new().unwrap();
    let cloud = Cloud::start(dir.path());
    let log = Log::of(dir.path(), cloud.port, "serialgate/#");
    let mut boards = Boards::start(
        dir.path(),
        "board",
        "wire",
        50,
        &["--count", "100", "--uid", "0011223344556677", "--boot", "42", "--name", "greenhouse"],
    );
    let local = free_port();
    let gateway = Gateway::start(dir.path(), &[port(dir.path(), "board", "format: wire")], local, cloud.port);
    boards.wait_all_acknowledged();
    let produced = boards.ids("produced");
    wait_for("all readings in the cloud", PATIENCE, || log.count() >= produced.len());
    let verdict = compare(&produced, &log.readings());
    assert!(verdict.missing.is_empty(), "{:?}", verdict.missing);
    assert_eq!(verdict.duplicates, 0);
    let first = &log.readings()[0];
    assert_eq!(first.device, "greenhouse-6677");
    assert_eq!(first.id, "0011223344556677-2a/0");
    assert!(first.json["temp"].is_number() && first.json["hum"].is_number(), "{}", first.json);
    let ts = first.json["ts"].as_str().unwrap();
    assert!(ts.len() == 24 && ts.ends_with('Z'), "{ts}");

    // Retained words reach a local client that comes late.
    let words = Log::of(dir.path(), local, "serialgate/pi/#");
    let word = |topic: &str| words.messages().into_iter().find(|m| m.topic == topic && m.retained);
    wait_for("retained words", PATIENCE, || word("serialgate/pi/greenhouse-6677/state").is_some());
    assert_eq!(word("serialgate/pi/status").unwrap().payload, "online");
    // The board has gone since; the cloud was told both.
    let status = "serialgate/pi/greenhouse-6677/status";
    wait_for("the board to be offline", PATIENCE, || {
        word(status).is_some_and(|word| word.payload == "offline")
    });
    let told: Vec<String> =
        log.messages().into_iter().filter(|m| m.topic == status).map(|m| m.payload).collect();
    assert_eq!(told, ["online", "offline"]);
    let meta = word("serialgate/pi/greenhouse-6677/meta").unwrap().json();
    assert_eq!(meta["uid"], "0011223344556677");
    let channels = meta["channels"].as_array().unwrap();
    assert!(channels.iter().any(|channel| channel["name"] == "temp" && channel["unit"] == "Cel"), "{meta}");
    assert_eq!(word("serialgate/pi/greenhouse-6677/state").unwrap().json()["seq"], 99);

    let status = gateway.wait_status("an empty queue", |status| status["queue"]["readings"] == 0);
    assert_account(&status);
    assert_eq!(status["queue"]["accepted"], 100);
    assert_eq!(status["bridges"][0]["state"], "connected");
}

#[test]
fn json_lines_of_several_devices_share_a_port() {
    let dir = TempDir::new().unwrap();
    let cloud = Cloud::start(dir.path());
    let log = Log::of(dir.path(), cloud.port, "serialgate/#");
    let ports = [port(dir.path(), "line", "format: json, device_key: id")];
    let gateway = Gateway::start(dir.path(), &ports, free_port(), cloud.port);
    gateway.wait_status("the bridge", |status| status["bridges"][0]["state"] == "connected");
    let _boards =
        Boards::start(dir.path(), "line", "json", 20, &["--devices", "3", "--count", "50", "--wait"]);
    wait_for("all readings in the cloud", PATIENCE, || log.count() >= 150);
    let arrived = log.readings();
    compare(&std::collections::BTreeSet::new(), &arrived);
    let mut by_device = std::collections::BTreeMap::<String, Vec<u64>>::new();
    for reading in &arrived {
        by_device.entry(reading.device.clone()).or_default().push(reading.json["n"].as_u64().unwrap());
    }
    assert_eq!(by_device.len(), 3);
    for numbers in by_device.values() {
        assert_eq!(*numbers, (0..50).collect::<Vec<_>>());
    }
}
