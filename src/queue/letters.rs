//! Dead letters on their way into the file: what a bridge can never deliver is kept, to be looked at.
//!
//! A row leaves the queue for the dead letters in one transaction. Until that is on disk the row counts
//! as not delivered: its sender is told nothing, and after a crash it is handed out again.

use std::collections::VecDeque;
use std::sync::Arc;

use super::types::Safe;

/// What may wait for the disk, in bytes. Beyond that the oldest are lost, and counted.
pub const WAITING_BYTES: usize = 1024 * 1024;
/// Most bytes of a reason that are kept.
pub const REASON_BYTES: usize = 512;
/// What one takes in the file beside its texts, in bytes: a guess that is rather too high.
const ROW_BYTES: usize = 64;

/// A message that a bridge can never deliver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// The bridge.
    pub bridge: Arc<str>,
    /// When it was given up, in microseconds since 1970.
    pub unix_us: i64,
    /// The topic that it was to go to.
    pub topic: Arc<str>,
    /// Why, in words.
    pub reason: String,
    /// The entry, in the form of [`super::portable`].
    pub entry: Box<str>,
}

impl Letter {
    /// What it takes in the file, about, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        ROW_BYTES + self.bridge.len() + self.topic.len() + self.reason.len() + self.entry.len()
    }
}

/// What a transaction adds to the dead letters.
#[derive(Clone, Debug, Default)]
pub struct Posted {
    /// In the order in which they were given up.
    pub letters: Vec<Arc<Letter>>,
    /// So many more could not wait for it.
    pub lost: u64,
}

impl Posted {
    /// Whether there is nothing to add.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.letters.is_empty() && self.lost == 0
    }

    /// What they take in the file, about, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.letters.iter().map(|letter| letter.bytes()).sum()
    }
}

#[derive(Debug)]
struct Waiting<T> {
    position: u64,
    letter: Arc<Letter>,
    /// Who hears when it is on disk.
    ticket: Option<T>,
}

/// Those that are not on disk. `T` is what a caller hung on the entry.
#[derive(Debug)]
pub struct Letters<T> {
    waiting: VecDeque<Waiting<T>>,
    /// So many of them, the oldest, are being written.
    writing: usize,
    bytes: usize,
    lost: u64,
    /// When they must be written.
    due: Option<i64>,
}

impl<T> Default for Letters<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), writing: 0, bytes: 0, lost: 0, due: None }
    }
}

impl<T> Letters<T> {
    /// Takes the dead letter of the entry at `position`, to be written by `due`. Gives the tickets of
    /// those that had to go for it.
    pub fn push(&mut self, position: u64, letter: Letter, due: i64) -> Vec<T> {
        self.bytes += letter.bytes();
        self.waiting.push_back(Waiting { position, letter: Arc::new(letter), ticket: None });
        self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
        let mut tickets = Vec::new();
        while self.bytes > WAITING_BYTES && self.waiting.len() > self.writing + 1 {
            let Some(gone) = self.waiting.remove(self.writing) else { break };
            self.bytes -= gone.letter.bytes();
            self.lost += 1;
            tickets.extend(gone.ticket);
        }
        tickets
    }

    /// Hangs `ticket` on the dead letter of the entry at `position`.
    ///
    /// # Errors
    /// It is not waiting here; the ticket is given back.
    pub fn attach(&mut self, position: u64, ticket: T) -> Result<(), T> {
        match self.waiting.iter_mut().rev().find(|waiting| waiting.position == position) {
            Some(waiting) => {
                waiting.ticket = Some(ticket);
                Ok(())
            }
            None => Err(ticket),
        }
    }

    /// When they must be written; `None` when there are none.
    #[must_use]
    pub fn due(&self) -> Option<i64> {
        self.due
    }

    /// Bytes that wait.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Everything that waits, to be written.
    pub fn begin_writing(&mut self) -> Posted {
        self.writing = self.waiting.len();
        self.due = None;
        let letters = self.waiting.iter().map(|waiting| Arc::clone(&waiting.letter)).collect();
        Posted { letters, lost: std::mem::take(&mut self.lost) }
    }

    /// What was to be written is on disk.
    pub fn written(&mut self, mut safe: impl FnMut(T, Safe)) {
        for waiting in self.waiting.drain(..self.writing) {
            self.bytes -= waiting.letter.bytes();
            if let Some(ticket) = waiting.ticket {
                safe(ticket, Safe::Durable);
            }
        }
        self.writing = 0;
    }

    /// The disk did not take `posted`: it is tried again by `due`.
    pub fn not_written(&mut self, posted: &Posted, due: i64) {
        self.writing = 0;
        self.lost += posted.lost;
        if !self.waiting.is_empty() {
            self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
        }
    }

    /// All entries have got other positions.
    pub fn move_to(&mut self, from: u64, to: u64) {
        for waiting in &mut self.waiting {
            waiting.position = waiting.position.saturating_sub(from) + to;
        }
    }

    /// Nothing is written any more: nobody hears of any.
    pub fn drop_tickets(&mut self) {
        self.waiting.iter_mut().for_each(|waiting| waiting.ticket = None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(bytes: usize) -> Letter {
        Letter {
            bridge: "cloud".into(),
            unix_us: 0,
            topic: "t".into(),
            reason: "no".into(),
            entry: "x".repeat(bytes).into(),
        }
    }

    #[test]
    fn who_waits_hears_when_it_is_on_disk_and_not_before() {
        let mut letters = Letters::default();
        assert!(letters.push(7, letter(10), 100).is_empty());
        letters.attach(7, 'a').unwrap();
        assert_eq!(letters.attach(8, 'b'), Err('b'));
        assert_eq!(letters.due(), Some(100));
        let posted = letters.begin_writing();
        letters.push(9, letter(10), 200);
        letters.not_written(&posted, 300);
        assert_eq!((letters.due(), letters.len()), (Some(200), 2));
        letters.begin_writing();
        let mut safe = Vec::new();
        letters.written(|ticket, how| safe.push((ticket, how)));
        assert_eq!((safe, letters.len(), letters.bytes()), (vec![('a', Safe::Durable)], 0, 0));
    }

    #[test]
    fn what_waits_is_bounded_and_what_goes_is_counted() {
        let mut letters = Letters::default();
        letters.push(0, letter(10), 0);
        letters.begin_writing();
        for position in 1..40 {
            letters.push(position, letter(WAITING_BYTES / 10), 0);
            let _ = letters.attach(position, position);
        }
        assert!(letters.bytes() <= WAITING_BYTES);
        // What is being written stays, for the disk may have it already.
        let posted = letters.begin_writing();
        assert_eq!(posted.letters.len() as u64 + posted.lost, 40);
        assert_eq!(posted.letters[0].entry.len(), 10);
    }
}
