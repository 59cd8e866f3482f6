//! What is left of the queue after a power cut, and of the local broker's file ([`broker`]).
//!
//! Each workload is done once with the real code while its file calls are recorded. Then the power
//! is cut at thousands of moments: all that had been synced is on the disk, and of the rest any part
//! may be. The queue is opened again from each such disk and must have kept its promises.
//!
//! A failure names a state. `POWER_CUT=workload:seed:state cargo test --test power_cut` does that one
//! alone and leaves its files to be looked at.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "tells how much was checked")]

#[path = "../interpose/mod.rs"]
#[expect(dead_code, reason = "what the other test needs")]
mod interpose;

mod broker;
mod check;
mod disk;
mod lax;
mod profiles;
mod record;
mod workload;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use tempfile::TempDir;

use check::{Cut, Flaw, Known, describe};
use disk::{Disk, Survival};
use lax::Sync;
use profiles::{CONTROLS, PROFILES};
use record::Step;
use workload::{Profile, Trace};

const SEED: u64 = 20_261_126;
/// All power cuts of one run.
const STATES_MIN: usize = 10_000;
/// Nothing takes longer than this but a hang.
const PATIENCE: Duration = Duration::from_secs(30);
/// Cuts of each control.
const CONTROL_STATES: usize = 300;

/// A disk that is honest, or one that says that it has synced and has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Device {
    Honest,
    Lies,
}

/// All workloads, recorded one after the other because there is only one clock, before anything is
/// checked.
struct Recordings {
    sound: Vec<Trace>,
    normal: Vec<Trace>,
    off: Vec<Trace>,
    broker: broker::Trace,
    broker_normal: broker::Trace,
    _folder: TempDir,
}

static RECORDINGS: LazyLock<Recordings> = LazyLock::new(|| {
    let folder = TempDir::new_in(fast_folder()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let start = Instant::now();
    let record = |profiles: &[Profile], sync: Sync, within: &str| {
        let within = folder.path().join(within);
        lax::with(sync, || {
            let run = |profile: &Profile| runtime.block_on(workload::run(*profile, SEED, &within));
            profiles.iter().map(run).collect::<Vec<Trace>>()
        })
    };
    let record_broker = |sync: Sync, within: &str| {
        lax::with(sync, || runtime.block_on(broker::run(SEED, &folder.path().join(within))))
    };
    let recordings = Recordings {
        broker: record_broker(Sync::Full, "full"),
        broker_normal: record_broker(Sync::Normal, "normal"),
        sound: record(PROFILES, Sync::Full, "full"),
        normal: record(CONTROLS, Sync::Normal, "normal"),
        off: record(CONTROLS, Sync::Off, "off"),
        _folder: folder,
    };
    println!("recorded in {:.1} s", start.elapsed().as_secs_f64());
    recordings
});

/// In memory, where there is such a place: thousands of small files are written.
fn fast_folder() -> PathBuf {
    let shm = PathBuf::from("/dev/shm");
    if fs::metadata(&shm).is_ok_and(|meta| meta.is_dir() && !meta.permissions().readonly()) {
        return shm;
    }
    std::env::temp_dir()
}

/// One power cut: after which step, and what survives.
struct Plan {
    state: usize,
    step: usize,
    survival: Survival,
    /// Of those in order, the part that is lost, of a thousand.
    in_order: Option<usize>,
    rng: Rng,
}

/// `among`: the steps after which the power may go.
fn plan(seed: u64, among: RangeInclusive<usize>, state: usize, device: Device) -> Plan {
    let mut rng = Rng::with_seed(seed ^ (state as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    if state == 0 {
        // The end: nothing is lost.
        let survival = Survival { sectors: 1.0, names: 1.0, recent: usize::MAX, in_order: None };
        return Plan { state, step: *among.end(), survival, in_order: None, rng };
    }
    let step = rng.usize(among);
    let recent = match device {
        Device::Honest => usize::MAX,
        Device::Lies => rng.usize(5..400),
    };
    let chances = [0.05, 0.25, 0.5, 0.75, 0.95];
    let (sectors, names, in_order) = match rng.u8(0..8) {
        0 => (0.0, 0.0, None),
        1 => (1.0, 1.0, None),
        2 => (1.0, 1.0, Some(rng.usize(0..1000))),
        _ => (chances[rng.usize(0..chances.len())], [0.0, 0.5, 1.0][rng.usize(0..3)], None),
    };
    let survival = Survival { sectors, names, recent, in_order: None };
    Plan { state, step, survival, in_order, rng }
}

type Failures = Vec<(usize, Vec<Flaw>)>;

/// Cuts the power in some states of a workload. Gives those in which promises were broken.
fn cut(trace: &Trace, states: impl Iterator<Item = usize>, device: Device, scratch: &Path) -> Failures {
    let mut plans: Vec<Plan> =
        states.map(|state| plan(trace.seed, 1..=trace.steps.len(), state, device)).collect();
    plans.sort_by_key(|plan| plan.step);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let share = plans.len().div_ceil(threads).max(1);
    thread::scope(|scope| {
        let mut running = Vec::new();
        while !plans.is_empty() {
            let mine = plans.split_off(plans.len().saturating_sub(share));
            running.push(scope.spawn(move || cut_in_turn(trace, mine, device, scratch)));
        }
        running.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

/// `plans` in the order of their steps.
fn cut_in_turn(trace: &Trace, plans: Vec<Plan>, device: Device, scratch: &Path) -> Failures {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut disk = Disk::new(device == Device::Lies);
    let mut known = Known::default();
    let mut steps = trace.steps.iter().enumerate().peekable();
    let mut failures = Vec::new();
    for Plan { state, step, mut survival, in_order, mut rng } in plans {
        while let Some((_, next)) = steps.next_if(|(index, _)| *index < step) {
            disk.apply(next);
            if let Step::Mark(mark) = next {
                known.mark(*mark);
            }
        }
        survival.in_order = in_order.map(|thousandth| disk.pending() * thousandth / 1000);
        let files = disk.cut(&survival, &mut rng);
        let folder = scratch.join(format!("{}-{state}", trace.profile.name));
        fs::create_dir_all(&folder).unwrap();
        let keep = std::env::var_os("POWER_CUT").is_some();
        let cut = Cut {
            trace,
            known: &known,
            files: &files,
            complete: state == 0,
            twice: state.is_multiple_of(8),
            keep,
        };
        let flaws = runtime.block_on(cut.check(&folder));
        if !keep {
            remove(&folder);
        }
        if !flaws.is_empty() {
            failures.push((state, flaws));
        }
    }
    failures
}

/// Whoever brings back what a damaged file has may still be at work there.
fn remove(folder: &Path) {
    let start = Instant::now();
    while let Err(error) = fs::remove_dir_all(folder) {
        assert!(start.elapsed() < PATIENCE, "{}: {error}", folder.display());
        thread::yield_now();
    }
}

/// What is to be said of failures, the first few of them in full.
fn report(trace: &Trace, failures: &Failures) -> String {
    let mut text = String::new();
    for (state, flaws) in failures.iter().take(5) {
        let profile = trace.profile.name;
        writeln!(text, "POWER_CUT={profile}:{}:{state} ({} flaws)", trace.seed, flaws.len()).unwrap();
        for flaw in flaws.iter().take(5) {
            writeln!(text, "    {}", describe(trace, flaw)).unwrap();
        }
    }
    text
}

fn sound(name: &str) {
    if std::env::var_os("POWER_CUT").is_some() {
        return;
    }
    let trace = RECORDINGS.sound.iter().find(|trace| trace.profile.name == name).unwrap();
    let scratch = TempDir::new_in(fast_folder()).unwrap();
    let start = Instant::now();
    let failures = cut(trace, 0..trace.profile.states, Device::Honest, scratch.path());
    let states = trace.profile.states;
    println!(
        "{name}: {} steps, {} entries, {states} states, {:.0} a second",
        trace.steps.len(),
        trace.entries.len(),
        states as f64 / start.elapsed().as_secs_f64(),
    );
    assert_eq!(trace.full_syncs, 0, "{name}: a file was synced with fsync");
    assert!(
        failures.is_empty(),
        "{name}: {} of {states} states\n{}",
        failures.len(),
        report(trace, &failures)
    );
}

/// States of a control in which something is lost that was promised, and a word on the rest.
fn control(traces: &[Trace], device: Device, what: &str) -> usize {
    let scratch = TempDir::new_in(fast_folder()).unwrap();
    let mut lost = 0;
    for trace in traces {
        let failures = cut(trace, 0..CONTROL_STATES, device, scratch.path());
        let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, flaws) in &failures {
            let corrupt = flaws.iter().any(|flaw| matches!(flaw, Flaw::Corrupt(_)));
            let gone = flaws.iter().any(|flaw| matches!(flaw, Flaw::Lost { .. }));
            *kinds.entry("corrupt").or_default() += usize::from(corrupt);
            *kinds.entry("readings lost").or_default() += usize::from(gone);
        }
        println!(
            "{what}, {}: {} of {CONTROL_STATES} states fail, {kinds:?}",
            trace.profile.name,
            failures.len()
        );
        lost += failures.iter().filter(|(_, flaws)| flaws.iter().any(Flaw::is_loss)).count();
    }
    lost
}

/// One state, named by the failure of another run: with what went before, and its files kept.
fn single(state: &str) -> Option<()> {
    let mut parts = state.splitn(3, ':');
    let (name, seed, state) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let profile = PROFILES.iter().find(|profile| profile.name == name)?;
    let folder = TempDir::new_in(fast_folder()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let trace = runtime.block_on(workload::run(*profile, seed, folder.path()));
    let Plan { step, survival, in_order, .. } =
        plan(trace.seed, 1..=trace.steps.len(), state, Device::Honest);
    for (index, step) in trace.steps[..step].iter().enumerate().skip(step.saturating_sub(60)) {
        println!("{index}: {step}");
    }
    println!("power cut: {survival:?}, in order {in_order:?}");
    let scratch = TempDir::new_in(fast_folder()).unwrap();
    let failures = cut(&trace, std::iter::once(state), Device::Honest, scratch.path());
    println!("files in {}", scratch.keep().display());
    assert!(failures.is_empty(), "{}", report(&trace, &failures));
    Some(())
}

#[test]
fn one_state_alone_if_somebody_asks_for_it() {
    if let Ok(state) = std::env::var("POWER_CUT") {
        single(&state).expect("POWER_CUT=workload:seed:state");
    }
}

#[test]
fn there_are_enough_states() {
    let states: usize = PROFILES.iter().map(|profile| profile.states).sum();
    assert!(states >= STATES_MIN, "{states}");
}

#[test]
fn nothing_is_lost_with_one_bridge() {
    sound("plain");
}

#[test]
fn nothing_is_lost_while_the_file_is_made() {
    sound("creation");
}

#[test]
fn nothing_is_lost_with_two_bridges_and_acknowledgements_in_any_order() {
    sound("two_bridges");
}

#[test]
fn what_clouds_refuse_is_in_the_queue_or_among_the_dead_letters() {
    sound("dead_letters");
}

#[test]
fn nothing_is_lost_when_cursors_are_saved_by_themselves() {
    sound("saves");
}

#[test]
fn nothing_is_lost_when_most_is_delivered_before_it_is_committed() {
    sound("live");
}

#[test]
fn nothing_is_lost_when_the_log_is_written_back() {
    sound("checkpoints");
}

#[test]
fn what_a_full_queue_gives_up_is_counted() {
    sound("eviction");
}

#[test]
fn nothing_is_lost_when_a_full_queue_refuses() {
    sound("refusal");
}

#[test]
fn what_grows_too_old_is_counted() {
    sound("age");
}

#[test]
fn nothing_is_lost_over_restarts_of_daemon_and_machine() {
    sound("restarts");
}

#[test]
fn a_new_file_in_place_of_a_damaged_one_loses_nothing() {
    sound("quarantine");
}

#[test]
fn nothing_is_lost_when_all_is_committed_first() {
    sound("always");
}

#[test]
fn a_commit_that_is_not_synced_is_caught() {
    assert!(control(&RECORDINGS.normal, Device::Honest, "synchronous=NORMAL") > 0);
}

#[test]
fn a_file_that_is_never_synced_is_caught() {
    assert!(control(&RECORDINGS.off, Device::Lies, "synchronous=OFF") > 0);
}

#[test]
fn a_disk_that_lies_is_caught() {
    let plain = RECORDINGS.sound.iter().position(|trace| trace.profile.name == "plain").unwrap();
    assert!(control(&RECORDINGS.sound[plain..=plain], Device::Lies, "a disk that lies") > 0);
}
