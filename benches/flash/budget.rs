//! What typical set-ups write to their flash in a day.

use std::time::Duration;

use anyhow::Context as _;

use crate::paced::{Cost, Player, RATES};
use crate::readings::Format;
use crate::section::{Section, Short};
use crate::tables::find;
use crate::{FULL, Scale};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// Counters are saved so often in a day while nothing is committed …
const SAVES: f64 = 144.0;
/// … and each time costs so much, in bytes: a page or two of ours, the rest is the file system's journal.
const SAVE_BYTES: f64 = 25e3;

/// What is written, in bytes, and how often the cache is flushed.
#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    bytes: f64,
    flushes: f64,
}

/// The section, where the runs were long enough for it.
pub(crate) fn section(costs: &[Cost], scale: Scale) -> anyhow::Result<Option<Section>> {
    if scale.seconds < FULL.seconds {
        return Ok(None);
    }
    let of = |player, per_minute| {
        let cost = costs.iter().find(|cost| cost.player == player && cost.per_minute == per_minute);
        cost.with_context(|| format!("{player:?} at {per_minute} a minute was not measured"))
    };
    let mut section = Section::new(
        "Flash budget",
        "Worked out from runs like those above; `late` with `commit_within` of 250 ms, the default, unless said otherwise.\n\
         What the card makes of it is its own affair: many program 16 KiB or more per flush.",
        ["set-up", "MB/day", "flushes/day"],
    );
    let mut row = |what: &str, spent: Spent| {
        let mb = Short(spent.bytes / 1e6).to_string();
        section.row([what.to_owned(), mb, format!("{:.0}", spent.flushes)]);
    };
    let slow = find(costs, Player::Always(Format::Wire), RATES[0]).context("no slow run")?;
    let saves = Spent { bytes: SAVE_BYTES, flushes: 1.0 }.times(SAVES);
    row("5 sensors, one reading a minute each, online", spent(of(Player::Online, 5)?, DAY).plus(saves));
    row(
        "the same, `always`, or a cloud that never answers in time",
        Spent { bytes: slow.per_commit(), flushes: slow.flushes_per_commit() }.times(5.0 * 24.0 * 60.0),
    );
    let (outage, online) = (of(Player::Outage, 600)?, of(Player::Online, 600)?);
    let drained = outage.drained.context("the outage was not drained")?;
    let stored = (outage.readings * HOUR.as_secs()) as f64 / outage.lasted.as_secs_f64();
    let drain = Spent { bytes: drained.bytes as f64, flushes: drained.flushes as f64 };
    let drain = drain.times(stored / outage.readings as f64);
    let day = spent(outage, HOUR).plus(drain).plus(spent(online, DAY - HOUR)).plus(saves);
    row("10 boards, one reading a second each, an hour a day offline", day);
    row("100 readings a second, offline for ever, the queue full", spent(of(Player::Full, 6000)?, DAY));
    Ok(Some(section))
}

/// What a run would have spent in `span`.
fn spent(cost: &Cost, span: Duration) -> Spent {
    let device = Spent { bytes: cost.device.bytes as f64, flushes: cost.device.flushes as f64 };
    device.times(span.as_secs_f64() / cost.lasted.as_secs_f64())
}

impl Spent {
    fn times(self, n: f64) -> Self {
        Self { bytes: self.bytes * n, flushes: self.flushes * n }
    }

    fn plus(self, other: Self) -> Self {
        Self { bytes: self.bytes + other.bytes, flushes: self.flushes + other.flushes }
    }
}
