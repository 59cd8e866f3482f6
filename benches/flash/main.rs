//! What the queue costs the flash, against what anybody would write first (a row per reading in
//! SQLite) and against what nobody can beat without packing (a raw log that is overwritten in
//! place); and what a backlog costs.
//!
//! ```text
//! player ──file calls──> ext4 ──> loop device ──direct──> image file
//!                                   └── /sys/block/loopN/stat: sectors written, flushes
//! ```
//! `make bench` runs it, as root, and writes its part of docs/benchmarks.md; `cargo bench --bench
//! flash -- --quick` takes about a minute.

#[path = "../common/machine.rs"]
mod machine;
#[path = "../common/section.rs"]
mod section;

mod backlog;
mod budget;
mod cold;
mod disk;
mod frames;
mod memory;
mod namespace;
mod ours;
mod paced;
mod process;
mod rates;
mod raw;
mod readings;
mod rows;
mod stock;
mod sync;
mod tables;
mod targets;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Parser as _;
use serialgate::command::{complain, say};

use disk::Disk;
use section::Section;
use targets::Targets;

/// What is measured, and how.
const INTRODUCTION: &str = "\
Bytes and flushes are those of a block device: each player has an ext4 of its own (4 KiB blocks, ordered journal,
noatime) on a loop device with direct I/O, and the kernel counts what the device is told to write. So journal, log and
checkpoints are all in it, and what the file system puts off as well. Ten devices in turn, four values each that move
slowly; bytes and flushes hardly differ from machine to machine, rates and times do.

`cargo bench --bench flash -- --help`, as root, tells how to run a part; `--quick` takes about a minute.";

/// Measure what the queue costs the flash. As root: it mounts file systems, where nobody sees them.
#[derive(Debug, clap::Parser)]
struct Args {
    /// Shorter runs and a smaller backlog: the main figures in about a minute
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
    /// Where the images lie: said to the process in the namespace
    #[arg(long, hide = true)]
    inside: Option<PathBuf>,
    /// Push into the queue in DIR until somebody kills us
    #[arg(long, hide = true, value_name = "DIR")]
    victim: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Measure {
    /// Bytes and flushes at a steady rate, and the flash budget
    Paced,
    /// Size on disk, and what it costs to drain
    Backlog,
    /// Insert and drain rates on top of a backlog, the first batch after a kill, memory
    Large,
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// Length of a paced run, in seconds.
    pub(crate) seconds: u32,
    /// Readings of a backlog whose size is measured.
    pub(crate) backlog: u64,
    /// Readings of the largest backlog.
    pub(crate) large: u64,
    /// How often rates and times are measured.
    pub(crate) rounds: u32,
}

/// A paced run must be longer than the queue waits with saving counters.
const FULL: Scale = Scale { seconds: 125, backlog: 1_000_000, large: 10_000_000, rounds: 5 };
const QUICK: Scale = Scale { seconds: 15, backlog: 200_000, large: 1_000_000, rounds: 3 };

fn main() -> anyhow::Result<()> {
    // `cargo test` runs benchmarks too, to see that they still start.
    if !std::env::args().any(|arg| arg == "--bench") {
        return Ok(());
    }
    let args = Args::parse();
    if let Some(dir) = &args.victim {
        return cold::push_for_ever(dir);
    }
    let Some(scratch) = &args.inside else { return namespace::enter() };
    namespace::end_with_parent();
    if let Err(error) = Disk::new(scratch, "probe", 32) {
        namespace::skipped(format_args!("{error:#}"));
        return Ok(());
    }
    let text = measure(&args, scratch)?;
    say(&text);
    match &args.write {
        Some(path) => section::write_part(path, "flash", &text),
        None => Ok(()),
    }
}

fn measure(args: &Args, scratch: &Path) -> anyhow::Result<String> {
    let scale = if args.quick { QUICK } else { FULL };
    let load_before = machine::load()?;
    let (mut sections, mut targets) = (Vec::new(), Targets::default());
    for measure in [Measure::Paced, Measure::Backlog, Measure::Large] {
        if !args.only.is_empty() && !args.only.contains(&measure) {
            continue;
        }
        complain(format_args!("measuring: {measure:?}"));
        sections.extend(match measure {
            Measure::Paced => paced(scratch, scale, &mut targets)?,
            Measure::Backlog => vec![backlog::measure(scratch, scale, &mut targets)?],
            Measure::Large => rates::measure(scratch, scale, &mut targets)?,
        });
    }
    let mut text = format!(
        "## What the queue costs the flash\n\n{INTRODUCTION}\n\n\
         Serialgate {}; {}. Paced runs took {} seconds.\n\
         The machine had other work as well: its load average was {load_before:.1} before and {:.1} at the end.\n\n{}",
        env!("CARGO_PKG_VERSION"),
        machine::machine()?,
        scale.seconds,
        machine::load()?,
        targets.section(),
    );
    for section in sections {
        write!(text, "\n{section}")?;
    }
    Ok(text)
}

fn paced(scratch: &Path, scale: Scale, targets: &mut Targets) -> anyhow::Result<Vec<Section>> {
    let costs = paced::run_all(scratch, scale)?;
    let mut sections = vec![tables::rates(&costs, targets), tables::pages(&costs)];
    sections.extend(budget::section(&costs, scale)?);
    Ok(sections)
}
