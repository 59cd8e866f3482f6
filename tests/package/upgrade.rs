//! Upgrades: nothing that waits is lost, and no question is asked.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;

use crate::deb::{NEWER, PACKAGES, root};
use crate::machine::{Machine, WAITING, configured, inside, installed};

/// Readings that wait while the package is upgraded.
const BACKLOG: usize = 100_000;
/// Where a backlog lies, for the machine.
const LINES: &str = "backlog.jsonl";

/// A backlog as `serialgate queue import` takes it.
fn backlog(readings: usize) -> String {
    let mut lines = String::new();
    for number in 0..readings {
        writeln!(
            lines,
            r#"{{"kind":"reading","v":1,"device":"bench-{device}","id":"00112233{device:04}-2a/{seq}","seq":{seq},"unix_us":{time},"estimated":false,"values":[["temp","decimal","{temp}.40"]]}}"#,
            device = number % 8,
            seq = number / 8,
            time = 1_767_225_600_000_000_u64 + number as u64 * 1000,
            temp = number % 40,
        )
        .unwrap();
    }
    lines
}

/// What waits, by line. Events are left out: each start has some of its own.
fn waiting(machine: &Machine) -> BTreeSet<String> {
    let out = machine.sh("serialgate queue export | grep --invert-match '\"kind\":\"event\"'");
    out.lines().map(str::to_owned).collect()
}

fn upgrade(machine: &Machine) {
    let said = machine.install(&PACKAGES.newer);
    assert!(!said.contains("serialgate init"), "{said}");
    let version = machine.sh("dpkg-query --showformat '${Version}' --show serialgate");
    assert_eq!(version, NEWER);
    machine.wait_for("it runs again", "systemctl is-active serialgate && serialgate status");
}

#[test]
fn an_upgrade_keeps_a_backlog_and_a_persons_configuration() {
    let lines = backlog(BACKLOG);
    fs::write(PACKAGES.current.with_file_name(LINES), &lines).unwrap();
    let machine = configured(WAITING);
    machine.wait_for("it runs", "serialgate status");
    machine.sh(&format!("serialgate queue import {}", inside(LINES.as_ref())));
    assert!(waiting(&machine) == lines.lines().map(str::to_owned).collect(), "not all of it waits");
    let before = machine.show("MainPID");

    upgrade(&machine);

    assert_ne!(machine.show("MainPID"), before, "the old program still runs");
    assert_eq!(machine.sh("cat /etc/serialgate/serialgate.yaml"), WAITING);
    let kept = waiting(&machine);
    assert_eq!(kept.len(), BACKLOG);
    assert!(kept == lines.lines().map(str::to_owned).collect(), "readings have changed");
}

#[test]
fn an_upgrade_of_an_untouched_installation_changes_nothing() {
    let machine = installed();
    let look = "cd /etc/serialgate && find . -printf '%p %m %u:%g\\n' && cat serialgate.yaml";
    let before = machine.sh(look);
    upgrade(&machine);
    assert_eq!(machine.sh(look), before);
    assert_eq!(machine.show("UnitFileState"), "enabled");
}

#[test]
fn an_upgrade_leaves_a_disabled_service_disabled() {
    let machine = installed();
    machine.sh("systemctl disable --now serialgate");
    machine.install(&PACKAGES.newer);
    assert_eq!(machine.show("UnitFileState"), "disabled");
}

/// The file was written by 0.1.0. Whatever comes after it reads it.
#[test]
fn the_queue_of_the_first_version_is_read() {
    let fixtures = root().join("tests/package/fixtures");
    let shared = PACKAGES.current.with_file_name("queue-0.1.0.db");
    fs::copy(fixtures.join("queue-0.1.0.db"), &shared).unwrap();
    let machine = configured(WAITING);
    machine.sh(&format!(
        "systemctl stop serialgate; rm /var/lib/serialgate/*
         install -o serialgate -g serialgate -m 600 {} /var/lib/serialgate/queue.db
         systemctl start serialgate",
        inside(&shared)
    ));
    machine.wait_for("it runs", "serialgate status");
    let expected = fs::read_to_string(fixtures.join("queue-0.1.0.jsonl")).unwrap();
    assert_eq!(waiting(&machine), expected.lines().map(str::to_owned).collect());
}
