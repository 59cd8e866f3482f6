//! The queue against a model, over crashes and reopenings, with the real file.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;
use uuid::Uuid;

mod operate;
mod trouble;

use super::core::{Core, SAVE_WITHIN_US};
use super::gaps::QUIET_US;
use super::job::{Job, Next, Outcome};
use super::store::{Done, KernelBoot, Limits, Store};
use super::types::{File, Full, Resume, Room, Safe, Settings, WhenFull};
use super::*;
use crate::clock::{Clock, Offset, Wall};
use crate::config;
use crate::reading::{
    EventKind, GapReason, Loss, Message, MessageId, Properties, Reading, Stamp, Value, Whose,
};

const OFFSET: Offset = Offset { us: 0, synced: true };

fn reading(seq: u32) -> Body {
    let uid = Uid::new(&[1, 2, 3, 4]).unwrap();
    Body::Reading(Reading {
        device: "board-0304".into(),
        id: MessageId::Board { uid, boot: 7, seq },
        seq: u64::from(seq),
        at: Stamp::this_boot(i64::from(seq)),
        values: vec![("temp".into(), Value::Decimal { mantissa: i64::from(seq) * 17, exponent: -2 })],
    })
}

fn seq_of(body: &Body) -> u32 {
    match body {
        Body::Reading(Reading { id: MessageId::Board { seq, .. }, .. }) => *seq,
        other => panic!("not one of our readings: {other:?}"),
    }
}

/// The core and the file, driven by hand: time stands still unless told.
struct Rig {
    dir: TempDir,
    settings: Settings,
    limits: Limits,
    core: Core<u32>,
    store: Option<Store>,
    now: i64,
    safe: BTreeSet<u32>,
    failures: u8,
    offset: Offset,
    kernel: &'static str,
}

const BRIDGES: usize = 2;

impl Rig {
    fn new(settings: Settings, limits: Limits) -> Self {
        let dir = TempDir::new().unwrap();
        let (core, store) = Self::open(&dir, settings, &limits, "boot 1");
        Self {
            dir,
            settings,
            limits,
            core,
            store: Some(store),
            now: 0,
            safe: BTreeSet::new(),
            failures: 0,
            offset: OFFSET,
            kernel: "boot 1",
        }
    }

    fn late() -> Self {
        Self::new(settings(false), limits())
    }

    fn open(dir: &TempDir, settings: Settings, limits: &Limits, kernel: &str) -> (Core<u32>, Store) {
        let names = ["a".to_owned(), "b".to_owned()];
        let kernel = KernelBoot { uuid: kernel.into(), row: None };
        let mut store = Store::open(&dir.path().join("q.db"), &names, limits.clone(), &kernel).unwrap();
        let found = store.found().unwrap();
        (Core::new(settings, Uuid::nil(), found), store)
    }

    fn grow_log(&self) {
        self.store.as_ref().unwrap().grow_log(&self.dir.path().join("q.db")).unwrap();
    }

    /// As after SIGKILL: what was not committed is gone.
    fn crash(&mut self) {
        self.store = None;
        let (core, store) = Self::open(&self.dir, self.settings, &self.limits, self.kernel);
        self.core = core;
        self.core.observe(File { bytes: store.used_bytes().unwrap(), ..File::default() }, self.now);
        self.store = Some(store);
    }

    /// As after a power cut: the machine starts again, and its clock at 0.
    fn reboot(&mut self, kernel: &'static str) {
        self.kernel = kernel;
        self.now = 0;
        self.crash();
    }

    /// What the storage thread does when it has nothing else to do.
    fn look_at_clock(&mut self) {
        if self.store.as_ref().unwrap().is_outdated(self.now, self.offset).unwrap() {
            self.core.save_soon(self.now);
        }
        self.work();
    }

    /// The wall time that would be published now for what waits for bridge 0, by number.
    fn walls(&mut self) -> Vec<(u64, Wall)> {
        let clock = Clock::default();
        let boots = self.store.as_ref().unwrap().boots.clone();
        clock.learn(boots.iter().map(|(row, boot)| (*row, boot.offset)));
        let mut walls = Vec::new();
        while self.core.has_entries(0) || self.pending_load() {
            self.work();
            for entry in self.core.take(0, 100, self.now, |_| true) {
                let Body::Reading(reading) = &*entry.body else { continue };
                walls.push((reading.seq, clock.wall(reading.at)));
            }
        }
        walls
    }

    fn push(&mut self, seq: u32, wants: u32) -> Result<(), Full> {
        let result = self.core.push(Arc::new(reading(seq)), wants, Some(seq), self.now);
        self.note_safe();
        result
    }

    fn note_safe(&mut self) {
        self.safe.extend(self.core.take_safe().into_iter().map(|(seq, _)| seq));
    }

    /// Does all jobs that are due.
    fn work(&mut self) {
        while let Next::Do(job) = self.core.next_job(self.now) {
            if self.failures > 0 {
                self.failures -= 1;
                self.core.finished(Outcome::Failed { job, error: "no".into() }, self.now);
                self.note_safe();
                continue;
            }
            self.perform(&job);
        }
    }

    fn perform(&mut self, job: &Job) {
        let store = self.store.as_mut().unwrap();
        let outcome = match job {
            Job::Compact => {
                store.compact().unwrap();
                Outcome::Compacted
            }
            Job::Open => Outcome::Opened { job: Job::Open, found: store.found().unwrap(), damage: None },
            Job::Commit { entries, save } => {
                let Done { last, evicted, full } =
                    store.commit(entries, save, self.now, self.offset).unwrap();
                Outcome::Committed { last, evicted, full }
            }
            Job::Save(save) => {
                let Done { last, evicted, full } = store.save(save, self.now, self.offset).unwrap();
                Outcome::Saved { last, evicted, full }
            }
            Job::Load { bridge, from } => {
                Outcome::Loaded { bridge: *bridge, loaded: store.load(*from).unwrap() }
            }
            Job::Operate { id, task } => Outcome::Operated { id: *id, work: store.operate(task, self.now) },
        };
        let (bytes, size) = (store.used_bytes().unwrap(), store.size_bytes().unwrap());
        self.core.finished(outcome, self.now);
        self.core.observe(File { bytes, size, ..File::default() }, self.now);
        self.note_safe();
    }

    /// Acknowledges between the beginning of a commit and its end.
    fn acknowledge_while_writing(&mut self, bridge: usize, acks: &[(u64, u32)], fails: bool) {
        self.now += 60_000_000;
        let job = match self.core.next_job(self.now) {
            Next::Do(job) => Some(job),
            Next::Wait | Next::WaitUntil(_) | Next::Stop => None,
        };
        for (position, _) in acks {
            self.core.done(bridge, *position, self.now);
        }
        self.note_safe();
        match job {
            Some(job) if fails => self.core.finished(Outcome::Failed { job, error: "no".into() }, self.now),
            Some(job) => self.perform(&job),
            None => {}
        }
        self.note_safe();
    }

    fn take(&mut self, bridge: usize, max: usize) -> Vec<(u64, u32)> {
        let mut all = Vec::new();
        while all.len() < max && self.core.has_entries(bridge) || self.pending_load() {
            self.work();
            let taken =
                self.core.take(bridge, max - all.len(), self.now, |body| !matches!(body, Body::Event(_)));
            if taken.is_empty() && !self.core.has_entries(bridge) && !self.pending_load() {
                break;
            }
            all.extend(taken.iter().map(|t| (t.position, seq_of(&t.body))));
        }
        all
    }

    /// Lets time pass until all gaps are told, and takes what bridge 0 is told of them.
    fn told(&mut self) -> Vec<Loss> {
        self.now += QUIET_US;
        self.work();
        let mut told = Vec::new();
        loop {
            self.work();
            let taken = self.core.take(0, 100, self.now, |_| true);
            if taken.is_empty() && !self.core.has_entries(0) && !self.pending_load() {
                return told;
            }
            for entry in taken {
                if let Body::Event(event) = &*entry.body
                    && let EventKind::Lost(loss) = &event.kind
                {
                    told.push(loss.clone());
                }
                self.core.done(0, entry.position, self.now);
            }
        }
    }

    fn pending_load(&self) -> bool {
        self.core.wake_at().is_some_and(|due| due <= self.now)
    }
}

/// The event that tells of readings made by [`reading`].
fn told_of((from_seq, to_seq): (u64, u64), lost: u64, reason: GapReason) -> Loss {
    let at = |seq: u64| Stamp::this_boot(i64::try_from(seq).unwrap());
    let of = Whose::Device { device: "board-0304".into(), from_seq, to_seq };
    Loss { of, span: Some((at(from_seq), at(to_seq))), lost, reason }
}

fn settings(commit_first: bool) -> Settings {
    Settings {
        commit_within_us: 250_000,
        commit_first,
        memory_bytes: 1 << 20,
        cache_bytes: if commit_first { 4096 } else { 0 },
        keep_oldest: None,
        event_wants: 0,
        live_first: 0,
    }
}

fn settings_for(limits: &Limits) -> Settings {
    let room = Room { bytes: limits.content_bytes(), readings: limits.max_readings };
    Settings { keep_oldest: (limits.when_full == WhenFull::DropNewest).then_some(room), ..settings(false) }
}

fn limits() -> Limits {
    Limits { max_bytes: 16 << 20, max_age_us: i64::MAX, max_readings: None, when_full: WhenFull::DropOldest }
}

#[test]
fn an_acknowledgement_in_time_spares_the_disk() {
    let mut rig = Rig::late();
    for seq in 0..10 {
        rig.push(seq, 1).unwrap();
    }
    for (position, _) in rig.take(0, 100) {
        rig.core.done(0, position, rig.now);
    }
    rig.note_safe();
    rig.now = 1_000_000;
    rig.work();
    assert_eq!(rig.safe.len(), 10);
    let status = rig.core.status(rig.now);
    assert_eq!((status.accepted, status.delivered, status.readings, status.commits), (10, 10, 0, 0));
}

#[test]
fn what_is_not_acknowledged_in_time_is_committed_together() {
    let mut rig = Rig::late();
    for seq in 0..10 {
        rig.push(seq, 1).unwrap();
        rig.now += 10_000;
    }
    rig.now = 249_999;
    rig.work();
    assert_eq!(rig.safe.len(), 0);
    rig.now = 250_000;
    rig.work();
    assert_eq!(rig.safe.len(), 10);
    let status = rig.core.status(rig.now);
    assert_eq!((status.volatile, status.readings, status.commits), (0, 10, 1));
    rig.crash();
    assert_eq!(rig.core.status(0).readings, 10);
    assert_eq!(rig.take(0, 100).iter().map(|t| t.1).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
}

#[test]
fn commit_first_hands_out_only_what_is_durable() {
    let mut rig = Rig::new(settings(true), limits());
    rig.push(0, 1).unwrap();
    assert_eq!(rig.take(0, 10), []);
    rig.now = 250_000;
    rig.work();
    assert_eq!(rig.take(0, 10).len(), 1);
    assert!(rig.safe.contains(&0));
}

#[test]
fn a_full_file_gives_up_the_oldest_and_the_account_stays_exact() {
    for max_bytes in [1 << 20, 16 << 20] {
        fill_up(max_bytes);
    }
}

fn fill_up(max_bytes: u64) {
    let limits = Limits { max_bytes, ..limits() };
    let mut rig = Rig::new(Settings { event_wants: 1, ..settings(false) }, limits);
    let text = "x".repeat(60_000);
    for seq in 0..600_u32 {
        let Body::Reading(mut reading) = reading(seq) else { unreachable!() };
        // Random text does not compress: the file fills up quickly.
        let noise: String = text.chars().map(|_| char::from(fastrand::u8(33..127))).collect();
        reading.values.push(("noise".into(), Value::Text(noise.into())));
        rig.core.push(Arc::new(Body::Reading(reading)), 1, Some(seq), rig.now).unwrap();
        rig.now += 300_000;
        rig.work();
    }
    let status = rig.core.status(rig.now);
    assert!(status.dropped.full > 300, "{status:?}");
    assert_eq!(status.accepted, 600);
    assert_eq!(status.accepted, status.delivered + status.dropped.total() + status.readings);
    let file = std::fs::metadata(rig.dir.path().join("q.db")).unwrap().len();
    let wal = std::fs::metadata(rig.dir.path().join("q.db-wal")).unwrap().len();
    assert!(file + wal <= max_bytes * 105 / 100, "file {file} + log {wal} of {max_bytes}");
    // The survivors are the newest, without a hole, and the gap events name the others.
    let mut seqs = Vec::new();
    let mut lost = 0;
    loop {
        rig.work();
        let taken = rig.core.take(0, 1000, rig.now, |_| true);
        if taken.is_empty() && !rig.core.has_entries(0) && !rig.pending_load() {
            break;
        }
        for entry in taken {
            match entry.body.as_ref() {
                Body::Reading(reading) => seqs.push(reading.seq),
                Body::Event(event) => match &event.kind {
                    crate::reading::EventKind::Lost(loss) => lost += loss.lost,
                    other => panic!("{other:?}"),
                },
                Body::Message(_) => unreachable!(),
            }
        }
    }
    let first = seqs[0];
    assert_eq!(seqs, (first..600).collect::<Vec<_>>());
    assert!(lost <= first, "{lost} told of {first}");
    assert!(status.dropped.full == first);
}

/// Bytes of the file and its log together.
fn size_on_disk(rig: &Rig) -> u64 {
    let size = |name| std::fs::metadata(rig.dir.path().join(name)).unwrap().len();
    size("q.db") + size("q.db-wal")
}

fn noise(bytes: usize) -> String {
    // Random text does not compress.
    (0..bytes).map(|_| char::from(fastrand::u8(33..127))).collect()
}

fn noisy(seq: u32, bytes: usize) -> Body {
    let Body::Reading(mut reading) = reading(seq) else { unreachable!() };
    reading.values.push(("noise".into(), Value::Text(noise(bytes).into())));
    Body::Reading(reading)
}

#[test]
fn the_files_never_outgrow_their_limit_whatever_comes() {
    for max_bytes in [1 << 20, 1_400_000, 3 << 20] {
        for when_full in [WhenFull::DropOldest, WhenFull::DropNewest, WhenFull::Thin] {
            outgrow(max_bytes, when_full);
        }
    }
}

fn outgrow(max_bytes: u64, when_full: WhenFull) {
    let memory_bytes = (8 << 20).min(usize::try_from(max_bytes / 4).unwrap());
    let limits = Limits { max_bytes, when_full, ..limits() };
    let settings = Settings { event_wants: 1, memory_bytes, ..settings_for(&limits) };
    let mut rig = Rig::new(settings, limits);
    rig.grow_log();
    let (mut seq, mut pushed, mut highest) = (0_u32, 0, 0);
    let mut rng = fastrand::Rng::with_seed(max_bytes);
    while pushed < max_bytes + (2 << 20) {
        // Many small ones, some large, now and then one that is as large as there may be, or a burst
        // because the disk was slow.
        let (times, bytes) = match rng.u8(0..100) {
            0..6 => (1, memory_bytes - 1000),
            6..10 => (1, rng.usize(1000..memory_bytes / 2)),
            10 => (200, rng.usize(0..memory_bytes / 200)),
            _ => (rng.usize(1..10), rng.usize(0..400)),
        };
        for _ in 0..times {
            let body = noisy(seq, bytes);
            pushed += bytes as u64 + 100;
            if rig.core.push(Arc::new(body), 1, Some(seq), rig.now).is_err() {
                rig.core.refuse(&reading(seq), rig.now);
            }
            seq += 1;
        }
        rig.now += 300_000;
        rig.work();
        highest = highest.max(size_on_disk(&rig));
        if rng.u16(0..100) == 0 {
            rig.now += SAVE_WITHIN_US;
            rig.work();
            rig.crash();
            rig.grow_log();
        }
        assert_ne!(rig.core.status(rig.now).state, crate::status::QueueState::Degraded);
        let ledger = rig.core.ledger();
        assert_eq!(ledger.accepted, u64::from(seq), "{ledger:?}");
        assert!(size_on_disk(&rig) <= max_bytes * 105 / 100, "{} of {max_bytes}", size_on_disk(&rig));
    }
    assert!(rig.core.ledger().dropped.full > 0, "{:?}", rig.core.ledger());
    assert!(highest > max_bytes / 2, "the room is used: {highest} of {max_bytes}");
}

#[test]
fn the_number_of_readings_has_a_limit_of_its_own() {
    for when_full in [WhenFull::DropOldest, WhenFull::DropNewest, WhenFull::Thin] {
        let limits = Limits { max_readings: Some(1000), when_full, ..limits() };
        let mut rig = Rig::new(Settings { event_wants: 1, ..settings_for(&limits) }, limits);
        for seq in 0..3000 {
            if rig.push(seq, 1).is_err() {
                rig.core.refuse(&reading(seq), rig.now);
            }
            rig.now += 30_000;
            rig.work();
            if seq % 500 == 499 {
                rig.now += SAVE_WITHIN_US;
                rig.work();
                rig.crash();
            }
            assert!(rig.core.ledger().waiting() <= 1000 + 16, "{:?}", rig.core.ledger());
        }
        let ledger = rig.core.ledger();
        assert_eq!((ledger.accepted, ledger.delivered), (3000, 0));
        assert!(ledger.waiting() >= 900 && ledger.dropped.full == 3000 - ledger.waiting(), "{ledger:?}");
        let seqs: Vec<u32> = rig.take(0, 10_000).iter().map(|t| t.1).collect();
        assert_eq!(seqs.len() as u64, ledger.waiting());
        match when_full {
            WhenFull::DropOldest => assert_eq!(seqs[0], 3000 - u32::try_from(ledger.waiting()).unwrap()),
            WhenFull::DropNewest => assert_eq!(seqs[900], 900),
            WhenFull::Thin => assert!(seqs[0] == 0 && *seqs.last().unwrap() == 2999),
        }
    }
}

#[test]
fn thinning_keeps_a_history_of_any_length_with_falling_resolution() {
    // One reading per chunk, as of a slow sensor; and many, as of fast ones.
    for per_chunk in [1_u32, 40] {
        thin_out(per_chunk);
    }
}

fn thin_out(per_chunk: u32) {
    let limits = Limits { max_readings: Some(1000), when_full: WhenFull::Thin, ..limits() };
    let mut rig = Rig::new(Settings { event_wants: 1, ..settings(false) }, limits);
    let last = 12_000;
    for seq in 0..=last {
        rig.push(seq, 1).unwrap();
        if seq % per_chunk == 0 {
            rig.now += 300_000;
            rig.work();
        }
        if seq % 1000 == 1 {
            rig.now += 300_000;
            rig.work();
            rig.crash();
        }
    }
    rig.now += 300_000;
    rig.work();
    let ledger = rig.core.ledger();
    let seqs: Vec<u32> = rig.take(0, 10_000).iter().map(|t| t.1).collect();
    assert_eq!(seqs.len() as u64, ledger.waiting());
    assert_eq!(ledger.accepted, u64::from(last) + 1);
    assert_eq!(ledger.dropped.full, ledger.accepted - ledger.waiting());
    assert!(ledger.waiting() > 650, "the room is used: {}", ledger.waiting());
    assert!(seqs.is_sorted());
    // Each age has its share, the less the older.
    let in_range = |from: u32, to: u32| seqs.iter().filter(|seq| (from..to).contains(seq)).count();
    let shares: Vec<usize> =
        [(0, 4_000), (4_000, 8_000), (8_000, 11_200), (11_200, 12_001)].map(|(a, b)| in_range(a, b)).into();
    assert!(shares.iter().all(|n| *n >= 30), "{shares:?}");
    // No hole is longer than a fraction of its age.
    for pair in seqs.windows(2) {
        let (hole, age) = (pair[1] - pair[0], last - pair[0]);
        assert!(hole <= age / 8 + 2 * per_chunk.max(2), "{pair:?} in {seqs:?}");
    }
    // All that is lost is told, and none twice.
    let told = rig.told();
    assert!(told.iter().map(|loss| loss.lost).sum::<u64>() <= ledger.dropped.full);
}

#[test]
fn thinning_spares_events_and_messages() {
    let limits = Limits { max_readings: Some(1000), when_full: WhenFull::Thin, ..limits() };
    let mut rig = Rig::new(settings(false), limits);
    let message = |n: u32| Message {
        topic: format!("m/{n}").into(),
        payload: b"x".to_vec().into(),
        qos: 1,
        retain: false,
        properties: Properties::default(),
    };
    for n in 0..4000 {
        if n % 20 == 0 {
            rig.core.push(Arc::new(Body::Message(message(n))), 1, None, rig.now).unwrap();
        } else {
            rig.push(n, 1).unwrap();
        }
        if n % 10 == 9 {
            rig.now += 300_000;
            rig.work();
        }
    }
    let mut messages = 0;
    while rig.core.has_entries(0) || rig.pending_load() {
        rig.work();
        let taken = rig.core.take(0, 1000, rig.now, |_| true);
        messages += taken.iter().filter(|t| matches!(*t.body, Body::Message(_))).count();
    }
    assert_eq!(messages, 200);
}

#[test]
fn what_is_thinned_while_it_is_in_flight_counts_once() {
    let limits = Limits { max_readings: Some(300), when_full: WhenFull::Thin, ..limits() };
    let mut rig = Rig::new(settings(false), limits);
    let mut flying = Vec::new();
    for seq in 0..600 {
        rig.push(seq, 1).unwrap();
        rig.now += 50_000;
        rig.work();
        // The other bridge wants none of it, so an acknowledgement settles it.
        while rig.core.has_entries(1) || rig.pending_load() {
            rig.work();
            assert_eq!(rig.core.take(1, 1000, rig.now, |_| false), []);
        }
        if seq == 250 {
            flying = rig.take(0, 150);
        }
    }
    assert!(rig.core.ledger().dropped.full > 0);
    for (position, _) in flying {
        rig.core.done(0, position, rig.now);
    }
    let rest = rig.take(0, 10_000);
    for (position, _) in rest {
        rig.core.done(0, position, rig.now);
    }
    for (position, _) in rig.take(1, 10_000) {
        rig.core.done(1, position, rig.now);
    }
    let ledger = rig.core.ledger();
    assert_eq!((ledger.accepted, ledger.waiting()), (600, 0), "{ledger:?}");
    assert_eq!(ledger.delivered + ledger.dropped.total(), 600, "{ledger:?}");
    rig.now += SAVE_WITHIN_US;
    rig.work();
    rig.crash();
    assert_eq!(rig.core.ledger().waiting(), 0);
}

#[test]
fn the_file_shrinks_after_a_big_drain() {
    let mut rig = Rig::late();
    for seq in 0..120 {
        let noise: String = (0..60_000).map(|_| char::from(fastrand::u8(33..127))).collect();
        let Body::Reading(mut reading) = reading(seq) else { unreachable!() };
        reading.values.push(("noise".into(), Value::Text(noise.into())));
        rig.core.push(Arc::new(Body::Reading(reading)), 1, None, rig.now).unwrap();
        rig.now += 300_000;
        rig.work();
    }
    let file = rig.dir.path().join("q.db");
    let size = || std::fs::metadata(&file).unwrap().len();
    rig.store.as_ref().unwrap().compact().unwrap();
    assert!(size() > 5 << 20, "{} bytes hold the backlog", size());
    for _ in 0..200 {
        for (position, _) in rig.take(0, 10) {
            rig.core.done(0, position, rig.now);
        }
        assert_eq!(rig.core.take(1, 1000, rig.now, |_| false), []);
        rig.now += SAVE_WITHIN_US;
        rig.work();
    }
    assert_eq!(rig.core.status(rig.now).readings, 0);
    assert!(size() < 100_000, "{} bytes for nothing", size());
    let log = std::fs::metadata(rig.dir.path().join("q.db-wal")).unwrap().len();
    assert!(log >= 4_000_000, "the log keeps its size, not {log}");
    rig.crash();
    rig.push(1000, 1).unwrap();
    assert_eq!(rig.take(0, 10).len(), 1);
}

#[test]
fn small_commits_share_a_row_and_come_back_one_by_one() {
    let mut rig = Rig::late();
    for seq in 0..1000 {
        rig.push(seq, 3).unwrap();
        rig.now += 250_000;
        rig.work();
        assert!(rig.safe.contains(&seq));
        // One bridge follows, the other one stays away.
        if seq % 3 == 0 {
            let taken = rig.take(0, 2);
            taken.iter().for_each(|(position, _)| rig.core.done(0, *position, rig.now));
        }
        if seq % 97 == 96 {
            rig.crash();
        }
    }
    let status = rig.core.status(rig.now);
    assert_eq!((status.readings, status.accepted), (1000, 1000));
    rig.store = None;
    let db = rusqlite::Connection::open(rig.dir.path().join("q.db")).unwrap();
    let (rows, n, total): (u32, u32, u32) = db
        .query_row("SELECT count(*), sum(n), max(total) FROM chunk", [], |r| {
            Ok((r.get(0)?, r.get(1)?, r.get(2)?))
        })
        .unwrap();
    assert!(rows < 40, "{rows} rows for {n} commits");
    assert_eq!((n, total), (1000, 1000));
    drop(db);
    rig.crash();
    assert_eq!(rig.take(1, 2000).iter().map(|t| t.1).collect::<Vec<_>>(), (0..1000).collect::<Vec<_>>());
}

#[test]
fn old_entries_expire_by_running_time() {
    let mut rig = Rig::new(settings(false), Limits { max_age_us: 10_000_000, ..limits() });
    rig.push(0, 1).unwrap();
    rig.now = 300_000;
    rig.work();
    rig.now = 20_000_000;
    rig.push(1, 1).unwrap();
    rig.now = 20_300_000;
    rig.work();
    let status = rig.core.status(rig.now);
    assert_eq!((status.dropped.expired, status.readings), (1, 1));
    assert_eq!(rig.take(0, 10).iter().map(|t| t.1).collect::<Vec<_>>(), [1]);
}

const YEAR_US: i64 = 365 * 86_400_000_000;

#[test]
fn steps_of_the_wall_clock_neither_expire_nor_reorder() {
    let mut rig = Rig::new(settings(false), Limits { max_age_us: 60_000_000, ..limits() });
    for (seq, years) in [(0, 0), (1, 56), (2, -30), (3, 56), (4, 1000), (5, 56)] {
        rig.offset = Offset { us: years * YEAR_US, synced: seq > 2 };
        rig.push(seq, 1).unwrap();
        rig.now += 300_000;
        rig.work();
        rig.look_at_clock();
        if seq == 3 {
            rig.crash();
        }
    }
    assert_eq!(rig.core.ledger().dropped.total(), 0);
    assert_eq!(rig.take(0, 10).iter().map(|t| t.1).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn age_goes_on_over_boots_whatever_the_wall_clock_says() {
    let mut rig = Rig::new(settings(false), Limits { max_age_us: 3_600_000_000, ..limits() });
    rig.push(0, 1).unwrap();
    rig.now = 300_000;
    rig.work();
    // It runs for 50 minutes in which nothing is written for a reading's sake.
    for minute in 1..=50 {
        rig.now = minute * 60_000_000;
        rig.look_at_clock();
    }
    rig.offset = Offset { us: -YEAR_US, synced: true };
    rig.reboot("boot 2");
    assert_eq!(rig.core.ledger().waiting(), 1);
    // Until its age is an hour, of which the file may have missed the last ten minutes.
    rig.now = 9 * 60_000_000;
    rig.push(1, 1).unwrap();
    rig.now += 300_000;
    rig.work();
    assert_eq!(rig.core.ledger().dropped.expired, 0);
    rig.now = 21 * 60_000_000;
    rig.look_at_clock();
    assert_eq!((rig.core.ledger().dropped.expired, rig.core.ledger().waiting()), (1, 1));
    // A boot in between that took nothing counts as far as it is known.
    rig.reboot("boot 3");
    rig.now = 300_000;
    rig.look_at_clock();
    rig.now = 30 * 60_000_000;
    rig.look_at_clock();
    rig.reboot("boot 4");
    rig.now = 25 * 60_000_000;
    rig.look_at_clock();
    assert_eq!((rig.core.ledger().dropped.expired, rig.core.ledger().waiting()), (2, 0));
}

#[test]
fn readings_from_before_the_first_time_sync_come_out_right_in_the_next_boot() {
    let mut rig = Rig::late();
    // A clock that was never set, then set: no reading comes any more.
    rig.offset = Offset { us: 5_000_000, synced: false };
    rig.push(7, 1).unwrap();
    rig.now = 300_000;
    rig.work();
    rig.offset = Offset { us: 56 * YEAR_US, synced: true };
    rig.now += 20_000_000;
    rig.look_at_clock();
    // Then the server is gone, and somebody sets the clock wrong: what was known stays.
    rig.offset = Offset { us: 0, synced: false };
    rig.now += 20_000_000;
    rig.look_at_clock();
    rig.reboot("boot 2");
    // In this boot the clock is never set.
    rig.offset = Offset { us: 2_000_000, synced: false };
    rig.push(8, 1).unwrap();
    rig.now = 300_000;
    rig.work();
    rig.reboot("boot 3");
    let at =
        |offset: i64, seq: i64, estimated| (seq.unsigned_abs(), Wall { unix_us: offset + seq, estimated });
    assert_eq!(rig.walls(), [at(56 * YEAR_US, 7, false), at(2_000_000, 8, true)]);
}

#[test]
fn what_the_cloud_refuses_is_dropped_and_told_of() {
    let mut rig = Rig::new(Settings { event_wants: 1, ..settings(false) }, limits());
    for seq in 0..3 {
        rig.push(seq, 1).unwrap();
    }
    for entry in rig.core.take(0, 3, 0, |_| true) {
        match seq_of(&entry.body) {
            1 => rig.core.refused(0, entry.position, &entry.body, 0),
            _ => rig.core.done(0, entry.position, 0),
        }
    }
    rig.note_safe();
    assert_eq!(rig.safe.len(), 3, "a board need not keep what no cloud will ever take");
    let ledger = rig.core.ledger();
    assert_eq!((ledger.accepted, ledger.delivered, ledger.dropped.refused, ledger.waiting()), (3, 2, 1, 0));
    assert_eq!(rig.told(), [told_of((1, 1), 1, GapReason::Refused)]);
}

#[test]
fn a_queue_that_stays_full_tells_of_one_gap_per_device_and_minute() {
    let mut rig = Rig::new(Settings { event_wants: 1, memory_bytes: 40_000, ..settings(false) }, limits());
    let mut refused = 0;
    for seq in 0..300 {
        rig.failures = 1;
        if rig.push(seq, 1).is_err() {
            rig.core.refuse(&reading(seq), rig.now);
            refused += 1;
        }
        rig.now += 10_000;
    }
    assert!(refused > 10);
    rig.failures = 0;
    rig.now += 60_000_000;
    rig.work();
    let told = rig.told();
    assert_eq!(told, [told_of((300 - refused, 299), refused, GapReason::Full)]);
    assert_eq!(rig.core.ledger().dropped.full, refused);
}

#[test]
fn lost_messages_of_lan_clients_are_told_by_topic() {
    let mut rig = Rig::new(Settings { event_wants: 1, ..settings(false) }, limits());
    let message = |topic: &str| {
        Body::Message(Message {
            topic: topic.into(),
            payload: b"x".to_vec().into(),
            qos: 0,
            retain: false,
            properties: Properties::default(),
        })
    };
    for topic in ["a", "b", "a"] {
        rig.core.refuse(&message(topic), rig.now);
    }
    let loss = |topic: &str, lost| Loss {
        of: Whose::Topic(topic.into()),
        span: None,
        lost,
        reason: GapReason::Full,
    };
    assert_eq!(rig.told(), [loss("a", 2), loss("b", 1)]);
    assert_eq!((rig.core.ledger().accepted, rig.core.ledger().dropped.full), (3, 3));
}

#[test]
fn memory_is_bounded_when_the_disk_refuses() {
    let mut rig = Rig::late();
    let mut taken = 0;
    while rig.push(taken, 1).is_ok() {
        taken += 1;
        if rig.now == 0 && rig.core.wake_at() == Some(i64::MIN) {
            rig.now = 1;
        }
        if let Next::Do(job) = rig.core.next_job(rig.now) {
            rig.core.finished(Outcome::Failed { job, error: "no space".into() }, rig.now);
        }
        assert!(taken < 1_000_000);
    }
    let status = rig.core.status(rig.now);
    assert_eq!(status.state, crate::status::QueueState::Degraded);
    assert_eq!((status.accepted, status.readings, rig.safe.len()), (u64::from(taken), u64::from(taken), 0));
    // A source that cannot repeat itself: dropped and counted.
    rig.core.refuse(&reading(taken), rig.now);
    assert_eq!(rig.core.status(rig.now).dropped.full, 1);
    // The disk is back: everything is committed, nothing was lost.
    rig.now = 60_000_000;
    rig.work();
    assert_eq!(rig.safe.len(), taken as usize);
    assert_eq!(rig.core.status(rig.now).state, crate::status::QueueState::Ok);
}

#[test]
fn boards_resume_where_the_committed_readings_end() {
    let mut rig = Rig::late();
    let uid = Uid::new(&[1, 2, 3, 4]).unwrap();
    rig.core.set_resume(&uid, 7, Resume { next: 0, dropped: 3 }, 0);
    for seq in 0..5 {
        rig.push(seq, 1).unwrap();
    }
    rig.now = 250_000;
    rig.work();
    rig.push(5, 1).unwrap();
    assert_eq!(rig.core.resume(&uid, 7), Some(Resume { next: 6, dropped: 3 }));
    rig.crash();
    assert_eq!(rig.core.resume(&uid, 7), Some(Resume { next: 5, dropped: 3 }));
}

#[test]
fn boards_numbers_are_found_in_the_chunks_that_no_save_has_covered() {
    let uid = Uid::new(&[1, 2, 3, 4]).unwrap();
    let mut rig = Rig::late();
    rig.core.set_resume(&uid, 7, Resume { next: 0, dropped: 3 }, 0);
    for seq in 0..50 {
        rig.push(seq, 3).unwrap();
        rig.now += 250_000;
        rig.work();
        // Delivered at once, so that the chunk itself could go.
        for bridge in 0..BRIDGES {
            for (position, _) in rig.take(bridge, 100) {
                rig.core.done(bridge, position, rig.now);
            }
        }
        rig.crash();
        assert_eq!(rig.core.resume(&uid, 7), Some(Resume { next: seq + 1, dropped: 3 }));
    }
}

#[test]
fn a_save_between_commits_does_not_speak_of_readings_that_are_not_durable() {
    let uid = Uid::new(&[1, 2, 3, 4]).unwrap();
    let mut rig = Rig::new(Settings { commit_within_us: 60_000_000, ..settings(false) }, limits());
    for seq in 0..10 {
        rig.push(seq, 1).unwrap();
    }
    rig.now = 60_000_000;
    rig.work();
    for (position, _) in rig.take(0, 5) {
        rig.core.done(0, position, rig.now);
    }
    rig.push(10, 1).unwrap();
    rig.now += SAVE_WITHIN_US;
    rig.work();
    assert!(!rig.safe.contains(&10));
    rig.crash();
    assert_eq!(rig.core.resume(&uid, 7).map(|resume| resume.next), Some(10));
}

#[test]
fn a_damaged_chunk_is_counted_and_does_not_stop_the_rest() {
    let mut rig = Rig::new(Settings { event_wants: 1, ..settings(false) }, limits());
    for seq in 0..30 {
        rig.push(seq, 1).unwrap();
        if seq % 10 == 9 {
            rig.now += 300_000;
            rig.work();
            // What comes next gets a row of its own.
            rig.crash();
        }
    }
    rig.store = None;
    let db = rusqlite::Connection::open(rig.dir.path().join("q.db")).unwrap();
    assert_eq!(db.execute("UPDATE chunk SET data = zeroblob(100) WHERE id = 10", []).unwrap(), 1);
    drop(db);
    rig.crash();
    let seqs: Vec<u32> = rig.take(0, 100).iter().map(|t| t.1).collect();
    assert_eq!(seqs, (0..10).chain(20..30).collect::<Vec<_>>());
    let status = rig.core.status(rig.now);
    assert_eq!((status.dropped.corrupt, status.readings, status.accepted), (10, 20, 30));
    let unknown = Loss { of: Whose::Unknown, span: None, lost: 10, reason: GapReason::Corrupt };
    assert_eq!(rig.told(), [unknown]);
    rig.crash();
    assert_eq!(rig.core.status(rig.now).readings, 20);
}

/// A rig in which bridge 0 gets what is live first.
fn live_first(limits: Limits) -> Rig {
    Rig::new(Settings { live_first: 1, ..settings(false) }, limits)
}

/// Pushes `n` readings for bridge 0, a few per commit, and commits them.
fn fill(rig: &mut Rig, seqs: std::ops::Range<u32>) {
    for seq in seqs {
        rig.push(seq, 1).unwrap();
        if seq % 50 == 49 {
            rig.now += 300_000;
            rig.work();
        }
    }
    rig.now += 300_000;
    rig.work();
}

/// Takes up to `max` for bridge 0 and acknowledges it at once; tells whether each was late.
fn take_and_ack(rig: &mut Rig, max: usize) -> Vec<(u32, bool)> {
    let mut all = Vec::new();
    for _ in 0..50 {
        let taken = rig.core.take(0, max - all.len(), rig.now, |_| true);
        for entry in &taken {
            rig.core.done(0, entry.position, rig.now);
        }
        all.extend(taken.iter().map(|entry| (seq_of(&entry.body), entry.late)));
        if all.len() >= max {
            break;
        }
        rig.core.has_entries(0);
        rig.work();
    }
    rig.core.take(1, 10_000, rig.now, |_| false);
    all
}

#[test]
fn live_readings_go_first_and_the_backlog_keeps_its_share() {
    let mut rig = live_first(limits());
    fill(&mut rig, 0..2000);
    let (mut seq, mut all) = (2000, Vec::new());
    // More comes in than the link takes.
    for _ in 0..50 {
        for _ in 0..20 {
            rig.push(seq, 1).unwrap();
            seq += 1;
        }
        all.extend(take_and_ack(&mut rig, 10));
        rig.now += 10_000;
        rig.work();
    }
    let late = all.iter().filter(|(_, late)| *late).count();
    assert!((140..=160).contains(&late), "{late} of {}", all.len());
    for which in [false, true] {
        let seqs: Vec<u32> = all.iter().filter(|(_, late)| *late == which).map(|(seq, _)| *seq).collect();
        assert!(seqs.is_sorted(), "in order among themselves: {seqs:?}");
    }
    // Nothing live any more: all of it is for the backlog, and nothing comes twice.
    rig.now += 300_000;
    rig.work();
    let mut seen: Vec<u32> = all.iter().map(|(seq, _)| *seq).collect();
    loop {
        let more = take_and_ack(&mut rig, 100);
        if more.is_empty() {
            break;
        }
        assert!(more.iter().all(|(_, late)| *late));
        seen.extend(more.iter().map(|(seq, _)| *seq));
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..seq).collect::<Vec<_>>());
    assert_eq!(rig.core.ledger().waiting(), 0);
}

#[test]
fn a_crash_does_not_send_hours_of_live_readings_twice() {
    let mut rig = live_first(limits());
    fill(&mut rig, 0..3000);
    let mut acked = BTreeSet::new();
    let mut live = 3000;
    for round in 0..60 {
        for _ in 0..50 {
            rig.push(live, 1).unwrap();
            live += 1;
        }
        // Some are committed before they are taken.
        if round % 7 == 0 {
            rig.now += 300_000;
            rig.work();
        }
        acked.extend(take_and_ack(&mut rig, 80).iter().map(|(seq, _)| *seq));
        rig.now += 300_000;
        rig.work();
    }
    rig.now += SAVE_WITHIN_US;
    rig.work();
    let waiting = rig.core.ledger().waiting();
    assert_eq!(waiting, u64::from(live) - acked.len() as u64);
    let store = rig.store.as_ref().unwrap();
    assert!(store.kept_ranges() > 0 && store.kept_ranges() <= 64, "{} ranges", store.kept_ranges());
    rig.crash();
    let after = rig.core.ledger();
    assert_eq!(after.accepted, after.delivered + after.dropped.total() + after.waiting());
    assert!(after.waiting() - waiting <= 500, "{} waited, {} wait now", waiting, after.waiting());
    let (mut again, mut all) = (0, acked.clone());
    loop {
        let more = take_and_ack(&mut rig, 100);
        if more.is_empty() {
            break;
        }
        again += more.iter().filter(|(seq, _)| acked.contains(seq)).count();
        all.extend(more.iter().map(|(seq, _)| *seq));
    }
    assert!(again <= 500, "{again} twice");
    assert_eq!(all.into_iter().collect::<Vec<_>>(), (0..live).collect::<Vec<_>>());
    rig.now += SAVE_WITHIN_US;
    rig.work();
    assert_eq!((rig.core.ledger().waiting(), rig.store.as_ref().unwrap().kept_ranges()), (0, 0));
}

#[test]
fn a_position_that_any_bridge_was_done_with_is_never_given_away_again() {
    let mut rig = live_first(limits());
    fill(&mut rig, 0..200);
    for seq in 200..350 {
        rig.push(seq, 1).unwrap();
    }
    // All live ones are delivered from memory: they stand in no chunk.
    let taken = rig.core.take(0, 150, rig.now, |_| true);
    assert!(taken.iter().all(|entry| !entry.late) && taken.len() == 150);
    taken.iter().for_each(|entry| rig.core.done(0, entry.position, rig.now));
    rig.core.save_soon(rig.now);
    while let Next::Do(job) = rig.core.next_job(rig.now) {
        rig.perform(&job);
    }
    rig.crash();
    fill(&mut rig, 400..420);
    let mut seen = BTreeSet::new();
    loop {
        let more = take_and_ack(&mut rig, 100);
        if more.is_empty() {
            break;
        }
        seen.extend(more.iter().map(|(seq, _)| *seq));
    }
    assert!((400..420).all(|seq| seen.contains(&seq)), "{seen:?}");
}

#[derive(Clone, Debug)]
enum Op {
    Push { wants: u32, n: u8 },
    Take { bridge: usize, n: u8 },
    Ack { bridge: usize, pick: u8, n: u8 },
    Rewind { bridge: usize },
    Wait { ms: u16 },
    AckWhileWriting { bridge: usize, fails: bool },
    DiskFails { jobs: u8 },
    Crash,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (1..4_u32, 1..20_u8).prop_map(|(wants, n)| Op::Push { wants, n }),
        3 => (0..BRIDGES, 1..30_u8).prop_map(|(bridge, n)| Op::Take { bridge, n }),
        4 => (0..BRIDGES, any::<u8>(), 1..30_u8).prop_map(|(bridge, pick, n)| Op::Ack { bridge, pick, n }),
        1 => (0..BRIDGES).prop_map(|bridge| Op::Rewind { bridge }),
        3 => (0..2000_u16).prop_map(|ms| Op::Wait { ms }),
        1 => (0..BRIDGES, any::<bool>()).prop_map(|(bridge, fails)| Op::AckWhileWriting { bridge, fails }),
        1 => (1..4_u8).prop_map(|jobs| Op::DiskFails { jobs }),
        1 => Just(Op::Crash),
    ]
}

/// What must hold, seen from outside.
#[derive(Default)]
struct Model {
    wants: BTreeMap<u32, u32>,
    acked: [BTreeSet<u32>; BRIDGES],
    out: [Vec<(u64, u32)>; BRIDGES],
    last: [[Option<u64>; 2]; BRIDGES],
}

impl Model {
    fn open(&self) -> u64 {
        let all_acked = |(seq, wants): &(&u32, &u32)| {
            (0..BRIDGES).all(|b| **wants & (1 << b) == 0 || self.acked[b].contains(*seq))
        };
        self.wants.iter().filter(|entry| !all_acked(entry)).count() as u64
    }
}

fn wants_of(model: &Model, bridge: usize, seq: u32) -> bool {
    model.wants.get(&seq).is_some_and(|wants| wants & (1 << bridge) != 0)
}

fn play(mut rig: Rig, ops: Vec<Op>) {
    let mut model = Model::default();
    let mut seq = 0;
    let mut crashed = false;
    for op in ops {
        match op {
            Op::Push { wants, n } => {
                for _ in 0..n {
                    rig.push(seq, wants).unwrap();
                    model.wants.insert(seq, wants);
                    seq += 1;
                }
            }
            Op::Take { bridge, n } => {
                for (position, seq, late) in take_wanted(&mut rig, &model, bridge, usize::from(n)) {
                    let twice = model.out[bridge].iter().any(|(out, _)| *out == position);
                    assert!(!twice, "{seq} handed out twice");
                    // With `live_first`, order holds among what is live and among the rest.
                    let head = usize::from(late && rig.settings.live_first & (1 << bridge) != 0);
                    let last = &mut model.last[bridge][head];
                    assert!(last.is_none_or(|last| last < position), "out of order");
                    *last = Some(position);
                    assert!(crashed || !model.acked[bridge].contains(&seq), "{seq} handed out after its ack");
                    model.out[bridge].push((position, seq));
                }
            }
            Op::Ack { bridge, pick, n } => {
                for _ in 0..usize::from(n).min(model.out[bridge].len()) {
                    let index = usize::from(pick) % model.out[bridge].len();
                    let (position, seq) = model.out[bridge].remove(index);
                    rig.core.done(bridge, position, rig.now);
                    rig.note_safe();
                    model.acked[bridge].insert(seq);
                }
            }
            Op::Rewind { bridge } => {
                rig.core.rewind(bridge);
                model.out[bridge].clear();
                model.last[bridge] = [None; 2];
            }
            Op::Wait { ms } => {
                rig.now += i64::from(ms) * 1000;
                rig.work();
            }
            Op::DiskFails { jobs } => rig.failures = jobs,
            Op::AckWhileWriting { bridge, fails } => {
                let acks: Vec<_> = model.out[bridge].drain(..).collect();
                for (_, seq) in &acks {
                    model.acked[bridge].insert(*seq);
                }
                rig.acknowledge_while_writing(bridge, &acks, fails);
            }
            Op::Crash => {
                rig.crash();
                crashed = true;
                // What was never safe may be gone: forget it, as a board would send it again.
                let safe = rig.safe.clone();
                model.wants.retain(|seq, _| safe.contains(seq));
                for bridge in 0..BRIDGES {
                    model.out[bridge].clear();
                    model.last[bridge] = [None; 2];
                }
            }
        }
        let ledger = rig.core.ledger();
        assert_eq!(ledger.accepted, ledger.delivered + ledger.dropped.total() + ledger.waiting());
        if !crashed {
            let known = ledger.waiting() + ledger.dropped.total();
            assert!(known >= model.open(), "{ledger:?} but {} are open", model.open());
        }
    }
    finish(rig, model);
}

/// `wants` decides for entries from memory; for entries from disk the filter does.
fn take_wanted(rig: &mut Rig, model: &Model, bridge: usize, max: usize) -> Vec<(u64, u32, bool)> {
    let mut all = Vec::new();
    for _ in 0..1000 {
        rig.work();
        let wants = |body: &Body| wants_of(model, bridge, seq_of(body));
        let taken = rig.core.take(bridge, max - all.len(), rig.now, wants);
        all.extend(taken.iter().map(|t| (t.position, seq_of(&t.body), t.late)));
        if all.len() >= max || !(rig.core.has_entries(bridge) || rig.pending_load()) {
            return all;
        }
    }
    panic!("take does not end");
}

/// Everything that was safe reaches every bridge that wants it, and then nothing waits.
fn finish(mut rig: Rig, mut model: Model) {
    rig.failures = 0;
    rig.now += 60_000_000;
    rig.work();
    for bridge in 0..BRIDGES {
        rig.core.rewind(bridge);
        loop {
            let taken = take_wanted(&mut rig, &model, bridge, 50);
            if taken.is_empty() {
                break;
            }
            for (position, seq, _) in taken {
                rig.core.done(bridge, position, rig.now);
                model.acked[bridge].insert(seq);
            }
        }
    }
    let missing = model.open();
    let dropped = rig.core.ledger().dropped.total();
    assert!(missing <= dropped, "{missing} never reached their bridges, {dropped} were dropped");
    if rig.limits.max_readings.is_none() {
        assert_eq!((missing, dropped), (0, 0));
    }
    let ledger = rig.core.ledger();
    assert_eq!(ledger.waiting(), 0, "{ledger:?}");
    assert_eq!(ledger.accepted, ledger.delivered + ledger.dropped.total(), "{ledger:?}");
    rig.now += SAVE_WITHIN_US;
    rig.work();
    rig.crash();
    assert_eq!(rig.core.ledger().waiting(), 0);
    assert_eq!(take_wanted(&mut rig, &model, 0, 10), []);
}

/// Settings and limits, in all that there is.
fn world() -> impl Strategy<Value = (Settings, Limits)> {
    let full = prop_oneof![
        3 => Just((WhenFull::DropOldest, None)),
        1 => Just((WhenFull::DropOldest, Some(40))),
        2 => Just((WhenFull::Thin, Some(40))),
    ];
    (any::<bool>(), 0..4_u32, full).prop_map(|(commit_first, live_first, (when_full, max_readings))| {
        let settings = Settings { live_first, ..settings(commit_first) };
        (settings, Limits { max_readings, when_full, ..limits() })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn nothing_safe_is_lost((settings, limits) in world(), ops in proptest::collection::vec(op(), 1..60)) {
        play(Rig::new(settings, limits), ops);
    }
}

fn config(dir: &TempDir) -> config::Queue {
    config::Queue {
        path: dir.path().join("queue.db"),
        durability: config::Durability::Late,
        commit_within: Duration::from_millis(20),
        max_size: 64 << 20,
        max_age: Duration::from_secs(86_400),
        max_readings: None,
        when_full: config::WhenFull::DropOldest,
    }
}

fn open(dir: &TempDir) -> Queue {
    let consumer = Consumer { name: "cloud".into(), forward: Forward::Own, order: Default::default() };
    Queue::open(&config(dir), Topics::new("serialgate", "pi"), vec![consumer]).unwrap()
}

#[tokio::test(flavor = "current_thread")]
async fn tickets_resolve_by_commit_or_by_acknowledgement() {
    let dir = TempDir::new().unwrap();
    let queue = open(&dir);
    let outlet = queue.outlet(0);
    let ticket = queue.push_ticketed(reading(0)).unwrap();
    outlet.ready().await;
    let taken = outlet.take(10);
    assert_eq!(taken.len(), 1);
    outlet.done(taken[0].position);
    assert_eq!(ticket.await, Ok(Safe::Delivered));
    let ticket = queue.push_ticketed(reading(1)).unwrap();
    assert_eq!(ticket.await, Ok(Safe::Durable));
    assert_eq!(queue.status().readings, 1);
    // It is on disk now and comes back from there.
    outlet.ready().await;
    let taken = outlet.take(10);
    assert_eq!((taken.len(), taken[0].late), (1, true));
    queue.close();
}

#[tokio::test(flavor = "current_thread")]
async fn closing_commits_what_is_held() {
    let dir = TempDir::new().unwrap();
    let queue = open(&dir);
    for seq in 0..100 {
        queue.push(reading(seq));
    }
    queue.close();
    drop(queue);
    let queue = open(&dir);
    assert_eq!(queue.status().readings, 100);
    queue.close();
}

#[tokio::test(flavor = "current_thread")]
async fn a_damaged_file_is_set_aside_and_work_goes_on() {
    for damage in [b"this is not a database at all".repeat(100), Vec::new(), vec![0; 5000]] {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("queue.db");
        let empty = damage.is_empty();
        std::fs::write(&path, damage).unwrap();
        let queue = open(&dir);
        let aside = dir.path().join("queue.db.damaged-1").exists();
        assert_eq!(aside, !empty);
        assert_eq!(queue.push_ticketed(reading(0)).unwrap().await, Ok(Safe::Durable));
        let outlet = queue.outlet(0);
        outlet.ready().await;
        let told =
            |t: &Taken| matches!(&*t.body, Body::Event(e) if matches!(e.kind, EventKind::Quarantine { .. }));
        assert_eq!(outlet.take(10).iter().filter(|t| told(t)).count(), usize::from(aside));
        queue.close();
    }
}
