//! Any broker and any bytes: nothing is lost, and nothing panics.

use super::*;

#[derive(Clone, Debug)]
enum Step {
    /// Fill the window, with messages of so many rows.
    Fill(u64),
    /// The broker acknowledges one of what it has, with this reason.
    Ack(prop::sample::Index, u8),
    /// The broker says something that we never asked for.
    Chatter(u16),
    /// Time passes.
    Pass(u8),
    /// The connection breaks.
    Cut,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1..4_u64).prop_map(Step::Fill),
        8 => (any::<prop::sample::Index>(), prop::sample::select(vec![0, 0, 0, 0, 0x10, 0x80, 0x97, 0x87]))
            .prop_map(|(which, reason)| Step::Ack(which, reason)),
        1 => any::<u16>().prop_map(Step::Chatter),
        1 => (0..12_u8).prop_map(Step::Pass),
        1 => Just(Step::Cut),
    ]
}

/// The queue's side: what was handed out and is not done is handed out again after a rewind.
#[derive(Default)]
struct Queue {
    next: u64,
    out: BTreeSet<u64>,
    done: BTreeSet<u64>,
}

impl Queue {
    fn take(&mut self) -> u64 {
        while self.done.contains(&self.next) {
            self.next += 1;
        }
        self.out.insert(self.next);
        self.next += 1;
        self.next - 1
    }

    fn done(&mut self, position: u64) {
        assert!(self.out.remove(&position), "{position} was not handed out");
        assert!(self.done.insert(position), "{position} was done before");
    }

    fn rewind(&mut self) {
        self.next = self.out.first().copied().unwrap_or(self.next);
        self.out.clear();
    }
}

proptest! {
    #[test]
    fn every_row_is_done_exactly_once_whatever_the_broker_does(
        steps in prop::collection::vec(step(), 1..200),
        receive_maximum in prop::sample::select(vec![1, 2, 7, 600]),
        version in prop::sample::select(vec![Version::V3, Version::V5]),
    ) {
        let answer = limited(|answer| answer.receive_maximum = receive_maximum);
        let mut pair = Pair::opened(version, answer.clone());
        let (mut queue, mut at_broker) = (Queue::default(), BTreeMap::<u16, Vec<u64>>::new());
        for step in steps.into_iter().chain([Step::Cut]) {
            let mut cut = false;
            match step {
                Step::Fill(many) => {
                    let mut last = None;
                    for _ in 0..30 {
                        if pair.session.room() == 0 {
                            break;
                        }
                        let kept = pair.session.take_kept();
                        let rows = kept.unwrap_or_else(|| rows((0..many).map(|_| queue.take())));
                        let positions: Vec<_> = rows.iter().map(|row| row.position).collect();
                        prop_assert!(last < positions.first().copied(), "order");
                        prop_assert!(positions.is_sorted());
                        last = positions.last().copied();
                        let publish = message(serde_json::to_vec(&positions).unwrap());
                        pair.session.send_rows(rows, publish, pair.now).unwrap();
                    }
                    for (id, publish) in pair.published() {
                        let positions = serde_json::from_slice(&publish.payload).unwrap();
                        prop_assert!(at_broker.insert(id.unwrap(), positions).is_none(), "id in use");
                    }
                }
                Step::Ack(which, reason) if !at_broker.is_empty() => {
                    let (&id, _) = at_broker.iter().nth(which.index(at_broker.len())).unwrap();
                    at_broker.remove(&id);
                    pair.ack(id, Reason(if version == Version::V3 { 0 } else { reason }));
                }
                Step::Chatter(id) if id > 0 && !at_broker.contains_key(&id) => {
                    pair.ack(id, Reason::SUCCESS);
                    pair.say(&Packet::PubComp(Ack::ok(PacketId::new(id).unwrap()))).unwrap();
                    pair.say(&Packet::Publish(Box::new(Publish::new("x", "y", Qos::AtMostOnce, false)))).unwrap();
                }
                Step::Ack(..) | Step::Chatter(_) => {}
                Step::Pass(seconds) => cut = pair.pass(SECOND * seconds.into()).is_err(),
                Step::Cut => cut = true,
            }
            for outcome in pair.outcomes.drain(..) {
                match outcome {
                    Outcome::Delivered(rows) => rows.iter().for_each(|row| queue.done(row.position)),
                    Outcome::RowRefused(row, _) => queue.done(row.position),
                    Outcome::Failed(position) => prop_assert!(queue.out.contains(&position)),
                    Outcome::TooMuch(_) | Outcome::Received(..) => {}
                    other => prop_assert!(false, "{:?}", other),
                }
            }
            let window = match version {
                Version::V3 => WINDOW_V3,
                Version::V5 => receive_maximum.min(WINDOW),
            };
            prop_assert!(at_broker.len() <= usize::from(window));
            let _ = pair.sent(); // perhaps a ping
            if cut {
                let now = pair.now;
                let kept = pair.kept(usize::MAX);
                let in_flight = BTreeSet::from_iter(back(pair.session));
                prop_assert_eq!(&in_flight, &at_broker.values().flatten().copied().collect());
                let known = in_flight.into_iter().chain(kept.iter().map(|row| row.position)).collect();
                prop_assert_eq!(&queue.out, &known, "every row that is not done is known");
                queue.rewind();
                at_broker.clear();
                pair = Pair::opened(version, answer.clone());
                pair.now = pair.now.max(now);
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(
        version in prop::sample::select(vec![Version::V3, Version::V5]),
        opened: bool,
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut pair = if opened {
            Pair::opened(version, ConnAck::new(Reason::SUCCESS, false))
        } else {
            Pair::new(version)
        };
        let _ = pair.session.receive(&mut BytesMut::from(&bytes[..]), pair.now, &mut pair.outcomes);
        let from_cloud = |o: &_| matches!(o, Outcome::Received(..) | Outcome::ReceivedAgain(..) | Outcome::Released(_));
        prop_assert!(pair.outcomes.iter().all(from_cloud), "{:?}", pair.outcomes);
    }
}
