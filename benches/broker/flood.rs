//! Messages per second, and what each costs the broker.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Notify;
use tokio::task::LocalSet;

use crate::brokers::{Broker, Kind, PATIENCE};
use crate::section::{Section, Short, verdict};
use crate::wire::{Client, id_offset, publish};
use crate::{Scale, scratch};

/// CPU per message, as a part of mosquitto's.
const TARGET: f64 = 0.3;
/// Messages of QoS 1 that a publisher has unacknowledged.
const WINDOW: u32 = 50;
/// Messages of QoS 0 that a pair has on their way: fewer than any broker drops.
const AHEAD: u32 = 500;
const PAYLOAD: [u8; 100] = [b'x'; 100];

pub(crate) async fn measure(scale: Scale) -> anyhow::Result<Section> {
    let mut section = Section::new(
        "Throughput",
        format!(
            "Pairs of one publisher and one subscriber, each pair with a topic of its own. With QoS 1 a publisher has\n\
             {WINDOW} messages unacknowledged, with QoS 0 at most {AHEAD} on their way. {} messages a run, {} runs each.\n\
             Target: at most {TARGET} of mosquitto's CPU.",
            scale.messages, scale.rounds,
        ),
        ["pairs, QoS", "broker", "messages/s", "CPU s per 100 000", "ratio", ""],
    );
    for (pairs, qos) in [(1, 0), (1, 1), (10, 0), (10, 1)] {
        let kinds = [Kind::Serialgate, Kind::Mosquitto];
        let mut runs = [Vec::new(), Vec::new()];
        for _ in 0..scale.rounds {
            for (kind, runs) in kinds.into_iter().zip(&mut runs) {
                runs.push(run(kind, pairs, qos, scale.messages).await?);
            }
        }
        let [ours, theirs] = runs.map(|runs| Figures::of(&runs));
        let ratio = ours.cpu[1] / theirs.cpu[1];
        for (kind, figures) in kinds.into_iter().zip([&ours, &theirs]) {
            let is_ours = kind == Kind::Serialgate;
            section.row([
                if is_ours { format!("{pairs}, {qos}") } else { String::new() },
                kind.name().to_owned(),
                format!("{:.0}", figures.rate[1]),
                spread(figures.cpu),
                if is_ours { Short(ratio).to_string() } else { String::new() },
                if is_ours { verdict(ratio <= TARGET) } else { String::new() },
            ]);
        }
    }
    Ok(section)
}

/// Least, median and greatest of some runs.
struct Figures {
    rate: [f64; 3],
    cpu: [f64; 3],
}

impl Figures {
    fn of(runs: &[(Duration, f64, u32)]) -> Self {
        let spread = |value: &dyn Fn(&(Duration, f64, u32)) -> f64| {
            let mut values: Vec<f64> = runs.iter().map(value).collect();
            values.sort_by(f64::total_cmp);
            let at = |index: usize| values.get(index).copied().unwrap_or_default();
            [at(0), at(values.len() / 2), at(values.len() - 1)]
        };
        Self {
            rate: spread(&|(time, _, messages)| f64::from(*messages) / time.as_secs_f64()),
            cpu: spread(&|(_, cpu, messages)| cpu * 1e5 / f64::from(*messages)),
        }
    }
}

pub(crate) fn spread([least, median, greatest]: [f64; 3]) -> String {
    format!("{median:.3} [{least:.3}, {greatest:.3}]")
}

async fn run(kind: Kind, pairs: u32, qos: u8, messages: u32) -> anyhow::Result<(Duration, f64, u32)> {
    let dir = scratch()?;
    let broker = Broker::start(kind, dir.path(), "")?;
    // Both warm up: the first messages find buffers and caches empty.
    all_pairs(broker.port, pairs, qos, messages / pairs / 10).await?;
    let (cpu, start) = (broker.cpu()?, Instant::now());
    all_pairs(broker.port, pairs, qos, messages / pairs).await?;
    Ok((start.elapsed(), (broker.cpu()? - cpu).as_secs_f64(), messages))
}

/// Lets `pairs` send `each` messages, and waits until they have arrived.
pub(crate) async fn all_pairs(port: u16, pairs: u32, qos: u8, each: u32) -> anyhow::Result<()> {
    let set = LocalSet::new();
    let tasks: Vec<_> = (0..pairs).map(|pair| set.spawn_local(one_pair(port, pair, qos, each))).collect();
    let all = set.run_until(async {
        for task in tasks {
            task.await??;
        }
        anyhow::Ok(())
    });
    tokio::time::timeout(PATIENCE, all).await.context("messages are missing")?
}

async fn one_pair(port: u16, pair: u32, qos: u8, each: u32) -> anyhow::Result<()> {
    let topic = format!("load/{pair}");
    let mut subscriber = Client::connect(port, &format!("s{pair}")).await?;
    subscriber.subscribe(&topic, qos).await?;
    let mut publisher = Client::connect(port, &format!("p{pair}")).await?;
    let (arrived, progress) = (Rc::new(Cell::new(0)), Rc::new(Notify::new()));
    let receiving = {
        let (arrived, progress) = (Rc::clone(&arrived), Rc::clone(&progress));
        tokio::task::spawn_local(async move {
            let mut acks = Vec::new();
            while arrived.get() < each {
                subscriber
                    .read(|frame| {
                        if frame.first & 0xf0 == 0x30 {
                            arrived.set(arrived.get() + 1);
                            if let Some([high, low]) = frame.publish_id().filter(|_| qos > 0) {
                                acks.extend([0x40, 2, high, low]);
                            }
                        }
                    })
                    .await?;
                subscriber.stream.write_all(&acks).await?;
                acks.clear();
                progress.notify_one();
            }
            anyhow::Ok(())
        })
    };
    let message = publish(&topic, qos, false, &PAYLOAD);
    match qos {
        0 => publish_ahead(&mut publisher, &message, each, &arrived, &progress).await?,
        _ => publish_in_window(&mut publisher, &topic, &message, each).await?,
    }
    receiving.await?
}

async fn publish_ahead(
    publisher: &mut Client,
    message: &[u8],
    each: u32,
    arrived: &Cell<u32>,
    progress: &Notify,
) -> anyhow::Result<()> {
    let mut sent = 0;
    while sent < each {
        let room = (AHEAD + arrived.get() - sent).min(each - sent);
        if room == 0 {
            progress.notified().await;
            continue;
        }
        publisher.stream.write_all(&message.repeat(room as usize)).await?;
        sent += room;
    }
    Ok(())
}

async fn publish_in_window(
    publisher: &mut Client,
    topic: &str,
    message: &[u8],
    each: u32,
) -> anyhow::Result<()> {
    let (mut sent, mut acknowledged) = (0_u32, 0);
    let mut bytes = Vec::new();
    while acknowledged < each {
        while sent < each && sent - acknowledged < WINDOW {
            sent += 1;
            let at = bytes.len() + id_offset(topic);
            bytes.extend_from_slice(message);
            // Ids go round long after they are free again.
            bytes[at..at + 2].copy_from_slice(&u16::try_from(sent % 60_000 + 1)?.to_be_bytes());
        }
        publisher.stream.write_all(&bytes).await?;
        bytes.clear();
        publisher.read(|frame| acknowledged += u32::from(frame.first == 0x40)).await?;
    }
    Ok(())
}
