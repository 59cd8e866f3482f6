//! Memory that many share: everybody has a little of his own, and beyond that takes from what all
//! have in common, as long as there is some. Whoever uses that up takes nothing from the others' own.

/// What all have in common.
#[derive(Debug)]
pub(super) struct Pool {
    /// Bytes that are everybody's own.
    own: usize,
    /// Bytes that one may take beyond his own.
    most: usize,
    /// Bytes left in common.
    free: usize,
}

/// What one of them uses, in bytes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Account(usize);

/// There is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoRoom;

impl Pool {
    /// With `common` bytes beyond the `own` of everybody, of which one may have a quarter.
    pub(super) fn new(own: usize, common: usize) -> Self {
        Self { own, most: common / 4, free: common }
    }

    /// From now on `account` uses `bytes`.
    ///
    /// # Errors
    /// It may not have that much; it is as it was. Never if that is less than before.
    pub(super) fn change(&mut self, account: &mut Account, bytes: usize) -> Result<(), NoRoom> {
        let (before, now) = (self.drawn(account.0), self.drawn(bytes));
        if now > before && (now > self.most || now - before > self.free) {
            return Err(NoRoom);
        }
        self.free = self.free + before - now;
        account.0 = bytes;
        Ok(())
    }

    /// The account is no more.
    pub(super) fn close(&mut self, mut account: Account) {
        // To give back never fails.
        let _ = self.change(&mut account, 0);
    }

    fn drawn(&self, bytes: usize) -> usize {
        bytes.saturating_sub(self.own)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_pool_is_never_overdrawn_and_everybodys_own_is_always_there(
            changes in prop::collection::vec((0_usize..4, 0_usize..600), 0..60)
        ) {
            let mut pool = Pool::new(100, 1000);
            let mut accounts: [Account; 4] = Default::default();
            for (who, bytes) in changes {
                let before = accounts[who].0;
                let result = pool.change(&mut accounts[who], bytes);
                prop_assert_eq!(accounts[who].0, if result.is_ok() { bytes } else { before });
                prop_assert!(result.is_ok() || bytes > 100.max(before));
                let drawn: usize = accounts.iter().map(|account| account.0.saturating_sub(100)).sum();
                prop_assert_eq!(pool.free, 1000 - drawn);
                prop_assert!(accounts.iter().all(|account| account.0 <= 350));
            }
            accounts.into_iter().for_each(|account| pool.close(account));
            prop_assert_eq!(pool.free, 1000);
        }
    }
}
