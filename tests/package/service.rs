//! The service on a machine: it is what it says, and comes back.

use std::collections::BTreeSet;

use crate::machine::{Machine, WAITING, configured, installed};

/// One simulated board. The daemon may open its line as it may open others.
const ONE_BOARD: &str = "\
gateway: greenhouse
ports:
  - {path: /run/board/tty, format: wire}
";

/// Plugs the board in: it runs as the daemon's user, as the line belongs to whoever makes it.
fn plug_in(machine: &Machine) {
    machine.sh("mkdir -p /etc/systemd/system/serialgate.service.d
         printf '[Service]\\nDeviceAllow=char-pts rw\\n' > /etc/systemd/system/serialgate.service.d/pty.conf
         systemctl daemon-reload
         systemd-run --quiet --unit board --uid serialgate -p RuntimeDirectory=board \\
            serialgate sim --link /run/board/tty --format wire --rate 10 --name bench");
    machine.wait_for("the board is plugged in", "test -e /run/board/tty");
}

/// Number of the service's main process.
fn main_pid(machine: &Machine) -> String {
    machine.show("MainPID")
}

/// Sends a signal to the main process and waits for another one that answers.
fn survives(machine: &Machine, signal: &str) {
    let before = main_pid(machine);
    machine.sh(&format!("kill -{signal} {before}"));
    machine.wait_for(
        "another process runs",
        &format!(
            "systemctl is-active serialgate && test $(systemctl show -P MainPID serialgate) != {before} && \
             serialgate status"
        ),
    );
}

#[test]
fn it_runs_as_its_own_user_and_answers_root() {
    let machine = installed();
    assert_eq!(machine.show("ActiveState"), "active");
    assert_eq!(machine.show("UnitFileState"), "enabled");
    assert_eq!(machine.show("User"), "serialgate");
    let pid = main_pid(&machine);
    assert_eq!(machine.sh(&format!("stat --format %U /proc/{pid}")).trim(), "serialgate");
    let status = machine.sh("serialgate status --json");
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn its_broker_answers_on_this_machine() {
    let machine = installed();
    let out = machine.sh("mosquitto_sub -h 127.0.0.1 -t 'serialgate/+/status' -C 1 -W 60");
    assert_eq!(out.trim(), "online");
}

#[test]
fn readings_of_a_board_reach_the_local_broker() {
    let machine = installed();
    plug_in(&machine);
    machine.write("/etc/serialgate/serialgate.yaml", ONE_BOARD);
    machine.sh("systemctl restart serialgate");
    let out = machine.sh("mosquitto_sub -h 127.0.0.1 -t 'serialgate/greenhouse/+/data' -C 20 -W 60");
    let readings: Vec<serde_json::Value> =
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let numbers: Vec<u64> = readings.iter().map(|reading| reading["seq"].as_u64().unwrap()).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
}

#[test]
fn readings_of_a_board_are_seen_as_the_third_step_says() {
    let machine = installed();
    plug_in(&machine);
    machine.write("/etc/serialgate/serialgate.yaml", ONE_BOARD);
    machine.sh("systemctl restart serialgate");
    let out = machine.sh("serialgate watch --count 1 --timeout 60");
    let reading = out.lines().last().unwrap();
    assert!(reading.contains("  bench-") && reading.contains("  temp "), "{out}");
}

#[test]
fn a_reload_takes_a_new_port_over() {
    let machine = installed();
    plug_in(&machine);
    // The line of the drop-in counts from the next start on.
    machine.sh("systemctl restart serialgate");
    let before = main_pid(&machine);
    let port = ONE_BOARD.replace("gateway: greenhouse\n", "");
    machine.write("/etc/serialgate/serialgate.yaml", &port);
    machine.sh("systemctl reload serialgate");
    machine.sh("mosquitto_sub -h 127.0.0.1 -t 'serialgate/+/+/data' -C 5 -W 60");
    assert_eq!(main_pid(&machine), before);
}

#[test]
fn the_journal_has_fields_to_search_for() {
    let machine = installed();
    plug_in(&machine);
    machine.write("/etc/serialgate/serialgate.yaml", ONE_BOARD);
    machine.sh("systemctl restart serialgate");
    let line = machine.wait_for(
        "a line about the board's port",
        "journalctl --unit serialgate --output json PORT=/run/board/tty | grep -m 1 DEVICE",
    );
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["SYSLOG_IDENTIFIER"], "serialgate");
    assert_eq!(line["_SYSTEMD_UNIT"], "serialgate.service");
    assert!(line["DEVICE"].as_str().unwrap().starts_with("bench-"), "{line}");
    let source = line["CODE_FILE"].as_str().unwrap();
    assert!(source.starts_with("src/"), "the build machine's folders show: {source}");
}

#[test]
fn killed_it_comes_back() {
    let machine = installed();
    survives(&machine, "KILL");
    assert_eq!(machine.show("NRestarts"), "1");
}

#[test]
fn stuck_it_is_restarted_by_the_watchdog() {
    let machine = installed();
    // The same watchdog with less patience.
    machine.sh("mkdir -p /etc/systemd/system/serialgate.service.d
         printf '[Service]\\nWatchdogSec=4s\\n' > /etc/systemd/system/serialgate.service.d/watchdog.conf
         systemctl daemon-reload; systemctl restart serialgate");
    assert_eq!(machine.show("Type"), "notify");
    survives(&machine, "STOP");
    let log = machine.sh("journalctl --unit serialgate --no-pager");
    assert!(log.contains("Watchdog timeout"), "{log}");
}

#[test]
fn it_stops_in_time_and_in_order() {
    let machine = configured(WAITING);
    machine.wait_for("it runs", "serialgate status");
    machine.sh("systemctl stop serialgate");
    // After the deadline, systemd would have killed it: `timeout`.
    assert_eq!(machine.show("Result"), "success");
    assert_eq!(machine.show("ExecMainStatus"), "0");
}

#[test]
fn its_sandbox_is_tight() {
    let machine = installed();
    let units = machine.sh("dpkg --listfiles serialgate | grep '^/lib/systemd/system/.*service$'");
    for unit in units.lines().map(|path| path.rsplit('/').next().unwrap()) {
        let said = machine.sh(&format!("systemd-analyze security --no-pager {unit} | tail -n 1"));
        let score = said.split_once(": ").unwrap().1.split_whitespace().next().unwrap();
        assert!(score.parse::<f32>().unwrap() <= 1.5, "{unit}: {said}");
    }
    // What it has open lies where it belongs.
    let pid = main_pid(&machine);
    let open = machine.sh(&format!("find /proc/{pid}/fd -type l -printf '%l\\n'"));
    let files: BTreeSet<&str> =
        open.lines().filter(|path| path.starts_with('/') && !path.starts_with("/dev/")).collect();
    assert!(files.iter().all(|path| path.starts_with("/var/lib/serialgate/")), "{files:?}");
}
