//! Real queue files, harmed in every way.

mod harm;
mod versions;

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
    let limits =
        Limits { max_bytes, max_age_us: i64::MAX, max_readings: None, when_full, letters_bytes: 1 << 20 };
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
        letters: Default::default(),
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
