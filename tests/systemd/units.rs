//! What is in the folder systemd/.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The most exposure that a unit may have in the eyes of `systemd-analyze security`, in tenths.
const EXPOSURE_MAX: &str = "15";

const UNITS: [&str; 2] = ["serialgate.service", "serialgate-clock.service"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd")
}

fn done(command: &mut Command) -> String {
    let output: Output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{text}", output.status);
    text
}

#[test]
fn systemd_has_nothing_to_say_against_the_units() {
    let dir = tempfile::tempdir().unwrap();
    for unit in UNITS {
        // The program is not installed here.
        let text = fs::read_to_string(folder().join(unit)).unwrap();
        let here = text.replace("/usr/bin/serialgate", env!("CARGO_BIN_EXE_serialgate"));
        assert_ne!(text, here, "{unit} runs something else");
        fs::write(dir.path().join(unit), here).unwrap();
    }
    let mut command = Command::new("systemd-analyze");
    command.args(["verify", "--man=no"]).args(UNITS.map(|unit| dir.path().join(unit)));
    assert_eq!(done(&mut command), "");
}

#[test]
fn the_units_are_little_exposed() {
    for unit in UNITS {
        let mut command = Command::new("systemd-analyze");
        command.args(["security", "--offline=true", "--no-pager", "--threshold", EXPOSURE_MAX]);
        done(command.arg(folder().join(unit)));
    }
}

/// What the daemon's own code and documents say, the unit must say too.
#[test]
fn the_unit_fits_the_daemon() {
    let unit = fs::read_to_string(folder().join("serialgate.service")).unwrap();
    let values = |key: &str| -> Vec<String> {
        let lines = unit.lines().filter_map(|line| line.split_once('=')).filter(|(name, _)| *name == key);
        lines.map(|(_, value)| value.to_owned()).collect()
    };
    for (key, expected) in [
        ("Type", "notify"),
        ("Restart", "always"),
        // Exit::Config.
        ("RestartPreventExitStatus", "78"),
        ("StartLimitIntervalSec", "0"),
        // control::RUNTIME_FOLDER, and the queue's default place.
        ("RuntimeDirectory", "serialgate"),
        ("StateDirectory", "serialgate"),
        // run::FILES_WANTED.
        ("LimitNOFILE", "65536"),
        ("WatchdogSec", "60s"),
        ("TimeoutStopSec", "45s"),
    ] {
        assert_eq!(values(key), [expected], "{key}");
    }
    let program = values("ExecStart").concat();
    assert_eq!(program, format!("/usr/bin/serialgate run --config {}", serialgate::config::DEFAULT_PATH));
}

#[test]
fn sysusers_makes_the_user_in_its_group() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("etc")).unwrap();
    let mut command = Command::new("systemd-sysusers");
    done(command.arg("--root").arg(root.path()).arg(folder().join("sysusers.d/serialgate.conf")));
    let read = |file: &str| fs::read_to_string(root.path().join("etc").join(file)).unwrap();
    let passwd = read("passwd");
    let user = passwd.lines().find(|line| line.starts_with("serialgate:")).unwrap();
    assert!(user.ends_with(":Serialgate:/var/lib/serialgate:/usr/sbin/nologin"), "{user}");
    let group = read("group");
    let dialout = group.lines().find(|line| line.starts_with("dialout:")).unwrap();
    assert!(dialout.ends_with(":serialgate"), "{dialout}");
}

#[test]
fn tmpfiles_makes_a_place_for_secrets() {
    let root = tempfile::tempdir().unwrap();
    let etc = root.path().join("etc");
    fs::create_dir(&etc).unwrap();
    fs::write(etc.join("passwd"), "root:x:0:0::/root:/bin/sh\nserialgate:x:997:997::/:/bin/false\n").unwrap();
    fs::write(etc.join("group"), "root:x:0:\nserialgate:x:997:\n").unwrap();
    let mut command = Command::new("systemd-tmpfiles");
    command.arg("--create").arg("--root").arg(root.path());
    done(command.arg(folder().join("tmpfiles.d/serialgate.conf")));
    use std::os::unix::fs::MetadataExt;
    let secrets = fs::metadata(etc.join("serialgate/secrets")).unwrap();
    assert_eq!((secrets.mode() & 0o7777, secrets.uid(), secrets.gid()), (0o700, 997, 997));
}
