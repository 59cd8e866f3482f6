//! `serialgate queue import`.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Failure, count, say_json, unexpected};
use crate::command::{DaemonArg, Exit, complain, say};
use crate::control::{Client, Imported, MAX_IMPORT_BYTES, Request, Response};
use crate::queue::portable;

/// Lines are sent in parts of about this size, in bytes: each is safe before the next one is sent.
const PART_BYTES: usize = 256 * 1024;
/// So many bad lines are told one by one.
const BAD_TOLD_MAX: u64 = 20;

/// `queue import` on the command line.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  serialgate queue import backlog.jsonl\n  \
    serialgate queue import backlog.jsonl --skip-bad --json\n\n\
    The entries join the queue as if they came now, with the ids and times that they have, and are \
    published as late. The command ends with 0 only when all of them are safe: in the queue's file, or \
    acknowledged by every bridge that wants them. A file that holds a bad line is not imported at all, \
    unless --skip-bad is given.\n\n\
    Exit code 0: all good lines are safe. 65: bad lines, nothing was imported. 66: no such file. 69: the \
    daemon is not running, or the queue does not take it.")]
pub(super) struct Args {
    /// What `serialgate queue export` wrote
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Leave bad lines out
    #[arg(long)]
    skip_bad: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    daemon: DaemonArg,
}

/// What came of it.
#[derive(Debug, Default, Serialize)]
struct Report {
    imported: u64,
    /// Of these, so many that no bridge wants.
    unwanted: u64,
    skipped: u64,
}

pub(super) async fn run(args: &Args) -> Result<Exit, Failure> {
    let mut lines = Lines::open(&args.file)?;
    let bad = check(&mut lines)?;
    if bad > 0 && !args.skip_bad {
        return Err(Failure::Data(format!(
            "{}: {}; nothing was imported. Correct them, or leave them out with --skip-bad",
            args.file.display(),
            count(bad, "bad line")
        )));
    }
    let mut client = Client::connect(&args.daemon.socket()?).await?;
    lines.rewind()?;
    let mut report = Report { skipped: bad, ..Report::default() };
    while let Some((part, last)) = part(&mut lines, args.skip_bad)? {
        match send(&mut client, &part).await {
            Ok(Imported { entries, unwanted }) => {
                report.imported += entries;
                report.unwanted += unwanted;
            }
            Err(failure) => {
                complain(format_args!(
                    "serialgate: {} of {} safe, up to line {}; the rest begins behind it",
                    count(report.imported, "line"),
                    args.file.display(),
                    report_line(last, &part),
                ));
                return Err(failure);
            }
        }
    }
    tell(args, &report)?;
    Ok(Exit::Ok)
}

/// The line before the first one of `part`, whose last one has the number `last`.
fn report_line(last: u64, part: &[u8]) -> u64 {
    let lines = part.iter().filter(|byte| **byte == b'\n').count() as u64;
    last.saturating_sub(lines)
}

fn tell(args: &Args, report: &Report) -> Result<(), Failure> {
    if args.json {
        return say_json(report);
    }
    say(format_args!("{} imported", count(report.imported, "line")));
    if report.skipped > 0 {
        say(format_args!("{} left out", count(report.skipped, "bad line")));
    }
    if report.unwanted > 0 {
        say(format_args!("{} of them go nowhere: no bridge forwards their topics", report.unwanted));
    }
    Ok(())
}

/// Reads all lines; tells of the bad ones and gives their number.
fn check(lines: &mut Lines) -> Result<u64, Failure> {
    let mut bad = 0;
    while let Some((number, line)) = lines.next()? {
        if let Err(why) = readable(&line) {
            bad += 1;
            if bad <= BAD_TOLD_MAX {
                complain(format_args!("{}:{number}: {why}", lines.path.display()));
            }
        }
    }
    if bad > BAD_TOLD_MAX {
        complain(format_args!("{}: and {} more", lines.path.display(), bad - BAD_TOLD_MAX));
    }
    Ok(bad)
}

fn readable(line: &Line) -> Result<&str, String> {
    match line {
        Line::Whole(bytes) => {
            let text = str::from_utf8(bytes).map_err(|error| format!("not UTF-8: {error}"))?;
            portable::read(text).map(|_| text).map_err(|error| error.to_string())
        }
        Line::TooLong => Err(format!("more than {MAX_IMPORT_BYTES} bytes")),
    }
}

/// The next lines to be sent, and the number of the last one of them.
fn part(lines: &mut Lines, skip_bad: bool) -> Result<Option<(Vec<u8>, u64)>, Failure> {
    let (mut part, mut last) = (Vec::new(), 0);
    while part.len() < PART_BYTES {
        let room = MAX_IMPORT_BYTES - part.len();
        let Some((number, line)) = lines.peek_fitting(room)? else { break };
        match readable(&line) {
            Ok(text) => {
                part.extend_from_slice(text.as_bytes());
                part.push(b'\n');
                last = number;
            }
            Err(_) if skip_bad => {}
            // It was good before.
            Err(why) => {
                return Err(Failure::Data(format!(
                    "{}:{number}: {why}; the file changed while it was read",
                    lines.path.display()
                )));
            }
        }
    }
    Ok((!part.is_empty()).then_some((part, last)))
}

async fn send(client: &mut Client, part: &[u8]) -> Result<Imported, Failure> {
    client.ask(&Request::Import { bytes: part.len() }, part).await?;
    match client.answer().await? {
        Response::Imported(imported) => Ok(imported),
        other => unexpected(other),
    }
}

/// A line of the file.
#[derive(Clone, Debug)]
enum Line {
    Whole(Vec<u8>),
    TooLong,
}

/// The lines of a file that are not empty, with their numbers.
#[derive(Debug)]
struct Lines {
    path: PathBuf,
    reader: BufReader<File>,
    number: u64,
    /// Was looked at, and did not fit.
    ahead: Option<(u64, Line)>,
}

impl Lines {
    fn open(path: &Path) -> Result<Self, Failure> {
        let file = File::open(path).map_err(|error| unreadable(path, &error))?;
        let mut lines = Self { path: path.to_owned(), reader: BufReader::new(file), number: 0, ahead: None };
        // It is read twice: a pipe will not do.
        lines.rewind()?;
        Ok(lines)
    }

    fn rewind(&mut self) -> Result<(), Failure> {
        self.reader.rewind().map_err(|error| match error.kind() {
            io::ErrorKind::NotSeekable => Failure::NoInput(format!(
                "{}: cannot be read twice; write it to a file first",
                self.path.display()
            )),
            _ => unreadable(&self.path, &error),
        })?;
        self.number = 0;
        Ok(())
    }

    /// The next line, unless it is longer than `room`.
    fn peek_fitting(&mut self, room: usize) -> Result<Option<(u64, Line)>, Failure> {
        let next = match self.ahead.take() {
            Some(next) => Some(next),
            None => self.next()?,
        };
        if let Some((_, Line::Whole(bytes))) = &next
            && bytes.len() >= room
        {
            self.ahead = next;
            return Ok(None);
        }
        Ok(next)
    }

    fn next(&mut self) -> Result<Option<(u64, Line)>, Failure> {
        loop {
            let mut line = Vec::new();
            // With its line feed it must fit in one import.
            let limit = u64::try_from(MAX_IMPORT_BYTES).unwrap_or(u64::MAX);
            let read = (&mut self.reader).take(limit).read_until(b'\n', &mut line);
            read.map_err(|error| unreadable(&self.path, &error))?;
            if line.is_empty() {
                return Ok(None);
            }
            self.number += 1;
            if line.last() == Some(&b'\n') {
                line.pop();
            } else if line.len() == MAX_IMPORT_BYTES {
                self.skip_line()?;
                return Ok(Some((self.number, Line::TooLong)));
            }
            if !line.trim_ascii().is_empty() {
                return Ok(Some((self.number, Line::Whole(line))));
            }
        }
    }

    fn skip_line(&mut self) -> Result<(), Failure> {
        self.reader.skip_until(b'\n').map(|_| ()).map_err(|error| unreadable(&self.path, &error))
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::NoInput(format!("{}: {error}", path.display()))
}
