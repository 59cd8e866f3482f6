//! The other side of wire v1, for tests: a host that follows the rules, as small as it can be.

use serialgate_wire::{Ack, Data, Decoder, MAX_WIRE, Message};

use super::board::low16;

/// A host that follows the rules, as small as it can be. What it stored survives its reboots.
#[derive(Default)]
pub(super) struct Host {
    decoder: Decoder,
    /// Known since the HELLO of this run.
    board: Option<u8>,
    asked_ms: Option<u64>,
    nak_ms: Option<u64>,
    expected: Option<u32>,
    pub(super) stored: Vec<u32>,
    /// Readings that will never come.
    pub(super) gaps: u32,
    replies: Vec<u8>,
}

impl Host {
    /// Forgets all but what is stored.
    pub(super) fn reboot(&mut self) {
        let (expected, gaps) = (self.expected, self.gaps);
        *self = Self { expected, gaps, stored: std::mem::take(&mut self.stored), ..Self::default() };
    }

    /// Takes bytes from the board and gives the answer.
    pub(super) fn step(&mut self, now_ms: u64, bytes: &[u8]) -> Vec<u8> {
        for &byte in bytes {
            let mut decoder = std::mem::take(&mut self.decoder);
            if let Some(Ok(frame)) = decoder.feed(byte) {
                self.take(now_ms, frame.boot8, &Message::parse(&frame).unwrap());
            }
            self.decoder = decoder;
        }
        if self.board.is_none() && self.asked_ms.is_none_or(|at| at + 500 <= now_ms) {
            self.asked_ms = Some(now_ms);
            self.say(0, &Message::HelloReq);
        }
        std::mem::take(&mut self.replies)
    }

    fn take(&mut self, now_ms: u64, boot8: u8, message: &Message<'_>) {
        match message {
            Message::Hello(hello) => {
                // What the board sent while nobody listened is to come again.
                let rewind = self.board.replace(boot8).is_none();
                if self.expected.is_none() {
                    // What was dropped before we met will not come either.
                    self.gaps = hello.oldest;
                    self.expected = Some(hello.oldest);
                }
                self.reply(rewind);
            }
            Message::Data(data) if self.board.is_some() => self.data(now_ms, data),
            _ => {}
        }
    }

    fn data(&mut self, now_ms: u64, data: &Data<'_>) {
        let expected = self.expected.unwrap();
        let ahead = data.seq.wrapping_sub(low16(expected)).cast_signed();
        if ahead < 0 {
            self.reply(false);
        } else if ahead == 0 || data.oldest {
            let ahead = u32::from(ahead.cast_unsigned());
            self.gaps += ahead;
            self.stored.push(expected + ahead);
            self.expected = Some(expected + ahead + 1);
            self.reply(false);
        } else if self.nak_ms.is_none_or(|at| at + 100 <= now_ms) {
            self.nak_ms = Some(now_ms);
            self.reply(true);
        }
    }

    fn reply(&mut self, rewind: bool) {
        let next = low16(self.expected.unwrap());
        self.say(self.board.unwrap(), &Message::Ack(Ack { next, rewind }));
    }

    fn say(&mut self, boot8: u8, message: &Message<'_>) {
        self.replies.extend(message.encode(boot8, &mut [0; MAX_WIRE]).unwrap());
    }
}
