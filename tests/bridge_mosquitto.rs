//! The bridge against a broker that we did not write, with a proxy in between that cuts the link.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

#[path = "support/cloud.rs"]
mod cloud;

use std::time::Duration;

use cloud::{Gateway, Mosquitto, PATIENCE, bridge_to, cuttable, free_address, subscribe, survives_cuts};
use serialgate::config::{self, Endpoint};
use serialgate::mqtt::packet::Version;
use serialgate::queue::letters::Letter;
use serialgate::reading::{Body, Message, Properties};
use serialgate::topic::Subject;
use tokio::time::{sleep, timeout};

#[tokio::test]
async fn everything_arrives_through_cuts_in_order_after_dedupe() {
    for protocol in [None, Some(Version::V3)] {
        let mosquitto = Mosquitto::start().await;
        let seen = subscribe(mosquitto.address).await;
        let (address, cut) = cuttable(mosquitto.address).await;
        let gateway = Gateway::start(config::Bridge { protocol, ..bridge_to(Endpoint::tcp(address)) });
        survives_cuts(&gateway, &seen, &cut, 5, 2000).await;
    }
}

#[tokio::test]
async fn the_gateways_status_is_true_at_the_start_after_a_crash_and_at_the_end() {
    let mosquitto = Mosquitto::start().await;
    let seen = subscribe(mosquitto.address).await;
    let word = || seen.lock().unwrap().words.get("serialgate/pi/status").cloned();
    let gateway = Gateway::start(bridge_to(Endpoint::tcp(mosquitto.address)));
    gateway.bulletin.post(Subject::Gateway, "online");
    gateway.until("online", || word().as_deref() == Some("online")).await;
    gateway.task.abort();
    gateway.until("offline by the will", || word().as_deref() == Some("offline")).await;

    let gateway = Gateway::start(bridge_to(Endpoint::tcp(mosquitto.address)));
    gateway.bulletin.post(Subject::Gateway, "online");
    gateway.until("online", || word().as_deref() == Some("online")).await;
    gateway.stop.send(()).unwrap();
    gateway.task.await.unwrap();
    let offline = async {
        while word().as_deref() != Some("offline") {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, offline).await.expect("offline by the goodbye");
}

/// A message of a LAN client, of so many bytes.
fn message(topic: &str, bytes: usize) -> Body {
    let payload = "x".repeat(bytes).into();
    Body::Message(Message {
        topic: topic.into(),
        payload,
        qos: 1,
        retain: false,
        properties: Properties::default(),
    })
}

/// Waits until the queue is empty and so many dead letters are on disk; gives those.
async fn letters(gateway: &Gateway, count: u64) -> Vec<Letter> {
    let over = || {
        let queue = gateway.queue.status();
        queue.readings == 0 && queue.dead_letters.count == count
    };
    gateway.until("over", over).await;
    let mut letters = gateway.queue.dead_letters(None).await.unwrap().letters;
    while (letters.len() as u64) < count {
        sleep(Duration::from_millis(10)).await;
        letters = gateway.queue.dead_letters(None).await.unwrap().letters;
    }
    letters.into_iter().map(|(_, letter)| letter).collect()
}

/// In 3.1.1 it closes the connection and says nothing.
#[tokio::test]
async fn a_message_on_which_mosquitto_closes_is_found_and_the_rest_arrives() {
    let mosquitto = Mosquitto::start_with(&[(free_address(), "max_packet_size 3000")]).await;
    let seen = subscribe(mosquitto.address).await;
    let gateway = Gateway::start(config::Bridge {
        protocol: Some(Version::V3),
        forward: Some(vec!["#".into()]),
        ..bridge_to(Endpoint::tcp(mosquitto.address))
    });
    (0..10).for_each(|n| gateway.push(n));
    gateway.queue.push(message("plant/large", 4000));
    (10..20).for_each(|n| gateway.push(n));
    let letters = letters(&gateway, 1).await;
    assert_eq!(&*letters[0].topic, "plant/large");
    assert!(
        letters[0].reason.starts_with("the broker closed the connection each time"),
        "{}",
        letters[0].reason
    );
    gateway.until("seen", || seen.lock().unwrap().ids.len() == 20).await;
    assert_eq!(gateway.queue.status().dropped.total(), 1);
}

/// In 5 it says which message it was.
#[tokio::test]
async fn a_topic_that_mosquitto_does_not_allow_is_held() {
    let acl = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(acl.path(), "topic readwrite #\ntopic deny plant/secret\n").unwrap();
    std::fs::set_permissions(acl.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let options = format!("acl_file {}", acl.path().display());
    let mosquitto = Mosquitto::start_with(&[(free_address(), &options)]).await;
    let seen = subscribe(mosquitto.address).await;
    let gateway = Gateway::start(config::Bridge {
        forward: Some(vec!["#".into()]),
        ..bridge_to(Endpoint::tcp(mosquitto.address))
    });
    gateway.queue.push(message("plant/secret", 10));
    let first = letters(&gateway, 1).await;
    assert_eq!(first[0].reason, "not authorized (0x87)");
    for n in 0..10 {
        gateway.queue.push(message("plant/secret", 10));
        gateway.push(n);
    }
    let all = letters(&gateway, 11).await;
    assert!(all[1..].iter().all(|letter| letter.reason == "its topic is held back: not authorized (0x87)"));
    gateway.until("seen", || seen.lock().unwrap().ids.len() == 10).await;
    let status = gateway.status.lock().clone();
    let error = status.last_error.unwrap();
    assert!(error.starts_with("the cloud does not allow publishing on plant/secret: "), "{error}");
    assert_eq!(status.refused, 11);
}
