//! What is said on the socket.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::status::Status;

/// What one can ask: `{"command":"status"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Request {
    /// The whole status document.
    Status,
    /// Hold one bridge, or all of them.
    Pause {
        /// Its name.
        bridge: Option<String>,
    },
    /// Let one bridge go on, or all of them.
    Resume {
        /// Its name.
        bridge: Option<String>,
    },
    /// The oldest entries that wait.
    Peek {
        /// For this bridge; else for any.
        bridge: Option<String>,
        /// How many, at most.
        count: usize,
    },
    /// All entries that wait, one [`Response::Entry`] each.
    Export {
        /// For this bridge; else for any.
        bridge: Option<String>,
    },
    /// Take entries. So many bytes of lines follow.
    Import {
        /// At most [`MAX_IMPORT_BYTES`](super::MAX_IMPORT_BYTES).
        bytes: usize,
    },
    /// Give entries up.
    Purge {
        /// Only those older than this, in milliseconds.
        older_than_ms: Option<u64>,
        /// Only readings of this device.
        device: Option<String>,
        /// Only say how many that would be.
        only_count: bool,
    },
    /// A command to a device, answered by [`Response::Result`].
    Call {
        /// Whose.
        device: String,
        /// As it would stand in a message to `set`: see [`crate::call`].
        payload: String,
    },
    /// What comes in from now on, without end: [`Response::Watching`], then one [`Response::Live`] each.
    Watch {
        /// Only what is of these devices; if there are none, everything.
        devices: Vec<String>,
    },
    /// Check all chunks.
    Verify,
    /// The dead letters, one [`Response::DeadLetter`] each, the oldest first.
    DeadLetters(Chosen),
    /// Put dead letters back into the queue, each for its own bridge.
    RetryDeadLetters(Chosen),
    /// Remove dead letters for good.
    DropDeadLetters {
        /// Which.
        #[serde(flatten)]
        chosen: Chosen,
        /// Only say how many that would be.
        only_count: bool,
    },
}

/// Which dead letters are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    /// Those of this bridge; else of any.
    pub bridge: Option<String>,
    /// Those whose topic matches this filter; else all.
    pub topic: Option<String>,
}

/// What one is told: `{"status":{…}}` or `{"error":"…"}`. `entry`, `damage`, `dead_letter`,
/// `watching`, `live`, `missed` and `working` are followed by more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// The whole status document.
    Status(Box<Status>),
    /// The bridges that are held now.
    Paused(Vec<String>),
    /// The oldest entries that wait.
    Peeked(Vec<Peeked>),
    /// An entry that waits, in the form of [`crate::queue::portable`].
    Entry(Line),
    /// A chunk that cannot be read.
    Damage(Damage),
    /// That were all; so many.
    Exported(u64),
    /// What was sent is safe.
    Imported(Imported),
    /// So many entries were given up, or would be.
    Purged(u64),
    /// What became of a command, as it would stand in `result`.
    Result(Line),
    /// From here on everything is shown, or counted as missed.
    Watching,
    /// A reading, an event or a result; or what is known of a device, before its first reading.
    Live(Live),
    /// So many of these came faster than they were taken.
    Missed(u64),
    /// All chunks were checked.
    Verified(Verified),
    /// A dead letter.
    DeadLetter(DeadLetter),
    /// That were all; so many.
    DeadLetters(u64),
    /// Dead letters are in the queue again.
    Retried(Retried),
    /// So many dead letters were removed, or would be.
    DeadLettersDropped(u64),
    /// The answer is still being made.
    Working,
    /// Why there is no answer, in words.
    Error(String),
}

/// A message, as local clients get it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Live {
    /// The topic.
    pub topic: String,
    /// The payload: a JSON object.
    pub payload: Line,
}

/// An entry that waits, as it would be published.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Peeked {
    /// Where it stands in the queue.
    pub position: u64,
    /// Its age in seconds.
    pub age_s: f64,
    /// The topic.
    pub topic: String,
    /// The payload, if it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
    /// The payload in lower-case hex, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload_hex: Option<String>,
}

/// A message that a bridge could never deliver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Its number; rises.
    pub number: u64,
    /// When it was given up, as in RFC 3339.
    pub time: String,
    /// The bridge.
    pub bridge: String,
    /// The topic.
    pub topic: String,
    /// Why.
    pub reason: String,
    /// Size of the payload, in bytes.
    pub bytes: u64,
    /// How the payload begins, if it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
    /// How the payload begins, in lower-case hex, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload_hex: Option<String>,
}

/// What became of dead letters that were to be tried again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retried {
    /// In the queue again, and safe there.
    pub retried: u64,
    /// Stay where they are: their bridge is not configured, or does not forward them any more.
    pub unwanted: u64,
}

/// What became of imported entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// Safe: in the queue's file, or acknowledged by all that want them.
    pub entries: u64,
    /// Of these, so many that no bridge wants.
    pub unwanted: u64,
}

/// A part of the file that is damaged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// The position that it begins at.
    pub position: u64,
    /// What is wrong.
    pub what: String,
}

/// What was found in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// Chunks read.
    pub chunks: u64,
    /// Readings and messages in them.
    pub readings: u64,
    /// Their size in the file, in bytes.
    pub bytes: u64,
    /// How many of them are bad.
    pub bad_chunks: u64,
    /// What is wrong with the first of those.
    pub bad: Vec<Damage>,
    /// What SQLite finds wrong with the file as a whole; only of a file that no gateway uses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub file: Vec<String>,
}

/// A JSON object as it stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Line(pub Box<RawValue>);

impl PartialEq for Line {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}
