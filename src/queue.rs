//! STUB of the queue's handle: the signatures are final, the bodies come from another branch.
#![expect(clippy::todo, missing_docs, reason = "stub")]
use crate::clock::Clock;
use crate::reading::{Body, MessageId, Uid};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// The handle. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Queue;

/// What a wire board's link resumes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resume {
    /// The number of the next reading we have not taken yet.
    pub next: u32,
    /// The board's own count of dropped readings when we last heard it.
    pub dropped: u32,
}

/// Why a reading is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Safe {
    Delivered,
    Durable,
}

/// Resolves when the reading is safe. An error means that it never became so (treat as lost: ask
/// the board again, close the LAN client's connection).
pub type Ticket = oneshot::Receiver<Safe>;

/// The queue's memory is full and the disk does not take its content: not accepted, try later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the queue is full")]
pub struct Full;

impl Queue {
    pub fn clock(&self) -> &Clock {
        todo!()
    }
    /// Takes `body` without telling when it is safe. When there is no room it is dropped and counted. Never blocks.
    pub fn push(&self, _body: Body) {
        todo!()
    }
    /// Takes `body`; the ticket tells when it is safe. Never blocks. `Err`: nothing was taken.
    pub fn push_ticketed(&self, _body: Body) -> Result<Ticket, Full> {
        todo!()
    }
    /// A fresh id for something that has no numbers of its own.
    pub fn name(&self) -> MessageId {
        todo!()
    }
    /// Where the link to a board resumes; `None` for a boot never seen.
    pub fn resume(&self, _uid: &Uid, _boot: u32) -> Option<Resume> {
        todo!()
    }
    /// Remembers where a link stands (from HELLO, or after a gap); kept with the next commit.
    pub fn set_resume(&self, _uid: &Uid, _boot: u32, _resume: Resume) {
        todo!()
    }
    /// Whether some bridge forwards LAN messages on `topic`.
    pub fn wants_message(&self, _topic: &str) -> bool {
        todo!()
    }
    /// Live copies of every reading and event, for the local broker. Lossy: a reader that falls `capacity` behind misses some.
    pub fn tap(&self, _capacity: usize) -> mpsc::Receiver<Arc<Body>> {
        todo!()
    }
    /// The side of bridge number `index`.
    pub fn outlet(&self, _index: usize) -> Outlet {
        todo!()
    }
    pub fn status(&self) -> crate::status::Queue {
        todo!()
    }
}

/// One entry handed to a bridge.
#[derive(Clone, Debug)]
pub struct Taken {
    /// Where it stands in the queue: rises with every entry.
    pub position: u64,
    pub body: Arc<Body>,
    /// It waited on disk.
    pub late: bool,
}

/// A bridge's side of the queue.
#[derive(Debug)]
pub struct Outlet;

impl Outlet {
    /// Waits until `take` would give something. Cancel safe.
    pub async fn ready(&self) {
        todo!()
    }
    /// At most `max` entries from the cursor on, in order. Handed out once until `rewind`.
    pub fn take(&self, _max: usize) -> Vec<Taken> {
        todo!()
    }
    /// The cloud acknowledged (or can never take) that entry.
    pub fn done(&self, _position: u64) {
        todo!()
    }
    /// The connection is gone: hand out again what was not done.
    pub fn rewind(&self) {
        todo!()
    }
    /// Entries that wait for this bridge.
    pub fn backlog(&self) -> u64 {
        todo!()
    }
}
