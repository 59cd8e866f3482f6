//! From a password to a login.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Command, Output, Stdio};

use nix::pty::openpty;
use nix::sys::termios::{LocalFlags, tcgetattr};

use crate::site::{Site, said, serialgate};

fn passwd(args: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(serialgate())
        .arg("passwd")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that has seen enough may have closed.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

#[test]
fn a_piped_password_becomes_a_line_that_lets_its_owner_in() {
    let made = passwd(&["weather station #1"], "grüße an alle\n".as_bytes());
    assert!(made.status.success(), "{}", said(&made));
    let line = String::from_utf8(made.stdout).unwrap();
    assert_eq!(line.lines().count(), 1, "{line}");
    let site = Site::start(line.trim());
    let login = |password: &str| {
        Command::new("mosquitto_pub")
            .args(["-h", "127.0.0.1", "-p", &site.address.port().to_string(), "-u", "weather station #1"])
            .args(["-P", password, "-t", "t", "-m", "x", "-q", "1"])
            .output()
            .unwrap()
    };
    assert!(login("grüße an alle").status.success());
    assert!(!login("grüße an alle\n").status.success());
}

#[test]
fn without_a_name_it_is_the_hash_alone() {
    let made = passwd(&[], b"hunter2");
    let hash = String::from_utf8(made.stdout).unwrap();
    assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$") && hash.ends_with('\n'), "{hash}");
    assert_eq!(hash.lines().count(), 1);
    assert_ne!(passwd(&[], b"hunter2").stdout, hash.into_bytes(), "the salt is new each time");
}

#[test]
fn a_password_that_is_none_is_refused() {
    for (args, input, code) in
        [(&[][..], &b""[..], 65), (&[], b"\n", 65), (&[""], b"x\n", 64), (&["a", "secret"], b"x\n", 64)]
    {
        let made = passwd(args, input);
        assert_eq!(made.status.code(), Some(code), "{args:?} {input:?}: {}", said(&made));
        assert!(made.stdout.is_empty());
    }
}

/// Types `keys` at a terminal, each after the question that it answers; what `passwd` prints, its
/// exit code, and what the screen showed.
fn at_a_terminal(keys: &[(&str, &str)]) -> (String, Option<i32>, String) {
    let pty = openpty(None, None).unwrap();
    let end = || Stdio::from(pty.slave.try_clone().unwrap());
    let mut child = Command::new(serialgate())
        .arg("passwd")
        .stdin(end())
        .stdout(Stdio::piped())
        .stderr(end())
        .spawn()
        .unwrap();
    let mut terminal = File::from(pty.master);
    let mut screen = String::new();
    for (question, answer) in keys {
        while !screen.contains(question) {
            let mut bytes = [0; 256];
            let count = terminal.read(&mut bytes).unwrap();
            screen.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
        terminal.write_all(answer.as_bytes()).unwrap();
    }
    let mut printed = String::new();
    child.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
    let code = child.wait().unwrap().code();
    let flags = tcgetattr(&pty.slave).unwrap().local_flags;
    assert!(flags.contains(LocalFlags::ECHO | LocalFlags::ICANON), "the terminal shows again what is typed");
    (printed, code, screen)
}

#[test]
fn at_a_terminal_it_asks_twice_and_shows_nothing() {
    let (printed, code, screen) =
        at_a_terminal(&[("Password", "hunter2\n"), ("The same again", "hunter2\n")]);
    assert!(code == Some(0) && printed.starts_with("$argon2id$"), "{printed} {screen}");
    assert!(!screen.contains("hunter2"), "{screen}");
    let (printed, code, _) = at_a_terminal(&[("Password", "hunter2\n"), ("The same again", "hunter3\n")]);
    assert_eq!((printed.as_str(), code), ("", Some(65)));
    let (printed, code, _) = at_a_terminal(&[("Password", "hunt\u{3}")]);
    assert_eq!((printed.as_str(), code), ("", Some(1)), "Ctrl-C");
}
