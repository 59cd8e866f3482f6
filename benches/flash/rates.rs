//! What it costs to have a backlog: rates and CPU on top of it, the first batch after a kill, and
//! memory.

use std::path::Path;
use std::time::{Duration, Instant};

use serialgate::clock::boottime_us;
use serialgate::config::Durability;
use serialgate::reading::Body;
use tempfile::TempDir;

use crate::Scale;
use crate::backlog::{self, Fill, PER_CHUNK};
use crate::disk::Disk;
use crate::ours::Ours;
use crate::paced::NO_LIMIT;
use crate::readings::{Format, Source};
use crate::section::{Section, Short};
use crate::targets::{Bar, Targets};
use crate::{cold, memory, process};

const DISK_MIB: u64 = 4096;
const SMALL: u64 = 100_000;
/// Readings that are pushed and drained at a time.
const PORTION: u64 = 100_000;
/// Rates are measured so many times as often as the rest: they are quick, and the disk is moody.
const ROUNDS_TIMES: u32 = 3;

/// A backlog, and how fast it was on top of it.
struct Backlog {
    readings: u64,
    disk: Disk,
    insert: Vec<Speed>,
    drain: Vec<Speed>,
}

#[derive(Clone, Copy, Debug)]
struct Speed {
    per_s: f64,
    cpu_us: f64,
}

pub(crate) fn measure(scratch: &Path, scale: Scale, targets: &mut Targets) -> anyhow::Result<Vec<Section>> {
    let mut backlogs = Vec::new();
    for readings in [0, SMALL, scale.large] {
        let disk = Disk::new(scratch, &format!("rates-{readings}"), DISK_MIB)?;
        backlogs.push(Backlog { readings, disk, insert: Vec::new(), drain: Vec::new() });
    }
    let mut sections = Vec::new();
    if let Some(large) = backlogs.last_mut() {
        // It is made once only, and serves for all that follows.
        large.fill(large.disk.path(), large.readings)?;
        large.disk.sync()?;
        sections.push(cold::measure(&mut large.disk, large.readings, scale.rounds, targets)?);
        sections.push(memory::measure(large.disk.path(), large.readings, targets)?);
    }
    sections.insert(0, rates(backlogs, scale, targets)?);
    Ok(sections)
}

fn rates(mut backlogs: Vec<Backlog>, scale: Scale, targets: &mut Targets) -> anyhow::Result<Section> {
    // In turns: the machine has other work at times.
    for _ in 0..scale.rounds * ROUNDS_TIMES {
        for backlog in &mut backlogs {
            if backlog.readings < scale.large { backlog.round()? } else { backlog.round_on_one_file()? }
        }
    }
    let mut section = Section::new(
        "Rates on top of a backlog",
        format!(
            "{PORTION} wire readings pushed as fast as the disk takes them, cloud away; and as many drained by a cloud that\n\
             acknowledges at once, {PER_CHUNK} of them in a chunk. The best of {} rounds, taken in turns: other work on the \
             machine\nonly ever slows. CPU is that of the whole process, both threads.",
            scale.rounds * ROUNDS_TIMES
        ),
        ["backlog", "inserted/s", "CPU us each", "drained/s", "CPU us each"],
    );
    for backlog in &backlogs {
        let (insert, drain) = (best(&backlog.insert), best(&backlog.drain));
        section.row([
            backlog.readings.to_string(),
            format!("{:.0}", insert.per_s),
            Short(insert.cpu_us).to_string(),
            format!("{:.0}", drain.per_s),
            Short(drain.cpu_us).to_string(),
        ]);
    }
    if let [empty, .., large] = backlogs.as_slice() {
        let ratio = |of: fn(&Backlog) -> &[Speed]| best(of(large)).per_s / best(of(empty)).per_s;
        let (insert, drain) = (ratio(|backlog| &backlog.insert), ratio(|backlog| &backlog.drain));
        targets.add(format!("insert rate at {}, of empty", large.readings), insert, Bar::AtLeast(0.8));
        targets.add(format!("drain rate at {}, of empty", large.readings), drain, Bar::AtLeast(0.8));
    }
    Ok(section)
}

impl Backlog {
    /// Pushes into a new file with the backlog in it, and drains from another.
    fn round(&mut self) -> anyhow::Result<()> {
        let dir = TempDir::new_in(self.disk.path())?;
        if self.readings > 0 {
            self.fill(dir.path(), self.readings)?;
        }
        self.insert(dir.path())?;
        dir.close()?;
        let dir = TempDir::new_in(self.disk.path())?;
        self.fill(dir.path(), self.readings + PORTION)?;
        self.drain(dir.path())?;
        Ok(dir.close()?)
    }

    /// Both with the one file that there is.
    fn round_on_one_file(&mut self) -> anyhow::Result<()> {
        let dir = self.disk.path().to_owned();
        self.insert(&dir)?;
        self.drain(&dir)
    }

    fn fill(&self, dir: &Path, count: u64) -> anyhow::Result<()> {
        let fill = Fill { format: Format::Wire, count, per_chunk: PER_CHUNK, max_size: NO_LIMIT };
        backlog::fill(dir, fill)?;
        self.disk.sync()
    }

    fn insert(&mut self, dir: &Path) -> anyhow::Result<()> {
        let now_us = boottime_us();
        let mut source = Source::new(Format::Wire, now_us)?;
        let bodies: Vec<Body> = (0..PORTION).map(|_| Body::Reading(source.next(now_us))).collect();
        let ours = open(dir)?;
        self.insert.push(Speed::of(|| ours.insert(bodies))?);
        drop(ours);
        self.disk.sync()
    }

    fn drain(&mut self, dir: &Path) -> anyhow::Result<()> {
        let ours = open(dir)?;
        self.drain.push(Speed::of(|| {
            ours.drain(PORTION);
            Ok(())
        })?);
        drop(ours);
        self.disk.sync()
    }
}

fn open(dir: &Path) -> anyhow::Result<Ours> {
    let ours = Ours::open(dir, Durability::Always, Duration::from_millis(50), NO_LIMIT)?;
    // Its thread has begun then, and the log has its size.
    ours.bytes()?;
    Ok(ours)
}

impl Speed {
    /// How fast `work` handles [`PORTION`] readings.
    fn of(work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<Self> {
        let (begun, cpu) = (Instant::now(), process::cpu()?);
        work()?;
        let (elapsed, cpu) = (begun.elapsed(), process::cpu()? - cpu);
        Ok(Self {
            per_s: PORTION as f64 / elapsed.as_secs_f64(),
            cpu_us: cpu.as_secs_f64() * 1e6 / PORTION as f64,
        })
    }
}

/// The fastest, and the one that needed the least CPU.
fn best(speeds: &[Speed]) -> Speed {
    let per_s = speeds.iter().map(|speed| speed.per_s).fold(f64::NAN, f64::max);
    let cpu_us = speeds.iter().map(|speed| speed.cpu_us).fold(f64::NAN, f64::min);
    Speed { per_s, cpu_us }
}
