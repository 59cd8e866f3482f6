//! How long a start takes: from before the program is started until it has its serial port open.

use std::fs;
use std::path::Path;
use std::time::Instant;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tempfile::TempDir;

use crate::drain::fill;
use crate::lines::Lines;
use crate::players::{Cloud, Gateway, free_port};
use crate::scratch;
use crate::section::{Section, verdict};
use crate::stats::Runs;

const RUNS: usize = 7;
const BACKLOG: u64 = 100_000;
const TARGET_MS: f64 = 50.0;

pub(crate) fn measure(cloud: &Cloud) -> anyhow::Result<Section> {
    let nobody = free_port()?;
    let used = scratch()?;
    start(used.path(), nobody)?;
    let full = scratch()?;
    fill(full.path(), BACKLOG)?;
    let first: Vec<TempDir> = (0..RUNS).map(|_| scratch()).collect::<Result<_, _>>()?;

    let mut section = Section::new(
        "Start",
        "Milliseconds until the port is open. Before each start the gateway before it was killed, so that the\n\
         queue's log has to be gone through.",
        ["", "ms", "target", ""],
    );
    let mut add = |what: &str, runs: anyhow::Result<Runs>| {
        let runs = runs?;
        let met = verdict(runs.median() <= TARGET_MS);
        section.row([what.to_owned(), runs.to_string(), format!("<= {TARGET_MS}"), met]);
        anyhow::Ok(())
    };
    let times = |dir: &Path, cloud: u16| (0..RUNS).map(|_| start(dir, cloud)).collect();
    add("first start, no queue file yet", first.iter().map(|dir| start(dir.path(), cloud.port)).collect())?;
    add("cloud there", times(used.path(), cloud.port))?;
    add("cloud away", times(used.path(), nobody))?;
    add("cloud away, 100 000 readings waiting", times(full.path(), nobody))?;
    Ok(section)
}

/// One start; milliseconds.
fn start(dir: &Path, cloud: u16) -> anyhow::Result<f64> {
    let lines = Lines::plug(dir, 1)?;
    let watch = Inotify::init(InitFlags::IN_CLOEXEC)?;
    for path in &lines.paths {
        watch.add_watch(&fs::canonicalize(path)?, AddWatchFlags::IN_OPEN)?;
    }
    let begun = Instant::now();
    let _gateway = Gateway::start(dir, &lines.paths, "json", cloud)?;
    watch.read_events()?;
    Ok(begun.elapsed().as_secs_f64() * 1e3)
}
