//! What the daemon knows of boards beyond the line they are on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::reading::Uid;

/// Most boards remembered.
const BOARDS_MAX: usize = 1024;

/// Up to where each board's readings are safe, shared by all ports.
///
/// The queue knows which readings of a board were taken, but not which of them are in memory only.
/// While a board stays on its line, the line knows. When it moves to another one, the new line must
/// not acknowledge what the old one took a moment ago.
#[derive(Clone, Debug, Default)]
pub struct Boards(Arc<Mutex<HashMap<Uid, (u32, u32)>>>);

impl Boards {
    /// All readings of that boot of the board before the returned number are safe; `None` where it
    /// cannot be said. `next` is where the queue resumes: if this daemon has never heard the board,
    /// everything before that came from the disk.
    #[must_use]
    pub fn safe(&self, uid: &Uid, boot: u32, next: u32) -> Option<u32> {
        let boards = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match boards.get(uid) {
            Some((known, safe)) => (*known == boot).then_some(*safe),
            None => (boards.len() < BOARDS_MAX).then_some(next),
        }
    }

    /// All readings of that boot of the board before `safe` are safe.
    pub fn note(&self, uid: &Uid, boot: u32, safe: u32) {
        let mut boards = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if boards.len() < BOARDS_MAX || boards.contains_key(uid) {
            boards.insert(uid.clone(), (boot, safe));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_port_took_is_not_safe_before_it_says_so() {
        let boards = Boards::default();
        let uid = Uid::new(&[1]).unwrap();
        assert_eq!(boards.safe(&uid, 7, 100), Some(100), "from the disk");
        boards.note(&uid, 7, 100);
        assert_eq!(boards.safe(&uid, 7, 120), Some(100), "20 are in memory");
        assert_eq!(boards.safe(&uid, 8, 120), None);
    }

    #[test]
    fn a_full_register_promises_nothing() {
        let boards = Boards::default();
        for n in 0..BOARDS_MAX {
            boards.note(&Uid::new(&n.to_le_bytes()).unwrap(), 1, 1);
        }
        let stranger = Uid::new(&[0xFF; 16]).unwrap();
        boards.note(&stranger, 1, 1);
        assert_eq!(boards.safe(&stranger, 1, 5), None);
    }
}
