//! The Debian package: what is in it.
//!
//! It is made as users get it, only of the program that Cargo has built for the tests. This needs what
//! `scripts/setup package` installs.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod content;
mod deb;
mod papers;
