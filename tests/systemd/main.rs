//! The daemon and systemd: the units, what they allow, and what the daemon tells its service manager.
//! The real binary; this test is the service manager.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong by panicking")]

mod clock;
mod units;
