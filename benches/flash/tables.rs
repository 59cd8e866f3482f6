//! The tables of the paced runs.

use std::collections::BTreeSet;

use crate::paced::{Cost, Player, RATES};
use crate::readings::Format;
use crate::section::{Section, Short};
use crate::targets::{Bar, Targets};

/// A player in words.
fn name(player: Player) -> &'static str {
    match player {
        Player::Stock { grown: false } => "stock rusqlite, first seconds",
        Player::Stock { grown: true } => "stock rusqlite, later",
        Player::RawLog => "raw log",
        Player::Always(Format::Wire) => "queue, `always`, wire",
        Player::Always(Format::Json) => "queue, `always`, JSON",
        Player::Late => "queue, `late`, cloud in time",
        Player::Online => "online",
        Player::Outage => "outage",
        Player::Full => "outage, queue full",
    }
}

/// The run of `player` at `rate` readings per second.
pub(crate) fn find(costs: &[Cost], player: Player, rate: u32) -> Option<&Cost> {
    costs.iter().find(|cost| cost.player == player && cost.per_minute == rate * 60)
}

pub(crate) fn rates(costs: &[Cost], targets: &mut Targets) -> Section {
    let mut section = Section::new(
        "Steady rates",
        "Every reading is committed 50 ms after it came at the latest, all that is held in one transaction; the cloud\n\
         acknowledges 100 ms later, which goes into the next transaction. Stock rusqlite: WAL, synchronous FULL, pages of\n\
         4 KiB, a row of JSON (97 bytes) per reading, `fsync` as in all builds that do not define `HAVE_FDATASYNC`. Its\n\
         log grows in the first 15 seconds after a start and costs more than later; both are shown. Raw log: the same\n\
         JSON with length and CRC, one `pwrite` and one `fdatasync` per commit into a file that has its size already. With\n\
         `late` the cloud acknowledges after 20 ms, and nothing is committed; what is written are counters, every ten minutes.",
        ["readings/s", "", "B/reading", "B/commit", "flushes/commit", "readings/commit", "x raw log"],
    );
    for rate in RATES {
        let raw = find(costs, Player::RawLog, rate).map_or(f64::NAN, Cost::per_reading);
        for cost in costs.iter().filter(|cost| cost.per_minute == rate * 60) {
            if matches!(cost.player, Player::Online | Player::Outage | Player::Full) {
                continue;
            }
            let per_commit = |value: f64, decimals| match cost.commits {
                0 => String::new(),
                _ => format!("{value:.decimals$}"),
            };
            section.row([
                rate.to_string(),
                name(cost.player).to_owned(),
                format!("{:.0}", cost.per_reading()),
                per_commit(cost.per_commit(), 0),
                per_commit(cost.flushes_per_commit(), 2),
                per_commit(cost.readings as f64 / cost.commits as f64, 1),
                format!("{:.2}", cost.per_reading() / raw),
            ]);
        }
    }
    judge(costs, targets);
    section
}

fn judge(costs: &[Cost], targets: &mut Targets) {
    let per_reading = |player, rate| find(costs, player, rate).map_or(f64::NAN, Cost::per_reading);
    for (rate, bar) in [(10, 1.3), (100, 1.3), (1000, 0.6)] {
        for (format, word) in [(Format::Wire, "wire"), (Format::Json, "JSON")] {
            let ratio = per_reading(Player::Always(format), rate) / per_reading(Player::RawLog, rate);
            targets.add(format!("bytes at {rate}/s, {word}, of the raw log"), ratio, Bar::AtMost(bar));
        }
    }
    for (grown, word) in [(false, "in its first seconds"), (true, "later")] {
        let ratio =
            per_reading(Player::Stock { grown }, 100) / per_reading(Player::Always(Format::Wire), 100);
        targets.add(
            format!("times fewer bytes than stock rusqlite at 100/s, {word}"),
            ratio,
            Bar::AtLeast(5.0),
        );
    }
    let always = costs.iter().filter(|cost| matches!(cost.player, Player::Always(_)));
    let flushes = always.map(Cost::flushes_per_commit).fold(0.0, f64::max);
    targets.add("flushes per commit, most", flushes, Bar::AtMost(1.05));
    let share =
        |rate| 100.0 * per_reading(Player::Late, rate) / per_reading(Player::Always(Format::Wire), rate);
    let share = RATES.map(share).into_iter().fold(0.0, f64::max);
    targets.add("bytes of `late` with a fast cloud, most, % of `always`", share, Bar::AtMost(2.0));
}

/// Which pages are written.
pub(crate) fn pages(costs: &[Cost]) -> Section {
    let mut section = Section::new(
        "What a commit writes",
        "Pages of the database per transaction, from the queue's log, where each takes 24 bytes more. Pages are 1 KiB, the\n\
         blocks of the file system 4 KiB: a commit begins and ends somewhere within one, and all of it is written.\n\
         In the outages 250 ms are committed together.",
        ["readings/s", "", "pages", "which"],
    );
    let kinds: BTreeSet<&str> =
        costs.iter().filter_map(|cost| cost.frames.as_ref()).flat_map(|f| f.pages.keys().copied()).collect();
    for cost in costs {
        let Some(frames) = cost.frames.as_ref().filter(|frames| frames.transactions > 0) else { continue };
        let per = |n: u64| n as f64 / frames.transactions as f64;
        let which = kinds.iter().filter_map(|kind| Some((kind, *frames.pages.get(kind)?)));
        let which: Vec<String> = which.map(|(kind, n)| format!("{kind} {:.2}", per(n))).collect();
        section.row([
            Short(f64::from(cost.per_minute) / 60.0).to_string(),
            name(cost.player).to_owned(),
            format!("{:.2}", per(frames.pages.values().sum())),
            which.join(", "),
        ]);
    }
    section
}
