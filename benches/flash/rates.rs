//! What it costs to have a backlog: rates and CPU on top of it, the first batch after a kill, and
//! memory.

use std::path::Path;
use std::time::{Duration, Instant};

use serialgate::clock::boottime_us;
use serialgate::config::Durability;
use serialgate::reading::Body;

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

/// A queue that has a backlog.
struct Queue {
    backlog: u64,
    ours: Ours,
    insert: Vec<Speed>,
    drain: Vec<Speed>,
    disk: Disk,
}

#[derive(Clone, Copy, Debug)]
struct Speed {
    per_s: f64,
    cpu_us: f64,
}

pub(crate) fn measure(scratch: &Path, scale: Scale, targets: &mut Targets) -> anyhow::Result<Vec<Section>> {
    let mut disks = Vec::new();
    for backlog in [0, SMALL, scale.large] {
        let disk = Disk::new(scratch, &format!("rates-{backlog}"), DISK_MIB)?;
        if backlog > 0 {
            let fill =
                Fill { format: Format::Wire, count: backlog, per_chunk: PER_CHUNK, max_size: NO_LIMIT };
            backlog::fill(disk.path(), fill)?;
            disk.sync()?;
        }
        disks.push((backlog, disk));
    }
    let mut sections = Vec::new();
    if let Some((backlog, disk)) = disks.last_mut() {
        sections.push(cold::measure(disk, *backlog, scale.rounds, targets)?);
        sections.push(memory::measure(disk.path(), *backlog, targets)?);
    }
    sections.insert(0, rates(disks, scale, targets)?);
    Ok(sections)
}

fn rates(disks: Vec<(u64, Disk)>, scale: Scale, targets: &mut Targets) -> anyhow::Result<Section> {
    let mut queues = Vec::new();
    for (backlog, disk) in disks {
        let ours = Ours::open(disk.path(), Durability::Always, Duration::from_millis(50), NO_LIMIT)?;
        queues.push(Queue { backlog, ours, insert: Vec::new(), drain: Vec::new(), disk });
    }
    // In turns: the machine has other work at times.
    for _ in 0..scale.rounds {
        for queue in &mut queues {
            queue.round()?;
        }
    }
    let mut section = Section::new(
        "Rates on top of a backlog",
        format!(
            "{PORTION} wire readings pushed as fast as the disk takes them, cloud away, then as many drained by a cloud that\n\
             acknowledges at once; median of {} rounds, taken in turns. CPU is that of the whole process, both threads.",
            scale.rounds
        ),
        ["backlog", "inserted/s", "CPU us each", "drained/s", "CPU us each"],
    );
    for queue in &queues {
        let (insert, drain) = (median(&queue.insert), median(&queue.drain));
        section.row([
            queue.backlog.to_string(),
            format!("{:.0}", insert.per_s),
            Short(insert.cpu_us).to_string(),
            format!("{:.0}", drain.per_s),
            Short(drain.cpu_us).to_string(),
        ]);
    }
    if let [empty, .., large] = queues.as_slice() {
        let ratio = |of: fn(&Queue) -> &[Speed]| median(of(large)).per_s / median(of(empty)).per_s;
        let (insert, drain) = (ratio(|queue| &queue.insert), ratio(|queue| &queue.drain));
        targets.add(format!("insert rate at {}, of empty", large.backlog), insert, Bar::AtLeast(0.8));
        targets.add(format!("drain rate at {}, of empty", large.backlog), drain, Bar::AtLeast(0.8));
    }
    Ok(section)
}

impl Queue {
    fn round(&mut self) -> anyhow::Result<()> {
        let mut source = Source::new(Format::Wire, boottime_us())?;
        let now_us = boottime_us();
        let bodies: Vec<Body> = (0..PORTION).map(|_| Body::Reading(source.next(now_us))).collect();
        self.insert.push(Speed::of(|| self.ours.insert(bodies))?);
        self.drain.push(Speed::of(|| {
            self.ours.drain(PORTION);
            Ok(())
        })?);
        // So that one does not write while another is measured.
        self.disk.sync()
    }
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

fn median(speeds: &[Speed]) -> Speed {
    let middle = |of: fn(&Speed) -> f64| {
        let mut values: Vec<f64> = speeds.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    };
    Speed { per_s: middle(|speed| speed.per_s), cpu_us: middle(|speed| speed.cpu_us) }
}
