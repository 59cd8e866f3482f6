//! Links that are up and down by the clock, as at sea or on a metered line.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::proxy::{Proxy, Trouble};
use crate::site::{DEVICES, Site};
use crate::support::{Cloud, Log};
use crate::{MACHINE, PATIENCE, wanted};

/// How long a minute is here.
const MINUTE_MS: u32 = 300;
const MINUTE: Duration = Duration::from_millis(MINUTE_MS as u64);
/// Readings per second of each device.
const RATE: u32 = 30;
/// The bridge's window, in messages.
const WINDOW: u64 = 500;

/// Minutes.
#[derive(Clone, Copy)]
struct Profile {
    off: u32,
    on: u32,
    cycles: u32,
}

const PROFILES: [Profile; 5] = [
    Profile { off: 5, on: 5, cycles: 5 },
    Profile { off: 10, on: 10, cycles: 3 },
    Profile { off: 15, on: 15, cycles: 3 },
    Profile { off: 30, on: 30, cycles: 2 },
    Profile { off: 5, on: 20, cycles: 3 },
];

impl Profile {
    fn name(self) -> String {
        format!("{}-{}-{}", self.off, self.on, self.cycles)
    }

    /// Gives the site and the longest backlog.
    async fn run(self, cloud: SocketAddr) -> (Self, Site, u64) {
        let link = Proxy::to(cloud);
        let site = Site::start(&self.name(), link.address, |_| {});
        let cycles = async {
            let mut backlog = 0;
            for _ in 0..self.cycles {
                link.suffer(Trouble::Refuse(MINUTE * self.off)).await;
                backlog = backlog.max(site.queue.status().readings);
                sleep(MINUTE * self.on).await;
            }
            backlog
        };
        let backlog = site.feed(RATE, cycles).await;
        site.until_empty(PATIENCE).await;
        (self, site, backlog)
    }
}

#[tokio::test]
async fn every_profile_of_cycles_delivers_everything() {
    if !wanted("profiles") {
        return;
    }
    let _here = MACHINE.read().await;
    let dir = TempDir::new().unwrap();
    let cloud = Cloud::start(dir.path());
    let log = Log::of(dir.path(), cloud.port, "serialgate/#");
    let address = SocketAddr::from(([127, 0, 0, 1], cloud.port));
    let mut running = JoinSet::new();
    for profile in PROFILES {
        running.spawn(profile.run(address));
    }
    println!("off/on/cycles  readings delivered copies longest backlog");
    while let Some(ended) = running.join_next().await {
        let (profile, site, backlog) = ended.unwrap();
        site.until("the log", PATIENCE, |site| log.has(&site.ids())).await;
        let copies = site.check(&log.readings(), &BTreeSet::new());
        assert!(copies <= WINDOW * u64::from(profile.cycles), "{copies} copies");
        // Nothing flowed while it was off: half of what was said then is proof enough.
        let said = u64::from(MINUTE_MS * profile.off * RATE) * DEVICES / 1000;
        assert!(backlog > said / 2, "a backlog of {backlog} where {said} readings waited");
        let queue = site.queue.status();
        let (name, delivered) = (profile.name().replace('-', "/"), queue.delivered);
        println!("{name:14} {:8} {delivered:9} {copies:6} {backlog:15}", queue.accepted);
    }
}
