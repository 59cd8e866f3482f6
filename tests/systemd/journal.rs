//! What the journal gets: fields that people search for, and priorities that mean what they do elsewhere.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

#[test]
fn entries_have_their_fields_and_priorities() {
    let dir = TempDir::new().unwrap();
    let place = dir.path().display();
    let config = format!(
        "gateway: pi\nports: [{{path: {place}/board, format: wire}}]\nqueue: {{path: {place}/queue.db}}\n\
         broker: {{listen: []}}\ncontrol: {{socket: {place}/control.sock}}\n\
         bridges: [{{name: cloud, url: 'mqtt://127.0.0.1:1'}}]\n"
    );
    let file = dir.path().join("serialgate.yaml");
    fs::write(&file, config).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/systemd/journal.py");
    let mut command = Command::new("unshare");
    command.args(["-m", "python3"]).arg(script).arg("bridge cannot connect");
    command.arg(env!("CARGO_BIN_EXE_serialgate")).args(["run", "--config"]).arg(file);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let entries: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let entry = |message: &str| {
        let found = entries.iter().find(|entry| entry["MESSAGE"] == message);
        found.unwrap_or_else(|| panic!("no {message:?} in {text}"))
    };
    assert!(entries.iter().all(|entry| entry["SYSLOG_IDENTIFIER"] == "serialgate"), "{text}");
    let port = entry("port state");
    // Information, as syslog counts.
    assert_eq!((&port["PRIORITY"], &port["STATE"]), (&"6".into(), &"absent".into()), "{port}");
    assert_eq!(port["PORT"], format!("{place}/board"));
    let bridge = entry("bridge cannot connect");
    // A warning.
    assert_eq!((&bridge["PRIORITY"], &bridge["BRIDGE"]), (&"4".into(), &"cloud".into()), "{bridge}");
}
