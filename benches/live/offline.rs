//! What an outage costs the disk.

use serialgate::status::BridgeState;

use crate::lines::Lines;
use crate::players::{Gateway, free_port, wait_for};
use crate::scratch;
use crate::section::Short;
use crate::section::{Section, verdict};

const RATE_HZ: u32 = 100;
const TARGET_CPU_MS: f64 = 200.0;

pub(crate) fn measure(seconds: u32) -> anyhow::Result<Section> {
    let mut section = Section::new(
        "Outage",
        format!("{RATE_HZ} readings a second on one port for {seconds} seconds, cloud away."),
        ["", "", ""],
    );
    let dir = scratch()?;
    let mut lines = Lines::plug(dir.path(), 1)?;
    let gateway = Gateway::start(dir.path(), &lines.paths, "json, device_key: id", free_port()?)?;
    lines.wait_heard()?;
    gateway.wait_bridge(BridgeState::Backoff)?;
    lines.feed(RATE_HZ, 1)?;
    let safe = |sent: u64| {
        wait_for("commits", || {
            let queue = gateway.status()?.queue;
            Ok(queue.accepted >= sent && queue.volatile == 0)
        })
    };
    safe(lines.sent)?;
    let (queue, usage) = (gateway.status()?.queue, gateway.family.usage()?);
    lines.feed(RATE_HZ, seconds)?;
    safe(lines.sent)?;
    let (queue_after, usage_after) = (gateway.status()?.queue, gateway.family.usage()?);

    let readings = f64::from(RATE_HZ * seconds);
    let mut add = |what: &str, value: f64, word: String| {
        section.row([what.to_owned(), Short(value).to_string(), word]);
    };
    let cpu = usage_after.cpu_ms_since(&usage) * 1e3 / readings;
    add("CPU ms per 1000 readings", cpu, verdict(cpu <= TARGET_CPU_MS));
    let commits = queue_after.commits - queue.commits;
    add("commits/s", commits as f64 / f64::from(seconds), String::new());
    let counted = queue_after.flash_bytes - queue.flash_bytes;
    add("bytes written per reading, as the queue counts them", counted as f64 / readings, String::new());
    let seen = usage_after.written - usage.written;
    add("bytes written per reading, as the kernel counts them", seen as f64 / readings, String::new());
    let grown = queue_after.bytes.saturating_sub(queue.bytes);
    add("bytes of the file per reading", grown as f64 / readings, String::new());
    Ok(section)
}
