//! `serialgate init` at a real terminal.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::pty::openpty;
use nix::sys::termios::{LocalFlags, tcgetattr};
use serialgate::config::Config;

/// `init` and the person who sits before it.
struct Person {
    child: Child,
    keys: File,
    screen: String,
    /// The side of the program, kept open so that its settings can be seen afterwards.
    terminal: OwnedFd,
}

impl Person {
    fn before(output: &Path) -> Self {
        let pty = openpty(None, None).unwrap();
        let end = || Stdio::from(pty.slave.try_clone().unwrap());
        let mut command = Command::new(env!("CARGO_BIN_EXE_serialgate"));
        command.args(["init", "--gateway", "pi", "--cloud", "hivemq", "--output"]).arg(output);
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        Self { child, keys: File::from(pty.master), screen: String::new(), terminal: pty.slave }
    }

    /// Waits until the screen shows `words`; what this machine has plugged in is not wanted.
    fn until(&mut self, words: &str) {
        let mut bytes = [0; 1024];
        while !self.screen.contains(words) {
            let count = self.keys.read(&mut bytes).unwrap();
            self.screen.push_str(&String::from_utf8_lossy(&bytes[..count]));
            if self.screen.contains("or none [") && !self.screen.contains("or none [none]") {
                self.screen = self.screen.replace("or none [", "or none of [");
                self.press("none\n");
            }
        }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    fn answer(&mut self, question: &str, keys: &str) {
        self.until(question);
        self.press(keys);
    }

    fn shows_what_is_typed(&self) -> bool {
        tcgetattr(&self.terminal)
            .unwrap()
            .local_flags
            .contains(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG)
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_password_is_typed_unseen_and_lies_in_a_file_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("serialgate.yaml");
    let mut person = Person::before(&file);
    person.answer("Its host", "abc.s1.eu.hivemq.cloud\n");
    person.answer("User name", "me\n");
    person.answer("File for the password", "\n");
    // With a slip, taken back: é has two bytes.
    person.answer("yourself): ", "hunteré\u{7f}2\n");
    person.answer("Write this", "\n");
    person.until("check --connect");
    assert_eq!(person.child.wait().unwrap().code(), Some(0), "{}", person.screen);
    assert!(!person.screen.contains("hunt"), "{}", person.screen);
    assert!(person.shows_what_is_typed());

    let secret = folder.path().join("secrets/hivemq");
    assert_eq!(fs::read_to_string(&secret).unwrap(), "hunter2\n");
    assert_eq!(fs::metadata(&secret).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    let config = Config::load(&file).unwrap();
    assert_eq!(config.bridges[0].password.as_ref().unwrap().secret().read().unwrap(), "hunter2");
}

#[test]
fn ctrl_c_at_the_password_leaves_a_terminal_that_works_and_no_files() {
    let folder = tempfile::tempdir().unwrap();
    let mut person = Person::before(&folder.path().join("serialgate.yaml"));
    person.answer("Its host", "abc.s1.eu.hivemq.cloud\n");
    person.answer("User name", "me\n");
    person.answer("File for the password", "\n");
    person.answer("yourself): ", "hunt\u{3}");
    person.until("nothing was written");
    assert_eq!(person.child.wait().unwrap().code(), Some(1), "{}", person.screen);
    assert!(person.shows_what_is_typed());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn without_a_terminal_there_is_nobody_to_ask() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("serialgate.yaml");
    let run = |options: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_serialgate"));
        command.arg("init").arg("--output").arg(&file).args(options).stdin(Stdio::null());
        command.output().unwrap()
    };
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&output.stderr).contains("add --yes"));
    assert!(!file.exists());

    let output = run(&["--yes"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    Config::load(&file).unwrap();
    // It is there now, and stays.
    let output = run(&["--yes"]);
    assert_eq!(output.status.code(), Some(74));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--force"));
    assert_eq!(run(&["--yes", "--force"]).status.code(), Some(0));
}
