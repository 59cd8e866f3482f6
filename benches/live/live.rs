//! Readings as they come, with the cloud there: latency, CPU and memory, in turns with the plainest
//! thing that does something like it, a shell pipeline.

use std::fmt;

use serialgate::status::BridgeState;

use crate::idle::wire_boards;
use crate::lines::Lines;
use crate::players::{Cloud, Family, Gateway, pause, shell, wait_for};
use crate::process::Usage;
use crate::scratch;
use crate::section::Short;
use crate::section::{Section, verdict};
use crate::stats::{Runs, percentile};
use crate::subscriber::Subscriber;

/// Turns of each contender at each load.
const TURNS: usize = 3;
/// Readings go through for so long before it counts, in seconds.
const WARM_UP: u32 = 1;
const TARGET_P50_MS: f64 = 1.0;
const TARGET_P99_MS: f64 = 5.0;
const WIRE_PORTS: usize = 8;

#[derive(Clone, Copy, Debug)]
struct Load {
    ports: usize,
    rate_hz: u32,
    /// Our CPU time over the shell's may be this.
    bar: f64,
}

const LOADS: [Load; 3] = [
    Load { ports: 1, rate_hz: 100, bar: 1.1 },
    Load { ports: 1, rate_hz: 1000, bar: 1.0 },
    Load { ports: 8, rate_hz: 100, bar: 0.8 },
];

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} x {}/s", self.ports, self.rate_hz)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Contender {
    Serialgate,
    Shell,
}

/// What came out of several runs.
#[derive(Clone, Debug, Default)]
struct Results {
    cpu_ms_per_1000: Runs,
    p50_ms: Runs,
    p99_ms: Runs,
    max_ms: Runs,
    rss_mib: Runs,
    pss_mib: Runs,
    lost: u64,
    repeated: u64,
}

pub(crate) fn measure(cloud: &Cloud, seconds: u32) -> anyhow::Result<Section> {
    let mut section = Section::new(
        "Live",
        format!(
            "Lines of JSON of about 60 bytes. The shell is `(stty raw -echo; exec cat) <port | mosquitto_pub -l -q 1`\n\
             for each port: it parses, checks and stores nothing. Both take turns, {TURNS} each. Targets: p50 {TARGET_P50_MS} ms,\n\
             p99 {TARGET_P99_MS} ms, and the CPU time of the shell times the bar.",
        ),
        [
            "ports x rate",
            "",
            "CPU ms per 1000 readings",
            "p50 ms",
            "p99 ms",
            "max ms",
            "RSS MiB",
            "PSS MiB",
            "lost, repeated",
            "CPU ratio (bar)",
            "",
        ],
    );
    for load in LOADS {
        let [mut ours, mut shells] = [Results::default(), Results::default()];
        for _ in 0..TURNS {
            run(Contender::Serialgate, load, cloud, seconds, &mut ours)?;
            run(Contender::Shell, load, cloud, seconds, &mut shells)?;
        }
        let ratio = ours.cpu_ms_per_1000.median() / shells.cpu_ms_per_1000.median();
        let met = ours.p50_ms.median() <= TARGET_P50_MS
            && ours.p99_ms.median() <= TARGET_P99_MS
            && ratio <= load.bar
            && ours.lost == 0;
        let bar = format!("{ratio:.2} ({})", load.bar);
        section.row(row(load.to_string(), "serialgate", &ours, bar, verdict(met)));
        section.row(row(String::new(), "shell", &shells, String::new(), String::new()));
    }
    let wire = run_wire(cloud, seconds)?;
    section.row([
        format!("{WIRE_PORTS} x 100/s"),
        "serialgate, wire boards with acknowledgements".to_owned(),
        Short(wire).to_string(),
        String::new(),
        String::new(),
        String::new(),
        String::new(),
        String::new(),
        String::new(),
        String::new(),
        String::new(),
    ]);
    Ok(section)
}

fn row(load: String, who: &str, results: &Results, ratio: String, verdict: String) -> [String; 11] {
    let Results { cpu_ms_per_1000, p50_ms, p99_ms, max_ms, rss_mib, pss_mib, lost, repeated } = results;
    [
        load,
        who.to_owned(),
        cpu_ms_per_1000.to_string(),
        p50_ms.to_string(),
        p99_ms.to_string(),
        Short(max_ms.greatest()).to_string(),
        Short(rss_mib.greatest()).to_string(),
        Short(pss_mib.greatest()).to_string(),
        format!("{lost}, {repeated}"),
        ratio,
        verdict,
    ]
}

fn run(
    contender: Contender,
    load: Load,
    cloud: &Cloud,
    seconds: u32,
    results: &mut Results,
) -> anyhow::Result<()> {
    let dir = scratch()?;
    let subscriber = Subscriber::start(cloud.port)?;
    let mut lines = Lines::plug(dir.path(), load.ports)?;
    match contender {
        Contender::Serialgate => {
            let gateway = Gateway::start(dir.path(), &lines.paths, "json, device_key: id", cloud.port)?;
            lines.wait_heard()?;
            gateway.wait_bridge(BridgeState::Connected)?;
            through(&gateway.family, &mut lines, load, &subscriber, seconds, results)
        }
        Contender::Shell => {
            let shell = shell(&lines.paths, cloud.port)?;
            lines.wait_heard()?;
            through(&shell, &mut lines, load, &subscriber, seconds, results)
        }
    }
}

/// Sends readings through `family` and looks at what comes out.
fn through(
    family: &Family,
    lines: &mut Lines,
    load: Load,
    subscriber: &Subscriber,
    seconds: u32,
    results: &mut Results,
) -> anyhow::Result<()> {
    lines.feed(load.rate_hz, WARM_UP)?;
    subscriber.wait_count(usize::try_from(lines.sent)?)?;
    let (first, before) = (lines.sent, family.usage()?);
    lines.feed(load.rate_hz, seconds)?;
    let last = lines.sent;
    // What is missing after a long wait is lost, and is counted below.
    let _ = subscriber.wait_count(usize::try_from(last)?);
    let after = family.usage()?;
    results.note(&before, &after, subscriber, first..last);
    Ok(())
}

impl Results {
    fn note(
        &mut self,
        before: &Usage,
        after: &Usage,
        subscriber: &Subscriber,
        readings: std::ops::Range<u64>,
    ) {
        let sent = readings.end - readings.start;
        let arrivals = subscriber.arrivals();
        let came: Vec<_> = arrivals.iter().filter(|a| a.n.is_some_and(|n| readings.contains(&n))).collect();
        let mut latencies: Vec<i64> =
            came.iter().filter_map(|arrival| Some(arrival.came_us - arrival.sent_us?)).collect();
        latencies.sort_unstable();
        let latency_ms = |p| percentile(&latencies, p) as f64 / 1e3;
        let mut numbers: Vec<u64> = came.iter().filter_map(|arrival| arrival.n).collect();
        numbers.sort_unstable();
        numbers.dedup();
        self.cpu_ms_per_1000.push(after.cpu_ms_since(before) * 1e3 / sent as f64);
        self.p50_ms.push(latency_ms(50));
        self.p99_ms.push(latency_ms(99));
        self.max_ms.push(latency_ms(100));
        self.rss_mib.push(after.rss_mib());
        self.pss_mib.push(after.pss_mib());
        self.lost += sent - numbers.len() as u64;
        self.repeated += (came.len() - numbers.len()) as u64;
    }
}

/// Boards that speak wire v1 and want every reading acknowledged: CPU ms per 1000 readings.
fn run_wire(cloud: &Cloud, seconds: u32) -> anyhow::Result<f64> {
    let dir = scratch()?;
    let subscriber = Subscriber::start(cloud.port)?;
    let (_boards, paths) = wire_boards(dir.path(), WIRE_PORTS, "100")?;
    let gateway = Gateway::start(dir.path(), &paths, "wire", cloud.port)?;
    wait_for("readings of wire boards", || Ok(subscriber.count() > WIRE_PORTS * 100))?;
    let (count, before) = (subscriber.count(), gateway.family.usage()?);
    pause(std::time::Duration::from_secs(seconds.into()));
    let (count, after) = (subscriber.count() - count, gateway.family.usage()?);
    Ok(after.cpu_ms_since(&before) * 1e3 / count as f64)
}
