//! `serialgate queue purge`.

use std::time::Duration;

use serde::Serialize;

use super::{Failure, ask, confirmed, count, say_json, unexpected};
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
        let what = readings(n);
        let question = format!("Give up {what} for good?");
        if n > 0 && !confirmed(&question, &format!("{what} would be given up"))? {
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

fn readings(n: u64) -> String {
    count(n, "waiting reading")
}
