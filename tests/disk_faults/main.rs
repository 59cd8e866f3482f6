//! A disk that refuses.
//!
//! A scenario is done again and again; each time another one of its file calls fails, the first, the
//! second, and so on until the scenario ends before its turn comes. Once only that call fails, once all
//! from it on for a while. Whatever the call was, the queue lives on, loses nothing that it has
//! acknowledged, and its account is exact.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "tells how much was checked")]

#[path = "../interpose/mod.rs"]
#[expect(dead_code, reason = "what the other test needs")]
mod interpose;

mod inject;
mod scenario;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use tempfile::TempDir;

use inject::{Fault, Plan};
use scenario::{Begin, prepare, scenario};

/// How long the disk refuses, in calls, when it does not do so only once.
const SPELL: usize = 25;
/// More calls than a scenario has.
const CALLS_MAX: usize = 20_000;

/// In memory, where there is such a place.
fn fast_folder() -> PathBuf {
    let shm = PathBuf::from("/dev/shm");
    if fs::metadata(&shm).is_ok_and(|meta| meta.is_dir() && !meta.permissions().readonly()) {
        return shm;
    }
    std::env::temp_dir()
}

/// `DISK_FAULTS=Begin:Fault:calls:first` does one alone.
fn wanted(begin: Begin, plan: &Plan) -> bool {
    let name = format!("{begin:?}:{:?}:{}:{}", plan.fault, plan.calls, plan.first);
    std::env::var("DISK_FAULTS").is_ok_and(|wanted| wanted == name)
}

/// Lets each call of the scenario fail in turn, on all processors.
fn sweep(begin: Begin, fault: Fault, calls: usize, folder: &Path) -> (usize, Vec<String>) {
    // Spells overlap: each call fails in some run.
    let step = if calls == 1 { 1 } else { SPELL / 3 };
    let next = AtomicUsize::new(1);
    let end = AtomicUsize::new(CALLS_MAX);
    let failures = Mutex::new(Vec::new());
    let single = std::env::var_os("DISK_FAULTS").is_some();
    let work = || {
        loop {
            let first = next.fetch_add(step, Ordering::SeqCst);
            if first > end.load(Ordering::SeqCst) {
                return;
            }
            let plan = Plan { fault, first, calls };
            if single && !wanted(begin, &plan) {
                continue;
            }
            let done = std::panic::catch_unwind(|| scenario(begin, plan, folder));
            match done {
                Ok(true) => {}
                // It was over before.
                Ok(false) => {
                    end.fetch_min(first, Ordering::SeqCst);
                }
                Err(panic) => {
                    let word = panic.downcast_ref::<String>().cloned();
                    let word = word.or_else(|| panic.downcast_ref::<&str>().map(|word| (*word).to_owned()));
                    let name = format!("DISK_FAULTS={begin:?}:{fault:?}:{calls}:{first}");
                    let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
                    failures.push(format!("{name}: {}", word.unwrap_or_default()));
                    if failures.len() > 20 {
                        return;
                    }
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(work);
        }
    });
    (end.into_inner(), failures.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn every_call_fails(begin: Begin) {
    let folder = TempDir::new_in(fast_folder()).unwrap();
    prepare(folder.path());
    let single = std::env::var_os("DISK_FAULTS").is_some();
    let start = Instant::now();
    let mut runs = BTreeMap::new();
    let mut failures = Vec::new();
    for fault in [Fault::NoSpace, Fault::Io, Fault::ReadOnly, Fault::Short] {
        for calls in [1, SPELL] {
            let (n, failed) = sweep(begin, fault, calls, folder.path());
            assert!(n < CALLS_MAX || single, "the scenario never ends before its turn");
            runs.insert((format!("{fault:?}"), calls), n);
            failures.extend(failed);
        }
    }
    println!("{begin:?}: {runs:?} in {:.1} s", start.elapsed().as_secs_f64());
    assert!(failures.is_empty(), "{} runs:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn a_queue_lives_through_every_failing_call_of_its_first_day() {
    every_call_fails(Begin::Nothing);
}

#[test]
fn a_queue_lives_through_every_failing_call_of_its_work() {
    every_call_fails(Begin::Backlog);
}
