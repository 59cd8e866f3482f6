//! Our bridge against brokers that we did not write, one after the other: `make interop`.
//!
//! ```text
//! mosquitto_pub ──> gateway ──bridge──> proxy ──> broker ──> mosquitto_sub
//! mosquitto_sub <──                                      <── mosquitto_pub
//! ```
//! Each broker is started on free ports with the settings that its own manual gives. What comes out
//! is a table, written into the file behind `--write`; words behind it choose brokers by the
//! beginning of their names. Not part of `make test`: some of the brokers take minutes to build.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a trial fails by panicking, and is caught")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "shows how far it is")]

#[path = "../e2e/support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "what the other tests need")]
mod support;

mod brokers;
mod certificates;
mod proxy;
mod site;
mod table;
mod trials;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use brokers::Kind;
use certificates::Certificates;
use table::Row;
use trials::Case;

fn main() -> ExitCode {
    // What a failed trial says is in the table.
    std::panic::set_hook(Box::new(|_| {}));
    let mut write: Option<PathBuf> = None;
    let mut only: Vec<String> = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--write" => write = arguments.next().map(PathBuf::from),
            name => only.push(name.to_owned()),
        }
    }
    let chosen = |kind: &&Kind| only.is_empty() || only.iter().any(|name| kind.name().starts_with(name));
    let rows: Vec<Row> = brokers::ALL.iter().filter(chosen).flat_map(|kind| of(*kind)).collect();
    let table = table::markdown(&rows);
    println!("\n{table}");
    if let Some(path) = write
        && let Err(error) = table::write(&path, &table)
    {
        eprintln!("{}: {error}", path.display());
        return ExitCode::FAILURE;
    }
    let failed = rows.iter().filter(|row| !row.result.works && !row.result.broker_fails).count();
    println!("{} passed, {failed} failed", rows.len() - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// All ways of talking to one broker.
fn of(kind: Kind) -> Vec<Row> {
    let folder = tempfile::tempdir().unwrap();
    let certificates = Certificates::make(folder.path());
    let started = trials::attempt(|| kind.start(folder.path(), &certificates));
    let running = match started {
        Ok(running) => running,
        Err(error) => {
            eprintln!("{}: does not start: {error}", kind.name());
            return vec![Row::not_started(kind.name(), &error)];
        }
    };
    let cases = running.cases();
    let rows = cases.into_iter().enumerate().map(|(index, case)| {
        let name = format!(
            "{} {}, {}, {}",
            kind.name(),
            running.version,
            case.version.words(),
            case.transport.words()
        );
        eprintln!("{name} …");
        let mut row =
            row(kind, &running.version, &case, &folder.path().join(format!("site-{index}")), &certificates);
        if let Some(panic) = running.panic() {
            row.result.broker_fails = true;
            row.result.note(panic);
        }
        eprintln!("{name}: {}", row.result.words());
        row
    });
    rows.collect()
}

fn row(kind: Kind, version: &str, case: &Case, folder: &Path, certificates: &Certificates) -> Row {
    std::fs::create_dir_all(folder).unwrap();
    let result = trials::run(case, folder, certificates);
    Row {
        broker: kind.name().into(),
        version: version.into(),
        protocol: case.version.words(),
        transport: case.transport.words(),
        result,
    }
}
