//! From a kill to the first batch, with nothing of the file in memory.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serialgate::clock::boottime_us;
use serialgate::command::say;
use serialgate::config::Durability;
use serialgate::reading::Body;

use crate::disk::Disk;
use crate::ours::Ours;
use crate::paced::NO_LIMIT;
use crate::process::Helper;
use crate::readings::{Format, Source};
use crate::section::{Section, Short};
use crate::targets::{Bar, Targets};

/// Readings that the victim has made durable before it is killed.
const BEFORE_KILL: usize = 20_000;
const PORTION: usize = 1000;
const BATCH: usize = 100;

pub(crate) fn measure(
    disk: &mut Disk,
    backlog: u64,
    rounds: u32,
    targets: &mut Targets,
) -> anyhow::Result<Section> {
    let mut section = Section::new(
        "After a kill",
        format!(
            "A process that pushes into a queue of {backlog} readings is killed; the file system is unmounted and mounted \
             again, so\nthat nothing of the file is in memory; then another process opens the queue. {rounds} times: median \
             and greatest."
        ),
        ["", "ms", "most"],
    );
    let (mut opened, mut first) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        kill_one(disk.path())?;
        disk.mount_again()?;
        let begun = Instant::now();
        let ours = Ours::open(disk.path(), Durability::Late, Duration::from_millis(250), NO_LIMIT)?;
        opened.push(begun.elapsed().as_secs_f64() * 1e3);
        ours.take(BATCH);
        first.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    for (name, times) in [("open", &mut opened), ("first batch", &mut first)] {
        times.sort_by(f64::total_cmp);
        let [middle, most] =
            [times.len() / 2, times.len() - 1].map(|n| times.get(n).copied().unwrap_or(f64::NAN));
        section.row([name.to_owned(), Short(middle).to_string(), Short(most).to_string()]);
        if name == "first batch" {
            let what = format!("ms from opening to the first batch after kill -9, {backlog} waiting, cold");
            targets.add(what, middle, Bar::AtMost(100.0));
        }
    }
    Ok(section)
}

/// Starts a process that pushes, and kills it while it does.
fn kill_one(dir: &Path) -> anyhow::Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--bench").arg("--victim").arg(dir);
    let mut victim = Helper::spawn(&command)?;
    let said = victim.0.stdout.take().context("its output")?;
    BufReader::new(said).lines().next().context("it ended by itself")??;
    Ok(())
}

/// What the victim does.
pub(crate) fn push_for_ever(dir: &Path) -> anyhow::Result<()> {
    let ours = Ours::open(dir, Durability::Late, Duration::from_millis(250), NO_LIMIT)?;
    let mut source = Source::new(Format::Wire, boottime_us())?;
    let mut pushed = 0;
    loop {
        ours.insert((0..PORTION).map(|_| Body::Reading(source.next(boottime_us()))).collect())?;
        pushed += PORTION;
        if pushed == BEFORE_KILL {
            say("pushing");
        }
    }
}
