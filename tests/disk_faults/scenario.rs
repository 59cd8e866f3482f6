//! A day in the life of a queue.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use serialgate::config;
use serialgate::queue::{Consumer, Order, Outlet, Queue, Safe, Ticket};
use serialgate::reading::{Body, Message, Properties};
use serialgate::status;
use serialgate::topic::{Forward, Topics};
use tokio::time::timeout;

use crate::inject::{Injector, Plan};
use crate::interpose::{self, time};

/// Nothing takes longer than this but a hang.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the queue may take for something before the clock is moved on, for it to try again.
const SOON: Duration = Duration::from_millis(10);
/// More than the longest pause between two tries, in microseconds.
const PAUSE_US: i64 = 11_000_000;
/// Commits, and how many entries are in each.
const ROUNDS: u32 = 6;
const ENTRIES: u32 = 3;
/// Bytes of an entry.
const BYTES: usize = 3000;
/// Commits before the scenario begins, so that the log is written back in the middle of it.
const ROUNDS_BEFORE: u32 = 19;

/// What is there when the scenario begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// Not even the folder.
    Nothing,
    /// A file with some entries in it.
    Backlog,
}

fn config(folder: &Path) -> config::Queue {
    config::Queue {
        path: folder.join("state/queue.db"),
        durability: config::Durability::Late,
        commit_within: Duration::from_millis(1),
        max_size: 1 << 20,
        max_readings: None,
        max_age: Duration::from_secs(86_400 * 10_000),
        when_full: config::WhenFull::DropOldest,
    }
}

fn open(folder: &Path) -> Option<Queue> {
    let consumer =
        Consumer { name: "cloud".into(), forward: Forward::Filters(vec!["#".into()]), order: Order::Oldest };
    Queue::open(&config(folder), Topics::new("serialgate", "pi"), vec![consumer]).ok()
}

/// Text that does not become much smaller by being packed.
static TEXT: LazyLock<String> = LazyLock::new(|| {
    let mut rng = fastrand::Rng::with_seed(7);
    std::iter::repeat_with(|| rng.alphanumeric()).take(100_000).collect()
});

fn message(number: u32) -> Body {
    let from = number as usize * 997 % (TEXT.len() - BYTES);
    Body::Message(Message {
        topic: "sensors/x".into(),
        payload: format!("{number}:{}", &TEXT[from..from + BYTES]).into(),
        qos: 1,
        retain: false,
        properties: Properties::default(),
        expiry: None,
    })
}

/// The number of an entry that is what it was.
fn number(body: &Body) -> Option<u32> {
    let Body::Message(Message { payload, .. }) = body else { return None };
    let number = std::str::from_utf8(payload).unwrap().split_once(':').unwrap().0.parse().unwrap();
    assert_eq!(*body, message(number), "an entry has changed");
    Some(number)
}

/// What the outside knows.
struct Outside {
    queue: Queue,
    outlet: Outlet,
    folder: PathBuf,
    next: u32,
    durable: BTreeSet<u32>,
    acknowledged: BTreeSet<u32>,
}

/// Does the scenario while calls fail as planned. Whether one did.
pub(crate) fn scenario(begin: Begin, plan: Plan, within: &Path) -> bool {
    let folder = within.join(format!("{begin:?}-{:?}-{}-{}", plan.fault, plan.calls, plan.first));
    fs::create_dir_all(&folder).unwrap();
    let first = match begin {
        Begin::Nothing => 0,
        Begin::Backlog => {
            fs::create_dir(folder.join("state")).unwrap();
            for file in fs::read_dir(within.join("template/state")).unwrap() {
                let file = file.unwrap();
                fs::copy(file.path(), folder.join("state").join(file.file_name())).unwrap();
            }
            ENTRIES * ROUNDS_BEFORE
        }
    };
    let injector = Arc::new(Injector::new(plan));
    let watching = interpose::watch(&folder, Arc::clone(&injector) as Arc<dyn interpose::Watch>);
    runtime().block_on(live(&folder, first));
    drop(watching);
    let struck = injector.has_struck();
    fs::remove_dir_all(&folder).unwrap();
    struck
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

/// Makes the file with which [`Begin::Backlog`] begins.
pub(crate) fn prepare(within: &Path) {
    let queue = open(&within.join("template")).unwrap();
    for round in 0..ROUNDS_BEFORE {
        let numbers = round * ENTRIES..(round + 1) * ENTRIES;
        let tickets: Vec<Ticket> =
            numbers.map(|number| queue.push_ticketed(message(number)).unwrap()).collect();
        for ticket in tickets {
            runtime().block_on(async { timeout(PATIENCE, ticket).await }).unwrap().unwrap();
        }
    }
    queue.close();
}

async fn live(folder: &Path, first: u32) {
    let mut outside = Outside::open(folder, first);
    for round in 0..ROUNDS {
        outside.push_and_wait().await;
        outside.check_account();
        if round % 3 == 2 {
            outside.deliver(5).await;
            outside.check_account();
        }
    }
    outside.close();
    // It may be that the end of the fault comes only now.
    let mut outside = outside.reopen();
    outside.push_and_wait().await;
    outside.receive_all().await;
    outside.check_account();
    outside.close();
}

impl Outside {
    fn open(folder: &Path, first: u32) -> Self {
        let queue = patiently(folder);
        Self {
            outlet: queue.outlet(0),
            queue,
            folder: folder.to_owned(),
            next: first,
            durable: (0..first).collect(),
            acknowledged: BTreeSet::new(),
        }
    }

    fn reopen(self) -> Self {
        let queue = patiently(&self.folder);
        Self { outlet: queue.outlet(0), queue, ..self }
    }

    /// Entries come and must become safe, if only after some tries.
    async fn push_and_wait(&mut self) {
        let mut tickets = Vec::new();
        for _ in 0..ENTRIES {
            tickets.push((self.next, self.queue.push_ticketed(message(self.next)).expect("no room")));
            self.next += 1;
        }
        for (number, mut ticket) in tickets {
            let start = Instant::now();
            let safe = loop {
                match timeout(SOON, &mut ticket).await {
                    Ok(safe) => break safe.expect("an entry that never becomes safe"),
                    Err(_) => self.try_again(start),
                }
            };
            assert_eq!(safe, Safe::Durable);
            self.durable.insert(number);
        }
    }

    /// Time passes, and the storage thread is called.
    fn try_again(&self, start: Instant) {
        assert!(start.elapsed() < PATIENCE, "the queue hangs: {:?}", self.queue.status());
        time::skip(PAUSE_US);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        // Whoever waits for entries calls the storage thread when it has slept too long.
        let _ = std::pin::pin!(self.outlet.ready()).poll(&mut context);
    }

    /// The cloud gets some entries.
    async fn deliver(&mut self, most: usize) {
        let start = Instant::now();
        while timeout(SOON, self.outlet.ready()).await.is_err() {
            self.try_again(start);
        }
        for taken in self.outlet.take(most) {
            if let Some(number) = number(&taken.body) {
                self.acknowledged.insert(number);
            }
            self.outlet.done(taken.position);
        }
    }

    /// All that was durable and not acknowledged comes, if only after some tries.
    async fn receive_all(&mut self) {
        let start = Instant::now();
        let mut expected: BTreeSet<u32> = self.durable.difference(&self.acknowledged).copied().collect();
        let mut seen = BTreeSet::new();
        while !expected.is_empty() {
            if timeout(SOON, self.outlet.ready()).await.is_err() {
                assert!(start.elapsed() < PATIENCE, "lost: {expected:?}, {:?}", self.queue.status());
                self.try_again(start);
                continue;
            }
            for taken in self.outlet.take(100) {
                if let Some(number) = number(&taken.body) {
                    assert!(seen.insert(number) || self.was_damaged(), "{number} comes twice");
                    expected.remove(&number);
                }
                self.outlet.done(taken.position);
            }
        }
        self.acknowledged.clone_from(&self.durable);
    }

    /// A file whose reading fails for long enough is given up, and what it has is brought back.
    fn was_damaged(&self) -> bool {
        let names = fs::read_dir(self.folder.join("state")).unwrap();
        names.into_iter().any(|name| name.unwrap().file_name().to_string_lossy().contains("damaged"))
    }

    fn check_account(&self) {
        let status::Queue { accepted, delivered, dropped, readings, .. } = self.queue.status();
        assert_eq!(accepted, delivered + dropped.total() + readings);
        assert_eq!(dropped.total(), 0, "nothing had to be dropped: {dropped:?}");
    }

    fn close(&self) {
        self.queue.close();
    }
}

/// A disk in trouble may refuse even that; then again.
fn patiently(folder: &Path) -> Queue {
    let start = Instant::now();
    loop {
        if let Some(queue) = open(folder) {
            return queue;
        }
        assert!(start.elapsed() < PATIENCE, "the queue does not open");
    }
}
