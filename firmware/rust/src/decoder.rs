//! The way back from the wire: bytes in, one at a time; frames and rejected chunks out.

use core::fmt;

use crate::crc::Crc32;
use crate::frame::{self, Frame, MAX_CHUNK, MIN_RAW};

/// Buffer for the longest chunk and one byte more, by which a longer one shows.
const BUFFER: usize = MAX_CHUNK + 1;

/// Finds frames in a stream of bytes.
///
/// Whatever stands between two zero bytes is a chunk. A chunk is a frame or it is rejected, and
/// either way the decoder is in step again at the next zero byte. It starts in step.
///
/// `N` is the size of its buffer in bytes. The gateway takes every frame; a board that listens to
/// short frames only can do with less, see [`Decoder::sized`].
#[derive(Clone, Debug)]
pub struct Decoder<const N: usize = BUFFER> {
    state: State,
    /// The chunk as it came, so that a rejected one can be shown.
    chunk: [u8; N],
    len: usize,
}

/// Where in a chunk we are. A COBS block is a code byte and `code - 1` bytes that are not zero;
/// between two blocks a zero byte was left out, and the next code byte stands in its place.
///
/// Blocks with the code FF, after which no zero was left out, need no state of their own: such a
/// block fills the longest chunk to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Between chunks.
    Idle,
    /// In a block with `left` bytes to come. `crc` covers the decoded bytes so far.
    Block { left: u8, crc: Crc32 },
    /// In a chunk that is too long for a frame.
    Long,
}

/// Why a chunk is no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reject {
    /// It ends in the middle of a COBS block. Text between frames mostly looks like this.
    Cobs,
    /// It has fewer bytes than a header and a CRC.
    TooShort,
    /// It has more bytes than the longest frame. Such a chunk is handed out in pieces, each of them
    /// rejected for this reason.
    TooLong,
    /// The CRC is wrong.
    Crc,
    /// It is a frame of another protocol version.
    Version,
}

impl Reject {
    /// The reason in words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cobs => "ends inside a COBS block",
            Self::TooShort => "shorter than a header and a CRC",
            Self::TooLong => "longer than a frame",
            Self::Crc => "wrong CRC",
            Self::Version => "unknown protocol version",
        }
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A chunk that is no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejected<'a> {
    /// Why not.
    pub why: Reject,
    /// The bytes as they came: perhaps text that the board printed between frames.
    pub bytes: &'a [u8],
}

impl fmt::Display for Rejected<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes that are no frame: {}", self.bytes.len(), self.why)
    }
}

impl core::error::Error for Rejected<'_> {}

impl Decoder {
    /// A decoder for frames of any length.
    #[must_use]
    pub const fn new() -> Self {
        Self::sized()
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Decoder<N> {
    /// A decoder with a buffer of `N` bytes, at most 256. It takes frames of at most `N - 2` bytes
    /// before COBS; longer ones are rejected.
    #[must_use]
    pub const fn sized() -> Self {
        const { assert!(0 < N && N <= BUFFER, "the buffer has 1 to 256 bytes") };
        Self { state: State::Idle, chunk: [0; N], len: 0 }
    }

    /// Takes one byte. Gives a frame or a rejected chunk if the byte completes one.
    pub fn feed(&mut self, byte: u8) -> Option<Result<Frame<'_>, Rejected<'_>>> {
        let (next, verdict) = match (self.state, byte) {
            // An empty chunk: the leading delimiter of a frame after the trailing one of the last.
            (State::Idle, 0) => return None,
            (State::Idle, code) => {
                self.len = 0;
                self.keep(code, State::Block { left: code - 1, crc: Crc32::new() })
            }
            // All blocks are complete. The zero after the last one was never there.
            (State::Block { left: 0, crc }, 0) => (State::Idle, Some(self.check(crc))),
            (State::Block { left: 0, crc }, code) => {
                self.keep(code, State::Block { left: code - 1, crc: crc.push(0) })
            }
            (State::Block { .. }, 0) => (State::Idle, Some(Err(Reject::Cobs))),
            (State::Block { left, crc }, data) => {
                self.keep(data, State::Block { left: left - 1, crc: crc.push(data) })
            }
            // The last piece of a long chunk, unless the one before ended right here.
            (State::Long, 0) => (State::Idle, (self.len < N).then_some(Err(Reject::TooLong))),
            (State::Long, byte) => self.keep(byte, State::Long),
        };
        self.state = next;
        // What is handed out stays in `chunk` until the next byte comes.
        match verdict? {
            Ok(()) => self.open().map(Ok),
            Err(why) => Some(Err(self.reject(why))),
        }
    }

    /// Stores a byte of the chunk and goes to `next`, or to [`State::Long`] if it fills the buffer:
    /// then what is there is handed out, and the next byte starts anew.
    fn keep(&mut self, byte: u8, next: State) -> (State, Option<Result<(), Reject>>) {
        if self.len == N {
            self.len = 0;
        }
        if let Some(slot) = self.chunk.get_mut(self.len) {
            *slot = byte;
            self.len += 1;
        }
        if self.len == N { (State::Long, Some(Err(Reject::TooLong))) } else { (next, None) }
    }

    /// Whether the chunk, whose decoded bytes have this CRC, is a frame.
    fn check(&self, crc: Crc32) -> Result<(), Reject> {
        let first = match self.chunk.as_slice() {
            [1, ..] | [_] | [] => 0,
            [_, first, ..] => *first,
        };
        match self.len {
            // One code byte is not part of the frame.
            len if len <= MIN_RAW => Err(Reject::TooShort),
            _ if crc.value() != Crc32::RESIDUE => Err(Reject::Crc),
            _ if !frame::is_version_1(first) => Err(Reject::Version),
            _ => Ok(()),
        }
    }

    /// The frame in a chunk that passed [`Self::check`].
    fn open(&mut self) -> Option<Frame<'_>> {
        let chunk = self.chunk.get_mut(..self.len)?;
        unstuff(chunk);
        Frame::parse(chunk.get(1..)?)
    }

    fn reject(&self, why: Reject) -> Rejected<'_> {
        Rejected { why, bytes: self.chunk.get(..self.len).unwrap_or_default() }
    }
}

/// Puts the zeros back, over the code bytes that stand in their places.
fn unstuff(chunk: &mut [u8]) {
    let mut index = 0;
    while let Some(code) = chunk.get_mut(index) {
        index += usize::from(core::mem::take(code).max(1));
    }
}
