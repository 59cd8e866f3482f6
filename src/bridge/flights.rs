//! The messages in flight on one connection, and what becomes of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::mqtt::codec::CodecError;
use crate::mqtt::packet::{Ack, Packet, PacketId, Publish, Qos, Reason};
use crate::mqtt::session::{Outgoing, Recorded, Resend};
use crate::queue::Taken;
use crate::queue::acks::Due;
use crate::topic::Subject;

use super::batch::Rows;
use super::subscribe;
use super::suspect::Item;
use super::words::Word;

/// Payload bytes in flight at most, one message more or less.
const WINDOW_BYTES: usize = 1024 * 1024;
/// First and longest pause after the broker could not take a message now, but perhaps later.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(8));

/// Highest packet id of our messages in a session that outlives its connections. After a restart all
/// of them are released: the broker may hold some, and would take a new message for a copy.
pub(super) const HIGHEST_ID: PacketId = PacketId::new(1024).unwrap();

/// Something in flight.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum What {
    /// Rows of the queue.
    Rows(Rows),
    /// A retained word.
    Word(Subject, Word),
}

/// "Implementation specific error".
const IMPLEMENTATION_ERROR: Reason = Reason(0x83);

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
        const ID_IN_USE: Reason = Reason(0x91);
        match reason {
            Reason::FAILED | IMPLEMENTATION_ERROR | ID_IN_USE => Self::NotNow,
            Reason::QUOTA => Self::TooMuch,
            reason if reason.is_failure() => Self::Never,
            _ => Self::Taken,
        }
    }
}

/// Whether a refusal for now says so little that it may as well be one for good.
pub(super) fn is_vague(reason: Reason) -> bool {
    matches!(reason, Reason::FAILED | IMPLEMENTATION_ERROR)
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
    /// The cloud sent a message; with QoS 1 and 2 it waits for an acknowledgement.
    Received(Box<Publish>, Option<Due>),
    /// A QoS 2 message came again; whether it was acknowledged before.
    ReceivedAgain(PacketId, bool),
    /// The cloud forgot that id.
    Released(PacketId),
    /// The cloud answered to subscriptions.
    Subscribed(Vec<subscribe::Answer>),
    /// The broker does not take the row at this position now, without saying why. It will be sent again.
    Failed(u64),
    /// The broker takes no more so fast; what it refused will be sent again.
    TooMuch(Reason),
}

/// A message that cannot be sent on this connection, nor on the next: too large for the broker, or
/// not to be expressed in MQTT.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Unsendable<T>(pub(super) T, pub(super) CodecError);

/// One message between PUBLISH and PUBACK or PUBREC.
#[derive(Debug)]
struct Flight {
    what: What,
    /// Of its payload.
    bytes: usize,
    /// [`Flights::slowed`] when it was sent.
    slowed: u32,
    /// What to send again, word for word, where the session outlives the connection.
    copy: Option<Box<Publish>>,
}

/// What a PUBREC asks for.
#[derive(Debug, PartialEq)]
pub(super) enum Answer {
    /// A PUBREL.
    Release(Ack),
    /// Nothing: the message is over.
    Over(What, Verdict),
    /// Nothing.
    Nothing,
}

/// Messages between PUBLISH and their last acknowledgement: PUBACK, or PUBCOMP.
#[derive(Debug)]
pub(super) struct Flights {
    outgoing: Outgoing<Flight>,
    /// QoS 2, between PUBREC and PUBCOMP. The broker has it in its session; some (mosquitto) hand it on
    /// only after PUBREL, so it is not done yet.
    recorded: BTreeMap<PacketId, What>,
    /// The session outlives the connection.
    outlives: bool,
    /// Connections in a row on which nothing was acknowledged.
    fruitless: u32,
    window: usize,
    bytes: usize,
    paused: Option<Instant>,
    next_pause: Duration,
    /// Which refusal it was that last slowed us down: what was sent before it says nothing new.
    slowed: u32,
    again: BTreeMap<u64, Rows>,
}

impl Flights {
    /// Nothing in flight, and room for `window` messages. `outlives` says that the session outlives
    /// the connection.
    pub(super) fn new(window: u16, outlives: bool) -> Self {
        let outgoing = Outgoing::new(window);
        Self {
            outgoing: if outlives { outgoing.with_ids_up_to(HIGHEST_ID) } else { outgoing },
            recorded: BTreeMap::new(),
            outlives,
            fruitless: 0,
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

    /// What that is.
    pub(super) fn oldest_item(&self) -> Option<Item> {
        self.outgoing.oldest_message().map(|flight| match &flight.what {
            What::Rows(rows) => Item::Row(rows.first().position),
            What::Word(_, word) => Item::Word(Arc::clone(&word.topic)),
        })
    }

    /// Begins the flight of `what` as `publish`, which has QoS 1 or 2.
    ///
    /// # Errors
    /// There is no room; `what` is given back.
    pub(super) fn launch(&mut self, what: What, publish: &Publish) -> Result<PacketId, What> {
        let bytes = publish.payload.len();
        let copy = self.outlives.then(|| Box::new(publish.clone()));
        let flight = Flight { what, bytes, slowed: self.slowed, copy };
        let id = self.outgoing.send(flight, publish.qos).map_err(|flight| flight.what)?;
        self.bytes += bytes;
        Ok(id)
    }

    /// Ends a flight that did not begin after all.
    pub(super) fn abort(&mut self, id: PacketId) -> Option<What> {
        let flight = self.outgoing.forget(id)?;
        Some(self.arrived(flight))
    }

    fn arrived(&mut self, flight: Flight) -> What {
        self.bytes = self.bytes.saturating_sub(flight.bytes);
        self.fruitless = 0;
        flight.what
    }

    /// Takes a PUBACK. `None` where nothing with that id was in flight. After
    /// [`Verdict::NotNow`] there is no room for a while. [`Verdict::TooMuch`] comes once for all that
    /// was sent before it.
    pub(super) fn land(&mut self, ack: Ack, now: Instant) -> Option<(What, Verdict)> {
        let flight = self.outgoing.puback(ack.id)?;
        let slowed = flight.slowed;
        Some((self.arrived(flight), self.judge(ack.reason, slowed, now)))
    }

    /// Takes a PUBREC.
    pub(super) fn record(&mut self, ack: Ack, now: Instant) -> Answer {
        match self.outgoing.pubrec(ack) {
            Recorded::Released(flight) => {
                if let Some(flight) = flight {
                    let what = self.arrived(flight);
                    self.recorded.insert(ack.id, what);
                }
                Answer::Release(Ack::ok(ack.id))
            }
            Recorded::Refused(flight) => {
                let slowed = flight.as_ref().map_or(self.slowed, |flight| flight.slowed);
                let what = flight.map(|flight| self.arrived(flight));
                match what.or_else(|| self.recorded.remove(&ack.id)) {
                    Some(what) => Answer::Over(what, self.judge(ack.reason, slowed, now)),
                    None => Answer::Nothing,
                }
            }
            Recorded::Unknown => Answer::Release(Ack { id: ack.id, reason: Reason::ID_NOT_FOUND }),
        }
    }

    /// Takes a PUBCOMP; gives what is in the cloud now. Its reason says nothing: "packet id not
    /// found" means that an earlier PUBREL was the last.
    pub(super) fn complete(&mut self, id: PacketId) -> Option<What> {
        if !self.outgoing.pubcomp(id) {
            return None;
        }
        self.fruitless = 0;
        self.recorded.remove(&id)
    }

    /// `slowed` is [`Flights::slowed`] when the message was sent.
    fn judge(&mut self, reason: Reason, slowed: u32, now: Instant) -> Verdict {
        let mut verdict = Verdict::from(reason);
        match verdict {
            Verdict::Taken => self.next_pause = PAUSE.0,
            Verdict::NotNow => self.pause(now),
            Verdict::TooMuch if slowed == self.slowed => self.slowed += 1,
            Verdict::TooMuch => verdict = Verdict::NotNow,
            Verdict::Never => {}
        }
        verdict
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

    /// The connection is gone and the session is not: retained words are forgotten, the newest will
    /// come again. `unwritten` was sent with QoS 0 and may not have left.
    pub(super) fn disconnected(&mut self, unwritten: Vec<What>) {
        self.outgoing.retain(|flight| matches!(flight.what, What::Rows(_)));
        self.bytes = self.outgoing.iter().map(|flight| flight.bytes).sum();
        self.recorded.retain(|_, what| matches!(what, What::Rows(_)));
        for what in unwritten {
            if let What::Rows(rows) = what {
                self.keep(rows);
            }
        }
    }

    /// A new connection to the same session, with room for `window` messages: what is in flight is to
    /// be [sent again](Self::next_resend).
    pub(super) fn reconnect(&mut self, window: u16) {
        self.fruitless += 1;
        self.window = window.into();
        self.paused = None;
        self.outgoing.reconnect(window);
    }

    /// How many connections in a row have brought no acknowledgement.
    pub(super) fn fruitless(&self) -> u32 {
        self.fruitless
    }

    /// The next packet to send again: a PUBLISH, with its id and the DUP flag, or a PUBREL.
    pub(super) fn next_resend(&mut self) -> Option<Packet> {
        loop {
            match self.outgoing.next_resend()? {
                Resend::Publish(id, flight) => {
                    if let Some(copy) = &flight.copy {
                        let again = Publish { id: Some(id), dup: true, ..(**copy).clone() };
                        return Some(Packet::Publish(Box::new(again)));
                    }
                }
                Resend::Release(id) => return Some(Packet::PubRel(Ack::ok(id))),
            }
        }
    }

    /// Messages that may arrive twice because they are sent again with QoS 1.
    pub(super) fn unsure(&self) -> impl Iterator<Item = &Rows> {
        let is_unsure =
            |flight: &&Flight| flight.copy.as_ref().is_some_and(|copy| copy.qos == Qos::AtLeastOnce);
        self.outgoing.iter().filter(is_unsure).filter_map(|flight| match &flight.what {
            What::Rows(rows) => Some(rows),
            What::Word(..) => None,
        })
    }

    /// Ends everything; gives what was in flight and its bytes, in order.
    pub(super) fn end(mut self) -> Vec<(What, usize)> {
        let recorded = self.recorded.into_values().map(|what| (what, 0));
        let in_flight = self.outgoing.drain().into_iter().map(|flight| (flight.what, flight.bytes));
        recorded.chain(in_flight).collect()
    }
}
