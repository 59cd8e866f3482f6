//! Messages that a bridge forwards: acknowledged when they are safe, in order, and taken once.

use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

use super::*;
use crate::broker::Intake;
use crate::queue::{Full, Safe, Ticket};

/// A queue whose tickets the test resolves.
#[derive(Clone, Default)]
struct Ledger(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    is_full: bool,
    taken: Vec<String>,
    open: Vec<Option<oneshot::Sender<Safe>>>,
}

impl Intake for Ledger {
    fn offer(&self, publish: &Publish) -> Result<Option<Ticket>, Full> {
        let mut inner = self.0.lock().unwrap();
        if !publish.topic.starts_with("cloud/") {
            return Ok(None);
        }
        if inner.is_full {
            return Err(Full);
        }
        inner.taken.push(String::from_utf8_lossy(&publish.payload).into_owned());
        let (safe, ticket) = oneshot::channel();
        inner.open.push(Some(safe));
        Ok((publish.qos != Qos::AtMostOnce).then_some(ticket))
    }
}

impl Ledger {
    fn taken(&self) -> Vec<String> {
        self.0.lock().unwrap().taken.clone()
    }

    fn resolve(&self, n: usize) {
        let sender = self.0.lock().unwrap().open[n].take().unwrap();
        let _ = sender.send(Safe::Durable);
    }

    fn give_up(&self, n: usize) {
        self.0.lock().unwrap().open[n] = None;
    }

    fn set_full(&self, is_full: bool) {
        self.0.lock().unwrap().is_full = is_full;
    }
}

fn bridged() -> (Broker, Ledger) {
    let ledger = Ledger::default();
    (Broker::new(Limits::default(), ledger.clone()), ledger)
}

fn numbered(n: u16, topic: &str, payload: &str, qos: Qos) -> Packet {
    Packet::Publish(Box::new(Publish { id: Some(id(n)), ..message(topic, payload, qos) }))
}

#[tokio::test(start_paused = true)]
async fn acknowledgements_wait_for_safety_and_keep_their_order() {
    for version in VERSIONS {
        let (broker, ledger) = bridged();
        let mut watcher = Peer::subscriber(&broker, version, "w", "#", Qos::AtMostOnce).await;
        let mut peer = Peer::new(&broker, version, "p").await;
        peer.say(numbered(1, "cloud/a", "1", Qos::AtLeastOnce)).await;
        peer.say(numbered(2, "cloud/b", "2", Qos::ExactlyOnce)).await;
        peer.say(numbered(3, "local", "3", Qos::AtLeastOnce)).await;
        watcher.hear_all(&["1", "2", "3"]).await;
        peer.hear_nothing().await;
        peer.settle().await;
        ledger.resolve(1);
        peer.hear_nothing().await;
        ledger.resolve(0);
        assert_eq!(peer.hear().await, Packet::PubAck(Ack::ok(id(1))));
        assert_eq!(peer.hear().await, Packet::PubRec(Ack::ok(id(2))));
        assert_eq!(peer.hear().await, Packet::PubAck(Ack::ok(id(3))));
        assert_eq!(ledger.taken(), ["1", "2"]);
    }
}

#[tokio::test(start_paused = true)]
async fn qos_0_and_wills_go_into_the_queue_without_waiting() {
    let (broker, ledger) = bridged();
    let dying = Connect { will: Some(will("cloud/will", 0)), ..connect(Version::V3, "p") };
    let (mut peer, _) = Peer::connect(&broker, dying).await;
    peer.publish(message("cloud/a", "1", Qos::AtMostOnce)).await;
    peer.settle().await;
    drop(peer);
    tokio::time::sleep(MOMENT).await;
    assert_eq!(ledger.taken(), ["1", "gone"]);
}

#[tokio::test(start_paused = true)]
async fn our_own_messages_do_not_enter_the_queue_again() {
    let (broker, ledger) = bridged();
    broker.local().publish(message("cloud/a", "1", Qos::AtLeastOnce));
    assert_eq!(ledger.taken(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_qos_2_duplicate_waits_too_and_is_taken_once() {
    for version in VERSIONS {
        let (broker, ledger) = bridged();
        let (mut peer, _) = Peer::connect(&broker, persistent(version, "p")).await;
        peer.say(numbered(1, "cloud/a", "1", Qos::ExactlyOnce)).await;
        peer.say(numbered(1, "cloud/a", "1", Qos::ExactlyOnce)).await;
        peer.hear_nothing().await;
        // Again on the next connection, while the first copy is still not safe.
        drop(peer);
        let (mut peer, is_resumed) = Peer::connect(&broker, persistent(version, "p")).await;
        assert!(is_resumed);
        peer.hear_nothing().await;
        peer.say(numbered(1, "cloud/a", "1", Qos::ExactlyOnce)).await;
        peer.hear_nothing().await;
        ledger.resolve(0);
        assert_eq!(peer.hear().await, Packet::PubRec(Ack::ok(id(1))));
        peer.say(numbered(1, "cloud/a", "1", Qos::ExactlyOnce)).await;
        assert_eq!(peer.hear().await, Packet::PubRec(Ack::ok(id(1))));
        peer.say(Packet::PubRel(Ack::ok(id(1)))).await;
        assert_eq!(peer.hear().await, Packet::PubComp(Ack::ok(id(1))));
        assert_eq!(ledger.taken(), ["1"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_after_a_takeover_finds_the_ticket_of_the_old_connection() {
    let (broker, ledger) = bridged();
    let (mut old, _) = Peer::connect(&broker, persistent(Version::V5, "p")).await;
    old.say(numbered(1, "cloud/a", "1", Qos::ExactlyOnce)).await;
    old.settle().await;
    let mut new = Peer::open(&broker, Version::V5);
    new.say(Packet::Connect(Box::new(persistent(Version::V5, "p")))).await;
    new.say(numbered(1, "cloud/a", "1", Qos::ExactlyOnce)).await;
    assert!(matches!(new.hear().await, Packet::ConnAck(_)));
    new.hear_nothing().await;
    ledger.resolve(0);
    assert_eq!(new.hear().await, Packet::PubRec(Ack::ok(id(1))));
    assert_eq!(ledger.taken(), ["1"]);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_in_words_over_5_and_by_closing_over_3_1_1() {
    for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
        let (broker, ledger) = bridged();
        let mut watcher = Peer::subscriber(&broker, Version::V5, "w", "#", Qos::AtMostOnce).await;
        ledger.set_full(true);
        let mut new = Peer::new(&broker, Version::V5, "new").await;
        new.say(numbered(1, "cloud/a", "1", qos)).await;
        let refusal = Ack { id: id(1), reason: Reason::QUOTA };
        match qos {
            Qos::ExactlyOnce => assert_eq!(new.hear().await, Packet::PubRec(refusal)),
            _ => assert_eq!(new.hear().await, Packet::PubAck(refusal)),
        }
        let (mut old, _) = Peer::connect(&broker, persistent(Version::V3, "old")).await;
        old.say(numbered(1, "cloud/a", "2", qos)).await;
        assert_eq!(old.hear_end().await, None);
        watcher.hear_nothing().await;

        ledger.set_full(false);
        new.say(numbered(1, "cloud/a", "1", qos)).await;
        let (mut old, _) = Peer::connect(&broker, persistent(Version::V3, "old")).await;
        old.say(numbered(1, "cloud/a", "2", qos)).await;
        watcher.hear_all(&["1", "2"]).await;
        assert_eq!(ledger.taken(), ["1", "2"]);
        ledger.resolve(1);
        match qos {
            Qos::ExactlyOnce => assert_eq!(old.hear().await, Packet::PubRec(Ack::ok(id(1)))),
            _ => assert_eq!(old.hear().await, Packet::PubAck(Ack::ok(id(1)))),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_never_became_safe_closes_the_connection_unacknowledged() {
    for version in VERSIONS {
        let (broker, ledger) = bridged();
        let (mut peer, _) = Peer::connect(&broker, persistent(version, "p")).await;
        peer.say(numbered(1, "cloud/a", "1", Qos::ExactlyOnce)).await;
        peer.settle().await;
        ledger.give_up(0);
        peer.hear_end().await;
        let (mut peer, _) = Peer::connect(&broker, persistent(version, "p")).await;
        peer.say(numbered(1, "cloud/a", "1", Qos::ExactlyOnce)).await;
        peer.settle().await;
        ledger.resolve(1);
        assert_eq!(peer.hear().await, Packet::PubRec(Ack::ok(id(1))));
        assert_eq!(ledger.taken(), ["1", "1"], "taken anew");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_with_too_much_unacknowledged_is_held_back_not_dropped() {
    for version in VERSIONS {
        let ledger = Ledger::default();
        let limits = Limits { receive_maximum: 3, ..Limits::default() };
        let broker = Broker::new(limits, ledger.clone());
        let mut peer = Peer::new(&broker, version, "p").await;
        for n in 1..=10 {
            peer.say(numbered(n, "cloud/a", &n.to_string(), Qos::AtLeastOnce)).await;
        }
        peer.hear_nothing().await;
        assert_eq!(ledger.taken().len(), 3);
        for n in 1..=10 {
            ledger.resolve(usize::from(n) - 1);
            assert_eq!(peer.hear().await, Packet::PubAck(Ack::ok(id(n))));
            peer.hear_nothing().await;
            assert_eq!(ledger.taken().len(), usize::from(n + 3).min(10));
        }
    }
}
