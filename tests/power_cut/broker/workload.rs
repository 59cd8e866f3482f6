//! What clients do with the broker while its disk is recorded.
//!
//! The boot clock stands still while they do: so nothing is committed before the workload wants it,
//! and the broker does one deed after the other.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use fastrand::Rng;
use serialgate::broker::{Broker, Limits, News, NoIntake, Storage};
use serialgate::mqtt::packet::{
    Ack, Packet, PacketId, Publish, Qos, RetainHandling, Subscribe, SubscribeFilter,
};

use super::client::{Client, PATIENCE, settle};
use super::model::{Deed, FILTERS, House, PUBLISHER, RECEIPTS, SUBSCRIBERS, topic};
use crate::interpose::{self, time};
use crate::record::{Mark, Recorder, Step};
use crate::workload::FOLDER;

const ACTS: usize = 900;
/// Bytes of text in a message, at most: enough that the log is written back and begun again.
const TEXT: usize = 8000;
/// Topics of each filter.
const TOPICS: usize = 3;
/// Longer than a workload takes: only who waits makes the broker commit. In microseconds.
const COMMIT_WITHIN_US: i64 = 60_000_000;
/// Longer than changes are gathered, in microseconds.
const GATHERED_US: i64 = 3_000;

/// A workload that was done.
pub(crate) struct Trace {
    pub(crate) root: PathBuf,
    pub(crate) seed: u64,
    pub(crate) steps: Vec<Step>,
    /// What is kept after so many deeds.
    pub(crate) houses: Vec<House>,
    pub(crate) deeds: Vec<Deed>,
}

/// What somebody waits for: which answer, to which packet id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Awaited {
    PubAck(PacketId),
    PubRec(PacketId),
    PubComp(PacketId),
    SubAck(PacketId),
    UnsubAck(PacketId),
}

/// The broker with its file below `root`. `report` is told of trouble.
pub(crate) async fn open(root: &Path, boot: &str, report: impl Fn(News) + Send + 'static) -> Broker {
    let path = root.join(FOLDER).join("broker.db");
    let storage = Storage { path, commit_within_us: COMMIT_WITHIN_US, is_strict: true };
    let broker = Broker::new(Limits::default(), NoIntake).with_store(storage, boot.into(), report).unwrap();
    tokio::time::timeout(PATIENCE, broker.ready()).await.expect("the file is not read");
    broker
}

async fn open_well(root: &Path) -> Broker {
    open(root, "boot-0", |news| panic!("{news:?}")).await
}

struct Site {
    root: PathBuf,
    recorder: Arc<Recorder>,
    rng: Rng,
    broker: Broker,
    house: House,
    houses: Vec<House>,
    deeds: Vec<Deed>,
    online: BTreeMap<&'static str, Client>,
    /// Messages that a client has received and not acknowledged.
    received: BTreeMap<&'static str, Vec<PacketId>>,
    awaited: BTreeMap<(&'static str, Awaited), usize>,
    next_id: u16,
    number: usize,
    /// Whether nobody waits for the PUBREC of that packet id any more.
    is_recorded: BTreeMap<u16, bool>,
}

/// Does the workload of `seed`, in a new folder below `within`.
pub(crate) async fn run(seed: u64, within: &Path) -> Trace {
    let root = within.join(format!("broker-{seed}"));
    fs::create_dir_all(&root).unwrap();
    time::stop_at(10_000_000);
    let recorder = Arc::new(Recorder::default());
    let watching = interpose::watch(&root, Arc::clone(&recorder) as Arc<dyn interpose::Watch>);
    let mut site = Site {
        broker: open_well(&root).await,
        root,
        recorder: Arc::clone(&recorder),
        rng: Rng::with_seed(seed),
        house: House::default(),
        houses: vec![House::default()],
        deeds: Vec::new(),
        online: BTreeMap::new(),
        received: BTreeMap::new(),
        awaited: BTreeMap::new(),
        next_id: 0,
        number: 0,
        is_recorded: BTreeMap::new(),
    };
    site.begin(PUBLISHER).await;
    for _ in 0..ACTS {
        site.act().await;
    }
    site.commit().await;
    site.close().await;
    drop(watching);
    time::run_from(5_000_000);
    Trace { root: site.root, seed, steps: recorder.take(), houses: site.houses, deeds: site.deeds }
}

impl Site {
    async fn act(&mut self) {
        let client = SUBSCRIBERS[self.rng.usize(0..SUBSCRIBERS.len())];
        let filter = self.rng.usize(0..FILTERS.len());
        let is_there = self.house.sessions.contains_key(client);
        match self.rng.u8(0..100) {
            0..4 => self.begin(client).await,
            4..6 if is_there => self.end(client).await,
            0..14 if is_there => self.subscribe(client, filter).await,
            14..18 if is_there => self.unsubscribe(client, filter).await,
            18..28 if is_there => self.collect(client).await,
            28..48 => self.publish(filter, false).await,
            48..58 => self.publish(filter, true).await,
            58..62 => self.retain(filter).await,
            62..72 => self.exactly_once(filter).await,
            72..99 => self.commit().await,
            99 => self.restart().await,
            _ => {}
        }
    }

    /// A deed begins.
    fn deed(&mut self, deed: &Deed) -> usize {
        let number = self.houses.len() - 1;
        self.recorder.mark(Mark::Begun { deed: number });
        self.house.apply(deed);
        self.houses.push(self.house.clone());
        self.deeds.push(deed.clone());
        number
    }

    async fn promised(&mut self, client: &'static str, deed: &Deed, by: Awaited, packet: Packet) {
        self.connect(client).await;
        let number = self.deed(deed);
        self.awaited.insert((client, by), number);
        self.online.get_mut(client).unwrap().say(&packet).await;
        settle().await;
    }

    async fn connect(&mut self, client: &'static str) {
        if !self.online.contains_key(client) {
            let (connection, is_resumed) = Client::enter(&self.broker, client, false, u32::MAX).await;
            assert!(is_resumed, "{client}");
            self.online.insert(client, connection);
        }
    }

    /// A client's connection breaks. What it waited for it will never know.
    async fn disconnect(&mut self, client: &'static str) {
        self.online.remove(client);
        self.received.remove(client);
        self.awaited.retain(|(waits, _), _| *waits != client);
        settle().await;
    }

    fn id(&mut self) -> PacketId {
        self.next_id = self.next_id % 50_000 + 1;
        PacketId::new(self.next_id).unwrap()
    }

    fn text(&mut self) -> String {
        self.number += 1;
        let length = self.rng.usize(0..=TEXT);
        let text: String = (0..length).map(|_| self.rng.alphanumeric()).collect();
        format!("{}:{text}", self.number)
    }

    async fn begin(&mut self, client: &'static str) {
        self.disconnect(client).await;
        self.deed(&Deed::Begin { client });
        let (connection, _) = Client::enter(&self.broker, client, true, u32::MAX).await;
        self.online.insert(client, connection);
        settle().await;
    }

    async fn end(&mut self, client: &'static str) {
        self.disconnect(client).await;
        self.deed(&Deed::End { client });
        drop(Client::enter(&self.broker, client, true, 0).await);
        settle().await;
    }

    async fn subscribe(&mut self, client: &'static str, filter: usize) {
        let id = self.id();
        let wanted = SubscribeFilter {
            filter: FILTERS[filter].into(),
            qos: Qos::AtLeastOnce,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::Never,
        };
        let packet = Packet::Subscribe(Subscribe { id, filters: vec![wanted], subscription_id: None });
        self.promised(client, &Deed::Subscribe { client, filter }, Awaited::SubAck(id), packet).await;
    }

    async fn unsubscribe(&mut self, client: &'static str, filter: usize) {
        let id = self.id();
        let packet = Packet::Unsubscribe(id, vec![FILTERS[filter].into()]);
        self.promised(client, &Deed::Unsubscribe { client, filter }, Awaited::UnsubAck(id), packet).await;
    }

    /// The client reads what there is, and acknowledges some of it.
    async fn collect(&mut self, client: &'static str) {
        self.connect(client).await;
        while self.hear(client).await {}
        let received = self.received.entry(client).or_default();
        let most = received.len().min(6);
        let ids: Vec<PacketId> = received.drain(..self.rng.usize(0..=most)).collect();
        for id in ids {
            self.deed(&Deed::Collect { client });
            self.online.get_mut(client).unwrap().say(&Packet::PubAck(Ack::ok(id))).await;
            settle().await;
        }
    }

    async fn publish(&mut self, filter: usize, is_retained: bool) {
        let id = self.id();
        // Retained ones take each other's place often.
        let number = if is_retained { 0 } else { self.rng.usize(0..TOPICS) };
        let topic = topic(filter, number);
        let text = if is_retained && self.rng.u8(0..3) == 0 { String::new() } else { self.text() };
        let publish = Publish::new(&*topic, text.clone(), Qos::AtLeastOnce, is_retained);
        let packet = Packet::Publish(Box::new(Publish { id: Some(id), ..publish }));
        let deed = Deed::Publish { topic, text, is_retained };
        self.promised(PUBLISHER, &deed, Awaited::PubAck(id), packet).await;
    }

    /// With QoS 0: promises nothing, and yet takes the place of what was promised.
    async fn retain(&mut self, filter: usize) {
        self.connect(PUBLISHER).await;
        let topic = topic(filter, 0);
        let text = if self.rng.bool() { String::new() } else { self.text() };
        let publish = Publish::new(&*topic, text.clone(), Qos::AtMostOnce, true);
        self.deed(&Deed::Retain { topic, text });
        let publisher = self.online.get_mut(PUBLISHER).unwrap();
        publisher.say(&Packet::Publish(Box::new(publish))).await;
        settle().await;
    }

    /// One more of QoS 2, or the next step of one.
    async fn exactly_once(&mut self, filter: usize) {
        let number = self.rng.u16(RECEIPTS);
        let id = PacketId::new(number).unwrap();
        match self.is_recorded.get(&number) {
            None => {
                self.is_recorded.insert(number, false);
                let (topic, text) = (topic(filter, self.rng.usize(0..TOPICS)), self.text());
                let publish = Publish::new(&*topic, text.clone(), Qos::ExactlyOnce, false);
                let packet = Packet::Publish(Box::new(Publish { id: Some(id), ..publish }));
                let deed = Deed::Take { id: number, topic, text };
                self.promised(PUBLISHER, &deed, Awaited::PubRec(id), packet).await;
            }
            Some(true) => {
                self.is_recorded.insert(number, false);
                let packet = Packet::PubRel(Ack::ok(id));
                self.promised(PUBLISHER, &Deed::Release { id: number }, Awaited::PubComp(id), packet).await;
            }
            Some(false) => {}
        }
    }

    /// Reads one packet, if there is one.
    async fn hear(&mut self, client: &'static str) -> bool {
        let Some(connection) = self.online.get_mut(client) else { return false };
        let awaited = match connection.try_next().await {
            None => return false,
            Some(Packet::Publish(publish)) => {
                self.received.entry(client).or_default().extend(publish.id);
                return true;
            }
            Some(Packet::PubAck(ack)) => Awaited::PubAck(ack.id),
            Some(Packet::PubRec(ack)) => Awaited::PubRec(ack.id),
            Some(Packet::PubComp(ack)) => Awaited::PubComp(ack.id),
            Some(Packet::SubAck(id, _)) => Awaited::SubAck(id),
            Some(Packet::UnsubAck(id, _)) => Awaited::UnsubAck(id),
            Some(other) => panic!("{client}: {other:?}"),
        };
        let deed = self.awaited.remove(&(client, awaited)).expect("an answer to something");
        self.recorder.mark(Mark::Promised { deed });
        match awaited {
            Awaited::PubRec(id) => drop(self.is_recorded.insert(id.get(), true)),
            Awaited::PubComp(id) => drop(self.is_recorded.remove(&id.get())),
            Awaited::PubAck(_) | Awaited::SubAck(_) | Awaited::UnsubAck(_) => {}
        }
        true
    }

    /// Time goes on until everybody has his answer. Then some of the subscribers go.
    async fn commit(&mut self) {
        let start = Instant::now();
        while let Some((client, _)) = self.awaited.keys().next().copied() {
            time::advance(GATHERED_US);
            self.hear(client).await;
            assert!(start.elapsed() < PATIENCE, "never acknowledged: {:?}", self.awaited);
        }
        for client in SUBSCRIBERS {
            if self.rng.bool() {
                self.disconnect(client).await;
            }
        }
    }

    async fn close(&mut self) {
        for client in SUBSCRIBERS.into_iter().chain([PUBLISHER]) {
            self.disconnect(client).await;
        }
        self.broker.close();
    }

    /// The daemon is stopped and started again.
    async fn restart(&mut self) {
        self.commit().await;
        self.close().await;
        self.broker = open_well(&self.root).await;
    }
}
