//! The content of a chunk row: all entries of one commit.
//!
//! Codec 1 is the list of entries in postcard's format; codec 2 is the same behind zstd. Whichever
//! is shorter is taken. The first entry's position stands in the row; inside, positions are
//! distances from the one before. A codec number never changes its meaning.

use std::sync::Arc;

use crc::{CRC_32_ISO_HDLC, Crc};

use crate::reading::{Body, Epoch};

/// Compression level: above it, time rises and size hardly falls for chunks of this size.
const ZSTD_LEVEL: i32 = 3;
/// Largest content that a chunk may unpack to, in bytes. A damaged length must not cost memory.
const UNPACKED_MAX: usize = 64 * 1024 * 1024;

const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

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

/// Packs entries, given with rising positions.
///
/// # Errors
/// When an entry cannot be serialised; none of ours is like that.
pub fn pack(entries: &[(u64, Arc<Body>)]) -> Result<Packed, ChunkError> {
    let mut before = entries.first().map_or(0, |(position, _)| *position);
    let list: Vec<(u64, &Body)> = entries
        .iter()
        .map(|(position, body)| {
            let distance = position - before;
            before = *position;
            (distance, body.as_ref())
        })
        .collect();
    let plain = postcard::to_stdvec(&list).map_err(|error| ChunkError::Content(error.to_string()))?;
    let (codec, data) = match zstd::bulk::compress(&plain, ZSTD_LEVEL) {
        Ok(packed) if packed.len() < plain.len() => (2, packed),
        _ => (1, plain),
    };
    Ok(Packed { codec, crc: i64::from(CRC.checksum(&data)), data })
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
    let damaged = |error: String| ChunkError::Content(error);
    let list: Vec<(u64, Body)> = match codec {
        1 => postcard::from_bytes(data).map_err(|error| damaged(error.to_string()))?,
        2 => {
            let plain =
                zstd::bulk::decompress(data, unpacked_size(data)?).map_err(|e| damaged(e.to_string()))?;
            postcard::from_bytes(&plain).map_err(|error| damaged(error.to_string()))?
        }
        other => return Err(ChunkError::Codec(other)),
    };
    let mut position = first;
    list.into_iter()
        .map(|(distance, mut body)| {
            boots.resolve(&mut body);
            position = position.checked_add(distance).ok_or_else(|| damaged("position overflows".into()))?;
            Ok((position, Arc::new(body)))
        })
        .collect()
}

fn unpacked_size(data: &[u8]) -> Result<usize, ChunkError> {
    let size =
        zstd::zstd_safe::get_frame_content_size(data).ok().flatten().and_then(|n| usize::try_from(n).ok());
    size.filter(|size| *size <= UNPACKED_MAX)
        .ok_or_else(|| ChunkError::Content("size is not credible".into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::{MessageId, Reading, Stamp, Uid, Value};

    const BOOTS: Boots = Boots { chunk: 1, this: 1 };

    fn entry(position: u64, seq: u32) -> (u64, Arc<Body>) {
        let uid = Uid::new(&[0, 1, 2, 3]).unwrap();
        let reading = Reading {
            device: "greenhouse-6677".into(),
            id: MessageId::Board { uid, boot: 42, seq },
            seq: u64::from(seq),
            at: Stamp::this_boot(-5),
            values: vec![
                ("temp".into(), Value::Decimal { mantissa: 2345, exponent: -2 }),
                ("door".into(), Value::Bool(true)),
                ("note".into(), Value::Text("ok".into())),
            ],
        };
        (position, Arc::new(Body::Reading(reading)))
    }

    #[test]
    fn entries_come_back_with_their_positions() {
        for positions in [vec![7], vec![7, 8, 9], vec![0, 5, 1000, 1001]] {
            let entries: Vec<_> = positions.iter().map(|p| entry(*p, u32::try_from(*p).unwrap())).collect();
            let packed = pack(&entries).unwrap();
            assert_eq!(unpack(positions[0], packed.codec, packed.crc, &packed.data, BOOTS).unwrap(), entries);
        }
    }

    #[test]
    fn a_damaged_chunk_is_recognised() {
        let packed = pack(&(0..50).map(|i| entry(u64::from(i), i)).collect::<Vec<_>>()).unwrap();
        assert_eq!(packed.codec, 2);
        for byte in 0..packed.data.len() {
            let mut data = packed.data.clone();
            data[byte] ^= 1;
            assert_eq!(unpack(0, packed.codec, packed.crc, &data, BOOTS), Err(ChunkError::Crc));
            // Even with a check sum that fits, damage is an error or harmless, never a panic.
            let _ = unpack(0, packed.codec, i64::from(CRC.checksum(&data)), &data, BOOTS);
        }
        assert_eq!(unpack(0, 99, packed.crc, &packed.data, BOOTS), Err(ChunkError::Codec(99)));
    }
}
