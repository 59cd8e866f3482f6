//! What a bridge can never deliver is kept, on the real file, with crashes in between.

use super::*;
use crate::queue::letters::Letter;
use crate::queue::operate::{Answer, Reply, Task};
use crate::status::DeadLetters;

fn letter(body: &Body, bytes: usize) -> Letter {
    Letter {
        bridge: "a".into(),
        unix_us: 5,
        topic: format!("t/{}", seq_of(body)).into(),
        reason: "too large".into(),
        entry: format!("{}{}", seq_of(body), "x".repeat(bytes)).into(),
    }
}

/// One that packs to about a kilobyte.
fn long(seq: u32) -> Body {
    let Body::Reading(mut reading) = reading(seq) else { unreachable!() };
    let mut rng = fastrand::Rng::with_seed(seq.into());
    let text: String = (0..1000).map(|_| rng.alphanumeric()).collect();
    reading.values = vec![("text".into(), Value::Text(text.into()))];
    Body::Reading(reading)
}

impl Rig {
    /// Bridge `index` refuses the next `max`, each with a letter of so many bytes.
    fn refuse(&mut self, index: usize, max: usize, bytes: usize) {
        for (position, seq) in self.take(index, max) {
            let body = reading(seq);
            let letter = Letter { bridge: ["a", "b"][index].into(), ..letter(&body, bytes) };
            self.core.refused(index, position, &body, Some(letter), self.now);
        }
        self.note_safe();
    }

    fn ask(&mut self, task: Task) -> Answer {
        let id = self.core.ask(task);
        self.work();
        let (number, answer) = self.core.take_answers().remove(0);
        assert_eq!(Ok(number), id);
        answer
    }

    fn letters(&mut self) -> Vec<(u64, Letter)> {
        let (mut after, mut all) = (None, Vec::new());
        loop {
            let Ok(Reply::Letters(slice)) = self.ask(Task::Letters { after }) else { panic!("no letters") };
            all.extend(slice.letters);
            after = slice.next;
            if after.is_none() {
                return all;
            }
        }
    }

    /// The bridges and numbers of all that is kept.
    fn kept(&mut self) -> Vec<(String, u32)> {
        let number = |letter: &Letter| letter.entry.trim_end_matches('x').parse().unwrap();
        self.letters().iter().map(|(_, letter)| (letter.bridge.to_string(), number(letter))).collect()
    }

    fn dead(&self) -> DeadLetters {
        self.core.status(self.now).dead_letters
    }

    fn pass(&mut self) {
        self.now += 250_000;
        self.work();
    }
}

#[test]
fn a_refused_row_is_safe_when_its_dead_letter_is_on_disk() {
    let mut rig = Rig::late();
    rig.push(0, 1).unwrap();
    rig.refuse(0, 1, 10);
    assert!(rig.safe.is_empty(), "neither the queue nor the dead letters have it");
    rig.crash();
    assert_eq!((rig.kept(), rig.dead().count), (vec![], 0));

    rig.push(1, 1).unwrap();
    rig.refuse(0, 1, 10);
    rig.failures = 1;
    rig.pass();
    assert!(rig.safe.is_empty(), "the disk did not take it");
    rig.now += 10_000_000;
    rig.work();
    assert_eq!(rig.safe, BTreeSet::from([1]));
    rig.crash();
    let letters = rig.letters();
    assert_eq!(letters, [(1, letter(&reading(1), 10))]);
    let status = rig.core.status(rig.now);
    assert_eq!((status.accepted, status.dropped.refused, status.readings), (1, 1, 0));
    assert_eq!(rig.dead(), DeadLetters { count: 1, bytes: letters[0].1.bytes() as u64, lost: 0 });
}

#[test]
fn a_row_that_another_bridge_has_is_safe_no_sooner() {
    let mut rig = Rig::late();
    rig.push(0, 3).unwrap();
    rig.refuse(0, 1, 10);
    let taken = rig.take(1, 1);
    rig.core.done(1, taken[0].0, rig.now);
    rig.note_safe();
    assert!(rig.safe.is_empty());
    rig.pass();
    assert_eq!(rig.safe, BTreeSet::from([0]));
}

#[test]
fn a_row_on_disk_leaves_with_its_dead_letter_and_not_before() {
    let mut rig = Rig::late();
    (0..20).for_each(|seq| rig.push(seq, 1).unwrap());
    rig.pass();
    rig.refuse(0, 20, 10);
    rig.crash();
    assert_eq!(rig.core.status(rig.now).readings, 20, "what was not written is handed out again");
    rig.refuse(0, 20, 10);
    rig.pass();
    rig.crash();
    assert_eq!(rig.kept(), (0..20).map(|seq| ("a".to_owned(), seq)).collect::<Vec<_>>());
    // The other bridge wanted them, too.
    assert_eq!(rig.take(1, 100).len(), 20);
    assert_eq!(rig.take(0, 100), []);
}

#[test]
fn saving_cursors_takes_the_dead_letters_along() {
    let mut rig = Rig::new(Settings { commit_within_us: 10_000_000, ..settings(false) }, limits());
    (0..5).for_each(|seq| rig.push(seq, 1).unwrap());
    rig.now += 10_000_000;
    rig.work();
    rig.refuse(0, 5, 10);
    rig.core.save_soon(rig.now);
    rig.work();
    rig.crash();
    assert_eq!(rig.kept().len(), 5);
}

#[test]
fn the_oldest_dead_letters_go_for_new_ones_and_are_counted() {
    let mut rig = Rig::new(settings(false), Limits { letters_bytes: 20 << 10, ..limits() });
    for seq in 0..30 {
        rig.push(seq, 1).unwrap();
        rig.refuse(0, 1, 1500);
        rig.pass();
    }
    let kept = rig.kept();
    assert_eq!(kept, (20..30).map(|seq| ("a".to_owned(), seq)).collect::<Vec<_>>());
    assert_eq!(rig.dead(), DeadLetters { count: 10, bytes: 20 << 10, lost: 20 });
    rig.crash();
    assert_eq!(rig.kept(), kept);
    rig.push(30, 1).unwrap();
    rig.refuse(0, 1, 30 << 10);
    rig.pass();
    assert_eq!(rig.dead().lost, 21, "one that is larger than all that is kept");
    assert_eq!(rig.dead().count, 10);
}

#[test]
fn dead_letters_stay_within_a_full_queue() {
    for when_full in [WhenFull::DropOldest, WhenFull::DropNewest, WhenFull::Thin] {
        let limits = Limits { max_bytes: 1 << 20, letters_bytes: 128 << 10, when_full, ..limits() };
        let mut rig = Rig::new(settings_for(&limits), limits.clone());
        rig.grow_log();
        let mut seq = 0;
        while rig.core.status(rig.now).dropped.total() == 0 {
            for _ in 0..20 {
                let body = Arc::new(long(seq));
                if rig.core.push(Arc::clone(&body), 3, None, rig.now).is_err() {
                    rig.core.refuse(&body, rig.now);
                }
                seq += 1;
            }
            rig.pass();
            assert!(seq < 10_000, "never full");
        }
        for _ in 0..100 {
            rig.refuse(0, 1, 3000);
            rig.pass();
        }
        let dead = rig.dead();
        assert_eq!(dead.count + dead.lost, 100, "{when_full:?}: {dead:?}");
        let file = rig.store.as_ref().unwrap();
        assert!(file.used_bytes().unwrap() <= limits.content_bytes() + 64 * 1024);
        assert_eq!(rig.core.status(rig.now).last_error, None);
    }
}

#[test]
fn what_waits_for_a_disk_that_refuses_is_bounded() {
    let mut rig = Rig::late();
    rig.failures = u8::MAX;
    for seq in 0..40 {
        rig.push(seq, 1).unwrap();
        rig.refuse(0, 1, 100_000);
        rig.pass();
    }
    rig.failures = 0;
    rig.now += 60_000_000;
    rig.work();
    let dead = rig.dead();
    assert_eq!((dead.count + dead.lost, rig.safe.len()), (40, 40));
    assert!(dead.count > 5, "{dead:?}");
}

#[test]
fn dead_letters_are_dropped_by_number() {
    let mut rig = Rig::late();
    (0..5).for_each(|seq| rig.push(seq, 1).unwrap());
    rig.refuse(0, 5, 10);
    rig.pass();
    let Ok(Reply::LettersDropped(2)) = rig.ask(Task::DropLetters { numbers: vec![2, 5, 77] }) else {
        panic!("not dropped");
    };
    rig.crash();
    assert_eq!(rig.letters().iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 3, 4]);
    // A number is not used twice.
    rig.push(5, 1).unwrap();
    rig.refuse(0, 1, 10);
    rig.pass();
    assert_eq!(rig.letters().last().unwrap().0, 6);
}

#[test]
fn a_dead_letter_that_is_tried_again_is_for_its_own_bridge() {
    let mut rig = Rig::late();
    rig.push(0, 3).unwrap();
    rig.pass();
    rig.core.retry(1, Arc::new(reading(9)), 9, rig.now).unwrap();
    rig.pass();
    assert_eq!(rig.safe, BTreeSet::from([0, 9]));
    assert_eq!(rig.take(0, 10).len(), 1);
    let taken = rig.take(1, 10);
    assert_eq!(taken.iter().map(|taken| taken.1).collect::<Vec<_>>(), [0, 9]);
    taken.iter().for_each(|(position, _)| rig.core.done(1, *position, rig.now));
    let status = rig.core.status(rig.now);
    assert_eq!((status.accepted, status.delivered, status.readings), (2, 1, 1));
}

#[test]
fn a_file_of_an_earlier_version_gets_the_table() {
    let mut rig = Rig::late();
    (0..3).for_each(|seq| rig.push(seq, 1).unwrap());
    rig.pass();
    rig.store = None;
    let db = rusqlite::Connection::open(rig.dir.path().join("q.db")).unwrap();
    db.execute_batch("DROP TABLE dead_letter").unwrap();
    drop(db);
    rig.crash();
    rig.refuse(0, 1, 10);
    rig.pass();
    assert_eq!((rig.kept().len(), rig.take(0, 10).len()), (1, 2));
}
