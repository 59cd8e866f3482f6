//! Real queue files, harmed in every way.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::sync::OnceLock;

use proptest::prelude::*;
use rusqlite::Connection;
use tempfile::TempDir;

use super::page::BootRow;
use super::*;
use crate::clock::Offset;
use crate::queue::job::{Boards, Marks, Save};
use crate::queue::store::{KernelBoot, Limits, Store};
use crate::queue::types::{Resume, WhenFull};
use crate::reading::{Event, EventKind, Message, MessageId, Properties, Reading, Uid, Value};
use crate::status::Dropped;

const PAGE: usize = 1024;
const BOOT: &str = "11111111-2222-3333-4444-555555555555";
const OFFSET: Offset = Offset { us: 1_700_000_000_000_000, synced: true };

/// A small generator of our own, so that a file is the same every time.
struct Random(u64);

impl Random {
    fn draw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.draw() >> 16).unwrap() % end
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.draw().to_le_bytes()[2]).collect()
    }
}

type Entries = Vec<(u64, Arc<Body>)>;

fn uid() -> Uid {
    Uid::new(&[1, 2, 3, 4]).unwrap()
}

fn reading(seq: u32) -> Body {
    Body::Reading(Reading {
        device: "board-0304".into(),
        id: MessageId::Board { uid: uid(), boot: 7, seq },
        seq: u64::from(seq),
        at: Stamp::this_boot(i64::from(seq) * 1000),
        values: vec![
            ("temp".into(), Value::Decimal { mantissa: i64::from(seq) * 17, exponent: -2 }),
            ("note".into(), Value::Text(format!("n{}", u64::from(seq) * 7919).into())),
        ],
    })
}

fn message(payload: Vec<u8>) -> Body {
    Body::Message(Message {
        topic: "sensors/camera".into(),
        payload: payload.into(),
        qos: 1,
        retain: false,
        properties: Properties::default(),
    })
}

fn event(us: i64) -> Body {
    let kind = EventKind::Port { path: "/dev/ttyUSB0".into(), state: "open".into() };
    let id = MessageId::Gateway { boot: uuid::Uuid::nil(), n: us.unsigned_abs() };
    Body::Event(Event { id, at: Stamp::this_boot(us), kind })
}

/// How a queue comes to be.
#[derive(Clone, Copy)]
struct Plan {
    chunks: usize,
    /// All files together, in bytes: says how long the log is.
    max_bytes: u64,
    /// So many chunks of each ten are delivered a while after they were written.
    delivered: usize,
    /// Largest messages, in bytes.
    message: usize,
    seed: u64,
}

const PLAN: Plan = Plan { chunks: 400, max_bytes: 64 << 20, delivered: 0, message: 60_000, seed: 7 };

/// A queue file, and what was stored in it.
struct Built {
    dir: TempDir,
    /// All chunks that were ever committed.
    ever: BTreeMap<u64, Entries>,
    /// Those that are stored.
    live: BTreeSet<u64>,
    state: BTreeMap<String, i64>,
}

fn counted(entries: &Entries) -> u64 {
    entries.iter().filter(|(_, body)| body.counts()).count() as u64
}

fn save(cursor: u64, next: u32) -> Save {
    let boards =
        Boards { changed: [((uid(), 7), Resume { next, dropped: 0 })].into(), upto: 0, salvaged: Vec::new() };
    let marks = Marks {
        delete_below: cursor,
        delete_within: Vec::new(),
        cursors: vec![cursor, cursor],
        done: Vec::new(),
        delivered: cursor,
        boards: Some(boards),
    };
    Save {
        done_below: cursor,
        done_ahead: Default::default(),
        dropped: Dropped::default(),
        marks: Some(Box::new(marks)),
    }
}

fn bridges() -> Vec<String> {
    vec!["cloud".to_owned(), "site".to_owned()]
}

impl Built {
    fn path(&self) -> PathBuf {
        self.dir.path().join("q.db")
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("q.db-wal")
    }

    fn new(plan: Plan) -> Self {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("q.db");
        let limits = Limits {
            max_bytes: plan.max_bytes,
            max_age_us: i64::MAX,
            max_readings: None,
            when_full: crate::queue::types::WhenFull::DropOldest,
        };
        let kernel = KernelBoot { uuid: BOOT.into(), row: None };
        let mut store = Store::open(&path, &bridges(), limits, &kernel).unwrap();
        store.grow_log(&path).unwrap();
        let mut random = Random(plan.seed);
        let (mut ever, mut position, mut seq, mut cursor) = (BTreeMap::new(), 1, 0, 0);
        let mut ends: Vec<u64> = Vec::new();
        for number in 0..plan.chunks {
            let count = match number % 10 {
                7 => 60 + random.below(40),
                _ => 1 + random.below(5),
            };
            let mut entries: Entries = Vec::new();
            for _ in 0..count {
                seq += 1;
                entries.push((position, Arc::new(reading(seq))));
                // What was delivered in time leaves holes.
                position += 1 + u64::from(random.below(8) == 0);
            }
            if number % 10 == 3 {
                let payload = 2000 + random.below(plan.message);
                let payload = random.bytes(payload);
                entries.push((position, Arc::new(message(payload))));
                position += 1;
            }
            if number % 25 == 4 {
                entries.push((position, Arc::new(event(i64::from(seq) * 1000))));
                position += 1;
            }
            let now = i64::from(seq) * 1000 + 500;
            ends.push(entries.last().unwrap().0);
            if number % 10 == 9 && plan.delivered > 0 {
                cursor = ends[number * plan.delivered / 10] + 1;
                store.save(&save(cursor, seq), now, OFFSET).unwrap();
            }
            store.commit(&entries, &save(cursor, seq + 1), now, OFFSET).unwrap();
            ever.insert(entries[0].0, entries);
        }
        drop(store);
        let built = Self { dir, ever, live: BTreeSet::new(), state: BTreeMap::new() };
        let live = built.query("SELECT '', id FROM chunk").iter().map(|(_, id)| id.unsigned_abs()).collect();
        let state = built.query("SELECT key, value FROM state");
        Self { live, state: state.into_iter().collect(), ..built }
    }

    /// What `SQLite` says.
    fn query(&self, sql: &str) -> Vec<(String, i64)> {
        let copy = self.copy();
        let db = Connection::open(copy.path().join("q.db")).unwrap();
        let mut query = db.prepare(sql).unwrap();
        query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
    }

    /// All that is in the log goes into the database; the log is gone.
    fn checkpointed(self) -> Self {
        let db = Connection::open(self.path()).unwrap();
        db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        db.close().unwrap();
        let _ = fs::remove_file(self.log());
        self
    }

    fn copy(&self) -> TempDir {
        let copy = TempDir::new().unwrap();
        for name in ["q.db", "q.db-wal"] {
            if self.dir.path().join(name).exists() {
                fs::copy(self.dir.path().join(name), copy.path().join(name)).unwrap();
            }
        }
        copy
    }

    fn harmed(&self, harm: impl FnOnce(&mut Files)) -> Got {
        let copy = self.copy();
        let mut files = Files::read(copy.path());
        harm(&mut files);
        files.write(copy.path());
        Got::of(&copy.path().join("q.db"))
    }

    /// What came back was stored once, and is whole. Gives the share of what is stored, in percent.
    fn judge(&self, got: &Got) -> f64 {
        for (first, entries) in &got.chunks {
            let stored = self.ever.get(first).map(|stored| got.as_told(stored));
            assert_eq!(Some(entries), stored.as_ref(), "an invented chunk at {first}");
        }
        let firsts: Vec<u64> = got.chunks.iter().map(|(first, _)| *first).collect();
        assert!(firsts.is_sorted_by(|a, b| a < b), "in order, and once: {firsts:?}");
        assert_eq!(got.counts.chunks, got.chunks.len() as u64);
        let readings: u64 = got.chunks.iter().map(|(_, entries)| counted(entries)).sum();
        assert_eq!(got.counts.readings, readings);
        let back = self.live.iter().filter(|first| firsts.contains(first)).count();
        percent(back, self.live.len())
    }

    fn lost(&self, got: &Got) -> BTreeSet<u64> {
        let back: BTreeSet<u64> = got.chunks.iter().map(|(first, _)| *first).collect();
        self.live.difference(&back).copied().collect()
    }

    fn risen(&self, got: &Got) -> usize {
        got.chunks.iter().filter(|(first, _)| !self.live.contains(first)).count()
    }

    /// Exactly what is stored came back.
    fn assert_all(&self, got: &Got) {
        assert_eq!((self.judge(got), self.risen(got)), (100.0, 0), "{:?}", got.counts);
        assert_eq!((got.counts.missing, got.counts.unreadable, got.counts.gaps), (0, 0, 0));
    }

    /// What is missing is known exactly when both ends came back.
    fn assert_missing(&self, got: &Got) {
        let lost = self.lost(got);
        let truth: u64 = lost.iter().map(|first| counted(&self.ever[first])).sum();
        let ends = self.live.first().into_iter().chain(self.live.last());
        if ends.clone().all(|end| !lost.contains(end)) && self.risen(got) == 0 {
            assert_eq!((got.counts.missing, got.counts.gaps), (truth, 0), "{:?}", got.counts);
        } else if self.risen(got) == 0 {
            assert!(got.counts.missing <= truth, "{:?} {truth}", got.counts);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn percent(part: usize, of: usize) -> f64 {
    100.0 * part as f64 / of as f64
}

/// Both files in memory.
struct Files {
    db: Option<Vec<u8>>,
    log: Option<Vec<u8>>,
}

impl Files {
    fn read(dir: &Path) -> Self {
        Self { db: fs::read(dir.join("q.db")).ok(), log: fs::read(dir.join("q.db-wal")).ok() }
    }

    fn write(&self, dir: &Path) {
        for (name, bytes) in [("q.db", &self.db), ("q.db-wal", &self.log)] {
            let _ = fs::remove_file(dir.join(name));
            if let Some(bytes) = bytes {
                fs::write(dir.join(name), bytes).unwrap();
            }
        }
    }

    fn each(&mut self) -> impl Iterator<Item = &mut Vec<u8>> {
        self.db.iter_mut().chain(self.log.iter_mut())
    }
}

fn overwrite_sectors(files: &mut Files, one_in: usize, seed: u64) {
    let mut random = Random(seed);
    for file in files.each() {
        for sector in file.chunks_mut(512) {
            if random.below(one_in) == 0 {
                let garbage = random.bytes(sector.len());
                sector.copy_from_slice(&garbage);
            }
        }
    }
}

/// What was read back.
struct Got {
    chunks: Vec<(u64, Entries)>,
    counts: Counts,
    survey: Survey,
}

impl Got {
    fn of(path: &Path) -> Self {
        Self::read(Salvage::open(path, &bridges(), BOOT).unwrap())
    }

    /// Entries as they come out. Where the boots are lost, the moments are estimates.
    fn as_told(&self, entries: &Entries) -> Entries {
        let mut entries = entries.clone();
        for (_, body) in &mut entries {
            if let Some(at) = Arc::make_mut(body).at_mut() {
                *at = self.survey.times.resolve(Stamp { epoch: Epoch::Boot(1), ..*at });
            }
        }
        entries
    }

    fn read(mut salvage: Salvage) -> Self {
        let (mut chunks, mut survey) = (Vec::new(), None);
        for _ in 0..1_000_000 {
            match salvage.step() {
                Step::Working => {}
                Step::Surveyed(found) => assert!(survey.replace(found).is_none() && chunks.is_empty()),
                Step::Chunk(chunk) => {
                    assert_eq!(chunk.entries.last().unwrap().0, chunk.last);
                    chunks.push((chunk.first, chunk.entries));
                }
                Step::End(counts) => {
                    assert!(matches!(salvage.step(), Step::End(again) if again == counts));
                    return Self { chunks, counts, survey: survey.expect("a survey comes before the end") };
                }
            }
        }
        panic!("no end");
    }
}

/// The ways in which a backlog lies in the files.
fn backlogs() -> Vec<(&'static str, Built)> {
    vec![
        ("all in the log", Built::new(Plan { chunks: 300, message: 30_000, ..PLAN })),
        ("all in the database", Built::new(Plan { max_bytes: 8 << 20, ..PLAN }).checkpointed()),
        ("both, half delivered", Built::new(Plan { max_bytes: 8 << 20, delivered: 5, ..PLAN })),
    ]
}

#[test]
fn a_whole_file_comes_back_as_it_is() {
    let full = Built::new(Plan { max_bytes: 1 << 20, chunks: 500, ..PLAN });
    assert!(full.live.len() < full.ever.len() - 50, "little had to go: {}", full.live.len());
    for (name, built) in backlogs().into_iter().chain([("full", full)]) {
        let got = built.harmed(|_| {});
        built.assert_all(&got);
        assert_eq!(got.survey.state, built.state, "{name}");
        let boots = &got.survey.times.boots;
        assert_eq!(boots.len(), 1);
        assert_eq!((boots[&1].uuid.as_str(), boots[&1].synced), (BOOT, true));
        let bytes = built.path().metadata().unwrap().len() + built.log().metadata().map_or(0, |m| m.len());
        assert!(got.counts.bytes >= bytes, "{:?} {bytes}", got.counts);
    }
}

#[test]
fn harm_costs_what_it_hits() {
    type Harm = (&'static str, [f64; 3], fn(&mut Files));
    let harms: [Harm; 14] = [
        ("nothing", [100.0, 100.0, 100.0], |_| {}),
        ("first KiB zeroed", [100.0, 100.0, 100.0], |f| f.db.as_mut().unwrap()[..PAGE].fill(0)),
        ("header garbage", [100.0, 100.0, 100.0], |f| {
            let garbage = Random(3).bytes(100);
            f.db.as_mut().unwrap()[..100].copy_from_slice(&garbage);
        }),
        ("first 16 KiB garbage", [100.0, 95.0, 95.0], |f| {
            let garbage = Random(3).bytes(16 * PAGE);
            let db = f.db.as_mut().unwrap();
            let end = db.len().min(garbage.len());
            db[..end].copy_from_slice(&garbage[..end]);
        }),
        ("db cut in the middle", [100.0, 0.0, 60.0], |f| {
            let db = f.db.as_mut().unwrap();
            db.truncate(db.len() / 2 + 100);
        }),
        ("sectors, 1 %", [90.0, 90.0, 90.0], |f| overwrite_sectors(f, 100, 5)),
        ("sectors, 10 %", [50.0, 50.0, 50.0], |f| overwrite_sectors(f, 10, 5)),
        ("log header garbage", [100.0, 100.0, 100.0], |f| {
            let garbage = Random(3).bytes(32);
            if let Some(log) = &mut f.log {
                log[..32].copy_from_slice(&garbage);
            }
        }),
        ("log cut in the middle", [40.0, 100.0, 50.0], |f| {
            if let Some(log) = &mut f.log {
                log.truncate(log.len() / 2);
            }
        }),
        ("log gone", [0.0, 100.0, 50.0], |f| f.log = None),
        ("db empty", [100.0, 0.0, 20.0], |f| f.db = Some(Vec::new())),
        ("db gone", [100.0, 0.0, 20.0], |f| {
            f.db = None;
            f.log.get_or_insert_default();
        }),
        ("page 1 and log header", [100.0, 100.0, 100.0], |f| {
            f.db.as_mut().unwrap()[..PAGE].fill(0xff);
            if let Some(log) = &mut f.log {
                log[..32].fill(0);
            }
        }),
        ("both cut", [40.0, 0.0, 20.0], |f| f.each().for_each(|file| file.truncate(file.len() / 2))),
    ];
    let backlogs = backlogs();
    let (mut table, mut low) = (String::new(), Vec::new());
    for (name, least, harm) in harms {
        for ((backlog, built), least) in backlogs.iter().zip(least) {
            let got = built.harmed(harm);
            let back = built.judge(&got);
            let Counts { missing, unreadable, gaps, .. } = got.counts;
            let lost: u64 = built.lost(&got).iter().map(|first| counted(&built.ever[first])).sum();
            table += &format!(
                "{name:22} {backlog:22} {back:6.1} % of {}, risen {}, readings lost {lost}, missing {missing}, gaps {gaps}, unreadable {unreadable}\n",
                built.live.len(),
                built.risen(&got)
            );
            built.assert_missing(&got);
            if back < least {
                low.push(format!("{name}, {backlog}: {back}"));
            }
        }
    }
    eprintln!("{table}");
    assert!(low.is_empty(), "{low:#?}");
}

/// Which chunks have bytes on which page of a database, counted from 0, as `SQLite` says.
fn on_pages(built: &Built) -> HashMap<usize, BTreeSet<u64>> {
    let ids: Vec<u64> =
        built.query("SELECT '', id FROM chunk ORDER BY id").iter().map(|r| r.1.unsigned_abs()).collect();
    let sql = "SELECT pagetype || ncell || path, pageno FROM dbstat WHERE name = 'chunk' ORDER BY path";
    let mut on: HashMap<usize, BTreeSet<u64>> = HashMap::new();
    let mut leaf: &[u64] = &[];
    let mut left: &[u64] = &ids;
    for (what, page) in built.query(sql) {
        let page = usize::try_from(page).unwrap() - 1;
        if let Some(leaf_of) = what.strip_prefix("leaf") {
            let (count, _) = leaf_of.split_once('/').unwrap();
            (leaf, left) = left.split_at(count.parse().unwrap());
            on.entry(page).or_default().extend(leaf);
        } else if what.starts_with("overflow") {
            let (path, _) = what.split_once('+').unwrap();
            let (_, cell) = path.rsplit_once('/').unwrap();
            on.entry(page).or_default().insert(leaf[usize::from_str_radix(cell, 16).unwrap()]);
        }
    }
    assert!(left.is_empty());
    on
}

#[test]
fn what_is_not_hit_comes_back() {
    let built = Built::new(Plan { max_bytes: 8 << 20, message: 20_000, ..PLAN }).checkpointed();
    let on = on_pages(&built);
    type Harm = (&'static str, fn(&mut Files));
    let harms: [Harm; 5] = [
        ("last eighth cut off", |f| {
            let db = f.db.as_mut().unwrap();
            db.truncate(db.len() / 8 * 7);
        }),
        ("first half garbage", |f| {
            let db = f.db.as_mut().unwrap();
            let half = db.len() / 2;
            db[..half].copy_from_slice(&Random(17).bytes(half));
        }),
        ("sectors, 1 %", |f| overwrite_sectors(f, 100, 19)),
        ("sectors, 10 %", |f| overwrite_sectors(f, 10, 23)),
        ("sectors, 50 %", |f| overwrite_sectors(f, 2, 29)),
    ];
    for (name, harm) in harms {
        let got = built.harmed(harm);
        let back = built.judge(&got);
        let before = fs::read(built.path()).unwrap();
        let mut files = Files { db: Some(before.clone()), log: None };
        harm(&mut files);
        let after = files.db.unwrap();
        let hit = |page: &usize| {
            after.get(page * PAGE..(page + 1) * PAGE) != before.get(page * PAGE..(page + 1) * PAGE)
        };
        let hit: BTreeSet<u64> =
            on.iter().filter(|(page, _)| hit(page)).flat_map(|(_, ids)| ids).copied().collect();
        let lost = built.lost(&got);
        eprintln!("{name:20} hit {:5.1} %, back {back:5.1} %", percent(hit.len(), built.live.len()));
        assert!(lost.is_subset(&hit), "{name}: {:?}", lost.difference(&hit).collect::<Vec<_>>());
        built.assert_missing(&got);
    }
}

#[test]
fn a_flipped_bit_costs_what_stands_on_its_page() {
    for delivered in [0, 4] {
        let plan = Plan { chunks: 80, message: 6000, max_bytes: 1 << 20, delivered, ..PLAN };
        let built = Built::new(plan).checkpointed();
        let on = on_pages(&built);
        let pages = fs::read(built.path()).unwrap().len() / PAGE;
        assert!(on.len() > 30 && pages > 200, "{} {pages}", on.len());
        let mut random = Random(11);
        // Of the pages that hold nothing, a few are enough.
        for page in (0..pages).filter(|page| on.contains_key(page) || *page < 8 || page % 7 == 0) {
            for bit in [random.below(12 * 8), random.below(PAGE * 8)] {
                let got = built.harmed(|f| f.db.as_mut().unwrap()[page * PAGE + bit / 8] ^= 1 << (bit % 8));
                built.judge(&got);
                let lost = built.lost(&got);
                let hit = on.get(&page).cloned().unwrap_or_default();
                assert!(lost.is_subset(&hit), "page {page}, bit {bit}: lost {lost:?}, hit {hit:?}");
                assert_eq!(built.risen(&got), 0, "page {page}, bit {bit}");
            }
        }
    }
}

/// The check sum of a chunk does not cover the numbers beside it.
#[test]
fn flipped_numbers_do_not_move_a_chunk() {
    let built = Built::new(Plan { chunks: 40, message: 3000, max_bytes: 1 << 20, ..PLAN }).checkpointed();
    let on = on_pages(&built);
    let (page, rows) = on.iter().max_by_key(|(page, rows)| (rows.len(), **page)).unwrap();
    let file = fs::read(built.path()).unwrap();
    let bytes = &file[page * PAGE..(page + 1) * PAGE];
    assert_eq!((bytes[0], usize::from(bytes[4])), (0x0d, rows.len()));
    let cells =
        bytes[8..8 + 2 * rows.len()].chunks(2).map(|at| usize::from(u16::from_be_bytes([at[0], at[1]])));
    for cell in cells.skip(1).take(3) {
        // Length and id, then the head of the record and the numbers.
        for bit in (0..8 * 36).filter(|bit| bit % 3 == 0 || *bit < 40) {
            let got =
                built.harmed(|f| f.db.as_mut().unwrap()[page * PAGE + cell + bit / 8] ^= 1 << (bit % 8));
            built.judge(&got);
            assert!(built.lost(&got).is_subset(rows), "cell {cell}, bit {bit}: {:?}", built.lost(&got));
        }
    }
}

#[test]
fn a_flipped_bit_in_the_log_costs_one_chunk_at_most() {
    let built = Built::new(Plan { chunks: 80, message: 6000, max_bytes: 1 << 20, delivered: 4, ..PLAN });
    let frames = (fs::read(built.log()).unwrap().len() - 32) / (PAGE + 24);
    assert!(frames > 100);
    let mut random = Random(13);
    let mut outdated = 0;
    for frame in 0..frames {
        let bit = random.below((PAGE + 24) * 8);
        let at = 32 + frame * (PAGE + 24) + bit / 8;
        let got = built.harmed(|f| f.log.as_mut().unwrap()[at] ^= 1 << (bit % 8));
        built.judge(&got);
        assert!(built.lost(&got).len() <= 1, "frame {frame}, bit {bit}: {:?}", built.lost(&got));
        // A short rest behind a break may be what a crash had cut off. So the last deletion of all may
        // not be believed: that of ten chunks.
        assert!(built.risen(&got) <= 10, "frame {frame}, bit {bit}: {}", built.risen(&got));
        outdated += usize::from(got.survey.state != built.state);
    }
    // What stands behind a damaged frame is believed, but for a short rest at the end.
    assert!((1..=15).contains(&outdated), "{outdated}");
}

/// Bodies without their moments, which are told by numbers that no check sum covers.
fn bare(entries: &Entries) -> Entries {
    let mut entries = entries.clone();
    for (_, body) in &mut entries {
        if let Some(at) = Arc::make_mut(body).at_mut() {
            *at = Stamp::this_boot(0);
        }
    }
    entries
}

#[derive(Clone, Debug)]
enum Harm {
    Garbage(usize, usize, u64),
    Zero(usize, usize),
    Cut(usize),
    Copy(usize, usize, usize),
    Number(usize, u32),
    Gone,
}

impl Harm {
    fn any() -> impl Strategy<Value = Self> {
        let at = || 0..1_000_000usize;
        prop_oneof![
            4 => (at(), 1..3000usize, 1..u64::MAX).prop_map(|(at, length, seed)| Self::Garbage(at, length, seed)),
            2 => (at(), 1..3000usize).prop_map(|(at, length)| Self::Zero(at, length)),
            1 => at().prop_map(Self::Cut),
            3 => (at(), at(), 1..4000usize).prop_map(|(from, to, length)| Self::Copy(from, to, length)),
            // Numbers of pages, where such numbers are.
            6 => (0..900usize, 0..500u32).prop_map(|(page, number)| Self::Number(page * PAGE, number)),
            2 => (0..30usize, any::<u32>()).prop_map(|(word, number)| Self::Number(word * 4, number)),
            1 => Just(Self::Gone),
        ]
    }

    fn apply(&self, file: &mut Option<Vec<u8>>) {
        let Some(bytes) = file else { return };
        if bytes.is_empty() {
            return;
        }
        let size = bytes.len();
        let range = |at: &usize, length: &usize| at % size..(at % size + length).min(size);
        match self {
            Self::Garbage(at, length, seed) => {
                let range = range(at, length);
                let garbage = Random(*seed).bytes(range.len());
                bytes[range].copy_from_slice(&garbage);
            }
            Self::Zero(at, length) => bytes[range(at, length)].fill(0),
            Self::Cut(at) => bytes.truncate(at % size),
            Self::Copy(from, to, length) => {
                let from = range(from, length);
                let piece = bytes[from].to_vec();
                let to = range(to, &piece.len());
                let length = to.len();
                bytes[to].copy_from_slice(&piece[..length]);
            }
            Self::Number(at, number) => {
                let range = range(at, &4);
                let length = range.len();
                bytes[range].copy_from_slice(&number.to_be_bytes()[..length]);
            }
            Self::Gone => *file = None,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_harm_leads_to_a_panic_or_to_inventions(harms in prop::collection::vec((any::<bool>(), Harm::any()), 1..12)) {
        static BUILT: OnceLock<Built> = OnceLock::new();
        let built = BUILT.get_or_init(|| {
            Built::new(Plan { chunks: 60, message: 6000, max_bytes: 1 << 20, delivered: 5, ..PLAN })
        });
        let dir = TempDir::new().unwrap();
        let mut files = Files::read(built.dir.path());
        for (in_log, harm) in &harms {
            harm.apply(if *in_log { &mut files.log } else { &mut files.db });
        }
        files.write(dir.path());
        if files.db.is_none() && files.log.is_none() {
            prop_assert!(Salvage::open(&dir.path().join("q.db"), &bridges(), BOOT).is_err());
        } else {
            let got = Got::of(&dir.path().join("q.db"));
            let mut end = 0;
            for (first, entries) in &got.chunks {
                prop_assert_eq!(Some(bare(entries)), built.ever.get(first).map(bare), "invented: {}", first);
                prop_assert!(*first > end);
                end = entries.last().unwrap().0;
            }
        }
    }

    /// Pages that look like something, with random numbers in them.
    #[test]
    fn no_bytes_lead_to_a_panic(seed in 1..u64::MAX, pages in 1..60usize, header in any::<bool>()) {
        let mut random = Random(seed);
        let dir = TempDir::new().unwrap();
        let mut files = Files { db: Some(random.bytes(pages * PAGE)), log: Some(random.bytes(pages * (PAGE + 24))) };
        for file in files.each() {
            for page in file.chunks_mut(PAGE) {
                let kinds = [0x02, 0x05, 0x0a, 0x0d, 0];
                let small = |random: &mut Random| u8::try_from(random.below(4)).unwrap();
                let head = [kinds[random.below(5)], 0, small(&mut random), small(&mut random), 20, small(&mut random), 0];
                page[..7].copy_from_slice(&head);
            }
        }
        if header {
            let db = files.db.as_mut().unwrap();
            db[..16].copy_from_slice(b"SQLite format 3\0");
            db[16..24].copy_from_slice(&[4, 0, 2, 2, 0, 64, 32, 32]);
            db[32..40].copy_from_slice(&[0, 0, 0, 3, 0, 0, 0, 9]);
        }
        files.write(dir.path());
        prop_assert_eq!(Got::of(&dir.path().join("q.db")).chunks.len(), 0);
    }
}

#[test]
fn chains_that_bite_their_tail_end() {
    let built = Built::new(Plan { chunks: 30, max_bytes: 1 << 20, ..PLAN }).checkpointed();
    let on = on_pages(&built);
    let overflow: Vec<usize> = on.iter().filter(|(_, ids)| ids.len() == 1).map(|(page, _)| *page).collect();
    assert!(overflow.len() > 20, "{on:?}");
    let got = built.harmed(|f| {
        let db = f.db.as_mut().unwrap();
        for page in &overflow {
            let number = u32::try_from(page + 1).unwrap();
            db[page * PAGE..page * PAGE + 4].copy_from_slice(&number.to_be_bytes());
        }
        // And so does the list of free pages.
        let trunk = usize::try_from(u32::from_be_bytes(db[32..36].try_into().unwrap())).unwrap();
        assert!(trunk > 1);
        let itself = [db[32], db[33], db[34], db[35]];
        db[(trunk - 1) * PAGE..(trunk - 1) * PAGE + 4].copy_from_slice(&itself);
    });
    assert!(built.judge(&got) < 100.0);
    built.assert_missing(&got);
}

#[test]
fn few_places_at_a_time_are_enough() {
    let built = Built::new(Plan { chunks: 100, max_bytes: 2 << 20, delivered: 4, ..PLAN });
    let mut salvage = Salvage::open(&built.path(), &bridges(), BOOT).unwrap();
    salvage.index = Index::with_room(7);
    built.assert_all(&Got::read(salvage));
}

#[test]
fn moments_of_another_boot_become_wall_time() {
    let built = Built::new(Plan { chunks: 10, max_bytes: 1 << 20, ..PLAN });
    let mut salvage = Salvage::open(&built.path(), &bridges(), "another boot").unwrap();
    let chunk = loop {
        if let Step::Chunk(chunk) = salvage.step() {
            break chunk;
        }
    };
    let wall = |us| Stamp { epoch: Epoch::Wall { estimated: false }, us: OFFSET.us + us };
    assert_eq!(chunk.entries[0].1.at(), Some(wall(1000)));
    assert_eq!((chunk.t0, chunk.boot), (wall(1000), 1));
    assert!(chunk.t1.us >= chunk.t0.us && chunk.t1.epoch == chunk.t0.epoch);
}

#[test]
fn moments_of_a_boot_that_is_lost_are_estimated() {
    let times = Times {
        boots: [(3, BootRow { uuid: "c".into(), offset: 5000, synced: true, last: 0 })].into(),
        latest: [(2, 700), (4, 900)].into(),
        written_us: 9000,
        this_boot: "c".into(),
    };
    let stamp = |epoch, us| Stamp { epoch, us };
    let estimated = Epoch::Wall { estimated: true };
    // The third boot began at 5000, so the second one had ended then.
    assert_eq!(times.resolve(stamp(Epoch::Boot(2), 600)), stamp(estimated, 4900));
    assert_eq!(times.resolve(stamp(Epoch::Boot(3), 600)), Stamp::this_boot(600));
    assert_eq!(times.resolve(stamp(Epoch::Boot(4), 600)), stamp(estimated, 8700));
    let wall = stamp(Epoch::Wall { estimated: false }, 600);
    assert_eq!(times.resolve(wall), wall);
}

/// A crash cuts off a commit; the next start gives its positions again. What was cut off lies behind
/// what was written then, and its frames are whole.
#[test]
fn what_was_never_committed_gives_way_to_what_was() {
    let plan = Plan { chunks: 10, max_bytes: 1 << 20, message: 3000, ..PLAN };
    let limits = || Limits {
        max_bytes: plan.max_bytes,
        max_readings: None,
        max_age_us: i64::MAX,
        when_full: WhenFull::DropOldest,
    };
    let kernel = KernelBoot { uuid: BOOT.into(), row: None };
    let before = Built::new(plan);
    let next = before.ever.last_key_value().unwrap().1.last().unwrap().0 + 1;
    let commit = |chunks: &[Entries]| {
        let copy = before.copy();
        let path = copy.path().join("q.db");
        let mut store = Store::open(&path, &bridges(), limits(), &kernel).unwrap();
        for entries in chunks {
            store.commit(entries, &save(0, 50_000), 1_000_000, OFFSET).unwrap();
        }
        drop(store);
        copy
    };
    for size in [10, 1500, 5000, 9000, 30_000] {
        let large = |seed| Arc::new(message(Random(seed).bytes(size)));
        let cut_off: Entries = (next..next + 5).map(|position| (position, large(position))).collect();
        let kept: Vec<Entries> = (0..2)
            .map(|i| vec![(next + 3 * i, Arc::new(reading(9000 + u32::try_from(i).unwrap())))])
            .collect();
        let (first, second) = (commit(&[cut_off]), commit(&kept));
        let (mut log, other) = (
            fs::read(second.path().join("q.db-wal")).unwrap(),
            fs::read(first.path().join("q.db-wal")).unwrap(),
        );
        let old = fs::read(before.log()).unwrap();
        // Behind the last frame that the second start wrote stands what the first one did.
        let end = (0..log.len()).rev().find(|at| log[*at] != old[*at]).unwrap() + 1;
        let end = 32 + (end - 32).next_multiple_of(PAGE + 24);
        log[end..].copy_from_slice(&other[end..]);
        fs::write(second.path().join("q.db-wal"), log).unwrap();
        let got = Got::of(&second.path().join("q.db"));
        let tail: Vec<Entries> = got
            .chunks
            .iter()
            .filter(|(first, _)| *first >= next)
            .map(|(_, entries)| entries.clone())
            .collect();
        assert_eq!(tail, kept, "{size}");
    }
}
