//! Which pages our commits write: read from the write-ahead log itself.
//!
//! Source: sqlite.org/fileformat2.html, sections 1.6 and 4.1.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context as _;

const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;

/// Pages per transaction, by kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Frames {
    pub(crate) transactions: u64,
    pub(crate) pages: BTreeMap<String, u64>,
}

/// Looks at the transactions that are in the log at `path` since it was last begun anew.
pub(crate) fn read(path: &Path, skip: u64) -> anyhow::Result<Frames> {
    let log = fs::read(path)?;
    let number = |at: usize| -> anyhow::Result<u32> {
        Ok(u32::from_be_bytes(log.get(at..at + 4).context("log ends early")?.try_into()?))
    };
    let page_bytes = usize::try_from(number(8)?)?;
    let salt = (number(16)?, number(20)?);
    let mut frames = Frames::default();
    let mut begun = 0;
    let mut at = HEADER_BYTES;
    while at + FRAME_HEADER_BYTES + page_bytes <= log.len() && (number(at + 8)?, number(at + 12)?) == salt {
        let page = number(at)?;
        let content = &log[at + FRAME_HEADER_BYTES..][..page_bytes];
        if begun >= skip {
            *frames.pages.entry(kind(page, content)).or_default() += 1;
        }
        if number(at + 4)? != 0 {
            begun += 1;
            frames.transactions += u64::from(begun > skip);
        }
        at += FRAME_HEADER_BYTES + page_bytes;
    }
    Ok(frames)
}

fn kind(page: u32, content: &[u8]) -> String {
    match (page, content.first()) {
        (1, _) => "page 1".to_owned(),
        (3, Some(0x0d)) => "boot".to_owned(),
        (_, Some(0x0d)) => "chunk leaf".to_owned(),
        (_, Some(0x05)) => "chunk interior".to_owned(),
        (_, Some(0x0a)) => "state leaf".to_owned(),
        (_, Some(0x02)) => "state interior".to_owned(),
        _ => "overflow or free-list".to_owned(),
    }
}
