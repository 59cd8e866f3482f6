//! Commands on their way to a board: one at a time, each done at most once.
//!
//! ```text
//!              asked              number clear            RESULT, or no time left
//!  idle ──────────────> clearing ──────────────> called ──────────────────────────> idle
//!                       CALL 0 ()                CALL
//! ```
//! A board that gets the number of its last call again repeats the RESULT and does nothing. So a call
//! may be said as often as needed, and must never bear the number of another one. The board may
//! remember a number that an earlier run of the gateway gave: the first call after an opening sets
//! nothing, which does no harm whatever its number, and after it each next number is a new one.
//! Source: PROTOCOL.md, 4 and 5.8.

use std::collections::VecDeque;

use serialgate_wire::{self as wire, CallResult};

use super::action::Action;
use super::schema::Schema;
use super::session::Session;
use super::{Link, Phase, items, values};
use crate::call::{Answer, Call, Failure, Given};
use crate::reading::Stamp;

/// Most commands that wait for one board.
pub const WAITING_MAX: usize = 16;
/// A command is answered within so long, in microseconds: one that comes late may do harm.
pub const PATIENCE_US: i64 = 5_000_000;
/// Without a RESULT for so long a call is said again, in microseconds.
const REPEAT_US: i64 = 500_000;
/// Bytes of a raw frame beside the arguments of a CALL: header, command, check sum.
const CALL_BYTES: usize = 5 + 1 + 4;

/// The commands of one line.
#[derive(Debug, Default)]
pub(super) struct Calls {
    waiting: VecDeque<Waiting>,
    out: Option<Out>,
    /// The number of the last call.
    seq: u16,
    /// The board remembers no other number than that.
    is_clear: bool,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    call: Call,
    until_us: i64,
}

/// The call that the board was asked to do.
#[derive(Debug)]
struct Out {
    purpose: Purpose,
    command: u8,
    arguments: Box<[u8]>,
    repeat_at_us: i64,
    until_us: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// To have a clear number.
    Clear,
    /// Command `number`, whose result names channels.
    Set(u64),
    /// Command `number`, whose result is its own.
    Other(u64),
}

/// What a board takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Board<'a> {
    pub(super) schema: &'a Schema,
    /// Longest raw frame, in bytes.
    pub(super) rxmax: u8,
    pub(super) takes_calls: bool,
}

impl Link {
    /// The board is to do `call`. Answered by [`Action::Answer`] with `number`, within
    /// [`PATIENCE_US`].
    pub fn call(&mut self, number: u64, call: Call, now: Stamp) {
        self.calls.ask(number, call, now.us, &mut self.actions);
        self.turn_calls(now);
    }

    pub(super) fn turn_calls(&mut self, now: Stamp) {
        let board = match &self.phase {
            Phase::Up(session) => session.board(),
            Phase::Waiting { .. } => None,
        };
        self.calls.turn(board, now.us, &mut self.actions);
    }
}

impl Calls {
    /// Command `number` is to be done.
    pub(super) fn ask(&mut self, number: u64, call: Call, now_us: i64, actions: &mut VecDeque<Action>) {
        if self.waiting.len() == WAITING_MAX {
            actions.push_back(Action::Answer(number, Failure::Busy.into()));
        } else {
            self.waiting.push_back(Waiting { number, call, until_us: now_us + PATIENCE_US });
        }
    }

    /// The board said how a call went.
    pub(super) fn result(
        &mut self,
        result: &CallResult<'_>,
        session: &Session,
        actions: &mut VecDeque<Action>,
    ) {
        if result.seq != self.seq {
            return;
        }
        let Some(out) = self.out.take() else { return };
        let answer = |given| match result.status {
            0 => Answer::Done(given),
            code => Answer::Declined { code, given },
        };
        match out.purpose {
            Purpose::Clear => self.is_clear = true,
            Purpose::Set(number) => {
                let given = Given::Values(session.values(result.items));
                actions.push_back(Action::Answer(number, answer(given)));
            }
            Purpose::Other(number) => {
                let given = result.items.map(|item| values::value(item.value));
                actions.push_back(Action::Answer(number, answer(Given::Answer(given.collect()))));
            }
        }
    }

    /// Does what is due. Without a `board` that listens, commands wait for one.
    pub(super) fn turn(&mut self, board: Option<Board<'_>>, now_us: i64, actions: &mut VecDeque<Action>) {
        while let Some(late) = self.waiting.pop_front_if(|waiting| now_us >= waiting.until_us) {
            actions.push_back(Action::Answer(late.number, Failure::Unsent.into()));
        }
        if let Some(out) = &mut self.out {
            if now_us < out.until_us {
                if now_us >= out.repeat_at_us {
                    out.repeat_at_us = now_us + REPEAT_US;
                    self.say(actions);
                }
                return;
            }
            self.end(Failure::Unanswered, actions);
        }
        let Some(board) = board else { return };
        while self.out.is_none()
            && let Some(next) = self.next(board, now_us, actions)
        {
            self.seq = self.seq.wrapping_add(1);
            self.out = Some(next);
            self.say(actions);
        }
    }

    /// The next call to be made. Commands that this board cannot do are answered.
    fn next(&mut self, board: Board<'_>, now_us: i64, actions: &mut VecDeque<Action>) -> Option<Out> {
        let repeat_at_us = now_us + REPEAT_US;
        loop {
            let until_us = self.waiting.front()?.until_us;
            if board.takes_calls && !self.is_clear {
                let arguments = Box::default();
                let (purpose, command) = (Purpose::Clear, wire::Call::SET);
                return Some(Out { purpose, command, arguments, repeat_at_us, until_us });
            }
            let Waiting { number, call, .. } = self.waiting.pop_front()?;
            match encode(&call, board) {
                Ok((command, arguments)) => {
                    let is_set = matches!(call, Call::Set(_));
                    let purpose = if is_set { Purpose::Set(number) } else { Purpose::Other(number) };
                    return Some(Out { purpose, command, arguments, repeat_at_us, until_us });
                }
                Err(why) => actions.push_back(Action::Answer(number, Failure::Invalid(why).into())),
            }
        }
    }

    fn say(&self, actions: &mut VecDeque<Action>) {
        if let Some(Out { command, arguments, .. }) = &self.out {
            let (seq, command, arguments) = (self.seq, *command, arguments.clone());
            actions.push_back(Action::Call { seq, command, arguments });
        }
    }

    /// Another board speaks, or the same one in another boot: nobody will answer any more.
    pub(super) fn rebooted(&mut self, actions: &mut VecDeque<Action>) {
        self.end(Failure::Gone, actions);
        self.is_clear = false;
    }

    /// The port was closed.
    pub(super) fn closed(&mut self, actions: &mut VecDeque<Action>) {
        self.rebooted(actions);
        for waiting in self.waiting.drain(..) {
            let why = Failure::Offline("the port was closed before it was sent".into());
            actions.push_back(Action::Answer(waiting.number, why.into()));
        }
    }

    fn end(&mut self, why: Failure, actions: &mut VecDeque<Action>) {
        match self.out.take().map(|out| out.purpose) {
            Some(Purpose::Set(number) | Purpose::Other(number)) => {
                actions.push_back(Action::Answer(number, why.into()));
            }
            Some(Purpose::Clear) | None => {}
        }
    }

    /// When there is something to do even if nothing happens.
    pub(super) fn wake_at_us(&self) -> Option<i64> {
        let out = self.out.as_ref().map(|out| out.repeat_at_us.min(out.until_us));
        out.into_iter().chain(self.waiting.front().map(|waiting| waiting.until_us)).min()
    }
}

/// Command and arguments of the CALL.
fn encode(call: &Call, board: Board<'_>) -> Result<(u8, Box<[u8]>), String> {
    if !board.takes_calls {
        return Err("this board takes no commands".into());
    }
    let room = usize::from(board.rxmax).saturating_sub(CALL_BYTES);
    let (command, arguments) = match call {
        Call::Set(values) => (wire::Call::SET, items::set(board.schema, values, room)?),
        Call::Reboot => (wire::Call::REBOOT, Box::default()),
        Call::Interval { ms } => (wire::Call::INTERVAL, Box::from(ms.to_le_bytes())),
        Call::Own { command, arguments } => (*command, arguments.clone()),
    };
    if arguments.len() > room {
        return Err(format!("this board takes {room} bytes of arguments; these are {}", arguments.len()));
    }
    Ok((command, arguments))
}
