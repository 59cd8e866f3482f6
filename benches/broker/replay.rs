//! Retained messages to a new subscriber.

use std::time::Instant;

use anyhow::Context as _;
use tokio::io::AsyncWriteExt as _;

use crate::brokers::{Broker, Kind, PATIENCE};
use crate::flood::spread;
use crate::section::{Section, verdict};
use crate::wire::{Client, publish};
use crate::{Scale, scratch};

const RETAINED: usize = 1000;

pub(crate) async fn measure(scale: Scale) -> anyhow::Result<Section> {
    let mut section = Section::new(
        "Retained messages",
        format!("A new client subscribes to `#` where {RETAINED} retained messages of 100 bytes are kept."),
        ["broker", "ms until all are there", "arrived", ""],
    );
    for kind in [Kind::Serialgate, Kind::Mosquitto] {
        let dir = scratch()?;
        let broker = Broker::start(kind, dir.path(), "")?;
        let mut publisher = Client::connect(broker.port, "p").await?;
        for n in 0..RETAINED {
            let message = publish(&format!("retained/{n}"), 0, true, &[b'x'; 100]);
            publisher.stream.write_all(&message).await?;
        }
        publisher.settle().await?;
        let (mut times, mut least) = (Vec::new(), RETAINED);
        for n in 0..scale.rounds {
            let mut subscriber = Client::connect(broker.port, &format!("s{n}")).await?;
            let start = Instant::now();
            subscriber.ask("retained/#", 0).await?;
            let mut arrived = 0;
            let all = async {
                while arrived < RETAINED {
                    subscriber.read(|frame| arrived += usize::from(frame.first & 0xf1 == 0x31)).await?;
                }
                anyhow::Ok(())
            };
            tokio::time::timeout(PATIENCE, all).await.context("retained messages are missing")??;
            times.push(start.elapsed().as_secs_f64() * 1e3);
            least = least.min(arrived);
        }
        times.sort_by(f64::total_cmp);
        let at = |index: usize| times.get(index).copied().unwrap_or_default();
        let times = spread([at(0), at(times.len() / 2), at(times.len() - 1)]);
        let met = if kind == Kind::Serialgate { verdict(least == RETAINED) } else { String::new() };
        section.row([kind.name().to_owned(), times, least.to_string(), met]);
    }
    Ok(section)
}
