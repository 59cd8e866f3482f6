//! Pages, cells and records of `SQLite`'s database file, read without `SQLite`.
//!
//! Sections are those of <https://www.sqlite.org/fileformat2.html>. Nothing here trusts a byte: what
//! makes no sense is `None`.

/// Smallest and largest page, in bytes (section 1.3.2).
const PAGE_BYTES: (usize, usize) = (512, 65_536);
/// Largest payload that is followed, in bytes: a commit is never larger than what the queue holds in
/// memory, and that is less. A damaged length must not cost memory.
pub const PAYLOAD_MAX: usize = 16 * 1024 * 1024;
/// Longest key and longest boot id that are believed, in bytes.
const TEXT_MAX: usize = 256;
/// How every database begins (section 1.3.1).
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// Rows that `boot` can have; the others mean something else in stamps, see [`crate::reading::Epoch`].
const BOOT_ROWS: std::ops::Range<u32> = 1..u32::MAX - 1;
/// Columns of `chunk` that are numbers: all but the row's id, which stands before the record, and the
/// content.
const CHUNK_NUMBERS: usize = 8;

/// Big-endian number of four bytes at `at`.
#[must_use]
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<usize> {
    Some(usize::from(u16::from_be_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?)))
}

/// A number of one to nine bytes, and how many it takes (section 1.6, "varint").
fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0u64;
    for (index, byte) in bytes.iter().take(8).enumerate() {
        value = (value << 7) | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    Some(((value << 8) | u64::from(*bytes.get(8)?), 9))
}

/// What the database header says (section 1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DbHeader {
    /// Page size, in bytes.
    pub page_bytes: usize,
    /// First trunk page of the freelist; 0: it is empty.
    pub free_trunk: u32,
    /// Pages on the freelist.
    pub free_pages: u32,
}

/// Reads page 1, if it is credible.
#[must_use]
pub fn db_header(page: &[u8]) -> Option<DbHeader> {
    // The payload fractions never change (section 1.3.5): three more bytes that damage must not hit.
    let credible = page.starts_with(MAGIC) && page.get(21..24)? == [64, 32, 32];
    let page_bytes = Some(match u16_at(page, 16)? {
        1 => PAGE_BYTES.1,
        other => other,
    });
    let page_bytes = page_bytes.filter(|size| credible && is_page_size(*size))?;
    Some(DbHeader { page_bytes, free_trunk: u32_at(page, 32)?, free_pages: u32_at(page, 36)? })
}

/// Whether a page can be so large, in bytes.
#[must_use]
pub fn is_page_size(bytes: usize) -> bool {
    (PAGE_BYTES.0..=PAGE_BYTES.1).contains(&bytes) && bytes.is_power_of_two()
}

/// A freelist trunk page: the next one (0: none), and the leaves it lists (section 1.5).
pub fn free_trunk(page: &[u8]) -> Option<(u32, impl Iterator<Item = u32>)> {
    let (next, count) = (u32_at(page, 0)?, usize::try_from(u32_at(page, 4)?).ok()?);
    let list = page.get(8..count.checked_mul(4)?.checked_add(8)?)?;
    Some((next, list.chunks_exact(4).filter_map(|leaf| u32_at(leaf, 0))))
}

/// What a b-tree page is (section 1.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 0x02: inner page of a `WITHOUT ROWID` table. Its cells hold rows, too.
    IndexInner,
    /// 0x05: inner page of an ordinary table.
    TableInner,
    /// 0x0A: leaf of a `WITHOUT ROWID` table.
    IndexLeaf,
    /// 0x0D: leaf of an ordinary table.
    TableLeaf,
}

/// A b-tree page's header and cell pointers (section 1.6).
#[derive(Clone, Debug)]
pub struct Tree {
    /// What it is.
    pub kind: Kind,
    /// Where its cells begin, in the order of their keys; only those that lie inside the page.
    pub cells: Vec<usize>,
    /// Whether header and pointers make sense as a whole.
    pub sound: bool,
    /// The right-most child of an inner page.
    pub right: u32,
}

/// Reads a page as a b-tree page. Not for page 1, whose header stands elsewhere.
#[must_use]
pub fn tree(page: &[u8]) -> Option<Tree> {
    let (kind, header) = match page.first()? {
        0x02 => (Kind::IndexInner, 12),
        0x05 => (Kind::TableInner, 12),
        0x0a => (Kind::IndexLeaf, 8),
        0x0d => (Kind::TableLeaf, 8),
        _ => return None,
    };
    let (free, count) = (u16_at(page, 1)?, u16_at(page, 3)?);
    let content = match u16_at(page, 5)? {
        0 => PAGE_BYTES.1,
        other => other,
    };
    let end = header + 2 * count;
    let all: Vec<usize> =
        (0..count.min(page.len() / 2)).filter_map(|i| u16_at(page, header + 2 * i)).collect();
    let fits = |at: &usize| (content.max(end)..page.len()).contains(at);
    let sound = content <= page.len()
        && end <= content
        && free < page.len()
        && all.len() == count
        && all.iter().all(fits);
    let inside = |at: &usize| (header..page.len()).contains(at);
    let cells = all.into_iter().filter(inside).collect();
    let right = if header == 12 { u32_at(page, 8)? } else { 0 };
    Some(Tree { kind, cells, sound, right })
}

/// Whether this page is a table's leaf that never held a row, or holds none any more.
#[must_use]
pub fn is_empty_leaf(page: &[u8], tree: &Tree) -> bool {
    tree.kind == Kind::TableLeaf && tree.sound && tree.cells.is_empty() && u16_at(page, 5) == Some(page.len())
}

/// Left child and key of a cell of a [`Kind::TableInner`] page.
#[must_use]
pub fn inner_cell(page: &[u8], at: usize) -> Option<(u32, u64)> {
    Some((u32_at(page, at)?, varint(page.get(at + 4..)?)?.0))
}

/// A row's bytes, as far as they stand in the page (section 1.6), and where the rest is (1.7).
#[derive(Clone, Copy, Debug)]
pub struct Payload<'a> {
    /// Bytes of the whole row.
    pub bytes: usize,
    /// Its beginning.
    pub local: &'a [u8],
    /// First overflow page, where `local` is not all.
    pub overflow: Option<u32>,
}

/// Reads payload length and local part; `at` is where the payload itself begins.
fn payload(page: &[u8], at: usize, bytes: u64, leaf: bool) -> Option<Payload<'_>> {
    let bytes =
        usize::try_from(bytes).ok().filter(|bytes| *bytes <= PAYLOAD_MAX && page.len() >= PAGE_BYTES.0)?;
    // Our files reserve no bytes at the end of pages, so the usable size is the page size.
    let usable = page.len();
    let most = if leaf { usable - 35 } else { (usable - 12) * 64 / 255 - 23 };
    if bytes <= most {
        return Some(Payload { bytes, local: page.get(at..at + bytes)?, overflow: None });
    }
    let least = (usable - 12) * 32 / 255 - 23;
    let wanted = least + (bytes - least) % (usable - 4);
    let here = if wanted <= most { wanted } else { least };
    let local = page.get(at..at + here)?;
    Some(Payload { bytes, local, overflow: Some(u32_at(page, at + here)?) })
}

/// A cell of a [`Kind::TableLeaf`] page: its row's id and payload.
#[must_use]
pub fn table_cell(page: &[u8], at: usize) -> Option<(u64, Payload<'_>)> {
    let (bytes, length) = varint(page.get(at..)?)?;
    let (rowid, more) = varint(page.get(at + length..)?)?;
    Some((rowid, payload(page, at + length + more, bytes, true)?))
}

/// The fields of a record that stand in its first bytes (section 2.1): serial type, offset, length.
fn fields(payload: &Payload<'_>, count: usize) -> Option<Vec<(u64, usize, usize)>> {
    let (header, mut at) = varint(payload.local)?;
    let header = usize::try_from(header).ok().filter(|header| *header <= payload.local.len())?;
    let mut offset = header;
    let mut fields = Vec::with_capacity(count);
    while at < header {
        if fields.len() == count {
            return None;
        }
        let (kind, length) = varint(payload.local.get(at..header)?)?;
        at += length;
        let bytes = match kind {
            0 | 8 | 9 => 0,
            1..=4 => usize::try_from(kind).ok()?,
            5 => 6,
            6 | 7 => 8,
            10 | 11 => return None,
            text_or_blob => usize::try_from((text_or_blob - 12) / 2).ok()?,
        };
        fields.push((kind, offset, bytes));
        offset = offset.checked_add(bytes)?;
    }
    (fields.len() == count && offset == payload.bytes).then_some(fields)
}

fn number(local: &[u8], (kind, at, bytes): (u64, usize, usize)) -> Option<i64> {
    match kind {
        8 => Some(0),
        9 => Some(1),
        1..=6 => {
            let bytes = local.get(at..at + bytes)?;
            let sign = if bytes.first()? & 0x80 == 0 { 0 } else { -1 };
            Some(bytes.iter().fold(sign, |value, byte| (value << 8) | i64::from(*byte)))
        }
        _ => None,
    }
}

fn text(local: &[u8], (kind, at, bytes): (u64, usize, usize)) -> Option<&str> {
    let is_text = kind >= 13 && kind % 2 == 1 && (1..=TEXT_MAX).contains(&bytes);
    let text = local.get(at..at + bytes).filter(|_| is_text)?;
    std::str::from_utf8(text).ok().filter(|text| !text.chars().any(char::is_control))
}

/// A row of `chunk` without its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkHead {
    /// Position of the first entry: the row's id.
    pub first: u64,
    /// Position of the last entry.
    pub last: u64,
    /// Entries that count in the ledger.
    pub n: u64,
    /// Sum of `n` over all chunks, this one included.
    pub total: u64,
    /// Row of its boot.
    pub boot: u32,
    /// Boot clock of its first entry, in microseconds.
    pub t0: i64,
    /// Boot clock of its commit, in microseconds.
    pub t1: i64,
    /// How the content is packed.
    pub codec: i64,
    /// Check sum of the content.
    pub crc: i64,
    /// Where the content begins in the payload.
    pub content_at: usize,
}

/// Reads a cell as a row of `chunk`; `None` when it is not one, or cannot be one.
#[must_use]
pub fn chunk_cell(page: &[u8], at: usize) -> Option<(ChunkHead, Payload<'_>)> {
    let (first, payload) = table_cell(page, at)?;
    // Length of the record's head, then the id, which stands outside: most guesses end here.
    let likely = matches!(payload.local, [head, 0, ..] if usize::from(*head) > CHUNK_NUMBERS + 2);
    if !likely {
        return None;
    }
    let fields = fields(&payload, CHUNK_NUMBERS + 2)?;
    let (id, content) = (fields.first()?, fields.last()?);
    if id.0 != 0 || content.0 < 12 || content.0 % 2 == 1 {
        return None;
    }
    let mut numbers = [0; CHUNK_NUMBERS];
    for (number_of, field) in numbers.iter_mut().zip(fields.get(1..)?) {
        *number_of = number(payload.local, *field)?;
    }
    let [last, n, total, boot, t0, t1, codec, crc] = numbers;
    let unsigned = |value: i64| u64::try_from(value).ok();
    let head = ChunkHead {
        first,
        last: unsigned(last)?,
        n: unsigned(n)?,
        total: unsigned(total)?,
        boot: u32::try_from(boot).ok().filter(|row| BOOT_ROWS.contains(row))?,
        t0,
        t1,
        codec,
        crc,
        content_at: content.1,
    };
    let positions = head.last.checked_sub(first)?.checked_add(1)?;
    let credible = i64::try_from(first).is_ok()
        && head.n <= positions
        && head.n <= head.total
        && u32::try_from(crc).is_ok()
        && (0..256).contains(&codec);
    credible.then_some((head, payload))
}

/// A row of `boot`: see [`crate::queue::schema`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootRow {
    /// The kernel's boot id.
    pub uuid: String,
    /// Wall time minus boot time, in microseconds.
    pub offset: i64,
    /// Whether the wall clock was synchronised.
    pub synced: bool,
    /// Boot clock when the row was written, in microseconds.
    pub last: i64,
}

/// Reads a cell as a row of `boot`: its id, and the rest.
#[must_use]
pub fn boot_cell(page: &[u8], at: usize) -> Option<(u32, BootRow)> {
    let (row, payload) = table_cell(page, at)?;
    let row = u32::try_from(row).ok().filter(|row| BOOT_ROWS.contains(row))?;
    let fields = fields(&payload, 5)?;
    let [id, uuid, offset, synced, last] = fields.try_into().ok()?;
    let synced = number(payload.local, synced).filter(|_| id.0 == 0)?;
    let boot = BootRow {
        uuid: text(payload.local, uuid)?.to_owned(),
        offset: number(payload.local, offset)?,
        synced: synced == 1,
        last: number(payload.local, last)?,
    };
    matches!(synced, 0 | 1).then_some((row, boot))
}

/// Reads a cell of an index page as a row of `state`.
#[must_use]
pub fn state_cell(page: &[u8], kind: Kind, at: usize) -> Option<(&str, i64)> {
    let at = match kind {
        Kind::IndexLeaf => at,
        Kind::IndexInner => at + 4,
        Kind::TableLeaf | Kind::TableInner => return None,
    };
    let (bytes, length) = varint(page.get(at..)?)?;
    let payload = payload(page, at + length, bytes, false)?;
    let fields = fields(&payload, 2)?;
    let [key, value] = fields.try_into().ok()?;
    Some((text(payload.local, key)?, number(payload.local, value)?))
}

/// Where rows of `chunk` may begin in a page that has lost its header: everywhere that looks like it.
#[must_use]
pub fn carve(page: &[u8]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < page.len() {
        match chunk_cell(page, at) {
            Some((_, payload)) => {
                found.push(at);
                // The cell begins before its payload: at least so much of it is not another one.
                at += payload.local.len();
            }
            None => at += 1,
        }
    }
    found
}

/// Whether a page without a b-tree header may be a damaged one, rather than an overflow page or one of
/// the freelist: both begin with the number of the next such page.
#[must_use]
pub fn lost_its_header(page: &[u8], pages: u32) -> bool {
    let next = u32_at(page, 0).unwrap_or(0);
    let blank = page.iter().take(100).all(|byte| *byte == 0);
    next > pages || blank
}
