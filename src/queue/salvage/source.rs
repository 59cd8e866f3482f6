//! The damaged file and its log, as versions of pages.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::index::Image;
use super::log::{FRAME_HEAD_BYTES, Frame, HEADER_BYTES, LogHeader, Reader, Trust};
use super::page::{self, Payload, u32_at};
use crate::queue::schema;

/// Most frames of a log that are looked at: sixty times what the queue lets it grow to.
const FRAMES_MAX: usize = 262_144;
/// Most bytes of one file that are read at once.
pub const READ_BYTES: usize = 128 * 1024;
/// Bytes at the beginning of either file that hold its header.
const START_BYTES: usize = 100;
/// Pages of a chain for which other versions are tried, one at a time.
const DOUBTS_MAX: usize = 16;
/// Bytes that may be read in all to find the right versions of one row's pages.
const RETRY_BYTES: usize = 2 * page::PAYLOAD_MAX;

/// Both files, open for reading.
#[derive(Debug)]
pub struct Source {
    db: Option<File>,
    log: Option<File>,
    log_header: Option<LogHeader>,
    /// Page size, in bytes.
    pub page_bytes: usize,
    /// Pages in the database; the last one may be incomplete.
    pub db_pages: u32,
    /// Frames in the log.
    pub log_frames: u32,
    frames: Vec<Frame>,
    /// Numbers of frames, by page; the best version of each page first.
    by_page: Vec<u32>,
    /// The last frame that is whole, committed, and of the newest generation.
    last_present: u32,
}

impl Source {
    /// Opens the file at `path` and its log. One of them may be missing.
    ///
    /// # Errors
    /// When both are missing, or the file system refuses.
    pub fn open(path: &Path, log: &Path) -> io::Result<Self> {
        let (db, log) = (open(path)?, open(log)?);
        if db.is_none() && log.is_none() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "neither the file nor its log is there"));
        }
        let mut start = [0; START_BYTES];
        read(log.as_ref(), 0, &mut start);
        let log_header = super::log::header(&start[..HEADER_BYTES]);
        start.fill(0);
        read(db.as_ref(), 0, &mut start);
        let said = page::db_header(&start).map(|header| header.page_bytes);
        let ours = usize::try_from(schema::PAGE_BYTES).unwrap_or(1024);
        let page_bytes = said.or(log_header.map(|header| header.page_bytes)).unwrap_or(ours);
        let pages = length(db.as_ref())?.div_ceil(page_bytes as u64);
        let frame_bytes = (page_bytes + FRAME_HEAD_BYTES) as u64;
        let frames = length(log.as_ref())?.saturating_sub(HEADER_BYTES as u64).div_ceil(frame_bytes);
        Ok(Self {
            db,
            log,
            log_header,
            page_bytes,
            db_pages: u32::try_from(pages).unwrap_or(u32::MAX - 1),
            log_frames: u32::try_from(frames.min(FRAMES_MAX as u64)).unwrap_or(0),
            frames: Vec::new(),
            by_page: Vec::new(),
            last_present: 0,
        })
    }

    /// Takes frames for the judgement of the log.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader::new(self.log_header)
    }

    /// Reads on; `None` at the end of the log.
    pub fn read_log(&self, reader: &mut Reader) -> Option<usize> {
        let done = u32::try_from(reader.frames()).ok().filter(|done| *done < self.log_frames)?;
        let block = self.block(Image::Frame(done));
        let size = self.page_bytes + FRAME_HEAD_BYTES;
        block.chunks(size).for_each(|frame| reader.push(frame));
        Some(block.len())
    }

    /// Takes the judgement of the log.
    pub fn judged(&mut self, reader: Reader) {
        self.frames = reader.finish();
        self.log_frames = u32::try_from(self.frames.len()).unwrap_or(0);
        let named = |frame: &u32| self.frame(*frame).is_some_and(|frame| frame.trust != Trust::Orphan);
        let mut by_page: Vec<u32> = (0..self.log_frames).filter(named).collect();
        by_page.sort_by_key(|frame| {
            (self.page_of(Image::Frame(*frame)), std::cmp::Reverse(self.rank(Image::Frame(*frame))))
        });
        self.by_page = by_page;
        let present = (0..self.log_frames).rev().find(|frame| self.is_verified(Image::Frame(*frame)));
        self.last_present = present.unwrap_or(0);
    }

    /// Some pages that follow each other in one file, each with its place. Ends short at the end.
    #[must_use]
    pub fn pages(&self, from: Image) -> Vec<(Image, Vec<u8>)> {
        let block = self.block(from);
        match from {
            Image::Page(first) => (first..)
                .zip(block.chunks(self.page_bytes))
                .map(|(page, bytes)| (Image::Page(page), bytes.to_vec()))
                .collect(),
            Image::Frame(first) => (first..)
                .zip(block.chunks(self.page_bytes + FRAME_HEAD_BYTES))
                .map(|(frame, bytes)| {
                    (Image::Frame(frame), bytes.get(FRAME_HEAD_BYTES..).unwrap_or_default().to_vec())
                })
                .collect(),
        }
    }

    /// Bytes from `from` on, whole pages or frames; what cannot be read is zero.
    fn block(&self, from: Image) -> Vec<u8> {
        let (size, left) = match from {
            Image::Page(page) => (self.page_bytes, (self.db_pages + 1).saturating_sub(page)),
            Image::Frame(frame) => {
                (self.page_bytes + FRAME_HEAD_BYTES, self.log_frames.saturating_sub(frame))
            }
        };
        let count = (READ_BYTES / size).max(1).min(usize::try_from(left).unwrap_or(usize::MAX));
        let mut block = vec![0; count * size];
        let (file, at) = self.place(from, 0);
        if !read(file, at, &mut block) {
            // The medium may refuse a sector: then all but that page.
            for (index, bytes) in block.chunks_mut(size).enumerate() {
                bytes.fill(0);
                read(file, at + (index * size) as u64, bytes);
            }
        }
        block
    }

    fn place(&self, image: Image, skip: usize) -> (Option<&File>, u64) {
        let size = self.page_bytes as u64;
        match image {
            Image::Page(page) => (self.db.as_ref(), u64::from(page.saturating_sub(1)) * size + skip as u64),
            Image::Frame(frame) => {
                let at = HEADER_BYTES as u64 + u64::from(frame) * (size + FRAME_HEAD_BYTES as u64);
                (self.log.as_ref(), at + skip as u64)
            }
        }
    }

    /// The bytes of one version of a page.
    #[must_use]
    pub fn read(&self, image: Image) -> Vec<u8> {
        let mut page = vec![0; self.page_bytes];
        let skip = if matches!(image, Image::Frame(_)) { FRAME_HEAD_BYTES } else { 0 };
        let (file, at) = self.place(image, skip);
        read(file, at, &mut page);
        page
    }

    fn frame(&self, frame: u32) -> Option<&Frame> {
        self.frames.get(usize::try_from(frame).ok()?)
    }

    /// Which page this is a version of, if that is known.
    #[must_use]
    pub fn page_of(&self, image: Image) -> Option<u32> {
        match image {
            Image::Page(page) => Some(page),
            Image::Frame(frame) => {
                self.frame(frame).filter(|frame| frame.trust != Trust::Orphan).map(|frame| frame.page)
            }
        }
    }

    /// Whether a check sum says that this is whole, and of the newest generation.
    #[must_use]
    pub fn is_verified(&self, image: Image) -> bool {
        matches!(image, Image::Frame(frame) if self.frame(frame).is_some_and(|f| f.trust == Trust::Present))
    }

    /// Whether it is a page that was part of the file once, as far as we can tell.
    #[must_use]
    pub fn is_credible(&self, image: Image) -> bool {
        match image {
            Image::Page(_) => true,
            Image::Frame(frame) => self.frame(frame).is_some_and(|frame| frame.trust >= Trust::Earlier),
        }
    }

    /// Newer and more trustworthy versions have a higher one, see [`class`].
    #[must_use]
    pub fn rank(&self, image: Image) -> u64 {
        let (trust, generation, index) = match image {
            Image::Page(_) => return rank_of(IN_DATABASE, 0, 0),
            Image::Frame(index) => match self.frame(index) {
                None => (Trust::Orphan, 0, 0),
                Some(frame) => (frame.trust, frame.generation, index),
            },
        };
        rank_of(class(trust), generation, index)
    }

    /// Whether it is a damaged frame with good ones of the newest generation behind it: what is whole in
    /// it was committed, and is newer than what stands before it.
    #[must_use]
    pub fn is_amid(&self, image: Image) -> bool {
        let damaged = |frame: &Frame| matches!(frame.trust, Trust::Orphan | Trust::Broken);
        matches!(image, Image::Frame(index) if index < self.last_present && self.frame(index).is_some_and(damaged))
    }

    /// As [`Source::rank`], for what has a check sum of its own: there it does not matter that its frame
    /// is damaged elsewhere.
    #[must_use]
    pub fn rank_inside(&self, image: Image) -> u64 {
        match image {
            Image::Frame(index) if self.is_amid(image) => rank_of(class(Trust::Present), 0, index),
            _ => self.rank(image),
        }
    }

    /// All versions of a page, the best first.
    pub fn versions(&self, page: u32) -> impl Iterator<Item = Image> {
        let begin = self.by_page.partition_point(|frame| self.page_of(Image::Frame(*frame)) < Some(page));
        let frames = self.by_page.get(begin..).unwrap_or_default().iter().map(|frame| Image::Frame(*frame));
        let frames = frames.take_while(move |frame| self.page_of(*frame) == Some(page));
        let own = Some(Image::Page(page)).filter(|_| page > 0 && page <= self.db_pages);
        let (newer, older): (Vec<_>, Vec<_>) =
            frames.partition(|frame| self.rank(*frame) > self.rank(Image::Page(page)));
        newer.into_iter().chain(own).chain(older)
    }

    /// The best version of a page.
    #[must_use]
    pub fn newest(&self, page: u32) -> Option<Image> {
        self.versions(page).next()
    }

    /// Whether the log had a newer version of this page, of which nobody knows how much is left.
    #[must_use]
    pub fn is_outdated(&self, page: u32) -> bool {
        let broken = |frame: &Frame| frame.trust == Trust::Broken && frame.generation == 0;
        self.versions(page).any(|version| match version {
            Image::Frame(frame) => self.frame(frame).is_some_and(broken),
            Image::Page(_) => false,
        })
    }

    /// The highest page number that can be meant.
    #[must_use]
    pub fn last_page(&self) -> u32 {
        let frames = self.frames.iter().filter(|frame| frame.trust > Trust::Broken);
        frames.map(|frame| frame.page).max().unwrap_or(0).max(self.db_pages)
    }

    /// Tries to read a whole row, of which `payload` stands in `image`: first through the newest
    /// version of each overflow page, then through those that the page itself saw, then through
    /// others, until `good` takes one.
    pub fn follow<T>(
        &self,
        image: Image,
        payload: &Payload<'_>,
        mut good: impl FnMut(&[u8]) -> Option<T>,
    ) -> Option<T> {
        let mut doubts = Vec::new();
        let chain = self.chain(payload, |at, page| {
            let mut versions = self.versions(page);
            let newest = versions.next();
            if doubts.len() < DOUBTS_MAX {
                doubts.extend(versions.next().map(|other| (at, other)));
            }
            newest
        });
        if let Some(found) = chain.and_then(|bytes| good(&bytes)) {
            return Some(found);
        }
        payload.overflow?;
        let chain = self.chain(payload, |_, page| self.version_beside(image, page));
        if let Some(found) = chain.and_then(|bytes| good(&bytes)) {
            return Some(found);
        }
        let tries = RETRY_BYTES / payload.bytes.max(1);
        doubts.into_iter().take(tries).find_map(|(doubt, other)| {
            let chain =
                self.chain(payload, |at, page| if at == doubt { Some(other) } else { self.newest(page) });
            chain.and_then(|bytes| good(&bytes))
        })
    }

    /// The version of `page` that belongs to `image`: written before it or in the same transaction, so
    /// the nearest one in the log, else the one in the database.
    fn version_beside(&self, image: Image, page: u32) -> Option<Image> {
        let distance = |version: &Image| match (image, version) {
            (Image::Frame(here), Image::Frame(there)) => here.abs_diff(*there),
            (Image::Page(_), Image::Page(_)) => 0,
            _ => u32::MAX,
        };
        self.versions(page).min_by_key(distance)
    }

    /// Collects a row along its overflow pages (section 1.7). Each step adds bytes and the length of the
    /// row is limited, so a chain that bites its tail ends, too.
    fn chain(
        &self,
        payload: &Payload<'_>,
        mut choose: impl FnMut(usize, u32) -> Option<Image>,
    ) -> Option<Vec<u8>> {
        let mut bytes = payload.local.to_vec();
        let mut next = payload.overflow.unwrap_or(0);
        let mut at = 0;
        while bytes.len() < payload.bytes {
            let page = self.read(choose(at, next)?);
            let take = (payload.bytes - bytes.len()).min(page.len() - 4);
            bytes.extend_from_slice(page.get(4..4 + take)?);
            next = u32_at(&page, 0)?;
            at += 1;
        }
        Some(bytes)
    }
}

/// Class of a page in the database, see [`class`].
const IN_DATABASE: u64 = 4;

/// First what the log says for sure, then the database, then what stood in the log before.
fn class(trust: Trust) -> u64 {
    match trust {
        Trust::Orphan => 0,
        Trust::Broken => 1,
        Trust::Abandoned => 2,
        Trust::Earlier => 3,
        Trust::Present => 5,
    }
}

fn rank_of(class: u64, generation: u32, index: u32) -> u64 {
    let newness = u64::from(0x00ff_ffff - generation.min(0x00ff_ffff));
    (class << 56) | (newness << 32) | u64::from(index)
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn length(file: Option<&File>) -> io::Result<u64> {
    file.map_or(Ok(0), |file| Ok(file.metadata()?.len()))
}

/// Fills `bytes`; what lies behind the end stays as it is. `false` when the medium refuses.
fn read(file: Option<&File>, mut at: u64, mut bytes: &mut [u8]) -> bool {
    let Some(file) = file else { return true };
    while !bytes.is_empty() {
        match file.read_at(bytes, at) {
            Ok(0) => return true,
            Ok(length) => {
                at += length as u64;
                bytes = bytes.get_mut(length..).unwrap_or_default();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
    true
}
