//! The real queue, through the doors that ports and bridges use.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use serialgate::clock::boottime_us;
use serialgate::config::{self, Durability};
use serialgate::queue::cursor::Order;
use serialgate::queue::{Consumer, Outlet, Queue, Ticket};
use serialgate::reading::Body;
use serialgate::topic::{Forward, Topics};
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep, sleep_until};

use crate::paced::{Pace, arrival};
use crate::process::wait_for;
use crate::readings::Source;

/// The bridge's name.
pub(crate) const BRIDGE: &str = "cloud";
/// At most so many readings are on their way to the cloud.
const IN_FLIGHT: usize = 1000;
/// An empty queue's database is smaller.
const EMPTY_BYTES: u64 = 16 * 1024;
/// While pushing as fast as it goes, every so many readings a ticket is asked for …
const TICKET_EACH: usize = 200;
/// … and so many tickets may be open.
const TICKETS_OPEN: usize = 20;

#[derive(Debug)]
pub(crate) struct Ours {
    pub(crate) queue: Queue,
    outlet: Outlet,
    runtime: Runtime,
    in_flight: VecDeque<(Instant, Vec<u64>)>,
}

impl Drop for Ours {
    fn drop(&mut self) {
        // Else its thread would keep the file open.
        self.queue.close();
    }
}

impl Ours {
    /// Opens the queue in `dir`, with one bridge.
    pub(crate) fn open(
        dir: &Path,
        durability: Durability,
        commit_within: Duration,
        max_size: u64,
    ) -> anyhow::Result<Self> {
        let config = config::Queue {
            path: dir.join("queue.db"),
            durability,
            commit_within,
            max_size,
            ..config::Queue::default()
        };
        let consumer = Consumer { name: BRIDGE.to_owned(), forward: Forward::Own, order: Order::Oldest };
        let queue = Queue::open(&config, Topics::new("serialgate", "bench"), vec![consumer])?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        Ok(Self { outlet: queue.outlet(0), queue, runtime, in_flight: VecDeque::new() })
    }

    /// Pushes `count` readings at a steady rate while the bridge does its work; returns when all of
    /// them are safe.
    pub(crate) fn run(&mut self, source: &mut Source, pace: Pace, count: u64) {
        let Self { queue, outlet, runtime, in_flight } = self;
        runtime.block_on(async {
            let begun = Instant::now();
            let mut pushed = 0;
            loop {
                let next_push = begun + arrival(pace.period, pushed);
                let next_answer = in_flight.front().map(|(at, _)| *at);
                let room = in_flight.iter().map(|(_, positions)| positions.len()).sum::<usize>() < IN_FLIGHT;
                tokio::select! {
                    () = sleep_until(next_push), if pushed < count => {
                        queue.push(Body::Reading(source.next(boottime_us())));
                        pushed += 1;
                    }
                    () = outlet.ready(), if room && pace.answer.is_some() => {
                        let taken = outlet.take(IN_FLIGHT);
                        let positions = taken.iter().map(|taken| taken.position).collect();
                        in_flight.push_back((Instant::now() + pace.answer.unwrap_or_default(), positions));
                    }
                    () = sleep_until(next_answer.unwrap_or(begun)), if next_answer.is_some() => {
                        for position in in_flight.pop_front().into_iter().flat_map(|(_, positions)| positions) {
                            outlet.done(position);
                        }
                    }
                    () = sleep(Duration::from_millis(1)), if pushed == count => {
                        if queue.status().volatile == 0 {
                            return;
                        }
                    }
                }
            }
        });
    }

    /// Pushes all of `bodies` as fast as the disk takes them; returns when they are durable.
    pub(crate) fn insert(&self, bodies: Vec<Body>) -> anyhow::Result<()> {
        let mut tickets: VecDeque<Ticket> = VecDeque::new();
        let last = bodies.len().saturating_sub(1);
        for (n, body) in bodies.into_iter().enumerate() {
            if n % TICKET_EACH == 0 || n == last {
                if tickets.len() >= TICKETS_OPEN
                    && let Some(ticket) = tickets.pop_front()
                {
                    self.runtime.block_on(ticket).context("a commit")?;
                }
                tickets.push_back(self.queue.push_ticketed(body)?);
            } else {
                self.queue.push(body);
            }
        }
        for ticket in tickets {
            self.runtime.block_on(ticket).context("a commit")?;
        }
        Ok(())
    }

    /// Takes and acknowledges `count` readings as fast as it goes.
    pub(crate) fn drain(&self, count: u64) {
        let mut left = usize::try_from(count).unwrap_or(usize::MAX);
        while left > 0 {
            let taken = self.take(left.min(IN_FLIGHT));
            left -= taken.len();
            taken.iter().for_each(|position| self.outlet.done(*position));
        }
    }

    /// Bytes of the database in use.
    pub(crate) fn bytes(&self) -> anyhow::Result<u64> {
        // The storage thread looks when it has begun.
        wait_for("the storage thread", || Ok(self.queue.status().bytes > 0))?;
        Ok(self.queue.status().bytes)
    }

    /// Waits until the file knows that all was acknowledged.
    pub(crate) fn settle(&self) -> anyhow::Result<()> {
        wait_for("the chunks to go", || Ok(self.bytes()? <= EMPTY_BYTES))
    }

    /// Waits for some readings and takes at most `max` of them; gives their positions.
    pub(crate) fn take(&self, max: usize) -> Vec<u64> {
        self.runtime.block_on(self.outlet.ready());
        self.outlet.take(max).iter().map(|taken| taken.position).collect()
    }
}
