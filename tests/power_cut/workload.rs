//! What is done with the queue while its disk is recorded: the real code through its public side.
//!
//! The boot clock stands still and moves only when the workload says so. So the storage thread
//! commits exactly what the workload wants to be in one commit, and a seed gives the same steps each
//! time.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use serialgate::config;
use serialgate::queue::core::SAVE_WITHIN_US;
use serialgate::queue::restore::left_over;
use serialgate::queue::{Consumer, Order, Outlet, Queue, Safe, Taken, Ticket};
use serialgate::reading::{
    Body, EventKind, Loss, Message, MessageId, Properties, Reading, Uid, Value, Whose,
};
use serialgate::topic::{Forward, Topics};

use crate::interpose::{self, time};
use crate::record::{Mark, Recorder, Step};

/// The folder that the queue makes for its file.
pub(crate) const FOLDER: &str = "state";
/// Nothing takes longer than this but a hang.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a load from disk may take before the workload goes on without it.
const LOAD: Duration = Duration::from_millis(50);
const COMMIT_WITHIN: Duration = Duration::from_millis(1);
/// Acknowledgements after which the queue saves its cursors at once.
const SAVE_AFTER: usize = 500;
/// Names of the boards. Each is a device of its own.
const BOARDS: [&str; 3] = ["north", "south", "shed"];

/// A thing that a workload does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Some entries come, and are held in memory.
    Push,
    /// The time comes to commit what is held.
    Commit,
    /// A bridge takes entries, and the cloud has the oldest of what it took.
    Deliver,
    /// The cloud acknowledges in any order.
    DeliverMixed,
    /// The cloud can never take one.
    Refuse,
    /// A connection is lost.
    Rewind,
    /// So many are acknowledged that cursors are saved while a reading is held in memory.
    SaveAmid,
    /// Cursors are saved because nothing else happens.
    SaveIdle,
    /// The daemon is stopped and started again.
    Restart,
    /// The machine is.
    Reboot,
    /// The file is damaged while the daemon is down.
    Damage,
    /// Time passes, more than `max_age` of the workload that has one.
    Age,
}

/// A kind of workload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Profile {
    pub(crate) name: &'static str,
    /// Power cuts that it is put through.
    pub(crate) states: usize,
    pub(crate) acts: usize,
    /// What is done, and how often compared with the rest.
    pub(crate) weights: &'static [(Act, u32)],
    /// Bridges: the first wants everything, the second readings only.
    pub(crate) bridges: usize,
    pub(crate) max_size: u64,
    /// Whether the limits make the queue give entries up.
    pub(crate) gives_up: bool,
    pub(crate) max_age: Duration,
    pub(crate) when_full: config::WhenFull,
    pub(crate) durability: config::Durability,
    /// Bytes of text in each entry, at most.
    pub(crate) text: usize,
}

/// An entry that the queue has taken.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) body: Body,
    /// The bridges that want it, one bit each.
    pub(crate) wants: u32,
}

/// A workload that was done.
pub(crate) struct Trace {
    pub(crate) profile: Profile,
    pub(crate) seed: u64,
    pub(crate) root: PathBuf,
    pub(crate) steps: Vec<Step>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) names: BTreeMap<Name, usize>,
    pub(crate) full_syncs: usize,
}

/// What tells entries from each other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Name {
    Reading(MessageId),
    Message(u32),
}

pub(crate) fn name_of(body: &Body) -> Option<Name> {
    match body {
        Body::Reading(reading) => Some(Name::Reading(reading.id.clone())),
        Body::Message(message) => {
            let text = std::str::from_utf8(&message.payload).ok()?;
            Some(Name::Message(text.split_once(':')?.0.parse().ok()?))
        }
        Body::Event(_) => None,
    }
}

pub(crate) fn config(profile: &Profile, root: &Path) -> config::Queue {
    config::Queue {
        path: root.join(FOLDER).join("queue.db"),
        durability: profile.durability,
        commit_within: COMMIT_WITHIN,
        max_size: profile.max_size,
        max_readings: None,
        max_age: profile.max_age,
        when_full: profile.when_full,
    }
}

pub(crate) fn topics() -> Topics {
    Topics::new("serialgate", "pi")
}

pub(crate) fn consumers(bridges: usize) -> Vec<Consumer> {
    let readings = topics().data("+");
    let all = [("everything", "#"), ("readings", &*readings)];
    let consumer = |(name, filter): &(&str, &str)| Consumer {
        name: (*name).into(),
        forward: Forward::Filters(vec![(*filter).into()]),
        order: Order::Oldest,
    };
    all.iter().take(bridges).map(consumer).collect()
}

/// Does `profile` with `seed`, in a new folder below `within`.
pub(crate) async fn run(profile: Profile, seed: u64, within: &Path) -> Trace {
    let root = within.join(format!("{}-{seed}", profile.name));
    fs::create_dir_all(&root).unwrap();
    let boot_id = within.join("boot-id");
    time::stop_at(10_000_000);
    time::set_boot_id(&boot_id, "boot-0");
    let recorder = Arc::new(Recorder::default());
    let watching = interpose::watch(&root, Arc::clone(&recorder) as Arc<dyn interpose::Watch>);
    let mut site = Site::new(profile, seed, &root, boot_id, Arc::clone(&recorder));
    let total: u32 = profile.weights.iter().map(|(_, weight)| weight).sum();
    for _ in 0..profile.acts {
        let mut draw = site.rng.u32(0..total);
        let act = profile.weights.iter().find(|(_, weight)| {
            let hit = draw < *weight;
            draw = draw.saturating_sub(*weight);
            hit
        });
        site.act(act.unwrap().0).await;
    }
    site.stop();
    drop(watching);
    time::run_from(5_000_000);
    let names = site.entries.iter().enumerate().filter_map(|(index, e)| Some((name_of(&e.body)?, index)));
    Trace {
        profile,
        seed,
        names: names.collect(),
        root,
        steps: recorder.take(),
        entries: site.entries,
        full_syncs: recorder.full_syncs(),
    }
}

struct Board {
    uid: Uid,
    device: Arc<str>,
    next: u32,
}

/// The queue, its boards and its clouds.
struct Site {
    profile: Profile,
    root: PathBuf,
    boot_id: PathBuf,
    boots: u32,
    recorder: Arc<Recorder>,
    rng: Rng,
    queue: Queue,
    outlets: Vec<Outlet>,
    /// What each bridge took and the cloud has not acknowledged.
    out: Vec<VecDeque<Taken>>,
    entries: Vec<Entry>,
    names: BTreeMap<Name, usize>,
    messages: u32,
    boards: Vec<Board>,
    tickets: Vec<(usize, Ticket)>,
}

fn open(profile: &Profile, root: &Path) -> (Queue, Vec<Outlet>) {
    let queue = Queue::open(&config(profile, root), topics(), consumers(profile.bridges)).unwrap();
    let outlets = (0..profile.bridges).map(|index| queue.outlet(index)).collect();
    (queue, outlets)
}

impl Site {
    fn new(profile: Profile, seed: u64, root: &Path, boot_id: PathBuf, recorder: Arc<Recorder>) -> Self {
        let (queue, outlets) = open(&profile, root);
        let boards = BOARDS.iter().zip(1u8..).map(|(device, n)| Board {
            uid: Uid::new(&[n; 4]).unwrap(),
            device: (*device).into(),
            next: 0,
        });
        Self {
            profile,
            root: root.to_owned(),
            boot_id,
            boots: 0,
            recorder,
            rng: Rng::with_seed(seed),
            queue,
            out: outlets.iter().map(|_| VecDeque::new()).collect(),
            outlets,
            entries: Vec::new(),
            names: BTreeMap::new(),
            messages: 0,
            boards: boards.collect(),
            tickets: Vec::new(),
        }
    }

    async fn act(&mut self, act: Act) {
        let bridge = self.rng.usize(0..self.outlets.len());
        match act {
            Act::Push => (0..self.rng.usize(1..=12)).for_each(|_| self.push()),
            Act::Commit => self.commit().await,
            Act::Deliver => {
                self.take(bridge, 40).await;
                for _ in 0..self.rng.usize(0..=self.out[bridge].len()) {
                    self.acknowledge(bridge, 0);
                }
            }
            Act::DeliverMixed => {
                self.take(bridge, 40).await;
                for _ in 0..self.rng.usize(0..=self.out[bridge].len()) {
                    let index = self.rng.usize(0..self.out[bridge].len());
                    self.acknowledge(bridge, index);
                }
            }
            Act::Refuse => self.refuse(bridge),
            Act::Rewind => self.rewind(bridge),
            Act::SaveAmid => self.save_amid(bridge).await,
            Act::SaveIdle => self.save_idle(bridge).await,
            Act::Restart => self.restart(|_| ()),
            Act::Reboot => self.restart(Self::reboot),
            Act::Damage => self.restart(Self::damage),
            Act::Age => {
                self.commit().await;
                time::advance(i64::try_from(self.profile.max_age.as_micros()).unwrap() / 3);
            }
        }
    }

    fn push(&mut self) {
        let text: String =
            (0..self.rng.usize(0..=self.profile.text)).map(|_| self.rng.alphanumeric()).collect();
        let board = self.rng.usize(0..=self.boards.len());
        let (body, wants) = match self.boards.get(board) {
            Some(Board { uid, device, next }) => {
                let reading = Reading {
                    device: Arc::clone(device),
                    id: MessageId::Board { uid: uid.clone(), boot: 1, seq: *next },
                    seq: u64::from(*next),
                    at: self.queue.clock().now(),
                    values: vec![
                        ("temp".into(), Value::Decimal { mantissa: self.rng.i64(-400..9000), exponent: -2 }),
                        ("note".into(), Value::Text(text.into())),
                    ],
                };
                (Body::Reading(reading), 0b11)
            }
            None => (message(self.messages, &text), 0b01),
        };
        // A board keeps what is not taken, and sends it again with the same number.
        let Ok(ticket) = self.queue.push_ticketed(body.clone()) else { return };
        match self.boards.get_mut(board) {
            Some(board) => board.next += 1,
            None => self.messages += 1,
        }
        let entry = self.entries.len();
        self.names.insert(name_of(&body).unwrap(), entry);
        self.entries.push(Entry { body, wants: wants & ((1 << self.outlets.len()) - 1) });
        self.tickets.push((entry, ticket));
    }

    async fn commit(&mut self) {
        time::advance(i64::try_from(COMMIT_WITHIN.as_micros()).unwrap() * 2);
        for (entry, ticket) in std::mem::take(&mut self.tickets) {
            let safe = tokio::time::timeout(PATIENCE, ticket).await;
            if safe.expect("the queue hangs").expect("an entry that never becomes safe") == Safe::Durable {
                self.recorder.mark(Mark::Durable { entry });
            }
        }
    }

    async fn take(&mut self, bridge: usize, most: usize) {
        let outlet = &self.outlets[bridge];
        if outlet.backlog() > self.out[bridge].len() as u64
            && tokio::time::timeout(LOAD, outlet.ready()).await.is_ok()
        {
            self.out[bridge].extend(outlet.take(most));
        }
    }

    /// The cloud has what stands at `index` of all that was taken.
    fn acknowledge(&mut self, bridge: usize, index: usize) {
        let taken = self.out[bridge].remove(index).unwrap();
        self.mark_settled(bridge, &taken);
        self.outlets[bridge].done(taken.position);
    }

    fn refuse(&mut self, bridge: usize) {
        if let Some(taken) = self.out[bridge].pop_front() {
            self.mark_settled(bridge, &taken);
            self.outlets[bridge].refused(taken.position, &taken.body);
        }
    }

    fn mark_settled(&mut self, bridge: usize, taken: &Taken) {
        if let Some(name) = name_of(&taken.body) {
            self.recorder.mark(Mark::Acknowledged { bridge, entry: self.names[&name] });
        }
        for name in told(&taken.body) {
            if let Some(entry) = self.names.get(&name) {
                self.recorder.mark(Mark::Told { entry: *entry });
            }
        }
    }

    fn rewind(&mut self, bridge: usize) {
        self.outlets[bridge].rewind();
        self.out[bridge].clear();
    }

    /// Waits until the storage thread writes.
    async fn written(&self, before: usize) {
        let start = Instant::now();
        while self.recorder.writes() == before && start.elapsed() < LOAD {
            tokio::task::yield_now().await;
        }
    }

    async fn save_amid(&mut self, bridge: usize) {
        self.commit().await;
        while self.out[bridge].len() <= SAVE_AFTER {
            let had = self.out[bridge].len();
            self.take(bridge, SAVE_AFTER).await;
            if self.out[bridge].len() == had {
                return;
            }
        }
        let before = self.recorder.writes();
        self.push();
        for _ in 0..=SAVE_AFTER {
            self.acknowledge(bridge, 0);
        }
        self.written(before).await;
    }

    async fn save_idle(&mut self, bridge: usize) {
        self.commit().await;
        self.take(bridge, 20).await;
        if self.out[bridge].is_empty() {
            return;
        }
        let before = self.recorder.writes();
        self.acknowledge(bridge, 0);
        time::advance(SAVE_WITHIN_US + 100_000);
        // The storage thread sleeps, on a clock that stands. Being asked for a load wakes it.
        self.rewind(bridge);
        self.take(bridge, 1).await;
        self.written(before).await;
    }

    fn stop(&mut self) {
        self.outlets.clear();
        self.queue.close();
        self.out.iter_mut().for_each(VecDeque::clear);
        for (entry, mut ticket) in std::mem::take(&mut self.tickets) {
            if ticket.try_recv().expect("an entry that is not safe after the end") == Safe::Durable {
                self.recorder.mark(Mark::Durable { entry });
            }
        }
    }

    fn restart(&mut self, meanwhile: impl FnOnce(&mut Self)) {
        self.stop();
        meanwhile(self);
        (self.queue, self.outlets) = open(&self.profile, &self.root);
    }

    fn reboot(&mut self) {
        self.boots += 1;
        time::set_boot_id(&self.boot_id, &format!("boot-{}", self.boots));
        time::stop_at(5_000_000);
    }

    /// Damages the file, its log, or both.
    fn damage(&mut self) {
        let file = config(&self.profile, &self.root).path;
        self.recorder.mark(Mark::Damaged { amid_salvage: !left_over(&file).is_empty() });
        let log = file.with_file_name("queue.db-wal");
        for (file, whether) in [(&file, self.rng.u8(..) & 3 != 0), (&log, self.rng.bool())] {
            let Ok(mut content) = fs::read(file) else { continue };
            if !whether || content.is_empty() {
                continue;
            }
            let from = self.rng.usize(0..content.len().min(2000));
            let to = (from + self.rng.usize(1..4000)).min(content.len());
            content[from..to].iter_mut().for_each(|byte| *byte = self.rng.u8(..));
            let length = if self.rng.bool() { content.len() } else { self.rng.usize(0..content.len()) };
            fs::write(file, &content[..length]).unwrap();
            fs::File::options().write(true).open(file).unwrap().sync_data().unwrap();
        }
    }
}

pub(crate) fn message(number: u32, text: &str) -> Body {
    Body::Message(Message {
        topic: "sensors/x".into(),
        payload: format!("{number}:{text}").into(),
        qos: 1,
        retain: false,
        properties: Properties::default(),
        expiry: None,
    })
}

/// The readings that an event says are lost.
pub(crate) fn told(body: &Body) -> Vec<Name> {
    let Body::Event(event) = body else { return Vec::new() };
    let EventKind::Lost(Loss { of: Whose::Device { device, from_seq, to_seq, .. }, .. }) = &event.kind else {
        return Vec::new();
    };
    let board = BOARDS.iter().zip(1u8..).find(|(name, _)| ***name == **device);
    let Some((_, n)) = board else { return Vec::new() };
    let uid = Uid::new(&[n; 4]).unwrap();
    (*from_seq..=*to_seq)
        .map(|seq| MessageId::Board { uid: uid.clone(), boot: 1, seq: u32::try_from(seq).unwrap() })
        .map(Name::Reading)
        .collect()
}

pub(crate) fn boards() -> impl Iterator<Item = Uid> {
    BOARDS.iter().zip(1u8..).map(|(_, n)| Uid::new(&[n; 4]).unwrap())
}
