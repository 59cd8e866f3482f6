//! `serialgate clock`: what serialgate-clock.service runs, for a daemon whose sandbox keeps it from
//! asking the kernel.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;

use super::{Exit, complain, runtime};
use crate::clock;

/// The kernel cannot be waited for, so it is asked so often. Readings from before are told to have an
/// estimated time, and are put right by the offset that is learnt later: a few seconds do not matter.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// `serialgate clock`
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  serialgate clock --file /tmp/synchronised\n\n\
    Exit codes: 0: the clock was synchronised. 69: the system does not tell. 70: the file cannot be made.")]
pub struct Args {
    /// The file to leave
    #[arg(long, value_name = "FILE", default_value = clock::SYNCED_FILE)]
    file: PathBuf,
}

/// Returns when the clock was synchronised.
///
/// # Errors
/// Where the file cannot be made.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    if runtime()?.block_on(synced()).is_none() {
        complain("serialgate: the system does not tell whether the clock is synchronised (adjtimex)");
        return Ok(Exit::Unavailable);
    }
    std::fs::write(&args.file, "").with_context(|| args.file.display().to_string())?;
    Ok(Exit::Ok)
}

/// Waits for it. `None`: this process, too, may not ask.
async fn synced() -> Option<()> {
    while !clock::kernel_says_synced()? {
        tokio::time::sleep(ASK_EVERY).await;
    }
    Some(())
}
