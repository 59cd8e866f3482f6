//! How long a message takes while others publish as fast as they can.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::io::AsyncWriteExt as _;

use crate::brokers::{Broker, Kind, PATIENCE};
use crate::section::{Section, Short};
use crate::wire::{Client, publish};
use crate::{Scale, scratch};

/// Clients that never pause.
const FIREHOSES: usize = 3;
/// Between two messages of the probe.
const INTERVAL: Duration = Duration::from_millis(5);

pub(crate) async fn measure(scale: Scale) -> anyhow::Result<Section> {
    let probes = scale.messages / 400;
    let mut section = Section::new(
        "Fairness",
        format!(
            "{FIREHOSES} clients, in threads of their own, publish with QoS 0 as fast as the broker reads, to a topic with\n\
             one subscriber. A fourth client publishes to itself every {} ms, {probes} times: from its write to its read.",
            INTERVAL.as_millis()
        ),
        ["broker", "others", "p50 ms", "p99 ms", "max ms"],
    );
    for kind in [Kind::Serialgate, Kind::Mosquitto] {
        for firehoses in [0, FIREHOSES] {
            let dir = scratch()?;
            let broker = Broker::start(kind, dir.path(), "")?;
            let times = run(broker.port, firehoses, probes).await?;
            let [p50, p99, max] = [50, 99, 100].map(|p| Short(percentile(&times, p)).to_string());
            let others = if firehoses == 0 { "idle" } else { "full speed" };
            section.row([kind.name().to_owned(), others.to_owned(), p50, p99, max]);
        }
    }
    Ok(section)
}

async fn run(port: u16, firehoses: usize, probes: u32) -> anyhow::Result<Vec<f64>> {
    let mut probe = Client::connect(port, "probe").await?;
    probe.subscribe("probe", 0).await?;
    if firehoses > 0 {
        let mut reader = Client::connect(port, "reader").await?;
        reader.subscribe("flood", 0).await?;
        until_it_closes(reader, |stream| {
            let mut buffer = [0; 1 << 16];
            stream.read(&mut buffer).is_ok_and(|read| read > 0)
        })?;
    }
    let burst = publish("flood", 0, false, &[b'x'; 100]).repeat(500);
    for index in 0..firehoses {
        let (client, burst) = (Client::connect(port, &format!("firehose{index}")).await?, burst.clone());
        until_it_closes(client, move |stream| stream.write_all(&burst).is_ok())?;
    }
    let mut times = Vec::new();
    let message = publish("probe", 0, false, b"x");
    for _ in 0..probes {
        let start = Instant::now();
        probe.stream.write_all(&message).await?;
        tokio::time::timeout(PATIENCE, probe.read(|_| ())).await.context("the probe got nothing")??;
        times.push(start.elapsed().as_secs_f64() * 1e3);
        tokio::time::sleep(INTERVAL).await;
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}

/// Repeats `step` in a thread until it says `false`: when the broker has ended, at the latest.
fn until_it_closes(
    client: Client,
    mut step: impl FnMut(&mut TcpStream) -> bool + Send + 'static,
) -> anyhow::Result<()> {
    let mut stream = client.stream.into_std()?;
    stream.set_nonblocking(false)?;
    std::thread::spawn(move || while step(&mut stream) {});
    Ok(())
}

fn percentile(sorted: &[f64], p: usize) -> f64 {
    let rank = (sorted.len() * p).div_ceil(100).saturating_sub(1);
    sorted.get(rank).copied().unwrap_or_default()
}
