//! What is left of the local broker's file after a power cut.
//!
//! The broker does one deed after the other, and its file is at each commit what its memory was at one
//! moment. So after a power cut it must be as if some number of deeds had been done and the later ones
//! never begun: all those that were acknowledged, and none that nobody did.

mod client;
mod model;
mod workload;

use std::collections::VecDeque;
use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use serialgate::broker::{Broker, News};
use serialgate::mqtt::packet::{
    Ack, Packet, PacketId, Publish, Qos, Reason, RetainHandling, Subscribe, SubscribeFilter,
};
use tempfile::TempDir;

use crate::check::{integrity, set_aside};
use crate::disk::{Disk, Files};
use crate::record::{Mark, Step};
use crate::workload::FOLDER;
use crate::{Device, Plan, RECORDINGS, fast_folder, plan, remove};
use client::{Client, settle};
use model::{FILTERS, House, PUBLISHER, RECEIPTS, SUBSCRIBERS, Session, topic};
pub(crate) use workload::{Trace, run};

/// Power cuts of the sound workload.
const STATES: usize = 800;
/// Power cuts of each control.
const CONTROL_STATES: usize = 100;
/// One of so many is anywhere, also while the file is made; the others are once clients are there.
const ANYWHERE: usize = 4;

/// Bytes at the head of SQLite's log.
const LOG_HEAD: usize = 32;

/// When a client may believe that something is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Belief {
    /// When it is acknowledged.
    Acknowledged,
    /// As soon as it is sent: wrong, to see that it is found out.
    Sent,
}

/// A promise that was not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Flaw {
    /// The file is damaged, or was not read.
    Broken(String),
    /// As if the last deeds that were acknowledged had never been done.
    Lost { deeds: usize, promised: usize },
    /// As after no number of deeds at all.
    Mixed(String),
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// How many deeds there must be, and can be.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    promised: usize,
    begun: usize,
}

impl Known {
    fn mark(&mut self, mark: Mark, belief: Belief, trace: &Trace) {
        let promised = match (mark, belief) {
            (Mark::Begun { deed }, _) => {
                self.begun = deed + 1;
                (belief == Belief::Sent).then_some(deed)
            }
            (Mark::Promised { deed }, Belief::Acknowledged) => Some(deed),
            _ => None,
        };
        let Some(deed) = promised else { return };
        // What changes nothing need not wait for the disk, and says nothing of what was before it.
        let has_changed = trace.houses[deed] != trace.houses[deed + 1];
        if has_changed && trace.houses[self.begun].needs(&trace.deeds[deed]) {
            self.promised = self.promised.max(deed + 1);
        }
    }
}

type Failures = Vec<(usize, Flaw)>;

/// Cuts the power in so many states.
fn cut(trace: &Trace, states: usize, device: Device, belief: Belief) -> Failures {
    let scratch = TempDir::new_in(fast_folder()).unwrap();
    let is_begin = |step: &Step| matches!(step, Step::Mark(Mark::Begun { .. }));
    let clients = trace.steps.iter().position(is_begin).unwrap();
    let from = |state: usize| if state.is_multiple_of(ANYWHERE) { 1 } else { clients };
    let mut plans: Vec<Plan> =
        (0..states).map(|state| plan(trace.seed, from(state)..=trace.steps.len(), state, device)).collect();
    plans.sort_by_key(|plan| plan.step);
    // Twice as many as can work: each waits for its broker's disk half of the time.
    let threads = 2 * thread::available_parallelism().map_or(1, usize::from);
    let share = plans.len().div_ceil(threads).max(1);
    thread::scope(|scope| {
        let mut running = Vec::new();
        while !plans.is_empty() {
            let mine = plans.split_off(plans.len().saturating_sub(share));
            let scratch = scratch.path();
            running.push(scope.spawn(move || cut_in_turn(trace, mine, device, belief, scratch)));
        }
        running.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

fn cut_in_turn(trace: &Trace, plans: Vec<Plan>, device: Device, belief: Belief, scratch: &Path) -> Failures {
    let mut disk = Disk::new(device == Device::Lies);
    let mut known = Known::default();
    let mut steps = trace.steps.iter().enumerate().peekable();
    let mut failures = Vec::new();
    for Plan { state, step, mut survival, in_order, mut rng } in plans {
        while let Some((_, next)) = steps.next_if(|(index, _)| *index < step) {
            disk.apply(next);
            if let Step::Mark(mark) = next {
                known.mark(*mark, belief, trace);
            }
        }
        survival.in_order = in_order.map(|thousandth| disk.pending() * thousandth / 1000);
        let files = disk.cut(&survival, &mut rng);
        let folder = scratch.join(format!("{state}"));
        // The end: nothing is lost.
        let known = if state == 0 { Known { promised: known.begun, ..known } } else { known };
        failures.extend(check(trace, known, &files, &folder).err().map(|flaw| (state, flaw)));
        remove(&folder);
    }
    failures
}

/// Opens what is left, and looks at it as clients do.
fn check(trace: &Trace, known: Known, files: &Files, folder: &Path) -> Result<(), Flaw> {
    fs::create_dir_all(folder).unwrap();
    for (path, content) in files {
        let target = folder.join(path.strip_prefix(&trace.root).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::write(target, content).unwrap();
    }
    let heard: Arc<Mutex<Option<News>>> = Arc::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let found = runtime.block_on(async {
        let heard = Arc::clone(&heard);
        let report = move |news| drop(heard.lock().unwrap().replace(news));
        let broker = workload::open(folder, "boot-1", report).await;
        let found = look(&broker).await;
        settle().await;
        broker.close();
        found
    });
    if let Some(news) = heard.lock().unwrap().take() {
        return Err(Flaw::Broken(format!("{news:?}")));
    }
    if !set_aside(folder).is_empty() {
        return Err(Flaw::Broken("set aside".into()));
    }
    if let Some(word) = integrity(&folder.join(FOLDER).join("broker.db")) {
        return Err(Flaw::Broken(word));
    }
    if trace.houses[known.promised..=known.begun].contains(&found) {
        return Ok(());
    }
    match trace.houses[..known.promised].iter().rposition(|house| *house == found) {
        Some(deeds) => Err(Flaw::Lost { deeds, promised: known.promised }),
        None => Err(Flaw::Mixed(found.difference(&trace.houses[known.promised]))),
    }
}

/// Everything that the broker has kept, as its clients get it.
async fn look(broker: &Broker) -> House {
    let mut house = House::default();
    let mut clients = Vec::new();
    for client_id in SUBSCRIBERS {
        let (mut client, is_there) = Client::enter(broker, client_id, false, u32::MAX).await;
        if is_there {
            let waiting: VecDeque<_> = client.drain().await.iter().map(content).collect();
            house.sessions.insert(client_id, Session { waiting, ..Session::default() });
            clients.push((client_id, client));
        }
    }
    let (mut publisher, is_there) = Client::enter(broker, PUBLISHER, false, u32::MAX).await;
    if is_there {
        house.sessions.insert(PUBLISHER, Session::default());
    }
    let (mut guest, _) = Client::enter(broker, "guest", true, 0).await;
    guest.say(&subscribe_to_all()).await;
    let retained = guest.drain().await;
    house.retained = retained.iter().filter(|message| message.retain).map(content).collect();
    // Who subscribes to what, shows in who gets what.
    for (filter, id) in (0..FILTERS.len()).zip(1..) {
        let probe = Publish::new(topic(filter, 99), filter.to_string(), Qos::AtLeastOnce, false);
        guest.say(&Packet::Publish(Box::new(Publish { id: PacketId::new(id), ..probe }))).await;
    }
    guest.drain().await;
    for (client_id, client) in &mut clients {
        let filters = client.drain().await;
        let filters = filters.iter().map(|message| content(message).1.parse().unwrap());
        house.sessions.get_mut(client_id).unwrap().filters = filters.collect();
    }
    for id in RECEIPTS {
        publisher.say(&Packet::PubRel(Ack::ok(PacketId::new(id).unwrap()))).await;
    }
    for _ in RECEIPTS {
        match publisher.next().await {
            Packet::PubComp(Ack { id, reason: Reason::SUCCESS }) => drop(house.received.insert(id.get())),
            Packet::PubComp(_) => {}
            other => panic!("{other:?}"),
        }
    }
    house
}

/// Whether the log was begun anew after the first deed.
fn begins_log(trace: &Trace) -> bool {
    let is_begin = |step: &Step| matches!(step, Step::Mark(Mark::Begun { .. }));
    let is_head = |step: &Step| matches!(step, Step::Write { at: 0, data, .. } if data.len() == LOG_HEAD);
    trace.steps.iter().skip_while(|step| !is_begin(step)).any(is_head)
}

fn content(message: &Publish) -> (String, String) {
    (message.topic.to_string(), String::from_utf8(message.payload.to_vec()).unwrap())
}

fn subscribe_to_all() -> Packet {
    let all = SubscribeFilter {
        filter: "#".into(),
        qos: Qos::AtLeastOnce,
        no_local: false,
        retain_as_published: false,
        retain_handling: RetainHandling::AtSubscribe,
    };
    Packet::Subscribe(Subscribe { id: PacketId::MIN, filters: vec![all], subscription_id: None })
}

/// How many of the states of a control fail, by losing something.
fn control(trace: &Trace, device: Device, belief: Belief, what: &str) -> usize {
    let failures = cut(trace, CONTROL_STATES, device, belief);
    let lost = failures.iter().filter(|(_, flaw)| matches!(flaw, Flaw::Lost { .. })).count();
    println!("broker, {what}: {} of {CONTROL_STATES} states fail, {lost} of them lose", failures.len());
    lost
}

#[test]
fn nothing_that_the_broker_has_acknowledged_is_lost() {
    let trace = &RECORDINGS.broker;
    let start = Instant::now();
    let failures = cut(trace, STATES, Device::Honest, Belief::Acknowledged);
    let (steps, deeds) = (trace.steps.len(), trace.houses.len() - 1);
    let rate = STATES as f64 / start.elapsed().as_secs_f64();
    println!("broker: {steps} steps, {deeds} deeds, {STATES} states, {rate:.0} a second");
    assert!(begins_log(trace), "the log was not written back and begun again while clients were there");
    let few: Vec<String> = failures.iter().take(5).map(|(state, flaw)| format!("{state}: {flaw}")).collect();
    assert!(failures.is_empty(), "{} of {STATES} states\n{}", failures.len(), few.join("\n"));
}

#[test]
fn a_commit_of_the_broker_that_is_not_synced_is_caught() {
    let trace = &RECORDINGS.broker_normal;
    assert!(control(trace, Device::Honest, Belief::Acknowledged, "synchronous=NORMAL") > 0);
}

#[test]
fn a_disk_that_lies_to_the_broker_is_caught() {
    let trace = &RECORDINGS.broker;
    assert!(control(trace, Device::Lies, Belief::Acknowledged, "a disk that lies") > 0);
}

#[test]
fn an_acknowledgement_before_the_commit_is_caught() {
    let trace = &RECORDINGS.broker;
    assert!(control(trace, Device::Honest, Belief::Sent, "acknowledged before the commit") > 0);
}
