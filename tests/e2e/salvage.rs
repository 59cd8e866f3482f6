//! The queue's file is damaged: readings go on at once, and what is whole in it arrives after all.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    Boards, Cloud, Gateway, Log, Numbered, PATIENCE, assert_account, compare, dropped, free_port, numbers,
    port, wait_for,
};

/// Whatever the file is like, readings are taken within this time.
const STARTS_WITHIN: Duration = Duration::from_secs(5);
/// Lines of about a kilobyte each: many more than the log holds, so that the file holds them.
const BACKLOG: u64 = 9000;
/// SQLite's page here, in bytes.
const PAGE: u64 = 1024;

/// What became of a backlog.
#[derive(Debug)]
struct Account {
    lines: u64,
    arrived: u64,
    recovered: u64,
    lost: u64,
}

/// A backlog is on disk, the gateway is down (or was killed), and `harm` comes over the file.
fn after(harm: impl Fn(&Path)) -> Account {
    let dir = TempDir::new().unwrap();
    let mut cloud = Cloud::start(dir.path());
    let log = Log::of(dir.path(), cloud.port, "serialgate/#");
    let mut lines = Numbered::plug(dir.path(), "lines");
    let ports = [Numbered::port(dir.path(), "lines"), port(dir.path(), "board", "format: wire")];
    let mut gateway = Gateway::start(dir.path(), &ports, free_port(), cloud.port);
    gateway.wait_bridge();
    cloud.stop();
    while lines.said() < BACKLOG {
        lines.say(300);
        gateway.wait_status("lines on disk", |status| status["queue"]["volatile"] == 0);
    }
    let backlog = lines.said();
    gateway.terminate();
    harm(&dir.path().join("queue.db"));

    let start = Instant::now();
    gateway.resume();
    let mut board = Boards::start(dir.path(), "board", "wire", 100, &["--count", "100", "--wait"]);
    wait_for("new readings to be taken", STARTS_WITHIN, || board.count("acknowledged") > 0);
    eprintln!("a new reading is safe {:?} after the start", start.elapsed());
    board.wait_all_acknowledged();
    cloud.resume();
    let status = gateway.wait_status("the damage to be told", |status| {
        !log.events("salvage").is_empty() && status["queue"]["readings"] == 0
    });
    assert_account(&status);
    gateway.assert_runs();

    let quarantine = log.events("quarantine");
    let salvaged = log.events("salvage");
    assert_eq!((quarantine.len(), salvaged.len()), (1, 1), "{quarantine:?} {salvaged:?}");
    let n = |key: &str| salvaged[0][key].as_u64().unwrap();
    let (recovered, lost) = (n("recovered"), n("lost"));
    assert_eq!(salvaged[0]["path"], quarantine[0]["path"]);
    wait_for("new readings in the cloud", PATIENCE, || log.has(&board.ids("produced")));
    let arrived = numbers(&log, "lines");
    assert!(arrived.is_sorted_by(|a, b| a < b), "out of order, or twice");
    let verdict = compare(&board.ids("produced"), &log.readings());
    assert_eq!(verdict.duplicates, 0);
    assert_eq!(status["queue"]["dropped"]["corrupt"].as_u64(), Some(lost), "{status}");
    assert_eq!(dropped(&status), lost, "{status}");
    let text = gateway.log();
    assert!(text.lines().count() < 30, "{text}");
    let account = Account { lines: backlog, arrived: arrived.len() as u64, recovered, lost };
    eprintln!("{account:?}");
    account
}

/// Overwrites `count` pages from page `first` on.
fn overwrite(file: &Path, first: u64, count: u64) {
    let garbage: Vec<u8> =
        std::iter::repeat_with(|| fastrand::u8(..)).take(usize::try_from(count * PAGE).unwrap()).collect();
    File::options().write(true).open(file).unwrap().write_all_at(&garbage, first * PAGE).unwrap();
}

fn log_of(file: &Path) -> PathBuf {
    file.with_file_name("queue.db-wal")
}

fn pages(file: &Path) -> u64 {
    fs::metadata(file).unwrap().len() / PAGE
}

#[test]
fn a_file_without_its_head_gives_nearly_all() {
    let account = after(|file| {
        overwrite(file, 0, 1);
        // It stands in the log as well.
        File::options().write(true).open(log_of(file)).unwrap().set_len(0).unwrap();
    });
    assert_eq!(account.arrived, account.recovered, "{account:?}");
    // The log had the newest part.
    assert!(account.arrived > account.lines / 2, "{account:?}");
}

#[test]
fn a_file_whose_inner_pages_are_gone_gives_what_is_whole() {
    let account = after(|file| {
        overwrite(file, 0, 20);
        overwrite(file, pages(file) / 2, 20);
    });
    assert_eq!(account.arrived, account.recovered, "{account:?}");
    assert_eq!(account.arrived + account.lost, account.lines, "{account:?}");
    assert!(account.arrived > account.lines / 2, "{account:?}");
}

#[test]
fn a_file_that_is_cut_off_gives_what_is_left() {
    let account = after(|file| {
        let file = File::options().write(true).open(file).unwrap();
        let half = file.metadata().unwrap().len() / 2;
        file.set_len(half + 100).unwrap();
    });
    // SQLite may open it, and meet the end only when some of it has been delivered.
    assert!(account.recovered <= account.arrived, "{account:?}");
    assert!(account.recovered > 0 && account.arrived + account.lost <= account.lines, "{account:?}");
    assert!((account.lines / 10..account.lines).contains(&account.arrived), "{account:?}");
}

#[test]
fn damage_that_is_met_while_the_gateway_runs_is_no_end() {
    let dir = TempDir::new().unwrap();
    let mut cloud = Cloud::start(dir.path());
    let log = Log::of(dir.path(), cloud.port, "serialgate/#");
    let mut lines = Numbered::plug(dir.path(), "lines");
    let ports = [Numbered::port(dir.path(), "lines"), port(dir.path(), "board", "format: wire")];
    let mut gateway = Gateway::start(dir.path(), &ports, free_port(), cloud.port);
    gateway.wait_bridge();
    cloud.stop();
    while lines.said() < BACKLOG {
        lines.say(300);
        gateway.wait_status("lines on disk", |status| status["queue"]["volatile"] == 0);
    }
    let mut board = Boards::start(dir.path(), "board", "wire", 100, &["--seconds", "3600"]);
    wait_for("acknowledgements", PATIENCE, || board.count("acknowledged") > 50);
    let file = dir.path().join("queue.db");
    overwrite(&file, 20, pages(&file) / 2);
    cloud.resume();
    let status = gateway.wait_status("the backlog to be gone", |status| {
        !log.events("salvage").is_empty() && status["queue"]["readings"].as_u64() < Some(100)
    });
    assert_account(&status);
    board.stop();
    gateway.assert_runs();
    let acknowledged = board.ids("acknowledged");
    let lost = |log: &Log| -> u64 {
        log.events("salvage").iter().map(|event: &Value| event["lost"].as_u64().unwrap()).sum()
    };
    let status = gateway.wait_status("an empty queue", |status| status["queue"]["readings"] == 0);
    assert_account(&status);
    let arrived = numbers(&log, "lines").into_iter().collect::<BTreeSet<_>>();
    // What came back from the damaged file stands behind what was newer by then.
    let there: BTreeSet<String> = log.readings().into_iter().map(|reading| reading.id).collect();
    let missing = acknowledged.difference(&there).count() as u64;
    eprintln!(
        "{} of {} lines arrived; {} of the board missing; {}",
        arrived.len(),
        lines.said(),
        missing,
        status["queue"]
    );
    // Half of the file was destroyed; all of that is counted, and the rest is there.
    let gone = lines.said() - arrived.len() as u64 + missing;
    assert!(gone > 0 && arrived.len() as u64 > lines.said() / 10, "{gone}");
    assert_eq!(dropped(&status), gone, "{status}, {} told", lost(&log));
}
