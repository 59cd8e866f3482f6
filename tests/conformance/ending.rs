//! PINGREQ, DISCONNECT, AUTH, keep-alive and errors: sections 3.12 to 3.15, 3.1.2.10, 4.8 and 4.13.

use std::time::{Duration, Instant};

use super::format::end_after;
use super::heard::Heard;
use super::packet::*;
use super::site::{Ended, Site, pause};

/// Each PINGREQ has its PINGRESP.
///
/// 5.0: 3.12.4-1
/// 3.1.1: 3.12.4-1
#[test]
fn each_ping_is_answered() {
    for version in BOTH {
        let site = Site::new();
        let mut peer = site.client(version, "c");
        peer.send(&PINGREQ.repeat(20));
        (0..20).for_each(|_| assert_eq!(peer.hear(), Heard::PingResp));
    }
}

/// A client that says nothing for one and a half times its keep-alive is disconnected, not before; any
/// packet counts, and what the broker sends does not.
///
/// 5.0: 3.1.2-22
/// 3.1.1: 3.1.2-24
#[test]
fn a_silent_client_is_disconnected() {
    for version in BOTH {
        let site = Site::new();
        let mut peer = site.connect(&Connect { keep_alive: 1, ..Connect::new(version, "c") });
        peer.subscribe("t", 0);
        let mut publisher = site.client(version, "p");
        for _ in 0..3 {
            pause(Duration::from_millis(600));
            peer.send(&Publish::new(version, "u", "x", 0).bytes());
        }
        peer.settle();
        let start = Instant::now();
        let mut heard = 0;
        let end = loop {
            publisher.say("t", "x", 0);
            match peer.hear_or_end() {
                Some(Heard::Publish(_)) => heard += 1,
                end => break end,
            }
            pause(Duration::from_millis(50));
        };
        assert!(start.elapsed() >= Duration::from_millis(1400) && heard > 0, "{:?}", start.elapsed());
        match (version, end) {
            (V5, Some(Heard::Disconnect { code: 0x8D, .. })) | (V3, None) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// With keep-alive 0 a client may be silent.
///
/// 5.0: 3.1.2-22
/// 3.1.1: 3.1.2-24
#[test]
fn without_keep_alive_a_client_may_be_silent() {
    for version in BOTH {
        let site = Site::new();
        let mut peer = site.client(version, "c");
        pause(Duration::from_secs(2));
        peer.settle();
    }
}

/// A client that closes its own direction still gets the answers to what it said before.
#[test]
fn answers_reach_a_client_that_said_its_last_word() {
    for version in BOTH {
        for _ in 0..20 {
            let site = Site::new();
            let mut peer = site.dial(version);
            let publish = Publish::new(version, "t", "x", 1);
            peer.send_and_close(&[Connect::new(version, "c").bytes(), publish.bytes()].concat());
            assert!(matches!(peer.hear(), Heard::ConnAck { code: 0, .. }));
            peer.hear_ack(PUBACK, 1);
            assert_eq!(peer.hear_end(), Ended::Silently);
        }
    }
}

/// DISCONNECT is answered by closing, and nothing that follows it is processed.
///
/// 5.0: 3.14.4-1 3.14.4-2
/// 3.1.1: 3.14.4-1 3.14.4-2
#[test]
fn after_disconnect_nothing_counts() {
    for version in BOTH {
        let site = Site::new();
        let mut subscriber = site.subscriber(version, "s", "t", 0);
        let mut peer = site.client(version, "c");
        let late = Publish::new(version, "t", "too late", 0);
        peer.send(&[disconnect(version, 0, &[]), late.bytes()].concat());
        assert_eq!(peer.hear_end(), Ended::Silently);
        assert_eq!(subscriber.payloads(), Vec::<String>::new());
    }
}

/// DISCONNECT over 5.0 may be bare, have a code, or words.
///
/// 5.0: 3.14.2-1
#[test]
fn every_form_of_disconnect_is_understood() {
    let words = [string(REASON_STRING, "bye"), user("k", "v"), user("k", "v")].concat();
    for bytes in [
        packet(DISCONNECT, &[]),
        packet(DISCONNECT, &[0]),
        disconnect(V5, 0x04, &[]),
        disconnect(V5, 0x80, &[]),
        disconnect(V5, 0x98, &words),
    ] {
        assert_eq!(end_after(V5, &bytes), Ended::Silently);
    }
}

/// A DISCONNECT of the broker has a code of its own, no session expiry, and is the last that it says.
///
/// 5.0: 3.14.2-1 3.14.2-2 3.14.4-1 3.14.4-2 4.13.2-1
#[test]
fn the_brokers_disconnect_is_its_last_word() {
    for (bytes, code) in [
        (vec![0, 0], 0x81),
        (Connect::new(V5, "c").bytes(), 0x82),
        (Publish::new(V5, "#", "x", 1).bytes(), 0x90),
        (packet(0x20, &[0, 0, 0]), 0x82),
        (packet(0x90, &[0, 1, 0, 0]), 0x82),
        (packet(0xB0, &[0, 1, 0, 0]), 0x82),
        (packet(0xD0, &[]), 0x82),
    ] {
        let site = Site::new();
        let mut peer = site.client(V5, "c");
        // What follows the error is not processed either.
        peer.send(&[bytes, PINGREQ.to_vec()].concat());
        peer.hear_end().expect(V5, code);
    }
}

/// Over 3.1.1 a protocol violation closes the connection, and what follows it is not processed.
///
/// 3.1.1: 4.8.0-1
#[test]
fn a_violation_closes_an_old_connection() {
    for bytes in [
        vec![0, 0],
        packet(0x20, &[0, 0]),
        packet(0x90, &[0, 1, 0]),
        packet(0xD0, &[]),
        packet(AUTH, &[]),
        Publish::new(V3, "#", "x", 1).bytes(),
        packet(DISCONNECT, &[0]),
    ] {
        let site = Site::new();
        let mut peer = site.client(V3, "c");
        peer.send(&[bytes, PINGREQ.to_vec()].concat());
        assert_eq!(peer.hear_end(), Ended::Silently);
    }
}

/// AUTH without an authentication method in CONNECT is a Protocol Error.
///
/// 5.0: 3.15.2-1
#[test]
fn auth_that_nobody_asked_for_is_a_protocol_error() {
    let method = string(AUTH_METHOD, "x");
    for body in [vec![], [&[0x19], &block(&method)[..]].concat(), [&[0x18], &block(&method)[..]].concat()] {
        end_after(V5, &packet(AUTH, &body)).expect(V5, 0x82);
    }
    end_after(V5, &packet(AUTH, &[0x01, 0])).expect(V5, 0x81);
}

/// One client's error does not touch the others.
///
/// 5.0: 4.13.1-1
/// 3.1.1: 4.8.0-1
#[test]
fn an_error_ends_its_own_connection_only() {
    for version in BOTH {
        let site = Site::new();
        let mut other = site.subscriber(version, "o", "t", 1);
        let mut wrong = site.client(version, "w");
        wrong.send(&[0xFF; 64]);
        wrong.hear_end();
        site.client(version, "p").say("t", "x", 1);
        assert_eq!(other.payloads(), ["x"]);
    }
}
