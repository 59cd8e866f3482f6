//! The local broker against the normative statements of MQTT 5.0 and 3.1.1, byte by byte over TCP.
//!
//! A test's documentation ends with the statements that it holds, as `5.0: 3.1.0-1 …` for
//! `[MQTT-3.1.0-1]` of MQTT 5.0 and `3.1.1: …`. `table` reads the sources and holds that every statement
//! has a test or a reason, and that `docs/conformance.md` says so.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail the test")]

mod connect;
mod ending;
mod flow;
mod format;
mod heard;
mod packet;
mod paho;
mod properties;
mod publish;
mod qos;
mod session;
mod site;
mod subscribe;
mod table;
mod topics;
mod will;
