//! How fast a backlog goes, and what it costs to have one.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use serialgate::clock::boottime_us;
use serialgate::config;
use serialgate::queue::{Consumer, Queue};
use serialgate::reading::{Body, Reading, Value};
use serialgate::status::BridgeState;
use serialgate::topic::{Forward, Topics};

use crate::players::{Cloud, Gateway, free_port, pause};
use crate::scratch;
use crate::section::{Section, verdict};
use crate::stats::Runs;
use crate::subscriber::Subscriber;

const RUNS: usize = 3;
const BACKLOG: u64 = 100_000;
/// Readings per commit: what eight ports at 100 readings a second leave behind in an outage.
const PER_COMMIT: u64 = 200;
const TARGET_PER_S: f64 = 20_000.0;
const TARGET_US: f64 = 20.0;
const TARGET_FIRST_S: f64 = 1.5;
const TARGET_GROWTH_MIB: f64 = 2.0;
/// Until a gateway without its cloud has nothing left to do.
const SETTLE: Duration = Duration::from_secs(1);

pub(crate) fn measure(cloud: &Cloud) -> anyhow::Result<Section> {
    let mut section = Section::new(
        "Backlog",
        format!(
            "{BACKLOG} readings in the queue's file, {PER_COMMIT} to a commit; the gateway is started with the cloud there.\n\
             Mosquitto and the subscriber have the same cores."
        ),
        ["", "", "target", ""],
    );
    let mut drains = Vec::new();
    let mut growth = Runs::default();
    for _ in 0..RUNS {
        let dir = scratch()?;
        fill(dir.path(), BACKLOG)?;
        // A new queue file is made by the first of the two, which costs memory for once.
        let empty = scratch()?;
        rss_mib(empty.path())?;
        growth.push(rss_mib(dir.path())? - rss_mib(empty.path())?);
        drains.push(drain(dir.path(), cloud)?);
    }
    let runs = |of: fn(&Drain) -> f64| drains.iter().map(of).collect::<Runs>();
    let mut add = |what: &str, runs: &Runs, target: String, met: bool| {
        section.row([what.to_owned(), runs.to_string(), target, verdict(met)]);
    };
    let per_s = runs(|drain| drain.per_s);
    add("messages/s", &per_s, format!(">= {TARGET_PER_S}"), per_s.median() >= TARGET_PER_S);
    let cpu = runs(|drain| drain.cpu_us);
    add("CPU us per message", &cpu, format!("<= {TARGET_US}"), cpu.median() <= TARGET_US);
    let first = runs(|drain| drain.first_s);
    add(
        "s from start to first message",
        &first,
        format!("<= {TARGET_FIRST_S}"),
        first.median() <= TARGET_FIRST_S,
    );
    let last = runs(|drain| drain.last_s);
    add("s from start to last message", &last, String::new(), true);
    let rss = runs(|drain| drain.rss_mib);
    add("MiB resident after it", &rss, String::new(), true);
    let bar = format!("<= {TARGET_GROWTH_MIB}");
    add("MiB more than with an empty queue, cloud away", &growth, bar, growth.median() <= TARGET_GROWTH_MIB);
    Ok(section)
}

/// One drain.
#[derive(Clone, Copy, Debug)]
struct Drain {
    per_s: f64,
    cpu_us: f64,
    first_s: f64,
    last_s: f64,
    rss_mib: f64,
}

fn drain(dir: &Path, cloud: &Cloud) -> anyhow::Result<Drain> {
    let subscriber = Subscriber::start(cloud.port)?;
    let begun_us = boottime_us();
    let gateway = Gateway::start(dir, &[], "json", cloud.port)?;
    subscriber.wait_count(usize::try_from(BACKLOG)?)?;
    let usage = gateway.family.usage()?;
    let arrivals = subscriber.arrivals();
    let (first, last) = arrivals.first().zip(arrivals.last()).context("no message")?;
    let s = |us: i64| us as f64 / 1e6;
    Ok(Drain {
        per_s: BACKLOG as f64 / s(last.came_us - first.came_us),
        cpu_us: usage.cpu.as_secs_f64() * 1e6 / BACKLOG as f64,
        first_s: s(first.came_us - begun_us),
        last_s: s(last.came_us - begun_us),
        rss_mib: usage.rss_mib(),
    })
}

/// Resident memory of a gateway whose cloud is away.
fn rss_mib(dir: &Path) -> anyhow::Result<f64> {
    let gateway = Gateway::start(dir, &[], "json", free_port()?)?;
    gateway.wait_bridge(BridgeState::Backoff)?;
    pause(SETTLE);
    Ok(gateway.family.usage()?.rss_mib())
}

/// Leaves a queue file with `count` readings in `dir`, as an outage would.
pub(crate) fn fill(dir: &Path, count: u64) -> anyhow::Result<()> {
    let config = config::Queue {
        path: dir.join("queue.db"),
        commit_within: *config::COMMIT_WITHIN.start(),
        ..config::Queue::default()
    };
    let consumer = Consumer { name: "cloud".to_owned(), forward: Forward::Own, order: Default::default() };
    let queue = Queue::open(&config, Topics::new("serialgate", "bench"), vec![consumer])?;
    let names: [Arc<str>; 4] = ["n", "t", "temp", "hum"].map(Arc::from);
    for n in 0..count {
        let number = i64::try_from(n)?;
        let values = [(number, 0), (boottime_us(), 0), (1545 + number % 10, -2), (402 + number % 7, -1)];
        let decimals = values.map(|(mantissa, exponent)| Value::Decimal { mantissa, exponent });
        let reading = Reading {
            device: "s0".into(),
            id: queue.name(),
            seq: n,
            at: queue.clock().now(),
            values: names.iter().cloned().zip(decimals).collect(),
        };
        let ticket = queue.push_ticketed(Body::Reading(reading))?;
        if n % PER_COMMIT == PER_COMMIT - 1 {
            ticket.blocking_recv().context("a commit")?;
        }
    }
    queue.close();
    Ok(())
}
