//! `serialgate queue export`.

use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::{Failure, Source, source, unexpected};
use crate::clock::Clock;
use crate::command::{DaemonArg, Exit, complain};
use crate::control::{Client, Request, Response};
use crate::queue::portable;
use crate::queue::store::cold::Cold;

/// `queue export` on the command line.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  serialgate queue export --output backlog.jsonl\n  \
    serialgate queue export --bridge cloud | wc -l\n  \
    serialgate queue export --file /mnt/card/var/lib/serialgate/queue.db --output backlog.jsonl\n\n\
    One JSON object per line and entry; docs/queue.md describes it. Nothing is removed. Where no daemon \
    answers, the configured file is read.\n\n\
    Exit code 0: all was written. 65: damaged chunks were met; all that is whole was written.")]
pub(super) struct Args {
    /// Write here [default: standard output]. Only a whole export gets this name
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// What waits for this bridge [default: for any]
    #[arg(long, value_name = "NAME")]
    bridge: Option<String>,
    /// A queue file that no daemon uses
    #[arg(long, value_name = "PATH", conflicts_with_all = ["socket", "config"])]
    file: Option<PathBuf>,
    #[command(flatten)]
    daemon: DaemonArg,
}

/// What was exported.
#[derive(Debug, Default)]
struct Exported {
    entries: u64,
    damaged: u64,
}

impl Exported {
    fn damage(&mut self, position: u64, what: &str) {
        self.damaged += 1;
        complain(format_args!("serialgate: chunk at position {position} is left out: {what}"));
    }
}

pub(super) async fn run(args: &Args) -> Result<Exit, Failure> {
    let source = source(&args.daemon, args.file.as_ref()).await?;
    let mut output = Output::open(args.output.as_deref())?;
    let bridge = args.bridge.as_deref();
    let exported = match source {
        Source::Live(client) => live(client, bridge, &mut output).await?,
        Source::Cold { path, cold } => from_file(&path, &cold, bridge, &mut output)?,
    };
    let Some(exported) = exported else { return Ok(Exit::Ok) };
    output.finish()?;
    let entries = if exported.entries == 1 { "entry" } else { "entries" };
    complain(format_args!("{} {entries} exported", exported.entries));
    Ok(if exported.damaged == 0 { Exit::Ok } else { Exit::Data })
}

/// `None` where nobody reads any more.
async fn live(
    mut client: Client,
    bridge: Option<&str>,
    output: &mut Output,
) -> Result<Option<Exported>, Failure> {
    client.ask(&Request::Export { bridge: bridge.map(str::to_owned) }, b"").await?;
    let mut exported = Exported::default();
    loop {
        match client.answer().await? {
            Response::Entry(line) => {
                if !output.line(line.0.get())? {
                    return Ok(None);
                }
                exported.entries += 1;
            }
            Response::Damage(damage) => exported.damage(damage.position, &damage.what),
            Response::Exported(n) if n == exported.entries => return Ok(Some(exported)),
            other => return unexpected(other),
        }
    }
}

fn from_file(
    path: &Path,
    cold: &Cold,
    bridge: Option<&str>,
    output: &mut Output,
) -> Result<Option<Exported>, Failure> {
    let Some(cursor) = cold.cursor(bridge) else {
        let known: Vec<&str> = cold.bridges().collect();
        let bridge = bridge.unwrap_or_default();
        return Err(Failure::Usage(format!(
            "{} knows no bridge {bridge:?}; bridges: {}",
            path.display(),
            known.join(", ")
        )));
    };
    let clock = Clock::default();
    clock.learn(cold.offsets());
    let damaged = |error: &dyn std::fmt::Display| Failure::Data(format!("{}: {error}", path.display()));
    let (mut exported, mut from) = (Exported::default(), Some(cursor));
    while let Some(next) = from {
        let slice = cold.read(next).map_err(|error| damaged(&error))?;
        slice.bad.iter().for_each(|bad| exported.damage(bad.position, &bad.what));
        for entry in &slice.entries {
            let line = portable::write(&entry.body, |at| clock.wall(at)).map_err(|error| damaged(&error))?;
            if !output.line(line.get())? {
                return Ok(None);
            }
            exported.entries += 1;
        }
        from = slice.next;
    }
    Ok(Some(exported))
}

/// Where the lines go.
enum Output {
    Standard(BufWriter<io::Stdout>),
    /// Under another name until it is whole.
    File {
        writer: BufWriter<File>,
        partial: PathBuf,
        path: PathBuf,
    },
}

impl Output {
    fn open(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path else { return Ok(Self::Standard(BufWriter::new(io::stdout()))) };
        let mut partial = path.as_os_str().to_owned();
        partial.push(".part");
        let partial = PathBuf::from(partial);
        let file = File::create(&partial).map_err(|error| refused(&partial, &error))?;
        Ok(Self::File { writer: BufWriter::new(file), partial, path: path.to_owned() })
    }

    /// Writes a line; `false` where nobody reads any more.
    fn line(&mut self, line: &str) -> Result<bool, Failure> {
        match self {
            Self::Standard(writer) => match writeln!(writer, "{line}") {
                Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
                Err(error) => Err(Failure::Io(format!("standard output: {error}"))),
                Ok(()) => Ok(true),
            },
            Self::File { writer, partial, .. } => {
                writeln!(writer, "{line}").map_err(|error| refused(partial, &error)).map(|()| true)
            }
        }
    }

    /// All was written: now it must last.
    fn finish(self) -> Result<(), Failure> {
        match self {
            Self::Standard(mut writer) => match writer.flush() {
                Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                    Err(Failure::Io(format!("standard output: {error}")))
                }
                _ => Ok(()),
            },
            Self::File { writer, partial, path } => {
                let file = writer.into_inner().map_err(|error| refused(&partial, error.error()))?;
                file.sync_all().map_err(|error| refused(&partial, &error))?;
                fs::rename(&partial, &path).map_err(|error| refused(&path, &error))
            }
        }
    }
}

fn refused(path: &Path, error: &io::Error) -> Failure {
    Failure::Io(format!(
        "{}: {error}; choose a place with --output that can be written and has room",
        path.display()
    ))
}
