//! The host side of a wire v1 link: one board on one serial line.
//!
//! [`Link`] is a state machine without input or output of its own. The driver tells it what
//! happened (the port was opened, a frame came, a reading became safe, time went by) and then does
//! what [`Link::next_action`] says, until that is nothing.
//!
//! ```text
//!          opened                 HELLO              names known, made up
//!  closed ───────> waiting ──────────────> up: asking ─────────────────> up: flowing
//!                  HELLO_REQ               DESCRIBE_REQ                  DATA, ACK, NAK
//! ```
//! The promise is kept by two numbers. `next` is the reading expected next; it moves when a reading
//! is accepted, so that none is accepted twice. `safe` follows it once readings are safe, and is all
//! that an ACK ever says: a board forgets what is acknowledged. A NAK says `safe` too, because a
//! board takes it as an ACK as well.
//!
//! Commands go the other way, as CALLs ([`calls`]).
//!
//! One board per line: with two of them on one line, each HELLO starts a new session.
//! Source: wire-v1, "Rules".

use std::collections::VecDeque;
use std::sync::Arc;

use serialgate_wire::{Ack, Data, Frame, Kind, Message, flags};

use crate::reading::{DeviceName, Stamp, Uid};

mod action;
pub mod calls;
mod greet;
mod items;
pub mod schema;
mod session;
pub mod time;
pub mod values;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

pub use self::action::{Accept, Accepted, Action, Description, Heard, Note};
use self::calls::Calls;
use self::schema::{Cache, Inquiry};
pub use self::session::Known;
use self::session::{Session, low8, low16};

/// First and longest time between two HELLO_REQs, in microseconds.
const CALL_US: (i64, i64) = (1_000_000, 5_000_000);
/// Shortest time between two NAKs, or two answers to readings that we have, in microseconds.
const NAK_US: i64 = 100_000;
/// After the queue refused a reading no NAK is sent for so long, in microseconds.
const REFUSED_US: i64 = 1_000_000;
/// A board that is silent for so long is offline, in microseconds: three missed heartbeats.
const OFFLINE_US: i64 = 180_000_000;

/// The host side of one line.
#[derive(Debug)]
pub struct Link {
    /// What the configuration calls the device on this line.
    named: Option<DeviceName>,
    phase: Phase,
    presence: Presence,
    schemas: Cache,
    /// Number of the last DESCRIBE_REQ.
    asked: u16,
    calls: Calls,
    actions: VecDeque<Action>,
}

#[derive(Debug)]
enum Phase {
    /// No HELLO since the port was opened, or it is closed. Nothing is acknowledged.
    Waiting {
        /// When to call the board; `None` while the port is closed.
        call: Option<Appeal>,
        /// The session before: it goes on if the board is still the same.
        before: Option<Box<Session>>,
    },
    /// We know who is there.
    Up(Box<Session>),
}

/// The next HELLO_REQ.
#[derive(Clone, Copy, Debug)]
struct Appeal {
    at_us: i64,
    wait_us: i64,
}

/// Whether the device counts as online.
#[derive(Debug)]
enum Presence {
    Offline,
    Online { device: DeviceName, heard_us: i64 },
}

impl Link {
    /// A link on a closed port whose device is to be called `named`; without that, the board's
    /// firmware and uid name it.
    #[must_use]
    pub fn new(named: Option<DeviceName>) -> Self {
        Self {
            named,
            phase: Phase::Waiting { call: None, before: None },
            presence: Presence::Offline,
            schemas: Cache::default(),
            asked: 0,
            calls: Calls::default(),
            actions: VecDeque::new(),
        }
    }

    /// What to do next.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Who is there, as far as we know.
    #[must_use]
    pub fn device(&self) -> Option<&DeviceName> {
        match &self.phase {
            Phase::Up(session) => Some(&session.device),
            Phase::Waiting { before, .. } => before.as_ref().map(|session| &session.device),
        }
    }

    /// When to call [`Link::tick`], if nothing else happens: microseconds of the boot clock.
    #[must_use]
    pub fn wake_at_us(&self) -> Option<i64> {
        let step = match &self.phase {
            Phase::Waiting { call, .. } => call.map(|call| call.at_us),
            Phase::Up(session) => session.names.inquiry().map(Inquiry::wake_at_us),
        };
        let fade = match self.presence {
            Presence::Offline => None,
            Presence::Online { heard_us, .. } => Some(heard_us + OFFLINE_US),
        };
        step.into_iter().chain(fade).chain(self.calls.wake_at_us()).min()
    }

    /// The port was opened.
    pub fn opened(&mut self, now: Stamp) {
        self.wait(Some(Appeal { at_us: now.us, wait_us: CALL_US.0 }));
        self.tick(now);
    }

    /// The port was closed. Readings that wait for safety may still become safe.
    pub fn closed(&mut self) {
        self.wait(None);
        self.offline();
        self.calls.closed(&mut self.actions);
    }

    /// Time went by.
    pub fn tick(&mut self, now: Stamp) {
        if let Presence::Online { heard_us, .. } = self.presence
            && now.us >= heard_us + OFFLINE_US
        {
            self.offline();
        }
        match &mut self.phase {
            Phase::Waiting { call: Some(call), .. } if now.us >= call.at_us => {
                call.at_us = now.us + call.wait_us;
                call.wait_us = (call.wait_us + CALL_US.0).min(CALL_US.1);
                self.send(0, Message::HelloReq);
            }
            Phase::Waiting { .. } => {}
            Phase::Up(_) => self.inquire(now, None),
        }
        self.turn_calls(now);
    }

    /// A frame came. `recall` is what the queue remembers of a boot of a board.
    pub fn frame(
        &mut self,
        frame: &Frame<'_>,
        now: Stamp,
        recall: impl FnOnce(&Uid, u32) -> Option<Known>,
    ) -> Heard {
        if frame.kind.is_from_host() {
            return Heard::Echo;
        }
        let heard = match Message::parse(frame) {
            Ok(Message::Hello(hello)) => self.hello(&hello, now, recall),
            Ok(Message::Data(data)) => self.data(frame.boot8, data.seq, Ok(data), now),
            Ok(Message::Describe(describe)) => {
                self.inquire(now, Some(&describe));
                Heard::Good
            }
            Ok(Message::Log(text)) => {
                self.actions.push_back(Action::Log(text.into()));
                Heard::Good
            }
            Ok(Message::Result(result)) => {
                if let Phase::Up(session) = &self.phase {
                    self.calls.result(&result, session, &mut self.actions);
                }
                Heard::Good
            }
            // What we do not know we ignore. The rest is for boards.
            Ok(_) => Heard::Good,
            Err(_) if frame.kind == Kind::DATA => self.data(frame.boot8, frame.seq, Err(Bad::of(frame)), now),
            Err(_) => Heard::Malformed,
        };
        if heard == Heard::Good {
            self.online(now);
            self.turn_calls(now);
        }
        heard
    }

    /// The queue has no room for reading `number`, which it was just given.
    pub fn refused(&mut self, number: u32, now: Stamp) {
        if let Phase::Up(session) = &mut self.phase {
            session.next = number;
            // The board will come again; asking it to would only keep both of us busy.
            session.nak_after_us = now.us + REFUSED_US;
        }
    }

    /// The queue has no room to say that there is a gap from reading `from` on.
    pub fn refused_gap(&mut self, from: u32, now: Stamp) {
        // What was to follow must not overtake it. The next HELLO shows the gap again.
        self.actions.retain(|action| !matches!(action, Action::Accept(_) | Action::Remember { .. }));
        if let Phase::Up(session) = &mut self.phase {
            session.next = from;
            self.wait(Some(Appeal { at_us: now.us + REFUSED_US, wait_us: CALL_US.0 }));
        }
    }

    /// All readings up to `number` are safe.
    pub fn safe(&mut self, number: u32) {
        let flowing = match &mut self.phase {
            Phase::Waiting { before: Some(session), .. } => {
                session.save(number);
                return;
            }
            Phase::Waiting { .. } => return,
            Phase::Up(session) => {
                session.save(number);
                !session.names.are_awaited()
            }
        };
        if flowing {
            self.acknowledge(false);
        }
    }

    /// Reading `number` never became safe: it and all later ones are to come again.
    pub fn lost(&mut self, number: u32, now: Stamp) {
        let (Phase::Up(session) | Phase::Waiting { before: Some(session), .. }) = &mut self.phase else {
            return;
        };
        if session.is_past(number) {
            // The board does not hold it any more.
            let device = Arc::clone(&session.device);
            self.actions.push_back(Action::Gap { device, from: number, to: number, lost: 1 });
            return;
        }
        session.next = number;
        session.nak_after_us = now.us + NAK_US;
        let remember = session.remember();
        self.actions.extend([Action::Forget, remember]);
        if matches!(self.phase, Phase::Up(_)) {
            self.acknowledge(true);
        }
    }

    /// The board whose readings wait for safety, its boot number, and up to where they are safe.
    #[must_use]
    pub fn safe_mark(&self) -> Option<(&Uid, u32, u32)> {
        let (Phase::Up(session) | Phase::Waiting { before: Some(session), .. }) = &self.phase else {
            return None;
        };
        Some((&session.uid, session.boot, session.safe))
    }

    fn data(&mut self, boot8: u8, seq: u16, data: Result<Data<'_>, Bad>, now: Stamp) -> Heard {
        let heard = if data.is_ok() { Heard::Good } else { Heard::Malformed };
        let Phase::Up(session) = &mut self.phase else { return heard };
        if boot8 != low8(session.boot) {
            if now.us >= session.hello_after_us {
                session.hello_after_us = now.us + CALL_US.0;
                self.send(0, Message::HelloReq);
            }
            return heard;
        }
        let (oldest, no_ack) = match data {
            Ok(data) => (data.oldest, data.no_ack),
            Err(bad) => (bad.oldest, bad.no_ack),
        };
        if session.names.are_awaited() {
            if !no_ack {
                return heard;
            }
            // It will not come again, and whoever does not listen will not answer either.
            session.make_up_names();
            self.describe();
        }
        let Phase::Up(session) = &mut self.phase else { return heard };
        let ahead = seq.wrapping_sub(low16(session.next)).cast_signed();
        match ahead {
            ..0 if no_ack => {}
            ..0 => {
                if now.us >= session.again_after_us {
                    session.again_after_us = now.us + NAK_US;
                    self.acknowledge(false);
                }
            }
            0 => self.accept(data, no_ack, now),
            1.. if oldest || no_ack => {
                let gap = session.skip(u32::from(ahead.unsigned_abs()));
                let remember = session.remember();
                self.actions.extend([gap, remember]);
                self.accept(data, no_ack, now);
            }
            1.. => {
                if now.us >= session.nak_after_us {
                    session.nak_after_us = now.us + NAK_US;
                    self.acknowledge(true);
                }
            }
        }
        heard
    }

    /// Takes the reading that is expected.
    fn accept(&mut self, data: Result<Data<'_>, Bad>, no_ack: bool, now: Stamp) {
        let Phase::Up(session) = &mut self.phase else { return };
        let number = session.next;
        let what = match data {
            Ok(data) => Accepted::Reading(session.reading(&data, now)),
            Err(Bad { .. }) => Accepted::Malformed(Arc::clone(&session.device)),
        };
        session.next = number.wrapping_add(1);
        self.actions.push_back(Action::Accept(Accept { number, acknowledge: !no_ack, what }));
    }

    /// Says which readings the board may forget; with `rewind` it sends the others again.
    fn acknowledge(&mut self, rewind: bool) {
        if let Phase::Up(session) = &self.phase {
            let (boot8, next) = (low8(session.boot), low16(session.safe));
            self.send(boot8, Message::Ack(Ack { next, rewind }));
        }
    }

    fn wait(&mut self, call: Option<Appeal>) {
        let nobody = Phase::Waiting { call: None, before: None };
        let before = match std::mem::replace(&mut self.phase, nobody) {
            Phase::Waiting { before, .. } => before,
            Phase::Up(session) => Some(session),
        };
        self.phase = Phase::Waiting { call, before };
    }

    fn online(&mut self, now: Stamp) {
        let Phase::Up(session) = &self.phase else { return };
        match &mut self.presence {
            Presence::Online { device, heard_us } if *device == session.device => *heard_us = now.us,
            _ => {
                let device = Arc::clone(&session.device);
                self.offline();
                self.actions.push_back(Action::Online(Arc::clone(&device)));
                self.presence = Presence::Online { device, heard_us: now.us };
            }
        }
    }

    fn offline(&mut self) {
        if let Presence::Online { device, .. } = std::mem::replace(&mut self.presence, Presence::Offline) {
            self.actions.push_back(Action::Offline(device));
        }
    }

    fn send(&mut self, boot8: u8, message: Message<'static>) {
        self.actions.push_back(Action::Send(boot8, message));
    }
}

/// A DATA frame whose content is malformed.
#[derive(Clone, Copy, Debug)]
struct Bad {
    oldest: bool,
    no_ack: bool,
}

impl Bad {
    fn of(frame: &Frame<'_>) -> Self {
        Self { oldest: frame.flags & flags::OLDEST != 0, no_ack: frame.flags & flags::NO_ACK != 0 }
    }
}
