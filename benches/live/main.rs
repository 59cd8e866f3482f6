//! The gateway measured from outside: the real binary, boards on pseudo terminals, Debian's
//! mosquitto as the cloud, and a subscriber there that stamps every arrival.
//!
//! ```text
//! lines ──pty──> serialgate, or cat | mosquitto_pub ──MQTT──> mosquitto ──> subscriber
//!   └───────────── one boot clock: the reading says when it was sent ────────────┘
//! ```
//! `make bench` runs it and writes its part of docs/benchmarks.md; `cargo bench --bench live -- --seconds 3` is
//! a quick look. What is compared is measured in turns, because a machine is never quite idle.

#[path = "../common/machine.rs"]
mod machine;
#[path = "../common/section.rs"]
mod section;

mod document;
mod drain;
mod idle;
mod lines;
mod link;
mod live;
mod offline;
mod players;
mod process;
mod start;
mod stats;
mod subscriber;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser as _;
use serialgate::command::{complain, say};
use tempfile::TempDir;

use document::Document;
use players::Cloud;

/// Measure the gateway.
#[derive(Debug, clap::Parser)]
struct Args {
    /// Length of each live run, in seconds; idle takes twice that
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
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
    Start,
    Idle,
    Live,
    Drain,
    Link,
    Offline,
}

fn main() -> anyhow::Result<()> {
    // `cargo test` runs benchmarks too, to see that they still start.
    if !std::env::args().any(|arg| arg == "--bench") {
        return Ok(());
    }
    let args = Args::parse();
    let cloud_dir = scratch()?;
    let cloud = Cloud::start(cloud_dir.path())?;
    let mut document = Document::new(args.seconds)?;
    for measure in
        [Measure::Start, Measure::Idle, Measure::Live, Measure::Drain, Measure::Link, Measure::Offline]
    {
        if !args.only.is_empty() && !args.only.contains(&measure) {
            continue;
        }
        complain(format_args!("measuring: {measure:?}"));
        document.add(match measure {
            Measure::Start => start::measure(&cloud),
            Measure::Idle => idle::measure(&cloud, args.seconds * 2),
            Measure::Live => live::measure(&cloud, args.seconds),
            Measure::Drain => drain::measure(&cloud),
            Measure::Link => link::measure(&cloud, args.seconds),
            Measure::Offline => offline::measure(args.seconds),
        }?);
    }
    let text = document.finish()?;
    say(&text);
    match &args.write {
        Some(path) => section::write_part(path, "live", &text),
        None => Ok(()),
    }
}

/// A directory on the disk that the build uses: one in memory would make every commit free.
fn scratch() -> anyhow::Result<TempDir> {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).context("scratch directory")
}
