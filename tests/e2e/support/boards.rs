//! Boards, simulated by the program itself.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use super::tail::Tail;
use super::{PATIENCE, Process, serialgate, wait_for};

/// `serialgate sim` with a ledger.
pub(crate) struct Boards {
    ledger: RefCell<Ledger>,
    process: Process,
}

/// What was read of it so far.
struct Ledger {
    tail: Tail,
    /// By event.
    ids: BTreeMap<String, BTreeSet<String>>,
}

impl Ledger {
    fn read(&mut self) {
        for line in self.tail.lines() {
            let line: Value = serde_json::from_str(&line).unwrap();
            let (event, id) = (line["event"].as_str().unwrap(), line["id"].as_str().unwrap());
            self.ids.entry(event.into()).or_default().insert(id.into());
        }
    }
}

impl Boards {
    /// Boards at `dir/name`.
    pub(crate) fn start(dir: &Path, name: &str, format: &str, rate: u32, more: &[&str]) -> Self {
        let ledger = dir.join(format!("{name}.ledger"));
        let mut command = serialgate();
        command.arg("sim").arg("--link").arg(dir.join(name)).args(["--format", format]);
        command.args(["--rate", &rate.to_string(), "--ledger"]).arg(&ledger).args(more);
        let process = Process::spawn(command.stdout(Stdio::null()).stderr(Stdio::null()));
        wait_for("the board's port", PATIENCE, || dir.join(name).exists());
        wait_for("the board's ledger", PATIENCE, || ledger.exists());
        let ledger = Ledger { tail: Tail::open(&ledger), ids: BTreeMap::new() };
        Self { ledger: RefCell::new(ledger), process }
    }

    /// Ends them as an operator would.
    pub(crate) fn stop(&mut self) {
        self.process.terminate();
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.process.has_ended()
    }

    /// Ids in the ledger under `event`.
    pub(crate) fn ids(&self, event: &str) -> BTreeSet<String> {
        let mut ledger = self.ledger.borrow_mut();
        ledger.read();
        ledger.ids.get(event).cloned().unwrap_or_default()
    }

    /// How many are in the ledger under `event`.
    pub(crate) fn count(&self, event: &str) -> usize {
        let mut ledger = self.ledger.borrow_mut();
        ledger.read();
        ledger.ids.get(event).map_or(0, BTreeSet::len)
    }

    pub(crate) fn wait_all_acknowledged(&mut self) {
        wait_for("all readings to be acknowledged", Duration::from_secs(180), || self.has_ended());
        assert_eq!(self.ids("produced"), self.ids("acknowledged"));
    }
}

/// A port entry for what is at `dir/name`.
pub(crate) fn port(dir: &Path, name: &str, rest: &str) -> String {
    format!("{{path: \"{}\", {rest}}}", dir.join(name).display())
}
