//! `serialgate status`: one screen of everything, or the same as JSON.

pub(crate) mod screen;

use super::{DaemonArg, Exit, complain, say};
use crate::control::{Request, Response};
use crate::status::Status;

/// `status` on the command line.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  serialgate status\n  serialgate status --json | jq .queue.readings\n\n\
    Exit code 0: the daemon answered. 69: it is not running, or does not answer.")]
pub struct Args {
    /// Print the whole document as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    daemon: DaemonArg,
}

/// Asks the daemon and prints what it says.
///
/// # Errors
/// Where no runtime can be started.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let status = match super::runtime()?.block_on(args.daemon.ask(Request::Status)) {
        Ok(Response::Status(status)) => status,
        Ok(other) => {
            complain(format_args!("serialgate: {}", super::refusal(other)));
            return Ok(Exit::Unavailable);
        }
        Err(exit) => return Ok(exit),
    };
    print(&status, args.json)?;
    Ok(Exit::Ok)
}

fn print(status: &Status, json: bool) -> serde_json::Result<()> {
    if json {
        say(serde_json::to_string_pretty(status)?);
    } else {
        say(screen::render(status).trim_end());
    }
    Ok(())
}
