//! The content of a chunk row: all entries of one commit.
//!
//! | codec | written by | is |
//! |---|---|---|
//! | 1 | 0.1 | a list of (distance, body) in postcard's format; distance: from the position before |
//! | 2 | 0.1 | the same behind zstd |
//! | 3 | now | what follows here |
//!
//! A codec number never changes its meaning, and what was ever written is read for ever:
//! `tests/corpus` holds files of each. Every constant that codec 3 is made of is part of it.
//!
//! # Codec 3
//!
//! It can be found and read without its row. Numbers are varints (seven bits a byte, the lowest
//! first, the highest bit says that more follow) where nothing else is said.
//!
//! | bytes | what |
//! |---|---|
//! | 3 | `SGc` |
//! | 1 | the codec: 3 |
//! | 4 | CRC-32 (IEEE 802.3) of all that follows, little-endian |
//! | 1–10 | `rest`: how many bytes follow |
//! | 1–10 | position of the first entry |
//! | 1–10 | how many entries there are |
//! | 1–10 | length of the *side* × 2, plus 1 if it is packed with zstd |
//! | 0–10 | only then: its packed length |
//! | … | the *side*: texts, payloads and events, one after the other |
//! | … | the *code*, up to the end of `rest`: everything else, from the coder in [`range`] |
//!
//! The code says of each entry, each word in chances of its own ([`number`], [`model`]):
//!
//! | word | foreseen |
//! |---|---|
//! | distance from the position before | 1 |
//! | source: 0 a message or an event, else a device under one identity, perhaps a new one | who came after this one last time |
//! | of a new source: board or not; uid and boot, or the daemon's start; name | what the texts before began with; that a board's name ends in its uid |
//! | number in the id | one more: for a board than its own last one, else than the last of that start of the daemon |
//! | the device's own number | that of the id, for a board; else one more than its last |
//! | epoch as it is stored; 0: the boot in which the chunk was written | the one before |
//! | microseconds | the source's last, plus what lay between its readings so far |
//! | list of channels; of a new one: their names | the source's last, else the last |
//! | whether all kinds and exponents are as before; if not, each | as before |
//! | of a decimal the mantissa, of a float its bits: the distance | the column's last, or that plus the step before it, whichever was nearer lately |
//! | of a text whether it is the column's last; if not, its length; its bytes are on the side | |
//! | of a message its QoS, flags and lengths; of an event its length | |
//! | of a message that expires: its QoS plus 256, and then epoch and microseconds of when it was taken, and the seconds from then on | those of the one before |
//!
//! So readings are columns, although they stay in their order: each column foresees from itself
//! alone, and what is as foreseen costs a fraction of a bit. Nothing of the code repeats that zstd
//! could find; the side goes through zstd where that is shorter.
//!
//! # Limits
//!
//! A chunk unpacks to at most [`UNPACKED_MAX`], estimated rather too high; both sides count alike, so
//! nothing is written that would not be read. A reader stops when more was asked for than was
//! written. So a damaged chunk, its check sums even right, costs no more memory than that, and time
//! in proportion.

use std::borrow::Cow;
use std::sync::Arc;

use crc::{CRC_32_ISO_HDLC, Crc, Table};

use crate::reading::{Body, Epoch};

mod column;
mod frame;
mod model;
mod number;
mod old;
mod range;
mod read;
mod write;

#[cfg(test)]
mod tests;

use frame::Frame;
use read::Reader;
use write::Writer;

/// The codec that [`pack`] writes.
pub const CODEC: i64 = 3;
/// Most memory that a chunk may unpack to, in bytes. A damaged length must not cost more.
pub const UNPACKED_MAX: usize = 64 * 1024 * 1024;

/// What is added to the QoS of a message that expires. No file of a version that did not know of expiry
/// holds such a QoS.
const EXPIRES: usize = 256;

const CRC: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISO_HDLC);

/// Position and body, in order.
pub type Entries = Vec<(u64, Arc<Body>)>;

/// A chunk's content, ready for its row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// How `data` is to be read.
    pub codec: i64,
    /// CRC-32 (IEEE 802.3) of `data`.
    pub crc: i64,
    /// The bytes.
    pub data: Vec<u8>,
}

/// A chunk that was read without its row.
#[derive(Clone, Debug, PartialEq)]
pub struct Salvaged {
    /// Position of the first entry: the id that its row had.
    pub first: u64,
    /// The entries. A stamp of [`Epoch::ThisBoot`] means the boot in which the chunk was written,
    /// which only its row knows.
    pub entries: Entries,
    /// How many bytes the chunk takes; what lies behind them is not its own.
    pub bytes: usize,
}

/// The rows of boots that tell what the stamps in a chunk mean. Inside, a stamp says either "the boot
/// in which this chunk was written", or a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boots {
    /// The boot in which the chunk was written.
    pub chunk: u32,
    /// The present boot.
    pub this: u32,
}

impl Boots {
    fn resolve(self, body: &mut Body) {
        for at in body.stamps_mut() {
            at.epoch = match at.epoch {
                Epoch::ThisBoot => Epoch::from_stored(self.chunk, self.this),
                Epoch::Boot(row) => Epoch::from_stored(row, self.this),
                wall @ Epoch::Wall { .. } => wall,
            };
        }
    }
}

/// Why a chunk cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// The check sum is wrong.
    #[error("check sum is wrong")]
    Crc,
    /// Written by a newer version.
    #[error("codec {0} is unknown to this version")]
    Codec(i64),
    /// The check sum is right but the content makes no sense.
    #[error("content is damaged: {0}")]
    Content(String),
}

fn damaged(what: &str) -> ChunkError {
    ChunkError::Content(what.to_owned())
}

/// The two parts of a chunk.
#[derive(Debug)]
struct Content<'a> {
    /// Texts and payloads as they are.
    side: Cow<'a, [u8]>,
    /// All the rest, as [`range`] writes it.
    code: Cow<'a, [u8]>,
}

/// Packs entries, given with rising positions.
///
/// # Errors
/// When positions do not rise, or the entries take more than [`UNPACKED_MAX`]: several times what
/// the queue holds in memory.
pub fn pack(entries: &[(u64, Arc<Body>)]) -> Result<Packed, ChunkError> {
    let first = entries.first().map_or(0, |(position, _)| *position);
    let mut writer = Writer::new();
    // So that the first, too, is one behind the one before.
    let mut before = first.wrapping_sub(1);
    for (index, (position, body)) in entries.iter().enumerate() {
        if index > 0 && *position <= before {
            return Err(damaged("positions do not rise"));
        }
        writer.entry(position.wrapping_sub(before), body)?;
        before = *position;
    }
    let data = Frame { first, count: entries.len(), content: writer.finish() }.write();
    Ok(Packed { codec: CODEC, crc: i64::from(CRC.checksum(&data)), data })
}

/// Unpacks a chunk whose first entry stands at position `first`.
///
/// # Errors
/// [`ChunkError`] when the row is damaged or too new.
pub fn unpack(
    first: u64,
    codec: i64,
    crc: i64,
    data: &[u8],
    boots: Boots,
) -> Result<Vec<(u64, Arc<Body>)>, ChunkError> {
    if i64::from(CRC.checksum(data)) != crc {
        return Err(ChunkError::Crc);
    }
    let mut entries = match codec {
        1 | 2 => old::read(first, data, codec == 2)?,
        CODEC => {
            let (frame, bytes) = Frame::read(data)?;
            if bytes != data.len() {
                return Err(damaged("something lies behind it"));
            }
            if frame.first != first {
                return Err(damaged("it belongs to another row"));
            }
            entries_of(&frame)?
        }
        other => return Err(ChunkError::Codec(other)),
    };
    for (_, body) in &mut entries {
        // Nobody else has it yet.
        if let Some(body) = Arc::get_mut(body) {
            boots.resolve(body);
        }
    }
    Ok(entries)
}

/// Reads a chunk of codec 3 that `data` begins with, without its row; `None` where `data` does not
/// begin with one that is whole.
#[must_use]
pub fn salvage(data: &[u8]) -> Option<Salvaged> {
    let (frame, bytes) = Frame::read(data).ok()?;
    let entries = entries_of(&frame).ok()?;
    Some(Salvaged { first: frame.first, entries, bytes })
}

fn entries_of(frame: &Frame<'_>) -> Result<Entries, ChunkError> {
    let mut reader = Reader::new(&frame.content)?;
    let mut entries = Vec::new();
    let mut before = frame.first.wrapping_sub(1);
    for index in 0..frame.count {
        let (distance, body) = reader.entry()?;
        let position = before.wrapping_add(distance);
        if index > 0 && position <= before || index == 0 && position != frame.first {
            return Err(damaged("positions do not rise"));
        }
        entries.push((position, Arc::new(body)));
        before = position;
    }
    reader.finish()?;
    Ok(entries)
}
