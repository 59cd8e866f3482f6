//! Counters and states of every part, as one document: `serialgate status --json`.
//!
//! Each part owns a cell ([`Cell`]) and keeps it true; [`Registry`] puts the cells together. The
//! field names are the contract of `status --json`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::reading::GapReason;

/// A value that one part writes and anybody may read.
#[derive(Debug, Default)]
pub struct Cell<T>(Arc<Mutex<T>>);

impl<T> Clone for Cell<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Cell<T> {
    /// A cell that holds `value`.
    pub fn new(value: T) -> Self {
        Self(Arc::new(Mutex::new(value)))
    }

    /// The value, locked; hold it for a few instructions only.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The whole document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the daemon.
    pub version: String,
    /// The gateway's name in topics.
    pub gateway: String,
    /// Seconds since the daemon started.
    pub uptime_s: u64,
    /// Whether the wall clock was ever synchronised in this boot.
    pub clock_synced: bool,
    /// One entry per port.
    pub ports: Vec<Port>,
    /// The store-and-forward queue.
    pub queue: Queue,
    /// One entry per bridge.
    pub bridges: Vec<Bridge>,
    /// The local broker.
    pub broker: Broker,
}

/// One serial port.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Port {
    /// As configured, or what a glob found.
    pub path: String,
    /// Its state.
    pub state: PortState,
    /// Devices seen on it.
    pub device: Vec<String>,
    /// Bytes read.
    pub bytes: u64,
    /// Good frames.
    pub frames: u64,
    /// Frames whose check sum was wrong.
    pub bad_check: u64,
    /// Frames that could not be understood: too long, not JSON, not UTF-8, wrong types.
    pub bad_decode: u64,
    /// Times that good frames came again after bad bytes.
    pub resyncs: u64,
    /// Times the device went away.
    pub disconnects: u64,
    /// Seconds since the last good frame.
    pub last_frame_age_s: Option<f64>,
    /// The last trouble, in words.
    pub last_error: Option<String>,
}

/// The entries of all ports. A port whose path is a pattern adds one for each line it finds.
#[derive(Clone, Debug, Default)]
pub struct Ports(Cell<Vec<Cell<LivePort>>>);

/// A port's entry, as its task keeps it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LivePort {
    /// The entry; its `last_frame_age_s` is worked out when somebody looks.
    pub port: Port,
    /// When the last good frame came, in microseconds of the boot clock.
    pub last_frame_us: Option<i64>,
}

impl Ports {
    /// Adds an entry for the line at `path`, and returns its cell.
    #[must_use]
    pub fn add(&self, path: &str) -> Cell<LivePort> {
        let port = Port { path: path.to_owned(), ..Port::default() };
        let cell = Cell::new(LivePort { port, last_frame_us: None });
        self.0.lock().push(cell.clone());
        cell
    }

    /// Takes an entry out.
    pub fn remove(&self, cell: &Cell<LivePort>) {
        self.0.lock().retain(|other| !Arc::ptr_eq(&other.0, &cell.0));
    }

    /// All entries, at `now_us` of the boot clock.
    #[must_use]
    pub fn document(&self, now_us: i64) -> Vec<Port> {
        self.0.lock().iter().map(|cell| cell.lock().document(now_us)).collect()
    }
}

impl LivePort {
    fn document(&self, now_us: i64) -> Port {
        let age = self.last_frame_us.and_then(|at| u64::try_from(now_us - at).ok());
        let last_frame_age_s = age.map(|us| Duration::from_micros(us).as_secs_f64());
        Port { last_frame_age_s, ..self.port.clone() }
    }
}

/// What a port is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PortState {
    /// Open, and bytes come.
    Open,
    /// There is no such device now.
    #[default]
    Absent,
    /// Somebody else holds it.
    Busy,
    /// We may not open it.
    Denied,
    /// Open, but nothing has come for long.
    Silent,
}

impl PortState {
    /// The word used in status and events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Absent => "absent",
            Self::Busy => "busy",
            Self::Denied => "denied",
            Self::Silent => "silent",
        }
    }
}

/// The queue. `accepted = delivered + dropped + readings`, exactly, at every moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Queue {
    /// Waiting, in memory or on disk.
    pub readings: u64,
    /// Bytes that the queue's file uses for them.
    pub bytes: u64,
    /// Age of the oldest one that waits, in seconds.
    pub oldest_age_s: Option<f64>,
    /// Waiting in memory only: lost if the power went now.
    pub volatile: u64,
    /// Taken since the queue file was made.
    pub accepted: u64,
    /// Acknowledged by every bridge that wants them.
    pub delivered: u64,
    /// Given up, by reason.
    pub dropped: Dropped,
    /// What bridges could never deliver, kept to be looked at (`serialgate queue dead-letters`).
    #[serde(default)]
    pub dead_letters: DeadLetters,
    /// Transactions synced to disk since the daemon started.
    pub commits: u64,
    /// Bytes written to disk since the daemon started.
    pub flash_bytes: u64,
    /// How it is.
    pub state: QueueState,
    /// What the disk said, while it does not take our writes.
    #[serde(default)]
    pub last_error: Option<String>,
}

/// What is kept of messages that a cloud refused for good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetters {
    /// How many there are.
    pub count: u64,
    /// What they take in the queue's file, about.
    pub bytes: u64,
    /// Those that had to go for newer ones, or found no room, since the file was made.
    pub lost: u64,
}

/// Readings given up, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// The queue was full.
    pub full: u64,
    /// Older than `max_age`, or a message whose own time was over.
    pub expired: u64,
    /// In a damaged part of the file.
    pub corrupt: u64,
    /// Refused for good by a cloud: too large for it, or not allowed. Left out while there are none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub refused: u64,
    /// Given up by an operator (`serialgate queue purge`). Left out while there are none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub purged: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Dropped {
    /// The counter for what is lost in the queue for `reason`.
    pub fn by_reason(&mut self, reason: GapReason) -> &mut u64 {
        match reason {
            GapReason::Full | GapReason::Device => &mut self.full,
            GapReason::Expired => &mut self.expired,
            GapReason::Corrupt => &mut self.corrupt,
            GapReason::Refused => &mut self.refused,
            GapReason::Purged => &mut self.purged,
        }
    }

    /// Adds what was counted elsewhere.
    pub fn add(&mut self, other: &Self) {
        self.full += other.full;
        self.expired += other.expired;
        self.corrupt += other.corrupt;
        self.refused += other.refused;
        self.purged += other.purged;
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.full + self.expired + self.corrupt + self.refused + self.purged
    }
}

/// How the queue is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QueueState {
    /// All well.
    #[default]
    Ok,
    /// The disk does not take our writes: readings are held in memory, as many as fit.
    Degraded,
    /// At its size limit: the policy of `when_full` is at work.
    Full,
}

/// One bridge.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bridge {
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: BridgeState,
    /// Seconds since it was connected, or since it was not any more.
    pub since_s: u64,
    /// Readings that wait for it.
    pub backlog: u64,
    /// Messages sent and not yet acknowledged.
    pub in_flight: u64,
    /// Readings it acknowledged since the daemon started.
    pub delivered: u64,
    /// Readings that were in flight when a connection broke, so may have arrived twice.
    pub duplicates_possible: u64,
    /// Messages given up since the daemon started because the other broker can never take them: too
    /// large, or refused for good. Rows of the queue among them are kept as dead letters.
    #[serde(default)]
    pub refused: u64,
    /// Messages taken from the cloud since the daemon started.
    #[serde(default)]
    pub received: u64,
    /// Messages from the cloud that were not taken: forged, or none of ours.
    #[serde(default)]
    pub not_taken: u64,
    /// Seconds until the backlog is gone at the present rate.
    pub eta_s: Option<u64>,
    /// The last trouble, in words.
    pub last_error: Option<String>,
}

/// What a bridge is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BridgeState {
    /// The cloud accepted us.
    Connected,
    /// On the way there.
    #[default]
    Connecting,
    /// Waiting to try again.
    Backoff,
    /// Held by an operator.
    Paused,
}

/// The local broker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broker {
    /// Connected clients.
    pub clients: u64,
    /// Subscriptions of all sessions.
    pub subscriptions: u64,
    /// Retained messages.
    pub retained: u64,
    /// Messages taken from clients.
    pub received: u64,
    /// Messages sent to clients.
    pub sent: u64,
    /// Messages that a full client queue made us drop.
    pub dropped: u64,
    /// Connections that were not let in: no such user, a wrong password, or not allowed to.
    #[serde(default)]
    pub logins_refused: u64,
    /// Connections that came to nothing since the daemon started: one too many, silent, or without a
    /// handshake or CONNECT that could be taken.
    #[serde(default)]
    pub refused: u64,
    /// How its file is.
    #[serde(default)]
    pub state: BrokerState,
    /// What the disk said, while it does not take our writes.
    #[serde(default)]
    pub last_error: Option<String>,
    /// Damaged files that were set aside since the daemon started.
    #[serde(default)]
    pub set_aside: u64,
}

/// How the local broker's file is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BrokerState {
    /// All well; or there is none, because nothing is to be kept.
    #[default]
    Ok,
    /// It is being read: clients have to wait.
    Loading,
    /// The disk does not take our writes: what clients send is in memory only.
    Degraded,
}
