//! What the queue costs the flash: bytes and flushes at the block device, against what anybody
//! would write first (a row per reading in SQLite) and against what nobody can beat (a raw log that
//! is overwritten in place).
//!
//! ```text
//! player ──file calls──> ext4 ──> loop device ──direct──> image file
//!                                   └── /sys/block/loopN/stat: sectors written, flushes
//! ```
//! `make bench` runs it, as root; `cargo bench --bench flash -- --quick` takes about a minute.

mod disk;
mod frames;
mod namespace;
mod ours;
mod paced;
mod raw;
mod readings;
mod stock;
mod sync;

use std::path::PathBuf;

use clap::Parser as _;
use serialgate::command::say;

/// Measure what the queue costs the flash.
#[derive(Debug, clap::Parser)]
struct Args {
    /// Shorter runs: the main figures in about a minute
    #[arg(long)]
    quick: bool,
    /// Length of each paced run, in seconds
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: Option<u32>,
    /// What cargo says when it means it
    #[arg(long, hide = true)]
    bench: bool,
    /// Where the images lie: given to the process in the namespace
    #[arg(long, hide = true)]
    inside: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    // `cargo test` runs benchmarks too, to see that they still start.
    if !std::env::args().any(|arg| arg == "--bench") {
        return Ok(());
    }
    let args = Args::parse();
    let Some(scratch) = &args.inside else { return namespace::enter() };
    namespace::end_with_parent();
    let seconds = args.seconds.unwrap_or(if args.quick { 15 } else { 60 });
    say(paced::measure(scratch, seconds)?);
    Ok(())
}
