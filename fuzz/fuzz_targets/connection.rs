//! Any bytes at all, said to the local broker by one client after another: nothing panics, nothing hangs,
//! and the broker still serves a client that does nothing wrong.
//!
//! With `cargo install cargo-fuzz` and a nightly compiler:
//!
//! ```text
//! cargo +nightly fuzz run connection
//! ```
//!
//! The input is cut at each `FF FF` into the connections of several clients. `tests/mutation` says much
//! the same without guidance, in `make test`.
#![no_main]

#[path = "../../tests/mutation/conversation.rs"]
mod conversation;

use serialgate::broker::{Broker, Limits, NoIntake};
use tokio::runtime::Builder;

use conversation::converse;

/// A 5.0 CONNECT, SUBSCRIBE to `p`, PUBLISH `alive` on it, and two PINGREQs.
const PROBE: &[u8] = b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x01p\
    \x82\x07\x00\x01\x00\x00\x01p\x00\x30\x09\x00\x01p\x00alive\xc0\x00\xc0\x00";

/// Connections of one input.
const CLIENTS: usize = 8;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let broker = Broker::new(Limits::default(), NoIntake);
        for client in split(bytes).take(CLIENTS) {
            converse(&broker, client, client.len()).await;
        }
        let heard = converse(&broker, PROBE, PROBE.len()).await;
        assert!(heard.windows(5).any(|window| window == b"alive"), "{heard:x?}");
    });
});

/// What stands between the marks.
fn split(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(bytes);
    std::iter::from_fn(move || {
        let bytes = rest?;
        let mark = bytes.windows(2).position(|mark| mark == [0xFF, 0xFF]);
        rest = mark.map(|mark| &bytes[mark + 2..]);
        Some(&bytes[..mark.unwrap_or(bytes.len())])
    })
}
