//! Memory: of the broker that nobody uses, and of clients that do nothing.

use std::time::Duration;

use crate::brokers::{Broker, Kind};
use crate::scratch;
use crate::section::{Section, Short, verdict};
use crate::wire::Client;

/// Idle clients, each with one subscription.
const CLIENTS: u32 = 450;
/// KiB over the program without listeners.
const TARGET_IDLE_KIB: f64 = 4096.0;
/// Bytes for each idle client.
const TARGET_CLIENT: f64 = 10_000.0;
/// What a start leaves to do is over by then.
const SETTLE: Duration = Duration::from_secs(2);
/// How long nothing must happen for nothing to be used.
const QUIET: Duration = Duration::from_secs(5);

pub(crate) async fn measure() -> anyhow::Result<Section> {
    let mut section = Section::new(
        "Idle",
        format!(
            "Resident memory without clients, and what each of {CLIENTS} idle clients with one subscription adds to it. CPU\n\
             over {} seconds with all of them. Targets: {} MiB over the program without listeners, {} kB a client.",
            QUIET.as_secs(),
            TARGET_IDLE_KIB / 1024.0,
            TARGET_CLIENT / 1000.0,
        ),
        ["", "RSS MiB", "own MiB", "bytes a client", "CPU ms/s", ""],
    );
    let mut without = 0.0;
    for kind in [Kind::WithoutBroker, Kind::Serialgate, Kind::Mosquitto] {
        let dir = scratch()?;
        let broker = Broker::start(kind, dir.path(), "")?;
        tokio::time::sleep(SETTLE).await;
        let (rss, idle) = (broker.rss_kib()? as f64, broker.anonymous_kib()? as f64);
        let mut clients = Vec::new();
        let count = if kind == Kind::WithoutBroker { 0 } else { CLIENTS };
        for n in 0..count {
            let mut client = Client::connect(broker.port, &format!("idle{n}")).await?;
            client.subscribe(&format!("idle/{n}/set"), 0).await?;
            clients.push(client);
        }
        let each = (broker.anonymous_kib()? as f64 - idle) * 1024.0 / f64::from(CLIENTS);
        tokio::time::sleep(SETTLE).await;
        let cpu = broker.cpu()?;
        tokio::time::sleep(QUIET).await;
        let cpu = (broker.cpu()? - cpu).as_secs_f64() * 1e3 / QUIET.as_secs_f64();
        let (clients, met) = match kind {
            Kind::WithoutBroker => {
                without = rss;
                (String::new(), String::new())
            }
            Kind::Serialgate => {
                let met = rss - without <= TARGET_IDLE_KIB && each <= TARGET_CLIENT;
                (format!("{each:.0}"), verdict(met))
            }
            Kind::Mosquitto => (format!("{each:.0}"), String::new()),
        };
        let [rss, own] = [rss, idle].map(|kib| format!("{:.2}", kib / 1024.0));
        section.row([kind.name().to_owned(), rss, own, clients, Short(cpu).to_string(), met]);
    }
    Ok(section)
}
