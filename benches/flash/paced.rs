//! Readings at a steady rate: what each commit and each reading costs.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use serialgate::clock::boottime_us;
use serialgate::config::Durability;

use crate::Scale;
use crate::backlog::{self, Fill};
use crate::disk::{Counters, Disk};
use crate::frames::{self, Frames};
use crate::ours::Ours;
use crate::raw::RawLog;
use crate::readings::{Format, Source};
use crate::rows::{Log, Rows};
use crate::stock::Stock;

/// Readings per second.
pub(crate) const RATES: [u32; 3] = [10, 100, 1000];
/// How long a reading may wait for its commit where players are compared, and by default.
const STRICT: Duration = Duration::from_millis(50);
const DEFAULT: Duration = Duration::from_millis(250);
/// From the commit to the cloud's acknowledgement, and the same of a fast cloud.
const ANSWER: Duration = Duration::from_millis(100);
const FAST_ANSWER: Duration = Duration::from_millis(20);
/// Readings are not equally far apart: each comes later by up to this share of the distance.
const JITTER: f64 = 0.2;
const WARM_UP: Duration = Duration::from_secs(3);
/// A stock log grows for about so long, at 20 commits a second, in seconds.
const GROWING_S: u32 = 15;
const DISK_MIB: u64 = 512;
/// As large as a queue may get: more than any run here needs.
pub(crate) const NO_LIMIT: u64 = 8 << 30;
/// A queue that is full soon, and whose log has its greatest size all the same.
const SOON_FULL: u64 = 16 << 20;

/// How readings come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    pub(crate) period: Duration,
    pub(crate) commit_within: Duration,
    /// `None`: the cloud is away.
    pub(crate) answer: Option<Duration>,
}

/// When reading `n` comes, from the beginning.
pub(crate) fn arrival(period: Duration, n: u64) -> Duration {
    let late = fastrand::Rng::with_seed(n).f64() * JITTER;
    period.mul_f64(n as f64 + late)
}

/// How many readings come in `span`.
fn periods(span: Duration, period: Duration) -> u64 {
    u64::try_from(span.as_nanos().div_ceil(period.as_nanos())).unwrap_or(u64::MAX)
}

/// Who stores the readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Player {
    /// `grown`: its log has reached its full size.
    Stock {
        grown: bool,
    },
    RawLog,
    Always(Format),
    /// With a cloud that answers before anything need be committed.
    Late,
    /// The same with the default `commit_within`.
    Online,
    /// With the cloud away, first drained afterwards.
    Outage,
    /// With the cloud away for so long that the oldest readings must go.
    Full,
}

const COMPARED: [Player; 6] = [
    Player::Stock { grown: false },
    Player::Stock { grown: true },
    Player::RawLog,
    Player::Always(Format::Wire),
    Player::Always(Format::Json),
    Player::Late,
];

/// A player and its readings.
#[derive(Clone, Copy, Debug)]
struct Plan {
    player: Player,
    /// Readings per minute.
    per_minute: u32,
}

/// What one run cost.
#[derive(Clone, Debug)]
pub(crate) struct Cost {
    pub(crate) player: Player,
    /// Readings per minute.
    pub(crate) per_minute: u32,
    pub(crate) lasted: Duration,
    pub(crate) readings: u64,
    pub(crate) commits: u64,
    pub(crate) device: Counters,
    /// Written while all of it was drained, where that was done.
    pub(crate) drained: Option<Counters>,
    /// What the queue's log holds; `None` for the others.
    pub(crate) frames: Option<Frames>,
}

impl Cost {
    pub(crate) fn per_reading(&self) -> f64 {
        self.device.bytes as f64 / self.readings as f64
    }

    pub(crate) fn per_commit(&self) -> f64 {
        self.device.bytes as f64 / self.commits as f64
    }

    pub(crate) fn flushes_per_commit(&self) -> f64 {
        self.device.flushes as f64 / self.commits as f64
    }
}

/// All at once: they use little of the processor, and bytes do not depend on time.
pub(crate) fn run_all(scratch: &Path, scale: Scale) -> anyhow::Result<Vec<Cost>> {
    let compared =
        RATES.iter().flat_map(|rate| COMPARED.map(|player| Plan { player, per_minute: rate * 60 }));
    let typical = [(Player::Online, 5), (Player::Online, 600), (Player::Outage, 600), (Player::Full, 6000)];
    let typical = typical.map(|(player, per_minute)| Plan { player, per_minute });
    let threads: Vec<_> = compared
        .chain(typical)
        .enumerate()
        .map(|(n, plan)| {
            let disk = Disk::new(scratch, &format!("paced-{n}"), DISK_MIB)?;
            Ok(thread::spawn(move || run(plan, scale.seconds, &disk)))
        })
        .collect::<anyhow::Result<_>>()?;
    let costs = threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a player panicked"))?);
    costs.collect()
}

fn run(plan: Plan, seconds: u32, disk: &Disk) -> anyhow::Result<Cost> {
    let Plan { player, per_minute } = plan;
    let period = Duration::from_secs(60) / per_minute;
    let seconds = if player == (Player::Stock { grown: false }) { seconds.min(GROWING_S) } else { seconds };
    let mut run = Run::open(player, period, disk.path())?;
    run.warm_up(disk)?;
    disk.sync()?;
    let (commits, before) = (run.commits(), disk.counters()?);
    let readings = periods(Duration::from_secs(seconds.into()), period);
    let begun = Instant::now();
    run.go(readings)?;
    let lasted = begun.elapsed();
    let commits = run.commits() - commits;
    let flushes = disk.counters()?.since(before).flushes;
    // What the file system put off belongs to the run as well; the flush that we ask for does not.
    disk.sync()?;
    let device = Counters { flushes, ..disk.counters()?.since(before) };
    let frames = run.frames(disk.path(), commits)?;
    let drained = if player == Player::Outage { Some(run.drain(disk)?) } else { None };
    Ok(Cost { player, per_minute, lasted, readings, commits, device, drained, frames })
}

/// A player at work.
struct Run {
    player: Player,
    source: Source,
    pace: Pace,
    store: Store,
}

enum Store {
    Rows(Rows),
    Queue(Ours),
}

impl Run {
    fn open(player: Player, period: Duration, dir: &Path) -> anyhow::Result<Self> {
        let ours = |durability, within, max_size| -> anyhow::Result<Store> {
            Ok(Store::Queue(Ours::open(dir, durability, within, max_size)?))
        };
        let (format, commit_within, answer, store) = match player {
            Player::Stock { grown } => {
                let log = Log::Stock(Stock::open(dir, grown)?);
                (Format::Json, STRICT, Some(ANSWER), Store::Rows(Rows::new(log)))
            }
            Player::RawLog => {
                let log = Log::Raw(RawLog::open(dir)?);
                (Format::Json, STRICT, Some(ANSWER), Store::Rows(Rows::new(log)))
            }
            Player::Always(format) => {
                (format, STRICT, Some(ANSWER), ours(Durability::Always, STRICT, NO_LIMIT)?)
            }
            Player::Late => {
                (Format::Wire, STRICT, Some(FAST_ANSWER), ours(Durability::Late, STRICT, NO_LIMIT)?)
            }
            Player::Online => {
                (Format::Wire, DEFAULT, Some(ANSWER), ours(Durability::Late, DEFAULT, NO_LIMIT)?)
            }
            Player::Outage => (Format::Wire, DEFAULT, None, ours(Durability::Late, DEFAULT, NO_LIMIT)?),
            Player::Full => {
                let per_chunk = periods(DEFAULT, period);
                let fill = Fill { format: Format::Wire, count: u64::MAX, per_chunk, max_size: SOON_FULL };
                backlog::fill(dir, fill)?;
                (Format::Wire, DEFAULT, None, ours(Durability::Late, DEFAULT, SOON_FULL)?)
            }
        };
        let pace = Pace { period, commit_within, answer };
        Ok(Self { player, source: Source::new(format, boottime_us())?, pace, store })
    }

    fn warm_up(&mut self, disk: &Disk) -> anyhow::Result<()> {
        let count = periods(WARM_UP, self.pace.period);
        let Store::Queue(queue) = &mut self.store else { return self.go(count) };
        // The first commit into a log begins it anew, which has its own price. Where nothing is to be
        // committed later, it is made now.
        if matches!(self.player, Player::Late | Player::Online) {
            queue.run(&mut self.source, Pace { answer: None, ..self.pace }, count);
            self.drain(disk)?;
            return Ok(());
        }
        self.go(count)
    }

    fn go(&mut self, count: u64) -> anyhow::Result<()> {
        match &mut self.store {
            Store::Rows(rows) => rows.run(&mut self.source, self.pace, count),
            Store::Queue(queue) => {
                queue.run(&mut self.source, self.pace, count);
                Ok(())
            }
        }
    }

    fn commits(&self) -> u64 {
        match &self.store {
            Store::Rows(rows) => rows.commits,
            Store::Queue(queue) => queue.queue.status().commits,
        }
    }

    fn frames(&self, dir: &Path, commits: u64) -> anyhow::Result<Option<Frames>> {
        match &self.store {
            Store::Rows(_) => Ok(None),
            Store::Queue(_) => Ok(Some(frames::read(&dir.join("queue.db-wal"), commits)?)),
        }
    }

    fn drain(&self, disk: &Disk) -> anyhow::Result<Counters> {
        let before = disk.counters()?;
        if let Store::Queue(queue) = &self.store {
            queue.drain(queue.queue.status().readings);
            queue.settle()?;
        }
        disk.sync()?;
        Ok(disk.counters()?.since(before))
    }
}
