//! `serialgate queue stats`.

use serde::Serialize;

use super::{Failure, ask, say_json, unexpected};
use crate::command::status::screen;
use crate::command::{DaemonArg, Exit, say};
use crate::control::{Request, Response};
use crate::status;

/// `queue stats` on the command line.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  serialgate queue stats\n  \
    serialgate queue stats --json | jq '.bridges[] | {name, backlog}'\n\n\
    Exit code 0: done. 69: the daemon is not running, or refuses. 78: the configuration is wrong.")]
pub(super) struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    daemon: DaemonArg,
}

#[derive(Debug, Serialize)]
struct Stats<'a> {
    queue: &'a status::Queue,
    bridges: &'a [status::Bridge],
}

pub(super) async fn run(args: &Args) -> Result<Exit, Failure> {
    let status = match ask(&args.daemon, Request::Status).await? {
        Response::Status(status) => status,
        other => return unexpected(other),
    };
    if args.json {
        say_json(&Stats { queue: &status.queue, bridges: &status.bridges })?;
    } else {
        say(screen::render_queue(&status));
    }
    Ok(Exit::Ok)
}
