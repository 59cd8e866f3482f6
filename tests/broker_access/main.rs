//! Who may connect to the local broker, and do what: the real binary, with Mosquitto's clients.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "there is no runtime here: threads wait")]

mod crowd;
mod logins;
mod passwd;
mod rules;
mod sessions;
mod site;
