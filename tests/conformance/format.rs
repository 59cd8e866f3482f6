//! Data representation and the fixed header: sections 1.5 and 2 of both versions.

use super::packet::*;
use super::site::{Ended, Peer, Site};

const MALFORMED: u8 = 0x81;
const PROTOCOL_ERROR: u8 = 0x82;

/// A connected client says this; how the broker ends it.
#[track_caller]
pub(crate) fn end_after(version: u8, bytes: &[u8]) -> Ended {
    let site = Site::new();
    let mut peer = site.client(version, "c");
    peer.send(bytes);
    peer.hear_end()
}

/// A client says this first; how the broker ends it, and over 5.0 with which code.
#[track_caller]
pub(crate) fn refused(connect: &Connect) -> Option<u8> {
    let site = Site::new();
    let mut peer = site.dial(connect.version);
    peer.send(&connect.bytes());
    let code = match peer.hear_or_end()? {
        super::heard::Heard::ConnAck { code, .. } => code,
        other => panic!("{other:?}"),
    };
    assert_ne!(code, 0, "accepted");
    assert_eq!(peer.hear_or_end(), None, "a refused client's connection is closed");
    Some(code)
}

/// What is no text: a surrogate, NUL, NUL in two bytes, and half a character.
const NO_TEXTS: [&[u8]; 4] = [b"a\xed\xa0\x80", b"a\0b", b"\xc0\x80", b"a\xe2\x82"];

/// Ill-formed UTF-8, surrogates and NUL close the connection, wherever a text stands.
///
/// 5.0: 1.5.4-1 1.5.4-2 1.5.7-1 3.1.3-4 3.1.3-11 3.1.3-12 3.3.2-1 3.3.2-13 3.3.2-19 3.8.3-1 3.10.3-1 4.7.3-2
/// 3.1.1: 1.5.3-1 1.5.3-2 3.1.3-4 3.1.3-10 3.1.3-11 3.3.2-1 3.8.3-1 3.10.3-1 4.7.3-2
#[test]
fn what_is_no_text_closes_the_connection() {
    for (version, no_text) in BOTH.into_iter().flat_map(|version| NO_TEXTS.map(|text| (version, text))) {
        let plain = Connect::new(version, "c");
        let will = Will { topic: no_text.to_vec(), ..Will::new("t", "x") };
        let user = Connect { user: Some(no_text.to_vec()), ..plain.clone() };
        let answer = (version == V5).then_some(MALFORMED);
        for connect in [Connect::new(version, no_text), plain.with_will(will), user] {
            assert_eq!(refused(&connect), answer);
        }
        for bytes in [
            Publish::new(version, no_text, "x", 0).bytes(),
            subscribe(version, 1, &[], &[(no_text, 0)]),
            unsubscribe(version, 1, &[], &[no_text]),
        ] {
            end_after(version, &bytes).expect(version, MALFORMED);
        }
    }
    for no_text in NO_TEXTS {
        let with = |properties: Vec<u8>| Publish::new(V5, "t", "x", 0).with_properties(properties).bytes();
        for bytes in [
            with(string(CONTENT_TYPE, no_text)),
            with(string(RESPONSE_TOPIC, no_text)),
            with(user(no_text, "v")),
            with(user("k", no_text)),
            subscribe(V5, 1, &user("k", no_text), &[(b"t", 0)]),
            disconnect(V5, 0, &string(REASON_STRING, no_text)),
            packet(PUBACK, &[&[0, 1, 0], &block(&string(REASON_STRING, no_text))[..]].concat()),
        ] {
            end_after(V5, &bytes).expect(V5, MALFORMED);
        }
    }
}

/// A byte order mark and characters that mean nothing are part of a text like any other.
///
/// 5.0: 1.5.4-3 4.7.3-4
/// 3.1.1: 1.5.3-3 4.7.3-4
#[test]
fn every_character_is_kept_as_it_is() {
    for version in BOTH {
        let site = Site::new();
        let topics =
            ["\u{feff}a", "a\u{feff}", "\u{fffe}", "\u{1}\u{7f}", "é", "e\u{301}", "A", "a ", "\u{10ffff}"];
        let mut marked = site.client(version, "s");
        for topic in topics {
            marked.subscribe(topic, 0);
        }
        let mut plain = site.subscriber(version, "plain", "a", 0);
        let mut publisher = site.client(version, "p");
        for topic in topics {
            publisher.say(topic, topic, 1);
        }
        assert_eq!(marked.payloads(), topics);
        assert_eq!(plain.payloads(), Vec::<String>::new());
    }
}

/// A number of five bytes is malformed, over 5.0 also one with more bytes than it needs.
///
/// 5.0: 1.5.5-1
#[test]
fn numbers_take_the_fewest_bytes() {
    for version in BOTH {
        end_after(version, b"\x30\x80\x80\x80\x80\x01").expect(version, MALFORMED);
    }
    let long_id = [SUBSCRIPTION_ID, 0x81, 0];
    for bytes in [
        &b"\xc0\x80\x00"[..],
        b"\x30\x85\x00\x00\x01t\x00x",
        b"\x30\x06\x00\x01t\x80\x00x",
        &subscribe(V5, 1, &long_id, &[(b"t", 0)]),
    ] {
        end_after(V5, bytes).expect(V5, MALFORMED);
    }
}

/// Reserved flags in the first byte, and reserved packet types, close the connection.
///
/// 5.0: 2.1.3-1 3.6.1-1 3.8.1-1 3.10.1-1 3.14.1-1 3.15.1-1
/// 3.1.1: 2.2.2-1 2.2.2-2 3.6.1-1 3.8.1-1 3.10.1-1 3.14.1-1
#[test]
fn reserved_flags_close_the_connection() {
    for version in BOTH {
        let mut packets = vec![
            ack(PUBACK, 1),
            ack(PUBREC, 1),
            ack(PUBREL, 1),
            ack(PUBCOMP, 1),
            subscribe(version, 1, &[], &[(b"t", 0)]),
            unsubscribe(version, 1, &[], &[b"t"]),
            PINGREQ.to_vec(),
            disconnect(version, 0, &[]),
        ];
        if version == V5 {
            packets.push(packet(AUTH, &[]));
        }
        for flag in [1, 2, 4, 8] {
            for right in &packets {
                let mut wrong = right.clone();
                wrong[0] ^= flag;
                end_after(version, &wrong).expect(version, MALFORMED);
            }
            let mut connect = Connect::new(version, "c").bytes();
            connect[0] ^= flag;
            let site = Site::new();
            let mut peer = site.dial(version);
            peer.send(&connect);
            assert_eq!(peer.hear_end(), Ended::Silently);
        }
        end_after(version, &[0, 0]).expect(version, MALFORMED);
    }
    end_after(V3, &[AUTH, 0]).expect(V3, MALFORMED);
}

/// A packet that needs an id and has 0 is refused.
///
/// 5.0: 2.2.1-3
/// 3.1.1: 2.3.1-1
#[test]
fn packet_id_0_closes_the_connection() {
    for version in BOTH {
        for bytes in [
            Publish { id: 0, ..Publish::new(version, "t", "x", 1) }.bytes(),
            Publish { id: 0, ..Publish::new(version, "t", "x", 2) }.bytes(),
            subscribe(version, 0, &[], &[(b"t", 0)]),
            unsubscribe(version, 0, &[], &[b"t"]),
            ack(PUBREL, 0),
        ] {
            end_after(version, &bytes).expect(version, MALFORMED);
        }
    }
}

/// What the broker sends with QoS 1 and 2 has ids that are not in use; with QoS 0 it has none.
///
/// 5.0: 2.2.1-2 2.2.1-4 4.3.2-1 4.3.3-1
/// 3.1.1: 2.3.1-4 2.3.1-5
#[test]
fn the_broker_uses_ids_that_are_free() {
    for version in BOTH {
        let site = Site::new();
        let mut subscriber = site.subscriber(version, "s", "t", 2);
        let mut publisher = site.client(version, "p");
        let mut in_use = Vec::new();
        for round in 0..20 {
            let qos = round % 3;
            publisher.say("t", "x", qos);
            let message = subscriber.hear_publish();
            assert_eq!((message.qos, message.id > 0), (qos, qos > 0));
            if qos > 0 {
                assert!(!in_use.contains(&message.id), "{} is in use", message.id);
                in_use.push(message.id);
            }
            if round % 5 == 4 {
                subscriber.send(&ack(PUBACK, in_use.remove(0)));
            }
        }
    }
}

/// Every answer carries the id of what it answers, whatever the order of the ids.
///
/// 5.0: 2.2.1-5 2.2.1-6
/// 3.1.1: 2.3.1-6 2.3.1-7
#[test]
fn answers_carry_the_id_of_what_they_answer() {
    for version in BOTH {
        let site = Site::new();
        let mut peer = site.client(version, "c");
        for id in [0xFFFF, 7, 1, 0x8000] {
            peer.send(&Publish { id, ..Publish::new(version, "t", "x", 1) }.bytes());
            peer.hear_ack(PUBACK, id);
            peer.send(&Publish { id, ..Publish::new(version, "t", "x", 2) }.bytes());
            peer.hear_ack(PUBREC, id);
            peer.send(&ack(PUBREL, id));
            peer.hear_ack(PUBCOMP, id);
            peer.send(&subscribe(version, id, &[], &[(b"u", 0)]));
            assert!(matches!(peer.hear(), super::heard::Heard::SubAck { id: heard, .. } if heard == id));
            peer.send(&unsubscribe(version, id, &[], &[b"u"]));
            assert!(matches!(peer.hear(), super::heard::Heard::UnsubAck { id: heard, .. } if heard == id));
        }
    }
}

/// Without properties there is still their length, 0.
///
/// 5.0: 2.2.2-1
#[test]
fn no_properties_are_a_length_of_0() {
    for bytes in [&b"\x30\x03\x00\x01t"[..], b"\x82\x06\x00\x01\x00\x01t\x00"] {
        end_after(V5, bytes).expect(V5, MALFORMED);
    }
    let site = Site::new();
    let mut peer = site.subscriber(V5, "s", "t", 0);
    peer.send(b"\x30\x04\x00\x01t\x00");
    assert_eq!(peer.hear_publish().payload, "");
}

/// Places for properties that a client has, with a packet around them.
fn with_properties(properties: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let in_ack = |first, code: u8| packet(first, &[&[0, 1, code], &block(properties)[..]].concat());
    let mut all = vec![
        ("PUBLISH", Publish::new(V5, "t", "x", 0).with_properties(properties).bytes()),
        ("SUBSCRIBE", subscribe(V5, 1, properties, &[(b"t", 0)])),
        ("UNSUBSCRIBE", unsubscribe(V5, 1, properties, &[b"t"])),
        ("DISCONNECT", disconnect(V5, 4, properties)),
    ];
    for (name, first) in [("PUBACK", PUBACK), ("PUBREC", PUBREC), ("PUBREL", PUBREL), ("PUBCOMP", PUBCOMP)] {
        all.push((name, in_ack(first, 0)));
    }
    all
}

/// A property that does not exist, or not in this packet, is malformed.
///
/// 5.0: 4.13.1-1
#[test]
fn a_property_in_the_wrong_place_is_malformed() {
    for unknown in [&[0x00, 0][..], &[0x7F, 0], &[0x04, 0], &two(RECEIVE_MAXIMUM, 5), &byte(MAXIMUM_QOS, 1)] {
        for (name, bytes) in with_properties(unknown) {
            let end = end_after(V5, &bytes);
            assert!(matches!(end, Ended::Saying(MALFORMED, _)), "{unknown:x?} in {name}: {end:?}");
        }
        if unknown[0] != RECEIVE_MAXIMUM {
            let connect = Connect::new(V5, "c").with_properties(unknown);
            assert_eq!(refused(&connect), Some(MALFORMED), "{unknown:x?}");
        }
        let will = Will { properties: unknown.to_vec(), ..Will::new("t", "x") };
        assert_eq!(
            refused(&Connect::new(V5, "c").with_will(will)),
            Some(MALFORMED),
            "{unknown:x?} in a will"
        );
    }
    for (properties, allowed) in [
        (string(CONTENT_TYPE, "x"), &["PUBLISH"][..]),
        (string(REASON_STRING, "x"), &["DISCONNECT", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP"]),
        (number(SUBSCRIPTION_ID, 1), &["SUBSCRIBE", "PUBLISH"]),
        (two(TOPIC_ALIAS, 1), &["PUBLISH"]),
        (four(WILL_DELAY, 1), &[]),
        (string(SERVER_REFERENCE, "x"), &[]),
        (string(ASSIGNED_CLIENT_ID, "x"), &[]),
    ] {
        for (name, bytes) in with_properties(&properties) {
            if !allowed.contains(&name) {
                end_after(V5, &bytes).expect(V5, MALFORMED);
            }
        }
    }
}

/// A property that may stand once only, and stands twice, is a Protocol Error.
///
/// 5.0: 4.13.1-1
#[test]
fn a_property_twice_is_a_protocol_error() {
    let twice = |property: Vec<u8>| [property.clone(), property].concat();
    for property in [
        four(SESSION_EXPIRY, 1),
        two(RECEIVE_MAXIMUM, 1),
        four(MAXIMUM_PACKET_SIZE, 1000),
        two(TOPIC_ALIAS_MAXIMUM, 1),
        byte(REQUEST_RESPONSE_INFORMATION, 1),
        byte(PROBLEM_INFORMATION, 1),
        string(AUTH_METHOD, "x"),
    ] {
        let connect = Connect::new(V5, "c").with_properties(twice(property.clone()));
        assert_eq!(refused(&connect), Some(PROTOCOL_ERROR), "{property:x?}");
    }
    let of_message = [
        byte(PAYLOAD_FORMAT, 1),
        four(MESSAGE_EXPIRY, 1),
        string(CONTENT_TYPE, "x"),
        string(RESPONSE_TOPIC, "x"),
        string(CORRELATION_DATA, "x"),
    ];
    for property in of_message {
        let will = Will { properties: twice(property.clone()), ..Will::new("t", "x") };
        assert_eq!(refused(&Connect::new(V5, "c").with_will(will)), Some(PROTOCOL_ERROR));
        let publish = Publish::new(V5, "t", "x", 0).with_properties(twice(property));
        end_after(V5, &publish.bytes()).expect(V5, PROTOCOL_ERROR);
    }
    let delay = Will { properties: twice(four(WILL_DELAY, 1)), ..Will::new("t", "x") };
    assert_eq!(refused(&Connect::new(V5, "c").with_will(delay)), Some(PROTOCOL_ERROR));
    let alias = Publish::new(V5, "t", "x", 0).with_properties(twice(two(TOPIC_ALIAS, 1)));
    let words = twice(string(REASON_STRING, "x"));
    for bytes in [
        alias.bytes(),
        subscribe(V5, 1, &twice(number(SUBSCRIPTION_ID, 1)), &[(b"t", 0)]),
        disconnect(V5, 0, &words),
        disconnect(V5, 0, &twice(four(SESSION_EXPIRY, 0))),
        packet(PUBREL, &[&[0, 1, 0], &block(&words)[..]].concat()),
    ] {
        end_after(V5, &bytes).expect(V5, PROTOCOL_ERROR);
    }
}

/// Values that the protocol rules out are Protocol Errors: 0 for what counts or limits, 2 for a flag.
///
/// 5.0: 4.13.1-1
#[test]
fn a_value_that_is_not_allowed_is_a_protocol_error() {
    for property in [
        two(RECEIVE_MAXIMUM, 0),
        four(MAXIMUM_PACKET_SIZE, 0),
        byte(PROBLEM_INFORMATION, 2),
        byte(REQUEST_RESPONSE_INFORMATION, 2),
        string(AUTH_DATA, "x"),
    ] {
        let connect = Connect::new(V5, "c").with_properties(&property);
        assert_eq!(refused(&connect), Some(PROTOCOL_ERROR), "{property:x?}");
    }
    let format = Publish::new(V5, "t", "x", 0).with_properties(byte(PAYLOAD_FORMAT, 2));
    for bytes in [format.bytes(), subscribe(V5, 1, &number(SUBSCRIPTION_ID, 0), &[(b"t", 0)])] {
        end_after(V5, &bytes).expect(V5, PROTOCOL_ERROR);
    }
}

/// Fields that are cut short, and bytes behind the last field, close the connection.
///
/// 5.0: 4.13.1-1
/// 3.1.1: 4.8.0-1
#[test]
fn a_packet_that_does_not_fit_its_length_closes_the_connection() {
    for version in BOTH {
        for bytes in [
            &b"\x30\x01\x00"[..],
            b"\x30\x03\x00\x05t",
            b"\x32\x04\x00\x01t\x00",
            b"\x40\x01\x00",
            b"\x62\x00",
            b"\x82\x04\x00\x01\x00\x05",
            b"\xa2\x01\x00",
            b"\xc0\x01\x00",
        ] {
            end_after(version, bytes).expect(version, MALFORMED);
        }
    }
    for bytes in [&b"\x40\x03\x00\x01\x00"[..], b"\xe0\x01\x00"] {
        end_after(V3, bytes).expect(V3, MALFORMED);
    }
    for bytes in [&b"\xe0\x03\x00\x00\x00"[..], b"\x62\x05\x00\x01\x00\x00\x00", b"\x62\x04\x00\x01\x00\x05"]
    {
        end_after(V5, bytes).expect(V5, MALFORMED);
    }
}

/// Packets may arrive byte by byte, or many in one piece.
///
/// 5.0: 4.2.0-1
/// 3.1.1: 7.1.1-1
#[test]
fn packets_may_be_cut_and_joined_anywhere() {
    for version in BOTH {
        let site = Site::new();
        let mut peer: Peer = site.dial(version);
        for byte in Connect::new(version, "c").bytes() {
            peer.send(&[byte]);
        }
        assert!(matches!(peer.hear(), super::heard::Heard::ConnAck { code: 0, .. }));
        let all =
            [subscribe(version, 1, &[], &[(b"t", 1)]), Publish::new(version, "t", "x", 1).bytes()].concat();
        for byte in &all {
            peer.send(&[*byte]);
        }
        let mut heard = vec![peer.hear(), peer.hear(), peer.hear()];
        peer.send(&[PINGREQ; 50].concat());
        heard.extend((0..50).map(|_| peer.hear()));
        assert_eq!(heard.iter().filter(|heard| **heard == super::heard::Heard::PingResp).count(), 50);
    }
}
