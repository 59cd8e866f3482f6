//! SUBSCRIBE, SUBACK, UNSUBSCRIBE and UNSUBACK: sections 3.8 to 3.11 of both versions.

use super::format::end_after;
use super::heard::Message;
use super::packet::*;
use super::site::Site;

const MALFORMED: u8 = 0x81;
const PROTOCOL_ERROR: u8 = 0x82;

fn seen(messages: &[Message]) -> Vec<(&str, u8, bool)> {
    messages.iter().map(|message| (&*message.payload, message.qos, message.retain)).collect()
}

/// Each SUBSCRIBE has one SUBACK, with a code for each filter in its order: the QoS, or a failure.
///
/// 5.0: 3.8.4-1 3.8.4-2 3.8.4-5 3.8.4-6 3.8.4-7 3.9.3-1 3.9.3-2
/// 3.1.1: 3.8.4-1 3.8.4-2 3.8.4-4 3.8.4-5 3.9.3-1 3.9.3-2
#[test]
fn each_filter_has_its_code() {
    for version in BOTH {
        let site = Site::new();
        let mut peer = site.client(version, "c");
        let failed = if version == V5 { 0x8F } else { 0x80 };
        let codes =
            peer.subscribe_all(&[], &[("a", 2), ("$share/g", 1), ("b/+", 0), ("$share//d", 2), ("#", 1)]);
        assert_eq!(codes, [2, failed, 0, failed, 1]);
        site.client(version, "p").say("b/x", "x", 2);
        assert_eq!(seen(&peer.messages()), [("x", 1, false)], "what was granted is there");
    }
}

/// A SUBSCRIBE or UNSUBSCRIBE without filters breaks the protocol.
///
/// 5.0: 3.8.3-2 3.10.3-2
/// 3.1.1: 3.8.3-3 3.10.3-2
#[test]
fn without_filters_the_connection_is_closed() {
    for version in BOTH {
        end_after(version, &subscribe(version, 1, &[], &[])).expect(version, PROTOCOL_ERROR);
        end_after(version, &unsubscribe(version, 1, &[], &[])).expect(version, PROTOCOL_ERROR);
    }
}

/// Reserved bits beside the QoS, and QoS 3, close the connection; over 5.0 retain handling 3 too.
///
/// 5.0: 3.8.3-5
/// 3.1.1: 3.8.3-4
#[test]
fn reserved_options_close_the_connection() {
    for version in BOTH {
        let reserved = if version == V5 { &[0x40, 0x80][..] } else { &[0x04, 0x08, 0x10, 0x20, 0x40, 0x80] };
        for options in reserved {
            for filters in [&[(&b"t"[..], *options)][..], &[(b"a", 0), (b"t", *options)]] {
                end_after(version, &subscribe(version, 1, &[], filters)).expect(version, MALFORMED);
            }
        }
        let code = if version == V5 { PROTOCOL_ERROR } else { MALFORMED };
        end_after(version, &subscribe(version, 1, &[], &[(b"t", 3)])).expect(version, code);
    }
    end_after(V5, &subscribe(V5, 1, &[], &[(b"t", 0x30)])).expect(V5, PROTOCOL_ERROR);
}

/// The same filter again replaces the subscription: its QoS changes, messages do not come twice.
///
/// 5.0: 3.8.4-3
/// 3.1.1: 3.8.4-3
#[test]
fn the_same_filter_again_replaces_the_subscription() {
    for version in BOTH {
        let site = Site::new();
        let mut subscriber = site.subscriber(version, "s", "t/+", 2);
        let mut publisher = site.client(version, "p");
        for qos in [0, 2, 1] {
            subscriber.subscribe("t/+", qos);
            publisher.say("t/a", "x", 2);
            assert_eq!(seen(&subscriber.messages()), [("x", qos, false)]);
        }
    }
}

/// Subscribing again sends the retained messages again, and loses nothing that was under way.
///
/// 5.0: 3.3.1-9 3.8.4-4
/// 3.1.1: 3.3.1-6 3.8.4-3
#[test]
fn subscribing_again_sends_retained_messages_again() {
    for version in BOTH {
        let site = Site::new();
        let mut publisher = site.client(version, "p");
        publisher.publish(&Publish::new(version, "t", "kept", 1).retained());
        let mut subscriber = site.subscriber(version, "s", "t", 1);
        assert_eq!(seen(&subscriber.messages()), [("kept", 1, true)]);
        publisher.say("t", "between", 1);
        subscriber.send(&subscribe(version, 40, &[], &[(b"t", 1)]));
        let mut heard = Vec::new();
        for packet in subscriber.rest() {
            if let super::heard::Heard::Publish(message) = packet {
                heard.push((message.payload, message.retain));
            }
        }
        heard.sort();
        assert_eq!(heard, [("between".to_owned(), false), ("kept".to_owned(), true)]);
    }
}

/// A message arrives with the lower of the QoS it was published with and the one that was granted.
///
/// 5.0: 3.8.4-8
/// 3.1.1: 3.8.4-6
#[test]
fn the_lower_qos_counts() {
    for version in BOTH {
        let site = Site::new();
        let mut publisher = site.client(version, "p");
        for granted in 0..3 {
            let mut subscriber = site.subscriber(version, "s", "t", granted);
            for published in 0..3 {
                publisher.say("t", "x", published);
                assert_eq!(seen(&subscriber.messages()), [("x", published.min(granted), false)]);
            }
        }
    }
}

/// With no local a client does not hear itself; others do.
///
/// 5.0: 3.8.3-3
#[test]
fn no_local_spares_the_publisher() {
    let site = Site::new();
    let mut a = site.subscriber(V5, "a", "t", 1 | NO_LOCAL);
    let mut b = site.subscriber(V5, "b", "t", 1 | NO_LOCAL);
    let mut c = site.subscriber(V5, "c", "t", 1);
    a.say("t", "of a", 1);
    assert_eq!((b.payloads(), c.payloads()), (vec!["of a".to_owned()], vec!["of a".to_owned()]));
    b.say("t", "of b", 1);
    assert_eq!((a.payloads(), c.payloads()), (vec!["of b".to_owned()], vec!["of b".to_owned()]));
    c.send(&Publish { id: 90, ..Publish::new(V5, "t", "of c", 0) }.bytes());
    assert_eq!(c.payloads(), ["of c"], "without no local it hears itself");
}

/// No local on a shared subscription is a Protocol Error.
///
/// 5.0: 3.8.3-4
#[test]
fn no_local_does_not_go_with_sharing() {
    end_after(V5, &subscribe(V5, 1, &[], &[(b"$share/g/t", NO_LOCAL)])).expect(V5, PROTOCOL_ERROR);
}

/// Retain handling: 0 sends the retained messages always, 1 to a new subscription only, 2 never.
///
/// 5.0: 3.3.1-9 3.3.1-10 3.3.1-11
#[test]
fn retain_handling_is_followed() {
    let site = Site::new();
    site.client(V5, "p").publish(&Publish::new(V5, "t", "kept", 1).retained());
    let mut peer = site.connect(&Connect::lasting(V5, "c"));
    for (options, comes) in [
        (RETAINED_NEVER, false),
        (RETAINED_IF_NEW, false),
        (0, true),
        (RETAINED_IF_NEW, false),
        (0, true),
        (RETAINED_NEVER, false),
    ] {
        peer.subscribe("t", options);
        assert_eq!(!peer.payloads().is_empty(), comes, "options {options:#x}");
    }
    peer.unsubscribe(&["t"]);
    peer.subscribe("t", RETAINED_IF_NEW);
    assert_eq!(peer.payloads(), ["kept"], "it is new again");
    peer.leave();
    let mut peer = site.connect(&Connect::lasting(V5, "c"));
    peer.subscribe("t", RETAINED_IF_NEW);
    assert_eq!(peer.payloads(), Vec::<String>::new(), "it outlived the connection");
}

/// Retain as published leaves the flag as the publisher set it.
///
/// 5.0: 3.3.1-12 3.3.1-13
#[test]
fn the_retain_flag_is_left_where_asked_for() {
    let site = Site::new();
    let mut as_published = site.subscriber(V5, "a", "t", 1 | AS_PUBLISHED);
    let mut plain = site.subscriber(V5, "b", "t", 1);
    let mut publisher = site.client(V5, "p");
    publisher.publish(&Publish::new(V5, "t", "1", 1).retained());
    publisher.say("t", "2", 1);
    assert_eq!(seen(&as_published.messages()), [("1", 1, true), ("2", 1, false)]);
    assert_eq!(seen(&plain.messages()), [("1", 1, false), ("2", 1, false)]);
    for options in [AS_PUBLISHED, 0] {
        let mut late = site.subscriber(V5, "late", "t", options);
        assert_eq!(seen(&late.messages()), [("1", 0, true)], "retained messages have the flag anyway");
    }
}

/// Unsubscribing ends the subscription of exactly that filter; each has its answer, in order, also when
/// there was nothing to end.
///
/// 5.0: 3.10.4-1 3.10.4-2 3.10.4-4 3.10.4-5 3.10.4-6 3.11.3-1 3.11.3-2
/// 3.1.1: 3.10.4-1 3.10.4-2 3.10.4-4 3.10.4-5 3.10.4-6
#[test]
fn unsubscribing_ends_exactly_that_filter() {
    for version in BOTH {
        let site = Site::new();
        let mut peer = site.client(version, "c");
        peer.subscribe_all(&[], &[("a/b", 1), ("a/+", 1), ("c", 1), ("d/#", 1)]);
        let mut publisher = site.client(version, "p");
        let codes = peer.unsubscribe(&["a/+", "unknown", "d/e", "a/b", "a/b", "#", "$share/g"]);
        if version == V5 {
            assert_eq!(codes, [0, 0x11, 0x11, 0, 0x11, 0x11, 0x8F]);
        }
        for topic in ["a/b", "c", "d/e"] {
            publisher.say(topic, topic, 1);
        }
        assert_eq!(peer.payloads(), ["c", "d/e"]);
        peer.unsubscribe(&["d/#", "c"]);
        publisher.say("c", "x", 1);
        assert_eq!(peer.payloads(), Vec::<String>::new());
    }
}

/// What was begun is carried to the end after unsubscribing.
///
/// 5.0: 3.10.4-3
/// 3.1.1: 3.10.4-3
#[test]
fn unsubscribing_interrupts_no_exchange() {
    for version in BOTH {
        let site = Site::new();
        let mut peer = site.connect(&Connect::lasting(version, "c"));
        peer.subscribe("t", 2);
        let mut publisher = site.client(version, "p");
        publisher.say("t", "1", 1);
        publisher.say("t", "2", 2);
        let (first, second) = (peer.hear_publish().id, peer.hear_publish().id);
        peer.unsubscribe(&["t"]);
        peer.send(&ack(PUBREC, second));
        peer.hear_ack(PUBREL, second);
        peer.leave();
        let mut peer = site.connect(&Connect::lasting(version, "c"));
        let again = peer.hear_publish();
        assert_eq!((again.id, again.dup), (first, true));
        peer.hear_ack(PUBREL, second);
    }
}

/// Members of a group share its messages: each goes to one of them. Other groups and ordinary
/// subscriptions are not touched by that.
///
/// 5.0: 4.8.2-1 4.8.2-2
#[test]
fn a_group_shares_its_messages() {
    for version in BOTH {
        let site = Site::new();
        let mut members: Vec<_> =
            ["a", "b"].map(|id| site.subscriber(version, id, "$share/g/t/+", 1)).into_iter().collect();
        let mut other = site.subscriber(version, "o", "$share/h/t/+", 1);
        let mut plain = site.subscriber(version, "n", "t/+", 1);
        let mut publisher = site.client(version, "p");
        let sent: Vec<String> = (0..10).map(|n| n.to_string()).collect();
        for payload in &sent {
            publisher.say("t/x", payload, 1);
        }
        let mut shared: Vec<String> = members.iter_mut().flat_map(super::site::Peer::payloads).collect();
        shared.sort();
        assert_eq!(shared, sent);
        assert_eq!(other.payloads(), sent);
        assert_eq!(plain.payloads(), sent);
    }
}

/// A shared subscription names its group, of at least one character and without wildcards, and a filter.
///
/// 5.0: 4.8.2-1 4.8.2-2
#[test]
fn a_group_has_a_name_and_a_filter() {
    for version in BOTH {
        let site = Site::new();
        let mut peer = site.client(version, "c");
        for filter in ["$share", "$share/", "$share/g", "$share//t", "$share/g/", "$share/+/t"] {
            assert!(peer.try_subscribe(filter, 0) >= 0x80, "{filter}");
        }
        for filter in ["$share/g/t", "$share/g//", "$share/g/#", "$share/ü/+/a", "$shared/t"] {
            peer.subscribe(filter, 0);
        }
    }
}

/// Members of a group get messages with the QoS that they were granted, and no retained ones.
///
/// 5.0: 4.8.2-3
#[test]
fn a_member_gets_the_qos_that_it_was_granted() {
    for granted in 0..3 {
        let site = Site::new();
        let mut publisher = site.client(V5, "p");
        publisher.publish(&Publish::new(V5, "t", "kept", 1).retained());
        let mut member = site.subscriber(V5, "m", "$share/g/t", granted);
        publisher.say("t", "x", 2);
        assert_eq!(seen(&member.messages()), [("x", granted, false)]);
    }
}

/// A message that was begun with one member is carried to the end with it when it is back, and never goes
/// to another one: not when it is away, not when its session is gone.
///
/// 5.0: 4.8.2-4 4.8.2-5
#[test]
fn a_message_stays_with_its_member() {
    let site = Site::new();
    let mut first = site.connect(&Connect::lasting(V5, "first"));
    first.subscribe("$share/g/t", 2);
    let mut publisher = site.client(V5, "p");
    publisher.say("t", "x", 2);
    let id = first.hear_publish().id;
    let mut second = site.subscriber(V5, "second", "$share/g/t", 2);
    first.leave();
    assert_eq!(second.payloads(), Vec::<String>::new());
    let mut first = site.connect(&Connect::lasting(V5, "first"));
    let again = first.hear_publish();
    assert_eq!((again.id, again.dup), (id, true));
    first.send(&disconnect(V5, 0, &four(SESSION_EXPIRY, 0)));
    first.hear_end();
    assert_eq!(second.payloads(), Vec::<String>::new());
    publisher.say("t", "y", 2);
    assert_eq!(second.payloads(), ["y"]);
}

/// A message that a member refuses is over, and offered to nobody else.
///
/// 5.0: 4.8.2-6
#[test]
fn a_message_that_a_member_refuses_is_over() {
    for (qos, answer) in [(1, PUBACK), (2, PUBREC)] {
        let site = Site::new();
        let mut first = site.subscriber(V5, "first", "$share/g/t", 2);
        site.client(V5, "p").say("t", "x", qos);
        let mut second = site.subscriber(V5, "second", "$share/g/t", 2);
        let id = first.hear_publish().id;
        first.send(&ack_with(answer, id, 0x83));
        assert_eq!(first.rest(), []);
        assert_eq!(second.payloads(), Vec::<String>::new());
    }
}

/// A member that unsubscribes or is gone for good leaves the messages to the others.
///
/// 5.0: 3.10.4-1
#[test]
fn who_leaves_a_group_gets_nothing_more() {
    let site = Site::new();
    let mut a = site.subscriber(V5, "a", "$share/g/t", 1);
    let mut b = site.subscriber(V5, "b", "$share/g/t", 1);
    let c = site.subscriber(V5, "c", "$share/g/t", 1);
    c.disconnect();
    assert_eq!(a.unsubscribe(&["$share/h/t", "t", "$share/g/t"]), [0x11, 0x11, 0]);
    let mut publisher = site.client(V5, "p");
    (0..4).for_each(|n| publisher.say("t", &n.to_string(), 1));
    assert_eq!(b.payloads(), ["0", "1", "2", "3"]);
    assert_eq!(a.payloads(), Vec::<String>::new());
}
