//! The device side of wire v1, as a board's firmware would do it: a ring of readings, go-back-N,
//! answers to what the host asks. Pure: time comes in as milliseconds, bytes go in and out.
//!
//! ```text
//!  sample() ──> ring ──transmit()──> host        An ACK pops, a NAK rewinds. When no ACK comes,
//!                ^                    │          only the oldest is sent, after 1, 2, 4 … 32 s.
//!                └───── receive() <───┘
//! ```
//! Only a NAK rewinds, as in the C library: an ACK that is late does not bring everything again that was
//! sent already.

use std::collections::VecDeque;

use serialgate_wire::{
    Ack, Call, CallResult, Crc32, Data, Decoder, Describe, DescribeReq, Exponent, Frame, Hello, Int,
    ItemWriter, Items, MAX_PAYLOAD, MAX_RAW, MAX_WIRE, Message, NoRoom, Value,
};

mod ring;

use ring::Ring;
pub use ring::{Capacity, RING_MAX};

/// Longest wait for an ACK before the first retransmission, in milliseconds.
const RTO_MIN_MS: u64 = 1_000;
/// Longest wait between two retransmissions, in milliseconds.
const RTO_MAX_MS: u64 = 32_000;
/// Time between HELLOs until the first ACK, in milliseconds.
const HELLO_SEARCHING_MS: u64 = 5_000;
/// Time between HELLOs after the first ACK, in milliseconds.
const HELLO_HEARTBEAT_MS: u64 = 60_000;
/// What the board says it can do: describe its channels, and take calls.
const CAPS: u8 = 3;
/// Answers that wait to be sent; a host that asks for more at once gets fewer.
const ANSWERS_MAX: usize = 16;
/// Longest item list that a reading can have, in bytes: a payload without the time.
const ITEMS_MAX: usize = MAX_PAYLOAD - 4;

/// RESULT status: done.
pub const STATUS_OK: u8 = 0;
/// RESULT status: the board does not know that command.
pub const STATUS_UNKNOWN: u8 = 1;
/// RESULT status: the board knows the command and will not do it with these arguments.
pub const STATUS_REFUSED: u8 = 2;
/// The simulated sketch's own command: do nothing, and count how often it was done.
pub const COMMAND_PING: u8 = Call::FIRST_OWN;

/// What a board is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Unique id, 1 to 16 bytes.
    pub uid: Vec<u8>,
    /// Number of this boot.
    pub boot: u32,
    /// Firmware as in HELLO: name, a space, version.
    pub firmware: String,
    /// Its channels, in order. Their `channel` is their place here, their `seq` is ignored.
    pub channels: &'static [Describe<'static>],
    /// Its memory.
    pub capacity: Capacity,
}

/// What the host's bytes made the board do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The host has these readings safe: `count` of them from number `first`.
    Acknowledged {
        /// Number of the first.
        first: u32,
        /// How many.
        count: u32,
    },
    /// The host asked for a reboot.
    Rebooted {
        /// Readings of the boot before that were held, or had been dropped.
        lost: u32,
    },
}

/// A board.
#[derive(Debug)]
pub struct Board {
    identity: Identity,
    schema_crc: u32,
    booted_ms: u64,
    decoder: Decoder,
    ring: Ring,
    flow: Flow,
    hello_at_ms: u64,
    hello_every_ms: u64,
    /// Encoded frames that wait to be sent.
    answers: VecDeque<Vec<u8>>,
    /// The last call's number and its RESULT, for a host that did not get it.
    last_call: Option<(u16, Vec<u8>)>,
    pings: u32,
}

/// What may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    /// Everything, in order. If an ACK is due, it is due at `ack_due_ms`.
    Open { ack_due_ms: Option<u64> },
    /// No ACK came in time. Only the oldest, at `at_ms`, and then again after `rto_ms`.
    Probing { at_ms: u64, rto_ms: u64 },
}

/// What a frame of the host asks for.
#[derive(Clone, Copy)]
enum Request {
    Ack(Ack),
    Hello,
    Describe(DescribeReq),
    Call { seq: u16, command: u8 },
}

impl Board {
    /// A board that boots at `now_ms`.
    #[must_use]
    pub fn new(identity: Identity, now_ms: u64) -> Self {
        Self {
            schema_crc: schema_crc(identity.channels),
            ring: Ring::new(identity.capacity),
            identity,
            booted_ms: now_ms,
            decoder: Decoder::new(),
            flow: Flow::Open { ack_due_ms: None },
            hello_at_ms: now_ms,
            hello_every_ms: HELLO_SEARCHING_MS,
            answers: VecDeque::new(),
            last_call: None,
            pings: 0,
        }
    }

    /// Number of the present boot.
    #[must_use]
    pub fn boot(&self) -> u32 {
        self.identity.boot
    }

    /// Readings held: not acknowledged yet.
    #[must_use]
    pub fn held(&self) -> usize {
        self.ring.len()
    }

    /// Readings dropped since boot because the ring was full.
    #[must_use]
    pub fn dropped(&self) -> u32 {
        self.ring.dropped()
    }

    /// Stores a reading taken now and returns its number.
    ///
    /// # Errors
    /// [`NoRoom`] when the items do not fit into one frame.
    pub fn sample(&mut self, now_ms: u64, items: Items<'_>) -> Result<u32, NoRoom> {
        if items.as_bytes().len() > ITEMS_MAX {
            return Err(NoRoom);
        }
        Ok(self.ring.push(self.uptime_ms(now_ms), items.as_bytes()))
    }

    /// Appends the next frame to `out`, if there is one to be sent now.
    pub fn transmit(&mut self, now_ms: u64, out: &mut Vec<u8>) -> bool {
        if let Some(answer) = self.answers.pop_front() {
            out.extend(answer);
        } else if self.hello_at_ms <= now_ms {
            self.hello_at_ms = now_ms + self.hello_every_ms;
            out.extend(self.hello(now_ms));
        } else if let Some(index) = self.due(now_ms) {
            out.extend(self.data(index));
        } else {
            return false;
        }
        true
    }

    /// When [`Board::transmit`] has something to send next, if nothing happens until then.
    #[must_use]
    pub fn next_wake_ms(&self, now_ms: u64) -> u64 {
        let data_at = match self.flow {
            _ if !self.answers.is_empty() => now_ms,
            Flow::Open { .. } if self.ring.has_unsent() => now_ms,
            Flow::Open { ack_due_ms } => ack_due_ms.unwrap_or(u64::MAX),
            Flow::Probing { at_ms, .. } => at_ms,
        };
        data_at.min(self.hello_at_ms)
    }

    /// Takes bytes from the host.
    pub fn receive(&mut self, now_ms: u64, bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        for &byte in bytes {
            let Some(Ok(frame)) = self.decoder.feed(byte) else { continue };
            let Some(request) = request(&frame, low8(self.identity.boot)) else { continue };
            events.extend(self.answer(now_ms, request));
        }
        events
    }

    fn answer(&mut self, now_ms: u64, request: Request) -> Option<Event> {
        match request {
            Request::Ack(ack) => return self.acknowledge(now_ms, ack),
            Request::Hello => {
                self.hello_at_ms = now_ms;
                // There is a host again: no need to wait longer with the oldest reading.
                if let Flow::Probing { .. } = self.flow {
                    self.flow = Flow::Probing { at_ms: now_ms, rto_ms: RTO_MIN_MS };
                }
            }
            Request::Describe(DescribeReq { seq, channel }) => {
                let describe = self.identity.channels.get(usize::from(channel))?;
                self.push_answer(self.encode(&Message::Describe(Describe { seq, ..*describe })));
            }
            Request::Call { seq, command } => return self.call(now_ms, seq, command),
        }
        None
    }

    /// Pops what is safe, and rewinds on a NAK.
    fn acknowledge(&mut self, now_ms: u64, ack: Ack) -> Option<Event> {
        let first = self.ring.oldest();
        let ahead = ack.next.wrapping_sub(low16(first));
        // A number out of our range says nothing, except in a NAK: then the host waits for readings
        // that we dropped, and the oldest we have tells it so.
        let count = if usize::from(ahead) <= self.ring.len() {
            u32::from(ahead)
        } else if ack.rewind {
            0
        } else {
            return None;
        };
        for _ in 0..count {
            self.ring.pop();
        }
        if ack.rewind {
            self.ring.rewind();
        }
        // An ACK of nothing new must not put off the retransmission that is already due.
        if count > 0 || ack.rewind || matches!(self.flow, Flow::Probing { .. }) {
            self.flow = Flow::Open { ack_due_ms: self.ring.has_sent().then_some(now_ms + RTO_MIN_MS) };
        }
        if self.hello_every_ms != HELLO_HEARTBEAT_MS {
            self.hello_every_ms = HELLO_HEARTBEAT_MS;
            self.hello_at_ms = now_ms + HELLO_HEARTBEAT_MS;
        }
        (count > 0).then_some(Event::Acknowledged { first, count })
    }

    /// Does what is asked, at most once for each number.
    fn call(&mut self, now_ms: u64, seq: u16, command: u8) -> Option<Event> {
        if let Some((last, result)) = &self.last_call
            && *last == seq
        {
            self.push_answer(result.clone());
            return None;
        }
        let mut buffer = [0; 8];
        let mut items = ItemWriter::new(&mut buffer);
        let status = match command {
            Call::REBOOT => STATUS_OK,
            COMMAND_PING => {
                self.pings = self.pings.wrapping_add(1);
                let pings = Value::decimal(Int::U32(self.pings), Exponent::ZERO);
                items.push(0, pings).map_or(STATUS_REFUSED, |()| STATUS_OK)
            }
            Call::SET | Call::INTERVAL => STATUS_REFUSED,
            _ => STATUS_UNKNOWN,
        };
        let result = self.encode(&Message::Result(CallResult { seq, status, items: items.finish() }));
        let event = (command == Call::REBOOT).then(|| self.reboot(now_ms));
        self.last_call = Some((seq, result.clone()));
        self.push_answer(result);
        event
    }

    /// Begins the next boot. What was in memory is lost.
    fn reboot(&mut self, now_ms: u64) -> Event {
        let held = u32::try_from(self.ring.len()).unwrap_or(u32::MAX);
        let lost = self.dropped().wrapping_add(held);
        let identity = Identity { boot: self.boot().wrapping_add(1), ..self.identity.clone() };
        *self = Self::new(identity, now_ms);
        Event::Rebooted { lost }
    }

    /// Index in the ring of the reading to be sent now.
    fn due(&mut self, now_ms: u64) -> Option<usize> {
        if let Flow::Open { ack_due_ms: Some(at_ms) } = self.flow
            && at_ms <= now_ms
        {
            self.flow = Flow::Probing { at_ms, rto_ms: RTO_MIN_MS };
        }
        match self.flow {
            Flow::Open { ack_due_ms } => {
                let index = self.ring.send_next()?;
                self.flow = Flow::Open { ack_due_ms: ack_due_ms.or(Some(now_ms + RTO_MIN_MS)) };
                Some(index)
            }
            Flow::Probing { at_ms, rto_ms } if at_ms <= now_ms => {
                let rto_ms = (rto_ms * 2).min(RTO_MAX_MS);
                self.flow = Flow::Probing { at_ms: now_ms + rto_ms, rto_ms };
                self.ring.send_oldest()
            }
            Flow::Probing { .. } => None,
        }
    }

    fn hello(&self, now_ms: u64) -> Vec<u8> {
        self.encode(&Message::Hello(Hello {
            minor: 0,
            caps: CAPS,
            boot: self.identity.boot,
            uptime_ms: self.uptime_ms(now_ms),
            oldest: self.ring.oldest(),
            next: self.ring.next(),
            dropped: self.ring.dropped(),
            rxmax: u8::try_from(MAX_RAW).unwrap_or(u8::MAX),
            channels: u8::try_from(self.identity.channels.len()).unwrap_or(u8::MAX),
            schema_crc: self.schema_crc,
            uid: &self.identity.uid,
            firmware: &self.identity.firmware,
        }))
    }

    fn data(&self, index: usize) -> Vec<u8> {
        let Some((seq, t_ms, items)) = self.ring.get(index) else { return Vec::new() };
        self.encode(&Message::Data(Data {
            seq: low16(seq),
            oldest: index == 0,
            no_ack: false,
            t_ms,
            items: Items::parse(items).unwrap_or_default(),
        }))
    }

    /// The frame; nothing at all if the identity's texts are too long for one.
    fn encode(&self, message: &Message<'_>) -> Vec<u8> {
        message.encode(low8(self.identity.boot), &mut [0; MAX_WIRE]).map(<[u8]>::to_vec).unwrap_or_default()
    }

    fn push_answer(&mut self, frame: Vec<u8>) {
        if self.answers.len() < ANSWERS_MAX {
            self.answers.push_back(frame);
        }
    }

    /// Wraps after 49.7 days, as `millis()` does.
    fn uptime_ms(&self, now_ms: u64) -> u32 {
        let uptime = now_ms.saturating_sub(self.booted_ms) & u64::from(u32::MAX);
        u32::try_from(uptime).unwrap_or(u32::MAX)
    }
}

fn low8(number: u32) -> u8 {
    number.to_le_bytes()[0]
}

pub(super) fn low16(number: u32) -> u16 {
    let [low, high, ..] = number.to_le_bytes();
    u16::from_le_bytes([low, high])
}

/// What `frame` asks of a board whose boot number ends with `boot8`. Nothing if it is our own echo,
/// malformed, of an unknown kind, or meant for an earlier boot.
fn request(frame: &Frame<'_>, boot8: u8) -> Option<Request> {
    if !frame.kind.is_from_host() {
        return None;
    }
    match Message::parse(frame).ok()? {
        Message::Ack(ack) => (frame.boot8 == boot8).then_some(Request::Ack(ack)),
        Message::HelloReq => Some(Request::Hello),
        Message::DescribeReq(request) => Some(Request::Describe(request)),
        Message::Call(Call { seq, command, .. }) => Some(Request::Call { seq, command }),
        _ => None,
    }
}

/// CRC-32 over the payloads of all DESCRIBEs.
fn schema_crc(channels: &[Describe<'_>]) -> u32 {
    let mut buffer = [0; MAX_PAYLOAD];
    let crc = channels
        .iter()
        .fold(Crc32::new(), |crc, channel| crc.extend(channel.payload(&mut buffer).unwrap_or_default()));
    crc.value()
}

#[cfg(test)]
mod tests;
