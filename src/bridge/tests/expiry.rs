//! Messages that are of no use after a while.

use super::*;
use crate::reading::{Epoch, Expiry, Message, Properties, Stamp};

impl Rig {
    /// A LAN client's message that came `ago` and is of use for `after_s` seconds.
    fn push_expiring(&self, topic: &str, ago: Duration, after_s: u32) {
        let ago = i64::try_from(ago.as_micros()).unwrap();
        let since = self.queue.clock().now().plus_us(-ago);
        self.push_message(topic, Some(Expiry { since, after_s }));
    }

    fn push_message(&self, topic: &str, expiry: Option<Expiry>) {
        self.queue.push(Body::Message(Message {
            topic: topic.into(),
            payload: Bytes::from("on"),
            qos: 1,
            retain: false,
            properties: Properties::default(),
            expiry,
        }));
    }
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// The messages of LAN clients up to the one on topic `end`, with what is left to them.
async fn messages(broker: &mut Broker, end: &str) -> Vec<(String, Option<u32>)> {
    let mut seen = Vec::new();
    loop {
        let publish = broker.publish().await;
        broker.ack(publish.id.unwrap(), Reason::SUCCESS).await;
        if publish.topic.starts_with("sensors/") {
            seen.push((publish.topic.to_string(), publish.expiry_s));
        }
        if &*publish.topic == end {
            return seen;
        }
    }
}

fn all(config: &mut config::Bridge) {
    config.forward = Some(vec!["#".into()]);
}

#[tokio::test]
async fn what_is_left_is_sent_along_and_what_is_late_is_dropped_counted_and_told() {
    for version in [Version::V5, Version::V3] {
        let rig = Rig::with(listener().await, |config| {
            all(config);
            config.protocol = Some(version);
        });
        rig.push_expiring("sensors/late", Duration::from_secs(61), 60);
        rig.push_expiring("sensors/half", Duration::from_secs(3600), 7200);
        rig.push_message("sensors/ever", None);
        let mut broker = rig.open(accepted()).await;
        let seen = messages(&mut broker, "sensors/ever").await;
        let [(half, left), (ever, None)] = &seen[..] else { panic!("{seen:?}") };
        assert_eq!((half.as_str(), ever.as_str()), ("sensors/half", "sensors/ever"));
        match version {
            Version::V5 => assert!((3580..=3600).contains(&left.unwrap()), "{left:?}"),
            Version::V3 => assert_eq!(*left, None),
        }
        rig.until("over", |_, queue| queue.readings == 0).await;
        let queue = rig.queue.status();
        assert_eq!((queue.accepted, queue.delivered, queue.dropped.expired), (3, 2, 1));
        let told = loop {
            let publish = broker.publish().await;
            broker.ack(publish.id.unwrap(), Reason::SUCCESS).await;
            let json: serde_json::Value = serde_json::from_slice(&publish.payload).unwrap();
            if json["event"] == "gap" {
                break json;
            }
        };
        assert_eq!(
            (&told["topic"], &told["lost"], &told["reason"]),
            (&"sensors/late".into(), &1.into(), &"expired".into())
        );
    }
}

#[tokio::test]
async fn it_goes_on_expiring_while_the_gateway_is_started_again() {
    let mut rig = Rig::with(listener().await, all);
    rig.push_expiring("sensors/short", Duration::from_secs(59), 60);
    rig.push_expiring("sensors/long", Duration::from_secs(10), 60);
    rig.until("on disk", |_, queue| queue.volatile == 0).await;
    let over = Instant::now() + Duration::from_millis(1100);
    rig.stop().await;
    let Rig { queue, folder, .. } = rig;
    queue.close();
    drop(queue);
    sleep_until(over).await;
    let rig = Rig::on(folder, listener().await, all);
    rig.push_message("sensors/end", None);
    let mut broker = rig.open(accepted()).await;
    let seen = messages(&mut broker, "sensors/end").await;
    let [(long, Some(left)), _] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!(long, "sensors/long");
    assert!((20..=49).contains(left), "{left}");
    rig.until("over", |_, queue| queue.readings == 0).await;
    assert_eq!(rig.queue.status().dropped.expired, 1);
}

#[tokio::test]
async fn what_came_before_a_reboot_is_late_by_the_time_of_this_boot_at_least() {
    let rig = Rig::with(listener().await, all);
    let since = Stamp { epoch: Epoch::Boot(9), us: 5 };
    rig.push_message("sensors/short", Some(Expiry { since, after_s: 0 }));
    rig.push_message("sensors/long", Some(Expiry { since, after_s: u32::MAX }));
    let up = rig.queue.clock().now().us / 1_000_000;
    let mut broker = rig.open(accepted()).await;
    let seen = messages(&mut broker, "sensors/long").await;
    let [(_, Some(left))] = &seen[..] else { panic!("{seen:?}") };
    let passed = i64::from(u32::MAX) - i64::from(*left);
    assert!((up - 1..up + 60).contains(&passed), "{passed} of {up}");
}
