//! What is lost is counted and told.

use super::*;

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
            expiry: None,
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
