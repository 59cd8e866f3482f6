//! Reads what is whole in a damaged queue file, without `SQLite`'s help.
//!
//! `SQLite` refuses a file as a whole. But each chunk has a check sum of its own, so it is safe to look
//! for rows everywhere, guess, and let the check sum judge: in every page of the database, and in every
//! frame of the log, the outdated ones included. [`page`] and [`log`] know the documented format,
//! [`source`] gives the versions of a page, [`survey`] what the small tables say.
//!
//! Pages that are free or outdated hold rows that were delivered or given up long ago. Three witnesses
//! speak of that: what the bridges are done with, the chunk table's tree, which does not lead to the row,
//! and the freelist with the log. Each of them may be damaged, so it takes two to call a row old; except
//! for what is done by frames whose check sums are right.
//!
//! A row grows for a while: each version holds all that the one before it did. So where the newest one
//! is damaged, an older one gives the beginning.
//!
//! Two passes: over both files for the places of rows, then from row to row in rising order of their
//! positions. Memory is bounded: places of a limited number of rows, and the content of one.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use crate::reading::{Body, Epoch, Stamp};

use super::chunk::{self, Boots};
use super::ranges::Ranges;
use super::store;

pub mod index;
pub mod log;
pub mod page;
pub mod source;
pub mod survey;
pub mod tally;

#[cfg(test)]
mod tests;

use index::{Image, Index, Sighting};
use log::Reader;
use page::{ChunkHead, Kind};
use source::Source;
use survey::{FreeList, FreeWalk, Small};
pub use survey::{Survey, Times};
use tally::{Place, Tally};

/// A chunk that was read, with all its entries.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// Position of the first entry.
    pub first: u64,
    /// Position of the last entry.
    pub last: u64,
    /// Entries that count in the ledger.
    pub n: u64,
    /// Sum of `n` over all chunks of the damaged file, this one included.
    pub total: u64,
    /// Row of its boot in the damaged file, see [`Times::boots`].
    pub boot: u32,
    /// When its first entry was taken.
    pub t0: Stamp,
    /// When it was committed.
    pub t1: Stamp,
    /// Position and body of each entry. No stamp refers to the boots of the damaged file any more.
    pub entries: Vec<(u64, Arc<Body>)>,
}

/// What was found in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Chunks that were read.
    pub chunks: u64,
    /// Entries in them that count in the ledger.
    pub readings: u64,
    /// Entries that are missing for sure: so many more were stored. What was lost before the first
    /// and behind the last row of which anything is left is not known. Where the file's note of what was
    /// taken out on purpose is lost, such entries may be among them.
    pub missing: u64,
    /// Places between two chunks where it cannot be told how many are missing.
    pub gaps: u64,
    /// Chunks of which only the row's head was found.
    pub unreadable: u64,
    /// Rows that were passed by because they had been delivered or given up before.
    pub old: u64,
    /// Bytes that were read in search of rows.
    pub bytes: u64,
}

/// What a step has brought.
#[derive(Debug)]
pub enum Step {
    /// Nothing yet.
    Working,
    /// What is known besides chunks. Comes once, before the first chunk.
    Surveyed(Survey),
    /// The next chunk.
    Chunk(Chunk),
    /// There is nothing more.
    End(Counts),
}

/// Reads a damaged file step by step.
#[derive(Debug)]
pub struct Salvage {
    source: Source,
    bridges: Vec<String>,
    /// When the file was written last, in microseconds of the wall clock.
    written_us: i64,
    this_boot: String,
    free: FreeList,
    small: Small,
    survey: Option<Survey>,
    /// Position of the oldest chunk that is stored, if that could be read.
    oldest: Option<u64>,
    index: Index,
    tally: Tally,
    /// Last position of the last chunk that was given out.
    given: Option<u64>,
    counts: Counts,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Log(Reader),
    Free(FreeWalk),
    Scan(Image),
    Give,
    Over,
}

impl Salvage {
    /// Opens the damaged file at `path`; its log is beside it, with `-wal` behind its name. One of
    /// the two may be missing. Nothing is ever written. `bridges` are those that are to get what is
    /// found; `this_boot` is the kernel's present boot id.
    ///
    /// # Errors
    /// When both are missing, or the file system refuses to open them.
    pub fn open(path: &Path, bridges: &[String], this_boot: &str) -> io::Result<Self> {
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        let log = PathBuf::from(log);
        let source = Source::open(path, &log)?;
        let written_us = [path, &log].into_iter().filter_map(written_us).max().unwrap_or(0);
        let stage = Stage::Log(source.reader());
        Ok(Self {
            source,
            bridges: bridges.to_vec(),
            written_us,
            this_boot: this_boot.to_owned(),
            free: FreeList::Unknown,
            small: Small::default(),
            survey: None,
            oldest: None,
            index: Index::default(),
            tally: Tally::default(),
            given: None,
            counts: Counts::default(),
            stage,
        })
    }

    /// Counts so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts { missing: self.tally.missing(), gaps: self.tally.gaps(), ..self.counts }
    }

    /// Works a little: reads at most [`source::READ_BYTES`] in search of rows, or one chunk and the few
    /// versions of it that are remembered. After
    /// [`Step::End`] there is only that.
    pub fn step(&mut self) -> Step {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Log(mut reader) => {
                match self.source.read_log(&mut reader) {
                    Some(bytes) => {
                        self.counts.bytes += bytes as u64;
                        self.stage = Stage::Log(reader);
                    }
                    None => self.begin_search(reader),
                }
                Step::Working
            }
            Stage::Free(walk) => {
                match walk.step(&self.source) {
                    Ok(free) => (self.free, self.stage) = (free, Stage::Scan(Image::Page(1))),
                    Err(walk) => self.stage = Stage::Free(walk),
                }
                Step::Working
            }
            Stage::Scan(from) => self.scan(from),
            Stage::Give => self.give(),
            Stage::Over => Step::End(self.counts()),
        }
    }

    fn begin_search(&mut self, reader: Reader) {
        self.source.judged(reader);
        self.oldest = survey::oldest_chunk(&self.source);
        let walk = FreeWalk::begin(&self.source);
        self.stage = walk.map_or(Stage::Scan(Image::Page(1)), Stage::Free);
    }

    /// Looks for rows from `from` on.
    fn scan(&mut self, from: Image) -> Step {
        let pages = self.source.pages(from);
        for (image, bytes) in &pages {
            self.counts.bytes += bytes.len() as u64;
            self.look(*image, bytes);
        }
        let read = u32::try_from(pages.len()).unwrap_or(0);
        self.stage = match from {
            Image::Page(page) if page + read > self.source.db_pages => Stage::Scan(Image::Frame(0)),
            Image::Page(page) => Stage::Scan(Image::Page(page + read)),
            Image::Frame(frame) if frame + read >= self.source.log_frames => Stage::Give,
            Image::Frame(frame) => Stage::Scan(Image::Frame(frame + read)),
        };
        if matches!(self.stage, Stage::Give) && self.survey.is_none() {
            let survey = self.small.survey(&self.bridges, self.written_us, &self.this_boot);
            if let Some(removed) = survey.state.get(store::REMOVED).and_then(|n| u64::try_from(*n).ok()) {
                self.tally.removed(removed);
            }
            self.survey = Some(survey.clone());
            return Step::Surveyed(survey);
        }
        Step::Working
    }

    fn look(&mut self, image: Image, bytes: &[u8]) {
        let page = self.source.page_of(image);
        if page == Some(1) {
            return;
        }
        let tree = page::tree(bytes);
        let leaf = tree.as_ref().filter(|tree| tree.kind == Kind::TableLeaf);
        let newest = page.is_some_and(|page| self.source.newest(page) == Some(image));
        let live =
            newest && page.is_some_and(|page| self.free.in_use(page) && !self.source.is_outdated(page));
        for at in leaf.map_or(&[][..], |leaf| &leaf.cells) {
            self.note(image, bytes, *at, (live, newest));
        }
        if let Some(tree) = tree.as_ref().filter(|_| self.survey.is_none()) {
            self.small.take(&self.source, image, bytes, tree);
        }
        let damaged = match &tree {
            Some(tree) => tree.kind == Kind::TableLeaf && !tree.sound,
            None => page::lost_its_header(bytes, self.source.last_page()),
        };
        if damaged {
            for at in page::carve(bytes) {
                self.note(image, bytes, at, (false, false));
            }
        }
    }

    fn note(&mut self, image: Image, bytes: &[u8], at: usize, (live, newest): (bool, bool)) {
        let Some((head, _)) = page::chunk_cell(bytes, at) else { return };
        let Ok(at) = u16::try_from(at) else { return };
        if self.survey.is_none() {
            self.small.committed(head.boot, head.t1);
        }
        let amid = self.source.is_amid(image);
        let credible = amid || self.source.is_credible(image);
        let rank = self.source.rank_inside(image);
        self.index.insert(head.first, Sighting { image, at, live, newest, amid, credible, rank });
    }

    /// The next row, if it can be read: its newest version, or else an older one. A row grows, so an
    /// older one is its beginning.
    fn give(&mut self) -> Step {
        let Some((first, copies)) = self.index.pop() else {
            self.stage = if self.index.begin_again() { Stage::Scan(Image::Page(1)) } else { Stage::Over };
            return Step::Working;
        };
        self.stage = Stage::Give;
        if self.given.is_some_and(|given| first <= given) {
            return Step::Working;
        }
        let live = copies.iter().any(|copy| copy.live);
        let gone = self.oldest.is_some_and(|oldest| first < oldest) || (!live && self.is_gone(first));
        let mut seen = None;
        for copy in copies {
            let bytes = self.source.read(copy.image);
            let Some((head, payload)) = page::chunk_cell(&bytes, usize::from(copy.at)) else { continue };
            if self.is_old(&head, live, gone) {
                self.pass_by(&head, live, seen);
                return Step::Working;
            }
            let entries = self.source.follow(copy.image, &payload, |row| unpack(&head, row));
            // What was read knows better where it ends.
            let last =
                entries.as_ref().and_then(|entries| entries.last()).map_or(head.last, |(last, _)| *last);
            let head = ChunkHead { last, ..head };
            match entries {
                // After a crash positions are given again: what was never committed gives way. And so does
                // what was rewritten as another row, with its older versions.
                Some(_) if self.index.has_better(head.last, &copy) => return Step::Working,
                Some(entries) => return self.chunk(&head, entries, seen),
                None if self.counts_as_seen(&head, &copy) => seen = seen.or(Some(place(&head))),
                None => {}
            }
        }
        if let Some(seen) = seen {
            self.counts.unreadable += 1;
            self.tally.unreadable(seen);
        }
        Step::Working
    }

    /// Whether a row that cannot be read was stored in the end.
    fn counts_as_seen(&self, head: &ChunkHead, copy: &Sighting) -> bool {
        copy.newest || (copy.credible && self.oldest.is_some_and(|oldest| oldest <= head.first))
    }

    fn pass_by(&mut self, head: &ChunkHead, live: bool, newest: Option<Place>) {
        self.counts.old += 1;
        if live {
            self.tally.passed_by(head.n);
        }
        if let Some(newest) = newest {
            self.tally.shorter(place(head), newest);
        }
    }

    /// Whether the chunk table has no row of position `first` any more, as far as its tree can be read:
    /// rows are taken out from between others, too.
    fn is_gone(&self, first: u64) -> bool {
        let Some((image, bytes, leaf)) = survey::leaf_of(&self.source, first) else { return false };
        let rows = leaf.cells.iter().filter_map(|at| page::chunk_cell(&bytes, *at));
        let (before, behind): (Vec<_>, Vec<_>) = rows.partition(|(head, _)| head.first < first);
        if behind.first().is_some_and(|(head, _)| head.first == first) {
            return false;
        }
        // A position that is damaged would stand between the same neighbours.
        let whole = |(head, payload): &(ChunkHead, page::Payload<'_>)| {
            self.source.follow(image, payload, |row| unpack(head, row)).is_some()
        };
        self.source.is_verified(image) || before.last().into_iter().chain(behind.first()).all(whole)
    }

    /// Whether a row was delivered or given up before the damage.
    fn is_old(&self, head: &ChunkHead, live: bool, gone: bool) -> bool {
        let Some(survey) = &self.survey else { return false };
        let within = |done: &Ranges| done.end_of(head.first).is_some_and(|end| head.last < end);
        let witnesses = u8::from(within(&survey.done)) + u8::from(gone) + u8::from(!live);
        within(&survey.surely_done) || witnesses >= 2
    }

    /// Gives a row that was read; `newest` is its newest version, where that could not be read.
    fn chunk(&mut self, head: &ChunkHead, mut entries: Vec<(u64, Arc<Body>)>, newest: Option<Place>) -> Step {
        let resolve = |at: Stamp| self.survey.as_ref().map_or(at, |survey| survey.times.resolve(at));
        for (_, body) in &mut entries {
            for at in Arc::make_mut(body).stamps_mut() {
                *at = resolve(*at);
            }
        }
        let moment = |us| resolve(Stamp { epoch: Epoch::Boot(head.boot), us });
        let (t0, t1) = (moment(head.t0), moment(head.t1));
        self.given = Some(head.last);
        self.tally.whole(place(head));
        if let Some(newest) = newest {
            self.tally.shorter(place(head), newest);
        }
        self.counts.chunks += 1;
        self.counts.readings += head.n;
        let ChunkHead { first, last, n, total, boot, .. } = *head;
        Step::Chunk(Chunk { first, last, n, total, boot, t0, t1, entries })
    }
}

fn place(head: &ChunkHead) -> Place {
    Place { first: head.first, last: head.last, n: head.n, total: head.total }
}

/// Unpacks a row. The check sum does not cover the row's numbers, so they must fit the content.
fn unpack(head: &ChunkHead, row: &[u8]) -> Option<Vec<(u64, Arc<Body>)>> {
    // Rows of boots begin at 1: so all stamps come out as those of a row.
    let boots = Boots { chunk: head.boot, this: 0 };
    let entries = chunk::unpack(head.first, head.codec, head.crc, row.get(head.content_at..)?, boots).ok()?;
    let n = entries.iter().filter(|(_, body)| body.counts()).count() as u64;
    let (first, last) = (entries.first()?.0, entries.last()?.0);
    let rising = entries.is_sorted_by(|(a, _), (b, _)| a < b);
    // A row that was thinned ends before its last position. The others need that proof of where they
    // are, unless their content says it.
    let in_place = first == head.first && (last == head.last || head.codec == chunk::CODEC);
    (in_place && n == head.n && rising).then_some(entries)
}

fn written_us(path: &Path) -> Option<i64> {
    let modified = std::fs::metadata(path).ok()?.modified().ok()?;
    i64::try_from(modified.duration_since(UNIX_EPOCH).ok()?.as_micros()).ok()
}
