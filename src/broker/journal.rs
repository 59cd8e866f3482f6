//! What the broker's file does not have yet of its memory. Pure.
//!
//! Changes are recorded by key, and the newest counts: what came and went between two commits is
//! never written. One [`Batch`] takes everything there is, so that the file is at each commit what the
//! memory was at one moment.
//!
//! A `P` is a promise that somebody waits for: that a message is safe. Every change that it depends on
//! holds a copy. The last one is dropped when the change is committed, or when nobody needs it any
//! more: the message was delivered and acknowledged, or dropped and counted.

mod changes;
#[cfg(test)]
mod file;
mod image;
pub(super) mod pace;
mod record;
mod table;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

pub(super) use changes::{Batch, Changes, DeliveryChange, Parts, SessionChange, Work};
pub(super) use image::{DeliveryRow, Flight, Image, Offline, SessionImage, SessionRow, WillRow};

use super::message::Delivery;
use crate::mqtt::packet::PacketId;

/// So many bytes that wait are committed at once, however fast commits have come.
const MUCH_BYTES: usize = 4096;
/// What a row counts beside its content, in bytes.
const ROW_BYTES: usize = 48;

/// How much the changes want to be committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Urgency {
    /// There are none.
    #[default]
    None,
    /// Nobody waits for them.
    Low,
    /// Somebody does.
    Awaited,
    /// Somebody does, and there are many.
    Much,
}

/// Which commits there were, for who has to wait for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gate {
    /// The number of the batch that a change belongs to now.
    next: u64,
    /// The number of the last one that is committed.
    committed: u64,
}

impl Gate {
    /// Nothing has to wait.
    pub(super) const OPEN: Self = Self { next: 0, committed: u64::MAX };

    /// The batch that a change of this moment belongs to.
    pub(super) fn next(self) -> u64 {
        self.next
    }

    /// Whether that batch is committed.
    pub(super) fn has(self, batch: u64) -> bool {
        batch <= self.committed
    }
}

/// What happens to a session's messages, as the session tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// A message waits for the client.
    Queued(Delivery),
    /// It was given a packet id, as the so-manieth of the session.
    Sent { position: u64, id: PacketId, order: u64 },
    /// The client has it, but its id is still in use.
    Released { position: u64, message: u64, id: PacketId, order: u64 },
    /// It is over. The message, unless the client had it before.
    Done { position: u64, message: Option<u64> },
    /// All retained messages that a subscription was to get at its begin are on their way.
    Replayed(Arc<str>),
}

/// The changes since the last batch.
#[derive(Debug)]
pub(super) struct Journal<P> {
    mode: Mode<P>,
    changes: Changes<P>,
    /// How many rows refer to each message that the file has or gets.
    references: HashMap<u64, usize>,
    /// Clients of whom the file has a will, or gets one.
    wills: HashSet<Arc<str>>,
    /// Promises that depend on what goes from the file with the next batch.
    owed: Vec<P>,
    urgency: Urgency,
    bytes: usize,
    /// The number of the batch that is being collected.
    next: u64,
    committed: u64,
}

#[derive(Debug)]
enum Mode<P> {
    /// There is no file.
    Off,
    /// The file follows.
    Following,
    /// The file does not take our changes: when it does again, everything is written anew. Holds what
    /// was promised meanwhile, or `None` when nobody is made to wait any longer.
    Lost(Option<Vec<P>>),
}

impl<P: Clone> Journal<P> {
    /// A journal for nobody: there is no file.
    pub(super) fn off() -> Self {
        Self {
            mode: Mode::Off,
            changes: Changes::default(),
            references: HashMap::new(),
            wills: HashSet::new(),
            owed: Vec::new(),
            urgency: Urgency::None,
            bytes: 0,
            next: 1,
            committed: 0,
        }
    }

    /// From here on there is a file, which holds `image`.
    pub(super) fn follow(&mut self, image: &Image) {
        self.count(image);
        self.mode = Mode::Following;
    }

    fn count(&mut self, image: &Image) {
        self.references = image.references();
        self.wills = image.wills.keys().cloned().collect();
    }

    /// From here on there is to be a file, but it cannot be had yet.
    pub(super) fn begin_without_file(&mut self) {
        self.mode = Mode::Lost(Some(Vec::new()));
    }

    /// Whether the file has all that is kept, but for the changes since.
    pub(super) fn follows(&self) -> bool {
        matches!(self.mode, Mode::Following)
    }

    /// Whether anything is kept.
    pub(super) fn is_on(&self) -> bool {
        !matches!(self.mode, Mode::Off)
    }

    /// What has to wait for which commit.
    pub(super) fn gate(&self) -> Gate {
        match self.mode {
            Mode::Off | Mode::Lost(None) => Gate::OPEN,
            Mode::Following | Mode::Lost(Some(_)) => Gate { next: self.next, committed: self.committed },
        }
    }

    /// How much the changes want to be committed.
    pub(super) fn urgency(&self) -> Urgency {
        if self.urgency == Urgency::Awaited && self.bytes >= MUCH_BYTES {
            return Urgency::Much;
        }
        self.urgency
    }

    /// Somebody waits for the changes that were recorded so far.
    pub(super) fn hurry(&mut self) {
        if self.is_on() {
            self.urgency = Urgency::Awaited;
        }
    }

    // === Batches ===

    /// What is to be committed next.
    pub(super) fn take(&mut self) -> Batch<P> {
        let changes = std::mem::take(&mut self.changes);
        let owed = std::mem::take(&mut self.owed);
        self.batch(Work::Changes(changes), owed)
    }

    /// Everything there is, for a file that has lost track.
    pub(super) fn take_whole(&mut self, image: Image) -> Batch<P> {
        self.changes = Changes::default();
        self.count(&image);
        let owed = match std::mem::replace(&mut self.mode, Mode::Following) {
            Mode::Lost(Some(owed)) => owed,
            Mode::Lost(None) | Mode::Off | Mode::Following => Vec::new(),
        };
        self.batch(Work::Whole(Box::new(image)), owed)
    }

    fn batch(&mut self, work: Work<P>, owed: Vec<P>) -> Batch<P> {
        let number = self.next;
        self.next += 1;
        self.urgency = Urgency::None;
        self.bytes = 0;
        Batch { number, work, owed }
    }

    /// That batch is on disk. The promises go with it, when the caller lets go of it.
    pub(super) fn committed(&mut self, batch: &Batch<P>) {
        self.committed = batch.number;
    }

    /// The file did not take a batch. What was promised stays so.
    pub(super) fn lost(&mut self, batch: Option<Batch<P>>) {
        let mut owed = match std::mem::replace(&mut self.mode, Mode::Lost(None)) {
            // Nobody waits any longer.
            Mode::Lost(None) => return self.forget_changes(),
            Mode::Lost(Some(owed)) => owed,
            Mode::Off | Mode::Following => Vec::new(),
        };
        if let Some(batch) = batch {
            owed.extend(batch.owed);
            if let Work::Changes(changes) = batch.work {
                changes.promises(&mut owed);
            }
        }
        std::mem::take(&mut self.changes).promises(&mut owed);
        owed.append(&mut self.owed);
        self.mode = Mode::Lost(Some(owed));
        self.forget_changes();
    }

    /// Nobody is made to wait for the file any longer. Gives the promises, to be let go.
    pub(super) fn stop_waiting(&mut self) -> Vec<P> {
        match &mut self.mode {
            Mode::Lost(owed) => owed.take().unwrap_or_default(),
            Mode::Off | Mode::Following => Vec::new(),
        }
    }

    fn forget_changes(&mut self) {
        self.changes = Changes::default();
        self.references.clear();
        self.wills.clear();
        self.urgency = Urgency::None;
        self.bytes = 0;
    }
}
