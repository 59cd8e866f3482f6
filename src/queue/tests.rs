//! The queue against a model, over crashes and reopenings, with the real file.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use uuid::Uuid;

mod clocks;
mod letters;
mod limits;
mod losses;
mod model;
mod operate;
mod order;
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
            Job::Operate { id, task } => Outcome::Operated {
                id: *id,
                work: store.operate(task, self.now).map_err(|error| error.to_string()),
            },
        };
        let (bytes, size) = (store.used_bytes().unwrap(), store.size_bytes().unwrap());
        let letters = store.dead_letters();
        self.core.finished(outcome, self.now);
        self.core.observe(File { bytes, size, letters, ..File::default() }, self.now);
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
    Limits {
        max_bytes: 16 << 20,
        max_age_us: i64::MAX,
        max_readings: None,
        when_full: WhenFull::DropOldest,
        letters_bytes: 1 << 20,
    }
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

fn config(dir: &TempDir) -> config::Queue {
    config::Queue {
        path: dir.path().join("queue.db"),
        durability: config::Durability::Late,
        commit_within: Duration::from_millis(20),
        max_size: 64 << 20,
        max_age: Duration::from_secs(86_400),
        max_readings: None,
        dead_letters: 1 << 20,
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
async fn who_looks_on_gets_what_is_ours_and_learns_what_was_missed() {
    let dir = TempDir::new().unwrap();
    let queue = open(&dir);
    let (mut quick, mut slow) = (queue.look_on(), queue.look_on());
    for topic in ["serialgate/pi/shed/result", "lan/lamp"] {
        queue.push_result(&Publish::new(topic, "{}", Qos::AtLeastOnce, false));
    }
    let own = quick.try_recv().unwrap();
    assert!(matches!(&*own, Body::Message(message) if &*message.topic == "serialgate/pi/shed/result"));
    for seq in 0..u32::try_from(ONLOOKERS_AHEAD).unwrap() + 6 {
        queue.push(reading(seq));
        assert_eq!(seq_of(&quick.recv().await.unwrap()), seq);
    }
    // The result and six readings.
    assert_eq!(slow.recv().await, Err(broadcast::error::RecvError::Lagged(7)));
    assert_eq!(seq_of(&slow.recv().await.unwrap()), 6);
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
