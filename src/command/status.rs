//! `serialgate status`: one screen of everything, or the same as JSON.

mod screen;

use std::path::PathBuf;

use super::{Exit, complain, say};
use crate::config::{self, Config, ConfigError};
use crate::control::{self, Request, Response};
use crate::status::Status;

/// `status` on the command line.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  serialgate status\n  serialgate status --json | jq .queue.readings\n\n\
    Exit code 0: the daemon answered. 69: it is not running, or does not answer.")]
pub struct Args {
    /// Print the whole document as JSON
    #[arg(long)]
    json: bool,
    /// The daemon's control socket, where it is not in one of the usual places
    #[arg(long, value_name = "PATH", conflicts_with = "config")]
    socket: Option<PathBuf>,
    /// The daemon's configuration file, which tells where its control socket is [default:
    /// /etc/serialgate/serialgate.yaml, if it can be read]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Asks the daemon and prints what it says.
///
/// # Errors
/// Where no runtime can be started.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let socket = match socket(args) {
        Ok(socket) => socket,
        Err(error) => {
            complain(error);
            return Ok(Exit::Config);
        }
    };
    let status = match super::runtime()?.block_on(control::ask(&socket, Request::Status)) {
        Ok(Response::Status(status)) => status,
        Ok(Response::Error(error)) => {
            complain(format_args!("serialgate: {error}"));
            return Ok(Exit::Unavailable);
        }
        Err(error) => {
            complain(format_args!("serialgate: {error}"));
            return Ok(Exit::Unavailable);
        }
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

/// Where to ask. A configuration that is not named need not be there, be readable or be right: the
/// daemon may run on an older one, and anybody in its group may ask.
fn socket(args: &Args) -> Result<PathBuf, ConfigError> {
    if let Some(socket) = &args.socket {
        return Ok(socket.clone());
    }
    let config = match &args.config {
        Some(file) => Config::load(file)?,
        None => Config::load(config::DEFAULT_PATH.as_ref()).unwrap_or_default(),
    };
    Ok(control::find(&config))
}
