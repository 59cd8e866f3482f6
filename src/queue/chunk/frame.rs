//! What stands around a chunk's content, so that it is known and can be checked wherever it is found.

use std::borrow::Cow;

use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

use super::{CRC, ChunkError, Content, UNPACKED_MAX, damaged};

/// What a chunk begins with: three letters and the number of its codec.
const MAGIC: [u8; 4] = *b"SGc\x03";
/// Where the check sum begins to count, in bytes: behind the magic and itself.
const CHECKED_FROM: usize = 8;
/// Longest variable number, in bytes.
const VARINT_MAX: usize = 10;
/// Texts shorter than this, in bytes, are not tried to be packed: zstd's own header eats the gain.
const PACK_FROM: usize = 32;
/// Compression level: above it, time rises and size hardly falls for texts of this size.
const ZSTD_LEVEL: i32 = 3;
/// How far back zstd looks, as a power of two of bytes. It bounds the memory of a commit.
const ZSTD_WINDOW: u32 = 17;

/// A chunk around its content.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    /// Position of the first entry.
    pub(super) first: u64,
    /// How many entries there are.
    pub(super) count: usize,
    pub(super) content: Content<'a>,
}

impl<'a> Frame<'a> {
    pub(super) fn write(&self) -> Vec<u8> {
        let Content { side, code } = &self.content;
        let mut rest = Vec::with_capacity(side.len() + code.len() + 4 * VARINT_MAX);
        put(&mut rest, self.first);
        put(&mut rest, self.count as u64);
        match zipped(side) {
            Some(packed) => {
                put(&mut rest, side.len() as u64 * 2 + 1);
                put(&mut rest, packed.len() as u64);
                rest.extend_from_slice(&packed);
            }
            None => {
                put(&mut rest, side.len() as u64 * 2);
                rest.extend_from_slice(side);
            }
        }
        rest.extend_from_slice(code);
        let mut checked = Vec::with_capacity(VARINT_MAX);
        put(&mut checked, rest.len() as u64);
        let mut digest = CRC.digest();
        digest.update(&checked);
        digest.update(&rest);
        let crc = digest.finalize().to_le_bytes();
        [&MAGIC[..], &crc, &checked, &rest].concat()
    }

    /// The chunk that `data` begins with, and how many bytes it takes.
    pub(super) fn read(data: &'a [u8]) -> Result<(Self, usize), ChunkError> {
        let (magic, behind) = data.split_at_checked(MAGIC.len()).ok_or_else(|| damaged("it is too short"))?;
        if magic != MAGIC {
            return Err(damaged("it does not begin like a chunk"));
        }
        let (crc, mut at) = behind.split_first_chunk().ok_or_else(|| damaged("it is too short"))?;
        let length = take_length(&mut at)?;
        let mut rest = at.get(..length).ok_or_else(|| damaged("its end is missing"))?;
        let bytes = data.len() - at.len() + length;
        let checked = data.get(CHECKED_FROM..bytes).unwrap_or_default();
        if CRC.checksum(checked) != u32::from_le_bytes(*crc) {
            return Err(ChunkError::Crc);
        }
        let first = take(&mut rest)?;
        let count = take_length(&mut rest)?;
        let side = take(&mut rest)?;
        let (length, is_packed) = (usize::try_from(side / 2).unwrap_or(usize::MAX), side & 1 == 1);
        if length > UNPACKED_MAX {
            return Err(damaged("unpacks to more than 64 MiB"));
        }
        let packed_length = if is_packed { take_length(&mut rest)? } else { length };
        let (side, code) =
            rest.split_at_checked(packed_length).ok_or_else(|| damaged("its end is missing"))?;
        let side = if is_packed { Cow::Owned(unzipped(side, length)?) } else { Cow::Borrowed(side) };
        Ok((Self { first, count, content: Content { side, code: Cow::Borrowed(code) } }, bytes))
    }
}

/// `plain` packed, where that is shorter.
fn zipped(plain: &[u8]) -> Option<Vec<u8>> {
    if plain.len() < PACK_FROM {
        return None;
    }
    let mut zstd = Compressor::new(ZSTD_LEVEL).ok()?;
    // The length stands before it.
    zstd.set_parameter(CParameter::ContentSizeFlag(false)).ok()?;
    zstd.set_parameter(CParameter::WindowLog(ZSTD_WINDOW)).ok()?;
    let packed = zstd.compress(plain).ok()?;
    // A second length comes with it.
    (packed.len() + VARINT_MAX < plain.len()).then_some(packed)
}

fn unzipped(packed: &[u8], length: usize) -> Result<Vec<u8>, ChunkError> {
    let plain = zstd::bulk::decompress(packed, length).map_err(|error| damaged(&error.to_string()))?;
    if plain.len() == length { Ok(plain) } else { Err(damaged("a length is wrong")) }
}

/// Appends a number, seven bits a byte, the lowest first; the highest bit says that more follow.
fn put(bytes: &mut Vec<u8>, mut number: u64) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            bytes.push(low & 0x7f);
            return;
        }
        bytes.push(low | 0x80);
    }
}

/// Takes a number off the front of `bytes`.
fn take(bytes: &mut &[u8]) -> Result<u64, ChunkError> {
    let mut number: u64 = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or_else(|| damaged("a number is cut off"))?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(damaged("a number is too long"))
}

fn take_length(bytes: &mut &[u8]) -> Result<usize, ChunkError> {
    usize::try_from(take(bytes)?).map_err(|_| damaged("a length is too large"))
}
