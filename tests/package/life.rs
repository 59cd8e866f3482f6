//! Installed, removed and purged.

use std::collections::BTreeSet;

use crate::deb::PACKAGES;
use crate::machine::{Machine, WAITING, bare, inside, installed};

/// What an installation may change outside of its own files: lists that others keep.
const KEPT_BY_OTHERS: &str = "/(proc|sys|run|dev|tmp|mnt|root)($|/)|^/var/(lib/(dpkg|systemd|apt)|log|cache)/|\
     ^/etc/(passwd|group|shadow|gshadow|subuid|subgid)-?$|^/etc/.pwd.lock$|^/etc$|^/etc/systemd/system$|\
     ^/etc/systemd/system/multi-user.target.wants$|^/var/lib$";

fn everything(machine: &Machine) -> BTreeSet<String> {
    let found = machine.sh(&format!("find / -xdev | grep -vE '{KEPT_BY_OTHERS}'"));
    found.lines().map(str::to_owned).collect()
}

#[test]
fn the_first_installation_says_what_comes_next() {
    let machine = bare();
    let said = machine.sh(&format!("apt-get install --yes {} 2>&1", inside(&PACKAGES.current)));
    for step in ["serialgate init --force", "systemctl restart serialgate", "serialgate watch"] {
        assert!(said.contains(step), "{step}:\n{said}");
    }
    assert!(!said.contains("disabled or a static unit"), "what nobody can do anything about:\n{said}");
    machine.wait_for("it runs at once", "serialgate status");
    assert_eq!(machine.show("UnitFileState"), "enabled");
    let groups = machine.sh("id --name --groups serialgate");
    assert!(groups.split_whitespace().any(|group| group == "dialout"), "{groups}");
    assert_eq!(
        machine.sh("stat --format '%a %U:%G' /var/lib/serialgate").trim(),
        "750 serialgate:serialgate"
    );

    let again = machine.install(&PACKAGES.current);
    assert!(!again.contains("serialgate init"), "{again}");
}

#[test]
fn the_steps_lead_to_a_service_that_can_read_its_answers() {
    let machine = installed();
    machine.sh(
        "serialgate init --yes --force --gateway bench --cloud hivemq --host cloud.example --username bench
         printf secret > /etc/serialgate/secrets/hivemq
         systemctl restart serialgate",
    );
    machine.wait_for("the new name is in use", "serialgate status | grep 'on bench'");
    machine.sh("runuser -u serialgate -- serialgate check");
    machine.sh("runuser -u serialgate -- cat /etc/serialgate/secrets/hivemq");
    for path in ["serialgate.yaml", "secrets/hivemq"] {
        let output = machine.try_sh(&format!("runuser -u nobody -- cat /etc/serialgate/{path}"));
        assert!(!output.status.success(), "everybody may read {path}");
    }
}

#[test]
fn removed_it_leaves_configuration_and_readings() {
    let machine = installed();
    machine.write("/etc/serialgate/serialgate.yaml", WAITING);
    machine.sh("systemctl stop serialgate; dpkg --remove serialgate");
    assert_eq!(machine.sh("cat /etc/serialgate/serialgate.yaml"), WAITING);
    machine.sh("test -s /var/lib/serialgate/queue.db");
    assert!(!machine.try_sh("systemctl cat serialgate").status.success());

    machine.install(&PACKAGES.current);
    machine.wait_for("it runs again", "serialgate status | grep 'on greenhouse'");
}

#[test]
fn purged_it_leaves_nothing_but_its_user() {
    let machine = bare();
    let before = everything(&machine);
    machine.install(&PACKAGES.current);
    machine.wait_for("it runs", "serialgate status");
    machine.sh("dpkg --purge serialgate");
    let after = everything(&machine);
    let differences: Vec<&String> = after.symmetric_difference(&before).collect();
    assert!(differences.is_empty(), "{differences:?}");
    machine.sh("id serialgate");
    let running = machine.sh("systemctl list-units --no-legend '*serialgate*'");
    assert_eq!(running, "");
}

#[test]
fn a_purge_does_not_touch_what_people_wrote() {
    let machine = installed();
    machine.sh("printf secret > /etc/serialgate/secrets/cloud; dpkg --purge serialgate");
    assert_eq!(machine.sh("cat /etc/serialgate/secrets/cloud"), "secret");
    machine.sh("test ! -e /var/lib/serialgate");
}
