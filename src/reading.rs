//! What travels through the gateway: readings, events and the opaque messages of LAN clients.
//!
//! Everything here is plain data. Numbers keep the decimal form in which the sensor sent them, so
//! that `23.45` never becomes `23.450000000000003` on its way.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

mod event;

pub use event::{Event, EventKind, GapReason, Loss, Whose};

/// A device's name as it stands in topics: a slug of `[a-z0-9_-]`.
pub type DeviceName = Arc<str>;

/// What the microseconds of a [`Stamp`] are counted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "u32", into = "u32")]
pub enum Epoch {
    /// `CLOCK_BOOTTIME` of the boot that this machine is in.
    ThisBoot,
    /// `CLOCK_BOOTTIME` of an earlier boot: its row in the queue's `boot` table.
    Boot(u32),
    /// The Unix epoch: for readings that came out of another file, whose boots are not ours.
    Wall {
        /// The clock of that boot had never been synchronised.
        estimated: bool,
    },
}

impl Epoch {
    const WALL: u32 = u32::MAX;
    const WALL_ESTIMATED: u32 = u32::MAX - 1;

    /// As it is stored in a file in which the present boot has the row `this_boot`.
    #[must_use]
    pub fn stored(self, this_boot: u32) -> u32 {
        if self == Self::ThisBoot { this_boot } else { self.into() }
    }

    /// From what is stored in a file in which the present boot has the row `this_boot`.
    #[must_use]
    pub fn from_stored(stored: u32, this_boot: u32) -> Self {
        if stored == this_boot { Self::ThisBoot } else { stored.into() }
    }
}

impl From<u32> for Epoch {
    fn from(stored: u32) -> Self {
        match stored {
            0 => Self::ThisBoot,
            Self::WALL => Self::Wall { estimated: false },
            Self::WALL_ESTIMATED => Self::Wall { estimated: true },
            row => Self::Boot(row),
        }
    }
}

impl From<Epoch> for u32 {
    /// Rows of boots begin at 1.
    fn from(epoch: Epoch) -> Self {
        match epoch {
            Epoch::ThisBoot => 0,
            Epoch::Boot(row) => row,
            Epoch::Wall { estimated: false } => Epoch::WALL,
            Epoch::Wall { estimated: true } => Epoch::WALL_ESTIMATED,
        }
    }
}

/// A moment, as the kernel's boot clock saw it. See [`crate::clock`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// Where the count begins.
    pub epoch: Epoch,
    /// Microseconds. Negative for readings that a board took before we booted.
    pub us: i64,
}

impl Stamp {
    /// A reading that goes out so long after it was sampled has waited somewhere, in microseconds.
    pub const WAITED_US: i64 = 10_000_000;

    /// Whether what was sampled then and goes out at `now_us` of the present boot has waited. An earlier
    /// boot is for others to judge: what is from there comes from disk.
    #[must_use]
    pub fn has_waited(self, now_us: i64) -> bool {
        self.epoch == Epoch::ThisBoot && now_us.saturating_sub(self.us) >= Self::WAITED_US
    }

    /// A moment of the present boot.
    #[must_use]
    pub fn this_boot(us: i64) -> Self {
        Self { epoch: Epoch::ThisBoot, us }
    }

    /// This moment moved by `us` microseconds on the same clock.
    #[must_use]
    pub fn plus_us(self, us: i64) -> Self {
        Self { us: self.us.saturating_add(us), ..self }
    }
}

/// The unique id of a board: 1 to 16 bytes, written as lower-case hex.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Uid(Arc<[u8]>);

impl Uid {
    /// Longest uid the gateway takes, in bytes.
    pub const MAX: usize = 16;

    /// A uid of 1 to [`Uid::MAX`] bytes, else `None`.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        (1..=Self::MAX).contains(&bytes.len()).then(|| Self(bytes.into()))
    }

    /// The bytes as the board sent them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Names one message for ever: every copy of it, in any place and after any restart, carries the
/// same id. Consumers drop duplicates by it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum MessageId {
    /// A board that numbers its own readings: `<uid>-<boot>/<seq>`, boot in hex.
    Board {
        /// The board's unique id.
        uid: Uid,
        /// The board's boot number.
        boot: u32,
        /// The reading's number within that boot.
        seq: u32,
    },
    /// A source without numbers of its own: `<gateway boot uuid>/<n>`.
    Gateway {
        /// Drawn anew at each start of the daemon.
        boot: Uuid,
        /// Counts everything that this start of the daemon has named.
        n: u64,
    },
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Board { uid, boot, seq } => write!(f, "{uid}-{boot:x}/{seq}"),
            Self::Gateway { boot, n } => write!(f, "{boot}/{n}"),
        }
    }
}

/// One value of one channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// The sensor had nothing to say (wire type 0, JSON `null`).
    Null,
    /// True or false.
    Bool(bool),
    /// `mantissa × 10^exponent`, exactly as sent.
    Decimal {
        /// The digits.
        mantissa: i64,
        /// The power of ten, at most ±18.
        exponent: i8,
    },
    /// A single-precision number, written with the fewest digits that give it back.
    F32(f32),
    /// A double-precision number, written with the fewest digits that give it back.
    F64(f64),
    /// Text.
    Text(Box<str>),
    /// Bytes; written as lower-case hex in JSON.
    Bytes(Box<[u8]>),
    /// A JSON fragment that is none of the above (nested object, array, huge number), compact.
    Json(Box<str>),
}

/// The values that one device sampled at one instant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// Whose reading.
    pub device: DeviceName,
    /// Names it for ever.
    pub id: MessageId,
    /// The reading's number within its device: the board's own, or counted by the gateway since
    /// its start for sources without numbers.
    pub seq: u64,
    /// When it was sampled.
    pub at: Stamp,
    /// Channel name and value, in the order in which the device sent them.
    pub values: Vec<(Arc<str>, Value)>,
}

/// A message of a LAN client that a bridge forwards as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The topic it was published to.
    pub topic: Arc<str>,
    /// The payload, untouched.
    pub payload: Bytes,
    /// 0, 1 or 2, as published.
    pub qos: u8,
    /// Whether the publisher asked for it to be retained.
    pub retain: bool,
    /// MQTT 5 user properties, content type and so on: see [`Properties`].
    pub properties: Properties,
    /// How long it is of use, where the publisher said so. Chunks of codecs 1 and 2 know nothing of it.
    #[serde(skip)]
    pub expiry: Option<Expiry>,
}

/// How long a [`Message`] is of use (MQTT 5.0, 3.3.2.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// When the gateway took the message.
    pub since: Stamp,
    /// Seconds from then on.
    pub after_s: u32,
}

impl Expiry {
    /// Seconds that are left when `passed_us` microseconds have passed, rounded up; `None`: it is over.
    #[must_use]
    pub fn left_s(self, passed_us: i64) -> Option<u32> {
        let left = (i64::from(self.after_s) * 1_000_000).saturating_sub(passed_us.max(0));
        (left > 0).then(|| u32::try_from((left + 999_999) / 1_000_000).unwrap_or(u32::MAX))
    }
}

/// The MQTT 5 publish properties that travel end to end with a [`Message`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Properties {
    /// Content type, as text.
    pub content_type: Option<Arc<str>>,
    /// Response topic.
    pub response_topic: Option<Arc<str>>,
    /// Correlation data.
    pub correlation_data: Option<Bytes>,
    /// Whether the payload is declared to be UTF-8 text.
    pub is_utf8_payload: bool,
    /// User properties, in order.
    pub user: Vec<(Arc<str>, Arc<str>)>,
}

/// Whatever stands in the queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Body {
    /// A device's reading.
    Reading(Reading),
    /// Something that happened.
    Event(Event),
    /// A LAN client's message.
    Message(Message),
}

impl Body {
    /// Whether it counts in the queue's ledger (accepted = delivered + dropped + queued).
    /// Events do not: they tell of the ledger.
    #[must_use]
    pub fn counts(&self) -> bool {
        !matches!(self, Self::Event(_))
    }

    /// When it was sampled or noticed; a LAN client's message has no such moment.
    #[must_use]
    pub fn at(&self) -> Option<Stamp> {
        match self {
            Self::Reading(reading) => Some(reading.at),
            Self::Event(event) => Some(event.at),
            Self::Message(_) => None,
        }
    }

    /// Whether it is a reading that has waited by `now_us` of the present boot: see [`Stamp::has_waited`].
    #[must_use]
    pub fn has_waited(&self, now_us: i64) -> bool {
        matches!(self, Self::Reading(reading) if reading.at.has_waited(now_us))
    }

    /// All stamps in it, to be set: when it was sampled, noticed or taken, and the times that it tells
    /// of.
    pub fn stamps_mut(&mut self) -> impl Iterator<Item = &mut Stamp> {
        let (at, span) = match self {
            Self::Reading(reading) => (Some(&mut reading.at), None),
            Self::Event(Event { at, kind: EventKind::Lost(Loss { span, .. }), .. }) => {
                (Some(at), span.as_mut())
            }
            Self::Event(event) => (Some(&mut event.at), None),
            Self::Message(message) => (message.expiry.as_mut().map(|expiry| &mut expiry.since), None),
        };
        at.into_iter().chain(span.into_iter().flat_map(|(from, to)| [from, to]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_rounded_up_and_ends() {
        let expiry = Expiry { since: Stamp::this_boot(0), after_s: 60 };
        for (passed_us, left) in [
            (i64::MIN, Some(60)),
            (0, Some(60)),
            (1, Some(60)),
            (1_000_000, Some(59)),
            (59_999_999, Some(1)),
            (60_000_000, None),
            (i64::MAX, None),
        ] {
            assert_eq!(expiry.left_s(passed_us), left, "{passed_us}");
        }
    }
}
