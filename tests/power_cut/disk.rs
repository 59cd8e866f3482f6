//! A disk that loses its power.
//!
//! What was synced is there. Of what came later, any part may be: of a write any of its sectors, of
//! two writes to one sector the older or the newer, a change of length or not, a name in a folder or
//! not. Within a file, lengths change in order, as file systems journal them; between files, and
//! between names, there is no order.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fastrand::Rng;

use crate::record::{NameStep, Step};

/// What a disk writes whole or not at all, in bytes.
const SECTOR: usize = 512;

/// The disk as it is known at some step of a recording.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    names: BTreeMap<PathBuf, Node>,
    names_pending: Vec<(usize, NameStep)>,
    files: Vec<File>,
    step: usize,
    /// It says that it has synced, and has not.
    lies: bool,
}

#[derive(Clone, Copy)]
enum Node {
    File(usize),
    Folder,
}

#[derive(Clone, Default)]
struct File {
    synced: Vec<u8>,
    newest: Vec<u8>,
    pending: Vec<(usize, Change)>,
}

#[derive(Clone)]
enum Change {
    Write { at: usize, data: Arc<[u8]> },
    Truncate { length: usize },
}

/// What survives of the steps that were not synced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Survival {
    /// The chance of a sector.
    pub(crate) sectors: f64,
    /// The chance of a name.
    pub(crate) names: f64,
    /// All of the last so many steps may be lost; what is older has been written by itself.
    pub(crate) recent: usize,
    /// All but the last so many steps survive, and of the first of these a part, but no later one.
    pub(crate) in_order: Option<usize>,
}

/// The files there are after a power cut: name and content.
pub(crate) type Files = Vec<(PathBuf, Vec<u8>)>;

impl Disk {
    pub(crate) fn new(lies: bool) -> Self {
        Self { lies, ..Self::default() }
    }

    /// Goes one step on.
    pub(crate) fn apply(&mut self, step: &Step) {
        self.step += 1;
        match step {
            Step::Write { file, at, data } => {
                let change = Change::Write { at: *at, data: Arc::clone(data) };
                self.change(*file, change);
            }
            Step::Truncate { file, length } => self.change(*file, Change::Truncate { length: *length }),
            Step::Sync { .. } | Step::SyncFolder { .. } if self.lies => {}
            Step::Sync { file } => {
                let file = self.file(*file);
                file.pending.clear();
                file.synced.clone_from(&file.newest);
            }
            Step::SyncFolder { folder } => {
                let pending = std::mem::take(&mut self.names_pending);
                let (synced, pending) = pending
                    .into_iter()
                    .partition(|(_, name)| name.folder().is_some_and(|changed| changed == folder));
                self.names_pending = pending;
                let synced: Vec<(usize, NameStep)> = synced;
                synced.iter().for_each(|(_, name)| apply_name(&mut self.names, name));
            }
            Step::Name(name) => self.names_pending.push((self.step, name.clone())),
            Step::Mark(_) => {}
        }
    }

    fn file(&mut self, file: usize) -> &mut File {
        if self.files.len() <= file {
            self.files.resize_with(file + 1, File::default);
        }
        &mut self.files[file]
    }

    fn change(&mut self, file: usize, change: Change) {
        let step = self.step;
        let file = self.file(file);
        change.apply(&mut file.newest);
        file.pending.push((step, change));
    }

    /// How many steps are not synced.
    pub(crate) fn pending(&self) -> usize {
        self.names_pending.len() + self.files.iter().map(|file| file.pending.len()).sum::<usize>()
    }

    /// What is on the disk when the power comes back.
    pub(crate) fn cut(&self, survival: &Survival, rng: &mut Rng) -> Files {
        let settled = self.step.saturating_sub(survival.recent);
        let last = survival.in_order.map(|lost| self.in_order(lost));
        let mut names = self.names.clone();
        for (step, name) in &self.names_pending {
            let survives = match last {
                _ if *step <= settled => true,
                Some(last) => *step <= last,
                None => rng.f64() < survival.names,
            };
            if survives {
                apply_name(&mut names, name);
            }
        }
        let files = names.iter().filter_map(|(path, node)| match node {
            Node::File(file) if folders_exist(&names, path) => Some((path.clone(), *file)),
            Node::File(_) | Node::Folder => None,
        });
        files
            .map(|(path, file)| {
                let content = self.files.get(file).map(|file| file.cut(settled, last, survival.sectors, rng));
                (path, content.unwrap_or_default())
            })
            .collect()
    }

    /// The last step that survives when all but the last `lost` that are not synced do.
    fn in_order(&self, lost: usize) -> usize {
        let mut steps: Vec<usize> = self.names_pending.iter().map(|(step, _)| *step).collect();
        steps.extend(self.files.iter().flat_map(|file| file.pending.iter().map(|(step, _)| *step)));
        steps.sort_unstable();
        steps.len().checked_sub(lost + 1).map_or(0, |index| steps[index])
    }
}

/// Whether the folders in which `path` was made are there. The outermost one is always.
fn folders_exist(names: &BTreeMap<PathBuf, Node>, path: &Path) -> bool {
    match path.parent() {
        Some(folder) if names.contains_key(folder) => true,
        // A folder that was never made by the workload has been there before.
        Some(folder) => !folder.ends_with(crate::workload::FOLDER),
        None => true,
    }
}

fn apply_name(names: &mut BTreeMap<PathBuf, Node>, step: &NameStep) {
    match step {
        NameStep::Create { path, file } => {
            names.insert(path.clone(), Node::File(*file));
        }
        NameStep::MakeFolder { path } => {
            names.insert(path.clone(), Node::Folder);
        }
        NameStep::Rename { from, to } => {
            if let Some(node) = names.remove(from) {
                names.insert(to.clone(), node);
            }
        }
        NameStep::Unlink { path } => {
            names.remove(path);
        }
    }
}

impl File {
    /// `settled`: steps up to this one survive. `last`: none after this one does, all before do.
    fn cut(&self, settled: usize, last: Option<usize>, sectors: f64, rng: &mut Rng) -> Vec<u8> {
        let mut newest = self.synced.clone();
        let mut left = self.synced.clone();
        let mut length = self.synced.len();
        // Lengths survive up to some change.
        let known = self.pending.partition_point(|(step, _)| *step <= settled);
        let lengths = match last {
            Some(last) => self.pending.partition_point(|(step, _)| *step <= last).max(known),
            None if sectors >= 1.0 => self.pending.len(),
            None if sectors <= 0.0 => known,
            None => rng.usize(known..=self.pending.len()),
        };
        for (index, (step, change)) in self.pending.iter().enumerate() {
            change.apply(&mut newest);
            let length_survives = index < lengths;
            if length_survives {
                length = newest.len();
            }
            match change {
                Change::Truncate { length } if length_survives => left.resize(*length, 0),
                Change::Truncate { .. } => {}
                Change::Write { at, data } => {
                    let chance = match last {
                        _ if *step <= settled => 1.0,
                        Some(last) if *step < last => 1.0,
                        // The last one is torn.
                        Some(last) if *step == last => 0.5,
                        Some(_) => 0.0,
                        None => sectors,
                    };
                    for sector in at / SECTOR..(at + data.len()).div_ceil(SECTOR) {
                        if rng.f64() < chance {
                            keep(&mut left, &newest, sector);
                        }
                    }
                }
            }
        }
        left.resize(length, 0);
        left
    }
}

fn keep(left: &mut Vec<u8>, newest: &[u8], sector: usize) {
    let from = sector * SECTOR;
    let to = (from + SECTOR).min(newest.len());
    if left.len() < to {
        left.resize(to, 0);
    }
    left[from..to].copy_from_slice(&newest[from..to]);
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { at, data } => {
                let end = at + data.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[*at..end].copy_from_slice(data);
            }
            Self::Truncate { length } => content.resize(*length, 0),
        }
    }
}
