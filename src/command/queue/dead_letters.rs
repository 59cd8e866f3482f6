//! `serialgate queue dead-letters`.

use clap::Subcommand;
use serde::Serialize;

use super::{Failure, ask, confirmed, count, harmless, payload, say_json, unexpected};
use crate::command::{DaemonArg, Exit, complain, say};
use crate::control::{Chosen, Client, DeadLetter, Request, Response, Retried};

/// `queue dead-letters` on the command line.
#[derive(Clone, Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  serialgate queue dead-letters\n  \
    serialgate queue dead-letters --topic 'sensors/#' --json\n  \
    serialgate queue dead-letters retry --bridge cloud\n  \
    serialgate queue dead-letters drop --topic 'sensors/#'\n\n\
    A message that a cloud refuses for good is kept here, with the reason, and holds up nothing. It \
    counts as `dropped.refused`. How much is kept is up to `queue: {dead_letters: …}`.\n\n\
    Exit code 0: done. 1: the answer was no. 64: --yes is missing, and there is nobody to ask."
)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: Common,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Put them back into the queue, each for its own bridge and with its own id
    #[command(after_help = "Examples:\n  serialgate queue dead-letters retry\n  \
        serialgate queue dead-letters retry --bridge cloud --topic 'sensors/#'\n\n\
        They are published as late, behind what waits already. What is refused once more is a dead \
        letter again. Those whose bridge is not configured any more stay.\n\n\
    Exit code 0: done. 69: the daemon is not running, or refuses.")]
    Retry(Common),
    /// Remove them for good
    #[command(after_help = "Examples:\n  serialgate queue dead-letters drop\n  \
        serialgate queue dead-letters drop --topic 'sensors/#' --yes\n\n\
        Exit code 0: done. 1: the answer was no. 64: --yes is missing, and there is nobody to ask.")]
    Drop {
        #[command(flatten)]
        common: Common,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Clone, Debug, clap::Args)]
struct Common {
    /// Those of this bridge [default: of any]
    #[arg(long, value_name = "NAME")]
    bridge: Option<String>,
    /// Those whose topic matches this filter [default: all]
    #[arg(long, value_name = "FILTER")]
    topic: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    daemon: DaemonArg,
}

impl Common {
    fn chosen(&self) -> Chosen {
        Chosen { bridge: self.bridge.clone(), topic: self.topic.clone() }
    }
}

#[derive(Debug, Serialize)]
struct Dropped {
    dropped: u64,
}

pub(super) async fn run(args: &Args) -> Result<Exit, Failure> {
    match &args.command {
        None => list(&args.list).await,
        Some(Command::Retry(common)) => retry(common).await,
        Some(Command::Drop { common, yes }) => drop_them(common, *yes).await,
    }
}

async fn list(args: &Common) -> Result<Exit, Failure> {
    let mut client = Client::connect(&args.daemon.socket()?).await?;
    client.ask(&Request::DeadLetters(args.chosen()), b"").await?;
    let (mut all, mut told) = (Vec::new(), 0);
    loop {
        match client.answer().await? {
            Response::DeadLetter(letter) if args.json => all.push(letter),
            Response::DeadLetter(letter) => {
                say(line(&letter));
                told += 1;
            }
            Response::DeadLetters(_) => break,
            other => return unexpected(other),
        }
    }
    if args.json {
        say_json(&all)?;
    } else if told == 0 {
        complain("no dead letters");
    }
    Ok(Exit::Ok)
}

fn line(letter: &DeadLetter) -> String {
    let payload = payload(letter.payload.as_deref(), letter.payload_hex.as_deref());
    let (topic, reason) = (harmless(&letter.topic), harmless(&letter.reason));
    format!("{}  {}  {topic}  {reason}  {} B  {payload}", letter.time, letter.bridge, letter.bytes)
}

async fn retry(args: &Common) -> Result<Exit, Failure> {
    let retried = match ask(&args.daemon, Request::RetryDeadLetters(args.chosen())).await? {
        Response::Retried(retried) => retried,
        other => return unexpected(other),
    };
    if args.json {
        say_json(&retried)?;
        return Ok(Exit::Ok);
    }
    let Retried { retried, unwanted } = retried;
    say(format_args!("{} put back into the queue", letters(retried)));
    if unwanted > 0 {
        complain(format_args!(
            "{} left where they are: no bridge of that name forwards them; `drop` removes them",
            letters(unwanted)
        ));
    }
    Ok(Exit::Ok)
}

async fn drop_them(args: &Common, yes: bool) -> Result<Exit, Failure> {
    if !yes {
        let n = ask_drop(args, true).await?;
        let what = letters(n);
        if n > 0 && !confirmed(&format!("Remove {what} for good?"), &format!("{what} would be removed"))? {
            complain("nothing was removed");
            return Ok(Exit::No);
        }
    }
    let dropped = ask_drop(args, false).await?;
    if args.json {
        say_json(&Dropped { dropped })?;
    } else {
        say(format_args!("{} removed", letters(dropped)));
    }
    Ok(Exit::Ok)
}

async fn ask_drop(args: &Common, only_count: bool) -> Result<u64, Failure> {
    match ask(&args.daemon, Request::DropDeadLetters { chosen: args.chosen(), only_count }).await? {
        Response::DeadLettersDropped(n) => Ok(n),
        other => unexpected(other),
    }
}

fn letters(n: u64) -> String {
    count(n, "dead letter")
}
