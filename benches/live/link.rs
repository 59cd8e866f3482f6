//! What a bridge does when its link comes back, when the gateway dies, and when it may not send much.

use std::io;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serialgate::clock::boottime_us;
use serialgate::status::BridgeState;

use crate::drain::fill;
use crate::lines::Lines;
use crate::players::{Cloud, Gateway, free_port, pause, wait_for};
use crate::scratch;
use crate::section::{Section, verdict};
use crate::stats::{Runs, percentile};
use crate::subscriber::Subscriber;

/// Outages, in milliseconds: no multiples of anything, lest a timer of ours just fits.
const OUTAGES_MS: [u64; 5] = [2300, 5100, 9700, 14_900, 20_300];
const TARGET_FIRST_S: f64 = 1.5;
const KILLS: usize = 3;
const BACKLOG: u64 = 100_000;
/// The gateway is killed when so many of them have arrived.
const KILLED_AT: usize = 40_000;
const TARGET_COPIES: f64 = 1000.0;
const RATE_PER_S: u32 = 200;
const LIVE_PER_S: u32 = 50;
const TARGET_LIVE_S: f64 = 1.0;

pub(crate) fn measure(cloud: &Cloud, seconds: u32) -> anyhow::Result<Section> {
    let mut section = Section::new(
        "Link",
        format!(
            "Outages of {OUTAGES_MS:?} ms; {KILLS} gateways killed with SIGKILL when {KILLED_AT} of {BACKLOG} readings of a backlog\n\
             had gone; a backlog and {LIVE_PER_S} live readings a second over a bridge with `rate: {RATE_PER_S}/s` and `order: live_first`."
        ),
        ["", "", "target", ""],
    );
    let mut add = |what: &str, value: String, target: String, met: bool| {
        section.row([what.to_owned(), value, target, verdict(met)]);
    };
    let mut first = Runs::default();
    for outage in OUTAGES_MS {
        first.push(after_outage(cloud, Duration::from_millis(outage))?);
    }
    let met = first.greatest() <= TARGET_FIRST_S;
    add(
        "s from the cloud's return to the first message",
        first.to_string(),
        format!("<= {TARGET_FIRST_S}"),
        met,
    );

    let mut copies = Runs::default();
    for _ in 0..KILLS {
        copies.push(copies_after_kill(cloud)?);
    }
    let met = copies.greatest() <= TARGET_COPIES;
    add("copies after a SIGKILL amid the drain", copies.to_string(), format!("<= {TARGET_COPIES}"), met);

    let (latencies, per_s) = live_at_a_rate(cloud, seconds)?;
    let p99 = percentile(&latencies, 99) as f64 / 1e6;
    add(
        "s p99 of live readings at that rate",
        format!("{p99:.3}"),
        format!("< {TARGET_LIVE_S}"),
        p99 < TARGET_LIVE_S,
    );
    let (low, high) = (f64::from(RATE_PER_S) * 0.9, f64::from(RATE_PER_S) * 1.1);
    add(
        "messages/s at that rate",
        format!("{per_s:.1}"),
        format!("{low} to {high}"),
        (low..=high).contains(&per_s),
    );
    Ok(section)
}

/// Seconds from the moment that the cloud takes connections again to the first message.
fn after_outage(cloud: &Cloud, outage: Duration) -> anyhow::Result<f64> {
    let dir = scratch()?;
    fill(dir.path(), 1000)?;
    let (subscriber, port) = (Subscriber::start(cloud.port)?, free_port()?);
    let gateway = Gateway::start(dir.path(), &[], "json", port)?;
    gateway.wait_bridge(BridgeState::Backoff)?;
    pause(outage);
    let back_us = boottime_us();
    let _relay = Relay::start(port, cloud.port)?;
    subscriber.wait_count(1)?;
    let first = subscriber.arrivals().first().copied().context("no message")?;
    Ok((first.came_us - back_us) as f64 / 1e6)
}

fn copies_after_kill(cloud: &Cloud) -> anyhow::Result<f64> {
    let dir = scratch()?;
    fill(dir.path(), BACKLOG)?;
    let subscriber = Subscriber::start(cloud.port)?;
    let gateway = Gateway::start(dir.path(), &[], "json", cloud.port)?;
    subscriber.wait_count(KILLED_AT)?;
    // Dropped is killed.
    drop(gateway);
    let _gateway = Gateway::start(dir.path(), &[], "json", cloud.port)?;
    let mut there = vec![false; usize::try_from(BACKLOG)?];
    let mut seen = 0;
    wait_for("all readings", || {
        for arrival in subscriber.arrivals().get(seen..).unwrap_or_default() {
            seen += 1;
            let n = arrival.n.and_then(|n| usize::try_from(n).ok());
            if let Some(place) = n.and_then(|n| there.get_mut(n)) {
                *place = true;
            }
        }
        Ok(there.iter().all(|there| *there))
    })?;
    Ok(subscriber.count() as f64 - BACKLOG as f64)
}

/// Latencies of live readings in microseconds, in order of size, and all messages per second.
fn live_at_a_rate(cloud: &Cloud, seconds: u32) -> anyhow::Result<(Vec<i64>, f64)> {
    let dir = scratch()?;
    fill(dir.path(), BACKLOG)?;
    let subscriber = Subscriber::start(cloud.port)?;
    let mut lines = Lines::plug(dir.path(), 1)?;
    // Their numbers go on where the backlog's end.
    lines.sent = BACKLOG;
    let keys = format!(", rate: {RATE_PER_S}/s, order: live_first");
    let gateway = Gateway::bridged(dir.path(), &lines.paths, "json, device_key: id", cloud.port, &keys)?;
    lines.wait_heard()?;
    gateway.wait_bridge(BridgeState::Connected)?;
    lines.feed(LIVE_PER_S, 1)?;
    let (begun_us, before) = (boottime_us(), subscriber.count());
    lines.feed(LIVE_PER_S, seconds)?;
    let per_s = (subscriber.count() - before) as f64 * 1e6 / (boottime_us() - begun_us) as f64;
    let mut latencies: Vec<i64> = Vec::new();
    wait_for("the live readings", || {
        let arrivals = subscriber.arrivals();
        let live = arrivals.iter().filter(|arrival| arrival.n.is_some_and(|n| n >= BACKLOG));
        latencies = live.filter_map(|arrival| Some(arrival.came_us - arrival.sent_us?)).collect();
        Ok(latencies.len() as u64 >= lines.sent - BACKLOG)
    })?;
    ensure!(gateway.status()?.queue.readings > 0, "the backlog is gone: nothing was measured");
    latencies.sort_unstable();
    Ok((latencies, per_s))
}

/// A port that leads to the cloud from its start to its end.
struct Relay {
    ends: Arc<AtomicBool>,
    port: u16,
}

impl Relay {
    fn start(port: u16, target: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        let ends = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&ends);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let cloud = TcpStream::connect((Ipv4Addr::LOCALHOST, target));
                let (false, Ok(cloud)) = (ended.load(Ordering::SeqCst), cloud) else { return };
                for (from, to) in [(&client, &cloud), (&cloud, &client)] {
                    if let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) {
                        let _ = to.set_nodelay(true);
                        std::thread::spawn(move || relay(from, to));
                    }
                }
            }
        });
        Ok(Self { ends, port })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        // So that it looks.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

fn relay(mut from: TcpStream, mut to: TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
}
