//! Which session holds most.

use std::collections::BTreeSet;

use crate::broker::routing::SessionKey;

/// Sessions by the bytes that wait in them, in classes that double. Keeping it up to date costs
/// something only when a session changes its class.
#[derive(Debug)]
pub(super) struct Weights([BTreeSet<SessionKey>; CLASSES]);

/// Enough for any number of bytes.
const CLASSES: usize = usize::BITS as usize + 1;

impl Weights {
    /// Nobody holds anything.
    pub(super) fn new() -> Self {
        Self(std::array::from_fn(|_| BTreeSet::new()))
    }

    /// A session that held `before` bytes holds `now`.
    pub(super) fn change(&mut self, key: SessionKey, before: usize, now: usize) {
        let (before, now) = (class(before), class(now));
        if before == now {
            return;
        }
        if let Some(members) = self.0.get_mut(before) {
            members.remove(&key);
        }
        if let Some(members) = self.0.get_mut(now)
            && now > 0
        {
            members.insert(key);
        }
    }

    /// A session than which none holds twice as much; `None` while all are empty.
    pub(super) fn heaviest(&self) -> Option<SessionKey> {
        self.0.iter().rev().find_map(|members| members.first().copied())
    }
}

/// 0 for nothing, and one more for each doubling.
fn class(bytes: usize) -> usize {
    (usize::BITS - bytes.leading_zeros()) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn nobody_holds_twice_as_much_as_the_heaviest(
            changes in prop::collection::vec((0_u64..5, 0_usize..10_000), 0..50)
        ) {
            let mut weights = Weights::new();
            let mut held = [0_usize; 5];
            for (key, bytes) in changes {
                let slot = &mut held[usize::try_from(key).unwrap()];
                weights.change(SessionKey(key), *slot, bytes);
                *slot = bytes;
                let most = held.iter().copied().max().unwrap();
                match weights.heaviest() {
                    Some(SessionKey(key)) => prop_assert!(held[usize::try_from(key).unwrap()] * 2 > most),
                    None => prop_assert_eq!(most, 0),
                }
            }
        }
    }
}
