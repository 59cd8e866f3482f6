//! The real queue, through the doors that ports and bridges use.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use serialgate::clock::boottime_us;
use serialgate::config::{self, Durability};
use serialgate::queue::{Consumer, Outlet, Queue};
use serialgate::reading::Body;
use serialgate::topic::{Forward, Topics};
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep, sleep_until};

use crate::readings::Source;

/// At most so many readings are on their way to the cloud.
const IN_FLIGHT: usize = 1000;

#[derive(Debug)]
pub(crate) struct Ours {
    pub(crate) queue: Queue,
    outlet: Outlet,
    runtime: Runtime,
    /// From publishing to the acknowledgement.
    answer: Duration,
    in_flight: VecDeque<(Instant, Vec<u64>)>,
}

/// Opens the queue in `dir` with one bridge.
pub(crate) fn open(dir: &Path, durability: Durability, commit_within: Duration) -> anyhow::Result<Queue> {
    let config = config::Queue {
        path: dir.join("queue.db"),
        durability,
        commit_within,
        max_size: 8 << 30,
        ..config::Queue::default()
    };
    let consumer = Consumer { name: "cloud".to_owned(), forward: Forward::Own };
    Ok(Queue::open(&config, Topics::new("serialgate", "bench"), vec![consumer])?)
}

impl Ours {
    /// Opens the queue in `dir`, with a cloud that acknowledges after `answer`.
    pub(crate) fn open(
        dir: &Path,
        durability: Durability,
        commit_within: Duration,
        answer: Duration,
    ) -> anyhow::Result<Self> {
        let queue = open(dir, durability, commit_within)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        Ok(Self { outlet: queue.outlet(0), queue, runtime, answer, in_flight: VecDeque::new() })
    }

    /// Pushes `count` readings, one each `period`, while the bridge does its work; returns when all
    /// of them are safe.
    pub(crate) fn run(&mut self, source: &mut Source, period: Duration, count: u64) {
        let Self { queue, outlet, runtime, answer, in_flight } = self;
        runtime.block_on(async {
            let begun = Instant::now();
            let mut pushed = 0;
            loop {
                let next_push = begun + period * u32::try_from(pushed).unwrap_or(u32::MAX);
                let next_answer = in_flight.front().map(|(at, _)| *at);
                let room = in_flight.iter().map(|(_, positions)| positions.len()).sum::<usize>() < IN_FLIGHT;
                tokio::select! {
                    () = sleep_until(next_push), if pushed < count => {
                        queue.push(Body::Reading(source.next(boottime_us())));
                        pushed += 1;
                    }
                    () = outlet.ready(), if room => {
                        let taken = outlet.take(IN_FLIGHT);
                        let positions = taken.iter().map(|taken| taken.position).collect();
                        in_flight.push_back((Instant::now() + *answer, positions));
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
}
