//! 200 000 mutated packets: whatever a client says, the broker neither panics nor hangs nor grows, and
//! what it answers is itself valid. The conversations run without sockets; `fuzz/` has the same guided by
//! coverage.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail the test")]

mod conversation;
#[path = "../conformance/heard.rs"]
#[expect(dead_code, reason = "of another suite")]
mod heard;
mod mutate;
#[path = "../conformance/packet.rs"]
#[expect(dead_code, reason = "of another suite")]
mod packet;

use std::time::Duration;

use fastrand::Rng;
use serialgate::broker::{Broker, Limits, NoIntake};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use conversation::converse;
use packet::*;

/// Mutated packets in all; each in a conversation of its own, because most of them end it.
const PACKETS: usize = 200_000;

/// Memory is at its height after this part of them.
const WARM: usize = PACKETS / 4;

/// Most that it may grow after that, in bytes. Sessions and retained messages have their limits, which
/// are small here.
const GROWTH: usize = 4 << 20;

/// The process's memory, in bytes.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

/// Takes apart everything that a client of `version` heard.
fn check_answers(version: u8, mut heard: &[u8]) {
    while !heard.is_empty() {
        let end = heard::length(heard).expect("a whole packet");
        heard::parse(version, &heard[..end]);
        heard = &heard[end..];
    }
}

/// One client: a valid beginning, and a mutated packet behind it.
async fn mutated_client(rng: &mut Rng, broker: &Broker, version: u8, corpus: &[Vec<u8>]) {
    let mut bytes = mutate::connect(rng, version);
    for _ in 0..rng.u8(..4) {
        bytes.extend(&corpus[rng.usize(1..corpus.len())]);
    }
    let packet = rng.usize(..corpus.len());
    bytes.extend(mutate::mutate(rng, &corpus[packet], corpus));
    let piece = if rng.u8(..8) == 0 { rng.usize(1..20) } else { usize::MAX };
    let heard = timeout(Duration::from_secs(3600), converse(broker, &bytes, piece)).await;
    check_answers(version, &heard.unwrap_or_else(|_| panic!("the broker hangs after {bytes:x?}")));
}

/// Whether a client that does nothing wrong is served.
async fn probe(broker: &Broker, version: u8) {
    let bytes = [
        Connect::new(version, "probe").bytes(),
        subscribe(version, 1, &[], &[(b"probe", 0)]),
        Publish::new(version, "probe", "alive", 0).bytes(),
        PINGREQ.to_vec(),
        PINGREQ.to_vec(),
    ];
    let heard = converse(broker, &bytes.concat(), usize::MAX).await;
    check_answers(version, &heard);
    assert!(heard.windows(5).any(|window| window == b"alive"), "{heard:x?}");
}

#[tokio::test(start_paused = true)]
async fn mutated_packets_neither_break_nor_grow_the_broker() {
    let limits = Limits { sessions: 20, retained_messages: 50, queue_messages: 50, ..Limits::default() };
    let (broker, stop) = (Broker::new(limits, NoIntake), CancellationToken::new());
    let (served, token) = (broker.clone(), stop.clone());
    let serving = tokio::spawn(async move { served.serve(Vec::new(), token).await });
    let corpora = BOTH.map(|version| (version, mutate::corpus(version)));
    let mut rng = Rng::with_seed(5);
    let mut warm = 0;
    for client in 0..PACKETS {
        let (version, corpus) = &corpora[client % corpora.len()];
        mutated_client(&mut rng, &broker, *version, corpus).await;
        if client == WARM {
            warm = resident_bytes();
        }
    }
    let grown = resident_bytes().saturating_sub(warm);
    assert!(grown < GROWTH, "{grown} bytes more than after {WARM} packets");
    for version in BOTH {
        probe(&broker, version).await;
    }
    stop.cancel();
    serving.await.unwrap();
    assert_eq!(broker.stats().clients, 0, "nobody is left");
}

/// A connection may begin with anything at all.
#[tokio::test(start_paused = true)]
async fn a_mutated_beginning_is_served_or_closed() {
    let broker = Broker::new(Limits::default(), NoIntake);
    let mut rng = Rng::with_seed(6);
    for round in 0..20_000 {
        let version = BOTH[round % 2];
        let connect = mutate::connect(&mut rng, version);
        let bytes = mutate::mutate(&mut rng, &connect, &mutate::corpus(version));
        let served = timeout(Duration::from_secs(3600), converse(&broker, &bytes, usize::MAX)).await;
        assert!(served.is_ok(), "the broker hangs after {bytes:x?}");
    }
    probe(&broker, V5).await;
}
