//! CONNECT and CONNACK: sections 3.1 and 3.2 of both versions.

use super::format::{end_after, refused};
use super::heard::Heard;
use super::packet::*;
use super::site::{Ended, Site};

const MALFORMED: u8 = 0x81;
const PROTOCOL_ERROR: u8 = 0x82;
const AUTHENTICATION_METHOD: u8 = 0x8C;

/// The first packet must be CONNECT; nothing else is answered.
///
/// 5.0: 3.1.0-1 3.14.0-1
/// 3.1.1: 3.1.0-1
#[test]
fn the_first_packet_is_connect() {
    for version in BOTH {
        for bytes in [
            Publish::new(version, "t", "x", 0).bytes(),
            subscribe(version, 1, &[], &[(b"t", 0)]),
            PINGREQ.to_vec(),
            disconnect(version, 0, &[]),
            packet(AUTH, &[]),
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        ] {
            let site = Site::new();
            let mut peer = site.dial(version);
            peer.send(&bytes);
            assert_eq!(peer.hear_end(), Ended::Silently);
        }
    }
}

/// A second CONNECT is a Protocol Error.
///
/// 5.0: 3.1.0-2
/// 3.1.1: 3.1.0-2
#[test]
fn a_second_connect_ends_the_connection() {
    for version in BOTH {
        end_after(version, &Connect::new(version, "c").bytes()).expect(version, PROTOCOL_ERROR);
    }
}

/// Another protocol's name is no CONNECT of ours: the connection is closed, and nothing processed.
///
/// 5.0: 3.1.2-1
/// 3.1.1: 3.1.2-1
#[test]
fn another_protocols_name_is_not_served() {
    for version in BOTH {
        for name in ["mqtt", "MQTTT", "MQT", "hj", ""] {
            let connect = Connect { name: name.into(), ..Connect::new(version, "c") };
            assert_eq!(refused(&connect), None, "{name}");
        }
    }
}

/// A level that we do not speak is refused with the code for it. Mosquitto's bridge sets the highest bit
/// of the level, and falls back on a plain 4 after an answer in 3.1.1.
///
/// 5.0: 3.1.2-2
/// 3.1.1: 3.1.2-2 3.2.2-5
#[test]
fn an_unknown_level_is_refused_with_its_code() {
    for (version, level, code) in [(V5, 6, 0x84), (V5, 255, 0x84), (V3, 3, 1), (V3, 0, 1), (V3, 0x84, 1)] {
        assert_eq!(refused(&Connect { level, ..Connect::new(version, "c") }), Some(code), "level {level}");
    }
    assert_eq!(refused(&Connect { name: b"MQIsdp".into(), level: 3, ..Connect::new(V3, "c") }), Some(1));
}

/// The reserved flag of CONNECT, and flags of a will that is not there, are malformed.
///
/// 5.0: 3.1.2-3 3.1.2-11 3.1.2-12 3.1.2-13
/// 3.1.1: 3.1.2-3 3.1.2-11 3.1.2-13 3.1.2-14 3.1.2-15
#[test]
fn flags_that_do_not_belong_together_are_malformed() {
    for version in BOTH {
        let answer = (version == V5).then_some(MALFORMED);
        for flags in [0x03, 0x02 | 0x08, 0x02 | 0x10, 0x02 | 0x18, 0x02 | 0x20] {
            let connect = Connect { flags: Some(flags), ..Connect::new(version, "c") };
            assert_eq!(refused(&connect), answer, "flags {flags:#x}");
        }
        let will_of_3 = Connect { flags: Some(0x02 | 0x04 | 0x18), ..Connect::new(version, "c") };
        assert_eq!(refused(&will_of_3.with_will(Will::new("t", "x"))), answer);
    }
}

/// What the flags announce must be there, in its order; what they do not announce must not.
///
/// 5.0: 3.1.2-9 3.1.2-16 3.1.2-17 3.1.2-18 3.1.2-19 3.1.3-1 3.1.3-3 3.1.4-1
/// 3.1.1: 3.1.2-9 3.1.2-18 3.1.2-19 3.1.2-20 3.1.2-21 3.1.3-1 3.1.3-3 3.1.4-1 3.2.2-6
#[test]
fn the_payload_is_what_the_flags_say() {
    for version in BOTH {
        let answer = (version == V5).then_some(MALFORMED);
        let plain = Connect::new(version, "c");
        for flags in [0x02 | 0x04, 0x02 | 0x80, 0x02 | 0x80 | 0x40] {
            let missing = Connect { flags: Some(flags), ..plain.clone() };
            assert_eq!(refused(&missing), answer, "flags {flags:#x} and nothing behind");
        }
        for tail in [text("user"), [text("user"), text("password")].concat(), vec![0]] {
            assert_eq!(refused(&Connect { tail, ..plain.clone() }), answer, "more than the flags say");
        }
        let full = Connect {
            user: Some(b"user".into()),
            password: Some(b"\0\xff".into()),
            ..plain.with_will(Will::new("will", "gone"))
        };
        let site = Site::new();
        site.connect(&full).settle();
        let mut short = full.bytes();
        short.truncate(short.len() - 1);
        short[1] -= 1;
        let mut peer = site.dial(version);
        peer.send(&short);
        match peer.hear_or_end() {
            Some(Heard::ConnAck { code, .. }) => assert_eq!(Some(code), answer),
            other => assert_eq!((other, version), (None, V3)),
        }
        // No client id at all.
        let without =
            packet(0x10, &Connect::new(version, "").bytes()[2..][..if version == V5 { 11 } else { 10 }]);
        let mut peer = site.dial(version);
        peer.send(&without);
        let code = peer.hear_or_end().map(|heard| matches!(heard, Heard::ConnAck { code: MALFORMED, .. }));
        assert_eq!(code, answer.map(|_| true));
    }
}

/// A password without user name is allowed over 5.0 only.
///
/// 3.1.1: 3.1.2-22
#[test]
fn a_password_alone_is_for_5_0() {
    let alone = |version| Connect { password: Some(b"secret".into()), ..Connect::new(version, "c") };
    assert_eq!(refused(&alone(V3)), None);
    Site::new().connect(&alone(V5)).settle();
}

/// Every client id is taken: of 1 to 23 letters and digits, of more, of other characters.
///
/// 5.0: 3.1.3-5
/// 3.1.1: 3.1.3-5
#[test]
fn client_ids_of_every_length_are_taken() {
    let letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for version in BOTH {
        let site = Site::new();
        for length in [1, 2, 22, 23, 24, 62] {
            site.client(version, &letters[..length]).settle();
        }
        for id in ["/+#$", "ä ß", "\u{feff}", &"x".repeat(65_535)] {
            site.client(version, id).settle();
        }
    }
}

/// Without a client id, 5.0 clients get a unique one and are told; 3.1.1 clients get one if their session
/// is clean, and are refused with code 2 if not.
///
/// 5.0: 3.1.3-6 3.1.3-7 3.2.2-16
/// 3.1.1: 3.1.3-6 3.1.3-7 3.1.3-8 3.1.3-9 3.2.2-4 3.2.2-5
#[test]
fn without_a_client_id_the_broker_gives_one() {
    let site = Site::new();
    let mut given = Vec::new();
    for clean in [true, false, true] {
        let (mut peer, answer) = site.try_connect(&Connect { clean, ..Connect::new(V5, "") });
        let id = answer.properties.text(ASSIGNED_CLIENT_ID).expect("an id").to_owned();
        assert!(answer.code == 0 && !answer.present && !given.contains(&id), "{answer:?}");
        given.push(id);
        peer.settle();
    }
    // The id is the client's from then on.
    let (peer, answer) = site.try_connect(&Connect::lasting(V5, ""));
    let id = answer.properties.text(ASSIGNED_CLIENT_ID).unwrap().to_owned();
    peer.disconnect();
    assert!(site.try_connect(&Connect::lasting(V5, id)).1.present);

    let (mut a, _) = site.try_connect(&Connect::new(V3, ""));
    let (mut b, _) = site.try_connect(&Connect::new(V3, ""));
    a.settle();
    b.settle();
    assert_eq!(refused(&Connect { clean: false, ..Connect::new(V3, "") }), Some(2));
    let (_, answer) = site.try_connect(&Connect::new(V5, "named"));
    assert_eq!(answer.properties.text(ASSIGNED_CLIENT_ID), None, "only where there was none");
}

/// The answer to CONNECT comes first, comes once, and says whether there was a session.
///
/// 5.0: 3.1.4-4 3.1.4-5 3.2.0-1 3.2.0-2 3.2.2-1 3.2.2-2 3.2.2-3 3.2.2-8
/// 3.1.1: 3.1.4-3 3.1.4-4 3.2.0-1 3.2.2-1 3.2.2-2 3.2.2-3
#[test]
fn the_answer_comes_first_and_tells_of_the_session() {
    for version in BOTH {
        let site = Site::new();
        let mut peer = site.dial(version);
        let at_once = [
            Connect::lasting(version, "c").bytes(),
            subscribe(version, 1, &[], &[(b"t", 0)]),
            Publish::new(version, "t", "x", 0).bytes(),
        ];
        peer.send(&at_once.concat());
        assert!(matches!(peer.hear(), Heard::ConnAck { present: false, code: 0, .. }));
        assert!(matches!(peer.hear(), Heard::SubAck { .. }));
        assert_eq!(peer.payloads(), ["x"], "nothing is lost, and there is no second CONNACK");
        peer.disconnect();
        assert!(site.try_connect(&Connect::lasting(version, "c")).1.present);
        let clean = Connect { clean: true, ..Connect::lasting(version, "c") };
        assert!(!site.try_connect(&clean).1.present);
    }
}

/// A refused client's session is not present, and what it sends behind its CONNECT is not processed.
///
/// 5.0: 3.1.4-2 3.1.4-6 3.2.2-6 3.2.2-7 4.12.0-1
/// 3.1.1: 3.1.4-5 3.2.2-4
#[test]
fn what_follows_a_refused_connect_is_not_processed() {
    for version in BOTH {
        let site = Site::new();
        let connect = match version {
            V5 => Connect::new(V5, "c").with_properties(string(AUTH_METHOD, "SCRAM-SHA-1")),
            _ => Connect { clean: false, ..Connect::new(V3, "") },
        };
        let mut peer = site.dial(version);
        peer.send(&[connect.bytes(), Publish::new(version, "t", "x", 0).retained().bytes()].concat());
        match peer.hear() {
            Heard::ConnAck { present: false, code, .. } => {
                assert_eq!(code, if version == V5 { AUTHENTICATION_METHOD } else { 2 });
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(peer.hear_or_end(), None);
        assert_eq!(site.subscriber(version, "s", "t", 0).payloads(), Vec::<String>::new());
    }
}

/// Who does not ask for enhanced authentication hears nothing of it.
///
/// 5.0: 4.12.0-6
#[test]
fn no_authentication_method_without_asking() {
    let site = Site::new();
    let (mut peer, answer) = site.try_connect(&Connect::new(V5, "c"));
    assert_eq!((answer.properties.text(AUTH_METHOD), answer.properties.bytes(AUTH_DATA)), (None, None));
    assert_eq!(peer.rest(), []);
}

/// Only response information that was asked for could be sent; we send none.
///
/// 5.0: 3.1.2-28
#[test]
fn no_response_information() {
    let site = Site::new();
    for asks in [0, 1] {
        let connect = Connect::new(V5, "c").with_properties(byte(REQUEST_RESPONSE_INFORMATION, asks));
        assert_eq!(site.try_connect(&connect).1.properties.text(RESPONSE_INFORMATION), None);
    }
}

/// A refusal says in words why, unless the client does not want to know or would not take the packet.
///
/// 5.0: 3.1.2-29 3.2.2-19 3.2.2-20 3.14.2-3
#[test]
fn refusals_come_with_words_that_fit() {
    let refusal = |properties: Vec<u8>| {
        let asked =
            Connect::new(V5, "c").with_properties(string(AUTH_METHOD, "x")).with_properties(properties);
        let (_, answer) = Site::new().try_connect(&asked);
        assert_eq!(answer.code, AUTHENTICATION_METHOD);
        answer.properties.text(REASON_STRING).map(str::to_owned)
    };
    assert!(refusal(Vec::new()).unwrap().contains("authentication"));
    assert_eq!(refusal(byte(PROBLEM_INFORMATION, 0)), None);
    assert_eq!(refusal(four(MAXIMUM_PACKET_SIZE, 20)), None);

    let end = |properties: &[u8]| {
        let site = Site::new();
        let mut peer = site.connect(&Connect::new(V5, "c").with_properties(properties));
        peer.send(&Publish::new(V5, "t/#", "x", 0).bytes());
        peer.hear_end()
    };
    assert!(matches!(end(&[]), Ended::Saying(0x90, Some(words)) if words.contains("topic")));
    assert_eq!(end(&byte(PROBLEM_INFORMATION, 0)), Ended::Saying(0x90, None));
    assert_eq!(end(&four(MAXIMUM_PACKET_SIZE, 20)), Ended::Saying(0x90, None));
}

/// A client that connects again takes its session over; the older connection hears so and is closed.
///
/// 5.0: 3.1.4-3
/// 3.1.1: 3.1.4-2
#[test]
fn a_second_connection_of_the_same_client_ends_the_first() {
    for (old, new) in [(V3, V3), (V5, V5), (V5, V3), (V3, V5)] {
        let site = Site::new();
        let mut first = site.client(old, "c");
        let mut second = site.client(new, "c");
        first.hear_end().expect(old, 0x8E);
        second.settle();
    }
}

/// What the broker can do, it does not deny: all QoS, retained messages, wildcards, identifiers, shares.
/// It keeps to the client's keep-alive.
///
/// 5.0: 3.2.2-22
#[test]
fn the_answer_denies_nothing_that_works() {
    let connect = Connect { keep_alive: 77, ..Connect::new(V5, "c") };
    let (_, answer) = Site::new().try_connect(&connect);
    for id in
        [MAXIMUM_QOS, RETAIN_AVAILABLE, WILDCARDS_AVAILABLE, SUBSCRIPTION_IDS_AVAILABLE, SHARED_AVAILABLE]
    {
        assert!(answer.properties.number(id).is_none_or(|value| value == 1), "{id:#x}: {answer:?}");
    }
    assert_eq!(answer.properties.number(SERVER_KEEP_ALIVE), None);
    assert!(answer.properties.number(RECEIVE_MAXIMUM) > Some(0));
    assert!(answer.properties.number(TOPIC_ALIAS_MAXIMUM) > Some(0));
    assert!(answer.properties.number(MAXIMUM_PACKET_SIZE) > Some(0));
}
