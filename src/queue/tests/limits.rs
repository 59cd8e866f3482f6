//! The limits by size, by number and by age.

use super::*;

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
        expiry: None,
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
