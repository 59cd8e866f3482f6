//! The Debian package: what is in it, and how it lives on a machine.
//!
//! It is made as users get it, only of the program that Cargo has built for the tests. The machine is a
//! container that systemd boots, without a network; one for all tests, and each begins without the
//! package, or with it as it was just installed. This needs root, and what `scripts/setup package`
//! installs.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod content;
mod deb;
mod life;
mod machine;
mod papers;
mod service;
mod upgrade;
