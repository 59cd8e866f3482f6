//! What frames say: one type for each kind, parsed in place and encoded into the caller's buffer.
//!
//! Payloads may grow at their end in a later minor version, so bytes behind the known fields are
//! ignored; only item lists must end with their last item.

use core::fmt;

use crate::bytes::{NoRoom, Reader, Writer};
use crate::frame::{self, Frame, Kind, flags};
use crate::value::Items;

/// What one frame says. The low byte of the boot number is not part of it: see [`Frame::boot8`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Message<'a> {
    /// The device says who it is.
    Hello(Hello<'a>),
    /// A reading.
    Data(Data<'a>),
    /// One channel's name, unit and class.
    Describe(Describe<'a>),
    /// How a call went.
    Result(CallResult<'a>),
    /// A line for the device's log.
    Log(&'a str),
    /// Everything before a number is safe.
    Ack(Ack),
    /// The host asks for a HELLO.
    HelloReq,
    /// The host asks for a DESCRIBE.
    DescribeReq(DescribeReq),
    /// The host asks the device to do something.
    Call(Call<'a>),
    /// The time, for devices that show a clock.
    Time {
        /// Milliseconds since 1970-01-01T00:00:00Z.
        unix_ms: u64,
    },
    /// A kind that this version does not know. To be ignored.
    Unknown(Frame<'a>),
}

/// HELLO: who the device is and what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello<'a> {
    /// Minor version of the protocol.
    pub minor: u8,
    /// What the device can do; see the specification.
    pub caps: u8,
    /// Counts the device's boots, or is random.
    pub boot: u32,
    /// Milliseconds since the device booted; wraps after 49.7 days.
    pub uptime_ms: u32,
    /// Number of the oldest reading it holds; equal to `next` when it holds none.
    pub oldest: u32,
    /// Number of the next reading it will take.
    pub next: u32,
    /// Readings that it dropped since boot because its memory was full.
    pub dropped: u32,
    /// Longest frame it takes, in bytes before COBS.
    pub rxmax: u8,
    /// Number of its channels.
    pub channels: u8,
    /// CRC-32 over the payloads of all its DESCRIBEs, in channel order.
    pub schema_crc: u32,
    /// Its unique id.
    pub uid: &'a [u8],
    /// Its firmware: name, a space, version.
    pub firmware: &'a str,
}

/// DATA: what the device sampled at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Data<'a> {
    /// Low half of the reading's number.
    pub seq: u16,
    /// It is the oldest reading that the device still holds.
    pub oldest: bool,
    /// The device does not listen: send no ACK.
    pub no_ack: bool,
    /// The device's uptime when it sampled, in milliseconds.
    pub t_ms: u32,
    /// The values.
    pub items: Items<'a>,
}

/// DESCRIBE: what a channel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Describe<'a> {
    /// Number of the question it answers.
    pub seq: u16,
    /// Which channel.
    pub channel: u8,
    /// The `fmt` byte that its values mostly have.
    pub fmt: u8,
    /// How its values behave.
    pub class: Class,
    /// Whether the host can set it.
    pub writable: bool,
    /// Unit, as in SenML or UCUM; empty for none.
    pub unit: &'a str,
    /// Name.
    pub name: &'a str,
    /// Further fields of a later version.
    pub more: &'a [u8],
}

/// How a channel's values behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Goes up and down.
    Gauge,
    /// Only goes up, save for restarts.
    Counter,
    /// Changes now and then, and holds until it changes again.
    State,
    /// Something that happened at an instant.
    Event,
    /// A class of a later version, 4 to 127.
    Other(u8),
}

/// RESULT: how a call went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallResult<'a> {
    /// Number of the call.
    pub seq: u16,
    /// 0 when it went well.
    pub status: u8,
    /// What it gave.
    pub items: Items<'a>,
}

/// ACK, and NAK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Low half of the number expected next: all readings before it are safe.
    pub next: u16,
    /// Send again from there, now (NAK).
    pub rewind: bool,
}

/// DESCRIBE_REQ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DescribeReq {
    /// To be echoed in the answer.
    pub seq: u16,
    /// Which channel.
    pub channel: u8,
}

/// CALL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call<'a> {
    /// To be echoed in the answer. A repeated number gets the stored answer and does nothing.
    pub seq: u16,
    /// What to do: see the constants of this type.
    pub command: u8,
    /// How.
    pub args: &'a [u8],
}

impl Call<'_> {
    /// Set channels; the arguments are items.
    pub const SET: u8 = 0;
    /// Reboot.
    pub const REBOOT: u8 = 1;
    /// Set the sampling interval.
    pub const INTERVAL: u8 = 2;
    /// The first of the commands that mean what the sketch says.
    pub const FIRST_OWN: u8 = 16;
}

/// Why a payload is not what its kind promises. The frame's CRC was right, so the sender is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PayloadError {
    /// It ends inside a field.
    Truncated,
    /// Text is not UTF-8.
    Utf8,
    /// No value has this `fmt` byte.
    Format(u8),
}

impl PayloadError {
    /// The error in words, without the offending byte.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Truncated => "payload ends inside a field",
            Self::Utf8 => "text is not UTF-8",
            Self::Format(_) => "unknown value format",
        }
    }
}

impl fmt::Display for PayloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())?;
        match self {
            Self::Format(fmt) => write!(f, " {fmt:#04x}"),
            Self::Truncated | Self::Utf8 => Ok(()),
        }
    }
}

impl core::error::Error for PayloadError {}

impl<'a> Message<'a> {
    /// What `frame` says.
    ///
    /// # Errors
    /// When its payload is malformed.
    pub fn parse(frame: &Frame<'a>) -> Result<Self, PayloadError> {
        let mut reader = Reader::new(frame.payload);
        let seq = frame.seq;
        Ok(match frame.kind {
            Kind::HELLO => Self::Hello(Hello::read(&mut reader)?),
            Kind::DATA => Self::Data(Data {
                seq,
                oldest: frame.flags & flags::OLDEST != 0,
                no_ack: frame.flags & flags::NO_ACK != 0,
                t_ms: reader.u32()?,
                items: Items::parse(reader.rest())?,
            }),
            Kind::DESCRIBE => Self::Describe(Describe::read(seq, &mut reader)?),
            Kind::RESULT => {
                Self::Result(CallResult { seq, status: reader.u8()?, items: Items::parse(reader.rest())? })
            }
            Kind::LOG => Self::Log(core::str::from_utf8(frame.payload).map_err(|_| PayloadError::Utf8)?),
            Kind::ACK => Self::Ack(Ack { next: seq, rewind: frame.flags & flags::NAK != 0 }),
            Kind::HELLO_REQ => Self::HelloReq,
            Kind::DESCRIBE_REQ => Self::DescribeReq(DescribeReq { seq, channel: reader.u8()? }),
            Kind::CALL => Self::Call(Call { seq, command: reader.u8()?, args: reader.rest() }),
            Kind::TIME => Self::Time { unix_ms: reader.array().map(u64::from_le_bytes)? },
            _ => Self::Unknown(*frame),
        })
    }

    /// Writes the message as one frame, delimiters included, to the front of `out`, and returns the
    /// frame. A buffer of [`crate::MAX_WIRE`] bytes always does.
    ///
    /// `boot8` is the low byte of the device's boot number. A host puts it into ACKs, and 0 into
    /// everything else.
    ///
    /// # Errors
    /// [`NoRoom`] when a field is longer than 255 bytes, the frame longer than a frame may be, or
    /// `out` too small.
    pub fn encode<'o>(&self, boot8: u8, out: &'o mut [u8]) -> Result<&'o [u8], NoRoom> {
        let (kind, flags, seq) = self.head();
        let head = Frame { kind, flags, boot8, seq, payload: &[] };
        frame::encode(head, out, |writer| self.write(writer))
    }

    /// Kind, flags and seq of the frame that says it.
    fn head(&self) -> (Kind, u8, u16) {
        let bit = |set: bool, flag: u8| if set { flag } else { 0 };
        match *self {
            Self::Hello(_) => (Kind::HELLO, 0, 0),
            Self::Data(Data { seq, oldest, no_ack, .. }) => {
                (Kind::DATA, bit(oldest, flags::OLDEST) | bit(no_ack, flags::NO_ACK), seq)
            }
            Self::Describe(Describe { seq, .. }) => (Kind::DESCRIBE, 0, seq),
            Self::Result(CallResult { seq, .. }) => (Kind::RESULT, 0, seq),
            Self::Log(_) => (Kind::LOG, 0, 0),
            Self::Ack(Ack { next, rewind }) => (Kind::ACK, bit(rewind, flags::NAK), next),
            Self::HelloReq => (Kind::HELLO_REQ, 0, 0),
            Self::DescribeReq(DescribeReq { seq, .. }) => (Kind::DESCRIBE_REQ, 0, seq),
            Self::Call(Call { seq, .. }) => (Kind::CALL, 0, seq),
            Self::Time { .. } => (Kind::TIME, 0, 0),
            Self::Unknown(frame) => (frame.kind, frame.flags, frame.seq),
        }
    }

    fn write(&self, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        match self {
            Self::Hello(hello) => hello.write(writer),
            Self::Data(data) => {
                writer.put(&data.t_ms.to_le_bytes())?;
                writer.put(data.items.as_bytes())
            }
            Self::Describe(describe) => describe.write(writer),
            Self::Result(result) => {
                writer.put(&[result.status])?;
                writer.put(result.items.as_bytes())
            }
            Self::Log(text) => writer.put(text.as_bytes()),
            Self::Ack(_) | Self::HelloReq => Ok(()),
            Self::DescribeReq(request) => writer.put(&[request.channel]),
            Self::Call(call) => {
                writer.put(&[call.command])?;
                writer.put(call.args)
            }
            Self::Time { unix_ms } => writer.put(&unix_ms.to_le_bytes()),
            Self::Unknown(frame) => writer.put(frame.payload),
        }
    }
}

impl<'a> Hello<'a> {
    /// Bit of `caps`: it takes CALLs.
    const TAKES_CALLS: u8 = 0x02;

    /// Whether it takes CALLs.
    #[must_use]
    pub const fn takes_calls(&self) -> bool {
        self.caps & Self::TAKES_CALLS != 0
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, PayloadError> {
        Ok(Self {
            minor: reader.u8()?,
            caps: reader.u8()?,
            boot: reader.u32()?,
            uptime_ms: reader.u32()?,
            oldest: reader.u32()?,
            next: reader.u32()?,
            dropped: reader.u32()?,
            rxmax: reader.u8()?,
            channels: reader.u8()?,
            schema_crc: reader.u32()?,
            uid: reader.field()?,
            firmware: reader.text()?,
        })
    }

    fn write(&self, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        writer.put(&[self.minor, self.caps])?;
        for field in [self.boot, self.uptime_ms, self.oldest, self.next, self.dropped] {
            writer.put(&field.to_le_bytes())?;
        }
        writer.put(&[self.rxmax, self.channels])?;
        writer.put(&self.schema_crc.to_le_bytes())?;
        writer.field(self.uid)?;
        writer.field(self.firmware.as_bytes())
    }
}

impl<'a> Describe<'a> {
    const WRITABLE: u8 = 0x80;

    fn read(seq: u16, reader: &mut Reader<'a>) -> Result<Self, PayloadError> {
        let [channel, fmt, class] = reader.array()?;
        Ok(Self {
            seq,
            channel,
            fmt,
            class: Class::from_number(class & !Self::WRITABLE),
            writable: class & Self::WRITABLE != 0,
            unit: reader.text()?,
            name: reader.text()?,
            more: reader.rest(),
        })
    }

    fn write(&self, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        let writable = if self.writable { Self::WRITABLE } else { 0 };
        writer.put(&[self.channel, self.fmt, self.class.number() | writable])?;
        writer.field(self.unit.as_bytes())?;
        writer.field(self.name.as_bytes())?;
        writer.put(self.more)
    }

    /// Writes the payload to the front of `out` and returns it: what [`Hello::schema_crc`] covers.
    ///
    /// # Errors
    /// [`NoRoom`] when `out` is too small or a text longer than 255 bytes.
    pub fn payload<'o>(&self, out: &'o mut [u8]) -> Result<&'o [u8], NoRoom> {
        let mut writer = Writer::new(out);
        self.write(&mut writer)?;
        Ok(writer.into_written())
    }
}

impl Class {
    /// The class with this number; its top bit is ignored.
    #[must_use]
    pub const fn from_number(number: u8) -> Self {
        match number & 0x7F {
            0 => Self::Gauge,
            1 => Self::Counter,
            2 => Self::State,
            3 => Self::Event,
            other => Self::Other(other),
        }
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Gauge => 0,
            Self::Counter => 1,
            Self::State => 2,
            Self::Event => 3,
            Self::Other(number) => number & 0x7F,
        }
    }
}
