//! What the gateway tells of itself.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{DeviceName, MessageId, Stamp};

/// Something that happened to the data or to a link, told on the `event` topic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Names it for ever.
    pub id: MessageId,
    /// When the gateway noticed.
    pub at: Stamp,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// Readings of a device will never arrive. Only read back from files of earlier versions, which did
    /// not tell the time of it; a stored event is known by the place of its kind in this list, so this
    /// one stays where it is and [`EventKind::Lost`] stands at the end.
    Gap {
        /// Whose readings.
        device: DeviceName,
        /// First missing number.
        from_seq: u64,
        /// Last missing number.
        to_seq: u64,
        /// How many of that range were lost; the rest had been delivered before.
        lost: u64,
        /// Why.
        reason: GapReason,
    },
    /// A damaged queue file was set aside and a new one was begun.
    Quarantine {
        /// The damaged file's new name.
        path: String,
        /// What was wrong with it.
        reason: String,
    },
    /// A serial port changed state.
    Port {
        /// The port's path, as configured.
        path: String,
        /// The new state: `open`, `absent`, `busy`, `denied`, `silent`.
        state: String,
    },
    /// A bridge was connected or lost.
    Bridge {
        /// The bridge's name.
        name: String,
        /// The new state: `connected` or `disconnected`.
        state: String,
        /// Why, where it is known.
        reason: Option<String>,
    },
    /// Something will never arrive: told as a gap.
    Lost(Loss),
    /// A damaged queue file was read as far as it can be.
    Salvage {
        /// Where it is.
        path: String,
        /// Readings that came back.
        recovered: u64,
        /// Readings that did not.
        lost: u64,
    },
    /// The local broker's file is not kept up to date any more, or is again.
    Broker {
        /// The new state: `degraded` or `ok`.
        state: String,
        /// What the disk said.
        reason: Option<String>,
    },
}

/// What will never arrive, and why. One for each device or topic and each run of one cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// Whose.
    pub of: Whose,
    /// When the first and the last of them were sampled, where that is known. For what a board itself
    /// dropped: the reading before, and the moment at which it was noticed.
    pub span: Option<(Stamp, Stamp)>,
    /// How many.
    pub lost: u64,
    /// Why.
    pub reason: GapReason,
}

/// Whose readings or messages were lost.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Whose {
    /// A device's readings, all within a range of its numbers; the rest of the range was delivered
    /// before, or is still to come.
    Device {
        /// Its name.
        device: DeviceName,
        /// First number that was lost.
        from_seq: u64,
        /// Last number that was lost.
        to_seq: u64,
    },
    /// A LAN client's messages on this topic.
    Topic(Arc<str>),
    /// Nobody can tell any more, or too many to tell them one by one.
    Unknown,
}

/// Why readings are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GapReason {
    /// The board's own ring overflowed before we could take the readings.
    Device,
    /// The queue was full.
    Full,
    /// Older than `max_age`, or a message whose own time was over.
    Expired,
    /// The queue file was damaged.
    Corrupt,
    /// A cloud refused them for good.
    Refused,
    /// An operator gave them up.
    Purged,
}

impl GapReason {
    /// The word used in events and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Full => "full",
            Self::Expired => "expired",
            Self::Corrupt => "corrupt",
            Self::Refused => "refused",
            Self::Purged => "purged",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_in_files_of_earlier_versions_keep_their_meaning() {
        let gap = EventKind::Gap {
            device: "a".into(),
            from_seq: 1,
            to_seq: 3,
            lost: 2,
            reason: GapReason::Expired,
        };
        assert_eq!(postcard::from_bytes::<EventKind>(&[0, 1, b'a', 1, 3, 2, 2]), Ok(gap));
        let bridge = EventKind::Bridge { name: "b".into(), state: "c".into(), reason: None };
        assert_eq!(postcard::from_bytes::<EventKind>(&[3, 1, b'b', 1, b'c', 0]), Ok(bridge));
        let loss = Loss { of: Whose::Unknown, span: None, lost: 5, reason: GapReason::Refused };
        assert_eq!(postcard::to_stdvec(&EventKind::Lost(loss)), Ok(vec![4, 2, 0, 5, 4]));
    }
}
