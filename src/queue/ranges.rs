//! A set of positions, kept as ranges: what is done lies in few long pieces.

use std::collections::BTreeMap;

/// Ranges that neither overlap nor touch, by where they begin; the end is not in them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges {
    by_start: BTreeMap<u64, u64>,
    len: u64,
}

impl Ranges {
    /// How many positions there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many pieces they lie in.
    #[must_use]
    pub fn pieces(&self) -> usize {
        self.by_start.len()
    }

    /// Where the range that holds `position` ends.
    #[must_use]
    pub fn end_of(&self, position: u64) -> Option<u64> {
        let (_, end) = self.by_start.range(..=position).next_back()?;
        (*end > position).then_some(*end)
    }

    /// Whether `position` is one of them.
    #[must_use]
    pub fn contains(&self, position: u64) -> bool {
        self.end_of(position).is_some()
    }

    /// Start and end of each range, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.by_start.iter().map(|(start, end)| (*start, *end))
    }

    /// Adds everything from `start` to before `end`.
    pub fn insert(&mut self, start: u64, end: u64) {
        if start >= end {
            return;
        }
        let (mut from, mut to) = (start, end);
        // What overlaps or touches it becomes one with it; few do, as each was added only once.
        while let Some((other, other_end)) = self.by_start.range(..=to).next_back().map(|(s, e)| (*s, *e)) {
            if other_end < from {
                break;
            }
            self.by_start.remove(&other);
            self.len -= other_end - other;
            (from, to) = (from.min(other), to.max(other_end));
        }
        self.by_start.insert(from, to);
        self.len += to - from;
    }

    /// Takes away everything below `position`.
    pub fn remove_below(&mut self, position: u64) {
        while let Some((start, end)) = self.by_start.first_key_value().map(|(s, e)| (*s, *e)) {
            if start >= position {
                break;
            }
            self.by_start.remove(&start);
            self.len -= end.min(position) - start;
            if end > position {
                self.by_start.insert(position, end);
            }
        }
    }

    /// What both have.
    #[must_use]
    pub fn common(&self, other: &Self) -> Self {
        let mut both = Self::default();
        let (mut mine, mut theirs) = (self.iter().peekable(), other.iter().peekable());
        while let (Some(a), Some(b)) = (mine.peek().copied(), theirs.peek().copied()) {
            both.insert(a.0.max(b.0), a.1.min(b.1));
            if a.1 <= b.1 {
                mine.next();
            } else {
                theirs.next();
            }
        }
        both
    }
}

impl FromIterator<(u64, u64)> for Ranges {
    fn from_iter<I: IntoIterator<Item = (u64, u64)>>(ranges: I) -> Self {
        let mut all = Self::default();
        ranges.into_iter().for_each(|(start, end)| all.insert(start, end));
        all
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Op {
        Insert(u64, u64),
        RemoveBelow(u64),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            8 => (0..100_u64, 0..20_u64).prop_map(|(start, len)| Op::Insert(start, start + len)),
            1 => (0..100_u64).prop_map(Op::RemoveBelow),
        ]
    }

    fn play(ops: &[Op]) -> (Ranges, BTreeSet<u64>) {
        let (mut ranges, mut model) = (Ranges::default(), BTreeSet::new());
        for op in ops {
            match *op {
                Op::Insert(start, end) => {
                    ranges.insert(start, end);
                    model.extend(start..end);
                }
                Op::RemoveBelow(position) => {
                    ranges.remove_below(position);
                    model = model.split_off(&position);
                }
            }
        }
        (ranges, model)
    }

    proptest! {
        #[test]
        fn they_are_a_set(a in proptest::collection::vec(op(), 0..40), b in proptest::collection::vec(op(), 0..40)) {
            let ((a, model_a), (b, model_b)) = (play(&a), play(&b));
            for position in 0..130 {
                prop_assert_eq!(a.contains(position), model_a.contains(&position));
            }
            prop_assert_eq!(a.len(), model_a.len() as u64);
            prop_assert_eq!(a.is_empty(), model_a.is_empty());
            let ends: Vec<_> = a.iter().collect();
            prop_assert!(ends.windows(2).all(|pair| pair[0].1 < pair[1].0), "apart: {:?}", ends);
            let both: Vec<u64> = a.common(&b).iter().flat_map(|(start, end)| start..end).collect();
            prop_assert_eq!(both, model_a.intersection(&model_b).copied().collect::<Vec<_>>());
        }
    }
}
