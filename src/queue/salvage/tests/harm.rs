//! What comes back of files that were harmed, and what must not.

use super::*;

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
