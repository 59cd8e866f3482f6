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

/// By how much the totals of two rows differ, and how many positions stand between them.
fn apart(before: Place, after: Place) -> Option<(u64, u64)> {
    let room = after.first.checked_sub(before.last)?.checked_sub(1)?;
    Some((after.total.checked_sub(after.n)?.checked_sub(before.total)?, room))
}

/// Entries that count and stand between two rows; `None` when the totals contradict the positions:
/// they begin anew when the queue runs empty.
fn between(before: Place, after: Place) -> Option<u64> {
    apart(before, after).and_then(|(missing, room)| (missing <= room).then_some(missing))
}

/// Takes rows in rising order: those that were read, and those of which only the head is there.
///
/// Entries that were taken out on purpose, between rows or inside one, look as if they were missing. But
/// the file says how many were taken out in all. So it is known how many there should be, and no more
/// than what is not found of those can be missing.
#[derive(Debug, Default)]
pub struct Tally {
    /// The last row that was read whole.
    sure: Option<Place>,
    /// The last row of which the head was read, behind `sure`, and what is missing up to its end.
    head: Option<(Place, u64)>,
    missing: u64,
    gaps: u64,
    /// Entries that were taken out on purpose, since the first one ever; `None` where that is not known,
    /// or was not written down.
    removed: Option<u64>,
    /// Entries in rows that were read, or that are stored and were passed by.
    found: u64,
    /// Those of them that were passed by, since the last row that was read.
    passed: u64,
}

impl Tally {
    /// Takes the number of entries that count and were taken out on purpose, since the first one ever.
    pub fn removed(&mut self, removed: u64) {
        self.removed = Some(removed);
    }

    /// Takes a row that is stored and not wanted any more.
    pub fn passed_by(&mut self, n: u64) {
        // What stands before the first row is not looked for. Most of that is gone, too: it only looks
        // as if it were stored, where newer versions of its pages are lost.
        if self.sure.is_some() || self.head.is_some() {
            self.found = self.found.saturating_add(n);
            self.passed = self.passed.saturating_add(n);
        }
    }

    /// Takes a row that was read.
    pub fn whole(&mut self, place: Place) {
        let head = self.head.take();
        let from_sure = self.sure.and_then(|sure| match self.removed {
            // What was taken out of the second row makes the difference larger.
            Some(_) => apart(sure, place).map(|(differ, room)| differ.min(room)),
            None => between(sure, place),
        });
        let from_head = || head.and_then(|(head, missing)| Some(between(head, place)? + missing));
        match from_sure.or_else(from_head) {
            Some(missing) => self.missing += missing.saturating_sub(self.passed),
            None => {
                self.missing += head.map_or(0, |(_, missing)| missing);
                self.gaps += u64::from(self.sure.is_some());
            }
        }
        self.sure = Some(place);
        self.passed = 0;
        self.found = self.found.saturating_add(place.n);
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

    /// Takes a row of which an older version was read, that was shorter, and the head of the newest.
    pub fn shorter(&mut self, older: Place, newest: Place) {
        let more = || {
            let (first, n) = (older.last.checked_add(1)?, newest.n.checked_sub(older.n)?);
            (newest.last >= first).then_some(Place { first, n, ..newest })
        };
        if let Some(rest) = more() {
            self.unreadable(rest);
        }
    }

    /// Entries that are missing for sure.
    #[must_use]
    pub fn missing(&self) -> u64 {
        let behind = self.head.map_or(0, |(_, missing)| missing.saturating_sub(self.passed));
        let missing = self.missing.saturating_add(behind);
        let newest = self.head.map(|(head, _)| head).or(self.sure);
        match (self.removed, newest) {
            (Some(removed), Some(newest)) => {
                let there = newest.total.saturating_sub(removed);
                missing.min(there.saturating_sub(self.found))
            }
            _ => missing,
        }
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
    fn what_was_taken_out_is_not_missing() {
        let mut tally = Tally::default();
        tally.whole(place(10, 14, 5, 105));
        // Between 14 and 30 there were ten more; seven of those were taken out.
        tally.whole(place(30, 30, 1, 116));
        assert_eq!(tally.missing(), 10);
        tally.removed(107);
        assert_eq!(tally.missing(), 3);
        // Two of the three are there, but were delivered.
        tally.passed_by(2);
        assert_eq!(tally.missing(), 1);
        // What is found twice, or a number from another time, does not turn it below nothing.
        tally.passed_by(2);
        assert_eq!(tally.missing(), 0);
        tally.removed(u64::MAX);
        assert_eq!(tally.missing(), 0);
    }

    #[test]
    fn what_was_taken_out_of_a_row_is_no_contradiction() {
        let mut tally = Tally::default();
        tally.removed(110);
        tally.whole(place(10, 14, 5, 105));
        // Of ten entries one was kept.
        tally.whole(place(16, 16, 1, 115));
        assert_eq!((tally.missing(), tally.gaps()), (0, 0));
        tally.whole(place(20, 29, 10, 128));
        assert_eq!((tally.missing(), tally.gaps()), (2, 0));
    }

    #[test]
    fn what_was_passed_by_is_not_missing() {
        let mut tally = Tally::default();
        tally.passed_by(100);
        tally.whole(place(10, 14, 5, 105));
        tally.passed_by(4);
        tally.unreadable(place(30, 30, 1, 116));
        assert_eq!(tally.missing(), 7);
        tally.whole(place(31, 31, 1, 117));
        assert_eq!((tally.missing(), tally.gaps()), (7, 0));
        tally.whole(place(40, 40, 1, 120));
        assert_eq!((tally.missing(), tally.gaps()), (9, 0));
    }

    #[test]
    fn what_an_older_version_of_a_row_lacks_is_missing() {
        let grown = place(10, 29, 18, 118);
        let mut tally = Tally::default();
        tally.whole(place(10, 14, 5, 105));
        tally.shorter(place(10, 14, 5, 105), grown);
        assert_eq!((tally.missing(), tally.gaps()), (13, 0));
        tally.whole(place(30, 30, 1, 119));
        assert_eq!((tally.missing(), tally.gaps()), (13, 0));
        // A row that shrank, or numbers that do not fit, say nothing.
        tally.shorter(place(30, 30, 1, 119), place(30, 30, 0, 119));
        tally.shorter(place(30, 30, 1, 119), place(30, 33, 2, 4000));
        assert_eq!((tally.missing(), tally.gaps()), (13, 0));
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
