//! What a workload did to the disk, call by call, and what it was told in between.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::interpose::{Call, Verdict, Watch};

/// One step of a workload. Files have numbers, because names change.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Write { file: usize, at: usize, data: Arc<[u8]> },
    Truncate { file: usize, length: usize },
    Sync { file: usize },
    Name(NameStep),
    SyncFolder { folder: PathBuf },
    Mark(Mark),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write { file, at, data } => write!(f, "file {file}: write {} bytes at {at}", data.len()),
            Self::Truncate { file, length } => write!(f, "file {file}: cut to {length} bytes"),
            Self::Sync { file } => write!(f, "file {file}: sync"),
            Self::Name(name) => write!(f, "{name:?}"),
            Self::SyncFolder { folder } => write!(f, "sync {}", folder.display()),
            Self::Mark(mark) => write!(f, "{mark:?}"),
        }
    }
}

/// A change in a folder.
#[derive(Clone, Debug)]
pub(crate) enum NameStep {
    Create { path: PathBuf, file: usize },
    MakeFolder { path: PathBuf },
    Rename { from: PathBuf, to: PathBuf },
    Unlink { path: PathBuf },
}

impl NameStep {
    /// The folder that must be synced for it to last.
    pub(crate) fn folder(&self) -> Option<&Path> {
        match self {
            Self::Create { path, .. } | Self::MakeFolder { path } | Self::Unlink { path } => path.parent(),
            Self::Rename { to, .. } => to.parent(),
        }
    }
}

/// What the outside knows from here on. Entries are numbered in the order in which they were pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// The entry's ticket said that it is on disk.
    Durable { entry: usize },
    /// The cloud behind the bridge has the entry.
    Acknowledged { bridge: usize, entry: usize },
    /// The cloud behind a bridge has heard that a reading was given up.
    Told { entry: usize },
    /// The file was damaged: what was in it is not the queue's fault any more. `amid_salvage`: while
    /// an earlier one was not read to its end.
    Damaged { amid_salvage: bool },
    /// A client of the broker does something; all that it did before is numbered.
    Begun { deed: usize },
    /// The broker has acknowledged that.
    Promised { deed: usize },
}

/// Records the calls below a folder.
#[derive(Default)]
pub(crate) struct Recorder(Mutex<Recording>);

#[derive(Default)]
struct Recording {
    steps: Vec<Step>,
    names: BTreeMap<PathBuf, usize>,
    files: usize,
    handles: BTreeMap<u64, Target>,
    full_syncs: usize,
}

#[derive(Clone)]
enum Target {
    File(usize),
    Folder(PathBuf),
}

impl Recorder {
    pub(crate) fn mark(&self, mark: Mark) {
        self.lock().steps.push(Step::Mark(mark));
    }

    /// How many writes there were so far.
    pub(crate) fn writes(&self) -> usize {
        self.lock().steps.iter().filter(|step| matches!(step, Step::Write { .. })).count()
    }

    /// How often the queue's file or its log was synced with `fsync`.
    pub(crate) fn full_syncs(&self) -> usize {
        self.lock().full_syncs
    }

    pub(crate) fn take(&self) -> Vec<Step> {
        std::mem::take(&mut self.lock().steps)
    }

    fn lock(&self) -> MutexGuard<'_, Recording> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch for Recorder {
    fn before(&self, _: Call<'_>) -> Verdict {
        Verdict::Pass
    }

    fn after(&self, call: Call<'_>) {
        let mut recording = self.lock();
        if let Some(step) = recording.step(call) {
            recording.steps.push(step);
        }
    }
}

impl Recording {
    fn step(&mut self, call: Call<'_>) -> Option<Step> {
        match call {
            Call::Open { handle, path, creates, .. } => {
                if creates {
                    let file = self.files;
                    self.files += 1;
                    self.names.insert(path.to_owned(), file);
                    self.handles.insert(handle, Target::File(file));
                    return Some(Step::Name(NameStep::Create { path: path.to_owned(), file }));
                }
                let known = self.names.get(path).copied();
                self.handles.insert(handle, known.map_or(Target::Folder(path.to_owned()), Target::File));
                None
            }
            Call::Read { .. } => None,
            Call::Write { handle, at, data } => {
                Some(Step::Write { file: self.file(handle)?, at: to_usize(at), data: data.into() })
            }
            Call::Truncate { handle, length } => {
                Some(Step::Truncate { file: self.file(handle)?, length: to_usize(length) })
            }
            Call::Sync { handle, data_only } => match self.handles.get(&handle).cloned()? {
                Target::File(file) => {
                    let is_queue = |path: &Path| path.ends_with("queue.db") || path.ends_with("queue.db-wal");
                    let name = self.names.iter().find(|(_, other)| **other == file);
                    self.full_syncs +=
                        usize::from(!data_only && name.is_some_and(|(path, _)| is_queue(path)));
                    Some(Step::Sync { file })
                }
                Target::Folder(folder) => Some(Step::SyncFolder { folder }),
            },
            Call::Rename { from, to } => {
                if let Some(file) = self.names.remove(from) {
                    self.names.insert(to.to_owned(), file);
                }
                Some(Step::Name(NameStep::Rename { from: from.to_owned(), to: to.to_owned() }))
            }
            Call::Unlink { path } => {
                self.names.remove(path);
                Some(Step::Name(NameStep::Unlink { path: path.to_owned() }))
            }
            Call::MakeFolder { path } => Some(Step::Name(NameStep::MakeFolder { path: path.to_owned() })),
        }
    }

    fn file(&self, handle: u64) -> Option<usize> {
        match self.handles.get(&handle)? {
            Target::File(file) => Some(*file),
            Target::Folder(_) => None,
        }
    }
}

fn to_usize(n: u64) -> usize {
    usize::try_from(n).unwrap()
}
