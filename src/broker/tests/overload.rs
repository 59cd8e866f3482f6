//! Clients that take less than they are sent, and what the others notice of it.

use super::*;
use crate::broker::losses::Loss;

/// Roomy enough for `n` of the tests' small messages in one queue.
fn room(n: usize) -> Limits {
    Limits { queue_messages: n, ..Limits::default() }
}

fn lost(broker: &Broker, loss: Loss) -> u64 {
    broker.lock().losses().of(loss)
}

/// A connected client that has a message under way, takes one at a time and does not acknowledge.
async fn slow(broker: &Broker, client_id: &str, filter: &str) -> (Peer, Publish) {
    let narrow = Connect { receive_maximum: 1, ..persistent(Version::V5, client_id) };
    let (mut peer, _) = Peer::connect(broker, narrow).await;
    peer.subscribe(wanted(filter, Qos::ExactlyOnce)).await;
    let topic = filter.replace('#', "t");
    broker.local().publish(message(&topic, "under way", Qos::AtLeastOnce));
    let under_way = peer.hear_publish().await;
    (peer, under_way)
}

#[tokio::test(start_paused = true)]
async fn a_slow_client_loses_its_oldest_messages_of_qos_0_first_and_keeps_the_order() {
    let broker = Broker::new(room(4), NoIntake);
    let (mut peer, under_way) = slow(&broker, "s", "#").await;
    for (payload, qos) in [("a0", 0), ("b1", 1), ("c0", 0), ("d1", 1), ("e0", 0), ("f1", 1)] {
        broker.local().publish(message("t", payload, Qos::from(qos)));
    }
    assert_eq!((lost(&broker, Loss::Full0), broker.stats().dropped), (2, 2), "a0 and c0");
    peer.acknowledge(&under_way).await;
    peer.hear_all(&["b1", "d1", "e0", "f1"]).await;
}

#[tokio::test(start_paused = true)]
async fn without_any_of_qos_0_the_oldest_of_the_others_give_way_and_the_newest_are_kept() {
    let broker = Broker::new(room(2), NoIntake);
    let (mut peer, under_way) = slow(&broker, "s", "#").await;
    for (payload, qos) in [("a1", 1), ("b2", 2), ("c1", 1), ("d1", 1), ("e0", 0)] {
        broker.local().publish(message("t", payload, Qos::from(qos)));
    }
    let kinds = [Loss::Full0, Loss::Full1, Loss::Full2].map(|loss| lost(&broker, loss));
    assert_eq!(kinds, [1, 1, 1], "a1, b2, and e0, which drives out nothing that is assured");
    peer.acknowledge(&under_way).await;
    peer.hear_all(&["c1", "d1"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_can_never_fit_drives_out_nothing() {
    let broker = Broker::new(Limits { queue_bytes: 5000, ..Limits::default() }, NoIntake);
    let (mut peer, under_way) = slow(&broker, "s", "#").await;
    for payload in ["a", &"x".repeat(6000), "b"] {
        broker.local().publish(message("t", payload, Qos::AtLeastOnce));
    }
    assert_eq!(lost(&broker, Loss::Full1), 1);
    peer.acknowledge(&under_way).await;
    peer.hear_all(&["a", "b"]).await;
}

#[tokio::test(start_paused = true)]
async fn who_holds_most_gives_way_however_many_there_are_of_them() {
    const HOARDERS: usize = 40;
    let limits = Limits { all_queues_bytes: 200_000, ..Limits::default() };
    let broker = Broker::new(limits, NoIntake);
    let mut hoarders = Vec::new();
    for n in 0..HOARDERS {
        let name = format!("hoarder{n}");
        hoarders.push(slow(&broker, &name, &format!("{name}/#")).await);
    }
    let (mut modest, under_way) = slow(&broker, "modest", "modest/#").await;
    for round in 0..20 {
        for n in 0..HOARDERS {
            let junk = message(&format!("hoarder{n}/t"), &"x".repeat(1000), Qos::AtLeastOnce);
            broker.local().publish(junk);
        }
        if round % 10 == 0 {
            broker.local().publish(message("modest/t", &round.to_string(), Qos::AtLeastOnce));
        }
    }
    assert!(lost(&broker, Loss::Full1) > 500, "{:?}", broker.stats());
    modest.acknowledge(&under_way).await;
    modest.hear_all(&["0", "10"]).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_under_way_to_clients_that_never_answer_gives_way_too() {
    let limits = Limits { all_queues_bytes: 50_000, ..Limits::default() };
    let broker = Broker::new(limits, NoIntake);
    let silent = Connect { receive_maximum: 50, ..connect(Version::V5, "silent") };
    let (mut silent, _) = Peer::connect(&broker, silent).await;
    silent.subscribe(wanted("big", Qos::AtLeastOnce)).await;
    let (mut modest, under_way) = slow(&broker, "modest", "modest/#").await;
    for _ in 0..100 {
        broker.local().publish(message("big", &"x".repeat(1000), Qos::AtLeastOnce));
        silent.settle_past_messages().await;
    }
    broker.local().publish(message("modest/t", "kept", Qos::AtLeastOnce));
    assert!(lost(&broker, Loss::Full1) >= 50, "{:?}", broker.stats());
    modest.acknowledge(&under_way).await;
    modest.hear_all(&["kept"]).await;
    // An acknowledgement of what was given up does no harm.
    silent.say(Packet::PubAck(Ack::ok(id(1)))).await;
    silent.settle_past_messages().await;
}

#[tokio::test(start_paused = true)]
async fn expired_messages_give_way_before_all_others_and_are_no_loss() {
    let broker = Broker::new(room(2), NoIntake);
    let (mut peer, under_way) = slow(&broker, "s", "#").await;
    let publish = |payload: &str, expiry_s| {
        broker.local().publish(Publish { expiry_s, ..message("t", payload, Qos::AtLeastOnce) });
    };
    publish("a", None);
    publish("stale", Some(1));
    tokio::time::sleep(Duration::from_secs(2)).await;
    publish("b", None);
    assert_eq!((lost(&broker, Loss::Expired), broker.stats().dropped), (1, 0));
    peer.acknowledge(&under_way).await;
    peer.hear_all(&["a", "b"]).await;
}
