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
    pub(crate) pages: BTreeMap<&'static str, u64>,
}

/// Looks at the `last` transactions in the log at `path`, or at those since it was begun anew.
pub(crate) fn read(path: &Path, last: u64) -> anyhow::Result<Frames> {
    let log = fs::read(path)?;
    let number = |at: usize| -> anyhow::Result<u32> {
        Ok(u32::from_be_bytes(log.get(at..at + 4).context("log ends early")?.try_into()?))
    };
    let page_bytes = usize::try_from(number(8)?)?;
    let salt = (number(16)?, number(20)?);
    let mut transactions = Vec::new();
    let mut kinds = Vec::new();
    let mut at = HEADER_BYTES;
    // What was written before that has another salt.
    while at + FRAME_HEADER_BYTES + page_bytes <= log.len() && (number(at + 8)?, number(at + 12)?) == salt {
        kinds.push(kind(number(at)?, &log[at + FRAME_HEADER_BYTES..][..page_bytes]));
        // The last frame of a transaction carries the size of the database.
        if number(at + 4)? != 0 {
            transactions.push(std::mem::take(&mut kinds));
        }
        at += FRAME_HEADER_BYTES + page_bytes;
    }
    let skipped = transactions.len().saturating_sub(usize::try_from(last)?);
    let transactions = &transactions[skipped..];
    let mut pages = BTreeMap::new();
    for kind in transactions.iter().flatten() {
        *pages.entry(*kind).or_default() += 1;
    }
    Ok(Frames { transactions: transactions.len() as u64, pages })
}

fn kind(page: u32, content: &[u8]) -> &'static str {
    match (page, content.first()) {
        (1, _) => "page 1",
        (_, Some(0x0d)) => "table leaf",
        (_, Some(0x05)) => "table interior",
        (_, Some(0x0a)) => "index leaf",
        (_, Some(0x02)) => "index interior",
        _ => "overflow or free-list",
    }
}
