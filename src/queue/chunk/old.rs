//! Codecs 1 and 2, which version 0.1 wrote: a list of (distance, body) in postcard's format, plain
//! or behind zstd. Read for ever, written no more.

use std::sync::Arc;

use crate::reading::Body;

use super::{ChunkError, Entries, UNPACKED_MAX, damaged};

/// Reads a list whose first entry stands at position `first`.
pub(super) fn read(first: u64, data: &[u8], packed: bool) -> Result<Entries, ChunkError> {
    let list: Vec<(u64, Body)> = if packed {
        let plain = zstd::bulk::decompress(data, unpacked_size(data)?);
        let plain = plain.map_err(|error| damaged(&error.to_string()))?;
        postcard::from_bytes(&plain)
    } else {
        postcard::from_bytes(data)
    }
    .map_err(|error| damaged(&error.to_string()))?;
    let mut position = first;
    list.into_iter()
        .map(|(distance, body)| {
            position = position.checked_add(distance).ok_or_else(|| damaged("a position overflows"))?;
            Ok((position, Arc::new(body)))
        })
        .collect()
}

fn unpacked_size(data: &[u8]) -> Result<usize, ChunkError> {
    let size =
        zstd::zstd_safe::get_frame_content_size(data).ok().flatten().and_then(|n| usize::try_from(n).ok());
    size.filter(|size| *size <= UNPACKED_MAX).ok_or_else(|| damaged("size is not credible"))
}
