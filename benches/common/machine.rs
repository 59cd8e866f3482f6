//! What the kernel says of this machine, and how it says it.

use std::fs;

use anyhow::Context as _;

/// The machine in one line.
pub(crate) fn machine() -> anyhow::Result<String> {
    let cpus = fs::read_to_string("/proc/cpuinfo")?;
    let named = |name: &str| {
        let line = cpus.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    // On ARM it is the board that has a name.
    let model = named("model name").or_else(|| named("Model")).unwrap_or_else(|| "unknown CPU".to_owned());
    let cores = std::thread::available_parallelism()?;
    let memory = number_after(&fs::read_to_string("/proc/meminfo")?, "MemTotal:")?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let kernel = kernel.split('-').next().unwrap_or_default().trim();
    Ok(format!("{model}, {cores} cores, {:.0} GiB memory, Linux {kernel}", mib(memory) / 1024.0))
}

/// Processes that ran or wanted to, on average over the last minute.
pub(crate) fn load() -> anyhow::Result<f64> {
    let load = fs::read_to_string("/proc/loadavg")?;
    Ok(load.split_whitespace().next().unwrap_or_default().parse()?)
}

/// The number that stands behind `name`.
pub(crate) fn number_after(text: &str, name: &str) -> anyhow::Result<u64> {
    let rest = text.split_once(name).map(|(_, rest)| rest.trim_start());
    let digits = rest.and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
    digits.and_then(|digits| digits.parse().ok()).with_context(|| format!("no {name}"))
}

pub(crate) fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
