//! `serialgate check --connect` as a person runs it.

use std::path::Path;
use std::process::Command;

use serialgate::config::Scheme;

use crate::cloud::{Gateway, Mosquitto, bridge_to, free_address};
use crate::papers::{Authority, endpoint, listener};
use crate::tls::answering;

/// Writes `bridges` into a configuration and checks its links: exit code, standard output and error.
async fn check(folder: &Path, bridges: &str) -> (i32, String, String) {
    let file = folder.join("serialgate.yaml");
    std::fs::write(&file, format!("gateway: pi\nbridges:\n{bridges}")).unwrap();
    let run = move || {
        let program = env!("CARGO_BIN_EXE_serialgate");
        Command::new(program).args(["check", "--connect", "--config"]).arg(file).output().unwrap()
    };
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn a_link_is_tried_beside_the_running_daemon() {
    let authority = Authority::new("Farm CA");
    let address = free_address();
    let _mosquitto = Mosquitto::start_with(&[(address, &listener(&authority.issue("server")))]).await;
    let gateway = Gateway::start(bridge_to(endpoint(Scheme::Mqtts, address, authority.trust())));
    gateway.until("connected", || gateway.is_connected()).await;
    // Relative paths begin at the file's folder.
    let bridge =
        format!("  - {{name: cloud, url: 'mqtts://localhost:{}', tls: {{ca: ca.pem}}}}\n", address.port());
    let (code, out, error) = check(authority.ca().parent().unwrap(), &bridge).await;
    assert_eq!(code, 0, "{out}{error}");
    for words in [
        "localhost is 127.0.0.1",
        "TLS 1.3",
        "CN=broker",
        "issued by       CN=Farm CA",
        "MQTT 5 as `serialgate-pi-cloud-check`",
        "round trip",
    ] {
        assert!(out.contains(words), "no `{words}` in:\n{out}");
    }
    assert!(gateway.is_connected());
    assert_eq!(gateway.status.lock().last_error, None);
}

#[tokio::test]
async fn what_fails_is_told_with_its_remedy_and_the_others_are_tried() {
    let (folder, closed) = (tempfile::tempdir().unwrap(), free_address());
    let mosquitto = Mosquitto::start().await;
    // CONNACK of MQTT 5: not authorized.
    let refusing = answering(b"\x20\x03\x00\x87\x00").await;
    let bridges = format!(
        "  - {{name: closed, url: 'mqtt://{closed}'}}
  - {{name: files, url: 'mqtts://localhost', tls: {{ca: none.pem}}}}
  - {{name: works, url: 'mqtt://{}'}}
  - {{name: stranger, url: 'mqtt://{refusing}'}}\n",
        mosquitto.address
    );
    let (code, out, error) = check(folder.path(), &bridges).await;
    assert_eq!(code, 69, "{out}{error}");
    for words in [
        "  tcp         FAILED",
        "  files       FAILED",
        "none.pem",
        "  round trip  ok",
        "  mqtt        FAILED",
        "not authorized",
        "We came as `serialgate-pi-stranger-check`",
    ] {
        assert!(out.contains(words), "no `{words}` in:\n{out}");
    }
    assert!(error.contains("warning: bridge files: ") && error.contains("3 of 4 bridges"), "{error}");
}
