//! The local broker with clients that we did not write: Debian's mosquitto_pub, mosquitto_sub and
//! mosquitto_rr, paho-mqtt and gmqtt in Python, MQTT.js in Node and in a browser. The real program
//! runs, each test has one of its own. `scripts/setup test` installs the clients.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../e2e/support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "what the other tests need")]
mod support;

#[path = "../interop/certificates.rs"]
mod certificates;

mod agent;
mod browser;
mod churn;
mod exchange;
mod features;
mod limits;
mod login;
mod mosquitto;
mod refusals;
mod reload;
mod restarts;
mod sessions;
mod site;
mod transports;
