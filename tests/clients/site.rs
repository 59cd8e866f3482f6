//! One gateway whose broker is on trial.

use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::agent::{Agent, Library};
use crate::support::{Gateway, PATIENCE, answers, free_port, wait_for};

pub(crate) struct Site {
    pub(crate) gateway: Gateway,
    pub(crate) port: u16,
    dir: TempDir,
}

impl Site {
    /// A broker without TLS, users or bridges.
    pub(crate) fn start() -> Self {
        Self::with("")
    }

    /// The same with more in its configuration.
    pub(crate) fn with(more: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let port = free_port();
        let config = format!(
            "gateway: pi\nqueue: {{path: {dir}/queue.db}}\ncontrol: {{socket: {dir}/control.sock}}\n\
             broker: {{listen: [{{address: \"127.0.0.1:{port}\"}}]}}\n{more}",
            dir = dir.path().display()
        );
        let gateway = Gateway::configured(dir.path(), &config);
        let site = Self { gateway, port, dir };
        site.wait_up();
        site
    }

    pub(crate) fn wait_up(&self) {
        wait_for("the broker", PATIENCE, || answers(self.port));
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
