//! The local broker measured from outside, side by side with Debian's mosquitto.
//!
//! ```text
//! publishers ──> serialgate, or mosquitto ──> subscribers
//!     └── one thread of this process: both brokers get exactly the same load ──┘
//! ```
//! `make bench` runs it and writes its part of docs/benchmarks.md; `cargo bench --bench broker --
//! --quick` takes half a minute. The two take turns, because a machine is never quite idle.

#[path = "../common/machine.rs"]
mod machine;
#[path = "../common/section.rs"]
mod section;

mod brokers;
mod crowd;
mod durable;
mod flood;
mod probe;
mod replay;
mod wire;

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser as _;
use serialgate::command::{complain, say};
use tempfile::TempDir;

/// What the figures mean.
const INTRODUCTION: &str = "\
The release build of the real program and Debian's mosquitto (no persistence, no limit on its queues) take turns under
the same load over the loopback: MQTT 3.1.1, payloads of 100 bytes, nothing durable unless it says so. CPU is user and
system time of all threads of the broker's process, from the scheduler, for 100 000 delivered messages. All clients live in
one thread of the benchmark, on the same cores. Figures are medians, with the least and the greatest.

`cargo bench --bench broker -- --help` tells how to run a part; `--quick` takes half a minute.";

/// Measure the local broker against mosquitto.
#[derive(Debug, clap::Parser)]
struct Args {
    /// Shorter runs: the main figures in half a minute
    #[arg(long)]
    quick: bool,
    /// Measure only these
    #[arg(long, value_enum)]
    only: Vec<Measure>,
    /// Write the part of this benchmark to FILE as well
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// What cargo says when it means it
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Measure {
    /// Messages per second and CPU per message
    Flood,
    /// Messages per second where each must outlive the broker
    Durable,
    /// How long a message takes while others publish as fast as they can
    Probe,
    /// Memory, idle and with many idle clients
    Crowd,
    /// Retained messages to a new subscriber
    Replay,
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// Messages of one run.
    pub(crate) messages: u32,
    /// Runs of each broker.
    pub(crate) rounds: u32,
}

const FULL: Scale = Scale { messages: 400_000, rounds: 5 };
const QUICK: Scale = Scale { messages: 100_000, rounds: 3 };

fn main() -> anyhow::Result<()> {
    // `cargo test` runs benchmarks too, to see that they still start.
    if !std::env::args().any(|arg| arg == "--bench") {
        return Ok(());
    }
    let args = Args::parse();
    let scale = if args.quick { QUICK } else { FULL };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let load_before = machine::load()?;
    let mut sections = Vec::new();
    for measure in [Measure::Flood, Measure::Durable, Measure::Probe, Measure::Crowd, Measure::Replay] {
        if !args.only.is_empty() && !args.only.contains(&measure) {
            continue;
        }
        complain(format_args!("measuring: {measure:?}"));
        sections.push(runtime.block_on(async {
            match measure {
                Measure::Flood => flood::measure(scale).await,
                Measure::Durable => durable::measure(scale).await,
                Measure::Probe => probe::measure(scale).await,
                Measure::Crowd => crowd::measure().await,
                Measure::Replay => replay::measure(scale).await,
            }
        })?);
    }
    let mut text = format!(
        "## The local broker\n\n{INTRODUCTION}\n\nSerialgate {}; {}; {}.\n\
         The machine had other work as well: its load average was {load_before:.1} before and {:.1} at the end; \
         the\nmeasurement itself adds about two.\n",
        env!("CARGO_PKG_VERSION"),
        machine::machine()?,
        brokers::mosquitto_version(),
        machine::load()?,
    );
    for section in sections {
        write!(text, "\n{section}")?;
    }
    say(&text);
    match &args.write {
        Some(path) => section::write_part(path, "broker", &text),
        None => Ok(()),
    }
}

/// A directory on the disk that the build uses.
fn scratch() -> anyhow::Result<TempDir> {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).context("scratch directory")
}
