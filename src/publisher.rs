//! Feeds the local broker: live copies of what enters the queue, and every retained word.
//!
//! ```text
//! queue ──tap──────> publisher ──data, event──────────────> local broker
//! ports ──Bulletin──>    │  └───status, meta, state─(retained)──^
//!                        └──gateway status; state, where a bridge may want it──> Bulletin ──> bridges
//! ```
//! A tap on the durable path, not a stage in it: when this part falls behind, live copies are
//! missed by local clients and nobody else.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::flow::{Bulletin, LocalPublish};
use crate::mqtt::packet::{Publish, Qos};
use crate::pulse::Pulse;
use crate::reading::{Body, DeviceName};
use crate::render;
use crate::topic::{OFFLINE, ONLINE, Subject, Topics};

/// How many live copies may wait for the publisher before new ones are missed: about two seconds
/// at the highest rate that we promise.
pub const TAP_CAPACITY: usize = 4096;
/// How many live copies are taken at a time.
const BATCH: usize = 256;
/// How many retained words are read at a time.
const NEWS: usize = 64;

/// The publisher and the handles it needs.
#[derive(Debug)]
pub struct Publisher {
    /// Copies of every reading and event, from the queue's tap.
    pub live: mpsc::Receiver<Arc<Body>>,
    /// Where retained words are posted and read.
    pub bulletin: Bulletin,
    /// Whether a bridge may want states. It wakes at each post of the bulletin, which would double
    /// its work for nothing if it does not.
    pub states_wanted: bool,
    /// Our topics.
    pub topics: Topics,
    /// Turns stamps into wall times.
    pub clock: Clock,
    /// The local broker.
    pub local: LocalPublish,
    /// Shows that it turns.
    pub pulse: Pulse,
}

impl Publisher {
    /// Says that the gateway is online, feeds the broker until `stop` resolves or the queue is
    /// gone, and says that the gateway is offline.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        self.bulletin.post(Subject::Gateway, ONLINE);
        let mut news = self.bulletin.watch();
        let mut told = self.tell_news(0);
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            self.pulse.beat();
            tokio::select! {
                () = &mut stop => break,
                () = self.pulse.called() => {}
                taken = self.live.recv_many(&mut batch, BATCH) => {
                    if taken == 0 {
                        break;
                    }
                    self.tell_live(&mut batch);
                }
                // The bulletin's other end is held by `self`.
                _ = news.changed() => {}
            }
            news.mark_unchanged();
            told = self.tell_news(told);
        }
        self.bulletin.post(Subject::Gateway, OFFLINE);
        self.tell_news(told);
    }

    /// Tells every reading and event of `batch`, and of each device the newest state.
    fn tell_live(&self, batch: &mut Vec<Arc<Body>>) {
        let mut states = BTreeMap::new();
        let now = self.clock.now().us;
        for body in batch.drain(..) {
            // A LAN client's message is none of our business: the broker itself has passed it on.
            if let Body::Message(_) = *body {
                continue;
            }
            let publish =
                render::publish(&body, |at| self.clock.wall(at), body.has_waited(now), &self.topics);
            if let Body::Reading(reading) = &*body {
                // A live `data` payload and the `state` payload are the same bytes.
                states.insert(Arc::clone(&reading.device), publish.payload.clone());
            }
            self.local.publish(publish);
        }
        states.into_iter().for_each(|(device, payload)| self.tell_state(device, payload));
    }

    fn tell_state(&self, device: DeviceName, payload: Bytes) {
        let subject = Subject::State(device);
        if self.states_wanted {
            // From where it comes to the local broker as well.
            self.bulletin.post(subject, payload);
        } else {
            self.tell_retained(&subject, payload);
        }
    }

    fn tell_retained(&self, subject: &Subject, payload: Bytes) {
        let topic = self.topics.of(subject);
        self.local.publish(Publish::new(topic, payload, Qos::AtLeastOnce, true));
    }

    /// Publishes what is newer than version `told` of the bulletin; gives the new version.
    fn tell_news(&self, mut told: u64) -> u64 {
        loop {
            let news = self.bulletin.newer_than(told, NEWS);
            let last = news.len() < NEWS;
            for (version, subject, payload) in news {
                told = version;
                self.tell_retained(&subject, payload);
            }
            if last {
                return told;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;
    use crate::flow::Passed;
    use crate::pulse::Roll;
    use crate::reading::{Event, EventKind, Message, MessageId, Properties, Reading, Stamp, Value};

    type Seen = Arc<Mutex<Vec<(String, String, bool)>>>;

    struct Fixture {
        live: mpsc::Sender<Arc<Body>>,
        bulletin: Bulletin,
        seen: Seen,
        stop: oneshot::Sender<()>,
        task: tokio::task::JoinHandle<()>,
    }

    fn start() -> Fixture {
        start_with(false)
    }

    fn start_with(states_wanted: bool) -> Fixture {
        let (live, tap) = mpsc::channel(TAP_CAPACITY);
        let (bulletin, seen) = (Bulletin::default(), Seen::default());
        let (stop, stopped) = oneshot::channel::<()>();
        let publisher = Publisher {
            live: tap,
            bulletin: bulletin.clone(),
            states_wanted,
            topics: Topics::new("b", "g"),
            clock: Clock::default(),
            local: LocalPublish::new({
                let seen = Arc::clone(&seen);
                move |publish: Publish| {
                    let payload = String::from_utf8(publish.payload.to_vec()).unwrap();
                    seen.lock().unwrap().push((publish.topic.to_string(), payload, publish.retain));
                    Some(Passed { reached: 1, kept: None })
                }
            }),
            pulse: Roll::default().enter("publisher"),
        };
        let task = tokio::spawn(publisher.run(async move {
            let _ = stopped.await;
        }));
        Fixture { live, bulletin, seen, stop, task }
    }

    fn name(n: u64) -> MessageId {
        MessageId::Gateway { boot: uuid::Uuid::nil(), n }
    }

    fn reading(n: u64, clock: &Clock) -> Arc<Body> {
        let values = vec![("x".into(), Value::Decimal { mantissa: 1, exponent: 0 })];
        Arc::new(Body::Reading(Reading { device: "d".into(), id: name(n), seq: n, at: clock.now(), values }))
    }

    #[tokio::test]
    async fn online_comes_first_and_offline_last() {
        let fixture = start();
        fixture.stop.send(()).unwrap();
        fixture.task.await.unwrap();
        assert_eq!(
            *fixture.seen.lock().unwrap(),
            [("b/g/status".into(), ONLINE.into(), true), ("b/g/status".into(), OFFLINE.into(), true)]
        );
    }

    #[tokio::test]
    async fn a_reading_is_data_and_then_state() {
        for states_wanted in [false, true] {
            let fixture = start_with(states_wanted);
            fixture.live.send(reading(7, &Clock::default())).await.unwrap();
            drop(fixture.live);
            fixture.task.await.unwrap();
            let seen = fixture.seen.lock().unwrap();
            let [_online, data, state, _offline] = &seen[..] else { panic!("{seen:?}") };
            assert_eq!((data.0.as_str(), data.2), ("b/g/d/data", false));
            assert_eq!((state.0.as_str(), state.2), ("b/g/d/state", true));
            assert_eq!(data.1, state.1);
            assert!(data.1.contains(r#""seq":7,"#), "{}", data.1);
            // And bridges learn of it only where one may want it.
            let posts = fixture.bulletin.newer_than(0, 10);
            assert_eq!(
                posts.iter().any(|(_, subject, _)| *subject == Subject::State("d".into())),
                states_wanted
            );
        }
    }

    #[tokio::test]
    async fn a_reading_that_waited_on_its_board_is_late() {
        let fixture = start();
        let clock = Clock::default();
        for (n, before_us) in [(0, 0), (1, Stamp::WAITED_US - 5_000_000), (2, Stamp::WAITED_US)] {
            let Body::Reading(reading) = Arc::unwrap_or_clone(reading(n, &clock)) else { panic!() };
            let at = reading.at.plus_us(-before_us);
            fixture.live.send(Arc::new(Body::Reading(Reading { at, ..reading }))).await.unwrap();
        }
        drop(fixture.live);
        fixture.task.await.unwrap();
        let seen = fixture.seen.lock().unwrap();
        let data: Vec<_> = seen.iter().filter(|(topic, ..)| topic.ends_with("/data")).collect();
        let late: Vec<_> = data.iter().map(|(_, payload, _)| payload.contains(r#""late":true"#)).collect();
        assert_eq!(late, [false, false, true], "{data:?}");
    }

    #[tokio::test]
    async fn many_readings_are_all_published_but_only_the_newest_states() {
        for states_wanted in [false, true] {
            let fixture = start_with(states_wanted);
            let clock = Clock::default();
            for n in 0..1000 {
                fixture.live.send(reading(n, &clock)).await.unwrap();
            }
            drop(fixture.live);
            fixture.task.await.unwrap();
            let seen = fixture.seen.lock().unwrap();
            assert_eq!(seen.iter().filter(|(topic, ..)| topic.ends_with("/data")).count(), 1000);
            let states: Vec<_> = seen.iter().filter(|(topic, ..)| topic.ends_with("/state")).collect();
            assert!(states.len() < 100, "{}", states.len());
            assert!(states.last().unwrap().1.contains(r#""seq":999,"#));
        }
    }

    #[tokio::test]
    async fn events_are_told_and_lan_messages_are_not() {
        let fixture = start();
        let clock = Clock::default();
        let message = Message {
            topic: "t".into(),
            payload: bytes::Bytes::new(),
            qos: 1,
            retain: false,
            properties: Properties::default(),
            expiry: None,
        };
        let kind = EventKind::Port { path: "p".into(), state: "open".into() };
        fixture.live.send(Arc::new(Body::Message(message))).await.unwrap();
        fixture.live.send(Arc::new(Body::Event(Event { id: name(1), at: clock.now(), kind }))).await.unwrap();
        drop(fixture.live);
        fixture.task.await.unwrap();
        let seen = fixture.seen.lock().unwrap();
        let topics: Vec<_> = seen.iter().map(|(topic, ..)| topic.as_str()).collect();
        assert_eq!(topics, ["b/g/status", "b/g/event", "b/g/status"]);
    }

    #[tokio::test]
    async fn words_of_others_are_published_retained_and_withdrawn() {
        let fixture = start();
        let subject = Subject::Status("d".into());
        for word in [ONLINE, OFFLINE, ""] {
            fixture.bulletin.post(subject.clone(), word);
            let told = async {
                while !fixture.seen.lock().unwrap().iter().any(|(topic, payload, retain)| {
                    (topic.as_str(), payload.as_str(), *retain) == ("b/g/d/status", word, true)
                }) {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(5), told).await.expect("published");
        }
    }
}
