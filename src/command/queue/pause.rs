//! `serialgate queue pause` and `serialgate queue resume`.

use serde::Serialize;

use super::{Failure, ask, say_json, unexpected};
use crate::command::{DaemonArg, Exit, say};
use crate::control::{Request, Response};

/// `queue pause` on the command line.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  serialgate queue pause\n  serialgate queue pause cloud\n\n\
    Readings go on being taken and stored. What is in flight is settled, and the connection stays up. \
    The pause lasts until `serialgate queue resume` or a restart of the daemon.\n\n\
    Exit code 0: done. 69: the daemon is not running, or refuses. 78: the configuration is wrong.")]
pub(super) struct PauseArgs {
    #[command(flatten)]
    which: Which,
}

/// `queue resume` on the command line.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  serialgate queue resume\n  serialgate queue resume cloud\n\n\
    Exit code 0: done. 69: the daemon is not running, or refuses. 78: the configuration is wrong.")]
pub(super) struct ResumeArgs {
    #[command(flatten)]
    which: Which,
}

#[derive(Clone, Debug, clap::Args)]
struct Which {
    /// The bridge's name [default: all]
    #[arg(value_name = "BRIDGE")]
    bridge: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    daemon: DaemonArg,
}

#[derive(Debug, Serialize)]
struct Held {
    paused: Vec<String>,
}

pub(super) async fn pause(args: &PauseArgs) -> Result<Exit, Failure> {
    let Which { bridge, json, daemon } = &args.which;
    tell(ask(daemon, Request::Pause { bridge: bridge.clone() }).await?, *json)
}

pub(super) async fn resume(args: &ResumeArgs) -> Result<Exit, Failure> {
    let Which { bridge, json, daemon } = &args.which;
    tell(ask(daemon, Request::Resume { bridge: bridge.clone() }).await?, *json)
}

fn tell(answer: Response, json: bool) -> Result<Exit, Failure> {
    let paused = match answer {
        Response::Paused(paused) => paused,
        other => return unexpected(other),
    };
    if json {
        say_json(&Held { paused })?;
    } else if paused.is_empty() {
        say("no bridge is paused");
    } else {
        say(format_args!("paused until resumed or restarted: {}", paused.join(", ")));
    }
    Ok(Exit::Ok)
}
