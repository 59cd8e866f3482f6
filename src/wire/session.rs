//! What a link knows of one boot of one board.

use std::sync::Arc;

use serialgate_wire::{Data, Hello, Items};

use super::calls::Board;
use super::schema::{Inquiry, Schema};
use super::time::BoardClock;
use super::{Action, Description, values};
use crate::queue::Resume;
use crate::reading::{DeviceName, MessageId, Reading, Stamp, Uid, Value};
use crate::topic::slug;

/// What is remembered of a boot of a board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Where the link stood.
    pub resume: Resume,
    /// All readings before this number are safe; others before `resume.next` were taken and may
    /// still be in memory only. `None`: any of them may.
    pub safe: Option<u32>,
}

/// How to go on with a board that has said HELLO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Start {
    /// The reading to expect.
    pub(super) next: u32,
    /// All readings before this are safe, or gone.
    pub(super) safe: u32,
    /// The first number of a gap that ends before `next`, and how many readings in it are lost.
    pub(super) gap: Option<(u32, u32)>,
    /// The board's numbers have gone back.
    pub(super) renumbered: bool,
}

impl Start {
    /// Compares what the board says with what we know of this boot of it.
    ///
    /// A board that dropped readings counts them. So if fewer were dropped than are missing, the
    /// rest had been acknowledged by us and we have forgotten it (killed before it was written down).
    pub(super) fn of(hello: &Hello<'_>, known: Option<Known>) -> Self {
        let afresh = Self { next: hello.oldest, safe: hello.oldest, gap: None, renumbered: false };
        let Some(Known { resume, safe }) = known else {
            let lost = hello.dropped.min(hello.oldest);
            return Self { gap: (lost > 0).then_some((0, lost)), ..afresh };
        };
        if ahead(resume.next, hello.next) > 0 {
            return Self { renumbered: true, ..afresh };
        }
        let missing = ahead(hello.oldest, resume.next);
        if missing > 0 {
            let lost = hello.dropped.wrapping_sub(resume.dropped).min(missing.unsigned_abs());
            return Self { gap: (lost > 0).then_some((resume.next, lost)), ..afresh };
        }
        let safe = safe.filter(|&safe| ahead(safe, hello.oldest) > 0).unwrap_or(hello.oldest);
        Self { next: resume.next, safe, ..afresh }
    }
}

/// One boot of one board.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) uid: Uid,
    pub(super) boot: u32,
    pub(super) device: DeviceName,
    firmware: Box<str>,
    channels: u8,
    /// Longest raw frame that it takes, in bytes.
    rxmax: u8,
    takes_calls: bool,
    /// Check sum of the channels' descriptions, once it was compared.
    pub(super) schema_crc: Option<u32>,
    pub(super) names: Names,
    pub(super) clock: BoardClock,
    /// The reading expected next.
    pub(super) next: u32,
    /// All readings before this are safe.
    pub(super) safe: u32,
    dropped: u32,
    /// No NAK before this time.
    pub(super) nak_after_us: i64,
    /// No answer to readings that we have before this time.
    pub(super) again_after_us: i64,
    /// No HELLO_REQ before this time.
    pub(super) hello_after_us: i64,
}

/// What the channels are called.
#[derive(Debug)]
pub(super) enum Names {
    /// The board was asked; no reading is taken before it has answered.
    Awaited(Inquiry),
    /// The board did not answer. It may be asked again while readings flow.
    MadeUp(Arc<Schema>, Option<Inquiry>),
    /// As the board says.
    Known(Arc<Schema>),
}

impl Names {
    pub(super) fn are_awaited(&self) -> bool {
        matches!(self, Self::Awaited(_))
    }

    pub(super) fn inquiry(&self) -> Option<&Inquiry> {
        match self {
            Self::Awaited(inquiry) | Self::MadeUp(_, Some(inquiry)) => Some(inquiry),
            Self::MadeUp(_, None) | Self::Known(_) => None,
        }
    }

    pub(super) fn inquiry_mut(&mut self) -> Option<&mut Inquiry> {
        match self {
            Self::Awaited(inquiry) | Self::MadeUp(_, Some(inquiry)) => Some(inquiry),
            Self::MadeUp(_, None) | Self::Known(_) => None,
        }
    }

    fn schema(&self) -> Option<&Arc<Schema>> {
        match self {
            Self::Awaited(_) => None,
            Self::MadeUp(schema, _) | Self::Known(schema) => Some(schema),
        }
    }
}

impl Session {
    pub(super) fn new(uid: Uid, hello: &Hello<'_>, named: Option<DeviceName>, now: Stamp) -> Self {
        Self {
            device: named.unwrap_or_else(|| name(&uid, hello.firmware)),
            uid,
            boot: hello.boot,
            firmware: hello.firmware.into(),
            channels: hello.channels,
            rxmax: hello.rxmax,
            takes_calls: hello.takes_calls(),
            schema_crc: None,
            names: Names::Awaited(Inquiry::new(hello.channels, now.us)),
            clock: BoardClock::new(hello.uptime_ms, now.us),
            next: hello.oldest,
            safe: hello.oldest,
            dropped: hello.dropped,
            nak_after_us: i64::MIN,
            again_after_us: i64::MIN,
            hello_after_us: i64::MIN,
        }
    }

    /// Goes on from `start`.
    pub(super) fn resume(&mut self, hello: &Hello<'_>, start: &Start) {
        self.next = start.next;
        if ahead(start.safe, self.safe) > 0 {
            self.safe = start.safe;
        }
        self.dropped = hello.dropped;
        self.channels = hello.channels;
        self.rxmax = hello.rxmax;
        self.takes_calls = hello.takes_calls();
    }

    pub(super) fn known(&self) -> Known {
        Known { resume: Resume { next: self.next, dropped: self.dropped }, safe: Some(self.safe) }
    }

    pub(super) fn remember(&self) -> Action {
        Action::Remember { uid: self.uid.clone(), boot: self.boot, resume: self.known().resume }
    }

    /// The next `missing` readings will never come.
    pub(super) fn skip(&mut self, missing: u32) -> Action {
        let from = self.next;
        self.next = from.wrapping_add(missing);
        self.dropped = self.dropped.wrapping_add(missing);
        // What the board does not hold needs no acknowledgement.
        self.safe = self.next;
        let (device, to) = (Arc::clone(&self.device), self.next.wrapping_sub(1));
        Action::Gap { device, from, to, lost: missing }
    }

    /// All readings up to `number` are safe.
    pub(super) fn save(&mut self, number: u32) {
        let safe = number.wrapping_add(1);
        if ahead(safe, self.safe) > 0 && ahead(self.next, safe) >= 0 {
            self.safe = safe;
        }
    }

    /// Whether the board does not hold reading `number` any more.
    pub(super) fn is_past(&self, number: u32) -> bool {
        ahead(number, self.safe) < 0
    }

    /// The reading that is expected next, from its frame.
    pub(super) fn reading(&mut self, data: &Data<'_>, now: Stamp) -> Reading {
        let values = self.values(data.items);
        Reading {
            device: Arc::clone(&self.device),
            id: MessageId::Board { uid: self.uid.clone(), boot: self.boot, seq: self.next },
            seq: self.next.into(),
            values,
            at: Stamp { us: self.clock.sampled(data.t_ms, now.us), ..now },
        }
    }

    pub(super) fn make_up_names(&mut self) {
        self.names = Names::MadeUp(Arc::new(Schema::made_up(self.channels)), None);
    }

    pub(super) fn description(&self) -> Option<Description> {
        Some(Description {
            device: Arc::clone(&self.device),
            uid: self.uid.clone(),
            firmware: self.firmware.clone(),
            schema: Arc::clone(self.schema()?),
        })
    }

    /// Items with the names of their channels.
    pub(super) fn values(&self, items: Items<'_>) -> Vec<(Arc<str>, Value)> {
        let schema = self.schema();
        let name = |number| schema.map_or_else(|| Schema::default().name(number), |s| s.name(number));
        items.map(|item| (name(item.channel), values::value(item.value))).collect()
    }

    /// The channels, once their names are known or made up.
    pub(super) fn schema(&self) -> Option<&Arc<Schema>> {
        self.names.schema()
    }

    /// What it takes; `None` while its channels are not known.
    pub(super) fn board(&self) -> Option<Board<'_>> {
        let schema = self.schema()?;
        Some(Board { schema, rxmax: self.rxmax, takes_calls: self.takes_calls })
    }
}

/// A board's own name: the name of its firmware and the last four hex digits of its uid.
fn name(uid: &Uid, firmware: &str) -> DeviceName {
    let name = firmware.split(' ').next().and_then(slug);
    let uid = uid.to_string();
    let tail = uid.get(uid.len().saturating_sub(4)..).unwrap_or(&uid);
    format!("{}-{tail}", name.as_deref().unwrap_or("board")).into()
}

/// How far number `a` lies ahead of `b`; negative behind it.
pub(super) fn ahead(a: u32, b: u32) -> i32 {
    a.wrapping_sub(b).cast_signed()
}

/// The low byte of a boot number.
pub(super) fn low8(number: u32) -> u8 {
    let [low, ..] = number.to_le_bytes();
    low
}

/// The low half of a reading's number, as it stands in frames.
pub(super) fn low16(number: u32) -> u16 {
    let [low, high, ..] = number.to_le_bytes();
    u16::from_le_bytes([low, high])
}
