//! `serialgate demo`: the whole story with no hardware.
//!
//! Simulated boards on pseudo-terminals, the real gateway and a stand-in for the cloud, all in this
//! process. The link to the cloud is cut for a while; the audience sees the backlog rise and drain,
//! and at the end a ledger that the gateway has no hand in: what the boards made against what the
//! cloud got.

use std::fmt::Write as _;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tempfile::TempDir;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Exit, complain, say};
use crate::config::{Config, ConfigError};
use crate::gateway::{Gateway, StatusView};
use crate::{signal, sim};

pub mod boards;
pub mod cloud;
pub mod ledger;
pub mod view;

use boards::Tail;
use cloud::Cloud;
pub use cloud::Fault;
use ledger::Ledger;
use view::{Act, Moment, View};

/// Between two pictures.
const FRAME: Duration = Duration::from_millis(100);
/// After the end of the story, the last readings may take so long to arrive.
const GRACE: Duration = Duration::from_secs(15);
/// Readings per second and board.
const RATE_HZ: f64 = 20.0;
/// The boards fall silent after this share of the story.
const BOARDS_SPEAK: f64 = 0.9;
/// Boards that speak the wire protocol, each on its own port.
const WIRE_BOARDS: u16 = 3;
/// The board that prints lines of JSON, by the name it has in the boards' own ledger.
const JSON_BOARD: &str = "sim1";
/// The name that the wire boards give themselves.
const WIRE_NAME: &str = "greenhouse";

/// `serialgate demo`
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  serialgate demo --seconds 60\n\n\
    Needs no hardware, no network and no configuration; writes to a temporary folder only.\n\n\
    Exit code 0: every reading arrived. 1: something was lost, or it was stopped before the end. 70: the machine gives \
    no pseudo-terminals, no port or no folder.")]
pub struct Args {
    /// How long the story takes; the link is cut for a bit more than a third of it
    #[arg(long, default_value_t = 35, value_parser = clap::value_parser!(u64).range(5..=3600))]
    seconds: u64,
}

/// Tells the story.
///
/// # Errors
/// When the machine does not let us: no pseudo-terminals, no loopback port, no temporary folder.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let story = Story { total: Duration::from_secs(args.seconds), fault: None };
    super::runtime()?.block_on(async {
        let interrupted = signal::shutdown().context("signals")?;
        tokio::select! {
            exit = story.tell() => exit,
            // What it put on the stage goes with it: the picture's hidden cursor, the folder.
            _ = interrupted => {
                complain("\nstopped before the end: no verdict");
                Ok(Exit::No)
            }
        }
    })
}

/// How the story goes.
#[derive(Clone, Copy, Debug)]
pub struct Story {
    /// How long it takes.
    pub total: Duration,
    /// What goes wrong on purpose.
    pub fault: Option<Fault>,
}

/// The players.
struct Stage {
    cloud: Cloud,
    gateway: Gateway,
    status: StatusView,
    tail: Tail,
    ledger: Ledger,
    /// Ends the boards when the story is over.
    _boards: DropGuard,
}

impl Story {
    /// Tells it; the exit code says whether anything was lost.
    ///
    /// # Errors
    /// See [`run`].
    pub async fn tell(self) -> anyhow::Result<Exit> {
        let folder = TempDir::new().context("temporary folder")?;
        let mut stage = self.set(folder.path()).await?;
        let mut view = View::new(WIRE_BOARDS + 1);
        let start = Instant::now();
        let mut tick = tokio::time::interval(FRAME);
        let elapsed = loop {
            tick.tick().await;
            let elapsed = start.elapsed();
            let act = self.act(elapsed);
            stage.play(act).await?;
            stage.look()?;
            let status = stage.status.status();
            view.show(&Moment { elapsed, total: self.total, act, status: &status, ledger: &stage.ledger })?;
            let settled = stage.ledger.missing() == 0 && status.queue.readings == 0;
            if act == Act::Finishing && (settled || elapsed > self.total + GRACE) {
                break elapsed;
            }
        };
        view.end()?;
        stage.gateway.stop().await;
        stage.cloud.cut().await;
        Ok(verdict(&stage.ledger, view.peak(), self.cut_for(), elapsed))
    }

    async fn set(self, folder: &Path) -> anyhow::Result<Stage> {
        let cloud = Cloud::start(self.fault).await.context("stand-in cloud")?;
        let ledger_file = folder.join("boards.jsonl");
        let sim_ledger = sim::Ledger::create(&ledger_file).context("ledger")?;
        let boards = CancellationToken::new();
        for (format, devices) in [(sim::Format::Wire, WIRE_BOARDS), (sim::Format::Json, 1)] {
            let (ledger, stop) = (sim_ledger.clone(), boards.clone());
            let options = self.boards(folder, format, devices);
            let run = sim::run(options, ledger, stop.cancelled_owned());
            tokio::spawn(async move {
                if let Err(error) = run.await {
                    tracing::error!(%error, "boards stopped");
                }
            });
        }
        let gateway = Gateway::start(configuration(folder, &cloud)?).context("gateway")?;
        let tail = Tail::open(&ledger_file).context("ledger")?;
        let status = gateway.view();
        Ok(Stage { cloud, gateway, status, tail, ledger: Ledger::default(), _boards: boards.drop_guard() })
    }

    fn boards(self, folder: &Path, format: sim::Format, devices: u16) -> sim::Options {
        sim::Options {
            devices: NonZeroUsize::new(devices.into()).unwrap_or(NonZeroUsize::MIN),
            duration: Some(self.total.mul_f64(BOARDS_SPEAK)),
            wait: true,
            name: WIRE_NAME.to_owned(),
            ..sim::Options::new(&link(folder, format), format, RATE_HZ)
        }
    }

    /// Shares of the whole: a quarter online, a good third cut, a quarter to drain, the rest for
    /// the boards to fall silent and the last readings to arrive.
    fn act(self, elapsed: Duration) -> Act {
        let cut = self.total.mul_f64(0.25);
        match elapsed {
            now if now < cut => Act::Online,
            now if now < cut + self.cut_for() => Act::Cut { since: now - cut },
            now if now < self.total.mul_f64(BOARDS_SPEAK) => Act::Draining,
            _ => Act::Finishing,
        }
    }

    fn cut_for(self) -> Duration {
        self.total.mul_f64(0.36)
    }
}

impl Stage {
    /// Does what the act asks for.
    async fn play(&mut self, act: Act) -> io::Result<()> {
        match act {
            Act::Online => {}
            Act::Cut { .. } => self.cloud.cut().await,
            Act::Draining | Act::Finishing => self.cloud.restore().await?,
        }
        Ok(())
    }

    /// Brings the ledger up to date. Arrivals first: what arrived was made before.
    fn look(&mut self) -> anyhow::Result<()> {
        let arrivals = self.cloud.take_arrivals();
        self.tail.read_into(&mut self.ledger).context("boards' ledger")?;
        for (device, number) in arrivals {
            self.ledger.arrive(&device, number);
        }
        Ok(())
    }
}

fn link(folder: &Path, format: sim::Format) -> PathBuf {
    folder.join(match format {
        sim::Format::Wire => "wire",
        sim::Format::Json => "json",
    })
}

/// The configuration that somebody with these boards would write.
fn configuration(folder: &Path, cloud: &Cloud) -> Result<Config, ConfigError> {
    let (wire, json) = (link(folder, sim::Format::Wire), link(folder, sim::Format::Json));
    let mut text = format!(
        "gateway: demo\nqueue: {{path: {folder}/queue.db}}\nbroker: {{listen: []}}\n\
         bridges:\n  - {{name: cloud, url: \"mqtt://{address}\"}}\n\
         ports:\n  - {{path: {json}, format: json, device: {JSON_BOARD}}}\n  - {{path: {wire}}}\n",
        folder = folder.display(),
        address = cloud.address,
        json = json.display(),
        wire = wire.display(),
    );
    for n in 1..WIRE_BOARDS {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  - {{path: {}.{n}}}", wire.display());
    }
    Config::parse(&text, "demo")
}

fn verdict(ledger: &Ledger, peak: u64, cut_for: Duration, elapsed: Duration) -> Exit {
    say(format_args!("\n\n{ledger}"));
    let (cut_s, took_s) = (cut_for.as_secs_f64(), elapsed.as_secs_f64());
    say(format_args!(
        "  link cut for {cut_s:.1} s, highest backlog {peak} readings, all over after {took_s:.1} s"
    ));
    if ledger.is_clean() {
        say(format_args!("  lost 0 of {}", ledger.produced()));
        Exit::Ok
    } else if ledger.produced() == 0 {
        say("  no board made a reading: pseudo terminals do not work here; is /dev/pts mounted?");
        Exit::No
    } else {
        say(format_args!("  LOST {} of {}, or out of order: see above", ledger.missing(), ledger.produced()));
        Exit::No
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOTAL: Duration = Duration::from_secs(6);

    #[tokio::test]
    async fn the_story_ends_well() {
        let story = Story { total: TOTAL, fault: None };
        assert_eq!(story.tell().await.unwrap(), Exit::Ok);
    }

    /// A ledger that cannot say no proves nothing.
    #[tokio::test]
    async fn one_reading_that_is_dropped_on_the_way_is_noticed() {
        let story = Story { total: TOTAL, fault: Some(Fault::Forget(100)) };
        assert_eq!(story.tell().await.unwrap(), Exit::No);
    }
}
