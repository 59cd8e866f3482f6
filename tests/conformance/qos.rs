//! The exchanges of QoS 0, 1 and 2, and the order of messages: sections 3.4 to 3.7, 4.3 and 4.6.

use super::format::end_after;
use super::heard::Heard;
use super::packet::*;
use super::site::Site;

const NOT_FOUND: u8 = 0x92;

/// QoS 0 goes out once, without DUP and without id.
///
/// 5.0: 4.3.1-1
/// 3.1.1: 4.3.1-1
#[test]
fn qos_0_goes_out_once() {
    for version in BOTH {
        let site = Site::new();
        let mut subscriber = site.subscriber(version, "s", "t", 0);
        site.client(version, "p").say("t", "x", 2);
        let heard = subscriber.hear_publish();
        assert_eq!((heard.qos, heard.dup, heard.id), (0, false, 0));
        assert_eq!(subscriber.rest(), []);
    }
}

/// QoS 1 and 2 go out with DUP 0 and are over with the last acknowledgement.
///
/// 5.0: 4.3.2-2 4.3.3-2 4.3.3-4 4.3.3-5
/// 3.1.1: 4.3.2-1 4.3.3-1
#[test]
fn messages_go_out_and_are_acknowledged() {
    for version in BOTH {
        let site = Site::new();
        let mut subscriber = site.connect(&Connect::lasting(version, "s"));
        subscriber.subscribe("t", 2);
        let mut publisher = site.client(version, "p");
        publisher.say("t", "1", 1);
        let heard = subscriber.hear_publish();
        assert_eq!((heard.qos, heard.dup), (1, false));
        subscriber.send(&ack(PUBACK, heard.id));
        publisher.say("t", "2", 2);
        let heard = subscriber.hear_publish();
        assert_eq!((heard.qos, heard.dup), (2, false));
        subscriber.send(&ack(PUBREC, heard.id));
        assert_eq!(subscriber.hear_ack(PUBREL, heard.id), 0);
        subscriber.send(&ack(PUBCOMP, heard.id));
        assert_eq!(subscriber.rest(), []);
        subscriber.leave();
        assert_eq!(site.connect(&Connect::lasting(version, "s")).rest(), []);
    }
}

/// After PUBACK the same id is a new message, whatever its DUP flag says.
///
/// 5.0: 4.3.2-4 4.3.2-5
/// 3.1.1: 4.3.2-2
#[test]
fn after_puback_an_id_is_free() {
    for version in BOTH {
        let site = Site::new();
        let mut subscriber = site.subscriber(version, "s", "t", 0);
        let mut publisher = site.client(version, "p");
        for (payload, dup) in [("1", false), ("2", false), ("3", true)] {
            publisher.send(&Publish { id: 1, dup, ..Publish::new(version, "t", payload, 1) }.bytes());
            publisher.hear_ack(PUBACK, 1);
        }
        assert_eq!(subscriber.payloads(), ["1", "2", "3"]);
    }
}

/// Until PUBREL the same id is the same message: acknowledged again, delivered once. After PUBCOMP it is
/// a new one.
///
/// 5.0: 4.3.3-8 4.3.3-10 4.3.3-11 4.3.3-12
/// 3.1.1: 4.3.3-2
#[test]
fn until_pubrel_a_message_is_the_same() {
    for version in BOTH {
        let site = Site::new();
        let mut subscriber = site.subscriber(version, "s", "t", 2);
        let mut publisher = site.client(version, "p");
        let publish = Publish { id: 7, ..Publish::new(version, "t", "x", 2) };
        for dup in [false, true, false] {
            publisher.send(&Publish { dup, ..publish.clone() }.bytes());
            assert_eq!(publisher.hear_ack(PUBREC, 7), 0);
        }
        assert_eq!(subscriber.payloads(), ["x"]);
        publisher.send(&ack(PUBREL, 7));
        assert_eq!(publisher.hear_ack(PUBCOMP, 7), 0);
        publisher.send(&publish.bytes());
        publisher.hear_ack(PUBREC, 7);
        assert_eq!(subscriber.payloads(), ["x"]);
    }
}

/// Ids of one direction have nothing to do with those of the other.
///
/// 5.0: 2.2.1-4
/// 3.1.1: 2.3.1-4
#[test]
fn both_directions_have_ids_of_their_own() {
    for version in BOTH {
        let site = Site::new();
        let mut peer = site.subscriber(version, "s", "t", 2);
        let mut publisher = site.client(version, "p");
        publisher.say("t", "theirs", 2);
        let id = peer.hear_publish().id;
        peer.send(&Publish { id, ..Publish::new(version, "u", "mine", 2) }.bytes());
        peer.hear_ack(PUBREC, id);
        peer.send(&ack(PUBREC, id));
        peer.hear_ack(PUBREL, id);
        peer.send(&ack(PUBREL, id));
        peer.hear_ack(PUBCOMP, id);
        peer.send(&ack(PUBCOMP, id));
        assert_eq!(peer.rest(), []);
    }
}

/// An acknowledgement for what is not under way does no harm. Over 5.0 it is told so where it has an answer.
///
/// 5.0: 3.6.2-1 3.7.2-1
#[test]
fn unknown_ids_do_no_harm() {
    for version in BOTH {
        let site = Site::new();
        let mut peer = site.client(version, "c");
        let code = if version == V5 { NOT_FOUND } else { 0 };
        peer.send(&ack(PUBACK, 9));
        peer.send(&ack(PUBCOMP, 9));
        peer.send(&ack(PUBREL, 9));
        assert_eq!(peer.hear_ack(PUBCOMP, 9), code);
        peer.send(&ack(PUBREC, 9));
        assert_eq!(peer.hear_ack(PUBREL, 9), code);
        assert_eq!(peer.rest(), []);
    }
}

/// The long forms of acknowledgements, with reason codes and properties, are understood.
///
/// 5.0: 3.4.2-1 3.5.2-1
#[test]
fn acknowledgements_may_have_codes_and_words() {
    let site = Site::new();
    let mut subscriber = site.subscriber(V5, "s", "t", 2);
    let mut publisher = site.client(V5, "p");
    assert_eq!(publisher.publish(&Publish::new(V5, "t", "x", 1)), 0);
    assert_eq!(publisher.publish(&Publish::new(V5, "nobody", "x", 1)), 0x10, "nobody subscribes");
    assert_eq!(publisher.publish(&Publish::new(V5, "nobody", "x", 2)), 0x10);
    let words = block(&[string(REASON_STRING, "fine"), user("k", "v"), user("k", "v")].concat());
    let id = subscriber.hear_publish().id;
    subscriber.send(&packet(PUBACK, &[&id.to_be_bytes()[..], &[0x10], &words].concat()));
    publisher.say("t", "y", 2);
    let id = subscriber.hear_publish().id;
    subscriber.send(&packet(PUBREC, &[&id.to_be_bytes()[..], &[0x10], &words].concat()));
    assert_eq!(subscriber.hear_ack(PUBREL, id), 0);
    subscriber.send(&packet(PUBCOMP, &[&id.to_be_bytes()[..], &[0], &words].concat()));
    assert_eq!(subscriber.rest(), []);
}

/// A reason code that the packet does not have is malformed.
///
/// 5.0: 3.4.2-1 3.5.2-1 3.6.2-1 3.7.2-1 3.14.2-1
#[test]
fn a_code_that_does_not_exist_closes_the_connection() {
    for bytes in [
        ack_with(PUBACK, 1, 0x01),
        ack_with(PUBACK, 1, 0x92),
        ack_with(PUBREC, 1, 0x7F),
        ack_with(PUBREL, 1, 0x10),
        ack_with(PUBCOMP, 1, 0x87),
        disconnect(V5, 0x03, &[]),
        disconnect(V5, 0xFF, &[]),
    ] {
        end_after(V5, &bytes).expect(V5, 0x81);
    }
}

/// Messages of one publisher arrive in the order in which it sent them, whatever their QoS is made of.
///
/// 5.0: 4.6.0-5 4.6.0-6
/// 3.1.1: 4.6.0-5 4.6.0-6
#[test]
fn messages_arrive_in_order() {
    for version in BOTH {
        for qos in 0..3 {
            let site = Site::new();
            let mut subscriber = site.subscriber(version, "s", "t/#", qos);
            let mut publisher = site.client(version, "p");
            let sent: Vec<String> = (0..300).map(|n| n.to_string()).collect();
            for payload in &sent {
                publisher.publish(&Publish::new(version, format!("t/{}", payload.len()), payload, qos));
            }
            publisher.settle();
            assert_eq!(subscriber.payloads(), sent);
        }
    }
}

/// Acknowledgements go out in the order of the messages, PUBRELs in the order of the PUBRECs.
///
/// 5.0: 4.6.0-2 4.6.0-3 4.6.0-4
/// 3.1.1: 4.6.0-2 4.6.0-3 4.6.0-4
#[test]
fn acknowledgements_go_out_in_order() {
    for version in BOTH {
        let site = Site::new();
        let mut peer = site.subscriber(version, "c", "t", 2);
        let all: Vec<u8> = (1..50)
            .flat_map(|id| {
                Publish { id, ..Publish::new(version, "u", "x", 1 + u8::from(id % 3 == 0)) }.bytes()
            })
            .collect();
        peer.send(&all);
        for id in 1..50 {
            peer.hear_ack(if id % 3 == 0 { PUBREC } else { PUBACK }, id);
        }
        let mut publisher = site.client(version, "p");
        (0..10).for_each(|_| publisher.say("t", "x", 2));
        let mut ids: Vec<_> = (0..10).map(|_| peer.hear_publish().id).collect();
        ids.reverse();
        ids.iter().for_each(|id| peer.send(&ack(PUBREC, *id)));
        let released: Vec<_> = ids
            .iter()
            .map(|_| match peer.hear() {
                Heard::Ack { first: PUBREL, id, .. } => id,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(released, ids);
    }
}
