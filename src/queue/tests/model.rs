//! Random operations, crashes and reopenings against a simple model.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Op {
    Push { wants: u32, n: u8 },
    Take { bridge: usize, n: u8 },
    Ack { bridge: usize, pick: u8, n: u8 },
    Rewind { bridge: usize },
    Wait { ms: u16 },
    AckWhileWriting { bridge: usize, fails: bool },
    DiskFails { jobs: u8 },
    Crash,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (1..4_u32, 1..20_u8).prop_map(|(wants, n)| Op::Push { wants, n }),
        3 => (0..BRIDGES, 1..30_u8).prop_map(|(bridge, n)| Op::Take { bridge, n }),
        4 => (0..BRIDGES, any::<u8>(), 1..30_u8).prop_map(|(bridge, pick, n)| Op::Ack { bridge, pick, n }),
        1 => (0..BRIDGES).prop_map(|bridge| Op::Rewind { bridge }),
        3 => (0..2000_u16).prop_map(|ms| Op::Wait { ms }),
        1 => (0..BRIDGES, any::<bool>()).prop_map(|(bridge, fails)| Op::AckWhileWriting { bridge, fails }),
        1 => (1..4_u8).prop_map(|jobs| Op::DiskFails { jobs }),
        1 => Just(Op::Crash),
    ]
}

/// What must hold, seen from outside.
#[derive(Default)]
struct Model {
    wants: BTreeMap<u32, u32>,
    acked: [BTreeSet<u32>; BRIDGES],
    out: [Vec<(u64, u32)>; BRIDGES],
    last: [[Option<u64>; 2]; BRIDGES],
}

impl Model {
    fn open(&self) -> u64 {
        let all_acked = |(seq, wants): &(&u32, &u32)| {
            (0..BRIDGES).all(|b| **wants & (1 << b) == 0 || self.acked[b].contains(*seq))
        };
        self.wants.iter().filter(|entry| !all_acked(entry)).count() as u64
    }
}

fn wants_of(model: &Model, bridge: usize, seq: u32) -> bool {
    model.wants.get(&seq).is_some_and(|wants| wants & (1 << bridge) != 0)
}

fn play(mut rig: Rig, ops: Vec<Op>) {
    let mut model = Model::default();
    let mut seq = 0;
    let mut crashed = false;
    for op in ops {
        match op {
            Op::Push { wants, n } => {
                for _ in 0..n {
                    rig.push(seq, wants).unwrap();
                    model.wants.insert(seq, wants);
                    seq += 1;
                }
            }
            Op::Take { bridge, n } => {
                for (position, seq, late) in take_wanted(&mut rig, &model, bridge, usize::from(n)) {
                    let twice = model.out[bridge].iter().any(|(out, _)| *out == position);
                    assert!(!twice, "{seq} handed out twice");
                    // With `live_first`, order holds among what is live and among the rest.
                    let head = usize::from(late && rig.settings.live_first & (1 << bridge) != 0);
                    let last = &mut model.last[bridge][head];
                    assert!(last.is_none_or(|last| last < position), "out of order");
                    *last = Some(position);
                    assert!(crashed || !model.acked[bridge].contains(&seq), "{seq} handed out after its ack");
                    model.out[bridge].push((position, seq));
                }
            }
            Op::Ack { bridge, pick, n } => {
                for _ in 0..usize::from(n).min(model.out[bridge].len()) {
                    let index = usize::from(pick) % model.out[bridge].len();
                    let (position, seq) = model.out[bridge].remove(index);
                    rig.core.done(bridge, position, rig.now);
                    rig.note_safe();
                    model.acked[bridge].insert(seq);
                }
            }
            Op::Rewind { bridge } => {
                rig.core.rewind(bridge);
                model.out[bridge].clear();
                model.last[bridge] = [None; 2];
            }
            Op::Wait { ms } => {
                rig.now += i64::from(ms) * 1000;
                rig.work();
            }
            Op::DiskFails { jobs } => rig.failures = jobs,
            Op::AckWhileWriting { bridge, fails } => {
                let acks: Vec<_> = model.out[bridge].drain(..).collect();
                for (_, seq) in &acks {
                    model.acked[bridge].insert(*seq);
                }
                rig.acknowledge_while_writing(bridge, &acks, fails);
            }
            Op::Crash => {
                rig.crash();
                crashed = true;
                // What was never safe may be gone: forget it, as a board would send it again.
                let safe = rig.safe.clone();
                model.wants.retain(|seq, _| safe.contains(seq));
                for bridge in 0..BRIDGES {
                    model.out[bridge].clear();
                    model.last[bridge] = [None; 2];
                }
            }
        }
        let ledger = rig.core.ledger();
        assert_eq!(ledger.accepted, ledger.delivered + ledger.dropped.total() + ledger.waiting());
        if !crashed {
            let known = ledger.waiting() + ledger.dropped.total();
            assert!(known >= model.open(), "{ledger:?} but {} are open", model.open());
        }
    }
    finish(rig, model);
}

/// `wants` decides for entries from memory; for entries from disk the filter does.
fn take_wanted(rig: &mut Rig, model: &Model, bridge: usize, max: usize) -> Vec<(u64, u32, bool)> {
    let mut all = Vec::new();
    for _ in 0..1000 {
        rig.work();
        let wants = |body: &Body| wants_of(model, bridge, seq_of(body));
        let taken = rig.core.take(bridge, max - all.len(), rig.now, wants);
        all.extend(taken.iter().map(|t| (t.position, seq_of(&t.body), t.late)));
        if all.len() >= max || !(rig.core.has_entries(bridge) || rig.pending_load()) {
            return all;
        }
    }
    panic!("take does not end");
}

/// Everything that was safe reaches every bridge that wants it, and then nothing waits.
fn finish(mut rig: Rig, mut model: Model) {
    rig.failures = 0;
    rig.now += 60_000_000;
    rig.work();
    for bridge in 0..BRIDGES {
        rig.core.rewind(bridge);
        loop {
            let taken = take_wanted(&mut rig, &model, bridge, 50);
            if taken.is_empty() {
                break;
            }
            for (position, seq, _) in taken {
                rig.core.done(bridge, position, rig.now);
                model.acked[bridge].insert(seq);
            }
        }
    }
    let missing = model.open();
    let dropped = rig.core.ledger().dropped.total();
    assert!(missing <= dropped, "{missing} never reached their bridges, {dropped} were dropped");
    if rig.limits.max_readings.is_none() {
        assert_eq!((missing, dropped), (0, 0));
    }
    let ledger = rig.core.ledger();
    assert_eq!(ledger.waiting(), 0, "{ledger:?}");
    assert_eq!(ledger.accepted, ledger.delivered + ledger.dropped.total(), "{ledger:?}");
    rig.now += SAVE_WITHIN_US;
    rig.work();
    rig.crash();
    assert_eq!(rig.core.ledger().waiting(), 0);
    assert_eq!(take_wanted(&mut rig, &model, 0, 10), []);
}

/// Settings and limits, in all that there is.
fn world() -> impl Strategy<Value = (Settings, Limits)> {
    let full = prop_oneof![
        3 => Just((WhenFull::DropOldest, None)),
        1 => Just((WhenFull::DropOldest, Some(40))),
        2 => Just((WhenFull::Thin, Some(40))),
    ];
    (any::<bool>(), 0..4_u32, full).prop_map(|(commit_first, live_first, (when_full, max_readings))| {
        let settings = Settings { live_first, ..settings(commit_first) };
        (settings, Limits { max_readings, when_full, ..limits() })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn nothing_safe_is_lost((settings, limits) in world(), ops in proptest::collection::vec(op(), 1..60)) {
        play(Rig::new(settings, limits), ops);
    }
}
