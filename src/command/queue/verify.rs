//! `serialgate queue verify`.

use std::path::PathBuf;

use super::{Failure, Source, count, say_json, source, unexpected};
use crate::command::{DaemonArg, Exit, say};
use crate::config::units::print_size;
use crate::control::{Request, Response, Verified};
use crate::gateway::verified;

/// `queue verify` on the command line.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  serialgate queue verify\n  \
    serialgate queue verify --file /mnt/card/var/lib/serialgate/queue.db\n\n\
    Every chunk is read: its check sum, its content, its place among the others. Of a file that no daemon \
    uses, SQLite's own structure is checked, too; not a byte of it is changed, and no daemon can open it \
    meanwhile. Where no daemon answers, the configured file is read.\n\n\
    Exit code 0: all is well. 65: something is damaged. 66: there is no such file.")]
pub(super) struct Args {
    /// A queue file that no daemon uses
    #[arg(long, value_name = "PATH", conflicts_with_all = ["socket", "config"])]
    file: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    daemon: DaemonArg,
}

pub(super) async fn run(args: &Args) -> Result<Exit, Failure> {
    let (name, found) = match source(&args.daemon, args.file.as_ref()).await? {
        Source::Live(mut client) => {
            client.ask(&Request::Verify, b"").await?;
            match client.answer().await? {
                Response::Verified(found) => ("queue of the running daemon".to_owned(), found),
                other => return unexpected(other),
            }
        }
        Source::Cold { path, cold } => {
            let mut checked = cold.verify(None);
            while let Some(after) = checked.next {
                checked.add(cold.verify(Some(after)));
            }
            (path.display().to_string(), verified(checked, cold.faults()))
        }
    };
    if args.json {
        say_json(&found)?;
    } else {
        tell(&name, &found);
    }
    Ok(if found.bad_chunks == 0 && found.file.is_empty() { Exit::Ok } else { Exit::Data })
}

fn tell(name: &str, found: &Verified) {
    for damage in &found.bad {
        say(format_args!("chunk at position {}: {}", damage.position, damage.what));
    }
    for fault in &found.file {
        say(format_args!("file: {fault}"));
    }
    let verdict = match (found.bad_chunks, found.file.is_empty()) {
        (0, true) => "all well".to_owned(),
        (0, false) => "the file's structure is DAMAGED".to_owned(),
        (bad, _) => format!("{} DAMAGED", count(bad, "chunk")),
    };
    let (chunks, readings) = (count(found.chunks, "chunk"), count(found.readings, "reading"));
    say(format_args!("{name}: {chunks}, {readings}, {}: {verdict}", print_size(found.bytes)));
}
