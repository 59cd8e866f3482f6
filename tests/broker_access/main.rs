//! Who may connect to the local broker, and do what: the real binary, with Mosquitto's clients.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod crowd;
mod logins;
mod passwd;
mod rules;
mod sessions;
mod site;
