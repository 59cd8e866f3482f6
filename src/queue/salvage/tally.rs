//! How many entries are missing, from the running totals that stand in the rows.

/// What a row says of its place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Position of the first entry.
    pub first: u64,
    /// Position of the last entry.
    pub last: u64,
    /// Entries that count.
    pub n: u64,
    /// Sum of `n` up to here.
    pub total: u64,
}

/// Entries that count and stand between two rows; `None` when the totals contradict the positions:
/// they begin anew when the queue runs empty.
fn between(before: Place, after: Place) -> Option<u64> {
    let room = after.first.checked_sub(before.last)?.checked_sub(1)?;
    let missing = after.total.checked_sub(after.n)?.checked_sub(before.total)?;
    (missing <= room).then_some(missing)
}

/// Takes rows in rising order: those that were read, and those of which only the head is there.
#[derive(Debug, Default)]
pub struct Tally {
    /// The last row that was read whole.
    sure: Option<Place>,
    /// The last row of which the head was read, behind `sure`, and what is missing up to its end.
    head: Option<(Place, u64)>,
    missing: u64,
    gaps: u64,
}

impl Tally {
    /// Takes a row that was read.
    pub fn whole(&mut self, place: Place) {
        let head = self.head.take();
        let from_sure = self.sure.and_then(|sure| between(sure, place));
        let from_head = || head.and_then(|(head, missing)| Some(between(head, place)? + missing));
        match from_sure.or_else(from_head) {
            Some(missing) => self.missing += missing,
            None => {
                self.missing += head.map_or(0, |(_, missing)| missing);
                self.gaps += u64::from(self.sure.is_some());
            }
        }
        self.sure = Some(place);
    }

    /// Takes a row of which only the head is there. A head that contradicts what is known is ignored.
    pub fn unreadable(&mut self, place: Place) {
        let so_far = self.head.map_or((self.sure, 0), |(head, missing)| (Some(head), missing));
        let before = match so_far.0 {
            Some(before) => between(before, place),
            None => Some(0),
        };
        if let Some(before) = before {
            self.head = Some((place, so_far.1 + before + place.n));
        }
    }

    /// Entries that are missing for sure.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.missing + self.head.map_or(0, |(_, missing)| missing)
    }

    /// Places where the totals do not tell how many are missing.
    #[must_use]
    pub fn gaps(&self) -> u64 {
        self.gaps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(first: u64, last: u64, n: u64, total: u64) -> Place {
        Place { first, last, n, total }
    }

    #[test]
    fn what_stands_between_two_rows_is_missing() {
        let mut tally = Tally::default();
        tally.whole(place(10, 14, 5, 105));
        tally.whole(place(15, 19, 4, 109));
        assert_eq!(tally.missing(), 0);
        // Positions without entries are not missing: 20 to 29 held seven.
        tally.whole(place(30, 30, 1, 117));
        assert_eq!((tally.missing(), tally.gaps()), (7, 0));
    }

    #[test]
    fn heads_tell_of_both_ends() {
        let mut tally = Tally::default();
        tally.unreadable(place(0, 9, 10, 10));
        tally.unreadable(place(20, 29, 10, 28));
        tally.whole(place(30, 39, 10, 38));
        assert_eq!(tally.missing(), 28);
        tally.unreadable(place(45, 49, 3, 43));
        assert_eq!(tally.missing(), 33);
        // What is read says more than a head in between that was damaged itself.
        tally.whole(place(50, 50, 1, 44));
        assert_eq!((tally.missing(), tally.gaps()), (33, 0));
    }

    #[test]
    fn totals_that_begin_anew_say_nothing() {
        let mut tally = Tally::default();
        tally.whole(place(10, 14, 5, 105));
        tally.whole(place(20, 24, 5, 5));
        tally.unreadable(place(30, 31, 1, 4000));
        assert_eq!((tally.missing(), tally.gaps()), (0, 1));
    }
}
