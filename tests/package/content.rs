//! What is in the package, before anybody installs it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::deb::{PACKAGES, root, run};

/// Files outside of the folders in [`FOLDERS`].
const FILES: &[&str] = &[
    "etc/serialgate/serialgate.yaml",
    "usr/bin/serialgate",
    "usr/share/bash-completion/completions/serialgate",
    "usr/share/fish/vendor_completions.d/serialgate.fish",
    "usr/share/zsh/vendor-completions/_serialgate",
    "usr/lib/modules-load.d/serialgate.conf",
    "usr/lib/sysusers.d/serialgate.conf",
    "usr/lib/tmpfiles.d/serialgate.conf",
    "usr/share/doc/serialgate/CHANGELOG.md",
    "usr/share/doc/serialgate/README.md",
    "usr/share/doc/serialgate/changelog.gz",
    "usr/share/doc/serialgate/copyright",
    "usr/share/doc/serialgate/examples/serialgate.yaml",
    "usr/share/lintian/overrides/serialgate",
    "usr/share/serialgate/firmware/PROTOCOL.md",
    "usr/share/serialgate/firmware/README.md",
    "usr/share/serialgate/firmware/vectors.txt",
];

/// Folders of the tree that are in the package as they are: where, what comes behind each name there.
const FOLDERS: &[(&str, &str, &str)] = &[
    ("systemd", "lib/systemd/system", ""),
    ("systemd/udev.rules.d", "lib/udev/rules.d", ""),
    ("docs", "usr/share/doc/serialgate", ""),
    ("config/examples", "usr/share/doc/serialgate/examples", ""),
    ("firmware/core/src", "usr/share/serialgate/firmware/c", ""),
    ("firmware/micropython", "usr/share/serialgate/firmware/micropython", ""),
    ("firmware/arduino", "usr/share/serialgate/firmware/arduino", ""),
    ("firmware/arduino/src", "usr/share/serialgate/firmware/arduino/src", ""),
    ("firmware/arduino/src/core", "usr/share/serialgate/firmware/arduino/src/core", ""),
];

/// What `git` knows of the files right in `folder`, so that what lies about does not count.
fn tracked(folder: &str) -> Vec<String> {
    let files = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", folder])
        .current_dir(root())
        .output()
        .unwrap();
    let files = String::from_utf8(files.stdout).unwrap();
    let below = files.lines().filter_map(|file| file.strip_prefix(folder)?.strip_prefix('/'));
    below.map(str::to_owned).collect()
}

/// What should be there.
fn expected() -> Vec<String> {
    let mut all: Vec<String> = FILES.iter().map(|&file| file.to_owned()).collect();
    for (folder, place, end) in FOLDERS {
        let here = tracked(folder).into_iter().filter(|name| !name.contains('/'));
        all.extend(here.map(|name| format!("{place}/{name}{end}")));
    }
    for page in tracked("docs/man") {
        let section = page.rsplit('.').next().unwrap();
        all.push(format!("usr/share/man/man{section}/{page}.gz"));
    }
    let examples = tracked("firmware/arduino/examples");
    all.extend(examples.iter().map(|name| format!("usr/share/serialgate/firmware/arduino/examples/{name}")));
    let schema = tracked("config").into_iter().filter(|name| name.ends_with(".schema.json"));
    all.extend(schema.map(|name| format!("usr/share/serialgate/{name}")));
    all.sort();
    all
}

/// Path, mode and owner of everything in a package.
fn listed(package: &Path) -> BTreeMap<String, (String, String)> {
    let out = run(Command::new("dpkg-deb").arg("--contents").arg(package));
    out.lines()
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let path = words[5].trim_start_matches("./").to_owned();
            (path, (words[0].to_owned(), words[1].to_owned()))
        })
        .collect()
}

/// A part of what `dpkg-deb` tells of the package.
fn told(arguments: &[&str]) -> String {
    run(Command::new("dpkg-deb").arg(arguments[0]).arg(&PACKAGES.current).args(&arguments[1..]))
}

#[test]
fn it_holds_what_it_should_and_nothing_else() {
    let files: Vec<String> = listed(&PACKAGES.current)
        .into_keys()
        .filter(|path| !path.is_empty() && !path.ends_with('/'))
        .collect();
    assert_eq!(files, expected());
}

#[test]
fn everything_belongs_to_root_and_nobody_else_may_change_it() {
    for (path, (mode, owner)) in listed(&PACKAGES.current) {
        let wanted = match path.as_str() {
            folder if folder.is_empty() || folder.ends_with('/') => "drwxr-xr-x",
            "usr/bin/serialgate" => "-rwxr-xr-x",
            _ => "-rw-r--r--",
        };
        assert_eq!((mode.as_str(), owner.as_str()), (wanted, "root/root"), "{path}");
    }
}

#[test]
fn it_needs_only_what_every_debian_has() {
    let depends = told(&["--field", "Depends"]);
    let names: Vec<&str> =
        depends.split(',').map(|alternatives| alternatives.split_whitespace().next().unwrap()).collect();
    assert!(
        names.iter().all(|name| ["libc6", "libgcc-s1", "systemd", "libsystemd0"].contains(name)),
        "{depends}"
    );
    // Debian 12 has 2.36.
    assert!(depends.contains("libc6 (>= 2.3"), "{depends}");
}

#[test]
fn its_configuration_is_the_only_file_that_is_kept_for_its_owner() {
    assert_eq!(told(&["--info", "conffiles"]), "/etc/serialgate/serialgate.yaml\n");
}

#[test]
fn it_makes_the_user_before_what_needs_one() {
    let script = told(&["--info", "postinst"]);
    let place = |word: &str| script.find(word).unwrap_or_else(|| panic!("no {word:?} in\n{script}"));
    let order = [
        "systemd-sysusers",
        "systemd-tmpfiles",
        "deb-systemd-helper enable 'serialgate.service'",
        "deb-systemd-invoke",
        "serialgate init",
    ];
    assert!(order.map(place).is_sorted(), "{script}");
}

#[test]
fn it_stops_the_service_before_its_files_go() {
    let script = told(&["--info", "prerm"]);
    for unit in ["'serialgate.service'", "serialgate-clock.service"] {
        assert!(script.contains(&format!("deb-systemd-invoke stop {unit}")), "{script}");
    }
}

#[test]
fn only_a_purge_removes_data() {
    let script = told(&["--info", "postrm"]);
    let (before, after) = script.split_once("if [ \"$1\" = purge ]; then\n").unwrap();
    let (purge, after) = after.split_once("fi\n").unwrap();
    let removing: Vec<&str> = purge.lines().map(str::trim).filter(|line| line.starts_with("rm ")).collect();
    assert_eq!(removing, ["rm -rf /var/lib/serialgate"]);
    assert!(!before.contains("rm ") && !after.contains("rm "), "{script}");
}

#[test]
fn nothing_asks_questions() {
    for script in ["postinst", "prerm", "postrm"] {
        let text = told(&["--info", script]);
        assert!(!text.contains("debconf") && !text.contains("read "), "{script}:\n{text}");
    }
    let control = told(&["--info", "control"]);
    assert!(!control.contains("debconf"), "{control}");
}

#[test]
fn its_debug_information_is_a_package_of_its_own() {
    let tree = tempfile::tempdir().unwrap();
    run(Command::new("dpkg-deb").arg("--extract").arg(&PACKAGES.current).arg(tree.path()));
    let program = tree.path().join("usr/bin/serialgate");
    let sections = run(Command::new("readelf").args(["--wide", "--sections"]).arg(&program));
    assert!(!sections.contains(".debug_line") && !sections.contains(".symtab"), "{sections}");

    let notes = run(Command::new("readelf").arg("--notes").arg(&program));
    let id = notes.split("Build ID: ").nth(1).unwrap().split_whitespace().next().unwrap();
    let file = format!("usr/lib/debug/.build-id/{}/{}.debug", &id[..2], &id[2..]);
    let debug = listed(&PACKAGES.debug);
    assert!(debug.contains_key(&file), "{file} in {debug:?}");
}

#[test]
fn it_says_the_version_of_the_program() {
    assert_eq!(told(&["--field", "Version"]).trim(), env!("CARGO_PKG_VERSION"));
    let log = fs::read_to_string(root().join("debian/changelog")).unwrap();
    let first = concat!("serialgate (", env!("CARGO_PKG_VERSION"), ") ");
    assert!(log.starts_with(first), "debian/changelog begins with another version than Cargo.toml's");
}
