//! Whether the queue kept its promise over a power cut.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serialgate::config;
use serialgate::queue::{Outlet, Queue, Taken, portable};
use serialgate::reading::{Body, Epoch, MessageId, Reading, Uid, Value};

use crate::disk::Files;
use crate::record::Mark;
use crate::workload::{self, Name, Trace, name_of};

/// Nothing takes longer than this but a hang.
const PATIENCE: Duration = Duration::from_secs(30);
const A_DAY: Duration = Duration::from_secs(86_400);

/// What the outside knew when the power went.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    durable: BTreeSet<usize>,
    acknowledged: BTreeSet<(usize, usize)>,
    told: BTreeSet<usize>,
    /// Entries below this one were there when the file was damaged.
    damaged: usize,
    newest: usize,
    was_damaged: bool,
    /// Damaged again before all had come back from a damaged file.
    amid_salvage: bool,
}

impl Known {
    pub(crate) fn mark(&mut self, mark: Mark) {
        match mark {
            Mark::Durable { entry } => {
                self.durable.insert(entry);
                self.newest = self.newest.max(entry + 1);
            }
            Mark::Acknowledged { bridge, entry } => {
                self.acknowledged.insert((bridge, entry));
                self.newest = self.newest.max(entry + 1);
            }
            Mark::Told { entry } => {
                self.told.insert(entry);
            }
            Mark::Damaged { amid_salvage } => {
                self.damaged = self.newest;
                self.was_damaged = true;
                self.amid_salvage |= amid_salvage;
            }
            // Of the broker.
            Mark::Begun { .. } | Mark::Promised { .. } => {}
        }
    }
}

/// A promise that was not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// The queue does not open.
    Refused(String),
    /// The file is damaged, and nobody but the power cut has done it.
    Corrupt(String),
    /// An entry that the queue had called durable is not there for a bridge that wants it.
    Lost { entry: usize, bridge: usize },
    /// The queue tells a board to go on behind a reading that it does not have.
    Skipped { entry: usize, bridge: usize },
    /// The queue would take a reading again that it has.
    TakenAgain { entry: usize },
    /// More entries are gone than the counters say.
    Uncounted { gone: usize, counted: u64 },
    /// A reading was given up and no event says so.
    Untold { entry: usize },
    /// An entry is there twice.
    Twice { entry: usize },
    /// Entries are not in the order in which they came.
    Disordered { entry: usize },
    /// An entry is not what it was.
    Changed { entry: String },
    /// The numbers of the status do not add up.
    Account(String),
    /// What was delivered is still there, or comes again.
    Undeleted(String),
}

impl Flaw {
    /// Whether something is gone that was promised.
    pub(crate) fn is_loss(&self) -> bool {
        matches!(self, Self::Lost { .. } | Self::Corrupt(_) | Self::Refused(_))
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// What one bridge is handed after the power cut, in order.
struct Handed {
    entries: Vec<usize>,
    told: BTreeSet<usize>,
    taken: Vec<Taken>,
}

/// One power cut.
pub(crate) struct Cut<'a> {
    pub(crate) trace: &'a Trace,
    pub(crate) known: &'a Known,
    pub(crate) files: &'a Files,
    /// The workload has ended and nothing of it is lost. Before, the word of the last losses may be.
    pub(crate) complete: bool,
    /// Whether to look a second time, after everything has been delivered.
    pub(crate) twice: bool,
    /// Whether somebody will look at the files as they were before the queue opened them.
    pub(crate) keep: bool,
}

impl Cut<'_> {
    /// Puts the files into `scratch`, an empty folder, and lets the queue go on from there.
    pub(crate) async fn check(&self, scratch: &Path) -> Vec<Flaw> {
        let mut flaws = Vec::new();
        self.unpack(scratch);
        if self.keep {
            self.unpack(&scratch.with_extension("before"));
        }
        match self.reopen(scratch) {
            Ok(queue) => self.look(&queue, &mut flaws).await,
            Err(error) => flaws.push(Flaw::Refused(error)),
        }
        if !self.known.was_damaged && !set_aside(scratch).is_empty() {
            flaws.push(Flaw::Corrupt("set aside".into()));
        }
        let file = scratch.join(workload::FOLDER).join("queue.db");
        // What the workload itself has harmed may lie where SQLite does not look while it works.
        if !self.known.was_damaged
            && let Some(word) = integrity(&file)
        {
            flaws.push(Flaw::Corrupt(word));
        }
        if self.known.was_damaged {
            // What a damaged file had comes back by and by, behind what is newer.
            let by_and_by = |flaw: &Flaw| match flaw {
                Flaw::Disordered { .. } | Flaw::Account(_) | Flaw::TakenAgain { .. } => true,
                // Whether what had come back into the file that is damaged now is whole is not known: it
                // is read once more.
                Flaw::Twice { .. } => self.known.amid_salvage,
                _ => false,
            };
            flaws.retain(|flaw| !by_and_by(flaw));
        } else if self.twice && flaws.is_empty() {
            self.look_again(scratch, &mut flaws).await;
        }
        flaws
    }

    fn unpack(&self, scratch: &Path) {
        for (path, content) in self.files {
            let target = scratch.join(path.strip_prefix(&self.trace.root).unwrap());
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            fs::write(target, content).unwrap();
        }
    }

    /// With times in which nothing happens by itself: neither a commit nor that something is too old.
    fn reopen(&self, scratch: &Path) -> Result<Queue, String> {
        let config = config::Queue {
            commit_within: Duration::from_secs(60),
            max_age: A_DAY * 10_000,
            durability: config::Durability::Late,
            ..workload::config(&self.trace.profile, scratch)
        };
        let consumers = workload::consumers(self.trace.profile.bridges);
        Queue::open(&config, workload::topics(), consumers).map_err(|error| error.to_string())
    }

    async fn look(&self, queue: &Queue, flaws: &mut Vec<Flaw>) {
        let before = queue.status();
        let resumes = workload::boards().map(|uid| {
            let resume = queue.resume(&uid, 1);
            (uid, resume.map_or(0, |resume| resume.next))
        });
        let resumes: BTreeMap<Uid, u32> = resumes.collect();
        let outlets: Vec<Outlet> = (0..self.trace.profile.bridges).map(|index| queue.outlet(index)).collect();
        let _ticket = queue.push_ticketed(sentinel()).expect("no room for one entry");
        let mut handed = Vec::new();
        for outlet in &outlets {
            handed.push(self.drain(outlet, flaws).await);
        }
        let dead = self.dead_letters(queue, flaws).await;
        let counted = self.check_given_up(&handed, &dead, before.dropped.total(), &resumes, flaws);
        self.check_resumes(&handed, &resumes, flaws);

        let status = queue.status();
        let there: BTreeSet<usize> =
            handed.iter().flat_map(|handed| handed.entries.iter().copied()).collect();
        let waiting = there.len() as u64 + 1;
        if status.readings != waiting {
            flaws.push(Flaw::Account(format!("{waiting} wait, {counted} were given up: {status:?}")));
        }
        for (outlet, handed) in outlets.iter().zip(&handed) {
            handed.taken.iter().for_each(|taken| outlet.done(taken.position));
        }
        let status = queue.status();
        if status.readings != 0 || status.accepted != status.delivered + status.dropped.total() {
            flaws.push(Flaw::Account(format!("all delivered: {status:?}")));
        }
        queue.close();
    }

    /// What is kept of that which bridges refused, as bridge and entry.
    async fn dead_letters(&self, queue: &Queue, flaws: &mut Vec<Flaw>) -> BTreeSet<(usize, usize)> {
        let (mut after, mut dead, mut all) = (None, BTreeSet::new(), 0);
        // Nobody may have looked at the bad place before: then this sets the file aside.
        let mut may_be_damaged = self.known.was_damaged;
        loop {
            let slice = match queue.dead_letters(after).await {
                Ok(slice) => slice,
                Err(_) if may_be_damaged => {
                    may_be_damaged = false;
                    (after, all) = (None, 0);
                    dead.clear();
                    continue;
                }
                Err(error) => {
                    flaws.push(Flaw::Corrupt(error.to_string()));
                    return dead;
                }
            };
            for (_, letter) in slice.letters {
                let body = portable::read(&letter.entry).expect("a dead letter that cannot be read");
                let bridge = queue.bridges().position(|bridge| *bridge == *letter.bridge).unwrap();
                all += 1;
                let Some(entry) = name_of(&body).and_then(|name| self.trace.names.get(&name)) else {
                    continue;
                };
                let original = &self.trace.entries[*entry].body;
                if !is_same(original, &body) {
                    flaws.push(Flaw::Changed { entry: format!("{original:?} has become {body:?}") });
                }
                dead.insert((bridge, *entry));
            }
            after = slice.next;
            if after.is_none() {
                break;
            }
        }
        let counted = queue.status().dead_letters;
        if counted.count != all || counted.lost > 0 {
            flaws.push(Flaw::Account(format!("{all} dead letters: {counted:?}")));
        }
        dead
    }

    /// Takes everything there is for one bridge.
    async fn drain(&self, outlet: &Outlet, flaws: &mut Vec<Flaw>) -> Handed {
        let mut handed = Handed { entries: Vec::new(), told: BTreeSet::new(), taken: Vec::new() };
        let end = name_of(&sentinel());
        let mut newest: BTreeMap<&str, u64> = BTreeMap::new();
        loop {
            tokio::time::timeout(PATIENCE, outlet.ready()).await.expect("the queue hangs");
            let taken = outlet.take(1000);
            for Taken { body, .. } in &taken {
                if name_of(body) == end {
                    continue;
                }
                let told = workload::told(body);
                handed.told.extend(told.iter().filter_map(|name| self.trace.names.get(name)));
                let Some(name) = name_of(body) else { continue };
                let Some(entry) = self.trace.names.get(&name) else {
                    flaws.push(Flaw::Changed { entry: format!("{body:?}") });
                    continue;
                };
                let original = &self.trace.entries[*entry].body;
                if !is_same(original, body) {
                    flaws.push(Flaw::Changed { entry: format!("{original:?} has become {body:?}") });
                }
                if let Body::Reading(Reading { device, seq, .. }) = original
                    && newest.insert(device, *seq).is_some_and(|before| before >= *seq)
                {
                    flaws.push(Flaw::Disordered { entry: *entry });
                }
                handed.entries.push(*entry);
            }
            let ended = taken.iter().any(|taken| name_of(&taken.body) == end);
            handed.taken.extend(taken);
            if ended {
                break;
            }
        }
        if let Some(pair) = handed.taken.windows(2).find(|pair| pair[0].position >= pair[1].position) {
            flaws.push(Flaw::Account(format!("positions fall: {pair:?}")));
        }
        let mut seen = BTreeSet::new();
        let twice = handed.entries.iter().filter(|entry| !seen.insert(**entry));
        flaws.extend(twice.map(|entry| Flaw::Twice { entry: *entry }));
        handed
    }

    /// Everything that was durable, or that a board is told not to send any more, must be there, or
    /// given up, counted and told. Gives how many were given up.
    fn check_given_up(
        &self,
        handed: &[Handed],
        dead: &BTreeSet<(usize, usize)>,
        counted: u64,
        resumes: &BTreeMap<Uid, u32>,
        flaws: &mut Vec<Flaw>,
    ) -> usize {
        let present: Vec<BTreeSet<usize>> =
            handed.iter().map(|handed| handed.entries.iter().copied().collect()).collect();
        let mut gone = BTreeSet::new();
        for (entry, content) in self.trace.entries.iter().enumerate().skip(self.known.damaged) {
            let durable = self.known.durable.contains(&entry);
            let passed = matches!(&content.body, Body::Reading(Reading { id: MessageId::Board { uid, seq, .. }, .. })
                if resumes.get(uid).is_some_and(|next| seq < next));
            if !durable && !passed {
                continue;
            }
            let missing = present.iter().enumerate().find(|(bridge, present)| {
                content.wants & (1 << bridge) != 0
                    && !present.contains(&entry)
                    && !self.known.acknowledged.contains(&(*bridge, entry))
                    && !dead.contains(&(*bridge, entry))
            });
            let Some((bridge, _)) = missing else { continue };
            gone.insert(entry);
            if self.trace.profile.gives_up {
                let told = self.known.told.contains(&entry)
                    || handed.iter().any(|handed| handed.told.contains(&entry));
                if self.complete && matches!(content.body, Body::Reading(_)) && !told {
                    flaws.push(Flaw::Untold { entry });
                }
            } else if durable {
                flaws.push(Flaw::Lost { entry, bridge });
            } else {
                flaws.push(Flaw::Skipped { entry, bridge });
            }
        }
        if self.trace.profile.gives_up && gone.len() as u64 > counted {
            flaws.push(Flaw::Uncounted { gone: gone.len(), counted });
        }
        gone.len()
    }

    /// A reading that is there must not be taken again.
    fn check_resumes(&self, handed: &[Handed], resumes: &BTreeMap<Uid, u32>, flaws: &mut Vec<Flaw>) {
        for entry in handed.iter().flat_map(|handed| &handed.entries) {
            let Body::Reading(reading) = &self.trace.entries[*entry].body else { continue };
            let MessageId::Board { uid, seq, .. } = &reading.id else { continue };
            if resumes.get(uid).is_none_or(|next| next <= seq) {
                flaws.push(Flaw::TakenAgain { entry: *entry });
            }
        }
    }

    /// After everything was delivered and the queue was closed, it is empty.
    async fn look_again(&self, scratch: &Path, flaws: &mut Vec<Flaw>) {
        let queue = match self.reopen(scratch) {
            Ok(queue) => queue,
            Err(error) => return flaws.push(Flaw::Refused(error)),
        };
        let _ticket = queue.push_ticketed(sentinel()).expect("no room for one entry");
        for index in 0..self.trace.profile.bridges {
            let handed = self.drain(&queue.outlet(index), flaws).await;
            if handed.taken.len() > 1 {
                flaws.push(Flaw::Undeleted(format!("{:?}", handed.taken)));
            }
        }
        queue.close();
    }
}

/// An entry that nothing else is like: behind it, there is nothing.
fn sentinel() -> Body {
    Body::Reading(Reading {
        device: "end".into(),
        id: MessageId::Board { uid: Uid::new(&[0xEE]).unwrap(), boot: 1, seq: 0 },
        seq: 0,
        at: serialgate::reading::Stamp::this_boot(0),
        values: vec![("end".into(), Value::Bool(true))],
    })
}

/// Equal but for the name of the boot in which it was taken. What came out of a damaged file has wall
/// time instead: the boots there are not those of the new file.
fn is_same(original: &Body, found: &Body) -> bool {
    let mut found = found.clone();
    if let (Some(at), Some(was)) = (found.stamps_mut().next(), original.at()) {
        match at.epoch {
            Epoch::Wall { .. } => *at = was,
            Epoch::ThisBoot | Epoch::Boot(_) => at.epoch = was.epoch,
        }
    }
    *original == found
}

/// Damaged files in the folder.
pub(crate) fn set_aside(scratch: &Path) -> Vec<String> {
    let Ok(folder) = fs::read_dir(scratch.join(workload::FOLDER)) else { return Vec::new() };
    let names = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains("damaged")).collect()
}

/// SQLite's own word, unless it is "ok".
pub(crate) fn integrity(file: &Path) -> Option<String> {
    let word = rusqlite::Connection::open(file).and_then(|db| {
        db.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        db.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0))
    });
    match word {
        Ok(word) if word == "ok" => None,
        Ok(word) => Some(word),
        Err(error) => Some(error.to_string()),
    }
}

/// Entries of the trace by their names, for whoever reads a failure.
pub(crate) fn describe(trace: &Trace, flaw: &Flaw) -> String {
    let entry = match flaw {
        Flaw::Lost { entry, .. }
        | Flaw::Skipped { entry, .. }
        | Flaw::TakenAgain { entry }
        | Flaw::Untold { entry }
        | Flaw::Twice { entry }
        | Flaw::Disordered { entry } => trace.entries.get(*entry).and_then(|entry| name_of(&entry.body)),
        _ => None,
    };
    match entry {
        Some(Name::Reading(id)) => format!("{flaw} (reading {id})"),
        Some(Name::Message(n)) => format!("{flaw} (message {n})"),
        None => flaw.to_string(),
    }
}
