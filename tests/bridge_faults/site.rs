//! The durable half of a gateway: a queue, a bridge, and devices that say more and more.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serialgate::bridge::{Bridge, Handles, consumer};
use serialgate::config;
use serialgate::flow::{Bulletin, LocalPublish, Passed};
use serialgate::pulse::Roll;
use serialgate::queue::Queue;
use serialgate::reading::{Body, Reading, Value};
use serialgate::status::{self, Cell};
use serialgate::topic::Topics;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, sleep};

use crate::support::compare;
use crate::support::log::Arrived;

/// Between two looks at a condition.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// How many devices a site has.
pub(crate) const DEVICES: u64 = 3;

/// One gateway's queue and bridge.
pub(crate) struct Site {
    pub(crate) name: String,
    pub(crate) queue: Queue,
    status: Cell<status::Bridge>,
    pushed: Mutex<Pushed>,
    errors: Arc<Mutex<BTreeSet<String>>>,
    tasks: [JoinHandle<()>; 2],
    _stop: oneshot::Sender<()>,
    _folder: TempDir,
}

#[derive(Default)]
struct Pushed {
    next: BTreeMap<String, u64>,
    ids: BTreeSet<String>,
}

impl Site {
    /// A site whose cloud is at `broker`.
    pub(crate) fn start(name: &str, broker: SocketAddr, change: impl FnOnce(&mut config::Bridge)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config::Bridge {
            name: "cloud".into(),
            endpoint: config::Endpoint::tcp(broker),
            ..config::Bridge::default()
        };
        change(&mut config);
        let topics = Topics::new("serialgate", name);
        let file = config::Queue { path: folder.path().join("queue.db"), ..config::Config::default().queue };
        let queue = Queue::open(&file, topics.clone(), vec![consumer(&config)]).unwrap();
        let status = Cell::default();
        let handles = Handles {
            outlet: queue.outlet(0),
            queue: queue.clone(),
            bulletin: Bulletin::default(),
            local: LocalPublish::new(|_| Some(Passed::default())),
            topics,
            status: status.clone(),
            pulse: Arc::new(Roll::default().enter("bridge")),
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let bridge = tokio::spawn(Bridge::new(config, name, handles).run(async move {
            let _ = stopped.await;
        }));
        let errors = Arc::default();
        let watch = tokio::spawn(watch(status.clone(), Arc::clone(&errors)));
        Self {
            name: name.into(),
            queue,
            status,
            pushed: Mutex::default(),
            errors,
            tasks: [bridge, watch],
            _stop: stop,
            _folder: folder,
        }
    }

    /// The name of a device: no other site has one of that name.
    pub(crate) fn device(&self, device: u64) -> String {
        format!("{}-{device}", self.name)
    }

    /// One more reading of a device, with a text of so many bytes. Gives its id.
    pub(crate) fn push(&self, device: u64, bytes: usize) -> String {
        let device = self.device(device);
        let mut pushed = self.pushed.lock().unwrap();
        let next = pushed.next.entry(device.clone()).or_default();
        let seq = *next;
        *next += 1;
        let values = vec![("text".into(), Value::Text("x".repeat(bytes).into()))];
        let (id, at) = (self.queue.name(), self.queue.clock().now());
        let name = id.to_string();
        pushed.ids.insert(name.clone());
        self.queue.push(Body::Reading(Reading { device: device.as_str().into(), id, seq, at, values }));
        name
    }

    /// So many readings of each device, as fast as it goes.
    pub(crate) fn push_all(&self, each: u64) {
        for _ in 0..each {
            (0..DEVICES).for_each(|device| drop(self.push(device, 20)));
        }
    }

    /// Each device says so much a second until `over` is.
    pub(crate) async fn feed<T>(&self, per_second: u32, over: impl Future<Output = T>) -> T {
        let mut beat = interval(Duration::from_secs(1) / per_second);
        let mut over = pin!(over);
        loop {
            tokio::select! {
                over = &mut over => return over,
                _ = beat.tick() => self.push_all(1),
            }
        }
    }

    /// Ids of all readings so far.
    pub(crate) fn ids(&self) -> BTreeSet<String> {
        self.pushed.lock().unwrap().ids.clone()
    }

    /// What the bridge says of itself.
    pub(crate) fn status(&self) -> status::Bridge {
        self.status.lock().clone()
    }

    /// Whether an error with these words was in the status at some time.
    pub(crate) fn said(&self, words: &str) -> bool {
        self.errors.lock().unwrap().iter().any(|error| error.contains(words))
    }

    /// All errors so far.
    pub(crate) fn errors(&self) -> BTreeSet<String> {
        self.errors.lock().unwrap().clone()
    }

    /// Waits until `holds` does.
    pub(crate) async fn until(&self, what: &str, limit: Duration, holds: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !holds(self) {
            let told = || format!("{:?} {:?}", self.status(), self.queue.status());
            assert!(start.elapsed() < limit, "{}: never {what}: {}", self.name, told());
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Waits until the cloud has taken or refused everything.
    pub(crate) async fn until_empty(&self, limit: Duration) {
        self.until("an empty queue", limit, |site| site.queue.status().readings == 0).await;
    }

    /// Nothing is missing from `arrived`, but for the readings `refused`; each device's readings
    /// came in order, copies are copies, and the account is exact. Gives the number of copies.
    pub(crate) fn check(&self, arrived: &[Arrived], refused: &BTreeSet<String>) -> u64 {
        let mine = format!("{}-", self.name);
        let mine: Vec<_> =
            arrived.iter().filter(|reading| reading.device.starts_with(&mine)).cloned().collect();
        let expected: BTreeSet<_> = self.ids().difference(refused).cloned().collect();
        let verdict = compare(&expected, &mine);
        assert_eq!(verdict.missing, BTreeSet::new(), "{}: lost", self.name);
        assert_copies_alike(&mine);
        let unexpected: BTreeSet<_> = mine.iter().map(|reading| &reading.id).collect();
        assert_eq!(unexpected.len(), expected.len(), "{}: more than there was to send", self.name);
        let (queue, status) = (self.queue.status(), self.status());
        let (all, refused) = (self.ids().len() as u64, refused.len() as u64);
        assert_eq!(
            (queue.accepted, queue.delivered, queue.readings),
            (all, all - refused, 0),
            "{}",
            self.name
        );
        assert_eq!((queue.dropped.total(), queue.dropped.refused), (refused, refused), "{}", self.name);
        assert_eq!((status.delivered, status.refused), (all - refused, refused), "{}", self.name);
        let copies = verdict.duplicates as u64;
        let possible = status.duplicates_possible;
        assert!(copies <= possible, "{}: {copies} copies where {possible} were possible", self.name);
        copies
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Writes down each error that shows up in the status.
async fn watch(status: Cell<status::Bridge>, errors: Arc<Mutex<BTreeSet<String>>>) {
    loop {
        let error = status.lock().last_error.clone();
        errors.lock().unwrap().extend(error);
        sleep(LOOK_AGAIN).await;
    }
}

/// Two copies of a reading differ in nothing but `late`.
fn assert_copies_alike(arrived: &[Arrived]) {
    let mut first = BTreeMap::new();
    for reading in arrived {
        let mut json = reading.json.clone();
        json.as_object_mut().unwrap().remove("late");
        let original = first.entry(&reading.id).or_insert_with(|| json.clone());
        assert_eq!(*original, json, "one id, two readings");
    }
}
