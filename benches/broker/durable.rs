//! Messages per second where each must outlive the broker: QoS 1, for sessions that last.

use std::cell::Cell;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::sync::Notify;
use tokio::task::{LocalSet, spawn_local};

use crate::brokers::{Broker, Kind, PATIENCE};
use crate::flood::{Figures, PAYLOAD, WINDOW, publish_in_window, receive, spread};
use crate::section::{Section, verdict};
use crate::wire::{Client, publish};
use crate::{Scale, scratch};

/// Messages per second.
const TARGET: f64 = 20_000.0;
/// Publishers, each with a subscriber of its own.
const PAIRS: u32 = 10;
/// Messages of a pair in one run: no more than may wait for one client.
const EACH: u32 = 10_000;
/// Room for all of them, which is more than the broker has by itself.
const KEYS: &str = ", limits: {queue: 64MiB, all_queues: 256MiB}";

/// Where the subscribers are meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subscribers {
    Away,
    There,
}

pub(crate) async fn measure(scale: Scale) -> anyhow::Result<Section> {
    let mut section = Section::new(
        "Durable messages",
        format!(
            "{PAIRS} publishers with {WINDOW} messages of QoS 1 unacknowledged, each with a subscriber of its own whose\n\
             session lasts. While those are away, each message is acknowledged once it is on the disk; while they are\n\
             there, once it is there or has been taken. {EACH} messages of each publisher a run, {} runs. Target: at\n\
             least {TARGET:.0} messages/s.",
            scale.rounds,
        ),
        ["subscribers", "messages/s", "CPU s per 100 000", "bytes written per message", ""],
    );
    for subscribers in [Subscribers::Away, Subscribers::There] {
        let (mut runs, mut written) = (Vec::new(), Vec::new());
        for _ in 0..scale.rounds {
            let (time, cpu, bytes) = run(subscribers).await?;
            runs.push((time, cpu, PAIRS * EACH));
            written.push(bytes);
        }
        written.sort_by(f64::total_cmp);
        let figures = Figures::of(&runs);
        let [least, median, greatest] = figures.rate;
        section.row([
            if subscribers == Subscribers::Away { "away" } else { "there" }.to_owned(),
            format!("{median:.0} [{least:.0}, {greatest:.0}]"),
            spread(figures.cpu),
            format!("{:.0}", written.get(written.len() / 2).copied().unwrap_or_default()),
            verdict(median >= TARGET),
        ]);
    }
    Ok(section)
}

async fn run(subscribers: Subscribers) -> anyhow::Result<(Duration, f64, f64)> {
    let dir = scratch()?;
    let broker = Broker::start(Kind::Serialgate, dir.path(), KEYS)?;
    let mut waiting = Vec::new();
    for pair in 0..PAIRS {
        let mut subscriber = Client::connect_to_stay(broker.port, &format!("s{pair}")).await?;
        subscriber.subscribe(&topic(pair), 1).await?;
        waiting.push(subscriber);
    }
    if subscribers == Subscribers::Away {
        waiting.clear();
    }
    let (cpu, written, start) = (broker.cpu()?, broker.written()?, Instant::now());
    let all = LocalSet::new();
    let receiving: Vec<_> = waiting
        .into_iter()
        .map(|client| {
            all.spawn_local(async move { receive(client, 1, EACH, &Cell::new(0), &Notify::new()).await })
        })
        .collect();
    let port = broker.port;
    let all = all.run_until(async {
        let publishing: Vec<_> = (0..PAIRS).map(|pair| spawn_local(send(port, pair))).collect();
        for task in publishing.into_iter().chain(receiving) {
            task.await??;
        }
        anyhow::Ok(())
    });
    tokio::time::timeout(PATIENCE, all).await.context("messages are missing")??;
    let time = start.elapsed();
    #[expect(clippy::cast_precision_loss, reason = "a figure to be read")]
    let bytes = (broker.written()? - written) as f64 / f64::from(PAIRS * EACH);
    Ok((time, (broker.cpu()? - cpu).as_secs_f64(), bytes))
}

async fn send(port: u16, pair: u32) -> anyhow::Result<()> {
    let topic = topic(pair);
    let mut publisher = Client::connect(port, &format!("p{pair}")).await?;
    publish_in_window(&mut publisher, &topic, &publish(&topic, 1, false, &PAYLOAD), EACH).await
}

fn topic(pair: u32) -> String {
    format!("load/{pair}")
}
