use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::broker::journal::Gate;
use crate::broker::message::Message;
use crate::mqtt::packet::Reason;

const ROOM: Room = Room { messages: 5, bytes: 5000 };

/// What may happen to a session; the small numbers pick packet ids, used or not.
#[derive(Clone, Debug)]
enum Step {
    Enqueue { qos: u8, bytes: usize, expiry_s: Option<u32> },
    Next,
    PubAck(u16),
    PubRec(u16, bool),
    PubComp(u16),
    Unsendable(u16),
    Reconnect(u16),
    Disconnect,
    Replay(u8),
    GiveWay,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0_u8..3, 0_usize..2000, prop::option::of(0_u32..4))
            .prop_map(|(qos, bytes, expiry_s)| Step::Enqueue { qos, bytes, expiry_s }),
        6 => Just(Step::Next),
        2 => (1_u16..8).prop_map(Step::PubAck),
        2 => (1_u16..8, any::<bool>()).prop_map(|(id, ok)| Step::PubRec(id, ok)),
        2 => (1_u16..8).prop_map(Step::PubComp),
        1 => (1_u16..8).prop_map(Step::Unsendable),
        1 => (1_u16..4).prop_map(Step::Reconnect),
        1 => Just(Step::Disconnect),
        1 => (0_u8..3).prop_map(Step::Replay),
        1 => Just(Step::GiveWay),
    ];
    prop::collection::vec(step, 0..100)
}

fn message(bytes: usize, qos: Qos, expiry_s: Option<u32>, now: Instant) -> Arc<Message> {
    let publish = Publish::new("t", vec![b'x'; bytes], qos, true);
    Arc::new(Message::new(Publish { expiry_s, ..publish }, now))
}

fn apply(session: &mut Session, retained: &Retained, step: &Step, now: Instant) {
    let id = |n| PacketId::new(n).unwrap();
    match *step {
        Step::Enqueue { qos, bytes, expiry_s } => {
            let qos = Qos::from(qos);
            let message = message(bytes, qos, expiry_s, now);
            let delivery =
                Delivery { message, position: 0, qos, retain: false, subscription_ids: Vec::new() };
            session.enqueue(delivery, ROOM, now, &mut |_, _| ());
        }
        Step::Next => drop(session.next(retained, ROOM, Gate::OPEN, now, &mut |_, _| ())),
        Step::GiveWay => drop(session.give_way()),
        Step::PubAck(n) => session.puback(id(n)),
        Step::PubRec(n, ok) => {
            let reason = if ok { Reason::SUCCESS } else { Reason::QUOTA };
            session.pubrec(Ack { id: id(n), reason }, Gate::OPEN);
        }
        Step::PubComp(n) => session.pubcomp(id(n)),
        Step::Unsendable(n) => session.unsendable(Some(id(n))),
        Step::Reconnect(window) => session.connected(window, 10, 0),
        Step::Disconnect => session.disconnected(),
        Step::Replay(qos) => session.replay(
            &SubscribeFilter {
                filter: "#".into(),
                qos: Qos::from(qos),
                no_local: false,
                retain_as_published: false,
                retain_handling: crate::mqtt::packet::RetainHandling::AtSubscribe,
            },
            None,
        ),
    }
}

proptest! {
    #[test]
    fn the_bytes_are_those_of_what_waits_and_what_is_under_way(steps in steps()) {
        let start = Instant::now();
        let mut retained = Retained::new(10, 10_000);
        retained.set(&message(100, Qos::ExactlyOnce, None, start), start).unwrap();
        let mut session = Session::new();
        session.connected(3, 10, 0);
        for (seconds, step) in (0..).zip(&steps) {
            let now = start + Duration::from_secs(seconds);
            let before = session.bytes();
            apply(&mut session, &retained, step, now);
            let under_way = session.outgoing.clone().drain();
            let places = (session.queue.len() + session.outgoing.len()) * PLACE_BYTES;
            let held = session.queue.iter().chain(&under_way).map(Delivery::bytes).sum::<usize>();
            prop_assert_eq!(session.bytes(), held + places);
            prop_assert!(session.queue.len() <= ROOM.messages);
            if let Step::Enqueue { .. } = step {
                prop_assert!(session.bytes() <= ROOM.bytes.max(before));
            }
        }
    }
}
