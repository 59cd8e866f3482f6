//! The command line as a whole: what goes where, and how it ends.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;

use serialgate::control::{Response, Server};
use serialgate::status::{self, Status};

fn serialgate(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_serialgate")).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn every_help_has_an_example() {
    let main = text(&serialgate(&["--help"]).stdout);
    let commands = main.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    let names: Vec<&str> = commands.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(names.contains(&"check") && names.contains(&"status"), "{names:?}");
    for name in names.into_iter().filter(|name| *name != "help") {
        let output = serialgate(&[name, "--help"]);
        assert_eq!(output.status.code(), Some(0), "{name}");
        let help = text(&output.stdout);
        assert!(help.contains("Example") && help.contains(&format!("  serialgate {name}")), "{help}");
    }
}

#[test]
fn every_help_of_the_queue_commands_has_an_example() {
    let main = text(&serialgate(&["queue", "--help"]).stdout);
    let commands = main.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    let lines = commands.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names: Vec<&str> = lines.filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(
        names,
        ["stats", "peek", "export", "import", "pause", "resume", "purge", "verify", "dead-letters", "help"]
    );
    for name in names.into_iter().filter(|name| *name != "help") {
        let output = serialgate(&["queue", name, "--help"]);
        assert_eq!(output.status.code(), Some(0), "{name}");
        let help = text(&output.stdout);
        assert!(help.contains("Example") && help.contains(&format!("  serialgate queue {name}")), "{help}");
    }
}

#[test]
fn the_queue_commands_say_why_they_cannot() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("control.sock");
    let socket = socket.to_str().unwrap();
    for command in ["stats", "peek", "export", "pause", "resume", "purge", "verify", "dead-letters"] {
        let output = serialgate(&["queue", command, "--socket", socket]);
        assert_eq!(output.status.code(), Some(69), "{command}");
        assert!(text(&output.stderr).contains("no serialgate is running"), "{command}");
    }
    let file = folder.path().join("s.yaml");
    fs::write(&file, "nonsense").unwrap();
    let output = serialgate(&["queue", "stats", "--config", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(78));
    let output = serialgate(&["queue", "purge", "--older-than", "7", "--socket", socket]);
    assert_eq!(output.status.code(), Some(64));
    assert!(text(&output.stderr).contains("has no unit"), "{}", text(&output.stderr));
    // No daemon, and no file where it would be.
    fs::write(&file, "queue: {path: q.db}\ncontrol: {socket: none.sock}\n").unwrap();
    for command in ["verify", "export"] {
        let output = serialgate(&["queue", command, "--config", file.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(66), "{command}");
        let said = text(&output.stderr);
        assert!(said.contains("no daemon answers") && said.contains("q.db: No such file"), "{said}");
        assert!(!folder.path().join("q.db").exists());
    }
}

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    for args in [&["chekc"][..], &["check", "--no-such-option"], &[]] {
        let output = serialgate(args);
        assert_eq!(output.status.code(), Some(64), "{args:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{args:?}");
    }
    assert_eq!(serialgate(&["--version"]).status.code(), Some(0));
}

#[test]
fn a_wrong_configuration_is_listed_on_standard_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("s.yaml");
    fs::write(&file, "gateway: Green House\nprots: []\n").unwrap();
    let file = file.to_str().unwrap();
    let output = serialgate(&["check", "--config", file]);
    assert_eq!(output.status.code(), Some(78));
    assert_eq!(text(&output.stdout), "");
    let lines: Vec<String> = text(&output.stderr).lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with(&format!("{file}:1:10: gateway: ")), "{lines:?}");
    assert!(lines[1].starts_with(&format!("{file}:2:1: ")), "{lines:?}");
    let output = serialgate(&["ports", "--config", file]);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(78), ""));
}

#[test]
fn a_right_configuration_is_told_on_standard_output() {
    let output = serialgate(&["check", "--config", "config/serialgate.yaml"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).starts_with("OK: config/serialgate.yaml\n"));
}

#[test]
fn every_example_is_right() {
    let mut examples: Vec<_> =
        fs::read_dir("config/examples").unwrap().map(|entry| entry.unwrap().path()).collect();
    examples.sort();
    assert!(examples.len() >= 6, "{examples:?}");
    for example in examples {
        let output = serialgate(&["check", "--config", example.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        // Passwords and certificates are the reader's own; nothing else is to be warned of.
        let said = text(&output.stderr);
        let missing =
            |line: &str| line.starts_with("warning: ") && line.contains(" cannot be read: No such file");
        assert!(said.lines().all(missing), "{}: {said}", example.display());
        let written = fs::read_to_string(&example).unwrap();
        assert!(written.lines().nth(1).unwrap().starts_with("# For whom: "), "{}", example.display());
    }
}

#[test]
fn without_a_daemon_there_is_no_status() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("control.sock");
    let output = serialgate(&["status", "--socket", socket.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(69));
    assert!(text(&output.stderr).contains("no serialgate is running"));

    let file = folder.path().join("s.yaml");
    fs::write(&file, "nonsense").unwrap();
    let output = serialgate(&["status", "--config", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(78));
}

/// A daemon that knows nothing but its status, until the test ends.
fn answer_at(socket: &Path) {
    let status = || Status {
        version: "0.1.0".into(),
        gateway: "greenhouse".into(),
        uptime_s: 7,
        clock_synced: true,
        ports: Vec::new(),
        queue: status::Queue::default(),
        bridges: Vec::new(),
        broker: status::Broker::default(),
    };
    let (bound, ready) = mpsc::channel();
    let socket = socket.to_owned();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let server = Server::bind(&socket).await.unwrap();
            bound.send(()).unwrap();
            let answer = move || Response::Status(Box::new(status()));
            server.serve(move |_, answers| async move { answers.send(answer()).await.unwrap() }).await;
        });
    });
    ready.recv().unwrap();
}

#[test]
fn a_daemon_that_runs_shows_its_status() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("control.sock");
    answer_at(&socket);

    let screen = serialgate(&["status", "--socket", socket.to_str().unwrap()]);
    assert_eq!(screen.status.code(), Some(0), "{}", text(&screen.stderr));
    assert!(text(&screen.stdout).starts_with("serialgate 0.1.0 on greenhouse, up 7s"));

    // Found through the configuration, too.
    let file = folder.path().join("s.yaml");
    fs::write(&file, "control: {socket: control.sock}").unwrap();
    let json = serialgate(&["status", "--json", "--config", file.to_str().unwrap()]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["gateway"], "greenhouse");
    assert_eq!(json["queue"]["dropped"]["full"], 0);
}

#[test]
fn a_reader_that_has_gone_is_no_trouble() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_serialgate"));
    command.args(["check", "--config", "config/serialgate.yaml"]);
    let status = command.stdout(writer).stderr(Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(0));
}
