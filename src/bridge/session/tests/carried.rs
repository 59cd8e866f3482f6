//! Sessions that outlive their connections: QoS 2, and what is in flight at a cut.

use super::*;
use crate::bridge::flights::HIGHEST_ID;

/// A broker that keeps our session: it takes a QoS 2 message at PUBREC and hands it on at PUBREL.
#[derive(Default)]
struct Keeper {
    /// PUBREC was said, PUBREL not heard: id and payload.
    held: BTreeMap<u16, u64>,
    /// What subscribers got, in order.
    handed_on: Vec<u64>,
    present: bool,
}

impl Keeper {
    /// Takes a packet; gives the answer.
    fn take(&mut self, packet: Packet) -> Option<Packet> {
        match packet {
            Packet::Publish(publish) => {
                let number = str::from_utf8(&publish.payload).unwrap().parse().unwrap();
                let id = publish.id.unwrap();
                if publish.qos == Qos::AtLeastOnce {
                    self.handed_on.push(number);
                    return Some(Packet::PubAck(Ack::ok(id)));
                }
                // A copy is answered and not looked at.
                self.held.entry(id.get()).or_insert(number);
                Some(Packet::PubRec(Ack::ok(id)))
            }
            Packet::PubRel(Ack { id, .. }) => {
                self.handed_on.extend(self.held.remove(&id.get()));
                Some(Packet::PubComp(Ack::ok(id)))
            }
            _ => None,
        }
    }

    fn connect(&mut self, version: Version, memory: Memory) -> (Pair, Option<Vec<Rows>>) {
        let asked = Connect { clean_start: false, session_expiry_s: 3600, ..connect(version) };
        let now = Instant::now();
        let session = Session::new(asked, now).unwrap();
        let mut pair = Pair { session, broker: Codec::server(1 << 20), now, outcomes: Vec::new() };
        pair.sent();
        pair.say(&Packet::ConnAck(Box::new(ConnAck::new(Reason::SUCCESS, self.present)))).unwrap();
        if !self.present {
            self.held.clear();
        }
        self.present = true;
        let terms = Terms { exactly_once: true, ..Terms::default() };
        let stranded = pair.session.resume(memory, &terms, now);
        (pair, stranded)
    }
}

fn send_once(pair: &mut Pair, position: u64) {
    let publish = Publish::new("t", position.to_string(), Qos::ExactlyOnce, false);
    pair.session.send_rows(row(position).into(), publish, pair.now).unwrap();
}

/// The session at a cut: what is remembered of it.
fn cut(pair: Pair) -> Memory {
    let Ended { memory, left } = pair.session.end(true);
    assert!(matches!(left, Left::Stay { .. }), "{left:?}");
    memory
}

fn ids(packets: &[Packet]) -> Vec<(char, u16, bool)> {
    let told = packets.iter().map(|packet| match packet {
        Packet::Publish(publish) => ('p', publish.id.unwrap().get(), publish.dup),
        Packet::PubRel(ack) => ('r', ack.id.get(), false),
        other => panic!("{other:?}"),
    });
    told.collect()
}

#[test]
fn a_row_of_qos_2_is_done_when_the_broker_hands_it_on() {
    let (mut pair, _) = Keeper::default().connect(Version::V5, Memory::default());
    send_once(&mut pair, 7);
    assert_eq!(ids(&pair.sent()), [('p', 1, false)]);
    pair.say(&Packet::PubRec(Ack::ok(PacketId::MIN))).unwrap();
    assert_eq!(ids(&pair.sent()), [('r', 1, false)]);
    assert_eq!((pair.delivered(), pair.session.in_flight()), (vec![], 1));
    pair.say(&Packet::PubComp(Ack::ok(PacketId::MIN))).unwrap();
    assert_eq!((pair.delivered(), pair.session.in_flight()), (vec![7], 0));
}

#[test]
fn a_pubrec_that_refuses_is_a_refusal() {
    let (mut pair, _) = Keeper::default().connect(Version::V5, Memory::default());
    (0..2).for_each(|n| send_once(&mut pair, n));
    pair.sent();
    let refuse = |id, reason| Packet::PubRec(Ack { id: PacketId::new(id).unwrap(), reason });
    pair.say(&refuse(1, Reason::NOT_AUTHORIZED)).unwrap();
    pair.say(&refuse(2, Reason::FAILED)).unwrap();
    assert_eq!(pair.outcomes, [Outcome::RowRefused(row(0), Reason::NOT_AUTHORIZED), Outcome::Failed(1)]);
    assert_eq!(pair.kept(9), [row(1)], "it is to be sent again later");
    assert_eq!(pair.sent(), []);
}

#[test]
fn after_a_cut_everything_in_flight_goes_on_where_it_was() {
    let mut keeper = Keeper::default();
    let (mut pair, _) = keeper.connect(Version::V5, Memory::default());
    (0..3).for_each(|n| send_once(&mut pair, n));
    pair.send(3);
    pair.session.send_rows(row(4).into(), Publish::new("t", "4", Qos::AtMostOnce, false), pair.now).unwrap();
    pair.session.post_word(Subject::Gateway, word("online"));
    pair.session.send_words(9, pair.now);
    pair.say(&Packet::PubRec(Ack::ok(PacketId::MIN))).unwrap();
    // The socket took nothing of what followed.
    let Ended { memory, left: Left::Stay { unsure } } = pair.session.end(true) else { panic!() };
    assert_eq!(
        unsure.iter().map(|rows| rows.first().position).collect::<Vec<_>>(),
        [3],
        "sent again with QoS 1"
    );
    let (mut pair, stranded) = keeper.connect(Version::V5, memory);
    assert_eq!(stranded, None);
    assert_eq!(ids(&pair.sent()), [('r', 1, false), ('p', 2, true), ('p', 3, true), ('p', 4, true)]);
    assert_eq!(pair.kept(9), [row(4)], "of QoS 0, and not yet written");
    assert_eq!(pair.session.in_flight(), 4, "the word is forgotten: the newest comes anyway");
}

#[test]
fn a_smaller_window_is_kept_when_sending_again() {
    let mut keeper = Keeper::default();
    let (mut pair, _) = keeper.connect(Version::V3, Memory::default());
    (0..4).for_each(|n| send_once(&mut pair, n));
    let Memory { flights: Some(mut flights), .. } = cut(pair) else { panic!() };
    flights.reconnect(2);
    assert_eq!((flights.next_resend().is_some(), flights.next_resend().is_some()), (true, true));
    assert_eq!(flights.next_resend(), None);
    assert_eq!(flights.room(), 0);
    flights.record(Ack::ok(PacketId::MIN), Instant::now());
    flights.complete(PacketId::MIN).unwrap();
    assert!(flights.next_resend().is_some(), "as soon as there is room");
}

#[test]
fn rows_of_a_session_that_the_broker_forgot_are_taken_anew() {
    let mut keeper = Keeper::default();
    let (mut pair, _) = keeper.connect(Version::V5, Memory::default());
    (0..2).for_each(|n| send_once(&mut pair, n));
    pair.say(&Packet::PubRec(Ack::ok(PacketId::MIN))).unwrap();
    let memory = cut(pair);
    keeper.present = false;
    let (mut pair, stranded) = keeper.connect(Version::V5, memory);
    assert_eq!(stranded, Some(vec![row(0).into(), row(1).into()]), "the one that was recorded as well");
    assert_eq!((pair.sent(), pair.session.in_flight()), (vec![], 0));
}

#[test]
fn after_a_restart_no_id_of_before_swallows_a_message() {
    let mut keeper = Keeper { present: true, ..Keeper::default() };
    keeper.held.insert(1, 100);
    let (mut pair, _) = keeper.connect(Version::V5, Memory::default());
    send_once(&mut pair, 7);
    let sent = pair.sent();
    assert_eq!(sent.len(), usize::from(HIGHEST_ID.get()) + 1);
    for packet in sent {
        keeper.take(packet);
    }
    assert_eq!((keeper.handed_on, keeper.held), (vec![100], BTreeMap::from([(1, 7)])));
}

#[test]
fn connections_that_bring_nothing_give_the_rows_back() {
    let mut keeper = Keeper::default();
    let mut memory = Memory::default();
    for n in 0..4 {
        let (mut pair, _) = keeper.connect(Version::V5, memory);
        if n == 0 {
            send_once(&mut pair, 7);
        }
        pair.sent();
        match pair.session.end(true) {
            Ended { memory: remembered, left: Left::Stay { .. } } if n < 3 => memory = remembered,
            Ended { memory, left: Left::Back(rows) } if n == 3 => {
                assert_eq!(rows, [(row(7).into(), 1)]);
                assert!(memory.flights.is_none() && memory.incoming.is_some(), "ids must be released");
                return;
            }
            other => panic!("{n}: {other:?}"),
        }
    }
}

#[test]
fn a_session_that_ends_with_the_connection_gives_its_rows_back() {
    let (mut pair, _) = Keeper::default().connect(Version::V5, Memory::default());
    send_once(&mut pair, 1);
    let Ended { left, .. } = pair.session.end(false);
    assert!(matches!(left, Left::Back(_)), "told not to keep them");
    let mut pair = Pair::open();
    pair.send(1);
    assert_eq!(back(pair.session), [1]);
}

/// What happens to a connection.
#[derive(Clone, Debug)]
enum Happens {
    /// So many rows are sent, as far as there is room.
    Send(u8),
    /// The broker takes and answers so many packets.
    Answer(u8),
    /// So many answers arrive.
    Hear(u8),
    /// The link is cut: what is under way either way is lost.
    Cut,
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        3 => (1..10_u8).prop_map(Happens::Send),
        3 => (1..20_u8).prop_map(Happens::Answer),
        3 => (1..20_u8).prop_map(Happens::Hear),
        1 => Just(Happens::Cut),
    ]
}

proptest! {
    #[test]
    fn qos_2_is_exactly_once_over_any_cuts(
        story in prop::collection::vec(happens(), 1..100),
        version in prop::sample::select(vec![Version::V3, Version::V5]),
    ) {
        let mut keeper = Keeper::default();
        let (mut pair, _) = keeper.connect(version, Memory::default());
        let (mut next, mut done) = (0, BTreeSet::new());
        let (mut up, mut down) = (std::collections::VecDeque::new(), std::collections::VecDeque::new());
        let end = [Happens::Cut, Happens::Answer(255), Happens::Hear(255), Happens::Answer(255), Happens::Hear(255)];
        let end = end.clone().into_iter().chain(end);
        for happens in story.into_iter().chain(end) {
            match happens {
                Happens::Send(count) => {
                    for _ in 0..count.min(u8::try_from(pair.session.room()).unwrap_or(u8::MAX)) {
                        send_once(&mut pair, next);
                        next += 1;
                    }
                }
                Happens::Answer(count) => {
                    up.extend(pair.sent());
                    let taken = up.drain(..usize::from(count).min(up.len()));
                    down.extend(taken.filter_map(|packet| keeper.take(packet)));
                }
                Happens::Hear(count) => {
                    for packet in down.drain(..usize::from(count).min(down.len())) {
                        pair.say(&packet).unwrap();
                    }
                    for position in pair.delivered() {
                        prop_assert!(done.insert(position), "done twice");
                        prop_assert!(keeper.handed_on.contains(&position), "done and not handed on");
                    }
                }
                Happens::Cut => {
                    (up, down) = Default::default();
                    match pair.session.end(true) {
                        Ended { memory, left: Left::Stay { .. } } => {
                            let (connected, stranded) = keeper.connect(version, memory);
                            prop_assert_eq!(stranded, None);
                            pair = connected;
                        }
                        // Too many connections for nothing: the promise ends here.
                        Ended { left: Left::Back(_), .. } => return Ok(()),
                    }
                }
            }
        }
        prop_assert_eq!(done.len() as u64, next);
        let mut handed_on = keeper.handed_on;
        handed_on.sort_unstable();
        prop_assert_eq!(handed_on, (0..next).collect::<Vec<_>>());
    }
}

#[test]
fn the_window_counts_qos_2_until_pubcomp() {
    let mut keeper = Keeper::default();
    let asked = Connect { clean_start: false, session_expiry_s: 3600, ..connect(Version::V5) };
    let now = Instant::now();
    let mut pair = Pair {
        session: Session::new(asked, now).unwrap(),
        broker: Codec::server(1 << 20),
        now,
        outcomes: Vec::new(),
    };
    pair.sent();
    pair.say(&Packet::ConnAck(Box::new(limited(|answer| answer.receive_maximum = 3)))).unwrap();
    pair.session.resume(Memory::default(), &Terms::default(), now);
    let (mut next, mut open) = (0, BTreeSet::new());
    for _ in 0..50 {
        while pair.session.room() > 0 {
            send_once(&mut pair, next);
            next += 1;
        }
        for packet in pair.sent() {
            if let Packet::Publish(publish) = &packet {
                open.insert(publish.id);
                assert!(open.len() <= 3, "{open:?}");
            }
            if let Some(answer) = keeper.take(packet) {
                if let Packet::PubComp(ack) = &answer {
                    open.remove(&Some(ack.id));
                }
                pair.say(&answer).unwrap();
            }
        }
    }
    assert!(next > 20);
}
