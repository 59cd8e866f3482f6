//! What the gateway costs while nothing comes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serialgate::status::BridgeState;

use crate::lines::Lines;
use crate::players::{Cloud, Family, Gateway, pause, serialgate, wait_for};
use crate::process::sleeps;
use crate::scratch;
use crate::section::Short;
use crate::section::{Section, verdict};

const PORTS: usize = 8;
/// What a start leaves to do is over by then.
const SETTLE: Duration = Duration::from_secs(3);
const TARGET_MS_PER_S: f64 = 0.5;
const TARGET_MIB: f64 = 12.0;

pub(crate) fn measure(cloud: &Cloud, seconds: u32) -> anyhow::Result<Section> {
    let mut section = Section::new(
        "Idle",
        format!(
            "{PORTS} ports open, bridge connected, nothing comes: {seconds} seconds after the gateway has settled.\n\
             Targets: {TARGET_MS_PER_S} ms of CPU per second, {TARGET_MIB} MiB resident.",
        ),
        ["", "CPU ms/s", "wake-ups/s", "RSS MiB", "PSS MiB", ""],
    );
    {
        let dir = scratch()?;
        let mut lines = Lines::plug(dir.path(), PORTS)?;
        let paths = lines.paths.clone();
        let listening = || lines.wait_heard();
        add(&mut section, "JSON, silent boards", dir.path(), &paths, "json", cloud, seconds, listening)?;
    }
    let dir = scratch()?;
    let (_boards, paths) = wire_boards(dir.path(), PORTS, "0.001")?;
    let nothing = || Ok(());
    add(&mut section, "wire, boards without readings", dir.path(), &paths, "wire", cloud, seconds, nothing)?;
    Ok(section)
}

#[expect(clippy::too_many_arguments, reason = "one row")]
fn add(
    section: &mut Section,
    what: &str,
    dir: &Path,
    paths: &[PathBuf],
    format: &str,
    cloud: &Cloud,
    seconds: u32,
    listening: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let gateway = Gateway::start(dir, paths, format, cloud.port)?;
    listening()?;
    gateway.wait_bridge(BridgeState::Connected)?;
    pause(SETTLE);
    let (before, slept) = (gateway.family.usage()?, sleeps(gateway.family.pid())?);
    pause(Duration::from_secs(seconds.into()));
    let (after, sleeps) = (gateway.family.usage()?, sleeps(gateway.family.pid())? - slept);
    let cpu = after.cpu_ms_since(&before) / f64::from(seconds);
    section.row([
        what.to_owned(),
        Short(cpu).to_string(),
        Short(sleeps as f64 / f64::from(seconds)).to_string(),
        Short(after.rss_mib()).to_string(),
        Short(after.pss_mib()).to_string(),
        verdict(cpu <= TARGET_MS_PER_S && after.rss_mib() <= TARGET_MIB),
    ]);
    Ok(())
}

/// Simulated wire boards, one port each.
pub(crate) fn wire_boards(dir: &Path, count: usize, rate_hz: &str) -> anyhow::Result<(Family, Vec<PathBuf>)> {
    let first = dir.join("board");
    let nth = |n| if n == 0 { first.clone() } else { dir.join(format!("board.{n}")) };
    let mut command = serialgate();
    command.arg("sim").arg("--link").arg(&first).args(["--format", "wire", "--wait", "--rate", rate_hz]);
    let boards = Family::spawn(command.args(["--devices", &count.to_string()]))?;
    let paths: Vec<PathBuf> = (0..count).map(nth).collect();
    wait_for("boards", || Ok(paths.iter().all(|path| path.exists())))?;
    Ok((boards, paths))
}
