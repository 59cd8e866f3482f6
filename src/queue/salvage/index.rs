//! Where rows of `chunk` were seen, in the order of their positions, in bounded memory.

use std::collections::BTreeMap;

/// Most rows that are remembered at once; what is beyond is looked for again when these have been
/// read. So a file of any size costs a few megabytes.
const ROWS_MAX: usize = 32_768;
/// Copies of a row that are remembered: a row that grows has many, and each of them is shorter than
/// the one after it.
const COPIES: usize = 6;

/// Where a version of a page stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Image {
    /// In the database; counted from 1.
    Page(u32),
    /// In the log; counted from 0.
    Frame(u32),
}

/// One copy of a row of `chunk`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Which page it stands in.
    pub image: Image,
    /// Where its cell begins there.
    pub at: u16,
    /// It stands in the newest version of a page that is in use.
    pub live: bool,
    /// It stands in the newest version of a page.
    pub newest: bool,
    /// It is taken for part of the file although its own frame is damaged: it stands among good ones.
    pub amid: bool,
    /// It was part of the file once, as far as we can tell.
    pub credible: bool,
    /// Prefers newer ones, see there.
    pub rank: u64,
}

impl Sighting {
    fn order(&self) -> (bool, u64) {
        (self.live, self.rank)
    }
}

/// Rows and their copies, best first.
#[derive(Debug)]
pub struct Index {
    rows: BTreeMap<u64, [Option<Sighting>; COPIES]>,
    /// Only rows from this position on.
    from: u64,
    /// Some rows had no room.
    full: bool,
    rows_max: usize,
}

impl Default for Index {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), from: 0, full: false, rows_max: ROWS_MAX }
    }
}

impl Index {
    /// An empty one that remembers fewer rows.
    #[cfg(test)]
    pub fn with_room(rows_max: usize) -> Self {
        Self { rows_max, ..Self::default() }
    }

    /// Remembers that the row of position `first` was seen.
    pub fn insert(&mut self, first: u64, copy: Sighting) {
        if first < self.from {
            return;
        }
        let copies = self.rows.entry(first).or_default();
        let mut new = Some(copy);
        for slot in copies {
            let better = match (&new, &slot) {
                (Some(new), Some(old)) => new.order() > old.order(),
                (new, _) => new.is_some(),
            };
            if better {
                std::mem::swap(slot, &mut new);
            }
        }
        if self.rows.len() > self.rows_max {
            self.full = true;
            self.rows.pop_last();
        }
    }

    /// Takes the next row, with its copies.
    pub fn pop(&mut self) -> Option<(u64, Vec<Sighting>)> {
        let (first, copies) = self.rows.pop_first()?;
        self.from = first + 1;
        Some((first, copies.into_iter().flatten().collect()))
    }

    /// Whether another row, that begins at or before `last`, is better than `copy`. Only one whose page
    /// is whole counts: nobody has read it yet.
    #[must_use]
    pub fn has_better(&self, last: u64, copy: &Sighting) -> bool {
        let mut overlapping = self.rows.range(..=last).flat_map(|(_, copies)| copies.iter().flatten());
        overlapping.any(|other| !other.amid && other.order() > copy.order())
    }

    /// Whether rows are left over that were seen but had no room. They are to be looked for again; from
    /// now on only those are taken.
    pub fn begin_again(&mut self) -> bool {
        std::mem::take(&mut self.full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(rank: u64, live: bool) -> Sighting {
        Sighting { image: Image::Page(1), at: 0, live, newest: live, amid: false, credible: true, rank }
    }

    #[test]
    fn the_best_copies_are_kept_best_first() {
        let mut index = Index::default();
        let ranks =
            [(3, false), (9, false), (1, true), (5, false), (2, false), (8, false), (4, false), (7, false)];
        for (rank, live) in ranks {
            index.insert(4, copy(rank, live));
        }
        let (first, copies) = index.pop().unwrap();
        assert_eq!(first, 4);
        assert_eq!(copies.iter().map(|c| c.rank).collect::<Vec<_>>(), [1, 9, 8, 7, 5, 4]);
        assert!(index.pop().is_none());
    }

    #[test]
    fn a_row_whose_page_is_damaged_is_better_than_none() {
        let mut index = Index::default();
        let broken = Sighting { amid: true, ..copy(9, false) };
        index.insert(7, broken);
        assert!(!index.has_better(8, &copy(5, false)));
        index.insert(7, copy(6, false));
        assert!(index.has_better(8, &copy(5, false)));
        assert!(!index.has_better(6, &copy(5, false)), "they do not overlap");
        assert!(!index.has_better(8, &copy(5, true)));
    }

    #[test]
    fn what_has_no_room_is_found_in_the_next_rounds() {
        let mut index = Index::with_room(3);
        let (mut found, mut rounds) = (Vec::new(), 0);
        loop {
            rounds += 1;
            for first in [7, 2, 9, 4, 1, 3, 8] {
                index.insert(first, copy(0, true));
            }
            found.extend(std::iter::from_fn(|| index.pop()).map(|(first, _)| first));
            if !index.begin_again() {
                break;
            }
        }
        assert_eq!((found, rounds), (vec![1, 2, 3, 4, 7, 8, 9], 3));
    }
}
