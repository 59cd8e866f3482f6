//! What the interoperability tests of Eclipse Paho try (`client_test.py` over 3.1.1, `client_test5.py` over
//! 5.0), as behaviour. `test_subscribe_failure` and `test_server_keep_alive` expect settings of their own.

use std::time::Duration;

use super::heard::{Heard, Message};
use super::packet::*;
use super::site::{Peer, Site, pause};

const TOPICS: [&str; 5] = ["TopicA", "TopicA/B", "Topic/C", "TopicA/C", "/TopicA"];

fn qos_of(messages: &[Message]) -> Vec<u8> {
    let mut all: Vec<u8> = messages.iter().map(|message| message.qos).collect();
    all.sort_unstable();
    all
}

/// One message of each QoS, to one topic each.
fn say_three(publisher: &mut Peer, change: impl Fn(Publish) -> Publish) {
    for (qos, topic) in (0..3).zip(&TOPICS[1..]) {
        let payload = format!("qos {qos}");
        publisher.publish(&change(Publish::new(publisher.version, topic, payload, qos)));
    }
    publisher.settle();
}

/// `test_basic`: messages of each QoS to oneself; a second CONNECT and a wrong protocol name fail.
#[test]
fn basic() {
    for version in BOTH {
        let site = Site::new();
        site.client(version, "a").disconnect();
        let mut client = site.subscriber(version, "a", TOPICS[0], 2);
        for qos in 0..3 {
            client.send(&Publish { id: 5, ..Publish::new(version, TOPICS[0], "x", qos) }.bytes());
        }
        let mut heard = Vec::new();
        while heard.len() < 3 {
            match client.hear() {
                Heard::Publish(message) => heard.push(message),
                Heard::Ack { first: PUBREC, id, .. } => client.send(&ack(PUBREL, id)),
                Heard::Ack { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(qos_of(&heard), [0, 1, 2]);
        let mut again = site.client(version, "b");
        again.send(&Connect::new(version, "b").bytes());
        again.hear_end();
        assert_eq!(
            super::format::refused(&Connect { name: b"hj".into(), ..Connect::new(version, "b") }),
            None
        );
    }
}

/// `test_retained_messages`: each comes once, with its QoS and its user properties; then they are cleaned.
#[test]
fn retained_messages() {
    for version in BOTH {
        let site = Site::new();
        let mut client = site.client(version, "a");
        say_three(&mut client, |publish| {
            publish.with_properties([user("a", "2"), user("c", "3")].concat()).retained()
        });
        client.subscribe("+/+", 2);
        let messages = client.messages();
        assert_eq!(qos_of(&messages), [0, 1, 2]);
        if version == V5 {
            assert!(messages.iter().all(|message| message.properties.users() == [("a", "2"), ("c", "3")]));
        }
        for message in messages {
            client.publish(&Publish::new(version, &message.topic, "", 0).retained());
        }
        // It hears itself, before or after the answer to a PINGREQ.
        client.messages();
        assert_eq!(site.subscriber(version, "b", "#", 2).messages(), []);
    }
}

/// `test_will_message`: a subscriber in a lasting session gets the will of a client that is cut off, once.
#[test]
fn will_message() {
    for version in BOTH {
        let site = Site::new();
        let will = Will::new(TOPICS[2], "client not disconnected");
        let dying = site.connect(&Connect { keep_alive: 2, ..Connect::new(version, "a") }.with_will(will));
        let mut other = site.connect(&Connect::lasting(version, "b"));
        other.subscribe(TOPICS[2], 2);
        dying.leave();
        assert_eq!(other.payloads(), ["client not disconnected"]);
    }
}

/// `test_zero_length_clientid`: over 3.1.1 only in a clean session.
#[test]
fn zero_length_client_id() {
    let site = Site::new();
    for (version, clean, taken) in [(V3, false, false), (V3, true, true), (V5, false, true), (V5, true, true)]
    {
        let (_, answer) = site.try_connect(&Connect { clean, ..Connect::new(version, "") });
        assert_eq!(answer.code == 0, taken);
    }
}

/// `test_offline_message_queueing`: QoS 1 and 2 wait for a client that is away; QoS 0 need not.
#[test]
fn offline_message_queueing() {
    for version in BOTH {
        let site = Site::new();
        site.absent(version, "a", "+/+", 2);
        say_three(&mut site.client(version, "b"), |publish| publish);
        let messages = site.connect(&Connect::lasting(version, "a")).messages();
        assert_eq!(qos_of(&messages), [1, 2], "QoS 0 is for those who are there");
    }
}

/// `test_overlapping_subscriptions`: one message with the highest QoS.
#[test]
fn overlapping_subscriptions() {
    for version in BOTH {
        let site = Site::new();
        let mut client = site.client(version, "a");
        client.subscribe_all(&[], &[("TopicA/#", 2), ("TopicA/+", 1)]);
        site.client(version, "b").say(TOPICS[3], "x", 2);
        assert_eq!(qos_of(&client.messages()), [2]);
    }
}

/// `test_keepalive`: a client that is silent is cut off, and its will published.
#[test]
fn keep_alive() {
    for version in BOTH {
        let site = Site::new();
        let will = Will::new(TOPICS[4], "keepalive expiry");
        let silent = Connect { keep_alive: 1, ..Connect::new(version, "a") }.with_will(will);
        let _silent = site.connect(&silent);
        let mut other = site.subscriber(version, "b", TOPICS[4], 2);
        assert_eq!(other.hear_publish().payload, "keepalive expiry");
    }
}

/// `test_redelivery_on_reconnect`: what a client did not answer comes again.
#[test]
fn redelivery_on_reconnect() {
    for version in BOTH {
        let site = Site::new();
        let mut client = site.connect(&Connect::lasting(version, "b"));
        client.subscribe("TopicA/#", 2);
        client.send(&Publish { id: 71, ..Publish::new(version, TOPICS[1], "", 1) }.bytes());
        client.send(&Publish { id: 72, ..Publish::new(version, TOPICS[3], "", 2) }.bytes());
        client.rest();
        client.disconnect();
        let messages = site.connect(&Connect::lasting(version, "b")).messages();
        assert_eq!(qos_of(&messages), [1, 2]);
    }
}

/// `test_dollar_topics`: wildcards at the beginning do not see them.
#[test]
fn dollar_topics() {
    for version in BOTH {
        let site = Site::new();
        let mut client = site.subscriber(version, "b", "+/+", 2);
        client.publish(&Publish::new(version, format!("${}", TOPICS[1]), "", 1));
        assert_eq!(client.messages(), []);
    }
}

/// `test_unsubscribe`: of three topics two stay.
#[test]
fn unsubscribe_one_of_three() {
    for version in BOTH {
        let site = Site::new();
        let mut client = site.client(version, "b");
        TOPICS[..3].iter().for_each(|topic| client.subscribe(topic, 2));
        client.unsubscribe(&[TOPICS[0]]);
        let mut publisher = site.client(version, "a");
        TOPICS[..3].iter().for_each(|topic| publisher.say(topic, topic, 1));
        assert_eq!(client.payloads(), TOPICS[1..3]);
    }
}

/// `test_session_expiry`: 0, some seconds, and what DISCONNECT makes of them.
#[test]
fn session_expiry() {
    let site = Site::new();
    let expiring =
        |s| Connect { clean: false, ..Connect::new(V5, "a").with_properties(four(SESSION_EXPIRY, s)) };
    let leave = |mut peer: Peer, s| {
        peer.send(&disconnect(V5, 0, &four(SESSION_EXPIRY, s)));
        peer.hear_end();
    };
    let (peer, answer) = site.try_connect(&expiring(0));
    assert!(!answer.present);
    peer.disconnect();
    let (peer, answer) = site.try_connect(&expiring(2));
    assert!(!answer.present);
    peer.disconnect();
    let (peer, answer) = site.try_connect(&expiring(1));
    assert!(answer.present);
    leave(peer, 30);
    pause(Duration::from_millis(1500));
    let (peer, answer) = site.try_connect(&expiring(1));
    assert!(answer.present);
    leave(peer, 0);
    let (peer, answer) = site.try_connect(&expiring(1));
    assert!(!answer.present);
    peer.disconnect();
    pause(Duration::from_secs(2));
    assert!(!site.try_connect(&expiring(1)).1.present);
}

/// `test_user_properties` and `test_payload_format`, over each QoS.
#[test]
fn user_properties_and_payload_format() {
    let site = Site::new();
    let mut client = site.subscriber(V5, "a", TOPICS[0], 2);
    let properties =
        [user("a", "2"), user("c", "3"), byte(PAYLOAD_FORMAT, 1), string(CONTENT_TYPE, "My name")].concat();
    let mut publisher = site.client(V5, "b");
    for qos in 0..3 {
        publisher.publish(&Publish::new(V5, TOPICS[0], "", qos).with_properties(&properties));
        let heard = client.hear_publish().properties;
        assert_eq!(heard.users(), [("a", "2"), ("c", "3")]);
        assert_eq!((heard.number(PAYLOAD_FORMAT), heard.text(CONTENT_TYPE)), (Some(1), Some("My name")));
    }
}

/// `test_publication_expiry`: what expired while the client was away does not come, the rest has less time.
#[test]
fn publication_expiry() {
    let site = Site::new();
    site.absent(V5, "b", TOPICS[0], 2);
    let mut publisher = site.client(V5, "a");
    for seconds in [1, 60] {
        for qos in 1..3 {
            let expiry = four(MESSAGE_EXPIRY, seconds);
            publisher.publish(&Publish::new(V5, TOPICS[0], "x", qos).with_properties(expiry));
        }
    }
    pause(Duration::from_millis(1500));
    let messages = site.connect(&Connect::lasting(V5, "b")).messages();
    assert_eq!(qos_of(&messages), [1, 2]);
    assert!(messages.iter().all(|message| message.properties.number(MESSAGE_EXPIRY) < Some(60)));
}

/// `test_assigned_clientid` and `test_subscribe_identifiers`.
#[test]
fn assigned_client_id_and_subscribe_identifiers() {
    let site = Site::new();
    let (_, answer) = site.try_connect(&Connect::new(V5, ""));
    assert!(answer.properties.text(ASSIGNED_CLIENT_ID).is_some_and(|id| !id.is_empty()));
    let mut a = site.client(V5, "a");
    a.subscribe_all(&number(SUBSCRIPTION_ID, 456_789), &[(TOPICS[0], 2)]);
    let mut b = site.client(V5, "b");
    b.subscribe_all(&number(SUBSCRIPTION_ID, 2), &[(TOPICS[0], 2)]);
    b.subscribe_all(&number(SUBSCRIPTION_ID, 3), &[("TopicA/#", 2)]);
    site.client(V5, "p").say(TOPICS[0], "sub identifier test", 1);
    assert_eq!(a.hear_publish().properties.numbers(SUBSCRIPTION_ID), [456_789]);
    let mut ids = b.hear_publish().properties.numbers(SUBSCRIPTION_ID);
    ids.sort_unstable();
    assert_eq!(ids, [2, 3]);
}

/// `test_request_response`: a question finds its way, and the answer with what the question carried.
#[test]
fn request_response() {
    let site = Site::new();
    let mut asks = site.subscriber(V5, "a", TOPICS[0], 2 | NO_LOCAL);
    let mut answers = site.subscriber(V5, "b", TOPICS[0], 2 | NO_LOCAL);
    let question = [string(RESPONSE_TOPIC, TOPICS[0]), string(CORRELATION_DATA, "334")].concat();
    asks.publish(&Publish::new(V5, TOPICS[0], "request", 1).with_properties(question));
    let request = answers.hear_publish();
    assert_eq!(request.payload, "request");
    answers.send(&ack(PUBACK, request.id));
    let back = request.properties.text(RESPONSE_TOPIC).unwrap();
    let data = string(CORRELATION_DATA, request.properties.bytes(CORRELATION_DATA).unwrap());
    answers.publish(&Publish::new(V5, back, "response", 1).with_properties(data));
    let response = asks.hear_publish();
    assert_eq!(response.payload, "response");
    assert_eq!(response.properties.bytes(CORRELATION_DATA), Some(&b"334"[..]));
}

/// `test_client_topic_alias` and `test_server_topic_alias`: both directions use them in each QoS.
#[test]
fn topic_aliases() {
    let site = Site::new();
    let mut client = site.connect(&Connect::new(V5, "a").with_properties(two(TOPIC_ALIAS_MAXIMUM, 1)));
    client.subscribe(TOPICS[0], 2);
    let mut publisher = site.client(V5, "b");
    for (qos, topic) in [(1, TOPICS[0]), (2, ""), (1, ""), (0, "")] {
        publisher.publish(&Publish::new(V5, topic, "x", qos).with_properties(two(TOPIC_ALIAS, 1)));
    }
    let messages = client.messages();
    let heard: Vec<_> =
        messages.iter().map(|message| (&*message.topic, message.properties.number(TOPIC_ALIAS))).collect();
    assert_eq!(heard, [(TOPICS[0], Some(1)), ("", Some(1)), ("", Some(1)), ("", Some(1))]);
}

/// `test_maximum_packet_size`: the broker says its own and holds the client's.
#[test]
fn maximum_packet_size() {
    let site = Site::new();
    let (mut client, answer) = site.try_connect(&Connect::new(V5, "a"));
    let maximum = usize::try_from(answer.properties.number(MAXIMUM_PACKET_SIZE).unwrap()).unwrap();
    client.send(&Publish::new(V5, TOPICS[0], vec![b'.'; maximum], 0).bytes());
    client.hear_end().expect(V5, 0x95);
    let mut client = site.connect(&Connect::new(V5, "a").with_properties(four(MAXIMUM_PACKET_SIZE, 64)));
    client.subscribe(TOPICS[0], 0);
    for bytes in [20, 200] {
        client.send(&Publish::new(V5, TOPICS[0], vec![b'.'; bytes], 0).bytes());
    }
    assert_eq!(client.payloads(), [".".repeat(20)]);
}

/// `test_flow_control1` and `test_flow_control2`: the broker holds the client's receive maximum, and says
/// 0x93 to a client that does not hold its own.
#[test]
fn flow_control() {
    let site = Site::new();
    let mut client = site.connect(&Connect::new(V5, "a").with_properties(two(RECEIVE_MAXIMUM, 2)));
    client.subscribe(TOPICS[0], 2);
    let (mut publisher, answer) = site.try_connect(&Connect::new(V5, "b"));
    (0..5).for_each(|n| publisher.say(TOPICS[0], &n.to_string(), 1 + n % 2));
    assert_eq!(client.rest().len(), 2);
    let maximum = u16::try_from(answer.properties.number(RECEIVE_MAXIMUM).unwrap()).unwrap();
    for id in 1..=maximum + 1 {
        publisher.send(&Publish { id, ..Publish::new(V5, "nobody", "x", 2) }.bytes());
    }
    while let Some(heard) = publisher.hear_or_end() {
        match heard {
            Heard::Ack { first: PUBREC, .. } => {}
            Heard::Disconnect { code, .. } => assert_eq!(code, 0x93),
            other => panic!("{other:?}"),
        }
    }
}

/// `test_will_delay`: not before its time, and not when the client is back.
#[test]
fn will_delay() {
    let site = Site::new();
    let will = Will { properties: four(WILL_DELAY, 1), ..Will::new(TOPICS[0], "test_will_delay") };
    let dying = Connect::new(V5, "a").with_properties(four(SESSION_EXPIRY, 5)).with_will(will);
    let mut other = site.subscriber(V5, "b", TOPICS[0], 2);
    let start = std::time::Instant::now();
    site.connect(&dying).leave();
    assert_eq!(other.hear_publish().payload, "test_will_delay");
    assert!(start.elapsed() >= Duration::from_secs(1));
}

/// `test_shared_subscriptions`: two members share, an ordinary subscriber gets everything.
#[test]
fn shared_subscriptions() {
    let site = Site::new();
    let mut members = ["a", "b"].map(|id| {
        let mut member = site.client(V5, id);
        member.subscribe_all(&[], &[("$share/sharename/TopicA", 2), ("TopicA", 2)]);
        member
    });
    let mut publisher = site.client(V5, "p");
    (0..10).for_each(|n| publisher.say("TopicA", &n.to_string(), 1));
    let heard: usize = members.iter_mut().map(|member| member.payloads().len()).sum();
    assert_eq!(heard, 10 + 2 * 10, "each its own copy, and the shared one in turn");
}
