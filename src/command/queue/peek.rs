//! `serialgate queue peek`.

use std::time::Duration;

use super::{Failure, ask, payload, say_json, unexpected};
use crate::command::{DaemonArg, Exit, complain, say};
use crate::control::{Peeked, Request, Response};

/// `queue peek` on the command line.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  serialgate queue peek\n  serialgate queue peek --bridge cloud -n 3\n  \
    serialgate queue peek --json | jq -r '.[].payload'\n\n\
    The position tells the place in the queue. An age counts the time that the machine was running.\n\n\
    Exit code 0: done. 69: the daemon is not running, or refuses. 78: the configuration is wrong.")]
pub(super) struct Args {
    /// What waits for this bridge [default: for any]
    #[arg(long, value_name = "NAME")]
    bridge: Option<String>,
    /// How many entries, 1 to 1000
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    count: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    daemon: DaemonArg,
}

pub(super) async fn run(args: &Args) -> Result<Exit, Failure> {
    let request = Request::Peek { bridge: args.bridge.clone(), count: args.count };
    let entries = match ask(&args.daemon, request).await? {
        Response::Peeked(entries) => entries,
        other => return unexpected(other),
    };
    if args.json {
        say_json(&entries)?;
    } else if entries.is_empty() {
        complain("nothing waits");
    } else {
        entries.iter().for_each(|entry| say(line(entry)));
    }
    Ok(Exit::Ok)
}

fn line(entry: &Peeked) -> String {
    let payload = payload(entry.payload.as_deref(), entry.payload_hex.as_deref());
    let age = Duration::from_secs_f64(entry.age_s.clamp(0.0, 1e12));
    format!("{:>10}  {:>8}  {}  {payload}", entry.position, short(age), entry.topic)
}

/// To two digits or so: `850ms`, `12.3s`, `5.0min`, `3.2h`, `12.1d`.
fn short(age: Duration) -> String {
    let seconds = age.as_secs_f64();
    match seconds {
        ..1.0 => format!("{}ms", age.as_millis()),
        ..100.0 => format!("{seconds:.1}s"),
        ..6000.0 => format!("{:.1}min", seconds / 60.0),
        ..172_800.0 => format!("{:.1}h", seconds / 3600.0),
        _ => format!("{:.1}d", seconds / 86_400.0),
    }
}
