//! The feed of a line that carries wire v1: bytes in, readings and answers out.
//!
//! The rules are in [`crate::wire`]; this does what they say, and keeps the tickets of the readings
//! that are on their way to safety.

use std::collections::VecDeque;
use std::future::pending;

use serialgate_wire::{Call, Decoder, Frame, MAX_WIRE, Message, Reject, Rejected};
use tokio::sync::oneshot::error::TryRecvError;

use super::chatter::{self, Chatter};
use super::report::{Counts, Report};
use crate::call::Answer;
use crate::flow::{Asked, Reply};
use crate::queue::{Full, Ticket};
use crate::reading::{Body, DeviceName, Stamp};
use crate::render::{ChannelMeta, DeviceMeta};
use crate::wire::{Accept, Accepted, Action, Description, Heard, Known, Link};

/// Most bytes that wait to be sent. Beyond that new frames are dropped: the device does not listen,
/// and everything we say is said again when it matters.
const OUTBOX_MAX: usize = 1024;

/// Shorter text that has no line end is taken for noise, in bytes.
const TEXT_MIN: usize = 4;

/// Turns the bytes of one line into readings and answers.
#[derive(Debug)]
pub struct WireFeed {
    decoder: Decoder,
    link: Link,
    /// Numbers and tickets of the readings that are not safe yet, in order.
    tickets: VecDeque<(u32, Ticket)>,
    /// What the other ports know of this board's readings.
    noted: Option<(u32, u32)>,
    step: Step,
    /// When the newest reading was sampled.
    newest: Option<Stamp>,
    /// Who waits for the answers to commands, and their numbers, in order.
    replies: VecDeque<(u64, Reply)>,
    /// Number of the next command.
    next_call: u64,
    chatter: Chatter,
}

/// The fate of a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Its number.
    pub number: u32,
    /// It is safe; otherwise it never will be.
    pub safe: bool,
}

/// How the decoder's chunks have been so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Nothing yet: the first chunk may be the end of one.
    First,
    /// The last chunk was a frame, or text.
    In,
    /// The last chunk was bad.
    Out,
    /// In pieces of a chunk that is too long, and counted.
    Long,
}

impl WireFeed {
    /// A feed whose device is called `named`, or names itself.
    #[must_use]
    pub fn new(named: Option<DeviceName>) -> Self {
        Self {
            decoder: Decoder::new(),
            link: Link::new(named),
            tickets: VecDeque::new(),
            noted: None,
            newest: None,
            replies: VecDeque::new(),
            next_call: 0,
            step: Step::First,
            chatter: Chatter::default(),
        }
    }

    /// The port was opened.
    pub fn opened(&mut self, now: Stamp, report: &Report, outbox: &mut Vec<u8>) {
        self.decoder = Decoder::new();
        self.step = Step::First;
        self.link.opened(now);
        self.act(now, report, outbox);
    }

    /// The port was closed.
    pub fn closed(&mut self, now: Stamp, report: &Report) {
        // While the device is known.
        self.tell_suppressed(i64::MAX, report);
        self.link.closed();
        self.act(now, report, &mut Vec::new());
    }

    /// When [`WireFeed::tick`] is due, in microseconds of the boot clock.
    #[must_use]
    pub fn wake_at_us(&self) -> Option<i64> {
        self.link.wake_at_us().into_iter().chain(self.chatter.wake_at_us()).min()
    }

    /// Time went by.
    pub fn tick(&mut self, now: Stamp, report: &Report, outbox: &mut Vec<u8>) {
        self.link.tick(now);
        self.act(now, report, outbox);
        self.tell_suppressed(now.us, report);
    }

    /// The board is to do something.
    pub fn call(&mut self, asked: Asked, now: Stamp, report: &Report, outbox: &mut Vec<u8>) {
        let number = self.next_call;
        self.next_call += 1;
        self.replies.push_back((number, asked.reply));
        self.link.call(number, asked.call, now);
        self.act(now, report, outbox);
    }

    /// That became of command `number`.
    fn answer(&mut self, number: u64, answer: Answer) {
        if let Some(at) = self.replies.iter().position(|(known, _)| *known == number)
            && let Some((_, reply)) = self.replies.remove(at)
        {
            reply.send(answer);
        }
    }

    /// Takes what was read at `now`.
    pub fn bytes(&mut self, bytes: &[u8], now: Stamp, report: &Report, outbox: &mut Vec<u8>) {
        let mut counts = Counts { bytes: bytes.len() as u64, ..Counts::default() };
        // What the decoder gives borrows it, so it steps aside while that is looked at.
        let mut decoder = std::mem::take(&mut self.decoder);
        for &byte in bytes {
            match decoder.feed(byte) {
                None => {}
                Some(Ok(frame)) => {
                    self.frame(&frame, now, report, &mut counts);
                    self.act(now, report, outbox);
                }
                Some(Err(chunk)) => self.rejected(&chunk, now, report, &mut counts),
            }
        }
        self.decoder = decoder;
        report.count(counts, now);
    }

    /// Waits until the fate of the oldest reading that is not safe is known. Cancel safe.
    pub async fn settled(&mut self) -> Settled {
        let Some((number, ticket)) = self.tickets.front_mut() else { return pending().await };
        let settled = Settled { number: *number, safe: ticket.await.is_ok() };
        self.tickets.pop_front();
        settled
    }

    /// Takes the fate of a reading, and of all others whose fate is known: many that are safe need
    /// one ACK.
    pub fn settle(&mut self, first: Settled, now: Stamp, report: &Report, outbox: &mut Vec<u8>) {
        let mut next = Some(first);
        let mut safe = None;
        while let Some(settled) = next {
            if settled.safe {
                safe = Some(settled.number);
            } else {
                if let Some(number) = safe.take() {
                    self.link.safe(number);
                }
                self.link.lost(settled.number, now);
                self.act(now, report, outbox);
            }
            next = self.next_settled();
        }
        if let Some(number) = safe {
            self.link.safe(number);
        }
        self.act(now, report, outbox);
    }

    /// The oldest reading that is not safe, if its fate is known.
    fn next_settled(&mut self) -> Option<Settled> {
        let (number, ticket) = self.tickets.front_mut()?;
        let safe = match ticket.try_recv() {
            Ok(_) => true,
            Err(TryRecvError::Closed) => false,
            Err(TryRecvError::Empty) => return None,
        };
        let settled = Settled { number: *number, safe };
        self.tickets.pop_front();
        Some(settled)
    }

    fn frame(&mut self, frame: &Frame<'_>, now: Stamp, report: &Report, counts: &mut Counts) {
        let heard = self.link.frame(frame, now, |uid, boot| {
            let resume = report.queue().resume(uid, boot)?;
            Some(Known { resume, safe: report.boards().safe(uid, boot, resume.next) })
        });
        match heard {
            Heard::Good => {
                counts.frames += 1;
                counts.resyncs += u64::from(matches!(self.step, Step::Out | Step::Long));
                self.step = Step::In;
            }
            Heard::Malformed => counts.bad_decode += 1,
            Heard::Echo => {}
        }
    }

    /// A chunk that is no frame: text that the board printed, or damage.
    fn rejected(&mut self, chunk: &Rejected<'_>, now: Stamp, report: &Report, counts: &mut Counts) {
        if let Some(text) = printable(chunk.bytes) {
            // Noise, or a wrong baud rate, is readable by chance now and then: a few characters, or one
            // that goes on for ever.
            let by_chance = chunk.why == Reject::TooLong || text.len() < TEXT_MIN;
            if by_chance && !chunk.bytes.contains(&b'\n') {
                report.device_debug(text);
            } else {
                self.said(text, now, report);
            }
            return;
        }
        let step = if chunk.why == Reject::TooLong { Step::Long } else { Step::Out };
        match (self.step, chunk.why) {
            (Step::First, _) | (Step::Long, Reject::TooLong) => {}
            (_, Reject::Version) => counts.bad_decode += 1,
            _ => counts.bad_check += 1,
        }
        self.step = step;
    }

    /// Does what the link says.
    fn act(&mut self, now: Stamp, report: &Report, outbox: &mut Vec<u8>) {
        while let Some(action) = self.link.next_action() {
            match action {
                Action::Send(boot8, message) => send(boot8, message, outbox),
                Action::Call { seq, command, arguments } => {
                    send(0, Message::Call(Call { seq, command, args: &arguments }), outbox);
                }
                Action::Answer(number, answer) => self.answer(number, answer),
                Action::Accept(accept) => self.accept(accept, now, report),
                Action::Gap { device, from, to, lost } => {
                    let span = self.newest.map(|before| (before, now));
                    if let Err(Full) = report.gap(&device, (from, to), lost, span) {
                        self.link.refused_gap(from, now);
                    }
                }
                Action::Remember { uid, boot, resume } => {
                    report.queue().set_resume(&uid, boot, resume);
                }
                Action::Forget => self.tickets.clear(),
                Action::Online(device) => report.online(&device),
                Action::Offline(device) => report.offline(&device),
                Action::Describe(description) => {
                    report.describe(&description.device.clone(), meta(&description));
                }
                Action::Log(text) => self.said(&text, now, report),
                Action::Note(note) => {
                    tracing::warn!(port = report.path(), note = note.as_str(), "odd board");
                    report.trouble(note.as_str().into());
                }
            }
        }
        self.tell_other_ports(report);
    }

    fn accept(&mut self, accept: Accept, now: Stamp, report: &Report) {
        let Accept { number, acknowledge, what } = accept;
        if let Accepted::Reading(reading) = &what {
            self.newest = Some(reading.at);
        }
        let ticket = match what {
            Accepted::Reading(reading) if !acknowledge => return report.queue().push(Body::Reading(reading)),
            Accepted::Reading(reading) => report.queue().push_ticketed(Body::Reading(reading)),
            Accepted::Malformed(device) => report.gap(&device, (number, number), 1, Some((now, now))),
        };
        match ticket {
            Ok(ticket) if acknowledge => self.tickets.push_back((number, ticket)),
            Ok(_) => {}
            Err(Full) => self.link.refused(number, now),
        }
    }

    /// The board said something for people.
    fn said(&mut self, text: &str, now: Stamp, report: &Report) {
        self.tell_suppressed(now.us, report);
        for line in chatter::lines(text) {
            if self.chatter.admits(now.us) {
                report.device_log(self.link.device(), &line);
            } else {
                report.device_debug(&line);
            }
        }
    }

    fn tell_suppressed(&mut self, now_us: i64, report: &Report) {
        if let Some(more) = self.chatter.ended(now_us) {
            report.device_log_more(self.link.device(), more);
        }
    }

    fn tell_other_ports(&mut self, report: &Report) {
        let Some((uid, boot, safe)) = self.link.safe_mark() else { return };
        if self.noted != Some((boot, safe)) {
            self.noted = Some((boot, safe));
            report.boards().note(uid, boot, safe);
        }
    }
}

/// Has `message` sent, with that low byte of the boot number, as long as the device listens.
fn send(boot8: u8, message: Message<'_>, outbox: &mut Vec<u8>) {
    let mut buffer = [0; MAX_WIRE];
    if let Ok(frame) = message.encode(boot8, &mut buffer)
        && outbox.len() + frame.len() <= OUTBOX_MAX
    {
        outbox.extend_from_slice(frame);
    }
}

fn meta(description: &Description) -> DeviceMeta {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let channels = description.schema.channels().iter().map(|channel| ChannelMeta {
        name: channel.name.to_string(),
        unit: some(&channel.unit),
        class: channel.class.map(Into::into),
        writable: channel.writable,
    });
    DeviceMeta {
        firmware: some(&description.firmware),
        uid: Some(description.uid.clone()),
        port: None,
        channels: channels.collect(),
    }
}

/// `bytes` as text, if that is what they are.
fn printable(bytes: &[u8]) -> Option<&str> {
    let text = str::from_utf8(bytes).ok()?;
    let readable = |c: char| !c.is_control() || matches!(c, '\t' | '\r' | '\n');
    text.chars().all(readable).then(|| text.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_told_from_damage() {
        for (bytes, expected) in [
            (&b"boot ok\r\n"[..], Some("boot ok")),
            ("21 °C".as_bytes(), Some("21 °C")),
            (b"\x07bell", None),
            (b"\xff\xfe", None),
        ] {
            assert_eq!(printable(bytes), expected);
        }
    }
}
