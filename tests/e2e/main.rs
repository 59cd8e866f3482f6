//! The whole gateway, from outside: the real binary, boards on pseudo-terminals, Debian's mosquitto
//! as the cloud. One behaviour per test; each has its own directory, ports and processes.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong by panicking")]
#![expect(clippy::print_stderr, reason = "and what it measured on standard error")]

#[expect(dead_code, reason = "what other tests need")]
mod support;

mod broker;
mod calls;
mod damage;
mod demo;
mod disk;
mod downlink;
mod expiry;
mod fault;
mod hotplug;
mod input;
mod kill;
mod load;
mod outage;
mod path;
mod queue_commands;
mod salvage;
mod sessions;
mod space;
mod store;
mod watch;
