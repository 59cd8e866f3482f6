//! PUBLISH: section 3.3 of both versions, without the properties of 5.0.

use super::format::end_after;
use super::heard::Message;
use super::packet::*;
use super::site::Site;

const MALFORMED: u8 = 0x81;
const TOPIC_INVALID: u8 = 0x90;

fn seen(messages: &[Message]) -> Vec<(&str, u8, bool)> {
    messages.iter().map(|message| (&*message.payload, message.qos, message.retain)).collect()
}

/// DUP with QoS 0, and QoS 3, are malformed.
///
/// 5.0: 3.3.1-2 3.3.1-4
/// 3.1.1: 3.3.1-2 3.3.1-4
#[test]
fn flags_that_contradict_each_other_close_the_connection() {
    for version in BOTH {
        let dup = Publish { dup: true, ..Publish::new(version, "t", "x", 0) };
        end_after(version, &dup.bytes()).expect(version, MALFORMED);
        end_after(version, &Publish::new(version, "t", "x", 3).bytes()).expect(version, MALFORMED);
    }
}

/// The DUP flag of a publisher is its own: subscribers see one only when the broker sends again.
///
/// 5.0: 3.3.1-3
/// 3.1.1: 3.3.1-3
#[test]
fn dup_is_not_passed_on() {
    for version in BOTH {
        let site = Site::new();
        let mut subscriber = site.subscriber(version, "s", "t", 2);
        let mut publisher = site.client(version, "p");
        for qos in [1, 2] {
            publisher.publish(&Publish { dup: true, ..Publish::new(version, "t", "x", qos) });
            assert!(!subscriber.hear_publish().dup);
        }
    }
}

/// The last retained message of a topic is kept, with its QoS, and sent to new subscribers as retained.
///
/// 5.0: 3.3.1-5 3.3.1-9
/// 3.1.1: 3.3.1-5 3.3.1-6 3.3.1-7 3.3.1-8
#[test]
fn the_last_retained_message_waits_for_subscribers() {
    for version in BOTH {
        let site = Site::new();
        let mut publisher = site.client(version, "p");
        for (payload, qos) in [("0", 2), ("1", 0), ("2", 1), ("3", 2)] {
            publisher.publish(&Publish::new(version, "t", payload, qos).retained());
            publisher.settle();
            let mut late = site.subscriber(version, "late", "t", 2);
            assert_eq!(seen(&late.messages()), [(payload, qos, true)], "QoS {qos} replaces what was there");
            late.disconnect();
        }
        // All topics that match, each with its last message.
        publisher.publish(&Publish::new(version, "t/b", "4", 1).retained());
        let mut late = site.subscriber(version, "late", "t/#", 1);
        assert_eq!(seen(&late.messages()), [("3", 1, true), ("4", 1, true)]);
    }
}

/// Clients that subscribed before see a retained message as an ordinary one.
///
/// 5.0: 3.3.1-12
/// 3.1.1: 3.3.1-9
#[test]
fn a_standing_subscription_sees_no_retain_flag() {
    for version in BOTH {
        let site = Site::new();
        let mut subscriber = site.subscriber(version, "s", "t", 1);
        site.client(version, "p").publish(&Publish::new(version, "t", "x", 1).retained());
        assert_eq!(seen(&subscriber.messages()), [("x", 1, false)]);
    }
}

/// An empty retained message removes the last one, is delivered to who is there, and is not kept.
///
/// 5.0: 3.3.1-6 3.3.1-7
/// 3.1.1: 3.3.1-10 3.3.1-11
#[test]
fn an_empty_retained_message_removes_the_last_one() {
    for version in BOTH {
        for qos in 0..3 {
            let site = Site::new();
            let mut publisher = site.client(version, "p");
            publisher.publish(&Publish::new(version, "t", "x", 1).retained());
            let mut there = site.subscriber(version, "s", "t", 2);
            assert_eq!(there.payloads(), ["x"]);
            publisher.publish(&Publish::new(version, "t", "", qos).retained());
            publisher.settle();
            assert_eq!(seen(&there.messages()), [("", qos, false)]);
            assert_eq!(site.subscriber(version, "late", "t", 1).messages(), []);
        }
    }
}

/// A message without the retain flag neither is kept nor replaces or removes what is, empty or not.
///
/// 5.0: 3.3.1-8
/// 3.1.1: 3.3.1-12
#[test]
fn an_ordinary_message_leaves_the_retained_one() {
    for version in BOTH {
        let site = Site::new();
        let mut publisher = site.client(version, "p");
        publisher.say("u", "passing", 1);
        publisher.publish(&Publish::new(version, "t", "kept", 1).retained());
        publisher.say("t", "passing", 1);
        publisher.say("t", "", 1);
        let mut late = site.client(version, "s");
        late.subscribe_all(&[], &[("t", 1), ("u", 1)]);
        assert_eq!(late.payloads(), ["kept"]);
    }
}

/// A topic with a wildcard, or of no characters, is refused.
///
/// 5.0: 3.3.2-2 4.7.0-1 4.7.3-1
/// 3.1.1: 3.3.2-2 4.7.1-1 4.7.3-1
#[test]
fn a_topic_that_is_none_closes_the_connection() {
    for version in BOTH {
        for (topic, qos) in [("#", 0), ("a/#", 1), ("+", 2), ("a/+/b", 0), ("a+", 0), ("a#", 1)] {
            end_after(version, &Publish::new(version, topic, "x", qos).bytes())
                .expect(version, TOPIC_INVALID);
        }
    }
    end_after(V3, &Publish::new(V3, "", "x", 0).bytes()).expect(V3, TOPIC_INVALID);
    end_after(V5, &Publish::new(V5, "", "x", 0).bytes()).expect(V5, 0x82);
}

/// Subscribers hear the topic that was published, whatever filter it matched.
///
/// 5.0: 3.3.2-3
/// 3.1.1: 3.3.2-3
#[test]
fn subscribers_hear_the_topic_as_it_was_published() {
    for version in BOTH {
        let site = Site::new();
        let mut subscriber = site.subscriber(version, "s", "a/+/#", 0);
        let mut publisher = site.client(version, "p");
        for topic in ["a/b", "a//", "a/ü/c/d"] {
            publisher.say(topic, "x", 0);
            assert_eq!(subscriber.hear_publish().topic, topic);
        }
    }
}

/// Each QoS has its answer: none, PUBACK, PUBREC.
///
/// 5.0: 3.3.4-1 4.3.2-4 4.3.3-8
/// 3.1.1: 3.3.4-1
#[test]
fn each_qos_has_its_answer() {
    for version in BOTH {
        let site = Site::new();
        let mut peer = site.client(version, "c");
        peer.send(&Publish::new(version, "t", "x", 0).bytes());
        peer.settle();
        peer.send(&Publish { id: 5, ..Publish::new(version, "t", "x", 1) }.bytes());
        peer.hear_ack(PUBACK, 5);
        peer.send(&Publish { id: 6, ..Publish::new(version, "t", "x", 2) }.bytes());
        peer.hear_ack(PUBREC, 6);
        assert_eq!(peer.rest(), []);
    }
}

/// Of several subscriptions of one client that match, the highest QoS counts, and it hears once.
///
/// 5.0: 3.3.4-2
/// 3.1.1: 3.3.5-1
#[test]
fn of_overlapping_subscriptions_the_highest_qos_counts() {
    for version in BOTH {
        let site = Site::new();
        let mut subscriber = site.client(version, "s");
        subscriber.subscribe_all(&[], &[("a/#", 0), ("a/+", 2), ("a/b", 1)]);
        site.client(version, "p").say("a/b", "x", 2);
        assert_eq!(seen(&subscriber.messages()), [("x", 2, false)]);
    }
}

/// A 3.1.1 subscriber gets what a 5.0 publisher sends, without its properties, and the other way round.
#[test]
fn the_versions_hear_each_other() {
    let site = Site::new();
    let (mut old, mut new) = (site.subscriber(V3, "s3", "t", 2), site.subscriber(V5, "s5", "t", 2));
    let properties = [user("k", "v"), four(MESSAGE_EXPIRY, 60), string(CONTENT_TYPE, "c")].concat();
    site.client(V5, "p5").publish(&Publish::new(V5, "t", "five", 1).with_properties(properties));
    site.client(V3, "p3").say("t", "three", 2);
    assert_eq!(seen(&old.messages()), [("five", 1, false), ("three", 2, false)]);
    let messages = new.messages();
    assert_eq!(seen(&messages), [("five", 1, false), ("three", 2, false)]);
    assert_eq!(messages[0].properties.users(), [("k", "v")]);
    assert!(messages[1].properties.is_empty());
}

/// Messages of many sizes arrive whole.
///
/// 5.0: 4.2.0-1
/// 3.1.1: 7.1.1-1
#[test]
fn messages_of_many_sizes_arrive_whole() {
    for version in BOTH {
        let site = Site::new();
        let mut subscriber = site.subscriber(version, "s", "t", 1);
        let mut publisher = site.client(version, "p");
        for bytes in [0, 1, 120, 121, 122, 127, 128, 16_370, 16_384, 65_536, 500_000] {
            publisher.say("t", &"x".repeat(bytes), 1);
            let heard = subscriber.hear_publish();
            assert_eq!(heard.payload.len(), bytes);
            subscriber.send(&ack(PUBACK, heard.id));
        }
    }
}
