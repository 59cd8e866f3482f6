//! What the small tables and the trees say, as far as it can be read.

use std::collections::BTreeMap;

use super::index::Image;
use super::page::{self, BootRow, Kind, Tree};
use super::source::Source;
use crate::queue::ranges::Ranges;
use crate::queue::store;
use crate::reading::{Epoch, Stamp};

/// Most keys of `state`, and most rows of `boot`, that are remembered.
const STATE_MAX: usize = 16_384;
const BOOTS_MAX: usize = 4_096;
/// Most pages for which the freelist is remembered, a bit each: a file of 128 GiB.
const FREE_PAGES_MAX: u32 = 1 << 27;
/// Trunk pages of the freelist that are read at once.
const TRUNKS_AT_ONCE: u32 = 64;
/// The chunk table's first page: it is the first table that is made in a new file.
const CHUNK_ROOT: u32 = 2;
/// Levels of a tree that are believed.
const DEPTH_MAX: u32 = 20;
/// Longest running time of a machine that is believed, in microseconds: thirty years.
const UPTIME_MAX_US: i64 = 30 * 365 * 86_400 * 1_000_000;

/// The pages that are not in use (section 1.5).
#[derive(Clone, Debug)]
pub enum FreeList {
    /// It could not be read to its end, or contradicts itself.
    Unknown,
    /// A bit per page.
    Known(Vec<u64>),
}

impl FreeList {
    /// Whether `page` is in use for sure.
    #[must_use]
    pub fn in_use(&self, page: u32) -> bool {
        match self {
            Self::Unknown => false,
            Self::Known(bits) => !is_set(bits, page),
        }
    }
}

fn is_set(bits: &[u64], page: u32) -> bool {
    bits.get(page as usize / 64).is_some_and(|word| word & (1 << (page % 64)) != 0)
}

/// Reads the freelist, a few pages at a time.
#[derive(Debug)]
pub struct FreeWalk {
    bits: Vec<u64>,
    trunk: u32,
    left: u32,
    pages: u32,
}

impl FreeWalk {
    /// Begins at the head, which stands in page 1; `None` when that cannot be read.
    #[must_use]
    pub fn begin(source: &Source) -> Option<Self> {
        let header = page::db_header(&source.read(source.newest(1)?))?;
        let pages = source.last_page().min(FREE_PAGES_MAX);
        let credible = header.free_pages <= pages && header.page_bytes == source.page_bytes;
        let bits = vec![0; pages as usize / 64 + 1];
        credible.then_some(Self { bits, trunk: header.free_trunk, left: header.free_pages, pages })
    }

    /// Reads on; the list when it is read, else the walk.
    pub fn step(mut self, source: &Source) -> Result<FreeList, Self> {
        for _ in 0..TRUNKS_AT_ONCE {
            if self.trunk == 0 {
                let whole = self.left == 0;
                return Ok(if whole { FreeList::Known(self.bits) } else { FreeList::Unknown });
            }
            if self.trunk_page(source).is_none() {
                return Ok(FreeList::Unknown);
            }
        }
        Err(self)
    }

    fn trunk_page(&mut self, source: &Source) -> Option<()> {
        let trunk = self.trunk;
        let bytes = source.read(source.newest(trunk)?);
        let (next, leaves) = page::free_trunk(&bytes)?;
        for free in std::iter::once(trunk).chain(leaves) {
            // Each page once: so the walk ends, even on a list that bites its tail.
            let credible = free > CHUNK_ROOT && free <= self.pages && !is_set(&self.bits, free);
            self.left = self.left.checked_sub(1).filter(|_| credible)?;
            *self.bits.get_mut(free as usize / 64)? |= 1 << (free % 64);
        }
        self.trunk = next;
        Some(())
    }
}

/// The position of the oldest chunk, along the left edge of the chunk table's tree; `u64::MAX` when the
/// table is empty, `None` when that cannot be read.
#[must_use]
pub fn oldest_chunk(source: &Source) -> Option<u64> {
    let mut number = CHUNK_ROOT;
    let mut below = u64::MAX;
    for depth in 0..DEPTH_MAX {
        let bytes = source.read(source.newest(number)?);
        let tree = page::tree(&bytes).filter(|tree| tree.sound)?;
        match tree.kind {
            Kind::TableLeaf if depth == 0 && page::is_empty_leaf(&bytes, &tree) => return Some(u64::MAX),
            Kind::TableLeaf => {
                let rows: Option<Vec<u64>> =
                    tree.cells.iter().map(|at| Some(page::chunk_cell(&bytes, *at)?.0.first)).collect();
                let rows = rows.filter(|rows| rows.is_sorted() && rows.last() <= Some(&below))?;
                return rows.first().copied();
            }
            Kind::TableInner => (number, below) = left_edge(&bytes, &tree, below)?,
            Kind::IndexLeaf | Kind::IndexInner => return None,
        }
    }
    None
}

/// The leaf of the chunk table's tree in which the row of position `first` stands, if there is one;
/// `None` where the way there is damaged. `first` is not in what comes before or behind that leaf.
#[must_use]
pub fn leaf_of(source: &Source, first: u64) -> Option<(Image, Vec<u8>, Tree)> {
    let mut number = CHUNK_ROOT;
    // Keys in a child lie above the one, and not above the other.
    let (mut above, mut upto) = (None, u64::MAX);
    for depth in 0..DEPTH_MAX {
        let image = source.newest(number).filter(|_| !source.is_outdated(number))?;
        let bytes = source.read(image);
        let tree = page::tree(&bytes).filter(|tree| tree.sound)?;
        let in_order = |keys: &[u64]| {
            let within = keys.iter().all(|key| Some(*key) > above && *key <= upto);
            within && keys.is_sorted_by(|a, b| a < b)
        };
        match tree.kind {
            Kind::TableLeaf => {
                let rows: Option<Vec<u64>> =
                    tree.cells.iter().map(|at| Some(page::chunk_cell(&bytes, *at)?.0.first)).collect();
                let empty = depth == 0 && page::is_empty_leaf(&bytes, &tree);
                let credible = rows.is_some_and(|rows| in_order(&rows) && (empty || !rows.is_empty()));
                return credible.then_some((image, bytes, tree));
            }
            Kind::TableInner => {
                let cells: Option<Vec<(u32, u64)>> =
                    tree.cells.iter().map(|at| page::inner_cell(&bytes, *at)).collect();
                let (children, keys): (Vec<u32>, Vec<u64>) = cells?.into_iter().unzip();
                let at = keys.partition_point(|key| *key < first);
                if !in_order(&keys) {
                    return None;
                }
                above = at.checked_sub(1).and_then(|before| keys.get(before).copied()).or(above);
                upto = keys.get(at).copied().unwrap_or(upto);
                number = children.get(at).copied().unwrap_or(tree.right);
            }
            Kind::IndexLeaf | Kind::IndexInner => return None,
        }
    }
    None
}

/// The left-most child, and the highest key in it.
fn left_edge(bytes: &[u8], tree: &Tree, below: u64) -> Option<(u32, u64)> {
    let cells: Option<Vec<(u32, u64)>> = tree.cells.iter().map(|at| page::inner_cell(bytes, *at)).collect();
    let cells = cells.filter(|cells| cells.is_sorted_by_key(|(_, key)| *key))?;
    match (cells.first(), cells.last()) {
        (Some(first), Some(last)) if last.1 <= below => Some(*first),
        (None, _) => Some((tree.right, below)),
        _ => None,
    }
}

/// The small tables: the newest version of each row.
#[derive(Debug, Default)]
pub struct Small {
    state: BTreeMap<String, (u64, bool, i64)>,
    boots: BTreeMap<u32, (u64, BootRow)>,
    /// The latest commit that was seen of each boot, in microseconds of its clock.
    latest: BTreeMap<u32, i64>,
}

impl Small {
    /// Takes what `image` has of them.
    pub fn take(&mut self, source: &Source, image: Image, bytes: &[u8], tree: &Tree) {
        if !source.is_credible(image) || !tree.sound {
            return;
        }
        let (rank, verified) = (source.rank(image), source.is_verified(image));
        for at in &tree.cells {
            if let Some((key, value)) = page::state_cell(bytes, tree.kind, *at) {
                let better = self.state.get(key).is_none_or(|(known, _, _)| rank > *known);
                if better && (self.state.len() < STATE_MAX || self.state.contains_key(key)) {
                    self.state.insert(key.to_owned(), (rank, verified, value));
                }
            } else if tree.kind == Kind::TableLeaf
                && let Some((row, boot)) = page::boot_cell(bytes, *at)
            {
                let better = self.boots.get(&row).is_none_or(|(known, _)| rank > *known);
                if better && (self.boots.len() < BOOTS_MAX || self.boots.contains_key(&row)) {
                    self.boots.insert(row, (rank, boot));
                }
            }
        }
    }

    /// Takes note that a chunk was committed in boot `row` at `us`.
    pub fn committed(&mut self, row: u32, us: i64) {
        if (0..UPTIME_MAX_US).contains(&us)
            && (self.latest.len() < BOOTS_MAX || self.latest.contains_key(&row))
        {
            let latest = self.latest.entry(row).or_default();
            *latest = us.max(*latest);
        }
    }

    /// What is known, for a file that was last written at `written_us` of the wall clock, and the boot
    /// that the machine is in.
    #[must_use]
    pub fn survey(&self, bridges: &[String], written_us: i64, this_boot: &str) -> Survey {
        let boots = self.boots.iter().map(|(row, (_, boot))| (*row, boot.clone())).collect();
        let times = Times { boots, latest: self.latest.clone(), written_us, this_boot: this_boot.to_owned() };
        Survey {
            state: self.values(false),
            done: done(&self.values(false), bridges),
            surely_done: done(&self.values(true), bridges),
            times,
        }
    }

    /// All values, or only those of which a check sum says that they were written.
    fn values(&self, verified_only: bool) -> BTreeMap<String, i64> {
        let values = self.state.iter().filter(|(_, (_, verified, _))| *verified || !verified_only);
        values.map(|(key, (_, _, value))| (key.clone(), *value)).collect()
    }
}

/// What all of `bridges` are done with, by `state`. A range from an older version of it counts as well:
/// nobody takes back that something is done.
fn done(state: &BTreeMap<String, i64>, bridges: &[String]) -> Ranges {
    let of = |name: &String| {
        let mut done = store::ranges_of(state, name);
        let cursor = state.get(&format!("bridge:{name}")).copied();
        done.insert(0, cursor.and_then(|cursor| u64::try_from(cursor).ok()).unwrap_or(0));
        done
    };
    bridges.iter().map(of).reduce(|a, b| a.common(&b)).unwrap_or_default()
}

/// What a damaged file says besides its chunks.
#[derive(Clone, Debug)]
pub struct Survey {
    /// The newest values of `state`: cursors, counters, the boards' numbers.
    pub state: BTreeMap<String, i64>,
    /// All bridges are done with these positions, as far as that is known.
    pub done: Ranges,
    /// With these they are for sure: a check sum says so.
    pub surely_done: Ranges,
    /// What the stamps in it mean.
    pub times: Times,
}

/// What the stamps in a damaged file mean.
#[derive(Clone, Debug)]
pub struct Times {
    /// Its boots.
    pub boots: BTreeMap<u32, BootRow>,
    pub(super) latest: BTreeMap<u32, i64>,
    pub(super) written_us: i64,
    pub(super) this_boot: String,
}

impl Times {
    /// Makes a stamp independent of the file: wall time, or a moment of the present boot where it is
    /// one. A boot of which nothing is left is taken to have ended when the file was written last, or
    /// when the next one began; such a time is an estimate.
    #[must_use]
    pub fn resolve(&self, at: Stamp) -> Stamp {
        let row = match at.epoch {
            Epoch::Boot(row) => row,
            Epoch::ThisBoot | Epoch::Wall { .. } => return at,
        };
        let (offset, estimated) = match self.boots.get(&row) {
            Some(boot) if boot.uuid == self.this_boot => return Stamp::this_boot(at.us),
            Some(boot) => (boot.offset, !boot.synced),
            None => (self.guess(row), true),
        };
        Stamp { epoch: Epoch::Wall { estimated }, us: at.us.saturating_add(offset) }
    }

    fn guess(&self, row: u32) -> i64 {
        let next = self.boots.range(row..).next().map(|(_, next)| next.offset);
        let ended = next.map_or(self.written_us, |began| began.min(self.written_us));
        ended.saturating_sub(self.latest.get(&row).copied().unwrap_or(0))
    }
}
