//! Readings at a steady rate with the cloud there: what each commit and each reading costs.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use serialgate::clock::boottime_us;
use serialgate::config::Durability;

use crate::disk::{Counters, Disk};
use crate::frames::{self, Frames};
use crate::ours::Ours;
use crate::raw::RawLog;
use crate::readings::{Format, Source, json};
use crate::stock::Stock;

pub(crate) const RATES: [u32; 3] = [10, 100, 1000];
/// How long a reading may wait for its commit.
const COMMIT_WITHIN: Duration = Duration::from_millis(50);
/// From the commit to the cloud's acknowledgement.
const ANSWER: Duration = Duration::from_millis(100);
/// The same of a fast cloud.
const FAST_ANSWER: Duration = Duration::from_millis(20);
const WARM_UP_S: u32 = 3;
const DISK_MIB: u64 = 512;

/// Who stores the readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Player {
    Stock { grown: bool },
    RawLog,
    Always(Format),
    Late(Format),
}

pub(crate) const PLAYERS: [Player; 6] = [
    Player::Stock { grown: false },
    Player::Stock { grown: true },
    Player::RawLog,
    Player::Always(Format::Wire),
    Player::Always(Format::Json),
    Player::Late(Format::Wire),
];

/// What one run cost.
#[derive(Clone, Debug)]
pub(crate) struct Cost {
    pub(crate) player: Player,
    pub(crate) rate: u32,
    pub(crate) readings: u64,
    pub(crate) commits: u64,
    pub(crate) device: Counters,
    /// What the queue's log holds; `None` for the others.
    pub(crate) frames: Option<Frames>,
}

impl Cost {
    pub(crate) fn bytes_per_reading(&self) -> f64 {
        self.device.bytes as f64 / self.readings as f64
    }
}

pub(crate) fn measure(scratch: &Path, seconds: u32) -> anyhow::Result<String> {
    let runs = RATES.iter().flat_map(|rate| PLAYERS.map(|player| (player, *rate)));
    // All at once: they use little of the processor, and bytes do not depend on time.
    let threads: Vec<_> = runs
        .enumerate()
        .map(|(n, (player, rate))| {
            let disk = Disk::new(scratch, &format!("paced-{n}"), DISK_MIB)?;
            Ok(thread::spawn(move || run(player, rate, seconds, &disk)))
        })
        .collect::<anyhow::Result<_>>()?;
    let mut text = String::new();
    for thread in threads {
        let cost = thread.join().map_err(|_| anyhow!("a player ended with a panic"))??;
        let (bytes, commits) = (cost.device.bytes as f64, cost.commits as f64);
        writeln!(
            text,
            "{:5}/s {:24} {:7} readings {:5} commits {:9.1} B/reading {:9.0} B/commit {:5.3} flushes/commit",
            cost.rate,
            format!("{:?}", cost.player),
            cost.readings,
            cost.commits,
            cost.bytes_per_reading(),
            bytes / commits,
            cost.device.flushes as f64 / commits
        )?;
        if let Some(frames) = cost.frames {
            for (kind, n) in frames.pages {
                writeln!(text, "        {kind:24} {:.3}", n as f64 / frames.transactions as f64)?;
            }
        }
    }
    Ok(text)
}

fn run(player: Player, rate: u32, seconds: u32, disk: &Disk) -> anyhow::Result<Cost> {
    let mut run = Run::open(player, disk.path())?;
    let period = Duration::from_secs(1) / rate;
    run.go(period, u64::from(rate * WARM_UP_S))?;
    disk.sync()?;
    let (commits, before) = (run.commits(), disk.counters()?);
    let readings = u64::from(rate * seconds);
    run.go(period, readings)?;
    let commits = run.commits() - commits;
    let flushes = disk.counters()?.since(before).flushes;
    // What the file system put off belongs to the run as well; the flush that we ask for does not.
    disk.sync()?;
    let device = Counters { flushes, ..disk.counters()?.since(before) };
    let frames = match run.store {
        Store::Rows(_) => None,
        Store::Queue(_) => Some(frames::read(&disk.path().join("queue.db-wal"), 20)?),
    };
    Ok(Cost { player, rate, readings, commits, device, frames })
}

/// A player at work.
struct Run {
    source: Source,
    store: Store,
}

enum Store {
    Rows(Rows),
    Queue(Ours),
}

impl Run {
    fn open(player: Player, dir: &Path) -> anyhow::Result<Self> {
        let (format, store) = match player {
            Player::Stock { grown } => {
                (Format::Json, Store::Rows(Rows::new(Log::Stock(Stock::open(dir, grown)?))))
            }
            Player::RawLog => (Format::Json, Store::Rows(Rows::new(Log::Raw(RawLog::open(dir)?)))),
            Player::Always(format) => {
                (format, Store::Queue(Ours::open(dir, Durability::Always, COMMIT_WITHIN, ANSWER)?))
            }
            Player::Late(format) => {
                (format, Store::Queue(Ours::open(dir, Durability::Late, COMMIT_WITHIN, FAST_ANSWER)?))
            }
        };
        Ok(Self { source: Source::new(format, boottime_us())?, store })
    }

    fn go(&mut self, period: Duration, count: u64) -> anyhow::Result<()> {
        match &mut self.store {
            Store::Rows(rows) => rows.run(&mut self.source, period, count),
            Store::Queue(queue) => {
                queue.run(&mut self.source, period, count);
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
}

/// The rivals, with the group commit that our queue has built in: all that is held is committed
/// when the oldest of it has waited long enough.
struct Rows {
    log: Log,
    commits: u64,
    /// When the cloud acknowledges which rows.
    answers: VecDeque<(Instant, i64)>,
}

enum Log {
    Stock(Stock),
    Raw(RawLog),
}

impl Rows {
    fn new(log: Log) -> Self {
        Self { log, commits: 0, answers: VecDeque::new() }
    }

    fn run(&mut self, source: &mut Source, period: Duration, count: u64) -> anyhow::Result<()> {
        let begun = Instant::now();
        let mut held = Vec::new();
        let mut due = None;
        let mut made = 0;
        loop {
            let arrival = (made < count).then(|| begun + period * u32::try_from(made).unwrap_or(u32::MAX));
            let Some(next) = arrival.into_iter().chain(due).min() else { return Ok(()) };
            wait_until(next);
            if due == Some(next) {
                self.commit(&held)?;
                held.clear();
                due = None;
            } else {
                held.push(json(&source.next(boottime_us())));
                due = due.or(Some(next + COMMIT_WITHIN));
                made += 1;
            }
        }
    }

    fn commit(&mut self, rows: &[String]) -> anyhow::Result<()> {
        self.commits += 1;
        let now = Instant::now();
        match &mut self.log {
            Log::Raw(log) => log.commit(rows),
            Log::Stock(stock) => {
                let mut acknowledged = 0;
                while let Some((_, below)) = self.answers.pop_front_if(|(at, _)| *at <= now) {
                    acknowledged = below;
                }
                let end = stock.commit(rows, acknowledged)?;
                self.answers.push_back((Instant::now() + ANSWER, end));
                Ok(())
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "it paces the readings; no runtime runs in this thread")]
fn wait_until(moment: Instant) {
    thread::sleep(moment.saturating_duration_since(Instant::now()));
}
