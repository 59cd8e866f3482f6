//! The daemon and systemd: the units, what they allow, and what the daemon tells its service manager.
//! The real binary; this test is the service manager.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong by panicking")]

#[path = "../e2e/support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "what other tests need")]
mod support;

mod clock;
mod denied;
mod journal;
mod manager;
mod notify;
mod stop;
mod units;
mod watchdog;
