//! A board in Rust: the rules of `PROTOCOL.md` over any UART of `embedded-io`. It needs no std, no
//! allocation and no float; `main.rs` beside it gives it a terminal for a UART.

use embedded_io::{Error, ErrorKind, Read, ReadReady, Write};
use serialgate_wire::{
    Ack, Call, CallResult, Class, Crc32, Data, Decoder, Describe, Exponent, Hello, Int, ItemWriter, Items,
    MAX_PAYLOAD, MAX_WIRE, Message, NoRoom, Value,
};

/// Readings that wait for the gateway. More than two seconds of them, or a lost frame can cost some.
pub(crate) const RING: u32 = 64;

/// Milliseconds until the first probe when no ACK comes, and most between two of them.
const RTO_MS: (u32, u32) = (1_000, 32_000);
/// Milliseconds between two HELLOs, before the first ACK and after it.
const HELLO_MS: (u32, u32) = (5_000, 60_000);

/// What the board measures and does. Channel 1 can be set by the gateway.
const CHANNELS: [Describe<'static>; CHANNEL_COUNT as usize] =
    [channel(0, 0x80, Class::Counter, "1", "n"), channel(1, 0x10, Class::State, "", "lamp")];

const CHANNEL_COUNT: u8 = 2;

const fn channel(
    channel: u8,
    fmt: u8,
    class: Class,
    unit: &'static str,
    name: &'static str,
) -> Describe<'static> {
    Describe { seq: 0, channel, fmt, class, writable: matches!(class, Class::State), unit, name, more: &[] }
}

/// The board, on its UART.
pub(crate) struct Board<U> {
    uart: U,
    uid: [u8; 4],
    /// Rises with each boot, or is random.
    boot: u32,
    decoder: Decoder,
    /// Reading `n` stands at `n % RING`: when it was sampled, and its value.
    ring: [(u32, u32); RING as usize],
    oldest: u32,
    next: u32,
    /// The first reading that was not sent since the last rewind.
    unsent: u32,
    dropped: u32,
    hello_at: u32,
    heard: bool,
    /// When an ACK is due, or the next probe; and milliseconds between probes, 0 while none is needed.
    data_at: u32,
    rto_ms: u32,
    /// The last command's number and its answer, for a gateway that did not get it.
    last_call: Option<(u16, u8)>,
    /// What the gateway has set.
    pub(crate) lamp: bool,
    /// Milliseconds between two readings.
    pub(crate) interval_ms: u32,
}

impl<U: Read + ReadReady + Write> Board<U> {
    pub(crate) fn new(uart: U, uid: [u8; 4], boot: u32, now: u32) -> Self {
        let (oldest, next, unsent, dropped) = (0, 0, 0, 0);
        let (hello_at, heard, data_at, rto_ms, last_call) = (now, false, now, 0, None);
        let (decoder, ring, lamp, interval_ms) = (Decoder::new(), [(0, 0); RING as usize], false, 1_000);
        Self {
            uart,
            uid,
            boot,
            decoder,
            ring,
            oldest,
            next,
            unsent,
            dropped,
            hello_at,
            heard,
            data_at,
            rto_ms,
            last_call,
            lamp,
            interval_ms,
        }
    }

    /// Takes a reading. Where there is no room, the oldest gives way.
    pub(crate) fn measure(&mut self, now: u32, value: u32) {
        if self.next.wrapping_sub(self.oldest) == RING {
            self.pop(1);
            self.dropped = self.dropped.wrapping_add(1);
        }
        if let Some(place) = self.ring.get_mut((self.next % RING) as usize) {
            *place = (now, value);
        }
        self.next = self.next.wrapping_add(1);
    }

    /// Hears what there is to hear and says what there is to say. Call it often.
    pub(crate) fn poll(&mut self, now: u32) -> Result<(), ErrorKind> {
        let mut byte = [0];
        while self.uart.read_ready().map_err(|error| error.kind())? {
            if self.uart.read(&mut byte).map_err(|error| error.kind())? == 0 {
                break;
            }
            // What a frame says borrows the decoder, so it steps aside meanwhile.
            let mut decoder = core::mem::take(&mut self.decoder);
            if let Some(Ok(frame)) = decoder.feed(byte[0])
                && let Ok(message) = Message::parse(&frame)
            {
                self.hear(frame.boot8, message, now)?;
            }
            self.decoder = decoder;
        }
        if is_due(self.hello_at, now) {
            self.hello_at = now.wrapping_add(if self.heard { HELLO_MS.1 } else { HELLO_MS.0 });
            self.hello(now)?;
        }
        while let Some(number) = self.due(now) {
            self.data(number)?;
        }
        Ok(())
    }

    fn hear(&mut self, boot8: u8, message: Message<'_>, now: u32) -> Result<(), ErrorKind> {
        match message {
            Message::Ack(ack) if boot8 == self.boot8() => self.acknowledge(ack, now),
            Message::HelloReq => {
                self.hello_at = now;
                if self.rto_ms > 0 {
                    (self.rto_ms, self.data_at) = (RTO_MS.0, now);
                }
            }
            Message::DescribeReq(request) => {
                if let Some(channel) = CHANNELS.get(usize::from(request.channel)) {
                    self.say(&Message::Describe(Describe { seq: request.seq, ..*channel }))?;
                }
            }
            Message::Call(call) => {
                // Done once, however often it is asked.
                let status = match self.last_call {
                    Some((seq, status)) if seq == call.seq => status,
                    _ => self.call(&call),
                };
                self.last_call = Some((call.seq, status));
                self.say(&Message::Result(CallResult { seq: call.seq, status, items: Items::default() }))?;
            }
            _ => {}
        }
        Ok(())
    }

    /// An ACK pops; only a NAK rewinds.
    fn acknowledge(&mut self, ack: Ack, now: u32) {
        let ahead = u32::from(ack.next.wrapping_sub(low16(self.oldest)));
        let known = ahead <= self.next.wrapping_sub(self.oldest);
        if !known && !ack.rewind {
            return;
        }
        let count = if known { ahead } else { 0 };
        self.pop(count);
        if ack.rewind {
            self.unsent = self.oldest;
        }
        if count > 0 || ack.rewind || self.rto_ms > 0 {
            (self.rto_ms, self.data_at) = (0, now.wrapping_add(RTO_MS.0));
        }
        self.heard = true;
    }

    /// 0 done, 1 unknown, 2 refused.
    fn call(&mut self, call: &Call<'_>) -> u8 {
        match (call.command, call.args) {
            (Call::SET, args) => match Items::parse(args).ok().and_then(|mut items| items.next()) {
                Some(item)
                    if item.channel == 1
                        && let Value::Bool(on) = item.value =>
                {
                    self.lamp = on;
                    0
                }
                _ => 2,
            },
            (Call::INTERVAL, &[a, b, c, d]) if [a, b, c, d] != [0; 4] => {
                self.interval_ms = u32::from_le_bytes([a, b, c, d]);
                0
            }
            (Call::INTERVAL, _) => 2,
            _ => 1,
        }
    }

    /// The reading to be sent now: the next one, or while no ACK comes the oldest alone, ever more rarely.
    fn due(&mut self, now: u32) -> Option<u32> {
        let was_sent = self.unsent != self.oldest;
        if self.rto_ms == 0 && was_sent && is_due(self.data_at, now) {
            self.rto_ms = RTO_MS.0;
        }
        let probing = self.rto_ms > 0;
        let number = if probing { self.oldest } else { self.unsent };
        if number == self.next || (probing && !is_due(self.data_at, now)) {
            return None;
        }
        if probing {
            self.rto_ms = (self.rto_ms * 2).min(RTO_MS.1);
        }
        if number == self.oldest {
            self.data_at = now.wrapping_add(self.rto_ms.max(RTO_MS.0));
        }
        if number == self.unsent {
            self.unsent = number.wrapping_add(1);
        }
        Some(number)
    }

    fn hello(&mut self, uptime_ms: u32) -> Result<(), ErrorKind> {
        let crc = CHANNELS.iter().fold(Crc32::new(), |crc, channel| {
            crc.extend(channel.payload(&mut [0; MAX_PAYLOAD]).unwrap_or_default())
        });
        let Self { boot, oldest, next, dropped, uid, .. } = *self;
        let (rxmax, channels, schema_crc, firmware) = (64, CHANNEL_COUNT, crc.value(), "rust 1.0");
        let (minor, caps, uid) = (0, 3, &uid[..]);
        self.say(&Message::Hello(Hello {
            minor,
            caps,
            boot,
            uptime_ms,
            oldest,
            next,
            dropped,
            rxmax,
            channels,
            schema_crc,
            uid,
            firmware,
        }))
    }

    fn data(&mut self, number: u32) -> Result<(), ErrorKind> {
        let (t_ms, value) = self.ring.get((number % RING) as usize).copied().unwrap_or_default();
        let mut room = [0; 16];
        let mut items = ItemWriter::new(&mut room);
        let pushed = items.push(0, Value::decimal(Int::U32(value), Exponent::ZERO));
        pushed.and_then(|()| items.push(1, Value::Bool(self.lamp))).map_err(no_room)?;
        let (seq, oldest) = (low16(number), number == self.oldest);
        self.say(&Message::Data(Data { seq, oldest, no_ack: false, t_ms, items: items.finish() }))
    }

    /// Waits for the UART, as `embedded-io` does. A driver with a buffer of its own waits less.
    fn say(&mut self, message: &Message<'_>) -> Result<(), ErrorKind> {
        let mut buffer = [0; MAX_WIRE];
        let frame = message.encode(self.boot8(), &mut buffer).map_err(no_room)?;
        self.uart.write_all(frame).and_then(|()| self.uart.flush()).map_err(|error| error.kind())
    }

    fn pop(&mut self, count: u32) {
        let was_unsent = self.unsent.wrapping_sub(self.oldest);
        self.oldest = self.oldest.wrapping_add(count);
        if was_unsent < count {
            self.unsent = self.oldest;
        }
    }

    fn boot8(&self) -> u8 {
        self.boot.to_le_bytes()[0]
    }
}

fn no_room(_: NoRoom) -> ErrorKind {
    ErrorKind::OutOfMemory
}

/// Whether `at` has come. Right for 24 days, which is longer than anything is waited for.
fn is_due(at: u32, now: u32) -> bool {
    now.wrapping_sub(at).cast_signed() >= 0
}

fn low16(number: u32) -> u16 {
    let [low, high, ..] = number.to_le_bytes();
    u16::from_le_bytes([low, high])
}
