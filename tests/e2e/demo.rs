//! The story that the program tells of itself. That its ledger can say no is tested beside it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use nix::pty::{Winsize, openpty};
use nix::sys::signal::Signal;

use crate::support::{Process, pause, serialgate};

/// How much longer than the story its telling may take.
const GRACE: Duration = Duration::from_secs(30);

#[test]
fn without_a_terminal_the_demo_prints_lines() {
    let output = serialgate().args(["demo", "--seconds", "12"]).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
    let after = |line: &str, word: &str| {
        let rest = line.split_once(word)?.1.trim_start();
        rest.split(' ').next()?.parse::<u64>().ok()
    };
    let backlogs: Vec<u64> = text.lines().filter_map(|line| after(line, "  backlog")).collect();
    assert!(backlogs.len() >= 8, "{text}");
    assert!(backlogs.iter().any(|backlog| *backlog > 100), "{text}");
    assert!(text.contains("CUT") && text.contains("cloud link back"), "{text}");
    let last = text.lines().last().unwrap();
    assert!(last.trim_start().starts_with("lost 0 of "), "{last}");
    assert!(after(last, "lost 0 of ").unwrap() > 500, "{last}");
}

#[test]
fn on_a_terminal_the_demo_draws() {
    let mut screen = Screen::show(&["demo", "--seconds", "6"], Answers::Yes);
    let (status, text) = screen.end();
    assert_eq!(status.code(), Some(0), "{text}");
    for words in ["\u{1b}[", "backlog", "CUT", "lost 0 of "] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(shows_cursor(&text), "{text}");
}

#[test]
fn on_a_terminal_that_is_mute_the_demo_prints_lines() {
    let mut screen = Screen::show(&["demo", "--seconds", "5"], Answers::No);
    let (status, text) = screen.end();
    assert_eq!(status.code(), Some(0), "{text}");
    assert!(text.contains("backlog") && text.contains("lost 0 of "), "{text}");
}

#[test]
fn an_interrupted_demo_leaves_the_terminal_as_it_was() {
    let mut screen = Screen::show(&["demo", "--seconds", "60"], Answers::Yes);
    pause(Duration::from_secs(2));
    screen.process.signal(Signal::SIGINT);
    let (status, text) = screen.end();
    assert_eq!(status.code(), Some(1), "{text}");
    assert!(shows_cursor(&text) && text.contains("stopped before the end"), "{text}");
}

/// Whether the cursor was left visible.
fn shows_cursor(text: &str) -> bool {
    text.rfind("\u{1b}[?25h") > text.rfind("\u{1b}[?25l")
}

/// Whether a terminal says where its cursor is when it is asked.
#[derive(Clone, Copy, PartialEq)]
enum Answers {
    Yes,
    No,
}

/// A program on a terminal of 100 columns.
struct Screen {
    process: Process,
    text: Option<thread::JoinHandle<Vec<u8>>>,
}

impl Screen {
    fn show(args: &[&str], answers: Answers) -> Self {
        let size = Winsize { ws_row: 30, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = openpty(&size, None).unwrap();
        let mut command = serialgate();
        command.args(args).env("TERM", "xterm");
        let process = on_terminal(&mut command, pair.slave);
        let master = File::from(pair.master);
        Self { process, text: Some(thread::spawn(move || read(master, answers))) }
    }

    /// Waits for its end: how it ended, and all that it wrote.
    fn end(&mut self) -> (ExitStatus, String) {
        let status = self.process.wait(Duration::from_secs(60) + GRACE);
        let text = self.text.take().unwrap().join().unwrap();
        (status, String::from_utf8_lossy(&text).into_owned())
    }
}

fn on_terminal(command: &mut Command, slave: OwnedFd) -> Process {
    let (input, output) = (slave.try_clone().unwrap(), slave.try_clone().unwrap());
    let process = Process::spawn(command.stdin(input).stdout(output).stderr(slave));
    // The command holds the descriptors open that it was given; the end comes when all are closed.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    process
}

fn read(mut master: File, answers: Answers) -> Vec<u8> {
    let mut text = Vec::new();
    let mut bytes = [0; 4096];
    // An error is how a terminal says that the last program has left it.
    while let Ok(count @ 1..) = master.read(&mut bytes) {
        text.extend_from_slice(&bytes[..count]);
        let is_asked = bytes[..count].windows(4).any(|four| four == b"\x1b[6n");
        if is_asked && answers == Answers::Yes {
            master.write_all(b"\x1b[1;1R").unwrap();
        }
    }
    text
}
