//! `serialgate queue`: see and handle what waits.

mod dead_letters;
mod export;
mod import;
mod pause;
mod peek;
mod purge;
mod stats;
mod verify;

use std::fmt::Display;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;

use super::{DaemonArg, Exit, complain, refusal, say};
use crate::config::ConfigError;
use crate::control::{AskError, Client, Request, Response};
use crate::queue::store::cold::{Cold, ColdError};

/// `queue` on the command line.
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  serialgate queue stats\n  serialgate queue peek --bridge cloud -n 5\n  \
    serialgate queue export --output backlog.jsonl\n\n\
    Each command has its own help: serialgate queue purge --help\n\n\
    Exit codes: 0: done. 64: the command line is wrong. 65: damaged data were met. 66: no such file. \
    69: the daemon is not running, or refuses. 74: a file cannot be written. 78: the configuration is wrong."
)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Show how much waits, in all and per bridge
    Stats(stats::Args),
    /// Show the oldest entries that wait, as they would be published
    Peek(peek::Args),
    /// Write all entries that wait as JSON lines; nothing is removed
    Export(export::Args),
    /// Put exported entries into the queue
    Import(import::Args),
    /// Hold a bridge: it takes nothing more from the queue
    Pause(pause::PauseArgs),
    /// Let a bridge go on
    Resume(pause::ResumeArgs),
    /// Give up entries that wait; they are counted and told of
    Purge(purge::Args),
    /// Check the queue's file, of a running daemon or a cold one
    Verify(verify::Args),
    /// See what clouds refused for good; try it again, or remove it
    DeadLetters(dead_letters::Args),
}

/// Does what the command says.
///
/// # Errors
/// Where no runtime can be started.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let runtime = super::runtime()?;
    let done = runtime.block_on(async {
        match &args.command {
            Command::Stats(args) => stats::run(args).await,
            Command::Peek(args) => peek::run(args).await,
            Command::Export(args) => export::run(args).await,
            Command::Import(args) => import::run(args).await,
            Command::Pause(args) => pause::pause(args).await,
            Command::Resume(args) => pause::resume(args).await,
            Command::Purge(args) => purge::run(args).await,
            Command::Verify(args) => verify::run(args).await,
            Command::DeadLetters(args) => dead_letters::run(args).await,
        }
    });
    Ok(done.unwrap_or_else(|failure| {
        let exit = failure.exit();
        match failure {
            // It names its own places, a line each.
            Failure::Config(error) => complain(error),
            other => complain(format_args!("serialgate: {other}")),
        }
        exit
    }))
}

/// Why a command cannot do what it should.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The daemon says no.
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Cold(#[from] ColdError),
    /// The command line asks for what cannot be.
    #[error("{0}")]
    Usage(String),
    /// What was read is wrong.
    #[error("{0}")]
    Data(String),
    /// What was to be read is not there.
    #[error("{0}")]
    NoInput(String),
    /// What was to be written cannot be.
    #[error("{0}")]
    Io(String),
}

impl Failure {
    fn exit(&self) -> Exit {
        match self {
            Self::Config(_) => Exit::Config,
            Self::Ask(_) | Self::Refused(_) | Self::Cold(ColdError::InUse { .. }) => Exit::Unavailable,
            Self::Usage(_) => Exit::Usage,
            Self::Data(_) | Self::Cold(ColdError::Unreadable { .. }) => Exit::Data,
            Self::NoInput(_) | Self::Cold(ColdError::Missing { .. }) => Exit::NoInput,
            Self::Io(_) => Exit::Io,
        }
    }
}

/// Asks the daemon; its refusal is a failure.
async fn ask(daemon: &DaemonArg, request: Request) -> Result<Response, Failure> {
    let mut client = Client::connect(&daemon.socket()?).await?;
    client.ask(&request, b"").await?;
    match client.answer().await? {
        Response::Error(error) => Err(Failure::Refused(error)),
        answer => Ok(answer),
    }
}

/// The answer was not the one asked for.
fn unexpected<T>(answer: Response) -> Result<T, Failure> {
    Err(Failure::Refused(refusal(answer)))
}

/// Where to look: in a daemon that runs, or in a file that none uses.
enum Source {
    Live(Client),
    Cold { path: PathBuf, cold: Cold },
}

/// `file` where it is named; else the daemon; else the configured file, if no daemon runs.
async fn source(daemon: &DaemonArg, file: Option<&PathBuf>) -> Result<Source, Failure> {
    let path = match file {
        Some(file) => file.clone(),
        None => match Client::connect(&daemon.socket()?).await {
            Ok(client) => return Ok(Source::Live(client)),
            // A socket that was named says that a daemon is meant.
            Err(AskError::NotRunning { .. }) if daemon.socket.is_none() => {
                let path = daemon.load()?.queue.path;
                complain(format_args!("serialgate: no daemon answers; reading its file {}", path.display()));
                path
            }
            Err(error) => return Err(error.into()),
        },
    };
    let cold = Cold::open(&path)?;
    Ok(Source::Cold { path, cold })
}

/// Asks who sits at the terminal; `question` says what would be done, and `what` would be the object.
fn confirmed(question: &str, what: &str) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::Usage(format!("{what}; to do that, add --yes")));
    }
    let mut answer = String::new();
    // To standard error: standard output is for the result.
    let asked = write!(io::stderr(), "{question} [y/N] ").and_then(|()| io::stderr().flush());
    asked
        .and_then(|()| io::stdin().lock().read_line(&mut answer))
        .map_err(|error| Failure::Io(error.to_string()))?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Text of others, for a terminal: it must not be told what to do.
fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// The payload of an entry, for a terminal.
fn payload(text: Option<&str>, hex: Option<&str>) -> String {
    text.map_or_else(|| format!("0x{}", hex.unwrap_or_default()), harmless)
}

/// Prints a value for programs.
fn say_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::Data(error.to_string()))?;
    say(text);
    Ok(())
}

/// `1 reading`, `2 readings`.
fn count(n: u64, what: impl Display) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}
