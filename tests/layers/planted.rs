//! The checker checked: small sources that break one rule each, and some that break none.

use super::{MAX_LINES, check, test_modules};

/// File, text, and part of what the checker must say.
const VIOLATIONS: &[(&str, &str, &str)] = &[
    (
        "topic.rs",
        "use std::fs;",
        "src/topic.rs:1: `std::fs`: pure code must not use `std::fs`; let the caller do it",
    ),
    ("topic.rs", "\nfn f() { std::fs::read(p); }", "src/topic.rs:2: `std::fs::read`: pure code"),
    ("topic.rs", "use std::{fmt, fs::File};", "`std::fs::File`: pure code"),
    ("topic.rs", "use std::fs as f;\nfn g() { f::read(p) }", "src/topic.rs:2: `std::fs::read`: pure code"),
    ("wire/time.rs", "use std::time::*;", "`std::time::*`: pure code must not use `std::time::SystemTime`"),
    ("wire/time.rs", "fn f() { tokio::spawn(x) }", "`tokio::spawn`: pure code must not use `tokio`"),
    ("wire/time.rs", "fn f() { tracing::info!(1) }", "`tracing::info`: pure code must not use `tracing`"),
    ("render.rs", "fn f() -> Instant { Instant::now() }", "`Instant::now` reads the clock in pure code"),
    ("render.rs", "fn f(i: Instant) { i.elapsed() }", "`.elapsed(` reads the clock in pure code"),
    (
        "mqtt/session.rs",
        "use crate::clock::Clock;",
        "`crate::clock::Clock`: pure code must not use the service `clock`",
    ),
    (
        "queue/core.rs",
        "use crate::status::{self, Cell};",
        "`crate::status::Cell`: pure code must not use the service",
    ),
    (
        "queue/core.rs",
        "use crate::status;\nfn f() -> status::Cell<u8> {}",
        "src/queue/core.rs:2: `crate::status::Cell`: pure",
    ),
    (
        "queue/core.rs",
        "use super::store::Store;",
        "`super::store::Store`: pure code must not use the part `queue`",
    ),
    (
        "bridge/session.rs",
        "use crate::broker::filter::Filter;",
        "the parts `bridge` and `broker` must not know each other",
    ),
    ("bridge/session.rs", "use crate::queue::Queue;", "pure code must not use the part `queue`"),
    (
        "config/port.rs",
        "use crate::status::Status;",
        "the configuration `config` must not use the service `status`",
    ),
    ("status.rs", "use crate::queue::Queue;", "the service `status` must not use the part `queue`"),
    (
        "bridge.rs",
        "use crate::{clock, broker::Broker};",
        "the parts `bridge` and `broker` must not know each other; gateway.rs wires them",
    ),
    (
        "port/driver.rs",
        "fn f() { crate::bridge::x() }",
        "the parts `port` and `bridge` must not know each other",
    ),
    ("queue/store.rs", "use crate::port::Port;", "the parts `queue` and `port` must not know each other"),
    (
        "bridge.rs",
        "use crate::broker::session::Session;",
        "the parts `bridge` and `broker` must not know each other",
    ),
    ("port.rs", "use crate::gateway::Gateway;", "the part `port` must not use the wiring `gateway`"),
    (
        "queue/worker.rs",
        "use rusqlite::Connection;",
        "only broker::store and queue::store and queue::schema may use `rusqlite`",
    ),
    ("broker.rs", "use rmqtt_codec::v5;", "only mqtt::codec may use `rmqtt_codec`"),
    ("control.rs", "fn f() { serde_saphyr::from_str(x) }", "only config may use `serde_saphyr`"),
    ("novel.rs", "", "src/novel.rs:1: no layer is known for the module `novel`; add it to LAYERS"),
    ("port.rs", "macro_rules! x { () => {} }", "`macro_rules!` is not used here; write a function"),
    ("port.rs", "#[allow(dead_code)] fn f() {}", "`#[allow(` is not used here"),
];

/// File and text of what it must not complain about.
const ALLOWED: &[(&str, &str)] = &[
    ("topic.rs", "use std::time::{Duration, Instant}; use crate::reading::Value;"),
    ("topic.rs", "// std::fs\n#[cfg(test)]\nmod tests { use std::fs; }"),
    ("queue/core.rs", "use crate::status::{self, Dropped}; fn f() -> status::Queue {}"),
    ("queue/core.rs", "use super::cursor::Cursor; use crate::config::WhenFull;"),
    ("render.rs", "use crate::clock::Wall;"),
    ("bridge.rs", "use crate::queue::Queue; use crate::clock::Clock; use tokio::net::TcpStream;"),
    ("queue/store.rs", "use rusqlite::Connection; use super::schema;"),
    ("mqtt/codec/v5.rs", "use rmqtt_codec::v5; use super::CodecError;"),
    ("gateway.rs", "use crate::{bridge, broker, port, publisher, queue};"),
    ("main.rs", "use serialgate::command::{run, check};"),
];

#[test]
fn violations_are_found() {
    for (file, text, expected) in VIOLATIONS {
        let found = check(file, text);
        assert!(found.iter().any(|violation| violation.contains(expected)), "{file}: {text}\n{found:#?}");
    }
}

#[test]
fn what_is_allowed_is_not_found() {
    for (file, text) in ALLOWED {
        assert_eq!(check(file, text), Vec::<String>::new(), "{file}: {text}");
    }
}

#[test]
fn a_file_that_is_too_long_is_found() {
    let long = "fn f() {}\n".repeat(MAX_LINES + 1);
    let expected = "src/port.rs:400: 401 lines without tests; 400 is the limit, so split it";
    assert_eq!(check("port.rs", &long), [expected]);
}

#[test]
fn a_module_for_tests_only_is_known() {
    let text = "mod session;\n#[cfg(test)]\nmod model;";
    assert_eq!(test_modules("wire.rs", text), ["wire::model"]);
    assert_eq!(test_modules("lib.rs", text), ["model"]);
}
