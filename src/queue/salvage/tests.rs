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
use crate::queue::operate::{Purge, Task, Which, Work};
use crate::queue::store::{KernelBoot, Limits, Store};
use crate::queue::types::{Resume, WhenFull};
use crate::reading::{
    Event, EventKind, GapReason, Loss, Message, MessageId, Properties, Reading, Uid, Value, Whose,
};
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
        device: if (seq / 100).is_multiple_of(3) { "board-0304" } else { "pump" }.into(),
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
        expiry: None,
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
    when_full: WhenFull,
    seed: u64,
}

const PLAN: Plan = Plan {
    chunks: 400,
    max_bytes: 64 << 20,
    delivered: 0,
    message: 60_000,
    when_full: WhenFull::DropOldest,
    seed: 7,
};

fn open(path: &Path, max_bytes: u64, when_full: WhenFull) -> Store {
    let limits = Limits { max_bytes, max_age_us: i64::MAX, max_readings: None, when_full };
    let kernel = KernelBoot { uuid: BOOT.into(), row: None };
    Store::open(path, &bridges(), limits, &kernel).unwrap()
}

/// A queue file, and what was stored in it.
struct Built {
    dir: TempDir,
    /// All entries that were ever committed, by their positions.
    ever: BTreeMap<u64, Arc<Body>>,
    /// The rows that are stored, by their ids: the positions in each.
    rows: BTreeMap<u64, BTreeSet<u64>>,
    state: BTreeMap<String, i64>,
}

fn save(cursor: u64, next: u32) -> Save {
    save_ahead(cursor, next, [Vec::new(), Vec::new()])
}

/// With what each of the bridges is done with beyond the cursor; nothing of that is deleted yet.
fn save_ahead(cursor: u64, next: u32, done: [Vec<(u64, u64)>; 2]) -> Save {
    let boards =
        Boards { changed: [((uid(), 7), Resume { next, dropped: 0 })].into(), upto: 0, salvaged: Vec::new() };
    let marks = Marks {
        delete_below: cursor,
        delete_within: Vec::new(),
        cursors: vec![cursor, cursor],
        done: done.into(),
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
        let mut store = open(&path, plan.max_bytes, plan.when_full);
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
            ever.extend(entries);
        }
        drop(store);
        Self { dir, ever, rows: BTreeMap::new(), state: BTreeMap::new() }.looked_at()
    }

    /// As the file is now, by `SQLite` and the codec.
    fn looked_at(self) -> Self {
        let copy = self.copy();
        let db = Connection::open(copy.path().join("q.db")).unwrap();
        let mut query = db.prepare("SELECT id, codec, crc, data FROM chunk ORDER BY id").unwrap();
        let positions = |row: &rusqlite::Row<'_>| {
            let (id, data): (i64, Vec<u8>) = (row.get(0)?, row.get(3)?);
            let id = id.unsigned_abs();
            let boots = Boots { chunk: 1, this: 1 };
            let entries = chunk::unpack(id, row.get(1)?, row.get(2)?, &data, boots).unwrap();
            assert!(entries.iter().all(|(position, body)| self.ever.get(position) == Some(body)));
            Ok((id, entries.into_iter().map(|(position, _)| position).collect()))
        };
        let rows = query.query_map([], positions).unwrap().map(Result::unwrap).collect();
        let state = self.query("SELECT key, value FROM state").into_iter().collect();
        Self { rows, state, ..self }
    }

    /// Positions of all that is stored.
    fn live(&self) -> BTreeSet<u64> {
        self.rows.values().flatten().copied().collect()
    }

    /// How many of the entries at `positions` count.
    fn counted<'a>(&self, positions: impl IntoIterator<Item = &'a u64>) -> u64 {
        positions.into_iter().filter(|position| self.ever[position].counts()).count() as u64
    }

    /// What `SQLite` says.
    fn query(&self, sql: &str) -> Vec<(String, i64)> {
        let copy = self.copy();
        let db = Connection::open(copy.path().join("q.db")).unwrap();
        let mut query = db.prepare(sql).unwrap();
        query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
    }

    /// An operator gives up the readings of one of the devices.
    fn purged(self) -> Self {
        let mut store = open(&self.path(), 8 << 20, WhenFull::DropOldest);
        let which = Which { older_than_us: None, device: Some("pump".into()) };
        let end = self.ever.last_key_value().unwrap().0 + 1;
        let mut purge = Purge { which, from: 0, end, save: save(0, 0), purged: 0 };
        let mut finished = false;
        while !finished {
            let work = store.operate(&Task::Purge(purge.clone()), 1_000_000).unwrap();
            let Work::Purged { purge: next, finished: over, .. } = work else { panic!("{work:?}") };
            (purge, finished) = (next, over);
        }
        drop(store);
        self.looked_at()
    }

    /// With five more commits, each of a message that has a row of its own: so many that what stands
    /// before them in the log is believed to have been committed.
    fn with_large_ones(self) -> Self {
        let next = self.ever.last_key_value().unwrap().0 + 1;
        let mut store = open(&self.path(), 1 << 20, WhenFull::DropOldest);
        let mut ever = self.ever.clone();
        for position in next..next + 5 {
            let entries: Entries = vec![(position, Arc::new(message(Random(position).bytes(5000))))];
            store.commit(&entries, &save(0, 0), 1_000_000, OFFSET).unwrap();
            ever.extend(entries);
        }
        drop(store);
        Self { ever, ..self }.looked_at()
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

    /// Each entry that came back is the one that was stored at its position, and came back once, in order.
    /// Gives the share of what is stored, in percent.
    fn judge(&self, got: &Got) -> f64 {
        for (position, body) in got.entries() {
            let stored = self.ever.get(position).map(|stored| got.as_told(stored));
            assert_eq!(Some(body), stored.as_ref(), "an invented entry at {position}");
        }
        let positions: Vec<u64> = got.entries().map(|(position, _)| *position).collect();
        assert!(positions.is_sorted_by(|a, b| a < b), "in order, and once: {positions:?}");
        assert_eq!(got.counts.chunks, got.chunks.len() as u64);
        assert_eq!(got.counts.readings, self.counted(&positions));
        let live = self.live();
        percent(live.intersection(&got.positions()).count(), live.len())
    }

    fn lost(&self, got: &Got) -> BTreeSet<u64> {
        self.live().difference(&got.positions()).copied().collect()
    }

    /// The rows of which something is lost.
    fn rows_hit(&self, got: &Got) -> BTreeSet<u64> {
        let lost = self.lost(got);
        let hit = self.rows.iter().filter(|(_, positions)| !positions.is_disjoint(&lost));
        hit.map(|(id, _)| *id).collect()
    }

    fn risen(&self, got: &Got) -> usize {
        got.positions().difference(&self.live()).count()
    }

    /// Exactly what is stored came back.
    fn assert_all(&self, got: &Got) {
        assert_eq!((self.judge(got), self.risen(got)), (100.0, 0), "{:?}", got.counts);
        assert_eq!((got.counts.missing, got.counts.unreadable, got.counts.gaps), (0, 0, 0));
        let rows: Vec<u64> = got.chunks.iter().map(|(first, _)| *first).collect();
        assert_eq!(rows, self.rows.keys().copied().collect::<Vec<_>>());
    }

    /// What is missing is known exactly when both ends came back.
    fn assert_missing(&self, got: &Got) {
        let lost = self.lost(got);
        let truth = self.counted(&lost);
        let live = self.live();
        let both_ends = live.first().into_iter().chain(live.last()).all(|end| !lost.contains(end));
        if both_ends && self.risen(got) == 0 {
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

    fn entries(&self) -> impl Iterator<Item = &(u64, Arc<Body>)> {
        self.chunks.iter().flat_map(|(_, entries)| entries)
    }

    fn positions(&self) -> BTreeSet<u64> {
        self.entries().map(|(position, _)| *position).collect()
    }

    /// A body as it comes out. Where the boots are lost, the moments are estimates.
    fn as_told(&self, body: &Arc<Body>) -> Arc<Body> {
        let mut body = Arc::clone(body);
        for at in Arc::make_mut(&mut body).stamps_mut() {
            *at = self.survey.times.resolve(Stamp { epoch: Epoch::Boot(1), ..*at });
        }
        body
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
        ("all in the log", Built::new(Plan { chunks: 600, message: 30_000, ..PLAN })),
        ("all in the database", Built::new(Plan { max_bytes: 8 << 20, ..PLAN }).checkpointed()),
        ("both, half delivered", Built::new(Plan { max_bytes: 8 << 20, delivered: 5, ..PLAN })),
    ]
}

#[test]
fn a_whole_file_comes_back_as_it_is() {
    let full = Built::new(Plan { max_bytes: 1 << 20, chunks: 500, ..PLAN });
    let left = full.live().len();
    assert!(left < full.ever.len() / 10 * 9, "little had to go: {left} of {}", full.ever.len());
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
            let lost = built.counted(&built.lost(&got));
            table += &format!(
                "{name:22} {backlog:22} {back:6.1} % of {}, risen {}, readings lost {lost}, missing {missing}, gaps {gaps}, unreadable {unreadable}\n",
                built.live().len(),
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

/// Which rows have bytes on which page of a database, counted from 0, as `SQLite` says.
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
        let lost = built.rows_hit(&got);
        eprintln!("{name:20} hit {:5.1} %, back {back:5.1} %", percent(hit.len(), built.rows.len()));
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
        assert!(on.len() > 30 && pages > on.len() + 3, "{} {pages}", on.len());
        let mut random = Random(11);
        // Of the pages that hold nothing, a few are enough.
        for page in (0..pages).filter(|page| on.contains_key(page) || *page < 8 || page % 7 == 0) {
            for bit in [random.below(12 * 8), random.below(PAGE * 8)] {
                let got = built.harmed(|f| f.db.as_mut().unwrap()[page * PAGE + bit / 8] ^= 1 << (bit % 8));
                built.judge(&got);
                let lost = built.rows_hit(&got);
                let hit = on.get(&page).cloned().unwrap_or_default();
                assert!(lost.is_subset(&hit), "page {page}, bit {bit}: lost {lost:?}, hit {hit:?}");
                assert_eq!(built.risen(&got), 0, "page {page}, bit {bit}");
            }
        }
    }
}

/// The check sum of a chunk does not cover the numbers beside it.
#[test]
fn flipped_numbers_do_not_move_a_row() {
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
            let lost = built.rows_hit(&got);
            assert!(lost.is_subset(rows), "cell {cell}, bit {bit}: {lost:?}");
        }
    }
}

#[test]
fn a_flipped_bit_in_the_log_costs_what_one_row_lacked_before() {
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
        assert!(built.rows_hit(&got).len() <= 1, "frame {frame}, bit {bit}: {:?}", built.lost(&got));
        built.assert_missing(&got);
        // A short rest behind a break may be what a crash had cut off. So the last deletion of all may
        // not be believed: that of ten chunks.
        assert!(built.risen(&got) <= 10, "frame {frame}, bit {bit}: {}", built.risen(&got));
        outdated += usize::from(got.survey.state != built.state);
    }
    // What stands behind a damaged frame is believed, but for a short rest at the end.
    assert!((1..=15).contains(&outdated), "{outdated}");
}

/// A body without its moments, which are told by numbers that no check sum covers.
fn bare(body: &Arc<Body>) -> Arc<Body> {
    let mut body = Arc::clone(body);
    for at in Arc::make_mut(&mut body).stamps_mut() {
        *at = Stamp::this_boot(0);
    }
    body
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
            for (position, body) in got.entries() {
                prop_assert_eq!(Some(bare(body)), built.ever.get(position).map(bare), "invented: {}", position);
                prop_assert!(*position > end);
                end = *position;
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
    let built = Built::new(Plan { chunks: 60, max_bytes: 2 << 20, delivered: 5, ..PLAN }).checkpointed();
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
    let before = Built::new(plan);
    let next = before.ever.last_key_value().unwrap().0 + 1;
    let commit = |chunks: &[Entries]| {
        let copy = before.copy();
        let path = copy.path().join("q.db");
        let mut store = open(&path, plan.max_bytes, plan.when_full);
        for entries in chunks {
            store.commit(entries, &save(0, 50_000), 1_000_000, OFFSET).unwrap();
        }
        drop(store);
        copy
    };
    let cases = [10, 1500, 5000, 9000, 30_000].into_iter().flat_map(|size| [(size, 0), (size, 1)]);
    for (size, delivered) in cases {
        let large = |seed| Arc::new(message(Random(seed).bytes(size)));
        let cut_off: Entries = (next..next + 5).map(|position| (position, large(position))).collect();
        // What was delivered in time is not committed: so the row may begin elsewhere.
        let kept: Vec<Entries> = (0..2)
            .map(|i| vec![(next + delivered + 3 * i, Arc::new(reading(9000 + u32::try_from(i).unwrap())))])
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
        let tail: Entries = got.entries().filter(|(position, _)| *position >= next).cloned().collect();
        assert_eq!(tail, kept.concat(), "{size}");
        assert!(before.ever.keys().all(|position| got.positions().contains(position)), "{size}");
    }
}

/// Where the frames begin that hold versions of the first row, the oldest first, and the row in each.
fn versions_in_log(built: &Built) -> Vec<(usize, usize)> {
    let log = fs::read(built.log()).unwrap();
    let frames = (32..log.len()).step_by(PAGE + 24).filter(|at| at + PAGE + 24 <= log.len());
    let first_row = |frame: usize| {
        let bytes = &log[frame + 24..frame + 24 + PAGE];
        let tree = page::tree(bytes).filter(|tree| tree.kind == Kind::TableLeaf)?;
        let is_first = |at: &usize| page::chunk_cell(bytes, *at).is_some_and(|(head, _)| head.first == 1);
        tree.cells.into_iter().find(is_first).map(|at| (frame, frame + 24 + at))
    };
    frames.filter_map(first_row).collect()
}

/// One row that grew with each of some commits of two readings, all in the log.
fn grown(commits: u32) -> Built {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir.path().join("q.db"), 1 << 20, WhenFull::DropOldest);
    let mut ever = BTreeMap::new();
    for commit in 0..commits {
        let entries: Entries =
            [2 * commit, 2 * commit + 1].map(|seq| (u64::from(seq) + 1, Arc::new(reading(seq)))).into();
        store.commit(&entries, &save(0, 0), i64::from(commit) * 2000 + 3000, OFFSET).unwrap();
        ever.extend(entries);
    }
    drop(store);
    Built { dir, ever, rows: BTreeMap::new(), state: BTreeMap::new() }.looked_at()
}

/// Harms the newest versions of a row in the log, so many of them.
fn harm_versions(files: &mut Files, versions: &[(usize, usize)], count: usize) {
    let log = files.log.as_mut().unwrap();
    for (_, row) in versions.iter().rev().take(count) {
        // Behind its numbers, so in its content.
        log[row + 80] ^= 0x10;
    }
}

#[test]
fn of_a_row_that_grew_an_older_version_comes_back() {
    let built = grown(20);
    let versions = versions_in_log(&built);
    assert_eq!((built.rows.len(), versions.len()), (1, 20));
    for harmed in 0..6 {
        let got = built.harmed(|f| harm_versions(f, &versions, harmed));
        built.judge(&got);
        assert_eq!(got.positions(), (1..=40 - 2 * harmed as u64).collect::<BTreeSet<_>>(), "{harmed}");
        // At the end of the log it may as well be a commit that a crash cut off.
        assert_eq!((got.counts.missing, got.counts.unreadable), (0, 0), "{harmed}");
    }
}

#[test]
fn what_an_older_version_of_a_row_lacks_is_missing() {
    let built = grown(20).with_large_ones();
    let versions = versions_in_log(&built);
    let again = versions.len() - 20;
    assert_eq!(built.rows.len(), 6);
    assert!(again > 0);
    for harmed in 0..6 {
        let got = built.harmed(|f| harm_versions(f, &versions, harmed));
        built.judge(&got);
        let lacks = 2 * harmed.saturating_sub(again) as u64;
        let expected: BTreeSet<u64> = (1..=40 - lacks).chain(41..=45).collect();
        assert_eq!(got.positions(), expected, "{harmed}");
        assert_eq!((got.counts.missing, got.counts.unreadable), (lacks, 0), "{harmed}");
    }
}

#[test]
fn what_an_older_version_of_the_last_row_lacks_is_missing() {
    let built = grown(20);
    let mut store = open(&built.path(), 1 << 20, WhenFull::DropOldest);
    // So many that what stands before them in the log is believed.
    (1..6).for_each(|next| drop(store.save(&save(0, next), 1_000_000, OFFSET).unwrap()));
    drop(store);
    let versions = versions_in_log(&built);
    for harmed in 0..6 {
        let got = built.harmed(|f| harm_versions(f, &versions, harmed));
        built.judge(&got);
        let lacks = 2 * harmed as u64;
        assert_eq!(got.positions(), (1..=40 - lacks).collect::<BTreeSet<_>>(), "{harmed}");
        assert_eq!((got.counts.missing, got.counts.unreadable), (lacks, 0), "{harmed}");
    }
}

/// The check sum of a frame is wrong, but the row in it is whole.
#[test]
fn a_row_in_a_frame_that_is_damaged_elsewhere_comes_back_whole() {
    let built = grown(20).with_large_ones();
    let versions = versions_in_log(&built);
    // In the frame's head: page, size, a salt, a sum. In the page: its unused room.
    for at in [3, 6, 9, 17, 24 + 100] {
        let got = built.harmed(|f| {
            for (frame, _) in versions.iter().rev().take(2) {
                f.log.as_mut().unwrap()[frame + at] ^= 0x10;
            }
        });
        built.judge(&got);
        assert_eq!(got.positions(), (1..=45).collect::<BTreeSet<_>>(), "{at}");
        assert_eq!((got.counts.missing, got.counts.unreadable), (0, 0), "{at}");
    }
}

/// What was removed on purpose is not missing, whatever else is.
#[test]
fn what_was_thinned_or_purged_is_not_missing() {
    let thinned = Built::new(Plan {
        chunks: 3000,
        max_bytes: 1 << 19,
        message: 500,
        when_full: WhenFull::Thin,
        ..PLAN
    });
    let purged = Built::new(Plan { chunks: 300, max_bytes: 8 << 20, message: 500, ..PLAN }).purged();
    // The log has most of the rows as they were before.
    let got = purged.harmed(|_| {});
    assert_eq!((purged.judge(&got), purged.risen(&got)), (100.0, 0), "{:?}", got.counts);
    for (name, built) in [("thinned", thinned.checkpointed()), ("purged", purged.checkpointed())] {
        let (stored, ever) = (built.counted(&built.live()), built.counted(built.ever.keys()));
        assert!(stored < ever / 4 * 3, "{name}: {stored} of {ever}");
        let got = built.harmed(|_| {});
        built.judge(&got);
        assert_eq!((built.lost(&got), built.risen(&got)), (BTreeSet::new(), 0), "{name}");
        assert_eq!((got.counts.missing, got.counts.gaps), (0, 0), "{name}: {:?}", got.counts);
        let mut hit = 0;
        for seed in 1..12 {
            let got = built.harmed(|f| overwrite_sectors(f, 20, seed));
            built.judge(&got);
            let truth = built.counted(&built.lost(&got));
            if got.survey.state.contains_key("removed") {
                assert!(got.counts.missing <= truth, "{name}: {truth} {:?}", got.counts);
                hit += u32::from(got.counts.missing > 0);
            }
        }
        assert!(hit > 5, "{name}: {hit}");
    }
}

#[test]
fn what_all_bridges_are_done_with_stays_away() {
    let built = Built::new(Plan { chunks: 300, max_bytes: 8 << 20, message: 3000, ..PLAN });
    let live = built.live();
    let (first, last) = (*live.first().unwrap(), *live.last().unwrap());
    let (a, b, c) = (last / 4, last / 2, last / 4 * 3);
    let path = built.path();
    let mut store = open(&path, 8 << 20, WhenFull::DropOldest);
    store
        .save(&save_ahead(first, 0, [vec![(a, c)], vec![(a / 2, b), (c, last + 1)]]), 1_000_000, OFFSET)
        .unwrap();
    drop(store);
    let built = built.looked_at();
    let done: Vec<u64> = built
        .rows
        .iter()
        .filter(|(id, positions)| **id >= a && positions.last() < Some(&b))
        .map(|(id, _)| *id)
        .collect();
    assert!(done.len() > 5, "{done:?}");
    let got = built.harmed(|_| {});
    built.judge(&got);
    let rows: BTreeSet<u64> = got.chunks.iter().map(|(first, _)| *first).collect();
    let away: Vec<u64> = built.rows.keys().filter(|id| !rows.contains(id)).copied().collect();
    assert_eq!(away, done);
    assert_eq!((got.counts.missing, got.counts.old), (0, done.len() as u64));
}

#[test]
fn all_moments_of_an_event_become_wall_time() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("q.db");
    let mut store = open(&path, 1 << 20, WhenFull::DropOldest);
    let span = Some((Stamp::this_boot(1000), Stamp::this_boot(2000)));
    let of = Whose::Device { device: "board-0304".into(), from_seq: 3, to_seq: 4 };
    let kind = EventKind::Lost(Loss { of, span, lost: 2, reason: GapReason::Full });
    let id = MessageId::Gateway { boot: uuid::Uuid::nil(), n: 1 };
    let body = Body::Event(Event { id, at: Stamp::this_boot(3000), kind });
    store.commit(&[(1, Arc::new(body))], &save(0, 0), 4000, OFFSET).unwrap();
    drop(store);
    let got = Got::read(Salvage::open(&path, &bridges(), "another boot").unwrap());
    let wall = |us| Stamp { epoch: Epoch::Wall { estimated: false }, us: OFFSET.us + us };
    let (_, body) = got.entries().next().unwrap();
    let Body::Event(Event { at, kind: EventKind::Lost(loss), .. }) = &**body else { panic!("{body:?}") };
    assert_eq!((*at, loss.span), (wall(3000), Some((wall(1000), wall(2000)))));
}
