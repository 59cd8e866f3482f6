//! One gateway whose broker is on trial.

use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::agent::{Agent, Library};
use crate::support::{Gateway, PATIENCE, answers, free_port, wait_for};

pub(crate) struct Site {
    pub(crate) gateway: Gateway,
    /// A listener without TLS.
    pub(crate) port: u16,
    dir: TempDir,
}

impl Site {
    /// A broker without TLS, users or bridges.
    pub(crate) fn start() -> Self {
        Self::listening(|_| String::new())
    }

    /// With more listeners, and with whatever keys of the broker follow them. `more` makes them, in a
    /// folder for its files.
    pub(crate) fn listening(more: impl FnOnce(&Path) -> String) -> Self {
        Self::build(more, "")
    }

    /// With more in its configuration.
    pub(crate) fn with(more: &str) -> Self {
        Self::build(|_| String::new(), more)
    }

    fn build(listeners: impl FnOnce(&Path) -> String, more: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let port = free_port();
        let config = format!(
            "gateway: pi\nqueue: {{path: {dir}/queue.db}}\ncontrol: {{socket: {dir}/control.sock}}\n\
             broker:\n  listen:\n    - {{address: \"127.0.0.1:{port}\"}}\n{listeners}{more}",
            dir = dir.path().display(),
            listeners = listeners(dir.path()),
        );
        let gateway = Gateway::configured(dir.path(), &config);
        let mut site = Self { gateway, port, dir };
        site.wait_up();
        site
    }

    pub(crate) fn wait_up(&mut self) {
        wait_for("the broker", PATIENCE, || {
            self.gateway.assert_runs();
            answers(self.port)
        });
    }

    pub(crate) fn folder(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn agent(&self, library: Library) -> Agent {
        Agent::start(library, self.port)
    }

    /// The broker's numbers in the status.
    pub(crate) fn broker(&self) -> Value {
        self.gateway.wait_status("the status", |_| true)["broker"].take()
    }

    /// Nothing went wrong that nobody saw.
    pub(crate) fn assert_well(mut self) {
        self.gateway.assert_runs();
        assert_eq!(self.broker()["dropped"], 0);
        assert!(self.gateway.terminate().success());
        let log = self.gateway.log();
        assert!(!log.contains("ERROR") && !log.contains("panicked"), "{log}");
    }
}
