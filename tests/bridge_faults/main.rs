//! The bridge against every fault that we can think of: brokers that misbehave, links that break in
//! every way, name servers that hang. Whatever happens, every reading arrives, in the order of its
//! device; what arrives twice is the same, and no more of it than was in flight; and who is only local
//! notices nothing.
//!
//! - `misbehaviour`: one fault of a broker at a time, each with its verdict
//! - `link`: networks that fail without a word (needs root, iproute2 and nftables)
//! - `local`: what clients on the local network notice of all that (needs the same)
//! - `profiles`: links that come and go by the clock
//! - `storm`: 200 random faults of brokers and links. `BRIDGE_FAULTS_SEED=…` does the same ones again
//! - `takeover`: two gateways with one client id
//!
//! `BRIDGE_FAULT='is busy' cargo test --test bridge_faults -- --nocapture` does one fault alone: names
//! are in the tables that the tests print, and a part of one will do. The whole takes three minutes.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong by panicking")]
#![expect(clippy::print_stdout, reason = "and what it measured on standard output")]

#[path = "../e2e/support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "what other tests need")]
mod support;

mod broker;
mod lan;
mod link;
mod local;
mod manners;
mod misbehaviour;
mod namespace;
mod profiles;
mod proxy;
mod site;
mod storm;
mod takeover;

use std::time::Duration;

use nix::sys::signal::Signal;

use support::Cloud;
use tokio::sync::RwLock;

/// How long a condition may take before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(90);

/// Written by the test that measures how long things take: it has the machine to itself.
static MACHINE: RwLock<()> = RwLock::const_new(());

/// A cloud that is stopped so answers nothing and closes nothing; its kernel still takes connections.
fn signal(cloud: &Cloud, signal: Signal) {
    cloud.process.as_ref().unwrap().signal(signal);
}

/// Whether `name` is to be done in this run.
fn wanted(name: &str) -> bool {
    std::env::var("BRIDGE_FAULT").map_or(true, |wanted| name.contains(&wanted))
}
