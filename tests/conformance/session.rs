//! Sessions: what outlives a connection, for how long, and what is sent again. Sections 3.1.2.4, 3.1.2.11.2,
//! 4.1 and 4.4 of 5.0, 3.1.2.4, 4.1 and 4.4 of 3.1.1.

use std::time::Duration;

use super::heard::Heard;
use super::packet::*;
use super::site::{Ended, Site, pause};

/// Whether the client's session is still there; looks without changing how long it lasts.
fn is_present(site: &Site, version: u8) -> bool {
    let (peer, answer) = site.try_connect(&Connect::lasting(version, "c"));
    peer.leave();
    answer.present
}

/// Waits until a session has ended; finds out as somebody who would not keep it alive by looking: its
/// subscription no longer takes messages, so they have no subscriber (reason code 0x10).
fn wait_until_nobody_subscribes(site: &Site, topic: &str) {
    let mut publisher = site.client(V5, "watch");
    while publisher.publish(&Publish::new(V5, topic, "x", 1)) != 0x10 {
        pause(Duration::from_millis(50));
    }
}

/// A clean start forgets the session: its subscriptions, its messages.
///
/// 5.0: 3.1.2-4
/// 3.1.1: 3.1.2-6
#[test]
fn a_clean_start_forgets_everything() {
    for version in BOTH {
        let site = Site::new();
        site.absent(version, "c", "t", 1);
        site.client(version, "p").say("t", "missed", 1);
        let (mut peer, answer) = site.try_connect(&Connect::new(version, "c"));
        assert!(!answer.present);
        site.client(version, "p").say("t", "later", 1);
        assert_eq!(peer.payloads(), Vec::<String>::new());
        peer.disconnect();
        assert!(!is_present(&site, version), "a clean session ends with its connection");
    }
}

/// A session that lasts is resumed: subscriptions go on, messages of QoS 1 and 2 have waited, in order.
///
/// 5.0: 3.1.2-5 3.1.2-23 3.1.3-2 4.1.0-1 4.5.0-1
/// 3.1.1: 3.1.2-4 3.1.2-5 3.1.3-2 4.1.0-1 4.1.0-2 4.5.0-1
#[test]
fn a_lasting_session_is_resumed() {
    for (before, after) in [(V3, V3), (V5, V5), (V3, V5), (V5, V3)] {
        let site = Site::new();
        let mut peer = site.connect(&Connect::lasting(before, "c"));
        assert_eq!(peer.subscribe_all(&[], &[("t", 2), ("u", 0)]), [2, 0]);
        peer.disconnect();
        site.absent(before, "other", "t", 2);
        let mut publisher = site.client(V5, "p");
        for (payload, qos) in [("1", 1), ("2", 2), ("3", 1)] {
            publisher.say("t", payload, qos);
        }
        let (mut peer, answer) = site.try_connect(&Connect::lasting(after, "c"));
        assert!(answer.present);
        assert_eq!(peer.payloads(), ["1", "2", "3"]);
        publisher.say("u", "4", 0);
        assert_eq!(peer.payloads(), ["4"]);
    }
}

/// Without a session there is a new one.
///
/// 5.0: 3.1.2-6
/// 3.1.1: 3.1.2-4
#[test]
fn without_a_session_there_is_a_new_one() {
    for version in BOTH {
        let site = Site::new();
        let (mut peer, answer) = site.try_connect(&Connect::lasting(version, "c"));
        assert!(!answer.present);
        peer.settle();
    }
}

/// Retained messages are no part of a session and stay when it ends.
///
/// 3.1.1: 3.1.2-7
#[test]
fn retained_messages_outlive_the_session() {
    for version in BOTH {
        let site = Site::new();
        let mut publisher = site.client(version, "p");
        publisher.publish(&Publish::new(version, "t", "kept", 1).retained());
        publisher.disconnect();
        assert_eq!(site.subscriber(version, "s", "t", 0).payloads(), ["kept"]);
    }
}

/// Without session expiry, or with 0, a session ends with its connection.
///
/// 5.0: 4.1.0-2
#[test]
fn a_session_of_0_seconds_ends_with_its_connection() {
    for properties in [Vec::new(), four(SESSION_EXPIRY, 0)] {
        let site = Site::new();
        let connect = Connect { clean: false, ..Connect::new(V5, "c") }.with_properties(properties);
        site.connect(&connect).leave();
        assert!(!is_present(&site, V5));
    }
}

/// A session ends when its seconds are over, not before, and with it its subscriptions.
///
/// 5.0: 4.1.0-2
#[test]
fn a_session_ends_when_its_time_is_over() {
    let site = Site::new();
    let mut peer = site.connect(&Connect::new(V5, "c").with_properties(four(SESSION_EXPIRY, 1)));
    peer.subscribe("t", 1);
    peer.leave();
    assert_eq!(site.client(V5, "p").publish(&Publish::new(V5, "t", "x", 1)), 0, "it waits");
    wait_until_nobody_subscribes(&site, "t");
    assert!(!is_present(&site, V5));
}

/// DISCONNECT may change how long the session lasts, to 0 as well.
///
/// 5.0: 4.1.0-2
#[test]
fn disconnect_changes_the_expiry() {
    let site = Site::new();
    let brief = Connect { clean: false, ..Connect::new(V5, "c").with_properties(four(SESSION_EXPIRY, 1)) };
    let mut peer = site.connect(&brief);
    peer.send(&disconnect(V5, 0, &four(SESSION_EXPIRY, 3600)));
    assert_eq!(peer.hear_end(), Ended::Silently);
    pause(Duration::from_millis(1500));
    let (mut peer, answer) = site.try_connect(&brief);
    assert!(answer.present, "it lasts an hour now");
    peer.send(&disconnect(V5, 0, &four(SESSION_EXPIRY, 0)));
    assert_eq!(peer.hear_end(), Ended::Silently);
    assert!(!is_present(&site, V5));
}

/// A session that had no expiry at CONNECT cannot be given one at DISCONNECT.
///
/// 5.0: 4.13.1-1
#[test]
fn disconnect_gives_no_expiry_to_a_session_without() {
    let site = Site::new();
    let mut peer = site.client(V5, "c");
    peer.send(&disconnect(V5, 0, &four(SESSION_EXPIRY, 10)));
    peer.hear_end().expect(V5, 0x82);
    let mut peer = site.client(V5, "c");
    peer.send(&disconnect(V5, 0, &four(SESSION_EXPIRY, 0)));
    assert_eq!(peer.hear_end(), Ended::Silently, "0 stays 0");
}

/// The longest expiry is for ever, also when it is set at DISCONNECT.
///
/// 5.0: 3.1.2-23
#[test]
fn the_longest_expiry_is_for_ever() {
    let site = Site::new();
    let connect = Connect::new(V5, "c").with_properties(four(SESSION_EXPIRY, 1));
    let mut peer = site.connect(&connect);
    peer.subscribe("t", 1);
    peer.send(&disconnect(V5, 0, &four(SESSION_EXPIRY, u32::MAX)));
    peer.hear_end();
    pause(Duration::from_millis(1500));
    assert_eq!(site.client(V5, "p").publish(&Publish::new(V5, "t", "x", 1)), 0);
    assert!(is_present(&site, V5));
}

/// What was not acknowledged is sent again on the next connection: with DUP, the same ids and in order.
///
/// 5.0: 3.3.1-1 4.3.2-3 4.3.3-3 4.4.0-1 4.6.0-1
/// 3.1.1: 2.3.1-3 3.3.1-1 4.3.2-1 4.3.3-1 4.4.0-1 4.6.0-1
#[test]
fn unacknowledged_messages_come_again() {
    for version in BOTH {
        let site = Site::new();
        let mut peer = site.connect(&Connect::lasting(version, "c"));
        peer.subscribe("t", 2);
        let mut publisher = site.client(version, "p");
        for payload in ["1", "2", "3", "4"] {
            publisher.say("t", payload, if payload < "3" { 1 } else { 2 });
        }
        let first: Vec<_> = (0..4).map(|_| peer.hear_publish()).collect();
        assert!(first.iter().all(|message| !message.dup));
        peer.send(&ack(PUBACK, first[1].id));
        peer.settle();
        peer.leave();
        let (mut peer, _) = site.try_connect(&Connect::lasting(version, "c"));
        let again: Vec<_> = (0..3).map(|_| peer.hear_publish()).collect();
        let ids: Vec<_> = again.iter().map(|message| (&*message.payload, message.id, message.dup)).collect();
        assert_eq!(ids, [("1", first[0].id, true), ("3", first[2].id, true), ("4", first[3].id, true)]);
        assert_eq!(peer.rest(), [], "once");
    }
}

/// Once PUBREC has come, only PUBREL is sent again, never the message.
///
/// 5.0: 4.3.3-4 4.3.3-5 4.3.3-6 4.4.0-1
/// 3.1.1: 4.3.3-1 4.4.0-1
#[test]
fn after_pubrec_only_pubrel_comes_again() {
    for version in BOTH {
        let site = Site::new();
        let mut peer = site.connect(&Connect::lasting(version, "c"));
        peer.subscribe("t", 2);
        site.client(version, "p").say("t", "x", 2);
        let id = peer.hear_publish().id;
        peer.send(&ack(PUBREC, id));
        assert_eq!(peer.hear_ack(PUBREL, id), 0);
        peer.leave();
        let (mut peer, _) = site.try_connect(&Connect::lasting(version, "c"));
        assert_eq!(peer.hear_ack(PUBREL, id), 0);
        peer.send(&ack(PUBCOMP, id));
        assert_eq!(peer.rest(), []);
        peer.leave();
        let (mut peer, _) = site.try_connect(&Connect::lasting(version, "c"));
        assert_eq!(peer.rest(), [], "it is over");
    }
}

/// Nothing is sent again as long as the connection lasts.
///
/// 5.0: 4.4.0-1
#[test]
fn nothing_comes_again_on_the_same_connection() {
    for version in BOTH {
        let site = Site::new();
        let mut peer = site.subscriber(version, "c", "t", 2);
        let mut publisher = site.client(version, "p");
        publisher.say("t", "1", 1);
        publisher.say("t", "2", 2);
        peer.hear_publish();
        let second = peer.hear_publish().id;
        peer.send(&ack(PUBREC, second));
        peer.hear_ack(PUBREL, second);
        pause(Duration::from_secs(2));
        assert_eq!(peer.rest(), []);
    }
}

/// A PUBACK or PUBREC that refuses a message ends it: it is not sent again.
///
/// 5.0: 4.4.0-2
#[test]
fn a_refused_message_does_not_come_again() {
    for (qos, answer) in [(1, PUBACK), (2, PUBREC)] {
        let site = Site::new();
        let mut peer = site.connect(&Connect::lasting(V5, "c"));
        peer.subscribe("t", 2);
        site.client(V5, "p").say("t", "x", qos);
        let id = peer.hear_publish().id;
        peer.send(&ack_with(answer, id, 0x97));
        assert_eq!(peer.rest(), [], "no PUBREL either");
        peer.leave();
        let (mut peer, answer) = site.try_connect(&Connect::lasting(V5, "c"));
        assert!(answer.present);
        assert_eq!(peer.rest(), []);
    }
}

/// A message of QoS 2 that the broker has is not taken twice over two connections, and can be released on
/// the second.
///
/// 5.0: 4.3.3-10
/// 3.1.1: 4.3.3-2
#[test]
fn exactly_once_holds_over_two_connections() {
    for version in BOTH {
        let site = Site::new();
        let mut subscriber = site.subscriber(version, "s", "t", 0);
        let mut peer = site.connect(&Connect::lasting(version, "c"));
        let publish = Publish { id: 9, ..Publish::new(version, "t", "once", 2) };
        peer.send(&publish.bytes());
        peer.hear_ack(PUBREC, 9);
        peer.leave();
        let (mut peer, _) = site.try_connect(&Connect::lasting(version, "c"));
        peer.send(&Publish { dup: true, ..publish.clone() }.bytes());
        assert_eq!(peer.hear_ack(PUBREC, 9), 0);
        peer.send(&ack(PUBREL, 9));
        assert_eq!(peer.hear_ack(PUBCOMP, 9), 0);
        peer.send(&publish.bytes());
        peer.hear_ack(PUBREC, 9);
        assert_eq!(subscriber.payloads(), ["once", "once"], "the second is a new one");
    }
}

/// A session outlives being taken over, with everything in it.
///
/// 5.0: 3.1.2-5
/// 3.1.1: 3.1.2-4
#[test]
fn a_session_outlives_being_taken_over() {
    for version in BOTH {
        let site = Site::new();
        let mut first = site.connect(&Connect::lasting(version, "c"));
        first.subscribe("t", 1);
        site.client(version, "p").say("t", "x", 1);
        let id = first.hear_publish().id;
        let (mut second, answer) = site.try_connect(&Connect::lasting(version, "c"));
        assert!(answer.present);
        match second.hear() {
            Heard::Publish(message) => assert_eq!((message.id, message.dup), (id, true)),
            other => panic!("{other:?}"),
        }
        first.hear_end().expect(version, 0x8E);
    }
}
