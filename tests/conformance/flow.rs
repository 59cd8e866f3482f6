//! How much may be under way, and how large it may be: sections 3.1.2.11.3, 3.1.2.11.4, 3.2.2.3.3, 3.2.2.3.6,
//! 3.3.4 and 4.9 of 5.0.

use super::heard::{Heard, length};
use super::packet::*;
use super::site::{Ended, Peer, Site};

/// A client that takes `maximum` unacknowledged messages.
fn taking(site: &Site, maximum: u16) -> Peer {
    let mut peer = site.connect(&Connect::new(V5, "s").with_properties(two(RECEIVE_MAXIMUM, maximum)));
    peer.subscribe("t", 2);
    peer
}

fn publishes(heard: Vec<Heard>) -> Vec<(u16, String)> {
    heard
        .into_iter()
        .map(|heard| match heard {
            Heard::Publish(message) => (message.id, message.payload),
            other => panic!("{other:?}"),
        })
        .collect()
}

/// No more messages are under way to a client than it takes; each one that is over makes room for the next.
///
/// 5.0: 3.3.4-9 4.9.0-1 4.9.0-2
#[test]
fn no_more_is_under_way_than_the_client_takes() {
    for maximum in [1, 2, 5] {
        let site = Site::new();
        let mut peer = taking(&site, maximum);
        let mut publisher = site.client(V5, "p");
        (0..12_u8).for_each(|n| publisher.say("t", &n.to_string(), 1 + n % 2));
        let mut open = publishes(peer.rest());
        let mut all: Vec<String> = Vec::new();
        while !open.is_empty() {
            assert!(open.len() <= maximum.into(), "{open:?}");
            let (id, payload) = open.remove(0);
            if payload.parse::<u8>().unwrap() % 2 == 0 {
                peer.send(&ack(PUBACK, id));
            } else {
                peer.send(&ack(PUBREC, id));
                peer.hear_ack(PUBREL, id);
                assert_eq!(peer.rest(), [], "PUBREC frees no room, PUBCOMP does");
                peer.send(&ack(PUBCOMP, id));
            }
            all.push(payload);
            open.extend(publishes(peer.rest()));
        }
        assert_eq!(all, (0..12).map(|n: u8| n.to_string()).collect::<Vec<_>>());
    }
}

/// A PUBREC that refuses a message makes room as PUBCOMP would.
///
/// 5.0: 4.9.0-2
#[test]
fn a_refused_message_makes_room() {
    let site = Site::new();
    let mut peer = taking(&site, 1);
    let mut publisher = site.client(V5, "p");
    publisher.say("t", "1", 2);
    publisher.say("t", "2", 1);
    let id = peer.hear_publish().id;
    peer.send(&ack_with(PUBREC, id, 0x80));
    assert_eq!(peer.hear_publish().payload, "2");
}

/// What is sent again on a new connection counts as well.
///
/// 5.0: 3.3.4-9
#[test]
fn what_comes_again_counts_too() {
    let site = Site::new();
    let mut peer = site.connect(&Connect::lasting(V5, "s"));
    peer.subscribe("t", 1);
    let mut publisher = site.client(V5, "p");
    (0..5).for_each(|n| publisher.say("t", &n.to_string(), 1));
    (0..5).for_each(|_| drop(peer.hear_publish()));
    peer.leave();
    let narrow = Connect::lasting(V5, "s").with_properties(two(RECEIVE_MAXIMUM, 2));
    let mut peer = site.connect(&narrow);
    assert_eq!(publishes(peer.rest()).len(), 2);
    assert_eq!(peer.payloads(), Vec::<String>::new(), "until they are acknowledged");
}

/// A full quota holds back messages of QoS 1 and 2 only: everything else goes on.
///
/// 5.0: 3.3.4-10 4.9.0-3
#[test]
fn a_full_quota_holds_nothing_else_back() {
    let site = Site::new();
    let mut peer = taking(&site, 1);
    let mut publisher = site.client(V5, "p");
    publisher.say("t", "1", 2);
    publisher.say("t", "2", 2);
    let id = peer.hear_publish().id;
    peer.settle();
    peer.subscribe("u", 0);
    publisher.say("u", "at once", 0);
    // Behind a waiting message of QoS 1 or 2 it may wait for its turn; it must come by the end.
    peer.unsubscribe(&["u"]);
    peer.publish(&Publish::new(V5, "v", "x", 2));
    peer.send(&ack(PUBREC, id));
    let mut heard = peer.rest();
    heard.retain(|heard| !matches!(heard, Heard::Ack { first: PUBREL, .. }));
    peer.send(&ack(PUBCOMP, id));
    heard.extend(peer.rest());
    let mut payloads: Vec<_> = publishes(heard).into_iter().map(|(_, payload)| payload).collect();
    payloads.sort();
    assert_eq!(payloads, ["2", "at once"]);
}

/// A client that sends more than the broker takes unacknowledged breaks the protocol.
///
/// 5.0: 3.3.4-7
#[test]
fn a_client_over_the_brokers_quota_is_disconnected() {
    let site = Site::new();
    let (mut peer, answer) = site.try_connect(&Connect::new(V5, "c"));
    let maximum = u16::try_from(answer.properties.number(RECEIVE_MAXIMUM).unwrap()).unwrap();
    for id in 1..=maximum {
        peer.send(&Publish { id, ..Publish::new(V5, "t", "x", 2) }.bytes());
        peer.hear_ack(PUBREC, id);
    }
    peer.send(&Publish { id: 1, dup: true, ..Publish::new(V5, "t", "x", 2) }.bytes());
    peer.hear_ack(PUBREC, 1);
    peer.send(&ack(PUBREL, 1));
    peer.hear_ack(PUBCOMP, 1);
    peer.send(&Publish { id: 1, ..Publish::new(V5, "t", "x", 2) }.bytes());
    peer.hear_ack(PUBREC, 1);
    peer.send(&Publish { id: maximum + 1, ..Publish::new(V5, "t", "x", 2) }.bytes());
    peer.hear_end().expect(V5, 0x93);
}

/// A message that would make a packet larger than a client takes is not sent to it, and is over for it;
/// others get it.
///
/// 5.0: 3.1.2-24 3.1.2-25
#[test]
fn a_client_gets_no_packet_over_its_maximum() {
    let fits = Publish { id: 1, ..Publish::new(V5, "t", "x".repeat(50), 1) }.bytes();
    let maximum = u32::try_from(length(&fits).unwrap()).unwrap();
    let site = Site::new();
    let limited = Connect::lasting(V5, "s").with_properties(four(MAXIMUM_PACKET_SIZE, maximum));
    let mut small = site.connect(&limited);
    small.subscribe("t", 2);
    let mut large = site.subscriber(V5, "l", "t", 2);
    let mut publisher = site.client(V5, "p");
    for qos in 0..3 {
        for bytes in [50 - usize::from(qos == 2), 100, 51, 1] {
            publisher.say("t", &"x".repeat(bytes), qos);
        }
        let lengths: Vec<_> = small.payloads().iter().map(String::len).collect();
        let expected = match qos {
            // A message of QoS 0 has no id: two bytes more.
            0 => vec![50, 51, 1],
            1 => vec![50, 1],
            _ => vec![49, 1],
        };
        assert_eq!(lengths, expected, "QoS {qos}");
        assert_eq!(large.payloads().len(), 4);
    }
    small.leave();
    publisher.say("t", &"x".repeat(100), 1);
    publisher.say("t", "small", 1);
    assert_eq!(site.connect(&limited).payloads(), ["small"], "also from the queue");
}

/// Where there is no room for words there are none: no answer grows beyond what the client takes.
///
/// 5.0: 3.4.2-2 3.4.2-3 3.5.2-2 3.5.2-3 3.6.2-2 3.6.2-3 3.7.2-2 3.7.2-3 3.9.2-1 3.9.2-2 3.11.2-1 3.11.2-2 3.14.2-4
#[test]
fn answers_never_grow_beyond_the_clients_maximum() {
    let maximum = 24;
    let site = Site::new();
    let mut peer = site.connect(&Connect::new(V5, "c").with_properties(four(MAXIMUM_PACKET_SIZE, maximum)));
    assert_eq!(peer.publish(&Publish::new(V5, "nobody", "x", 1)), 0x10);
    assert_eq!(peer.publish(&Publish::new(V5, "nobody", "x", 2)), 0x10);
    peer.send(&ack(PUBREL, 99));
    assert_eq!(peer.hear_ack(PUBCOMP, 99), 0x92);
    peer.send(&ack(PUBREC, 99));
    assert_eq!(peer.hear_ack(PUBREL, 99), 0x92);
    assert!(peer.try_subscribe("$share/g", 0) >= 0x80);
    assert_eq!(peer.unsubscribe(&["unknown"]), [0x11]);
    peer.send(&[0, 0]);
    assert_eq!(peer.hear_end(), Ended::Saying(0x81, None));
}

/// A packet over the broker's own maximum ends the connection, before its body is there.
///
/// 5.0: 3.2.2-15
#[test]
fn a_packet_over_the_brokers_maximum_ends_the_connection() {
    for version in BOTH {
        let site = Site::new();
        let (_, answer) = site.try_connect(&Connect::new(V5, "x"));
        let maximum = answer.properties.number(MAXIMUM_PACKET_SIZE).unwrap();
        let mut peer = site.client(version, "c");
        peer.send(&[&[0x30], &variable(maximum)[..]].concat());
        peer.hear_end().expect(version, 0x95);
    }
}

/// Over 3.1.1 nothing limits a client but the connection: it may send as much at once as it likes.
#[test]
fn an_old_client_may_send_a_thousand_messages_at_once() {
    let site = Site::new();
    let mut peer = site.client(V3, "c");
    let all: Vec<u8> =
        (1..=1000).flat_map(|id| Publish { id, ..Publish::new(V3, "t", "x", 1) }.bytes()).collect();
    peer.send(&all);
    for id in 1..=1000 {
        peer.hear_ack(PUBACK, id);
    }
}
