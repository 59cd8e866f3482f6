//! Boards come and go.
//!
//! Not here: a device that may not be opened. Root, whom the tests may run as, may open everything;
//! the words for that state are tested where they are made.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::{
    Boards, Cable, Cloud, Gateway, Log, PATIENCE, Process, Tty, assert_account, compare, cpu_time, free_port,
    pause, port, wait_for,
};

/// A board that is plugged in again is heard within this time.
const OPENS_WITHIN: Duration = Duration::from_secs(1);

/// How often a board is plugged in again.
const REPLUGS: usize = 10;

#[test]
fn a_board_that_is_plugged_in_again_is_heard_at_once() {
    let dir = TempDir::new().unwrap();
    let cloud = Cloud::start(dir.path());
    let log = Log::of(dir.path(), cloud.port, "serialgate/#");
    let link = dir.path().join("shed");
    let mut line = Tty::plug(&link);
    let local = free_port();
    let ports = [port(dir.path(), "shed", "format: json")];
    let mut gateway = Gateway::start(dir.path(), &ports, local, cloud.port);
    gateway.wait_bridge();
    gateway.wait_port(0, "open");
    line.write(b"{\"n\":0}\n");
    wait_for("the first reading", PATIENCE, || log.count() == 1);

    let mut far_ends = BTreeSet::from([line.far_end().to_owned()]);
    let mut slowest = Duration::ZERO;
    let mut spares = Vec::new();
    for n in 1..=REPLUGS {
        drop(line);
        gateway.wait_port(0, "absent");
        // So that the board comes back as another device, as after a real replug.
        spares.push(Tty::plug(&dir.path().join(format!("spare{n}"))));
        line = Tty::plug(&link);
        let plugged = Instant::now();
        gateway.wait_port(0, "open");
        slowest = slowest.max(plugged.elapsed());
        far_ends.insert(line.far_end().to_owned());
        line.write(format!("{{\"n\":{n}}}\n").as_bytes());
        wait_for("the next reading", PATIENCE, || log.count() == n + 1);
    }
    eprintln!("{REPLUGS} replugs, the slowest open again after {slowest:?}");
    assert!(slowest <= OPENS_WITHIN, "{slowest:?}");
    assert!(far_ends.len() > 2, "{far_ends:?}");
    drop(line);
    let port = gateway.wait_port(0, "absent");
    assert_eq!(port["disconnects"], REPLUGS + 1);

    let readings = log.readings();
    assert!(readings.iter().enumerate().all(|(n, reading)| reading.json["n"] == n), "{readings:?}");
    let seqs: Vec<u64> = readings.iter().map(|reading| reading.seq).collect();
    assert_eq!(seqs, (0..=REPLUGS as u64).collect::<Vec<_>>(), "a board keeps its numbers");
    let states = || {
        let events = log.events("port");
        events.iter().map(|event| event["state"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let expected = ["open", "absent"].repeat(REPLUGS + 1);
    wait_for("all events", PATIENCE, || states().len() == expected.len());
    assert_eq!(states(), expected);
    // Of words that change fast only the newest is sure to arrive.
    let status = "serialgate/pi/shed/status";
    wait_for("the last word", PATIENCE, || log.payloads(status).last().is_some_and(|word| word == "offline"));
    assert!(log.payloads(status).len() > REPLUGS, "{:?}", log.payloads(status));
    let local = Log::of(dir.path(), local, status);
    wait_for("the retained word", PATIENCE, || local.any(|m| m.retained && m.payload == "offline"));
    assert!(gateway.log().lines().count() < 10 + 4 * (REPLUGS + 1), "{}", gateway.log());
    gateway.assert_runs();
}

#[test]
fn a_wire_board_loses_nothing_while_it_is_unplugged() {
    let dir = TempDir::new().unwrap();
    let cloud = Cloud::start(dir.path());
    let log = Log::of(dir.path(), cloud.port, "serialgate/#");
    let mut board = Boards::start(dir.path(), "board", "wire", 50, &["--count", "300", "--wait"]);
    let mut cable = Cable::between(&dir.path().join("board"), &dir.path().join("port"));
    let gateway =
        Gateway::start(dir.path(), &[port(dir.path(), "port", "format: wire")], free_port(), cloud.port);
    for readings in [50, 150] {
        wait_for("readings", PATIENCE, || {
            cable.relay();
            log.count() > readings
        });
        cable.unplug();
        gateway.wait_port(0, "absent");
        pause(Duration::from_millis(700));
        cable.plug();
    }
    wait_for("all readings to be acknowledged", PATIENCE, || {
        cable.relay();
        board.has_ended()
    });
    let produced = board.ids("produced");
    assert_eq!(produced, board.ids("acknowledged"));
    wait_for("all readings in the cloud", PATIENCE, || log.has(&produced));
    assert_eq!(compare(&produced, &log.readings()).duplicates, 0);
    assert_eq!(log.events("gap"), [] as [serde_json::Value; 0]);
    assert_eq!(gateway.status().unwrap()["ports"][0]["disconnects"], 2);
}

#[test]
fn a_board_that_comes_late_is_heard_at_once() {
    let dir = TempDir::new().unwrap();
    let cloud = Cloud::start(dir.path());
    let log = Log::of(dir.path(), cloud.port, "serialgate/#");
    // As /dev/serial/by-id, the folder comes and goes with its boards.
    let ports = [port(dir.path(), "by-id/shed", "format: json")];
    let gateway = Gateway::start(dir.path(), &ports, free_port(), cloud.port);
    let absent = gateway.wait_port(0, "absent");
    assert_eq!(absent["last_error"], "no such device");
    for n in 0..3 {
        fs::create_dir(dir.path().join("by-id")).unwrap();
        let mut line = Tty::plug(&dir.path().join("by-id/shed"));
        let plugged = Instant::now();
        gateway.wait_port(0, "open");
        eprintln!("open {:?} after its folder appeared", plugged.elapsed());
        assert!(plugged.elapsed() <= OPENS_WITHIN + Duration::from_millis(500), "{:?}", plugged.elapsed());
        line.write(b"{\"n\":1}\n");
        wait_for("the reading", PATIENCE, || log.count() > n);
        drop(line);
        fs::remove_dir(dir.path().join("by-id")).unwrap();
        gateway.wait_port(0, "absent");
    }
}

#[test]
fn boards_that_match_a_pattern_are_found() {
    let dir = TempDir::new().unwrap();
    let cloud = Cloud::start(dir.path());
    let log = Log::of(dir.path(), cloud.port, "serialgate/#");
    let ports = [port(dir.path(), "usb-Arduino_*", "format: json")];
    let gateway = Gateway::start(dir.path(), &ports, free_port(), cloud.port);
    let pattern = gateway.wait_port(0, "absent");
    assert!(pattern["path"].as_str().unwrap().ends_with("usb-Arduino_*"), "{pattern}");
    let mut lines =
        ["usb-Arduino_1", "usb-Arduino_2", "usb-FTDI_3"].map(|name| Tty::plug(&dir.path().join(name)));
    let two_open = |status: &serde_json::Value| {
        let ports = status["ports"].as_array().unwrap();
        ports.iter().filter(|port| port["state"] == "open").count() == 2
    };
    gateway.wait_status("the two that match", two_open);
    for line in &mut lines[..2] {
        line.write(b"{\"n\":1}\n");
    }
    wait_for("their readings", PATIENCE, || log.count() == 2);
    let devices: BTreeSet<String> = log.readings().into_iter().map(|reading| reading.device).collect();
    assert_eq!(devices, BTreeSet::from(["usb-arduino_1".into(), "usb-arduino_2".into()]));
    // One that was found stays known.
    let [first, ..] = lines;
    drop(first);
    let status = gateway.wait_status("one to be gone", |status| !two_open(status));
    assert_eq!(status["ports"].as_array().unwrap().len(), 2);
    let _again = Tty::plug(&dir.path().join("usb-Arduino_1"));
    let status = gateway.wait_status("it to be back", two_open);
    assert_eq!(status["ports"].as_array().unwrap().len(), 2, "{status}");
}

#[test]
fn an_absent_port_costs_nothing() {
    let dir = TempDir::new().unwrap();
    let cloud = Cloud::start(dir.path());
    let names = ["a", "b", "none/c", "none/usb-*"];
    let ports = names.map(|name| port(dir.path(), name, "format: json"));
    let gateway = Gateway::start(dir.path(), &ports, free_port(), cloud.port);
    gateway.wait_bridge();
    gateway.wait_status("all four", |status| {
        status["ports"].as_array().unwrap().iter().filter(|port| port["state"] == "absent").count() == 4
    });
    // What the start has set off is over.
    pause(Duration::from_secs(1));
    // Other tests warm and cool the caches meanwhile, so it need not hold in every window.
    let limit = Duration::from_millis(3);
    let mut windows = (0..5).map(|_| {
        let before = cpu_time(gateway.pid());
        pause(Duration::from_secs(3));
        cpu_time(gateway.pid()).saturating_sub(before)
    });
    let used = windows.find(|used| *used < limit);
    eprintln!("{used:?} of CPU in 3 s with four absent ports");
    assert!(used.is_some(), "never below {limit:?}");
}

#[test]
fn no_port_waits_for_another() {
    let dir = TempDir::new().unwrap();
    let cloud = Cloud::start(dir.path());
    let log = Log::of(dir.path(), cloud.port, "serialgate/pi/calm/#");
    let mut calm = Tty::plug(&dir.path().join("calm"));
    let mut flood = Tty::plug(&dir.path().join("flood"));
    // Never reads what it is told, and so stops the line.
    let _stuck = Tty::plug(&dir.path().join("stuck"));
    let ports = [
        port(dir.path(), "flood", "format: json"),
        port(dir.path(), "stuck", "format: wire"),
        port(dir.path(), "calm", "format: json"),
        port(dir.path(), "absent", "format: wire"),
    ];
    let gateway = Gateway::start(dir.path(), &ports, free_port(), cloud.port);
    gateway.wait_bridge();
    (0..3).for_each(|index| drop(gateway.wait_port(index, "open")));
    let deadline = Instant::now() + Duration::from_secs(4);
    let flooding = thread::spawn(move || {
        let lines = "{\"what\": no JSON, as fast as it goes}\n".repeat(100);
        while Instant::now() < deadline {
            flood.write(lines.as_bytes());
        }
        flood
    });
    let mut slowest = Duration::ZERO;
    let mut sent = 0;
    while Instant::now() < deadline {
        let start = Instant::now();
        calm.write(format!("{{\"n\":{sent}}}\n").as_bytes());
        sent += 1;
        wait_for("the reading", PATIENCE, || log.count() == sent);
        slowest = slowest.max(start.elapsed());
        pause(Duration::from_millis(50));
    }
    let _flood = flooding.join().unwrap();
    let flooded = gateway.status().unwrap()["ports"][0]["bad_decode"].as_u64().unwrap();
    eprintln!("beside {flooded} bad lines, the slowest of {sent} readings took {slowest:?}");
    assert!(flooded > 1000 && sent > 20, "{flooded} bad lines, {sent} readings");
    // Both ends, the clouds and the flood share two cores.
    assert!(slowest < Duration::from_millis(500), "{slowest:?}");
}

#[test]
fn a_port_that_somebody_holds_is_taken_when_it_is_free() {
    let dir = TempDir::new().unwrap();
    let cloud = Cloud::start(dir.path());
    let log = Log::of(dir.path(), cloud.port, "serialgate/#");
    let mut line = Tty::plug(&dir.path().join("shed"));
    let mut command = Command::new("flock");
    let mut holder = Process::spawn(command.arg("--no-fork").arg(line.far_end()).args(["sleep", "1000"]));
    let name = || fs::read_to_string(format!("/proc/{}/comm", holder.pid())).unwrap();
    wait_for("the holder to hold it", PATIENCE, || name() == "sleep\n");
    let ports = [port(dir.path(), "shed", "format: json")];
    let gateway = Gateway::start(dir.path(), &ports, free_port(), cloud.port);
    let busy = gateway.wait_port(0, "busy");
    assert_eq!(busy["last_error"], format!("held by sleep (pid {})", holder.pid()));
    // It is tried again all the while, and said once.
    pause(Duration::from_secs(2));
    assert_eq!(gateway.log().matches("busy").count(), 1, "{}", gateway.log());
    holder.kill();
    let freed = Instant::now();
    gateway.wait_port(0, "open");
    eprintln!("taken {:?} after it was freed", freed.elapsed());
    assert!(freed.elapsed() < Duration::from_secs(6), "{:?}", freed.elapsed());
    line.write(b"{\"n\":1}\n");
    wait_for("the reading", PATIENCE, || log.count() == 1);
    gateway.wait_bridge();
    wait_for("both events", PATIENCE, || log.events("port").len() == 2);
    let status = gateway.wait_status("an empty queue", |status| status["queue"]["readings"] == 0);
    assert_account(&status);
}
