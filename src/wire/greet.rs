//! Getting to know a board: HELLO, and what its channels are called.

use std::sync::Arc;

use serialgate_wire::{Describe, DescribeReq, Hello, Message};

use super::action::{Action, Heard, Note};
use super::schema::{Inquiry, Outcome};
use super::session::{Known, Names, Session, Start};
use super::{Link, Phase};
use crate::reading::{Stamp, Uid};

impl Link {
    /// A board said HELLO.
    pub(super) fn hello(
        &mut self,
        hello: &Hello<'_>,
        now: Stamp,
        recall: impl FnOnce(&Uid, u32) -> Option<Known>,
    ) -> Heard {
        let Some(uid) = Uid::new(hello.uid) else { return Heard::Malformed };
        let nobody = Phase::Waiting { call: None, before: None };
        let (before, heartbeat) = match std::mem::replace(&mut self.phase, nobody) {
            Phase::Waiting { before, .. } => (before, false),
            Phase::Up(session) => (Some(session), true),
        };
        let before = before.filter(|session| session.uid == uid && session.boot == hello.boot);
        let known = match &before {
            Some(session) if heartbeat => Some(session.known()),
            // The board may have been on another line meanwhile: the queue knows.
            _ => recall(&uid, hello.boot),
        };
        let start = Start::of(hello, known);
        if start.renumbered {
            self.actions.push_back(Action::Note(Note::Renumbered));
        }
        let same = before.filter(|session| {
            !start.renumbered && known.is_some_and(|known| known.resume.next == session.next)
        });
        let mut session = same.unwrap_or_else(|| {
            self.actions.push_back(Action::Forget);
            self.calls.rebooted(&mut self.actions);
            Box::new(Session::new(uid, hello, self.named.clone(), now))
        });
        if let Some((from, lost)) = start.gap {
            let device = Arc::clone(&session.device);
            self.actions.push_back(Action::Gap { device, from, to: start.next.wrapping_sub(1), lost });
        }
        session.resume(hello, &start);
        if heartbeat {
            session.clock.hello(hello.uptime_ms, now.us);
        } else {
            session.clock.hello_again(hello.uptime_ms, now.us);
            if session.names.are_awaited() {
                // Nobody answers a question from before.
                session.schema_crc = None;
            }
        }
        if known.map(|known| known.resume) != Some(session.known().resume) {
            self.actions.push_back(session.remember());
        }
        self.phase = Phase::Up(session);
        self.name_channels(hello, now);
        if let Phase::Up(session) = &self.phase
            && !session.names.are_awaited()
        {
            // What the board sent while nobody listened is to come again.
            self.acknowledge(!heartbeat);
        }
        Heard::Good
    }

    /// After a HELLO: finds the channels' names, or asks for them.
    fn name_channels(&mut self, hello: &Hello<'_>, now: Stamp) {
        let Phase::Up(session) = &mut self.phase else { return };
        let changed = session.schema_crc != Some(hello.schema_crc);
        session.schema_crc = Some(hello.schema_crc);
        let inquiry = Inquiry::new(hello.channels, now.us);
        match &mut session.names {
            Names::MadeUp(_, asking) if !changed => {
                asking.get_or_insert(inquiry);
            }
            Names::Awaited(_) | Names::Known(_) if !changed => {}
            names => match self.schemas.get(&session.uid, hello.schema_crc) {
                Some(schema) => {
                    *names = Names::Known(schema);
                    self.describe();
                }
                None => *names = Names::Awaited(inquiry),
            },
        }
        self.inquire(now, None);
    }

    /// Moves the inquiry for channel names on, with a description or without.
    pub(super) fn inquire(&mut self, now: Stamp, describe: Option<&Describe<'_>>) {
        let Phase::Up(session) = &mut self.phase else { return };
        let waiting = session.names.are_awaited();
        let Some(inquiry) = session.names.inquiry_mut() else { return };
        let outcome = match describe {
            Some(describe) => inquiry.answer(describe, now.us),
            None => inquiry.outcome(now.us),
        };
        match outcome {
            Outcome::Open => {
                if let Some(channel) = inquiry.ask(now.us) {
                    self.asked = self.asked.wrapping_add(1);
                    let request = DescribeReq { seq: self.asked, channel };
                    self.actions.push_back(Action::Send(0, Message::DescribeReq(request)));
                }
                return;
            }
            Outcome::Complete(schema) => {
                let schema = Arc::new(schema);
                self.schemas.put(&session.uid, session.schema_crc.unwrap_or(0), Arc::clone(&schema));
                session.names = Names::Known(schema);
                self.describe();
            }
            Outcome::GivenUp if waiting => {
                session.make_up_names();
                self.actions.push_back(Action::Note(Note::Nameless));
                self.describe();
            }
            Outcome::GivenUp => session.make_up_names(),
        }
        if waiting {
            // Whatever came meanwhile was not taken.
            self.acknowledge(true);
        }
    }

    pub(super) fn describe(&mut self) {
        if let Phase::Up(session) = &self.phase
            && let Some(description) = session.description()
        {
            self.actions.push_back(Action::Describe(description));
        }
    }
}
