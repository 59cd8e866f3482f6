//! Wills: sections 3.1.2.5 to 3.1.2.7 and 3.1.3.2 to 3.1.3.4 of 5.0.

use std::time::{Duration, Instant};

use super::packet::*;
use super::site::{Site, pause};

/// A client whose will says "gone" on the topic "will".
fn dying(version: u8) -> Connect {
    Connect::new(version, "dying").with_will(Will::new("will", "gone"))
}

/// The same over 5.0 with a delay, in a session that lasts.
fn delayed(delay_s: u32, expiry_s: u32) -> Connect {
    let will = Will { properties: four(WILL_DELAY, delay_s), ..Will::new("will", "gone") };
    let connect = Connect::new(V5, "dying").with_properties(four(SESSION_EXPIRY, expiry_s));
    Connect { clean: false, ..connect.with_will(will) }
}

/// The will is published when the connection ends in any other way than by DISCONNECT.
///
/// 5.0: 3.1.2-7 3.1.2-8
/// 3.1.1: 3.1.2-8
#[test]
fn a_will_is_published_however_the_connection_ends() {
    for version in BOTH {
        let site = Site::new();
        let mut watcher = site.subscriber(version, "w", "will", 1);
        // The client closes without a word.
        site.connect(&dying(version)).leave();
        assert_eq!(watcher.payloads(), ["gone"]);
        // It breaks the protocol.
        let mut peer = site.connect(&dying(version));
        peer.send(&Publish::new(version, "#", "x", 0).bytes());
        peer.hear_end();
        assert_eq!(watcher.payloads(), ["gone"]);
        // It is taken over.
        let mut peer = site.connect(&dying(version));
        let mut next = site.client(version, "dying");
        peer.hear_end();
        next.settle();
        assert_eq!(watcher.payloads(), ["gone"]);
        next.disconnect();
        // It is silent for too long.
        let mut peer = site.connect(&Connect { keep_alive: 1, ..dying(version) });
        peer.hear_end().expect(version, 0x8D);
        assert_eq!(watcher.payloads(), ["gone"]);
    }
}

/// DISCONNECT takes the will back; without a will none is published.
///
/// 5.0: 3.1.2-10 3.14.4-3
/// 3.1.1: 3.1.2-10 3.1.2-12 3.14.4-3
#[test]
fn disconnect_takes_the_will_back() {
    for version in BOTH {
        let site = Site::new();
        let mut watcher = site.subscriber(version, "w", "#", 1);
        site.connect(&dying(version)).disconnect();
        site.client(version, "dying").leave();
        watcher.rest().iter().for_each(|heard| {
            let text = format!("{heard:?}");
            assert!(!text.contains("gone"), "{text}");
        });
    }
}

/// A published will is gone: the next connection has none unless it brings one.
///
/// 5.0: 3.1.2-10
/// 3.1.1: 3.1.2-10
#[test]
fn a_will_is_published_once() {
    for version in BOTH {
        let site = Site::new();
        let mut watcher = site.subscriber(version, "w", "will", 1);
        let lasting = Connect::lasting(version, "dying");
        site.connect(&lasting.clone().with_will(Will::new("will", "gone"))).leave();
        site.connect(&lasting).leave();
        assert_eq!(watcher.payloads(), ["gone"]);
    }
}

/// DISCONNECT with reason 0x04 publishes the will all the same, as does any reason but 0.
///
/// 5.0: 3.1.2-8
#[test]
fn disconnect_with_will_publishes_it() {
    for code in [0x04, 0x80, 0x93] {
        let site = Site::new();
        let mut watcher = site.subscriber(V5, "w", "will", 1);
        let mut peer = site.connect(&dying(V5));
        peer.send(&disconnect(V5, code, &[]));
        peer.hear_end();
        assert_eq!(watcher.payloads(), ["gone"], "reason {code:#x}");
    }
}

/// The will is retained if its flag says so, and has its QoS.
///
/// 5.0: 3.1.2-14 3.1.2-15
/// 3.1.1: 3.1.2-16 3.1.2-17
#[test]
fn a_will_is_retained_only_if_it_says_so() {
    for version in BOTH {
        for (retain, qos) in [(false, 0), (false, 2), (true, 0), (true, 1), (true, 2)] {
            let site = Site::new();
            let mut watcher = site.subscriber(version, "w", "will", 2);
            let will = Will { retain, qos, ..Will::new("will", "gone") };
            site.connect(&dying(version).with_will(will)).leave();
            let messages = watcher.messages();
            let heard: Vec<_> = messages.iter().map(|m| (&*m.payload, m.qos, m.retain)).collect();
            assert_eq!(heard, [("gone", qos, false)]);
            let mut late = site.subscriber(version, "late", "will", 2);
            let late = late.messages();
            let heard: Vec<_> = late.iter().map(|m| (&*m.payload, m.qos, m.retain)).collect();
            assert_eq!(heard, if retain { vec![("gone", qos, true)] } else { vec![] });
        }
    }
}

/// A will of no bytes and one of 65535 are wills like others.
///
/// 5.0: 3.1.2-9
/// 3.1.1: 3.1.2-9
#[test]
fn a_will_may_be_empty_or_long() {
    for version in BOTH {
        let site = Site::new();
        let mut watcher = site.subscriber(version, "w", "will", 1);
        let long = "x".repeat(65_535);
        for payload in ["", &*long] {
            site.connect(&dying(version).with_will(Will::new("will", payload))).leave();
            assert_eq!(watcher.payloads(), [payload]);
        }
    }
}

/// The properties of a will arrive as they are, user properties in their order.
///
/// 5.0: 3.1.3-10
#[test]
fn the_properties_of_a_will_arrive() {
    let site = Site::new();
    let mut watcher = site.subscriber(V5, "w", "will", 1);
    let properties = [
        byte(PAYLOAD_FORMAT, 1),
        four(MESSAGE_EXPIRY, 60),
        string(CONTENT_TYPE, "text"),
        string(RESPONSE_TOPIC, "answer"),
        string(CORRELATION_DATA, b"\0\xff"),
        user("b", "1"),
        user("a", "2"),
        user("b", "1"),
    ];
    let will = Will { properties: properties.concat(), ..Will::new("will", "gone") };
    site.connect(&dying(V5).with_will(will)).leave();
    let heard = watcher.hear_publish().properties;
    assert_eq!(heard.users(), [("b", "1"), ("a", "2"), ("b", "1")]);
    assert_eq!(heard.number(PAYLOAD_FORMAT), Some(1));
    assert_eq!(heard.number(MESSAGE_EXPIRY), Some(60));
    assert_eq!(heard.text(CONTENT_TYPE), Some("text"));
    assert_eq!(heard.text(RESPONSE_TOPIC), Some("answer"));
    assert_eq!(heard.bytes(CORRELATION_DATA), Some(&b"\0\xff"[..]));
}

/// A will with a delay waits for the client to come back, and is not published if it does.
///
/// 5.0: 3.1.3-9
#[test]
fn a_client_that_is_back_in_time_cancels_its_will() {
    let site = Site::new();
    let mut watcher = site.subscriber(V5, "w", "will", 1);
    site.connect(&delayed(1, 3600)).leave();
    assert_eq!(watcher.payloads(), Vec::<String>::new(), "not at once");
    let peer = site.connect(&Connect::lasting(V5, "dying"));
    pause(Duration::from_millis(1500));
    assert_eq!(watcher.payloads(), Vec::<String>::new(), "it came back");
    peer.disconnect();
    // The same if it comes back by taking the connection over.
    let first = site.connect(&delayed(1, 3600));
    let _second = site.connect(&Connect::lasting(V5, "dying"));
    first.leave();
    pause(Duration::from_millis(1500));
    assert_eq!(watcher.payloads(), Vec::<String>::new());
}

/// It is published when the delay is over, or when the session ends before that.
///
/// 5.0: 3.1.2-8 3.1.3-9
#[test]
fn a_delayed_will_is_published_in_its_time() {
    for (delay_s, expiry_s) in [(1, 3600), (3600, 1)] {
        let site = Site::new();
        let mut watcher = site.subscriber(V5, "w", "will", 1);
        let start = Instant::now();
        site.connect(&delayed(delay_s, expiry_s)).leave();
        assert_eq!(watcher.hear_publish().payload, "gone");
        assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
    }
}

/// The session's end publishes a delayed will at once: by its expiry of 0, or by a clean start.
///
/// 5.0: 3.1.2-8
#[test]
fn the_end_of_the_session_publishes_a_delayed_will() {
    let site = Site::new();
    let mut watcher = site.subscriber(V5, "w", "will", 1);
    site.connect(&delayed(3600, 0)).leave();
    assert_eq!(watcher.payloads(), ["gone"]);
    site.connect(&delayed(3600, 3600)).leave();
    assert_eq!(watcher.payloads(), Vec::<String>::new());
    site.client(V5, "dying").disconnect();
    assert_eq!(watcher.payloads(), ["gone"]);
}

/// A will's topic must be one that can be published to.
///
/// 5.0: 3.1.4-2 4.7.0-1
/// 3.1.1: 4.7.1-1
#[test]
fn a_will_for_a_wildcard_is_refused() {
    for version in BOTH {
        for topic in ["a/#", "+", ""] {
            let connect = dying(version).with_will(Will::new(topic, "x"));
            let code = super::format::refused(&connect);
            assert_eq!(code, (version == V5).then_some(0x90), "{topic}");
        }
    }
}
