//! What a backlog takes on the disk, and what is written while it is drained.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serialgate::clock::{Clock, boottime_us};
use serialgate::config::Durability;
use serialgate::queue::Resume;
use serialgate::queue::core::COMMITS_PER_SAVE;
use serialgate::queue::job::{Boards, Marks, Save};
use serialgate::queue::store::{KernelBoot, Limits, Store};
use serialgate::queue::types::WhenFull;
use serialgate::reading::{Body, MessageId};

use crate::Scale;
use crate::disk::Disk;
use crate::ours::{BRIDGE, Ours};
use crate::paced::NO_LIMIT;
use crate::readings::{Format, Source};
use crate::section::{Section, Short};
use crate::sync::{self, Sync};
use crate::targets::{Bar, Targets};

/// Readings in a chunk.
pub(crate) const PER_CHUNK: u64 = 100;
const DISK_MIB: u64 = 1024;
/// Between two readings, in microseconds: a hundred a second …
const PERIOD_US: i64 = 10_000;
/// … and the time at which they come is not quite regular.
const JITTER_US: i64 = 2_000;

/// A backlog to be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fill {
    pub(crate) format: Format,
    /// So many readings, or until the oldest had to go.
    pub(crate) count: u64,
    pub(crate) per_chunk: u64,
    pub(crate) max_size: u64,
}

pub(crate) fn measure(scratch: &Path, scale: Scale, targets: &mut Targets) -> anyhow::Result<Section> {
    let mut section = Section::new(
        "Backlog",
        format!(
            "{} readings, {PER_CHUNK} to a commit, then drained by a cloud that acknowledges at once. The size is that of \
             the\ndatabase; the log, which is overwritten, has 4 MB at most whatever the backlog.",
            scale.backlog
        ),
        ["", "disk B/reading", "B written per reading drained", "flushes", "drained/s"],
    );
    for (name, format, disk_bar) in [("wire", Format::Wire, 6.0), ("JSON", Format::Json, 15.0)] {
        let disk = Disk::new(scratch, &format!("backlog-{name}"), DISK_MIB)?;
        let fill = Fill { format, count: scale.backlog, per_chunk: PER_CHUNK, max_size: NO_LIMIT };
        self::fill(disk.path(), fill)?;
        let ours = Ours::open(disk.path(), Durability::Always, Duration::from_millis(250), NO_LIMIT)?;
        let size = ours.bytes()? as f64 / scale.backlog as f64;
        disk.sync()?;
        let (before, begun) = (disk.counters()?, Instant::now());
        ours.drain(scale.backlog);
        let rate = scale.backlog as f64 / begun.elapsed().as_secs_f64();
        ours.settle()?;
        let flushes = disk.counters()?.since(before).flushes;
        disk.sync()?;
        let written = disk.counters()?.since(before).bytes as f64 / scale.backlog as f64;
        targets.add(
            format!("disk bytes per {name} reading, {PER_CHUNK} per chunk"),
            size,
            Bar::AtMost(disk_bar),
        );
        if format == Format::Wire {
            targets.add("bytes written per wire reading drained", written, Bar::AtMost(10.0));
        }
        section.row([
            name.to_owned(),
            Short(size).to_string(),
            Short(written).to_string(),
            flushes.to_string(),
            format!("{rate:.0}"),
        ]);
    }
    Ok(section)
}

/// Makes a queue file in `dir` with a backlog: chunk for chunk as the queue would, but without
/// waiting for time to pass or for the disk.
pub(crate) fn fill(dir: &Path, fill: Fill) -> anyhow::Result<()> {
    sync::set(Sync::Nothing);
    let result = fill_unsynced(dir, fill);
    sync::set(Sync::Data);
    result
}

fn fill_unsynced(dir: &Path, fill: Fill) -> anyhow::Result<()> {
    let path = dir.join("queue.db");
    let limits = Limits {
        max_bytes: fill.max_size,
        max_age_us: i64::MAX,
        max_readings: None,
        letters_bytes: 1 << 20,
        when_full: WhenFull::DropOldest,
    };
    let uuid = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
    let mut store = Store::open(&path, &[BRIDGE.to_owned()], limits, &KernelBoot { uuid, row: None })?;
    store.grow_log(&path)?;
    let offset = Clock::default().offset();
    let mut now_us = boottime_us();
    let mut source = Source::new(fill.format, now_us)?;
    let mut random = fastrand::Rng::with_seed(2);
    let (mut position, mut commits) = (0, 0);
    let mut boards = BTreeMap::new();
    while position < fill.count {
        let mut entries = Vec::new();
        for _ in 0..fill.per_chunk.min(fill.count - position) {
            let late_us = random.i64(0..JITTER_US);
            let reading = source.next(now_us + late_us);
            if let MessageId::Board { uid, boot, seq } = &reading.id {
                boards.insert((uid.clone(), *boot), Resume { next: seq + 1, dropped: 0 });
            }
            entries.push((position, Arc::new(Body::Reading(reading))));
            position += 1;
            now_us += PERIOD_US;
        }
        commits += 1;
        let marks = (commits % COMMITS_PER_SAVE == 0).then(|| {
            Box::new(Marks {
                delete_below: 0,
                delete_within: Vec::new(),
                cursors: vec![0],
                done: vec![Vec::new()],
                delivered: 0,
                boards: Some(Boards {
                    changed: std::mem::take(&mut boards),
                    upto: position,
                    salvaged: Vec::new(),
                }),
            })
        });
        let save = Save { marks, ..Save::default() };
        if !store.commit(&entries, &save, now_us, offset)?.evicted.is_empty() {
            break;
        }
    }
    Ok(())
}
