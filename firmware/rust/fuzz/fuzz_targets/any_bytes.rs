//! Any bytes at all: nothing panics, nothing is lost, and what is taken encodes back to itself.
//!
//! From `firmware/rust`, with `cargo install cargo-fuzz` and a nightly compiler:
//!
//! ```text
//! cargo +nightly fuzz run any_bytes
//! ```
//!
//! With the fuzzer's own mutations a right CRC is a matter of luck, so start it from real frames:
//! the `hex` lines of `firmware/vectors.txt`, one file each, in `fuzz/corpus/any_bytes`.
#![no_main]

#[path = "../../tests/common/mod.rs"]
mod common;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| common::check_any_bytes(bytes));
