//! The players: a gateway, boards, a cloud, and somebody who writes down what arrives there.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

mod boards;
mod cable;
mod cloud;
mod disk;
mod faults;
mod gateway;
pub(crate) mod log;
mod numbered;
mod raw;
mod slow;
mod tail;
mod tty;

pub(crate) use boards::{Boards, port};
pub(crate) use cable::Cable;
pub(crate) use cloud::Cloud;
pub(crate) use disk::Disk;
pub(crate) use faults::Faults;
pub(crate) use gateway::{Gateway, assert_account, cpu_time, dropped, serialgate};
pub(crate) use log::{Log, compare, publish};
pub(crate) use numbered::{Numbered, numbers, slowest};
pub(crate) use raw::Raw;
pub(crate) use slow::Slow;
pub(crate) use tty::Tty;

/// How long a condition may take before a test gives up on it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// How long a process may take to end once it was told to.
const ENDS_WITHIN: Duration = Duration::from_secs(20);
/// Between two looks at a condition.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Waits until `condition` holds; panics with `what` after `limit`.
pub(crate) fn wait_for(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < limit, "waited {limit:?} for {what}");
        pause(LOOK_AGAIN);
    }
}

/// Lets `duration` pass: for outages whose length is part of the story.
#[expect(clippy::disallowed_methods, reason = "a test's own thread, and a span of time is meant")]
pub(crate) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

/// A TCP port of our own. It lies below those that the kernel gives to outgoing connections: one of
/// them must not take it while a test keeps its listener away.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let _ = NEXT.compare_exchange(0, fastrand::u16(10_000..30_000), Ordering::Relaxed, Ordering::Relaxed);
    loop {
        let port = NEXT.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// Whether somebody listens there.
pub(crate) fn answers(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// A child process that does not outlive its test.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let name = format!("{command:?}");
        Self(command.spawn().unwrap_or_else(|error| panic!("{name}: {error}")))
    }

    /// One that runs already.
    pub(crate) fn of(child: Child) -> Self {
        Self(child)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id().cast_signed()), signal).unwrap();
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    pub(crate) fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait(ENDS_WITHIN)
    }

    pub(crate) fn wait(&mut self, limit: Duration) -> ExitStatus {
        let mut status = None;
        wait_for("a process to end", limit, || {
            status = self.0.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
