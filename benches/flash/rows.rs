//! The rivals, with the group commit that our queue has built in: all that is held is committed
//! when the oldest of it has waited long enough.

use std::collections::VecDeque;
use std::time::Instant;

use serialgate::clock::boottime_us;

use crate::paced::{Pace, arrival};
use crate::process::wait_until;
use crate::raw::RawLog;
use crate::readings::{Source, json};
use crate::stock::Stock;

#[derive(Debug)]
pub(crate) enum Log {
    Stock(Stock),
    Raw(RawLog),
}

#[derive(Debug)]
pub(crate) struct Rows {
    log: Log,
    pub(crate) commits: u64,
    /// When the cloud acknowledges which rows.
    answers: VecDeque<(Instant, i64)>,
}

impl Rows {
    pub(crate) fn new(log: Log) -> Self {
        Self { log, commits: 0, answers: VecDeque::new() }
    }

    /// Takes `count` readings; returns when the last of them is committed.
    pub(crate) fn run(&mut self, source: &mut Source, pace: Pace, count: u64) -> anyhow::Result<()> {
        let begun = Instant::now();
        let mut held = Vec::new();
        let mut due = None;
        let mut made = 0;
        loop {
            let next = (made < count).then(|| begun + arrival(pace.period, made));
            let Some(next) = next.into_iter().chain(due).min() else { return Ok(()) };
            wait_until(next);
            if due == Some(next) {
                self.commit(&held, pace)?;
                held.clear();
                due = None;
            } else {
                held.push(json(&source.next(boottime_us())));
                due = due.or(Some(next + pace.commit_within));
                made += 1;
            }
        }
    }

    fn commit(&mut self, rows: &[String], pace: Pace) -> anyhow::Result<()> {
        self.commits += 1;
        let now = Instant::now();
        match &mut self.log {
            Log::Raw(log) => log.commit(rows),
            Log::Stock(stock) => {
                let mut acknowledged = 0;
                while let Some((_, below)) = self.answers.pop_front_if(|(at, _)| *at <= now) {
                    acknowledged = below;
                }
                let end = stock.commit(rows, acknowledged)?;
                self.answers.extend(pace.answer.map(|answer| (Instant::now() + answer, end)));
                Ok(())
            }
        }
    }
}
