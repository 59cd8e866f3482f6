//! The bridge against a broker that we did not write, with a proxy in between that cuts the link.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

#[path = "support/cloud.rs"]
mod cloud;

use std::time::Duration;

use cloud::{Gateway, Mosquitto, PATIENCE, bridge_to, cuttable, subscribe, survives_cuts};
use serialgate::config::{self, Endpoint};
use serialgate::mqtt::packet::Version;
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
