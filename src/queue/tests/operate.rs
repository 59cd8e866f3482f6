//! What operators do to a queue, on the real file, with crashes in between.

use super::*;
use crate::queue::operate::{Answer, Reply, SLICE_ENTRIES, Task, Which};
use crate::reading::{Epoch, Event};

fn of(device: &str, seq: u32) -> Body {
    let Body::Reading(mut reading) = reading(seq) else { unreachable!() };
    reading.device = device.into();
    Body::Reading(reading)
}

fn event() -> Body {
    let kind = EventKind::Port { path: "p".into(), state: "open".into() };
    Body::Event(Event { id: MessageId::Gateway { boot: Uuid::nil(), n: 0 }, at: Stamp::this_boot(0), kind })
}

fn device(name: &str) -> Which {
    Which { device: Some(name.into()), ..Which::default() }
}

impl Rig {
    fn commit(&mut self, bodies: Vec<Body>) {
        for body in bodies {
            self.core.push(Arc::new(body), 0b11, None, self.now).unwrap();
        }
        self.now += 250_000;
        self.work();
    }

    /// Does what is due until there is an answer.
    fn answer(&mut self, id: &Result<u64, String>) -> Answer {
        self.work();
        let mut answers = self.core.take_answers();
        assert_eq!(answers.len(), 1);
        let (number, answer) = answers.remove(0);
        assert_eq!(Ok(number), *id);
        answer
    }

    fn purge(&mut self, which: Which) -> u64 {
        let id = self.core.ask_purge(which, self.now);
        match self.answer(&id) {
            Ok(Reply::Purged(n)) => n,
            other => panic!("{other:?}"),
        }
    }

    fn waiting(&mut self, bridge: Option<usize>) -> Vec<Arc<Body>> {
        let (mut from, mut all) = (Some(0), Vec::new());
        while let Some(next) = from {
            let id = self.core.ask(Task::Read { bridge, from: next });
            let Ok(Reply::Read(slice)) = self.answer(&id) else { panic!("no slice") };
            assert!(slice.entries.is_sorted_by_key(|entry| entry.position));
            all.extend(slice.entries.into_iter().map(|entry| entry.body));
            from = slice.next;
        }
        all
    }

    /// The file is whole, and holds so many readings.
    fn assert_whole(&mut self, readings: u64) {
        let (mut after, mut all) = (None, 0);
        loop {
            let id = self.core.ask(Task::Verify { after });
            let Ok(Reply::Verified(checked)) = self.answer(&id) else { panic!("not checked") };
            assert_eq!(checked.bad, []);
            all += checked.readings;
            after = checked.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(all, readings);
    }

    fn assert_account(&self, waiting: u64) {
        let status = self.core.status(self.now);
        assert_eq!(status.readings, waiting, "{status:?}");
        assert_eq!(status.accepted, status.delivered + status.dropped.total() + status.readings);
    }
}

fn seqs(bodies: &[Arc<Body>]) -> Vec<u32> {
    bodies.iter().map(|body| seq_of(body)).collect()
}

#[test]
fn what_waits_is_listed_from_disk_and_memory() {
    let mut rig = Rig::late();
    let total = u32::try_from(SLICE_ENTRIES).unwrap() * 2 + 5;
    rig.commit((0..total - 5).map(reading).collect());
    for seq in total - 5..total {
        rig.push(seq, 0b10).unwrap();
    }
    assert_eq!(seqs(&rig.waiting(None)), (0..total).collect::<Vec<_>>());
    // What one bridge has does not wait for it any more, but for the other.
    let taken = rig.take(0, 3);
    rig.core.done(0, taken[1].0, rig.now);
    let mut expected: Vec<u32> = (0..total - 5).collect();
    expected.remove(1);
    assert_eq!(seqs(&rig.waiting(Some(0))), expected);
    assert_eq!(rig.waiting(Some(1)).len(), total as usize);
    assert_eq!(rig.waiting(None).len(), total as usize);
}

#[test]
fn a_commit_that_is_due_comes_before_an_operator_and_others_take_turns() {
    let mut rig = Rig::late();
    rig.commit((0..10).map(reading).collect());
    rig.push(10, 1).unwrap();
    rig.now += 249_999;
    let read = || Task::Read { bridge: None, from: 0 };
    for _ in 0..2 {
        rig.core.ask(read()).unwrap();
    }
    // The deadline is not there yet.
    let Next::Do(job @ Job::Operate { .. }) = rig.core.next_job(rig.now) else { panic!("not its turn") };
    rig.perform(&job);
    rig.now += 1;
    let Next::Do(job @ Job::Commit { .. }) = rig.core.next_job(rig.now) else { panic!("too late") };
    rig.perform(&job);
    // A bridge wants to read, an operator too: one after the other.
    rig.core.ask(read()).unwrap();
    let mut order = String::new();
    for _ in 0..4 {
        // What was read is out of date: it must be read again.
        rig.core.rewind(0);
        assert!(!rig.core.has_entries(0));
        let Next::Do(job) = rig.core.next_job(rig.now) else { panic!("nothing to do") };
        order.push(if matches!(job, Job::Operate { .. }) { 'o' } else { 'l' });
        rig.perform(&job);
    }
    assert_eq!(order, "lolo");
}

#[test]
fn a_purge_takes_what_is_meant_and_nothing_else() {
    for (first, other, theirs) in [("a", "b", 30), ("b", "a", 22)] {
        let mut rig = Rig::new(Settings { event_wants: 0b11, ..settings(false) }, limits());
        for round in 0..30 {
            let seq = round * 10;
            // Chunks of one device, of the other, of both, of an event.
            rig.commit(match round % 4 {
                0 => vec![of("a", seq), of("a", seq + 1)],
                1 => vec![of("b", seq)],
                2 => vec![of("b", seq), of("a", seq + 1), event(), of("a", seq + 2), of("b", seq + 3)],
                _ => vec![event()],
            });
        }
        rig.assert_account(52);
        // The other bridge has none of them: what one has is not delivered.
        let taken = rig.take(0, 1);
        rig.core.done(0, taken[0].0, rig.now);
        assert_eq!(rig.purge(device(first)), theirs);
        rig.assert_account(52 - theirs);
        rig.assert_whole(52 - theirs);
        // All at once, in one event when it is over.
        rig.now += QUIET_US;
        rig.work();
        rig.now += 250_000;
        rig.work();
        let left = rig.waiting(None);
        let of_other = |body: &&Arc<Body>| matches!(&***body, Body::Reading(r) if &*r.device == other);
        assert_eq!(left.iter().filter(of_other).count() as u64, 52 - theirs);
        // All events, and one gap.
        assert_eq!(left.iter().filter(|body| !body.counts()).count(), 7 + 7 + 1);
        let Some(Body::Event(Event { kind: EventKind::Lost(loss), .. })) = left.last().map(|body| &**body)
        else {
            panic!("{left:?}")
        };
        assert!(matches!(&loss.of, Whose::Device { device, .. } if &**device == first), "{loss:?}");
        assert_eq!((loss.lost, loss.reason), (theirs, GapReason::Purged));
        rig.now += 60_000_000;
        rig.work();
        rig.crash();
        rig.assert_account(52 - theirs);
        // And the rest: nothing but events is left in the file.
        assert_eq!(rig.purge(Which::default()), 52 - theirs);
        rig.assert_account(0);
        rig.assert_whole(0);
        assert_eq!(rig.core.status(0).dropped.purged, 52);
        assert!(rig.waiting(None).len() > 14);
    }
}

#[test]
fn what_was_purged_does_not_come_back_with_the_next_commit() {
    for (a, b) in [("a", "b"), ("b", "a")] {
        let mut rig = Rig::late();
        // Small commits become part of the newest row.
        rig.commit(vec![of(a, 0), of(b, 1), of(a, 2)]);
        assert_eq!(rig.purge(device("a")), if a == "a" { 2 } else { 1 });
        rig.commit(vec![of("b", 3)]);
        rig.commit(vec![of("b", 4)]);
        let left = if a == "a" { vec![1, 3, 4] } else { vec![0, 2, 3, 4] };
        assert_eq!(seqs(&rig.waiting(None)), left);
        rig.assert_whole(left.len() as u64);
        rig.crash();
        rig.assert_account(left.len() as u64);
    }
}

#[test]
fn a_purge_by_age_takes_the_old() {
    let mut rig = Rig::late();
    let fresh = |rig: &Rig, seq| {
        let Body::Reading(mut reading) = reading(seq) else { unreachable!() };
        reading.at = Stamp::this_boot(rig.now);
        Body::Reading(reading)
    };
    // They are stored together, all the same.
    let first = vec![fresh(&rig, 0), fresh(&rig, 1)];
    rig.commit(first);
    rig.now += 10_000_000;
    let second = vec![fresh(&rig, 2)];
    rig.commit(second);
    rig.core.push(Arc::new(fresh(&rig, 3)), 1, None, rig.now).unwrap();
    assert_eq!(rig.purge(Which { older_than_us: Some(5_000_000), device: None }), 2);
    rig.assert_account(2);
    assert_eq!(seqs(&rig.waiting(None)), [2, 3]);
}

#[test]
fn what_is_in_flight_during_a_purge_counts_once() {
    for durable_first in [false, true] {
        let mut rig = Rig::new(settings(durable_first), limits());
        rig.commit((0..20).map(reading).collect());
        let (one, two) = (rig.take(0, 8), rig.take(1, 12));
        // Both have the first two, one of them has the third.
        for (position, _) in &one[..2] {
            rig.core.done(0, *position, rig.now);
            rig.core.done(1, *position, rig.now);
        }
        rig.core.done(1, two[2].0, rig.now);
        rig.push(20, 0b11).unwrap();
        assert_eq!(rig.purge(Which::default()), 19);
        rig.assert_account(0);
        // What was on its way arrives all the same, and is not counted again.
        for (position, _) in one.iter().chain(&two) {
            rig.core.done(0, *position, rig.now);
            rig.core.done(1, *position, rig.now);
        }
        rig.assert_account(0);
        assert_eq!(rig.take(0, 100), []);
        assert_eq!(rig.take(1, 100), []);
        assert!(rig.safe.contains(&20), "its sender heard that it is safe, and need not send it again");
        rig.push(21, 0b11).unwrap();
        rig.now += 250_000;
        rig.work();
        for bridge in 0..2 {
            rig.core.rewind(bridge);
            assert_eq!(rig.take(bridge, 100).iter().map(|t| t.1).collect::<Vec<_>>(), [21]);
        }
    }
}

#[test]
fn a_purge_that_a_crash_cuts_short_leaves_the_account_exact() {
    let mut rig = Rig::late();
    // More than a slice takes.
    for n in 0..1200 {
        rig.commit(vec![of("b", n * 3), of("a", n * 3 + 1), of("a", n * 3 + 2)]);
    }
    // What was delivered stays in the file until the whole row was.
    for (slices, delivered) in [(1, 0), (2, 10)] {
        rig.core.ask_purge(device("a"), rig.now).unwrap();
        let mut done = 0;
        while done < slices {
            let Next::Do(job) = rig.core.next_job(rig.now) else { panic!("nothing to do") };
            done += u32::from(matches!(job, Job::Operate { .. }));
            rig.perform(&job);
        }
        let left = rig.core.status(rig.now).readings;
        assert!((1201..3600).contains(&left), "{left}");
        rig.crash();
        rig.assert_account(left);
        rig.assert_whole(left + delivered);
        // Life goes on, at the front and behind.
        for bridge in 0..2 {
            for (position, _) in rig.take(bridge, 10) {
                rig.core.done(bridge, position, rig.now);
            }
        }
        rig.commit(vec![of("b", 5000), of("a", 5001)]);
        // What was acknowledged is saved.
        rig.now += crate::queue::core::SAVE_WITHIN_US;
        rig.work();
        rig.crash();
        rig.assert_account(left - 10 + 2);
    }
    let before = rig.core.status(rig.now).readings;
    let purged = rig.purge(device("a"));
    assert!(purged > 2, "{purged}");
    rig.assert_account(before - purged);
    rig.crash();
    rig.assert_account(before - purged);
    assert_eq!(rig.waiting(None).len() as u64, before - purged);
}

#[test]
fn a_disk_that_refuses_is_told_to_the_operator() {
    let mut rig = Rig::late();
    rig.push(0, 1).unwrap();
    let id = rig.core.ask_purge(Which::default(), rig.now);
    let Next::Do(job @ Job::Commit { .. }) = rig.core.next_job(rig.now) else { panic!("it waits") };
    rig.core.finished(Outcome::Failed { job, error: "no space".into() }, rig.now);
    let answers = rig.core.take_answers();
    assert!(matches!(&answers[..], [(number, Err(error))] if Ok(*number) == id && error == "no space"));
    assert_eq!(rig.core.status(rig.now).readings, 1);
}

#[test]
fn an_imported_reading_says_nothing_of_its_board() {
    let mut rig = Rig::late();
    rig.push(100, 1).unwrap();
    let uid = Uid::new(&[1, 2, 3, 4]).unwrap();
    let resume = rig.core.resume(&uid, 7);
    assert_eq!(resume.map(|resume| resume.next), Some(101));
    let Body::Reading(mut old) = reading(5) else { unreachable!() };
    old.at = Stamp { epoch: Epoch::Wall { estimated: false }, us: 1 };
    rig.core.import(Arc::new(Body::Reading(old)), 1, 5, rig.now).unwrap();
    assert_eq!(rig.core.resume(&uid, 7), resume);
    // It need not wait for its deadline, and hurries nobody after it.
    assert!(!rig.safe.contains(&5));
    rig.work();
    assert!(rig.safe.contains(&5));
    rig.push(101, 1).unwrap();
    assert!(rig.core.wake_at().is_some_and(|due| due > rig.now));
    // Nor does it at the next start, where a board's number is taken from the newest readings.
    rig.now += 250_000;
    rig.work();
    rig.crash();
    assert_eq!(rig.core.resume(&uid, 7).map(|resume| resume.next), Some(102));
    let Body::Reading(mut old) = reading(6) else { unreachable!() };
    old.at = Stamp { epoch: Epoch::Wall { estimated: false }, us: 1 };
    rig.core.import(Arc::new(Body::Reading(old)), 1, 6, rig.now).unwrap();
    rig.work();
    rig.crash();
    assert_eq!(rig.core.resume(&uid, 7).map(|resume| resume.next), Some(102));
}
