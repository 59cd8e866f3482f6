//! What Debian's own checker says, whose work is in it, and what its configuration is.

use std::fs;
use std::process::Command;

use crate::deb::{PACKAGES, root, run};

/// The configuration of a fresh installation. `dpkg` asks its owner when a package brings another one than
/// the package before did, and nobody is there to answer: so it stays as it is, in every version.
const CONFIGURATION: &str = "\
# yaml-language-server: $schema=/usr/share/serialgate/serialgate.schema.json

# Serialgate's configuration. To have it written by a few questions:
#
#   sudo serialgate init --force
#
# or by hand: /usr/share/doc/serialgate/examples/serialgate.yaml has every key, with its default.
# After a change:
#
#   sudo serialgate check && sudo systemctl restart serialgate

# The serial lines that are read. None yet; `ls -l /dev/serial/by-id/` shows what is plugged in.
ports: []

# The MQTT broker on this machine, for clients on this machine.
broker:
  listen:
    - address: 127.0.0.1:1883
";

#[test]
fn lintian_finds_nothing() {
    let found = run(Command::new("lintian")
        .args(["--allow-root", "--pedantic", "--display-info", "--fail-on", "none"])
        .args([&PACKAGES.current, &PACKAGES.debug]));
    assert_eq!(found, "");
}

#[test]
fn the_copyright_file_names_what_is_linked_in() {
    let made = run(&mut Command::new(root().join("scripts/copyright")));
    let kept = fs::read_to_string(root().join("debian/copyright")).unwrap();
    assert!(made == kept, "debian/copyright is not up to date: scripts/copyright > debian/copyright");
    assert!(kept.contains("Files: vendor/serialport-"), "the one crate that asks for it is missing");
    assert!(kept.contains("\nLicense: MPL-2.0\n"));
}

#[test]
fn the_first_configuration_never_changes() {
    let file = root().join("debian/serialgate.yaml");
    assert_eq!(fs::read_to_string(&file).unwrap(), CONFIGURATION);
    run(Command::new(env!("CARGO_BIN_EXE_serialgate")).args(["check", "--config"]).arg(file));
}
