//! The queue's file is damaged, or cannot be.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::{Boards, Cloud, Gateway, Log, PATIENCE, assert_account, free_port, port, wait_for};

/// Whatever the file is like, the service is there within this time.
const STARTS_WITHIN: Duration = Duration::from_secs(5);

/// SQLite's log: its own head, and a page of ours with its head, in bytes.
const LOG_HEAD: u64 = 32;
const LOG_PAGE: u64 = 24 + 1024;

/// A backlog is on disk, the gateway is down, and `harm` comes over the file. Gives what became of
/// it: the events of a quarantine, and how much of the backlog arrived.
fn after(harm: impl Fn(&Path)) -> (Vec<serde_json::Value>, usize) {
    let dir = TempDir::new().unwrap();
    let mut cloud = Cloud::start(dir.path());
    let log = Log::of(dir.path(), cloud.port, "serialgate/#");
    cloud.stop();
    let ports = [port(dir.path(), "board", "format: wire")];
    let mut gateway = Gateway::start(dir.path(), &ports, free_port(), cloud.port);
    let mut board = Boards::start(dir.path(), "board", "wire", 200, &["--count", "300", "--wait"]);
    board.wait_all_acknowledged();
    let backlog = board.ids("acknowledged");
    gateway.terminate();

    harm(&dir.path().join("queue.db"));
    let start = Instant::now();
    gateway.resume();
    let status = gateway.wait_status("the start", |_| true);
    assert!(start.elapsed() < STARTS_WITHIN, "{:?}", start.elapsed());
    assert_account(&status);
    assert_eq!(status["queue"]["state"], "ok", "{status}");
    cloud.resume();
    let mut board = Boards::start(dir.path(), "board", "wire", 200, &["--count", "100", "--wait"]);
    board.wait_all_acknowledged();
    let produced = board.ids("produced");
    wait_for("new readings in the cloud", PATIENCE, || log.has(&produced));
    // What is whole in a file that was set aside comes back.
    let status = gateway.wait_status("an empty queue", |status| {
        log.events("salvage").len() == log.events("quarantine").len() && status["queue"]["readings"] == 0
    });
    assert_account(&status);
    gateway.assert_runs();

    let events = log.events("quarantine");
    let aside = set_aside(dir.path());
    assert_eq!(aside.len(), events.len(), "{aside:?}, {events:?}");
    for event in &events {
        let path = event["path"].as_str().unwrap();
        assert!(aside.contains(&path.to_owned()) && !event["reason"].as_str().unwrap().is_empty(), "{event}");
    }
    assert_eq!(gateway.log().matches("queue file damaged").count(), events.len(), "{}", gateway.log());
    let arrived = log.readings().iter().filter(|reading| backlog.contains(&reading.id)).count();
    (events, arrived)
}

/// The damaged queue files in `dir`, their logs not counted.
fn set_aside(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path().display().to_string());
    names
        .filter(|name| {
            name.contains("queue.db.damaged-") && !name.ends_with("-wal") && !name.ends_with("-salvaged")
        })
        .collect()
}

fn log_of(file: &Path) -> std::path::PathBuf {
    file.with_file_name("queue.db-wal")
}

/// Pages of the log that hold something: the salts in their heads are those in the log's own.
fn used_pages(log: &File) -> u64 {
    let salts_at = |at| {
        let mut salts = [0; 8];
        log.read_exact_at(&mut salts, at).map(|()| salts).ok()
    };
    let salts = salts_at(16);
    (0..).take_while(|page| salts_at(LOG_HEAD + page * LOG_PAGE + 8) == salts).count() as u64
}

#[test]
fn garbage_in_place_of_the_queue_is_set_aside() {
    let (events, arrived) = after(|file| {
        let garbage: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(100_000).collect();
        fs::write(file, garbage).unwrap();
    });
    // All of it stands in the log.
    assert_eq!((events.len(), arrived), (1, 300));
}

#[test]
fn a_queue_that_is_cut_off_in_the_middle_is_set_aside() {
    let (events, arrived) = after(|file| {
        // The newest commits stand in the log. So cut off both.
        let log = File::options().read(true).write(true).open(log_of(file)).unwrap();
        log.set_len(LOG_HEAD + used_pages(&log) / 2 * LOG_PAGE).unwrap();
        File::options().write(true).open(file).unwrap().set_len(5000).unwrap();
    });
    assert_eq!(events.len(), 1);
    assert!((1..300).contains(&arrived), "{arrived}");
}

#[test]
fn a_damaged_log_gives_what_is_whole_in_it() {
    let (events, arrived) = after(|file| {
        let log = File::options().read(true).write(true).open(log_of(file)).unwrap();
        // About half of the commits, and half of a page.
        log.set_len(LOG_HEAD + used_pages(&log) / 2 * LOG_PAGE + LOG_PAGE / 2).unwrap();
    });
    eprintln!("{arrived} of 300 readings were left");
    assert_eq!(events, [] as [serde_json::Value; 0]);
    assert!((1..300).contains(&arrived), "{arrived}");
}

#[test]
fn an_empty_queue_file_beside_a_full_log_is_set_aside() {
    let (events, arrived) = after(|file| {
        File::options().write(true).open(file).unwrap().set_len(0).unwrap();
    });
    assert_eq!((events.len(), arrived), (1, 300));
}

#[test]
fn a_queue_whose_file_is_gone_is_set_aside() {
    let dir = TempDir::new().unwrap();
    let config = Gateway::config(dir.path(), &[], free_port(), free_port());
    let mut gateway = Gateway::configured(dir.path(), &config);
    gateway.wait_status("the start", |_| true);
    gateway.kill();
    fs::remove_file(dir.path().join("queue.db")).unwrap();
    gateway.resume();
    gateway.wait_status("the start", |_| true);
    assert!(dir.path().join("queue.db.damaged-1-wal").exists());
    assert_eq!(gateway.log().matches("queue file damaged").count(), 1, "{}", gateway.log());
    // And once only.
    gateway.terminate();
    gateway.resume();
    gateway.wait_status("the start", |_| true);
    assert_eq!(gateway.log().matches("queue file damaged").count(), 1, "{}", gateway.log());
}

#[test]
fn a_missing_directory_is_made() {
    let dir = TempDir::new().unwrap();
    let config = Gateway::config(dir.path(), &[], free_port(), free_port());
    let gateway = Gateway::configured(dir.path(), &config.replace("queue.db", "some/where/queue.db"));
    gateway.wait_status("the start", |_| true);
    assert!(dir.path().join("some/where/queue.db").exists());
}

#[test]
fn a_queue_that_cannot_be_made_is_an_error_that_says_so() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let mine = Gateway::config(dir.path(), &[], free_port(), free_port());
    let config = mine.replace("queue.db", "file/queue.db");
    let mut gateway = Gateway::configured(dir.path(), &config);
    assert_eq!(gateway.wait_end(STARTS_WITHIN).code(), Some(70));
    let log = gateway.log();
    let queue = dir.path().join("file/queue.db");
    assert!(log.contains(&format!("queue file {}: ", queue.display())) && log.lines().count() == 1, "{log}");
}

#[test]
fn a_queue_that_another_gateway_holds_is_left_alone() {
    let dir = TempDir::new().unwrap();
    let config = Gateway::config(dir.path(), &[], free_port(), free_port());
    let first = Gateway::configured(dir.path(), &config);
    first.wait_status("the start", |_| true);
    let elsewhere = TempDir::new().unwrap();
    let mut second = Gateway::configured(elsewhere.path(), &config.replace("control.sock", "other.sock"));
    assert_eq!(second.wait_end(STARTS_WITHIN).code(), Some(70));
    assert!(second.log().contains("another program has it open"), "{}", second.log());
    assert!(first.status().is_some());
    assert!(set_aside(dir.path()).is_empty());
}
