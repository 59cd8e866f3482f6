//! Who made which reading, and what became of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

/// The account of one device. Readings go by the device's own number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Whether the device waits for acknowledgements.
    pub acknowledged: Option<u64>,
    produced: BTreeSet<u64>,
    arrived: BTreeSet<u64>,
    copies: u64,
    newest: Option<u64>,
    disorder: u64,
}

impl Account {
    /// Readings made.
    #[must_use]
    pub fn produced(&self) -> u64 {
        self.produced.len() as u64
    }

    /// Different readings that the cloud got.
    #[must_use]
    pub fn arrived(&self) -> u64 {
        self.arrived.len() as u64
    }

    /// Readings made that the cloud did not get (yet).
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.produced.difference(&self.arrived).count() as u64
    }

    /// Readings that the cloud got and nobody made.
    #[must_use]
    pub fn strangers(&self) -> u64 {
        self.arrived.difference(&self.produced).count() as u64
    }
}

/// All accounts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger(BTreeMap<String, Account>);

impl Ledger {
    /// `device` made its reading `number`.
    pub fn produce(&mut self, device: &str, number: u64) {
        self.account(device).produced.insert(number);
    }

    /// Nobody listened when `device` said its reading `number`.
    pub fn withdraw(&mut self, device: &str, number: u64) {
        self.account(device).produced.remove(&number);
    }

    /// `device` was told that its reading is safe.
    pub fn acknowledge(&mut self, device: &str) {
        *self.account(device).acknowledged.get_or_insert(0) += 1;
    }

    /// The cloud got reading `number` of `device`.
    pub fn arrive(&mut self, device: &str, number: u64) {
        let account = self.account(device);
        if !account.arrived.insert(number) {
            account.copies += 1;
        } else if account.newest.is_some_and(|newest| newest > number) {
            account.disorder += 1;
        } else {
            account.newest = Some(number);
        }
    }

    /// Device names and their accounts.
    pub fn accounts(&self) -> impl Iterator<Item = (&str, &Account)> {
        self.0.iter().map(|(device, account)| (device.as_str(), account))
    }

    /// The sum over all devices.
    fn sum(&self, of: impl Fn(&Account) -> u64) -> u64 {
        self.0.values().map(of).sum()
    }

    /// Readings made.
    #[must_use]
    pub fn produced(&self) -> u64 {
        self.sum(Account::produced)
    }

    /// Different readings that the cloud got.
    #[must_use]
    pub fn arrived(&self) -> u64 {
        self.sum(Account::arrived)
    }

    /// Readings that the cloud did not get (yet).
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.sum(Account::missing)
    }

    /// Whether every reading arrived, in order, and nothing else did. Copies are no fault.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.produced() > 0 && self.sum(|a| a.missing() + a.strangers() + a.disorder) == 0
    }

    fn account(&mut self, device: &str) -> &mut Account {
        self.0.entry(device.to_owned()).or_default()
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |name: &str, cells: [String; 6]| {
            let mut line = format!("  {name:<18}");
            for cell in cells {
                // Writing to a string cannot fail.
                let _ = write!(line, "{cell:>14}");
            }
            line
        };
        let heads = ["produced", "acknowledged", "in the cloud", "lost", "copies", "out of order"];
        writeln!(f, "{}", row("ledger", heads.map(str::to_owned)))?;
        for (device, a) in self.accounts() {
            let acknowledged = a.acknowledged.map_or_else(|| "-".to_owned(), |n| n.to_string());
            let numbers = [a.arrived(), a.missing(), a.copies, a.disorder].map(|n| n.to_string());
            let [arrived, lost, copies, disorder] = numbers;
            let cells = [a.produced().to_string(), acknowledged, arrived, lost, copies, disorder];
            writeln!(f, "{}", row(device, cells))?;
        }
        let acknowledged = self.sum(|a| a.acknowledged.unwrap_or(0));
        let sums = [
            self.produced(),
            acknowledged,
            self.arrived(),
            self.missing(),
            self.sum(|a| a.copies),
            self.sum(|a| a.disorder),
        ];
        writeln!(f, "{}", row("sum", sums.map(|n| n.to_string())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(produced: u64, arrived: &[u64]) -> Ledger {
        let mut ledger = Ledger::default();
        (0..produced).for_each(|n| ledger.produce("board", n));
        arrived.iter().for_each(|n| ledger.arrive("board", *n));
        ledger
    }

    #[test]
    fn everything_once_and_in_order_is_clean() {
        assert!(ledger(3, &[0, 1, 2]).is_clean());
        assert!(ledger(3, &[0, 1, 1, 0, 1, 2]).is_clean(), "copies are no fault");
    }

    #[test]
    fn a_missing_a_foreign_and_an_overtaking_reading_are_not() {
        assert!(!ledger(3, &[0, 2]).is_clean());
        assert!(!ledger(3, &[0, 1, 2, 3]).is_clean());
        assert!(!ledger(3, &[1, 0, 2]).is_clean());
        assert!(!ledger(0, &[]).is_clean(), "a run without readings shows nothing");
    }

    #[test]
    fn it_prints_as_a_table() {
        let mut ledger = ledger(3, &[0, 2, 2]);
        ledger.acknowledge("board");
        let text = ledger.to_string();
        let sum: Vec<&str> = text.lines().last().unwrap().split_whitespace().collect();
        assert_eq!(sum, ["sum", "3", "1", "2", "1", "1", "0"]);
    }
}
