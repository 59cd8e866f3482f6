//! What a 5.0 message carries with it: section 3.3.2.3, and 4.10.

use std::time::Duration;

use super::format::end_after;
use super::packet::*;
use super::site::{Site, pause};

const PROTOCOL_ERROR: u8 = 0x82;
const ALIAS_INVALID: u8 = 0x94;

/// A message on `topic` with a topic alias.
fn aliased(topic: &str, alias: u16, payload: &str) -> Publish {
    Publish::new(V5, topic, payload, 0).with_properties(two(TOPIC_ALIAS, alias))
}

/// What describes a message arrives as it was sent, also from the store of retained messages and after a
/// wait for a subscriber that was gone.
///
/// 5.0: 3.3.2-4 3.3.2-15 3.3.2-16 3.3.2-17 3.3.2-18 3.3.2-20
#[test]
fn properties_arrive_as_they_were_sent() {
    let users = [("z", "1"), ("a", "2"), ("z", ""), ("", "3"), ("a", "2")];
    let properties = [
        byte(PAYLOAD_FORMAT, 1),
        string(CONTENT_TYPE, "text/plain; ü"),
        string(RESPONSE_TOPIC, "$answers/1"),
        string(CORRELATION_DATA, b"\0\xff\xed\xa0"),
        users.map(|(key, value)| user(key, value)).concat(),
    ];
    let site = Site::new();
    let mut there = site.subscriber(V5, "there", "t", 2);
    for qos in 0..3 {
        let away = format!("away {qos}");
        site.absent(V5, &away, "t", 2);
        let publish = Publish::new(V5, "t", "x", qos).retained().with_properties(properties.concat());
        site.client(V5, "p").publish(&publish);
        let mut late = site.subscriber(V5, "late", "t", 2);
        let mut heard = vec![there.hear_publish(), late.hear_publish()];
        if qos > 0 {
            let mut back = site.connect(&Connect::lasting(V5, &away));
            heard.extend(back.messages());
            assert!(heard.len() >= 3, "{heard:?}");
        }
        for message in heard {
            let heard = message.properties;
            assert_eq!(heard.number(PAYLOAD_FORMAT), Some(1));
            assert_eq!(heard.text(CONTENT_TYPE), Some("text/plain; ü"));
            assert_eq!(heard.text(RESPONSE_TOPIC), Some("$answers/1"));
            assert_eq!(heard.bytes(CORRELATION_DATA), Some(&b"\0\xff\xed\xa0"[..]));
            assert_eq!(heard.users(), users);
            assert_eq!(heard.number(MESSAGE_EXPIRY), None);
        }
    }
}

/// An indicator of 0, bytes of any kind, arrives as that.
///
/// 5.0: 3.3.2-4
#[test]
fn a_payload_format_of_0_arrives() {
    let site = Site::new();
    let mut subscriber = site.subscriber(V5, "s", "t", 0);
    let mut publisher = site.client(V5, "p");
    publisher.publish(&Publish::new(V5, "t", "x", 0).with_properties(byte(PAYLOAD_FORMAT, 0)));
    let heard = subscriber.hear_publish().properties.number(PAYLOAD_FORMAT);
    assert!(heard.is_none_or(|format| format == 0), "0 is what its absence means");
}

/// The expiry that a subscriber hears is what is left of it.
///
/// 5.0: 3.3.2-6
#[test]
fn the_expiry_counts_down_while_a_message_waits() {
    let site = Site::new();
    site.absent(V5, "away", "t", 1);
    let publish = Publish::new(V5, "t", "x", 1).retained().with_properties(four(MESSAGE_EXPIRY, 1000));
    site.client(V5, "p").publish(&publish);
    pause(Duration::from_millis(1100));
    let waited = site.connect(&Connect::lasting(V5, "away")).hear_publish();
    let retained = site.subscriber(V5, "late", "t", 1).hear_publish();
    for message in [waited, retained] {
        let left = message.properties.number(MESSAGE_EXPIRY).unwrap();
        assert!((900..=999).contains(&left), "{left}");
    }
}

/// A message whose time is over is not delivered: not from a queue, not from the retained ones.
///
/// 5.0: 3.3.2-5
#[test]
fn an_expired_message_is_not_delivered() {
    let site = Site::new();
    for version in BOTH {
        site.absent(version, "away", "t", 2);
        let mut publisher = site.client(V5, "p");
        for (payload, seconds) in [("short", 1), ("long", 1000), ("at once", 0)] {
            let publish = Publish::new(V5, "t", payload, 1).with_properties(four(MESSAGE_EXPIRY, seconds));
            publisher.publish(&publish);
        }
        publisher.publish(&Publish::new(V5, "r", "x", 1).retained().with_properties(four(MESSAGE_EXPIRY, 1)));
        pause(Duration::from_millis(1500));
        assert_eq!(site.connect(&Connect::lasting(version, "away")).payloads(), ["long"]);
        assert_eq!(site.subscriber(version, "late", "r", 1).payloads(), Vec::<String>::new());
    }
}

/// A message under way is not dropped for its age: its exchange is carried to the end on both sides.
///
/// 5.0: 4.3.3-7 4.3.3-13
#[test]
fn an_exchange_that_began_outlives_the_message() {
    let site = Site::new();
    let mut subscriber = site.connect(&Connect::lasting(V5, "s"));
    subscriber.subscribe("t", 2);
    let mut publisher = site.client(V5, "p");
    let brief = Publish::new(V5, "t", "x", 2).with_properties(four(MESSAGE_EXPIRY, 1));
    publisher.send(&Publish { id: 3, ..brief }.bytes());
    assert_eq!(publisher.hear_ack(PUBREC, 3), 0);
    let id = subscriber.hear_publish().id;
    subscriber.leave();
    pause(Duration::from_millis(1500));
    publisher.send(&ack(PUBREL, 3));
    assert_eq!(publisher.hear_ack(PUBCOMP, 3), 0);
    let again = site.connect(&Connect::lasting(V5, "s")).hear_publish();
    assert_eq!((again.id, again.dup), (id, true));
}

/// A client's alias stands for the topic that it was last given, up to the broker's maximum.
///
/// 5.0: 3.3.2-12
#[test]
fn a_clients_alias_stands_for_its_topic() {
    let site = Site::new();
    let mut subscriber = site.subscriber(V5, "s", "+", 0);
    let (mut publisher, answer) = site.try_connect(&Connect::new(V5, "p"));
    let maximum = u16::try_from(answer.properties.number(TOPIC_ALIAS_MAXIMUM).unwrap()).unwrap();
    for (topic, alias, payload) in
        [("a", 1, "1"), ("b", maximum, "2"), ("", 1, "3"), ("", maximum, "4"), ("c", 1, "5"), ("", 1, "6")]
    {
        publisher.publish(&aliased(topic, alias, payload));
    }
    publisher.settle();
    let heard: String = subscriber
        .messages()
        .iter()
        .map(|message| format!("{}{} ", message.topic, message.payload))
        .collect();
    assert_eq!(heard, "a1 b2 a3 b4 c5 c6 ");
}

/// Aliases end with the connection, also when the session goes on.
///
/// 5.0: 3.3.2-7
#[test]
fn aliases_end_with_the_connection() {
    let site = Site::new();
    let mut publisher = site.connect(&Connect::lasting(V5, "p"));
    publisher.publish(&aliased("t", 1, "x"));
    publisher.settle();
    publisher.leave();
    let (mut publisher, answer) = site.try_connect(&Connect::lasting(V5, "p"));
    assert!(answer.present);
    publisher.send(&aliased("", 1, "x").bytes());
    let end = publisher.hear_end();
    assert!(matches!(end, super::site::Ended::Saying(ALIAS_INVALID | PROTOCOL_ERROR, _)), "{end:?}");
}

/// An alias of 0, above the broker's maximum, or without a topic yet, closes the connection.
///
/// 5.0: 3.3.2-8 3.3.2-9 3.2.2-17
#[test]
fn an_alias_that_is_none_closes_the_connection() {
    let (_, answer) = Site::new().try_connect(&Connect::new(V5, "c"));
    let above = u16::try_from(answer.properties.number(TOPIC_ALIAS_MAXIMUM).unwrap() + 1).unwrap();
    for publish in
        [aliased("t", 0, "x"), aliased("t", above, "x"), aliased("t", u16::MAX, "x"), aliased("", 1, "x")]
    {
        end_after(V5, &publish.bytes()).expect(V5, ALIAS_INVALID);
    }
}

/// Aliases are one connection's own: another client cannot use them, nor does it hear them.
///
/// 5.0: 3.1.2-27 3.3.2-7
#[test]
fn no_alias_goes_to_a_client_that_takes_none() {
    for properties in [Vec::new(), two(TOPIC_ALIAS_MAXIMUM, 0)] {
        let site = Site::new();
        let mut subscriber = site.connect(&Connect::new(V5, "s").with_properties(properties));
        subscriber.subscribe("t", 0);
        let mut publisher = site.client(V5, "p");
        publisher.publish(&aliased("t", 1, "x"));
        publisher.publish(&aliased("", 1, "x"));
        for _ in 0..2 {
            let heard = subscriber.hear_publish();
            assert_eq!((&*heard.topic, heard.properties.number(TOPIC_ALIAS)), ("t", None));
        }
    }
}

/// The broker's aliases stay within what the client takes, and stand for the topics they were given.
///
/// 5.0: 3.1.2-26 3.3.2-8 3.3.2-11
#[test]
fn the_brokers_aliases_stay_within_the_clients_maximum() {
    let site = Site::new();
    let mut subscriber = site.connect(&Connect::new(V5, "s").with_properties(two(TOPIC_ALIAS_MAXIMUM, 2)));
    subscriber.subscribe("+", 0);
    let mut publisher = site.client(V5, "p");
    let mut known = std::collections::HashMap::new();
    for round in 0..3 {
        for topic in ["a", "b", "c", "d"] {
            publisher.say(topic, topic, 0);
            let heard = subscriber.hear_publish();
            let alias = heard.properties.number(TOPIC_ALIAS);
            assert!(alias.is_none_or(|alias| (1..=2).contains(&alias)), "{alias:?} in round {round}");
            let meant = if heard.topic.is_empty() { known[&alias.unwrap()] } else { topic };
            known.extend(alias.map(|alias| (alias, topic)));
            assert_eq!((meant, &*heard.payload), (topic, topic));
        }
    }
}

/// A response topic with a wildcard is a Protocol Error, in a will too.
///
/// 5.0: 3.3.2-14
#[test]
fn a_response_topic_has_no_wildcards() {
    for topic in ["a/#", "+/a", "#"] {
        let publish = Publish::new(V5, "t", "x", 0).with_properties(string(RESPONSE_TOPIC, topic));
        end_after(V5, &publish.bytes()).expect(V5, PROTOCOL_ERROR);
        let will = Will { properties: string(RESPONSE_TOPIC, topic), ..Will::new("t", "x") };
        assert!(super::format::refused(&Connect::new(V5, "c").with_will(will)).is_some());
    }
}

/// A client that names a subscription identifier in a PUBLISH breaks the protocol.
///
/// 5.0: 3.3.4-6
#[test]
fn clients_name_no_subscription_identifiers() {
    let publish = Publish::new(V5, "t", "x", 0).with_properties(number(SUBSCRIPTION_ID, 1));
    end_after(V5, &publish.bytes()).expect(V5, PROTOCOL_ERROR);
}

/// A message carries the identifiers of all subscriptions of its client that match, in one copy.
///
/// 5.0: 3.3.4-3 3.3.4-4
#[test]
fn a_message_carries_the_identifiers_of_its_subscriptions() {
    let site = Site::new();
    let mut subscriber = site.client(V5, "s");
    let largest = 268_435_455;
    for (id, filter) in [(1, "a/b"), (largest, "a/+"), (300, "c")] {
        subscriber.subscribe_all(&number(SUBSCRIPTION_ID, id), &[(filter, 1)]);
    }
    subscriber.subscribe("a/#", 0);
    let mut publisher = site.client(V5, "p");
    publisher.say("a/b", "x", 1);
    publisher.say("c", "y", 1);
    publisher.say("a", "z", 1);
    let messages = subscriber.messages();
    let ids: Vec<_> = messages
        .iter()
        .map(|message| {
            let mut ids = message.properties.numbers(SUBSCRIPTION_ID);
            ids.sort_unstable();
            ids
        })
        .collect();
    assert_eq!(ids, [vec![1, largest], vec![300], vec![]]);
}

/// An identifier belongs to the subscription that was made with it: a new one replaces it, or takes it away.
///
/// 5.0: 3.3.4-3 3.8.4-3
#[test]
fn a_new_subscription_replaces_the_identifier() {
    let site = Site::new();
    let mut subscriber = site.connect(&Connect::lasting(V5, "s"));
    let mut publisher = site.client(V5, "p");
    for id in [Some(5), Some(6), None] {
        let properties = id.map_or_else(Vec::new, |id| number(SUBSCRIPTION_ID, id));
        subscriber.subscribe_all(&properties, &[("t", 1)]);
        publisher.publish(&Publish::new(V5, "t", "x", 1).retained());
        let heard = subscriber.hear_publish();
        subscriber.send(&ack(PUBACK, heard.id));
        assert_eq!(heard.properties.number(SUBSCRIPTION_ID), id);
        subscriber.messages();
    }
    subscriber.subscribe_all(&number(SUBSCRIPTION_ID, 7), &[("t", 1)]);
    let retained = subscriber.messages();
    assert_eq!(retained[0].properties.numbers(SUBSCRIPTION_ID), [7], "retained messages carry it too");
    subscriber.leave();
    publisher.say("t", "waited", 1);
    let waited = site.connect(&Connect::lasting(V5, "s")).hear_publish();
    assert_eq!(waited.properties.numbers(SUBSCRIPTION_ID), [7]);
}
