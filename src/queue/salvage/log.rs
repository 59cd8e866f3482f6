//! The write-ahead log (section 4 of <https://www.sqlite.org/fileformat2.html>), frame by frame.
//!
//! `SQLite` stops at the first frame whose check sum is wrong. The check sum of a frame goes on from
//! the one before it, which is stored; so each frame can be judged by itself as long as the head of
//! the one before is whole, and what lies behind a damaged frame is not lost.
//!
//! The log is overwritten from its beginning again and again, each time with other salts. So behind
//! the frames of the present *generation* lie those of earlier ones: all of them copies of what was in
//! the database once.

use super::page::{is_page_size, u32_at};

/// Bytes before the first frame (section 4.1).
pub const HEADER_BYTES: usize = 32;
/// Bytes before the page in each frame.
pub const FRAME_HEAD_BYTES: usize = 24;
/// The first word, but for its lowest bit: that says in which order words are summed.
const MAGIC: u32 = 0x377f_0682;
/// The only version there is.
const VERSION: u32 = 3_007_000;
/// A run of frames behind a break is what was written after it, and not the remains of a commit that
/// a crash had cut off, when so many commits stand in it: more are not begun before one is flushed.
const COMMITS_TO_BELIEVE: usize = 4;

/// Generations in which a frame's salts are looked for, from the newest that was met: they follow each
/// other in the log.
const GENERATIONS_LOOKED_AT: usize = 16;

type Sums = (u32, u32);
type Salts = (u32, u32);

/// The log's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogHeader {
    /// Page size, in bytes.
    pub page_bytes: usize,
    salts: Salts,
    sums: Sums,
    big_endian: bool,
}

/// Reads the header, if its check sum is right.
#[must_use]
pub fn header(bytes: &[u8]) -> Option<LogHeader> {
    let magic = u32_at(bytes, 0)?;
    let big_endian = magic & 1 == 1;
    let sums = (u32_at(bytes, 24)?, u32_at(bytes, 28)?);
    let page_bytes = usize::try_from(u32_at(bytes, 8)?).ok()?;
    let whole = magic & !1 == MAGIC
        && u32_at(bytes, 4)? == VERSION
        && is_page_size(page_bytes)
        && sum((0, 0), bytes.get(..24)?, big_endian) == sums;
    whole.then_some(LogHeader {
        page_bytes,
        salts: (u32_at(bytes, 16)?, u32_at(bytes, 20)?),
        sums,
        big_endian,
    })
}

/// The check sum (section 4.2), gone on from `sums`.
fn sum((mut s0, mut s1): Sums, bytes: &[u8], big_endian: bool) -> Sums {
    for pair in bytes.chunks_exact(8) {
        let word = |at: usize| {
            let word = u32_at(pair, at).unwrap_or(0);
            if big_endian { word } else { word.swap_bytes() }
        };
        s0 = s0.wrapping_add(word(0)).wrapping_add(s1);
        s1 = s1.wrapping_add(word(4)).wrapping_add(s0);
    }
    (s0, s1)
}

/// How far a frame is to be believed, best last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trust {
    /// Its head is damaged: the page may be whole, but nobody knows which one it is.
    Orphan,
    /// Its check sum is wrong: the page may be whole.
    Broken,
    /// It is whole, but was never committed, or a crash had cut it off.
    Abandoned,
    /// It is whole, and of an earlier generation.
    Earlier,
    /// It is whole, committed, and of the newest generation.
    Present,
}

/// One frame, without its page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The page it holds.
    pub page: u32,
    /// Counts the salts, from the newest.
    pub generation: u32,
    /// How far to believe it.
    pub trust: Trust,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    page: u32,
    commit: bool,
    salts: Salts,
    /// It goes on from the frame before it.
    linked: bool,
}

/// Takes frames in the order of the log.
#[derive(Debug)]
pub struct Reader {
    big_endian: bool,
    before: Option<Sums>,
    first_salts: Option<Salts>,
    seen: Vec<Seen>,
}

impl Reader {
    /// Begins behind the header, if that is whole.
    #[must_use]
    pub fn new(header: Option<LogHeader>) -> Self {
        Self {
            // `SQLite` sums in the order of the machine that made the log: most likely this one.
            big_endian: header.map_or(cfg!(target_endian = "big"), |header| header.big_endian),
            before: header.map(|header| header.sums),
            first_salts: header.map(|header| header.salts),
            seen: Vec::new(),
        }
    }

    /// Frames that were taken.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.seen.len()
    }

    /// Takes the next frame, head and page; a short one is ignored.
    pub fn push(&mut self, frame: &[u8]) {
        let word = |at: usize| u32_at(frame, at);
        let words = (|| Some([word(0)?, word(4)?, word(8)?, word(12)?, word(16)?, word(20)?]))();
        let Some([page, size, salt_a, salt_b, sum_a, sum_b]) = words else { return };
        let (head, content) = (frame.get(..8).unwrap_or_default(), frame.get(FRAME_HEAD_BYTES..));
        let expected = self.before.map(|before| {
            sum(sum(before, head, self.big_endian), content.unwrap_or_default(), self.big_endian)
        });
        let linked = page != 0 && expected == Some((sum_a, sum_b));
        self.before = Some((sum_a, sum_b));
        self.seen.push(Seen { page, commit: size != 0, salts: (salt_a, salt_b), linked });
    }

    /// Judges all frames.
    #[must_use]
    pub fn finish(self) -> Vec<Frame> {
        let mut generations: Vec<Salts> = self.first_salts.into_iter().collect();
        let mut frames = Vec::with_capacity(self.seen.len());
        let mut runs: Vec<Run> = Vec::new();
        for (index, seen) in self.seen.iter().enumerate() {
            // The first frame of a generation may have nothing to go on from: the next one speaks for it.
            let next = self.seen.get(index + 1).is_some_and(|next| next.linked && next.salts == seen.salts);
            let recent = generations.len().saturating_sub(GENERATIONS_LOOKED_AT);
            let known = generations.iter().skip(recent).rposition(|salts| *salts == seen.salts);
            if known.is_none() && (seen.linked || next) {
                generations.push(seen.salts);
            }
            let known = known.map(|at| at + recent).or((seen.linked || next).then(|| generations.len() - 1));
            let trust = match known {
                None => Trust::Orphan,
                Some(_) if !seen.linked => Trust::Broken,
                Some(_) => Trust::Abandoned,
            };
            let generation = known.and_then(|known| u32::try_from(known).ok()).unwrap_or(u32::MAX);
            frames.push(Frame { page: seen.page, generation, trust });
            if seen.linked {
                grow(&mut runs, index, seen);
            }
        }
        believe(&runs, &mut frames);
        frames
    }
}

/// Believes the runs that are believable, each up to its last commit.
fn believe(runs: &[Run], frames: &mut [Frame]) {
    let mut believed = true;
    for (number, run) in runs.iter().enumerate() {
        let before = number.checked_sub(1).and_then(|before| runs.get(before));
        let follows = match before.filter(|before| before.salts == run.salts) {
            None => true,
            // Behind a commit there may be what was written before a crash, and then begun anew.
            Some(before) => believed && before.last_commit != Some(before.end - 1),
        };
        believed = follows || run.commits >= COMMITS_TO_BELIEVE;
        // What no commit follows in this run may be committed in the next one.
        let next = runs.get(number + 1).filter(|next| next.salts == run.salts && next.last_commit.is_some());
        let until = if next.is_some() { Some(run.end - 1) } else { run.last_commit };
        let until = until.filter(|_| believed).map_or(run.begin, |until| until + 1);
        for frame in frames.get_mut(run.begin..until).unwrap_or_default() {
            frame.trust = if frame.generation == 0 { Trust::Present } else { Trust::Earlier };
        }
    }
}

/// Frames that go on from each other.
#[derive(Debug)]
struct Run {
    begin: usize,
    end: usize,
    salts: Salts,
    last_commit: Option<usize>,
    commits: usize,
}

fn grow(runs: &mut Vec<Run>, index: usize, seen: &Seen) {
    match runs.last_mut() {
        Some(run) if run.end == index && run.salts == seen.salts => run.end += 1,
        _ => {
            runs.push(Run { begin: index, end: index + 1, salts: seen.salts, last_commit: None, commits: 0 });
        }
    }
    if let Some(run) = runs.last_mut().filter(|_| seen.commit) {
        run.last_commit = Some(index);
        run.commits += 1;
    }
}
