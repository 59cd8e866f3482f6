//! The messages in flight on one connection, and what becomes of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::mqtt::codec::CodecError;
use crate::mqtt::packet::{Ack, PacketId, Qos, Reason};
use crate::mqtt::session::Outgoing;
use crate::queue::Taken;
use crate::topic::Subject;

use super::batch::Rows;
use super::words::Word;

/// Payload bytes in flight at most, one message more or less.
const WINDOW_BYTES: usize = 1024 * 1024;
/// First and longest pause after the broker could not take a message now, but perhaps later.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(8));

/// Something in flight.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum What {
    /// Rows of the queue.
    Rows(Rows),
    /// A retained word.
    Word(Subject, Word),
}

/// What a PUBACK says of its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The broker has it.
    Taken,
    /// The broker does not take it now.
    NotNow,
    /// The broker takes no more so fast.
    TooMuch,
    /// The broker will never take it.
    Never,
}

impl From<Reason> for Verdict {
    /// Source: MQTT 5.0, 3.4.2.1. "Packet id in use" is no fault of the message: it gets another.
    fn from(reason: Reason) -> Self {
        const IMPLEMENTATION_ERROR: Reason = Reason(0x83);
        const ID_IN_USE: Reason = Reason(0x91);
        match reason {
            Reason::FAILED | IMPLEMENTATION_ERROR | ID_IN_USE => Self::NotNow,
            Reason::QUOTA => Self::TooMuch,
            reason if reason.is_failure() => Self::Never,
            _ => Self::Taken,
        }
    }
}

/// What became of something that was sent.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome {
    /// The rows are in the cloud.
    Delivered(Rows),
    /// The broker will never take the row.
    RowRefused(Taken, Reason),
    /// The broker will never take what was said on this topic.
    WordRefused(Arc<str>, Reason),
    /// The broker takes no more so fast; what it refused will be sent again.
    TooMuch(Reason),
}

/// A message that cannot be sent on this connection, nor on the next: too large for the broker, or
/// not to be expressed in MQTT.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Unsendable<T>(pub(super) T, pub(super) CodecError);

/// A message in flight.
#[derive(Debug)]
struct Flight {
    what: What,
    /// Of its payload.
    bytes: usize,
    /// [`Flights::slowed`] when it was sent.
    slowed: u32,
}

/// Messages between PUBLISH and PUBACK.
#[derive(Debug)]
pub(super) struct Flights {
    outgoing: Outgoing<Flight>,
    window: usize,
    bytes: usize,
    paused: Option<Instant>,
    next_pause: Duration,
    /// Which refusal it was that last slowed us down: what was sent before it says nothing new.
    slowed: u32,
    again: BTreeMap<u64, Rows>,
}

impl Flights {
    /// Nothing in flight, and room for `window` messages.
    pub(super) fn new(window: u16) -> Self {
        Self {
            outgoing: Outgoing::new(window),
            window: window.into(),
            bytes: 0,
            paused: None,
            next_pause: PAUSE.0,
            slowed: 0,
            again: BTreeMap::new(),
        }
    }

    /// How many are in flight.
    pub(super) fn len(&self) -> usize {
        self.outgoing.len()
    }

    /// How many more may be: none while the broker wants to be left alone.
    pub(super) fn room(&self) -> usize {
        let open = self.paused.is_none() && self.bytes < WINDOW_BYTES;
        if open { self.window.saturating_sub(self.outgoing.len()) } else { 0 }
    }

    /// The one that has been in flight for longest.
    pub(super) fn oldest(&self) -> Option<PacketId> {
        self.outgoing.oldest()
    }

    /// Begins the flight of `what`, a message of `bytes`.
    ///
    /// # Errors
    /// There is no room; `what` is given back.
    pub(super) fn launch(&mut self, what: What, bytes: usize) -> Result<PacketId, What> {
        let flight = Flight { what, bytes, slowed: self.slowed };
        let id = self.outgoing.send(flight, Qos::AtLeastOnce).map_err(|flight| flight.what)?;
        self.bytes += bytes;
        Ok(id)
    }

    /// Ends a flight that did not begin after all.
    pub(super) fn abort(&mut self, id: PacketId) -> Option<What> {
        let flight = self.outgoing.forget(id)?;
        self.bytes = self.bytes.saturating_sub(flight.bytes);
        Some(flight.what)
    }

    /// Takes a PUBACK. `None` where nothing with that id was in flight. After
    /// [`Verdict::NotNow`] there is no room for a while. [`Verdict::TooMuch`] comes once for all that
    /// was sent before it.
    pub(super) fn land(&mut self, ack: Ack, now: Instant) -> Option<(What, Verdict)> {
        let flight = self.outgoing.puback(ack.id)?;
        self.bytes = self.bytes.saturating_sub(flight.bytes);
        let mut verdict = Verdict::from(ack.reason);
        match verdict {
            Verdict::Taken => self.next_pause = PAUSE.0,
            Verdict::NotNow => self.pause(now),
            Verdict::TooMuch if flight.slowed == self.slowed => self.slowed += 1,
            Verdict::TooMuch => verdict = Verdict::NotNow,
            Verdict::Never => {}
        }
        Some((flight.what, verdict))
    }

    /// One pause for all refusals that come while it lasts.
    fn pause(&mut self, now: Instant) {
        if self.paused.is_none() {
            self.paused = Some(now + self.next_pause);
            self.next_pause = (self.next_pause * 2).min(PAUSE.1);
        }
    }

    /// When the pause ends.
    pub(super) fn paused_until(&self) -> Option<Instant> {
        self.paused
    }

    /// Ends a pause that has lasted long enough.
    pub(super) fn end_pause(&mut self, now: Instant) {
        self.paused = self.paused.filter(|until| *until > now);
    }

    /// Keeps rows that are to be sent again, in one message.
    pub(super) fn keep(&mut self, rows: Rows) {
        self.again.insert(rows.first().position, rows);
    }

    /// The first of the rows that were [kept](Self::keep), by position.
    pub(super) fn take_kept(&mut self) -> Option<Rows> {
        self.again.pop_first().map(|(_, rows)| rows)
    }

    /// Ends everything; gives what was in flight and its bytes, in order.
    pub(super) fn end(mut self) -> Vec<(What, usize)> {
        self.outgoing.drain().into_iter().map(|flight| (flight.what, flight.bytes)).collect()
    }
}
