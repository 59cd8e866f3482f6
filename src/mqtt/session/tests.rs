use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::mqtt::packet::{Ack, PacketId, Qos, Reason};

fn id(n: u16) -> PacketId {
    PacketId::new(n).unwrap()
}

fn refusal(n: u16) -> Ack {
    Ack { id: id(n), reason: Reason::QUOTA }
}

/// One `Outgoing` with room for `window`, and QoS 2 messages 0, 1, … under way with ids 1, 2, ….
fn under_way(window: u16, count: u16) -> Outgoing<u16> {
    let mut outgoing = Outgoing::new(window);
    for n in 0..count {
        assert_eq!(outgoing.send(n, Qos::ExactlyOnce), Ok(id(n + 1)));
    }
    outgoing
}

fn resends(outgoing: &mut Outgoing<u16>) -> Vec<(char, u16)> {
    std::iter::from_fn(|| {
        outgoing.next_resend().map(|resend| match resend {
            Resend::Publish(id, _) => ('p', id.get()),
            Resend::Release(id) => ('r', id.get()),
        })
    })
    .collect()
}

#[test]
fn acknowledgements_may_come_in_any_order() {
    let mut outgoing = Outgoing::new(10);
    let ids: Vec<_> = (0..3).map(|n| outgoing.send(n, Qos::AtLeastOnce).unwrap()).collect();
    assert_eq!(outgoing.puback(ids[2]), Some(2));
    assert_eq!(outgoing.puback(ids[0]), Some(0));
    assert_eq!(outgoing.puback(ids[0]), None, "a second time is nothing");
    assert_eq!(outgoing.puback(ids[1]), Some(1));
    assert!(outgoing.is_empty());
}

#[test]
fn unknown_and_mismatched_acknowledgements_change_nothing() {
    let mut outgoing = under_way(10, 1);
    assert_eq!(outgoing.puback(id(9)), None);
    assert!(!outgoing.pubcomp(id(1)), "PUBCOMP before PUBREC");
    assert_eq!(outgoing.pubrec(Ack::ok(id(9))), Recorded::Unknown);
    let once = outgoing.send(7, Qos::AtLeastOnce).unwrap();
    assert_eq!(outgoing.pubrec(Ack::ok(once)), Recorded::Unknown, "PUBREC for QoS 1");
    assert_eq!(outgoing.drain(), [0, 7]);
}

#[test]
fn a_peer_that_knows_only_qos_1_ends_qos_2_with_puback() {
    let mut outgoing = under_way(10, 2);
    assert_eq!(outgoing.puback(id(1)), Some(0));
    assert_eq!(outgoing.pubrec(Ack::ok(id(2))), Recorded::Released(Some(1)));
    assert_eq!(outgoing.puback(id(2)), None, "it is the PUBCOMP that is missing");
}

#[test]
fn qos_2_goes_through_pubrec_and_pubcomp() {
    let mut outgoing = under_way(10, 1);
    assert_eq!(outgoing.pubrec(Ack::ok(id(1))), Recorded::Released(Some(0)));
    assert_eq!(outgoing.pubrec(Ack::ok(id(1))), Recorded::Released(None), "said again, answered again");
    assert!(outgoing.pubcomp(id(1)));
    assert!(!outgoing.pubcomp(id(1)));
    assert!(outgoing.is_empty());
}

#[test]
fn a_failing_pubrec_ends_the_message_and_frees_its_place() {
    let mut outgoing = under_way(1, 1);
    assert!(!outgoing.has_room());
    assert_eq!(outgoing.pubrec(refusal(1)), Recorded::Refused(Some(0)));
    assert!(outgoing.has_room());
    assert!(outgoing.is_empty());
}

#[test]
fn resume_repeats_in_order_within_the_new_window_and_before_anything_new() {
    let mut outgoing = under_way(10, 4);
    outgoing.pubrec(Ack::ok(id(2)));
    outgoing.reconnect(3);
    assert!(!outgoing.has_room());
    assert_eq!(resends(&mut outgoing), [('p', 1), ('r', 2), ('p', 3)]);
    assert_eq!(outgoing.send(9, Qos::AtLeastOnce), Err(9), "4 still waits to be sent again");
    assert!(outgoing.pubcomp(id(2)));
    assert_eq!(resends(&mut outgoing), [('p', 4)]);
    assert!(!outgoing.has_room());
    outgoing.pubrec(refusal(4));
    assert_eq!(outgoing.send(9, Qos::AtLeastOnce), Ok(id(5)));
}

#[test]
fn an_early_acknowledgement_of_what_waits_to_be_resent_frees_no_place_twice() {
    let mut outgoing = under_way(10, 3);
    outgoing.reconnect(1);
    assert_eq!(resends(&mut outgoing), [('p', 1)]);
    assert_eq!(outgoing.pubrec(refusal(2)), Recorded::Refused(Some(1)));
    assert_eq!(resends(&mut outgoing), [], "1 still fills the window");
    outgoing.pubrec(refusal(1));
    assert_eq!(resends(&mut outgoing), [('p', 3)]);
}

#[test]
fn drain_gives_back_in_order_what_the_peer_may_not_have() {
    let mut outgoing = under_way(10, 4);
    outgoing.pubrec(Ack::ok(id(2)));
    assert_eq!(outgoing.drain(), [0, 2, 3]);
    assert!(outgoing.is_empty() && outgoing.has_room());
}

#[test]
fn ids_come_round_and_skip_those_in_use() {
    let mut outgoing = under_way(u16::MAX, 1);
    for n in 2..=u16::MAX {
        assert_eq!(outgoing.send(0, Qos::AtLeastOnce), Ok(id(n)));
        outgoing.puback(id(n));
    }
    assert_eq!(outgoing.send(0, Qos::AtLeastOnce), Ok(id(2)), "1 has been in use all the time");
}

#[test]
fn every_id_can_be_in_use() {
    let mut outgoing = under_way(u16::MAX, u16::MAX);
    assert_eq!(outgoing.send(0, Qos::AtLeastOnce), Err(0));
    outgoing.forget(id(777));
    assert_eq!(outgoing.send(0, Qos::AtLeastOnce), Ok(id(777)));
}

#[test]
fn a_duplicate_waits_until_the_first_is_safe() {
    let mut incoming = Incoming::new(10);
    assert_eq!(incoming.publish_once(id(1)), Ok(Arrival::New));
    assert_eq!(incoming.publish_once(id(1)), Ok(Arrival::Pending));
    incoming.reconnect(10);
    assert_eq!(incoming.publish_once(id(1)), Ok(Arrival::Pending), "also on the next connection");
    incoming.recorded(id(1));
    assert_eq!(incoming.publish_once(id(1)), Ok(Arrival::Recorded));
    assert!(incoming.release(id(1)));
    assert!(!incoming.release(id(1)));
    assert_eq!(incoming.publish_once(id(1)), Ok(Arrival::New), "released ids are free again");
}

#[test]
fn a_refused_message_may_come_again() {
    let mut incoming = Incoming::new(1);
    assert_eq!(incoming.publish_once(id(1)), Ok(Arrival::New));
    incoming.refused(id(1));
    assert_eq!(incoming.publish_once(id(1)), Ok(Arrival::New));
}

#[test]
fn the_receive_maximum_covers_both_levels_until_they_are_over() {
    let mut incoming = Incoming::new(2);
    assert_eq!(incoming.publish_once(id(1)), Ok(Arrival::New));
    assert_eq!(incoming.publish_once_or_more(), Ok(()));
    assert_eq!(incoming.publish_once(id(2)), Err(Exceeded));
    assert_eq!(incoming.publish_once_or_more(), Err(Exceeded));
    incoming.acknowledged();
    assert_eq!(incoming.publish_once_or_more(), Ok(()));
    incoming.recorded(id(1));
    assert_eq!(incoming.publish_once_or_more(), Err(Exceeded), "PUBREC alone frees no place");
    incoming.release(id(1));
    assert_eq!(incoming.publish_once_or_more(), Ok(()));
}

/// What may happen to an `Outgoing`; the numbers pick one of the ids in use, or any id.
#[derive(Clone, Debug)]
enum Step {
    Send(Qos),
    PubAck(u8),
    PubRec(u8, bool),
    PubComp(u8),
    Forget(u8),
    Stray(u16),
    Reconnect(u16),
    Resend,
    Drain,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => prop_oneof![Just(Qos::AtLeastOnce), Just(Qos::ExactlyOnce)].prop_map(Step::Send),
        2 => any::<u8>().prop_map(Step::PubAck),
        2 => (any::<u8>(), any::<bool>()).prop_map(|(n, ok)| Step::PubRec(n, ok)),
        2 => any::<u8>().prop_map(Step::PubComp),
        1 => any::<u8>().prop_map(Step::Forget),
        1 => (1_u16..20).prop_map(Step::Stray),
        1 => (0_u16..6).prop_map(Step::Reconnect),
        2 => Just(Step::Resend),
        1 => Just(Step::Drain),
    ];
    prop::collection::vec(step, 0..200)
}

/// What an `Outgoing` must agree with.
struct Model {
    by_id: HashMap<PacketId, Known>,
    window: usize,
    next: u32,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    message: u32,
    on_the_wire: bool,
    released: bool,
}

impl Model {
    fn pick(&self, n: u8) -> Option<PacketId> {
        let mut ids: Vec<_> = self.by_id.keys().copied().collect();
        ids.sort_unstable();
        (!ids.is_empty()).then(|| ids[usize::from(n) % ids.len()])
    }

    fn on_the_wire(&self) -> usize {
        self.by_id.values().filter(|known| known.on_the_wire).count()
    }

    /// Does `step` to both and compares the answers.
    fn step(&mut self, outgoing: &mut Outgoing<u32>, step: &Step) -> Option<()> {
        match *step {
            Step::Send(qos) => self.send(outgoing, qos),
            Step::PubAck(n) => {
                let id = self.pick(n)?;
                let message = outgoing.puback(id)?;
                assert_eq!(self.by_id.remove(&id)?.message, message);
            }
            Step::PubRec(n, ok) => {
                let id = self.pick(n)?;
                let reason = if ok { Reason::SUCCESS } else { Reason::QUOTA };
                match outgoing.pubrec(Ack { id, reason }) {
                    Recorded::Released(message) => {
                        let known = self.by_id.get_mut(&id)?;
                        assert_eq!(message, (!known.released).then_some(known.message));
                        known.released = true;
                    }
                    Recorded::Refused(_) => drop(self.by_id.remove(&id)),
                    Recorded::Unknown => {}
                }
            }
            Step::PubComp(n) => {
                let id = self.pick(n)?;
                let released = self.by_id[&id].released;
                assert_eq!(outgoing.pubcomp(id), released);
                if released {
                    self.by_id.remove(&id);
                }
            }
            Step::Forget(n) => {
                let id = self.pick(n)?;
                let known = self.by_id.remove(&id)?;
                assert_eq!(outgoing.forget(id), (!known.released).then_some(known.message));
            }
            Step::Stray(n) if !self.by_id.contains_key(&id(n)) => {
                assert_eq!(outgoing.puback(id(n)), None);
                assert_eq!(outgoing.pubrec(Ack::ok(id(n))), Recorded::Unknown);
                assert!(!outgoing.pubcomp(id(n)));
            }
            Step::Stray(_) => {}
            Step::Reconnect(window) => {
                outgoing.reconnect(window);
                self.window = usize::from(window.max(1));
                self.by_id.values_mut().for_each(|known| known.on_the_wire = false);
            }
            Step::Resend => self.resend(outgoing),
            Step::Drain => {
                let mut expected: Vec<_> =
                    self.by_id.drain().filter(|(_, k)| !k.released).map(|(_, k)| k.message).collect();
                expected.sort_unstable();
                assert_eq!(outgoing.drain(), expected);
            }
        }
        Some(())
    }

    fn send(&mut self, outgoing: &mut Outgoing<u32>, qos: Qos) {
        let fits = self.on_the_wire() < self.window && self.by_id.values().all(|known| known.on_the_wire);
        let sent = outgoing.send(self.next, qos);
        assert_eq!(sent.is_ok(), fits);
        if let Ok(id) = sent {
            let known = Known { message: self.next, on_the_wire: true, released: false };
            assert!(self.by_id.insert(id, known).is_none(), "{id} is in use");
        }
        self.next += 1;
    }

    fn resend(&mut self, outgoing: &mut Outgoing<u32>) {
        let oldest = self.by_id.values_mut().filter(|k| !k.on_the_wire).map(|k| k.message).min();
        let fits = self.on_the_wire() < self.window;
        let (id, released) = match outgoing.next_resend() {
            Some(Resend::Publish(id, _)) => (id, false),
            Some(Resend::Release(id)) => (id, true),
            None => {
                assert!(oldest.is_none() || !fits, "something waits and there is room");
                return;
            }
        };
        let known = self.by_id.get_mut(&id).unwrap();
        assert_eq!((Some(known.message), known.released), (oldest, released), "in order");
        known.on_the_wire = true;
    }
}

proptest! {
    #[test]
    fn no_id_is_reused_in_flight_and_the_window_holds(steps in steps(), window in 1_u16..6) {
        let mut outgoing = Outgoing::new(window);
        let mut model = Model { by_id: HashMap::new(), window: window.into(), next: 0 };
        for step in &steps {
            model.step(&mut outgoing, step);
            prop_assert_eq!(outgoing.len(), model.by_id.len());
            prop_assert!(model.on_the_wire() <= model.window);
        }
    }
}

#[test]
fn ids_stay_below_the_highest_that_may_be_given_out() {
    let mut outgoing = Outgoing::new(100).with_ids_up_to(id(3));
    let mut ids = Vec::new();
    for n in 0..7 {
        let sent = outgoing.send(n, Qos::AtLeastOnce).unwrap();
        ids.push(sent.get());
        outgoing.puback(sent);
    }
    assert_eq!(ids, [1, 2, 3, 1, 2, 3, 1]);
    outgoing.reconnect(100);
    (0..3).for_each(|n| assert!(outgoing.send(n, Qos::ExactlyOnce).is_ok()));
    assert_eq!(outgoing.send(3, Qos::ExactlyOnce), Err(3), "the window is no larger than that");
}

#[test]
fn what_is_not_kept_frees_its_id_unless_the_peer_has_it() {
    let mut outgoing = under_way(10, 4);
    outgoing.pubrec(Ack::ok(id(1)));
    outgoing.retain(|message| *message == 2);
    assert_eq!(outgoing.iter().copied().collect::<Vec<_>>(), [2]);
    outgoing.reconnect(10);
    assert_eq!(resends(&mut outgoing), [('r', 1), ('p', 3)]);
}
