//! The frame: its header, its limits, and the way onto the wire.

use crate::bytes::{NoRoom, Writer};
use crate::crc::Crc32;

/// Longest frame before COBS, CRC included, in bytes. At this length COBS adds exactly one byte.
pub const MAX_RAW: usize = 254;
/// Longest run of bytes between two delimiters.
pub const MAX_CHUNK: usize = MAX_RAW + 1;
/// Longest frame on the wire, with both delimiters, in bytes. A buffer of this size always does.
pub const MAX_WIRE: usize = MAX_CHUNK + 2;
/// Longest payload, in bytes.
pub const MAX_PAYLOAD: usize = MAX_RAW - HEADER - CRC;

/// Type, flags, boot8 and two bytes of seq.
const HEADER: usize = 5;
/// The CRC behind the payload, in bytes.
const CRC: usize = 4;
/// Shortest frame before COBS.
pub(crate) const MIN_RAW: usize = HEADER + CRC;
/// The protocol version in the top two bits of byte 0.
const VERSION: u8 = 0x40;
const VERSION_MASK: u8 = 0xC0;

/// Flag bits of the header; their meaning depends on the kind.
pub mod flags {
    /// DATA: the first reading that the device still holds.
    pub const OLDEST: u8 = 0x01;
    /// DATA: do not acknowledge (one-way links).
    pub const NO_ACK: u8 = 0x02;
    /// ACK: go back and send again from here, now.
    pub const NAK: u8 = 0x01;
}

/// What sort of message a frame carries: the low six bits of byte 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kind(u8);

impl Kind {
    /// The device says who it is.
    pub const HELLO: Self = Self(0x01);
    /// A reading.
    pub const DATA: Self = Self(0x02);
    /// One channel's name, unit and class.
    pub const DESCRIBE: Self = Self(0x03);
    /// How a call went.
    pub const RESULT: Self = Self(0x04);
    /// A line for the device's log.
    pub const LOG: Self = Self(0x05);
    /// Everything before this number is safe.
    pub const ACK: Self = Self(0x21);
    /// Asks for a HELLO.
    pub const HELLO_REQ: Self = Self(0x22);
    /// Asks for a DESCRIBE.
    pub const DESCRIBE_REQ: Self = Self(0x23);
    /// Asks the device to do something.
    pub const CALL: Self = Self(0x24);
    /// Tells a device with a display what time it is.
    pub const TIME: Self = Self(0x25);

    const FROM_HOST: u8 = 0x20;
    const MASK: u8 = 0x3F;

    /// The kind in the low six bits of `number`.
    #[must_use]
    pub const fn new(number: u8) -> Self {
        Self(number & Self::MASK)
    }

    /// The number, 0 to 63.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Whether it goes from the host to the device. On a shared line such as RS-485 each side hears
    /// itself, and drops what has its own direction.
    #[must_use]
    pub const fn is_from_host(self) -> bool {
        self.0 & Self::FROM_HOST != 0
    }
}

/// One frame whose CRC was right, or which is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it carries.
    pub kind: Kind,
    /// See [`flags`].
    pub flags: u8,
    /// Low byte of the device's boot number; 0 in host frames other than ACK.
    pub boot8: u8,
    /// Low half of a reading's number, or what ties an answer to its question.
    pub seq: u16,
    /// At most [`MAX_PAYLOAD`] bytes.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Writes the frame, delimiters included, to the front of `out`, and returns it.
    ///
    /// # Errors
    /// [`NoRoom`] when the payload is longer than [`MAX_PAYLOAD`] or `out` is too small.
    pub fn encode<'o>(&self, out: &'o mut [u8]) -> Result<&'o [u8], NoRoom> {
        encode(*self, out, |writer| writer.put(self.payload))
    }

    /// The frame in `raw`, the bytes that COBS gave back; version and CRC have been checked.
    pub(crate) fn parse(raw: &'a [u8]) -> Option<Self> {
        let (&[kind, flags, boot8, low, high], rest) = raw.split_first_chunk::<HEADER>()?;
        let (payload, _) = rest.split_last_chunk::<CRC>()?;
        Some(Self { kind: Kind::new(kind), flags, boot8, seq: u16::from_le_bytes([low, high]), payload })
    }
}

/// Whether byte 0 of a frame has our protocol version in it.
pub(crate) fn is_version_1(byte: u8) -> bool {
    byte & VERSION_MASK == VERSION
}

/// Encodes a frame with the header of `head` and the payload that `payload` writes.
///
/// The raw frame is written to its final place, two bytes into `out`, and then made free of zeros
/// where it stands: no second buffer.
pub(crate) fn encode<'o>(
    head: Frame<'_>,
    out: &'o mut [u8],
    payload: impl FnOnce(&mut Writer<'_>) -> Result<(), NoRoom>,
) -> Result<&'o [u8], NoRoom> {
    let limit = out.len().min(MAX_WIRE);
    let room = out.get_mut(2..limit.saturating_sub(1)).ok_or(NoRoom)?;
    let mut writer = Writer::new(room);
    let [low, high] = head.seq.to_le_bytes();
    writer.put(&[VERSION | head.kind.number(), head.flags, head.boot8, low, high])?;
    payload(&mut writer)?;
    let crc = Crc32::new().extend(writer.written()).value();
    writer.put(&crc.to_le_bytes())?;
    let end = 2 + writer.len();
    let wire = out.get_mut(..=end).ok_or(NoRoom)?;
    stuff(wire);
    Ok(wire)
}

/// COBS in place. `wire` is: anything, anything, the raw frame, anything; those three places become
/// the leading delimiter, the first code byte and the trailing delimiter.
///
/// Each code byte is the distance to the next zero, and stands where the zero before it stood. With
/// at most 254 bytes no distance exceeds 255, so nothing ever has to move.
fn stuff(wire: &mut [u8]) {
    let Some((leading, [code, raw @ .., trailing])) = wire.split_first_mut() else { return };
    *leading = 0;
    *trailing = 0;
    // Backwards, so that the distance to the next zero is known. It stays below 256 because
    // `encode` writes at most MAX_RAW bytes.
    let mut distance: u8 = 1;
    for byte in raw.iter_mut().rev() {
        if *byte == 0 {
            *byte = distance;
            distance = 0;
        }
        distance = distance.saturating_add(1);
    }
    *code = distance;
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Frame<'static> = Frame { kind: Kind::LOG, flags: 0, boot8: 0, seq: 0, payload: &[] };

    #[test]
    fn the_longest_frame_fits_and_one_more_byte_does_not() {
        let payload = [0xAA; MAX_PAYLOAD + 1];
        let mut out = [0; MAX_WIRE + 10];
        let longest = Frame { payload: &payload[1..], ..HEAD };
        assert_eq!(longest.encode(&mut out).unwrap().len(), MAX_WIRE);
        assert_eq!(Frame { payload: &payload, ..HEAD }.encode(&mut out), Err(NoRoom));
    }

    #[test]
    fn a_small_buffer_is_an_error_at_every_size() {
        let mut out = [0; 12];
        for size in 0..12 {
            assert_eq!(HEAD.encode(&mut out[..size]), Err(NoRoom), "{size}");
        }
        assert_eq!(HEAD.encode(&mut out).unwrap().len(), 12);
    }
}
