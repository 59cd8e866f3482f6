//! One serial line: opens it, keeps it open, moves its bytes.
//!
//! A read of nothing, or an error, means that the device is gone. Then the descriptor is dropped at
//! once (a device that comes back gets another name as long as somebody holds the old one), and the
//! line waits for the path to appear: woken by the directory, or once a second in any case.

use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_serial::SerialStream;
use tokio_util::sync::CancellationToken;

use super::Handles;
use super::json::JsonFeed;
use super::open::{Refusal, held_by, open};
use super::report::{Report, configured_name};
use super::watch::Watcher;
use super::wire::{Settled, WireFeed};
use crate::call::Failure;
use crate::config;
use crate::flow::Asked;
use crate::pulse::Pulse;
use crate::reading::Stamp;
use crate::status::PortState;

/// Bytes read at once. A pty gives at most 4095, a UART what came since the last read.
const READ_BYTES: usize = 8 * 1024;
/// So many bytes in one read mean that more are waiting: the other ports come first. Left alone, the
/// runtime would let this one read 128 times in a row.
const FLOOD_BYTES: usize = 1024;
/// An absent or denied device is looked for this often, if nothing is heard of it before.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// A busy device is tried first and at the slowest after so long. Each try may disturb its holder.
const BUSY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));
/// A device that is gone again before it sent anything is tried again after so long, at first and
/// at the slowest.
const FLAPPING: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// Shortest time between two attempts to open.
const ATTEMPT_GAP: Duration = Duration::from_millis(5);
/// A device that has just appeared belongs to root until udev has seen it: that is no news.
const DENIED_GRACE: Duration = Duration::from_secs(3);
/// Without a byte for so long a line counts as silent.
const SILENT: Duration = Duration::from_secs(120);
/// A device that was open for so long was really there, even if it said nothing.
const STEADY: Duration = Duration::from_secs(2);
/// Most commands on their way to a line. What a line has taken waits in its feed.
const CALLS_MAX: usize = 16;
/// Later than anything that is waited for.
const FAR: Duration = Duration::from_secs(24 * 3600);

/// The task of one line.
#[derive(Debug)]
pub struct Line {
    path: String,
    baud: u32,
    report: Report,
    pulse: Pulse,
    /// Commands to the line's devices.
    calls: mpsc::Receiver<Asked>,
    feed: Feed,
    watcher: Watcher,
    /// How long to wait before the next attempt, because the last opening came to nothing. As long
    /// as that goes on, an open device is no news until it has lived for a while.
    flapping: Option<Duration>,
    /// The state as it was last told.
    state: Option<PortState>,
}

/// What makes readings of the bytes.
#[derive(Debug)]
enum Feed {
    Wire(Box<WireFeed>),
    Json(Box<JsonFeed>),
}

impl Line {
    /// The line at `path`, which `config` names or matches.
    #[must_use]
    pub fn new(path: String, config: &config::Port, handles: Handles) -> Self {
        let named = configured_name(config, &path);
        let feed = match config.format {
            config::Format::Wire => Feed::Wire(Box::new(WireFeed::new(named))),
            config::Format::Json => Feed::Json(Box::new(JsonFeed::new(named, config.device_key.as_deref()))),
        };
        let pulse = handles.roll.enter(format!("port {path}"));
        let (sender, calls) = mpsc::channel(CALLS_MAX);
        let report = Report::new(&path, handles, sender);
        Self {
            path,
            baud: config.baud,
            report,
            pulse,
            calls,
            feed,
            watcher: Watcher::default(),
            flapping: None,
            state: None,
        }
    }

    /// Serves the line until `stop`.
    pub async fn run(mut self, stop: &CancellationToken) {
        loop {
            let port = tokio::select! {
                () = stop.cancelled() => return,
                port = self.wait_open() => port,
            };
            if self.flapping.is_none() {
                self.enter(PortState::Open, None);
            }
            let gone = tokio::select! {
                () = stop.cancelled() => None,
                gone = self.serve(port) => Some(gone),
            };
            self.feed.closed(self.report.now(), &self.report);
            while let Ok(Asked { device, reply, .. }) = self.calls.try_recv() {
                let why = format!("device {device} went away before it was sent");
                reply.send(Failure::Offline(why).into());
            }
            let Some(Gone { why, lived }) = gone else { return };
            self.report.disconnected();
            self.enter(PortState::Absent, Some(why));
            self.flapping = match self.flapping {
                _ if lived => None,
                None => Some(FLAPPING.0),
                Some(wait) => Some((wait * 2).min(FLAPPING.1)),
            };
        }
    }

    /// Waits until the device is there, and opens it.
    async fn wait_open(&mut self) -> SerialStream {
        if let Some(wait) = self.flapping {
            sleep(wait).await;
        }
        let mut busy = BUSY.0;
        let mut denied_since = None;
        let mut told = None;
        loop {
            // At least every five seconds.
            self.pulse.beat();
            self.watcher.watch(Path::new(&self.path));
            let refusal = match open(&self.path, self.baud) {
                Ok(port) => return port,
                Err(refusal) => refusal,
            };
            let denied = matches!(refusal, Refusal::Denied(_));
            let since = *denied_since.get_or_insert_with(Instant::now);
            if !denied {
                denied_since = None;
            }
            if told.as_ref() != Some(&refusal) && (!denied || since.elapsed() >= DENIED_GRACE) {
                self.refused(&refusal);
                told = Some(refusal.clone());
            }
            let wait = match refusal {
                Refusal::Busy => {
                    let slower = (busy * 2).min(BUSY.1);
                    std::mem::replace(&mut busy, slower)
                }
                Refusal::Absent(_) | Refusal::Denied(_) => LOOK_AGAIN,
            };
            tokio::select! {
                () = self.watcher.changed() => {}
                () = sleep(wait) => {}
            }
            sleep(ATTEMPT_GAP).await;
        }
    }

    fn refused(&mut self, refusal: &Refusal) {
        match refusal {
            Refusal::Absent(why) => self.enter(PortState::Absent, Some(why.clone())),
            Refusal::Busy => self.enter(PortState::Busy, Some(held_by(&self.path))),
            Refusal::Denied(why) => self.enter(PortState::Denied, Some(why.clone())),
        }
    }

    /// Goes to `state`, for the reason `why`.
    fn enter(&mut self, state: PortState, why: Option<String>) {
        let before = self.state.replace(state);
        let port = self.path.as_str();
        match (before, state) {
            _ if before == Some(state) => {}
            // Some sensors are silent for hours between two readings.
            (Some(PortState::Silent), PortState::Open) | (_, PortState::Silent) => {
                tracing::debug!(port, state = state.as_str(), "port state");
            }
            _ => tracing::info!(port, state = state.as_str(), why, "port state"),
        }
        if before != Some(state) {
            self.report.state(state);
        }
        if let Some(why) = why {
            self.report.trouble(why);
        }
    }

    /// Moves bytes until the device is gone.
    async fn serve(&mut self, port: SerialStream) -> Gone {
        let (mut reader, mut writer) = tokio::io::split(port);
        let mut buffer = vec![0; READ_BYTES];
        let mut outbox = Vec::new();
        let opened = Instant::now();
        let mut heard = opened;
        let gone = |why: String, heard: Instant| {
            let lived = heard > opened || opened.elapsed() >= STEADY;
            Gone { why, lived }
        };
        let mut alarm = std::pin::pin!(sleep(FAR));
        self.feed.opened(self.report.now(), &self.report, &mut outbox);
        loop {
            self.pulse.beat();
            let due = self.due(heard);
            if due < alarm.deadline() || alarm.is_elapsed() {
                alarm.as_mut().reset(due);
            }
            // In this order: what was acknowledged goes out before more comes in.
            tokio::select! {
                biased;
                written = writer.write(&outbox), if !outbox.is_empty() => match written {
                    Ok(count) => drop(outbox.drain(..count)),
                    Err(error) if is_passing(&error) => {}
                    Err(error) => return gone(error.to_string(), heard),
                },
                settled = self.feed.settled() => {
                    self.feed.settle(settled, self.report.now(), &self.report, &mut outbox);
                }
                Some(asked) = self.calls.recv() => {
                    self.feed.call(asked, self.report.now(), &self.report, &mut outbox);
                }
                read = reader.read(&mut buffer) => match read {
                    Ok(0) => return gone("the device went away".into(), heard),
                    Ok(count) => {
                        heard = Instant::now();
                        self.enter(PortState::Open, None);
                        let bytes = buffer.get(..count).unwrap_or_default();
                        self.feed.bytes(bytes, self.report.now(), &self.report, &mut outbox);
                        if count >= FLOOD_BYTES {
                            tokio::task::yield_now().await;
                        }
                    }
                    Err(error) if is_passing(&error) => {}
                    Err(error) => return gone(error.to_string(), heard),
                },
                () = self.pulse.called() => {}
                () = &mut alarm => {
                    self.heard_nothing_since(heard);
                    self.feed.tick(self.report.now(), &self.report, &mut outbox);
                }
            }
        }
    }

    /// When there is something to do even if no byte comes.
    fn due(&self, heard: Instant) -> Instant {
        let quiet = match self.state {
            Some(PortState::Silent) => Instant::now() + FAR,
            Some(PortState::Open) => heard + SILENT,
            _ => heard + STEADY,
        };
        let Some(at_us) = self.feed.wake_at_us() else { return quiet };
        let wait = u64::try_from(at_us - self.report.now().us).unwrap_or(0);
        quiet.min(Instant::now() + Duration::from_micros(wait))
    }

    fn heard_nothing_since(&mut self, heard: Instant) {
        if heard.elapsed() >= SILENT {
            self.enter(PortState::Silent, None);
        } else if heard.elapsed() >= STEADY {
            self.enter(PortState::Open, None);
        }
    }
}

/// How serving a device ended.
#[derive(Debug)]
struct Gone {
    why: String,
    /// Whether it was more than a moment.
    lived: bool,
}

fn is_passing(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::Interrupted | std::io::ErrorKind::WouldBlock)
}

impl Feed {
    fn opened(&mut self, now: Stamp, report: &Report, outbox: &mut Vec<u8>) {
        match self {
            Self::Wire(feed) => feed.opened(now, report, outbox),
            Self::Json(feed) => feed.opened(),
        }
    }

    fn closed(&mut self, now: Stamp, report: &Report) {
        match self {
            Self::Wire(feed) => feed.closed(now, report),
            Self::Json(feed) => feed.closed(report),
        }
    }

    fn bytes(&mut self, bytes: &[u8], now: Stamp, report: &Report, outbox: &mut Vec<u8>) {
        match self {
            Self::Wire(feed) => feed.bytes(bytes, now, report, outbox),
            Self::Json(feed) => feed.bytes(bytes, now, report),
        }
    }

    async fn settled(&mut self) -> Settled {
        match self {
            Self::Wire(feed) => feed.settled().await,
            Self::Json(_) => std::future::pending().await,
        }
    }

    fn settle(&mut self, settled: Settled, now: Stamp, report: &Report, outbox: &mut Vec<u8>) {
        if let Self::Wire(feed) = self {
            feed.settle(settled, now, report, outbox);
        }
    }

    fn call(&mut self, asked: Asked, now: Stamp, report: &Report, outbox: &mut Vec<u8>) {
        match self {
            Self::Wire(feed) => feed.call(asked, now, report, outbox),
            Self::Json(feed) => feed.call(asked, outbox),
        }
    }

    fn wake_at_us(&self) -> Option<i64> {
        match self {
            Self::Wire(feed) => feed.wake_at_us(),
            Self::Json(_) => None,
        }
    }

    fn tick(&mut self, now: Stamp, report: &Report, outbox: &mut Vec<u8>) {
        if let Self::Wire(feed) = self {
            feed.tick(now, report, outbox);
        }
    }
}
