//! What a link tells its driver.

use std::sync::Arc;

use serialgate_wire::Message;

use super::schema::Schema;
use crate::call::Answer;
use crate::queue::Resume;
use crate::reading::{DeviceName, Reading, Uid};

/// What the driver is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Send this message, with that low byte of the boot number.
    Send(u8, Message<'static>),
    /// Send a CALL.
    Call {
        /// Its number.
        seq: u16,
        /// What to do.
        command: u8,
        /// How.
        arguments: Box<[u8]>,
    },
    /// That became of the command of this number: see [`Link::call`](super::Link::call).
    Answer(u64, Answer),
    /// Give this to the queue. Answered by [`Link::refused`] at once, or later by [`Link::safe`] or
    /// [`Link::lost`], unless it is not to be acknowledged.
    Accept(Accept),
    /// Readings `from` to `to` will never come; `lost` of them are lost, the others had been
    /// delivered. [`Link::refused_gap`] if the queue has no room to say so.
    Gap {
        /// Whose.
        device: DeviceName,
        /// First missing number.
        from: u32,
        /// Last missing number.
        to: u32,
        /// How many are lost.
        lost: u32,
    },
    /// Let the queue remember where the link to this boot of the board stands.
    Remember {
        /// The board.
        uid: Uid,
        /// Its boot number.
        boot: u32,
        /// Where the link stands.
        resume: Resume,
    },
    /// Forget which readings wait for safety: their numbers mean nothing any more.
    Forget,
    /// The device is there.
    Online(DeviceName),
    /// The device is not there.
    Offline(DeviceName),
    /// What is known of the device has changed.
    Describe(Description),
    /// The board wrote a line for its log.
    Log(Box<str>),
    /// Something for our own log.
    Note(Note),
}

/// Something to give to the queue.
#[derive(Clone, Debug, PartialEq)]
pub struct Accept {
    /// Its number within the board's boot.
    pub number: u32,
    /// Whether the board waits for an acknowledgement. If not, nothing is to be reported back.
    pub acknowledge: bool,
    /// What it is.
    pub what: Accepted,
}

/// What stood at a number.
#[derive(Clone, Debug, PartialEq)]
pub enum Accepted {
    /// A reading.
    Reading(Reading),
    /// A frame with a good check sum whose content is malformed. It will not get better: it is
    /// reported as lost, so that the link can go on.
    Malformed(DeviceName),
}

/// What is known of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Its name.
    pub device: DeviceName,
    /// The board's unique id.
    pub uid: Uid,
    /// Name and version of the firmware, as the board says it.
    pub firmware: Box<str>,
    /// Its channels.
    pub schema: Arc<Schema>,
}

/// Something that a person may want to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// The board numbers its readings anew without a new boot number: its readings may bear ids
    /// that were used before.
    Renumbered,
    /// The board does not describe its channels.
    Nameless,
}

impl Note {
    /// The note in words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Renumbered => "board numbers its readings anew without a new boot number",
            Self::Nameless => "board does not describe its channels",
        }
    }
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It was understood.
    Good,
    /// Its content is not what its kind promises.
    Malformed,
    /// It came from us: the line echoes.
    Echo,
}
