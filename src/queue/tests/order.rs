//! Live readings before a backlog.

use super::*;

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
