//! The disk is full, read-only, broken or slow.

use super::*;
use crate::queue::job::Damage;
use crate::reading::{Loss, Whose};
use crate::status::QueueState;

/// A reading of a source that nobody answers.
fn push_untold(rig: &mut Rig, seq: u32) -> Result<(), Full> {
    rig.core.push(Arc::new(reading(seq)), 1, None, rig.now)
}

/// Whatever the storage thread wants to do now fails.
fn fail_due(rig: &mut Rig) {
    while let Next::Do(job) = rig.core.next_job(rig.now) {
        rig.core.finished(Outcome::Failed { job, error: "no space".into() }, rig.now);
    }
}

fn unopened() -> Rig {
    let mut rig = Rig::late();
    rig.core = Core::unopened(rig.settings, Uuid::nil(), BRIDGES, "read-only".into(), 0);
    rig
}

/// Opens the file for a core that began without.
fn open_at_last(rig: &mut Rig) {
    rig.now += 60_000_000;
    let job = rig.core.next_job(rig.now);
    assert!(matches!(job, Next::Do(Job::Open)), "{job:?}");
    let found = rig.store.as_mut().unwrap().found().unwrap();
    rig.core.finished(Outcome::Opened { job: Job::Open, found, damage: None }, rig.now);
}

fn seqs(taken: &[(u64, u32)]) -> Vec<u32> {
    taken.iter().map(|(_, seq)| *seq).collect()
}

#[test]
fn the_oldest_give_way_in_memory_and_are_counted_and_told_of() {
    let settings = Settings { event_wants: 1, memory_bytes: 64 << 10, ..settings(false) };
    let mut rig = Rig::new(settings, limits());
    for seq in 0..2000 {
        push_untold(&mut rig, seq).unwrap();
        rig.now += 1000;
        fail_due(&mut rig);
    }
    let status = rig.core.status(rig.now);
    assert_eq!((status.state, status.last_error.as_deref()), (QueueState::Degraded, Some("no space")));
    assert!(status.dropped.full > 1000, "{status:?}");
    assert_eq!(status.accepted, 2000);
    assert_eq!(status.readings + status.dropped.full, 2000);
    // The disk is back: the newest are there, without a hole, and the event names the others.
    rig.now += 60_000_000;
    rig.work();
    let mut kept = Vec::new();
    let mut lost = Vec::new();
    for _ in 0..1000 {
        rig.now += 10_000;
        rig.work();
        // The other bridge passes by what is not for it.
        assert_eq!(rig.core.take(1, 1000, rig.now, |_| false), []);
        for entry in rig.core.take(0, 1000, rig.now, |_| true) {
            rig.core.done(0, entry.position, rig.now);
            match entry.body.as_ref() {
                Body::Event(event) => lost.push(event.kind.clone()),
                body => kept.push(seq_of(body)),
            }
        }
    }
    let first = 2000 - u32::try_from(kept.len()).unwrap();
    assert_eq!(kept, (first..2000).collect::<Vec<_>>());
    let told = match lost.as_slice() {
        [
            EventKind::Lost(Loss {
                of: Whose::Device { from_seq: 0, to_seq, .. },
                lost,
                reason: GapReason::Full,
                ..
            }),
        ] => Some((*to_seq, *lost)),
        _ => None,
    };
    assert_eq!(told, Some((u64::from(first) - 1, u64::from(first))), "{lost:?}");
    let status = rig.core.status(rig.now);
    assert_eq!((status.state, status.last_error, status.readings), (QueueState::Ok, None, 0));
    assert_eq!(status.accepted, status.delivered + status.dropped.total());
}

#[test]
fn who_hears_what_is_safe_keeps_its_readings_itself() {
    let settings = Settings { memory_bytes: 64 << 10, ..settings(false) };
    let mut rig = Rig::new(settings, limits());
    let mut taken = 0;
    while rig.push(taken, 1).is_ok() {
        taken += 1;
    }
    // Nothing here may be given up: all of it is somebody's who waits.
    assert_eq!(push_untold(&mut rig, taken), Err(Full));
    assert_eq!(rig.core.status(0).dropped.full, 0);
    let mut rig = Rig::new(
        Settings { keep_oldest: Some(Room { bytes: u64::MAX, readings: None }), ..settings },
        limits(),
    );
    let mut taken = 0;
    while push_untold(&mut rig, taken).is_ok() {
        taken += 1;
    }
    assert!(taken > 100);
    assert_eq!(rig.core.status(0).dropped.full, 0, "the oldest were to be kept");
}

#[test]
fn what_a_bridge_has_in_flight_does_not_give_way() {
    let settings = Settings { memory_bytes: 64 << 10, ..settings(false) };
    let mut rig = Rig::new(settings, limits());
    for seq in 0..10 {
        push_untold(&mut rig, seq).unwrap();
    }
    let in_flight = rig.core.take(0, 5, 0, |_| true);
    for seq in 10..2000 {
        push_untold(&mut rig, seq).unwrap();
    }
    for entry in in_flight {
        rig.core.done(0, entry.position, 0);
    }
    let status = rig.core.status(0);
    assert_eq!((status.delivered, status.accepted), (5, 2000));
    assert_eq!(status.readings + status.dropped.full, 1995);
}

#[test]
fn a_queue_without_a_file_delivers_and_goes_on_where_the_file_ends() {
    let mut rig = unopened();
    // An earlier run left something in the file.
    let mut before =
        Core::<u32>::new(rig.settings, Uuid::nil(), rig.store.as_mut().unwrap().found().unwrap());
    for seq in 0..5 {
        before.push(Arc::new(reading(seq)), 1, None, 0).unwrap();
    }
    before.stop();
    let Next::Do(job) = before.next_job(0) else { panic!("no commit") };
    std::mem::swap(&mut rig.core, &mut before);
    rig.perform(&job);
    std::mem::swap(&mut rig.core, &mut before);

    for seq in 100..105 {
        rig.push(seq, 1).unwrap();
    }
    let taken = rig.core.take(0, 2, 0, |_| true);
    rig.core.done(0, taken[0].position, 0);
    assert_eq!(rig.core.status(0).state, QueueState::Degraded);
    open_at_last(&mut rig);
    // What is said now of a position from before means nothing, whatever stands there today.
    rig.core.done(0, taken[1].position, rig.now);
    let status = rig.core.status(rig.now);
    assert_eq!((status.accepted, status.delivered, status.readings), (10, 1, 9));
    let all = rig.take(0, 100);
    assert_eq!(seqs(&all), [0, 1, 2, 3, 4, 101, 102, 103, 104]);
    rig.work();
    assert!([100, 101, 102, 103, 104].iter().all(|seq| rig.safe.contains(seq)));
    rig.crash();
    assert_eq!(seqs(&rig.take(0, 100)), [0, 1, 2, 3, 4, 101, 102, 103, 104]);
}

#[test]
fn a_file_that_cannot_be_opened_is_tried_again_and_again() {
    let mut rig = unopened();
    let mut tries = 0;
    while rig.now < 60_000_000 {
        rig.now += 100_000;
        while let Next::Do(job) = rig.core.next_job(rig.now) {
            assert!(matches!(job, Job::Open));
            rig.core.finished(Outcome::Failed { job, error: "read-only".into() }, rig.now);
            tries += 1;
        }
    }
    assert!((6..20).contains(&tries), "{tries} tries in a minute");
    rig.core.stop();
    let Next::Do(job) = rig.core.next_job(rig.now) else { panic!("one last try") };
    rig.core.finished(Outcome::Failed { job, error: "read-only".into() }, rig.now);
    assert!(matches!(rig.core.next_job(rig.now), Next::Stop));
}

#[test]
fn a_disk_that_takes_no_writes_still_gives_what_it_has() {
    let mut rig = Rig::late();
    for seq in 0..10 {
        rig.push(seq, 1).unwrap();
    }
    rig.now = 300_000;
    rig.work();
    rig.push(10, 1).unwrap();
    rig.now = 600_000;
    assert!(rig.core.has_entries(0) || rig.core.wake_at().is_some());
    for _ in 0..10 {
        match rig.core.next_job(rig.now) {
            Next::Do(job @ Job::Load { .. }) => rig.perform(&job),
            Next::Do(job) => rig.core.finished(Outcome::Failed { job, error: "full".into() }, rig.now),
            _ => break,
        }
    }
    let taken = rig.core.take(0, 100, rig.now, |_| true);
    assert_eq!(taken.len(), 11, "{taken:?}");
}

#[test]
fn a_disk_that_cannot_be_read_still_takes_what_comes() {
    let mut rig = Rig::late();
    rig.push(0, 1).unwrap();
    rig.now = 300_000;
    rig.work();
    assert!(!rig.core.has_entries(0));
    let Next::Do(job @ Job::Load { .. }) = rig.core.next_job(rig.now) else { panic!("no load") };
    rig.core.finished(Outcome::Failed { job, error: "unreadable".into() }, rig.now);
    rig.push(1, 1).unwrap();
    rig.now += 250_000;
    assert!(!rig.core.has_entries(0));
    rig.work();
    assert!(rig.safe.contains(&1));
    assert_eq!(rig.core.status(rig.now).last_error.as_deref(), Some("unreadable"));
    rig.now += 1_000_000;
    assert_eq!(seqs(&rig.take(0, 10)), [0, 1]);
    assert_eq!(rig.core.status(rig.now).last_error, None);
}

#[test]
fn a_bridge_whose_load_met_the_damage_goes_on_with_the_new_file() {
    let mut rig = Rig::late();
    rig.push(0, 1).unwrap();
    rig.now = 300_000;
    rig.work();
    assert!(!rig.core.has_entries(0));
    let Next::Do(job @ Job::Load { .. }) = rig.core.next_job(rig.now) else { panic!("no load") };
    let damage = Damage { path: "aside".into(), reason: "malformed".into() };
    rig.core.finished(Outcome::Replaced { job, damage }, rig.now);
    rig.push(1, 1).unwrap();
    rig.now += 300_000;
    rig.work();
    assert_eq!(seqs(&rig.take(0, 10)), [1]);
}

#[test]
fn a_write_that_takes_seconds_is_trouble() {
    let mut rig = Rig::late();
    rig.push(0, 1).unwrap();
    rig.now = 250_000;
    let Next::Do(job) = rig.core.next_job(rig.now) else { panic!("no commit") };
    assert_eq!(rig.core.status(rig.now + 1_000_000).state, QueueState::Ok);
    let status = rig.core.status(rig.now + 3_000_000);
    assert_eq!(status.state, QueueState::Degraded);
    assert_eq!(status.last_error.as_deref(), Some("the disk has been at one write for 3 s"));
    rig.perform(&job);
    assert_eq!(rig.core.status(rig.now + 3_000_000).state, QueueState::Ok);
}

/// Takes and acknowledges everything until a damaged file has been read. Gives the readings that came,
/// and the recovered and lost ones of the event.
async fn drain_until_salvaged(queue: &Queue) -> (BTreeSet<u32>, (u64, u64)) {
    let outlet = queue.outlet(0);
    let mut came = BTreeSet::new();
    loop {
        let status = queue.status();
        assert_eq!(status.accepted, status.delivered + status.dropped.total() + status.readings);
        outlet.ready().await;
        for entry in outlet.take(100) {
            outlet.done(entry.position);
            match entry.body.as_ref() {
                Body::Event(event) => {
                    if let EventKind::Salvage { recovered, lost, .. } = event.kind {
                        return (came, (recovered, lost));
                    }
                }
                body => drop(came.insert(seq_of(body))),
            }
        }
    }
}

fn overwrite(path: &std::path::Path, at: u64, bytes: &[u8]) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, bytes, at).unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn what_is_whole_in_a_damaged_file_comes_back() {
    let dir = TempDir::new().unwrap();
    let queue = open(&dir);
    for seq in 0..300 {
        let ticket = queue.push_ticketed(reading(seq)).unwrap();
        if seq % 10 == 9 {
            ticket.await.unwrap();
        }
    }
    queue.close();
    drop(queue);
    // The headers: SQLite can make nothing of the rest.
    overwrite(&dir.path().join("queue.db"), 0, &[0xEE; 100]);
    overwrite(&dir.path().join("queue.db-wal"), 0, &[0xEE; 32]);

    let queue = open(&dir);
    let uid = Uid::new(&[1, 2, 3, 4]).unwrap();
    let (came, told) = drain_until_salvaged(&queue).await;
    assert_eq!((told, came.len()), ((300, 0), 300));
    assert_eq!(queue.resume(&uid, 7).map(|resume| resume.next), Some(300));
    let status = queue.status();
    assert_eq!((status.accepted, status.delivered, status.readings), (300, 300, 0), "{status:?}");
    queue.close();
    drop(queue);
    // It is read once.
    assert!(dir.path().join("queue.db.damaged-1-salvaged").exists());
    let queue = open(&dir);
    assert_eq!(queue.status().readings, 0);
    assert_eq!(queue.resume(&uid, 7).map(|resume| resume.next), Some(300));
    queue.close();
}

#[tokio::test(flavor = "current_thread")]
async fn a_file_that_is_damaged_at_work_is_read_while_work_goes_on() {
    let dir = TempDir::new().unwrap();
    let queue = open(&dir);
    const N: u32 = 400;
    for seq in 0..N {
        let Body::Reading(mut reading) = reading(seq) else { unreachable!() };
        let noise: String = (0..20_000).map(|_| char::from(fastrand::u8(33..127))).collect();
        reading.values.push(("noise".into(), Value::Text(noise.into())));
        let ticket = queue.push_ticketed(Body::Reading(reading)).unwrap();
        ticket.await.unwrap();
    }
    // Some leaves of the table's tree, wherever they stand: SQLite meets them on its way.
    for (name, begin, step) in [("queue.db", 0, 1024), ("queue.db-wal", 32 + 24, 1024 + 24)] {
        let path = dir.path().join(name);
        let bytes = std::fs::read(&path).unwrap();
        let leaves = (begin..bytes.len()).step_by(step).filter(|at| bytes[*at] == 0x0D);
        for at in leaves.skip(20).step_by(7) {
            overwrite(&path, at as u64, &[0xEE; 8]);
        }
    }
    let (mut came, (recovered, lost)) = drain_until_salvaged(&queue).await;
    eprintln!("{} came, {recovered} of them from the damaged file, {lost} were lost", came.len());
    assert_eq!(came.len() as u64 + lost, u64::from(N));
    assert!(recovered > 0 && came.len() > 300);
    let ticket = queue.push_ticketed(reading(N)).unwrap();
    assert!(matches!(ticket.await, Ok(Safe::Durable | Safe::Delivered)));
    came.insert(N);
    let status = queue.status();
    assert_eq!(status.accepted, u64::from(N) + 1);
    assert_eq!(status.dropped.corrupt, lost);
    queue.close();
}

/// What was being done when the daemon was told to stop is not yet what the stop asks for.
#[test]
fn what_comes_in_while_a_job_is_under_way_is_committed_before_the_end() {
    for fails in [false, true] {
        let mut rig = Rig::late();
        rig.push(0, 1).unwrap();
        rig.now = 300_000;
        let Next::Do(job @ Job::Commit { .. }) = rig.core.next_job(rig.now) else { panic!("no commit") };
        rig.push(1, 1).unwrap();
        rig.core.stop();
        if fails {
            rig.core.finished(Outcome::Failed { job, error: "no".into() }, rig.now);
        } else {
            rig.perform(&job);
        }
        rig.work();
        assert!(matches!(rig.core.next_job(rig.now), Next::Stop));
        assert_eq!(rig.safe, BTreeSet::from([0, 1]));
        assert_eq!(rig.core.status(rig.now).volatile, 0);
        rig.crash();
        assert_eq!(seqs(&rig.take(0, 100)), [0, 1]);
    }
}

#[test]
fn a_disk_that_refuses_the_last_commit_does_not_keep_the_daemon_from_its_end() {
    let mut rig = Rig::late();
    rig.push(0, 1).unwrap();
    rig.core.stop();
    let Next::Do(job @ Job::Commit { .. }) = rig.core.next_job(rig.now) else { panic!("no commit") };
    rig.core.finished(Outcome::Failed { job, error: "no".into() }, rig.now);
    assert!(matches!(rig.core.next_job(rig.now), Next::Stop));
}
