//! Memory for packets that are half here or half gone, of all connections together.
//!
//! Every connection has a little of its own. What it holds beyond that is counted, and where all of
//! them hold too much, those end that have not moved for longest: who announces large packets and
//! sends them by the byte, or asks for much and reads nothing, is soon among those.

use std::collections::BTreeMap;

use super::end::End;
use crate::mqtt::packet::Reason;

/// Bytes that a connection may hold without being counted.
pub(super) const OWN_BYTES: usize = 8 * 1024;

/// What connections hold beyond their own. `W` wakes one of them.
#[derive(Debug)]
pub(super) struct Buffers<W> {
    limit: usize,
    used: usize,
    /// By when they last moved.
    holders: BTreeMap<u64, (usize, W)>,
    next_turn: u64,
}

/// One connection's part in it.
#[derive(Debug, Default)]
pub(super) struct Part {
    turn: Option<u64>,
}

impl Part {
    /// Whether anything is counted for it.
    pub(super) fn is_counted(&self) -> bool {
        self.turn.is_some()
    }
}

/// The connection has to give its memory back: it must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GaveWay;

impl From<GaveWay> for End {
    fn from(GaveWay: GaveWay) -> Self {
        Self::Refused { reason: Reason::QUOTA, why: "others need the memory of its unfinished packets" }
    }
}

impl<W> Buffers<W> {
    /// Nothing held, and at most `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, used: 0, holders: BTreeMap::new(), next_turn: 0 }
    }

    /// From now on there may be `limit` bytes; whoever is over it ends when somebody needs more.
    pub(super) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// A connection holds `bytes` in all, and has `moved` since it said so last or not. Those that
    /// have to end for it are taken out: they are to be woken, to find out.
    ///
    /// # Errors
    /// This one has to end.
    pub(super) fn hold(
        &mut self,
        part: &mut Part,
        bytes: usize,
        moved: bool,
        wake: impl FnOnce() -> W,
    ) -> Result<Vec<W>, GaveWay> {
        let known = match part.turn {
            None => None,
            Some(turn) => Some((turn, self.take(turn).ok_or(GaveWay)?)),
        };
        part.turn = None;
        if bytes <= OWN_BYTES {
            return Ok(Vec::new());
        }
        let (turn, wake) = match known {
            Some((turn, wake)) if !moved => (turn, wake),
            known => {
                self.next_turn += 1;
                (self.next_turn, known.map_or_else(wake, |(_, wake)| wake))
            }
        };
        part.turn = Some(turn);
        let counted = bytes - OWN_BYTES;
        self.used += counted;
        self.holders.insert(turn, (counted, wake));
        let mut ended = Vec::new();
        while self.used > self.limit {
            let Some((oldest, (freed, wake))) = self.holders.pop_first() else { break };
            self.used -= freed;
            if oldest == turn {
                part.turn = None;
                return Err(GaveWay);
            }
            ended.push(wake);
        }
        Ok(ended)
    }

    /// A connection is over.
    pub(super) fn release(&mut self, part: &mut Part) {
        if let Some(turn) = part.turn.take() {
            self.take(turn);
        }
    }

    fn take(&mut self, turn: u64) -> Option<W> {
        let (bytes, wake) = self.holders.remove(&turn)?;
        self.used -= bytes;
        Some(wake)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1024;

    fn hold(buffers: &mut Buffers<u8>, part: &mut Part, bytes: usize, name: u8) -> Result<Vec<u8>, GaveWay> {
        buffers.hold(part, bytes, false, || name)
    }

    #[test]
    fn who_has_not_moved_for_longest_gives_way() {
        let mut buffers = Buffers::new(100 * KIB);
        let [mut a, mut b, mut c] = [Part::default(), Part::default(), Part::default()];
        assert_eq!(hold(&mut buffers, &mut a, 56 * KIB, 1), Ok(vec![]));
        assert_eq!(hold(&mut buffers, &mut b, 56 * KIB, 2), Ok(vec![]));
        assert_eq!(buffers.hold(&mut a, 56 * KIB, true, || 1), Ok(vec![]), "a has moved");
        assert_eq!(hold(&mut buffers, &mut c, 56 * KIB, 3), Ok(vec![2]));
        assert_eq!(hold(&mut buffers, &mut b, 56 * KIB, 2), Err(GaveWay));
        assert_eq!(buffers.used, 2 * (56 * KIB - OWN_BYTES));
        buffers.release(&mut a);
        buffers.release(&mut c);
        assert_eq!((buffers.used, buffers.holders.len()), (0, 0));
    }

    #[test]
    fn a_little_is_everybodys_own() {
        let mut buffers = Buffers::new(0);
        let mut part = Part::default();
        assert_eq!(hold(&mut buffers, &mut part, OWN_BYTES, 1), Ok(vec![]));
        assert!(!part.is_counted());
        assert_eq!(hold(&mut buffers, &mut part, OWN_BYTES + 1, 1), Err(GaveWay));
        assert_eq!(buffers.used, 0);
    }

    #[test]
    fn what_is_given_back_makes_room() {
        let mut buffers = Buffers::new(100 * KIB);
        let [mut a, mut b] = [Part::default(), Part::default()];
        assert_eq!(hold(&mut buffers, &mut a, 100 * KIB, 1), Ok(vec![]));
        assert_eq!(hold(&mut buffers, &mut a, KIB, 1), Ok(vec![]));
        assert_eq!(hold(&mut buffers, &mut b, 100 * KIB, 2), Ok(vec![]));
    }
}
