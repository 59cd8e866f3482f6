//! Real queue files, harmed in every way.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::os::unix::fs::FileExt;

use proptest::prelude::*;
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::clock::Offset;
use crate::queue::job::{Boards, Marks, Save};
use crate::queue::store::{KernelBoot, Limits, Store};
use crate::queue::types::Resume;
use crate::reading::{Event, EventKind, Message, MessageId, Properties, Reading, Uid, Value};
use crate::status::Dropped;

const PAGE: usize = 1024;
const BOOT: &str = "11111111-2222-3333-4444-555555555555";
const OFFSET: Offset = Offset { us: 1_700_000_000_000_000, synced: true };

/// A small generator of our own, so that a file is the same every time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 16).unwrap() % end
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next().to_le_bytes()[2]).collect()
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
    let boards = Boards { changed: [((uid(), 7), Resume { next, dropped: 0 })].into(), upto: 0 };
    let marks = Marks {
        delete_below: cursor,
        cursors: vec![cursor, cursor],
        delivered: cursor,
        boards: Some(boards),
    };
    Save { done_below: cursor, dropped: Dropped::default(), marks: Some(marks) }
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
        let limits = Limits { max_bytes: plan.max_bytes, max_age_us: i64::MAX, keep_oldest: false };
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
        let live = ever.iter().filter(|(_, entries)| entries.last().unwrap().0 >= cursor);
        let live = live.map(|(first, _)| *first).collect();
        let built = Self { dir, ever, live, state: BTreeMap::new() };
        let state = built.query("SELECT key, value FROM state");
        Self { state: state.into_iter().collect(), ..built }
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
            assert_eq!(Some(entries), self.ever.get(first), "an invented chunk at {first}");
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

/// The three ways in which a backlog lies in the files.
fn backlogs() -> Vec<(&'static str, Built)> {
    vec![
        ("all in the log", Built::new(Plan { chunks: 300, message: 30_000, ..PLAN })),
        ("all in the database", Built::new(PLAN).checkpointed()),
        ("both, half delivered", Built::new(Plan { max_bytes: 8 << 20, delivered: 5, ..PLAN })),
    ]
}

#[test]
fn a_whole_file_comes_back_as_it_is() {
    for (name, built) in backlogs() {
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
        ("db cut in the middle", [100.0, 40.0, 60.0], |f| {
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
        ("both cut", [40.0, 40.0, 20.0], |f| f.each().for_each(|file| file.truncate(file.len() / 2))),
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

/// Which chunks have bytes on which page of a database.
fn on_pages(built: &Built) -> HashMap<usize, BTreeSet<u64>> {
    let file = fs::read(built.path()).unwrap();
    let db = Connection::open(built.path()).unwrap();
    let mut query = db.prepare("SELECT id, data FROM chunk").unwrap();
    let rows = query.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?))).unwrap();
    let blobs: Vec<(u64, Vec<u8>)> =
        rows.map(Result::unwrap).map(|(id, data)| (id.unsigned_abs(), data)).collect();
    let begins: HashMap<&[u8], u64> = blobs.iter().map(|(id, data)| (&data[..16], *id)).collect();
    let mut on: HashMap<usize, BTreeSet<u64>> = HashMap::new();
    for (at, window) in file.windows(16).enumerate() {
        if let Some(id) = begins.get(window) {
            on.entry(at / PAGE).or_default().insert(*id);
        }
    }
    let overflow: HashMap<&[u8], usize> =
        file.chunks(PAGE).enumerate().map(|(page, bytes)| (&bytes[4..16], page)).collect();
    for (id, data) in &blobs {
        for window in data.windows(12) {
            if let Some(page) = overflow.get(window) {
                on.entry(*page).or_default().insert(*id);
            }
        }
        // The end of a chunk may be shorter than that.
        on.entry(usize::MAX).or_default().insert(*id);
    }
    on
}

#[test]
fn a_flipped_bit_costs_what_stands_on_its_page() {
    for delivered in [0, 4] {
        let plan = Plan { chunks: 90, message: 12_000, max_bytes: 4 << 20, delivered, ..PLAN };
        let built = Built::new(plan).checkpointed();
        let on = on_pages(&built);
        let pages = fs::read(built.path()).unwrap().len() / PAGE;
        assert!(on.len() > 50 && pages > 150, "{} {pages}", on.len());
        let mut random = Random(11);
        for page in 0..pages {
            for bit in [random.below(12 * 8), random.below(100 * 8), random.below(PAGE * 8)] {
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

#[test]
fn a_flipped_bit_in_the_log_costs_one_chunk_at_most() {
    let built = Built::new(Plan { chunks: 90, message: 6000, max_bytes: 2 << 20, delivered: 4, ..PLAN });
    let frames = (fs::read(built.log()).unwrap().len() - 32) / (PAGE + 24);
    assert!(frames > 100);
    let mut random = Random(13);
    for frame in 0..frames {
        let bit = random.below((PAGE + 24) * 8);
        let at = 32 + frame * (PAGE + 24) + bit / 8;
        let got = built.harmed(|f| f.log.as_mut().unwrap()[at] ^= 1 << (bit % 8));
        built.judge(&got);
        assert!(built.lost(&got).len() <= 1, "frame {frame}, bit {bit}: {:?}", built.lost(&got));
        assert!(built.risen(&got) <= 3, "frame {frame}, bit {bit}: {}", built.risen(&got));
    }
}
