//! `serialgate watch`: readings as they come.

mod hint;
mod view;

use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::{DaemonArg, Exit, complain, refusal, seconds};
use crate::clock::{local_us, realtime_us};
use crate::control::{self, AskError, Client, Live, Request, Response};

use self::view::{Kind, View, kind};

/// So long without a reading, and one is told what keeps them away.
const HINT_AFTER: Duration = Duration::from_secs(5);
/// Between two attempts to reach a daemon that went away.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// `watch` on the command line.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  serialgate watch\n  serialgate watch greenhouse-6677 shed\n  \
    serialgate watch --count 1 --timeout 60\n  serialgate watch --json | jq -c .payload\n\n\
    `late` stands behind a reading that waited somewhere, `estimated` behind one whose time is a guess because the clock \
    was never right since the machine started. docs/topics.md explains the JSON.\n\n\
    Exit code 0: readings came. 69: none came in time, or the daemon is not running. 74: standard output cannot be \
    written. 78: the configuration that is named is wrong.")]
pub struct Args {
    /// Show only these devices, by their names in topics; they may be plugged in later [default: all, and events of the
    /// gateway]
    #[arg(value_name = "DEVICE")]
    devices: Vec<String>,
    /// Print what local clients get over MQTT, one object per line: {"topic":"…","payload":{…}}
    #[arg(long)]
    json: bool,
    /// End after N readings
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End after S seconds
    #[arg(long, value_name = "S", value_parser = seconds)]
    timeout: Option<Duration>,
    #[command(flatten)]
    daemon: DaemonArg,
}

/// Prints what comes until it has been enough, or nobody reads any more.
///
/// # Errors
/// Where no runtime can be started.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let socket = match args.daemon.socket() {
        Ok(socket) => socket,
        Err(error) => {
            complain(error);
            return Ok(Exit::Config);
        }
    };
    let mut watch =
        Watch { args, socket, link: Link::New, view: View::default(), readings: 0, hint_at: None };
    Ok(super::runtime()?.block_on(watch.run()))
}

struct Watch<'a> {
    args: &'a Args,
    socket: PathBuf,
    link: Link,
    view: View,
    /// Readings shown so far.
    readings: u64,
    /// When to tell what keeps them away.
    hint_at: Option<Instant>,
}

/// How we stand with the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    New,
    Up,
    /// It was there, and is not any more.
    Away,
}

impl Watch<'_> {
    async fn run(&mut self) -> Exit {
        match timeout(self.args.timeout.unwrap_or(Duration::MAX), self.watch()).await {
            Ok(exit) => exit,
            Err(_) if self.readings > 0 => Exit::Ok,
            Err(_) => {
                self.hint().await;
                complain("serialgate: no reading came in time");
                Exit::Unavailable
            }
        }
    }

    /// Watches over restarts of the daemon.
    async fn watch(&mut self) -> Exit {
        loop {
            let error = match self.follow().await {
                Ok(exit) => return exit,
                Err(error) => error,
            };
            // One of another version does not become the right one.
            if self.link == Link::New || matches!(error, AskError::Foreign { .. }) {
                complain(format_args!("serialgate: {error}"));
                return Exit::Unavailable;
            }
            if self.link == Link::Up {
                complain(format_args!(
                    "serialgate: {error}; waiting for it to come back, and what comes meanwhile is not shown"
                ));
            }
            self.link = Link::Away;
            sleep(AGAIN_AFTER).await;
        }
    }

    /// Shows what the daemon tells until it has been enough. An error means that it has gone.
    async fn follow(&mut self) -> Result<Exit, AskError> {
        let mut client = Client::connect(&self.socket).await?;
        client.ask(&Request::Watch { devices: self.args.devices.clone() }, b"").await?;
        loop {
            match self.next(&mut client).await? {
                Response::Watching => self.begin(),
                Response::Live(live) => {
                    if let Some(exit) = self.take(&live) {
                        return Ok(exit);
                    }
                }
                Response::Missed(count) => self.missed(count),
                other => {
                    complain(format_args!("serialgate: {}", refusal(other)));
                    return Ok(Exit::Unavailable);
                }
            }
        }
    }

    /// The next line. Meanwhile there may be a hint to give.
    async fn next(&mut self, client: &mut Client) -> Result<Response, AskError> {
        let mut answer = pin!(client.answer());
        while let Some(at) = self.hint_at {
            tokio::select! {
                biased;
                answer = &mut answer => return answer,
                () = sleep_until(at) => self.hint().await,
            }
        }
        answer.await
    }

    fn begin(&mut self) {
        if self.link == Link::Away {
            complain("serialgate: it is back");
        }
        if self.link == Link::New || self.hint_at.is_some() {
            self.hint_at = Some(Instant::now() + HINT_AFTER);
        }
        self.link = Link::Up;
    }

    /// Shows a message. Gives how to end, once that was enough.
    fn take(&mut self, live: &Live) -> Option<Exit> {
        let kind = kind(&live.topic);
        let line = if self.args.json {
            if kind == Kind::Meta { None } else { serde_json::to_string(live).ok() }
        } else {
            self.view.line(live, realtime_us(), local_us)
        };
        match line.map_or(Ok(()), |line| writeln!(io::stdout(), "{line}")) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Some(Exit::Ok),
            Err(error) => {
                complain(format_args!("serialgate: standard output: {error}"));
                return Some(Exit::Io);
            }
        }
        if kind == Kind::Reading {
            self.readings += 1;
            self.hint_at = None;
        }
        (Some(self.readings) == self.args.count).then_some(Exit::Ok)
    }

    fn missed(&self, count: u64) {
        let whose = if self.args.devices.is_empty() { "" } else { " of all devices" };
        complain(format_args!("serialgate: missed {count} readings{whose}: this terminal is too slow"));
    }

    /// Tells once what keeps readings away.
    async fn hint(&mut self) {
        if self.hint_at.take().is_some()
            && let Ok(Response::Status(status)) = control::ask(&self.socket, Request::Status).await
        {
            hint::lines(&status, &self.args.devices).iter().for_each(complain);
        }
    }
}
