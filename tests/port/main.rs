//! Ports on ptys: what boards, cables and other programs do to them, and what becomes of the
//! readings.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a test says what went wrong by panicking"
)]

mod hotplug;
mod json;
mod listed;
mod support;
mod wire;
