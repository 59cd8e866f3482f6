//! `serialgate sim`: simulated boards, for a first look without hardware and for tests.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;

use super::{Exit, say, seconds};
use crate::reading::Uid;
use crate::signal;
use crate::sim::{self, Format, Ledger, Options, Summary, board};

const EXAMPLE: &str = "\
Examples:
  serialgate sim --link /tmp/board --format wire --rate 10 --devices 2 --ledger /tmp/ledger
  serialgate sim --link /tmp/text --format json --rate 1 & cat /tmp/text

The first makes two boards with acknowledgements, ten readings per second each, on /tmp/board and
/tmp/board.1, with a list of all that they produce; the second shows one that prints text.

Exit code 0: the boards are done, or were stopped by a signal. 70: a port or the ledger cannot be made.";

/// Simulate boards on pseudo terminals.
#[derive(Clone, Debug, clap::Parser)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// Where the port lies; further wire boards get LINK.1, LINK.2 and so on
    #[arg(long, value_name = "LINK")]
    link: PathBuf,
    /// What the boards speak
    #[arg(long, value_enum)]
    format: Spoken,
    /// Readings per second of each board
    #[arg(long, value_name = "HZ", default_value = "1", value_parser = rate)]
    rate: f64,
    /// How many boards; JSON boards share one port
    #[arg(long, value_name = "N", default_value = "1")]
    devices: NonZeroUsize,
    /// Write what is produced and acknowledged to FILE, as JSON lines
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    /// Stop after N readings of each board
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Stop taking readings after S seconds
    #[arg(long, value_name = "S", value_parser = seconds)]
    seconds: Option<Duration>,
    /// Wait at most S seconds, after the last reading, for acknowledgements
    #[arg(long, value_name = "S", default_value = "30", value_parser = seconds)]
    linger: Duration,
    /// Take the first reading only when somebody has opened the port
    #[arg(long)]
    wait: bool,
    /// Probability that a byte is damaged, in both directions
    #[arg(long, value_name = "P", default_value = "0", value_parser = probability)]
    noise: f64,
    /// Readings that a wire board holds
    #[arg(long, value_name = "N", default_value = "1000", value_parser = ring)]
    ring: usize,
    /// Unique id of the first wire board, 2 to 32 hex digits [default: from the link]
    #[arg(long, value_name = "HEX", value_parser = uid)]
    uid: Option<Uid>,
    /// Boot number of the wire boards [default: random]
    #[arg(long, value_name = "N")]
    boot: Option<u32>,
    /// Firmware name of the wire boards
    #[arg(long, value_name = "NAME", default_value = "sim", value_parser = name)]
    name: String,
}

/// Runs the boards until they are done, or until SIGINT or SIGTERM, and says what became of their
/// readings.
///
/// # Errors
/// When a port or the ledger cannot be made.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let ledger = match &args.ledger {
        Some(path) => Ledger::create(path).with_context(|| format!("cannot write {}", path.display()))?,
        None => Ledger::unwritten(),
    };
    let runtime = super::runtime()?;
    let summary = runtime.block_on(async {
        let stop = signal::shutdown().context("signals")?;
        let boards = sim::run(args.clone().into(), ledger, async {
            stop.await;
        });
        boards.await.with_context(|| format!("cannot simulate on {}", args.link.display()))
    })?;
    say(in_words(&summary));
    Ok(Exit::Ok)
}

/// What the boards speak, on the command line.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Spoken {
    /// Wire v1, with acknowledgements: each board has a port of its own
    Wire,
    /// One JSON object per line: all boards share one port
    Json,
}

impl From<Spoken> for Format {
    fn from(spoken: Spoken) -> Self {
        match spoken {
            Spoken::Wire => Self::Wire,
            Spoken::Json => Self::Json,
        }
    }
}

impl From<Args> for Options {
    fn from(args: Args) -> Self {
        Self {
            link: args.link,
            format: args.format.into(),
            rate_hz: args.rate,
            devices: args.devices,
            count: args.count,
            duration: args.seconds,
            linger: args.linger,
            wait: args.wait,
            noise: args.noise,
            ring: args.ring,
            uid: args.uid,
            boot: args.boot,
            name: args.name,
            plugged: None,
        }
    }
}

fn in_words(summary: &Summary) -> String {
    let Summary { produced, acknowledged, dropped, held, unheard, overrun } = summary;
    format!(
        "produced {produced}, acknowledged {acknowledged}, dropped {dropped}, held {held}, \
         unheard {unheard}, overrun {overrun}"
    )
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    let is_usable = rate.is_finite() && rate > 0.0;
    if is_usable { Ok(rate) } else { Err("write a number above 0, for example 0.5".to_owned()) }
}

fn probability(text: &str) -> Result<f64, String> {
    let probability: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    let is_one = (0.0..=1.0).contains(&probability);
    if is_one { Ok(probability) } else { Err("write a number from 0 to 1, for example 0.001".to_owned()) }
}

fn ring(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(readings @ 1..=board::RING_MAX) => Ok(readings),
        _ => Err(format!("write a number from 1 to {}", board::RING_MAX)),
    }
}

fn uid(text: &str) -> Result<Uid, String> {
    let digits = text.as_bytes().chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2 && !pair.starts_with('+'))?;
        u8::from_str_radix(pair, 16).ok()
    });
    let bytes = digits.collect::<Option<Vec<_>>>();
    bytes
        .and_then(|bytes| Uid::new(&bytes))
        .ok_or_else(|| "write 1 to 16 bytes, two hex digits each".to_owned())
}

fn name(text: &str) -> Result<String, String> {
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    if !text.is_empty() && text.len() <= 32 && text.bytes().all(is_name) {
        Ok(text.to_owned())
    } else {
        Err("write 1 to 32 of a-z, 0-9, _ and -".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::Parser as _;

    use super::*;

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(format!("sim --link /tmp/board --format wire {line}").split_whitespace())
    }

    #[test]
    fn the_arguments_are_consistent_and_the_help_has_an_example() {
        Args::command().debug_assert();
        assert!(Args::command().render_long_help().to_string().contains("serialgate sim --link"));
    }

    #[test]
    fn what_is_left_out_is_as_the_library_has_it() {
        let options = Options::from(parse("").unwrap());
        let library = Options::new(std::path::Path::new("/tmp/board"), Format::Wire, 1.0);
        assert_eq!(format!("{options:?}"), format!("{library:?}"));
    }

    #[test]
    fn values_out_of_range_are_refused() {
        for line in [
            "--rate 0",
            "--rate -1",
            "--rate nan",
            "--rate inf",
            "--noise 1.1",
            "--noise x",
            "--seconds -1",
            "--devices 0",
            "--ring 0",
            "--ring 32768",
            "--uid 0",
            "--uid xy",
            "--uid +1",
            "--name A",
            "--boot -1",
            "--uid 0011223344556677889900112233445566",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
        for line in
            ["--rate 0.01", "--noise 1", "--seconds 0.5", "--ring 32767", "--uid 00ff", "--name a_b-1"]
        {
            assert!(parse(line).is_ok(), "{line}");
        }
    }
}
