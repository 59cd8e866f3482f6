//! `serialgate queue purge`.

use std::io::{self, BufRead, IsTerminal, Write};
use std::time::Duration;

use serde::Serialize;

use super::{Failure, ask, count, say_json, unexpected};
use crate::command::{DaemonArg, Exit, complain, say};
use crate::config::units::parse_duration;
use crate::control::{Request, Response};

/// `queue purge` on the command line.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  serialgate queue purge --older-than 7d\n  \
    serialgate queue purge --device shed --yes\n\n\
    What is given up is gone for every bridge. It is counted as `dropped.purged`, and the cloud is told \
    with gap events. Events in the queue stay: they tell of what was lost. What is in \
    flight at that moment may still arrive, and counts as purged.\n\n\
    Exit code 0: done. 1: the answer was no. 64: --yes is missing, and there is nobody to ask.")]
pub(super) struct Args {
    /// Only what is older than this: 90min, 12h, 7d
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    older_than: Option<Duration>,
    /// Only readings of this device
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    daemon: DaemonArg,
}

#[derive(Debug, Serialize)]
struct Purged {
    purged: u64,
}

pub(super) async fn run(args: &Args) -> Result<Exit, Failure> {
    if !args.yes {
        let n = purge(args, true).await?;
        if n > 0 && !confirmed(n)? {
            complain("nothing was given up");
            return Ok(Exit::No);
        }
    }
    let purged = purge(args, false).await?;
    if args.json {
        say_json(&Purged { purged })?;
    } else {
        say(format_args!("{} given up", readings(purged)));
    }
    Ok(Exit::Ok)
}

async fn purge(args: &Args, only_count: bool) -> Result<u64, Failure> {
    let older_than_ms = args.older_than.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
    let request = Request::Purge { older_than_ms, device: args.device.clone(), only_count };
    match ask(&args.daemon, request).await? {
        Response::Purged(n) => Ok(n),
        other => unexpected(other),
    }
}

/// Asks who sits at the terminal.
fn confirmed(n: u64) -> Result<bool, Failure> {
    let what = readings(n);
    if !io::stdin().is_terminal() {
        return Err(Failure::Usage(format!("{what} would be given up; to do that, add --yes")));
    }
    let mut answer = String::new();
    // To standard error: standard output is for the result.
    let asked = write!(io::stderr(), "Give up {what} for good? [y/N] ").and_then(|()| io::stderr().flush());
    asked
        .and_then(|()| io::stdin().lock().read_line(&mut answer))
        .map_err(|error| Failure::Io(error.to_string()))?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

fn readings(n: u64) -> String {
    count(n, "waiting reading")
}
