//! Who is connected, from where, and who gives way when there are too many. Pure.
//!
//! A connection whose client has not said CONNECT costs a socket and may be anybody's: those have a
//! limit of their own, so that they cannot lock clients out, and the oldest of the address that has
//! most of them gives way to a new one. A client that is in stays in; one that is closing waits for the
//! other side like those who have just come.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use crate::config::Limits;

/// One connection's number; rises with every connection.
pub(super) type Number = u64;

/// Why a connection is one too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TooMany {
    /// Its address has as many as it may have, and all their clients are in.
    OfAddress,
    /// There are as many clients as there may be.
    Clients,
}

/// All connections. Of each it keeps a `T`, to end it with.
#[derive(Debug)]
pub(super) struct Crowd<T> {
    /// Without CONNECT yet, or closing; oldest first.
    waiting: BTreeMap<Number, (IpAddr, T)>,
    /// The others.
    clients: HashMap<Number, (IpAddr, T)>,
    by_address: HashMap<IpAddr, Count>,
    next: Number,
}

/// The connections of one address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    waiting: usize,
    clients: usize,
}

impl<T> Crowd<T> {
    /// Nobody.
    pub(super) fn new() -> Self {
        Self { waiting: BTreeMap::new(), clients: HashMap::new(), by_address: HashMap::new(), next: 0 }
    }

    /// A connection comes from `address`; gives its number, and those that give way to it, each with
    /// its address.
    pub(super) fn enter(
        &mut self,
        address: IpAddr,
        end: T,
        limits: &Limits,
    ) -> Result<(Number, Vec<(IpAddr, T)>), TooMany> {
        let mut ends = Vec::new();
        let count = self.count(address);
        if !address.is_loopback() && count.waiting + count.clients >= limits.connections_per_address {
            ends.push(self.give_way(address).ok_or(TooMany::OfAddress)?);
        }
        let number = self.wait(address, end, limits, &mut ends);
        Ok((number, ends))
    }

    /// The connection's client has said who it is, and is to come in. One that `takes_over` the session
    /// of a client that is in replaces that one, whose connection ends in a moment.
    pub(super) fn settle(
        &mut self,
        number: Number,
        takes_over: bool,
        limits: &Limits,
    ) -> Result<(), TooMany> {
        let spare = if takes_over { limits.handshakes } else { 0 };
        if self.clients.len() >= limits.connections.saturating_add(spare) {
            return Err(TooMany::Clients);
        }
        // One that gave way is on its way out.
        let Some((address, end)) = self.waiting.remove(&number) else { return Ok(()) };
        self.change(address, |count| (count.waiting, count.clients) = (count.waiting - 1, count.clients + 1));
        self.clients.insert(number, (address, end));
        Ok(())
    }

    /// A client's connection is closing; gives the number that it has from now on, and those that give
    /// way to it.
    pub(super) fn part(&mut self, number: Number, limits: &Limits) -> (Number, Vec<(IpAddr, T)>) {
        let mut ends = Vec::new();
        let Some((address, end)) = self.clients.remove(&number) else { return (number, ends) };
        self.change(address, |count| count.clients -= 1);
        let number = self.wait(address, end, limits, &mut ends);
        (number, ends)
    }

    /// A connection is over.
    pub(super) fn leave(&mut self, number: Number) {
        if let Some((address, _)) = self.clients.remove(&number) {
            self.change(address, |count| count.clients -= 1);
        } else {
            self.remove_waiting(number);
        }
    }

    /// Puts a connection behind all that wait; those that give way to it are added to `ends`.
    fn wait(&mut self, address: IpAddr, end: T, limits: &Limits, ends: &mut Vec<(IpAddr, T)>) -> Number {
        // After a reload there may be more than one too many.
        while self.waiting.len() >= limits.handshakes.max(1) {
            let Some(most) = self.most_waiting() else { break };
            ends.extend(self.give_way(most));
        }
        let number = self.next;
        self.next += 1;
        self.waiting.insert(number, (address, end));
        self.by_address.entry(address).or_default().waiting += 1;
        number
    }

    fn count(&self, address: IpAddr) -> Count {
        self.by_address.get(&address).copied().unwrap_or_default()
    }

    /// The address that has most connections without CONNECT; the one with the oldest, of several.
    fn most_waiting(&self) -> Option<IpAddr> {
        let rank = |(number, (address, _)): &(&Number, &(IpAddr, T))| {
            (self.count(*address).waiting, std::cmp::Reverse(**number))
        };
        self.waiting.iter().max_by_key(rank).map(|(_, (address, _))| *address)
    }

    /// Takes out the oldest connection of `address` that may be ended.
    fn give_way(&mut self, address: IpAddr) -> Option<(IpAddr, T)> {
        let oldest = self.waiting.iter().find(|(_, (theirs, _))| *theirs == address);
        let number = *oldest?.0;
        self.remove_waiting(number)
    }

    fn remove_waiting(&mut self, number: Number) -> Option<(IpAddr, T)> {
        let (address, end) = self.waiting.remove(&number)?;
        self.change(address, |count| count.waiting -= 1);
        Some((address, end))
    }

    fn change(&mut self, address: IpAddr, change: impl FnOnce(&mut Count)) {
        if let Some(count) = self.by_address.get_mut(&address) {
            change(count);
            if *count == Count::default() {
                self.by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limits(connections: usize, connections_per_address: usize, handshakes: usize) -> Limits {
        Limits { connections, connections_per_address, handshakes, ..Limits::default() }
    }

    fn at(last: u8) -> IpAddr {
        [192, 168, 1, last].into()
    }

    const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn whoever_has_most_silent_connections_gives_way_with_the_oldest() {
        let (limits, mut crowd) = (limits(9, 9, 4), Crowd::new());
        for (address, name) in [(at(1), "a"), (at(2), "b"), (at(2), "c"), (at(3), "d")] {
            assert!(crowd.enter(address, name, &limits).unwrap().1.is_empty());
        }
        let comes = |crowd: &mut Crowd<_>, last, name| crowd.enter(at(last), name, &limits).unwrap().1;
        assert_eq!(comes(&mut crowd, 4, "e"), [(at(2), "b")]);
        // All have one: the oldest of them.
        assert_eq!(comes(&mut crowd, 5, "f"), [(at(1), "a")]);
        assert_eq!(comes(&mut crowd, 5, "g"), [(at(2), "c")]);
        assert_eq!(comes(&mut crowd, 6, "h"), [(at(5), "f")]);
    }

    #[test]
    fn a_flood_of_silent_connections_locks_nobody_out() {
        let (limits, mut crowd) = (limits(500, 100, 250), Crowd::new());
        for _ in 0..10_000 {
            crowd.enter(at(66), "flood", &limits).unwrap();
        }
        let (honest, _) = crowd.enter(at(7), "honest", &limits).unwrap();
        for _ in 0..10_000 {
            assert_eq!(crowd.enter(at(66), "flood", &limits).unwrap().1, [(at(66), "flood")]);
        }
        assert_eq!(crowd.settle(honest, false, &limits), Ok(()));
        assert_eq!(crowd.count(at(66)), Count { waiting: 100, clients: 0 });
        assert_eq!(crowd.count(at(7)), Count { waiting: 0, clients: 1 });
    }

    #[test]
    fn an_address_has_a_limit_and_loopback_has_none() {
        let (limits, mut crowd) = (limits(9, 2, 9), Crowd::new());
        let (first, _) = crowd.enter(at(1), "first", &limits).unwrap();
        crowd.settle(first, false, &limits).unwrap();
        let (second, _) = crowd.enter(at(1), "second", &limits).unwrap();
        let (third, ended) = crowd.enter(at(1), "third", &limits).unwrap();
        assert_eq!(ended, [(at(1), "second")]);
        // The one that gave way may notice late.
        assert_eq!(crowd.settle(second, false, &limits), Ok(()));
        crowd.leave(second);
        crowd.settle(third, false, &limits).unwrap();
        assert_eq!(crowd.enter(at(1), "fourth", &limits).unwrap_err(), TooMany::OfAddress);
        crowd.enter(at(2), "other", &limits).unwrap();
        crowd.leave(first);
        crowd.enter(at(1), "again", &limits).unwrap();
        for _ in 0..5 {
            let (number, ended) = crowd.enter(LOOPBACK, "local", &limits).unwrap();
            assert_eq!(ended, []);
            crowd.settle(number, false, &limits).unwrap();
        }
    }

    #[test]
    fn a_client_that_takes_its_own_session_over_finds_a_place() {
        let (limits, mut crowd) = (limits(1, 9, 2), Crowd::new());
        let mut comes = |takes_over| {
            let (number, _) = crowd.enter(at(1), (), &limits).unwrap();
            let settled = crowd.settle(number, takes_over, &limits);
            settled.inspect_err(|_| crowd.leave(number))
        };
        assert_eq!(comes(false), Ok(()));
        assert_eq!(comes(false), Err(TooMany::Clients));
        assert_eq!([comes(true), comes(true), comes(true)], [Ok(()), Ok(()), Err(TooMany::Clients)]);
    }

    #[test]
    fn a_client_that_is_closing_leaves_its_place_to_others() {
        let (limits, mut crowd) = (limits(1, 9, 2), Crowd::new());
        let (first, _) = crowd.enter(at(1), "first", &limits).unwrap();
        crowd.settle(first, false, &limits).unwrap();
        let (second, _) = crowd.enter(at(1), "second", &limits).unwrap();
        assert_eq!(crowd.settle(second, false, &limits), Err(TooMany::Clients));
        let (first, ended) = crowd.part(first, &limits);
        assert_eq!((crowd.settle(second, false, &limits), ended), (Ok(()), vec![]));
        crowd.enter(at(2), "third", &limits).unwrap();
        let (_, ended) = crowd.enter(at(3), "fourth", &limits).unwrap();
        assert_eq!(ended, [(at(1), "first")]);
        assert_eq!(crowd.part(first, &limits), (first, vec![]), "it is gone");
    }

    proptest! {
        #[test]
        fn the_counts_are_right_and_the_limits_hold(
            steps in prop::collection::vec((0..4_u8, 0..4_u8, any::<prop::sample::Index>()), 0..200)
        ) {
            let (limits, mut crowd) = (limits(6, 4, 5), Crowd::new());
            let mut numbers: Vec<Number> = Vec::new();
            for (step, address, which) in steps {
                match step {
                    0 => numbers.extend(crowd.enter(at(address), (), &limits).ok().map(|(number, _)| number)),
                    1 if !numbers.is_empty() => {
                        let _ = crowd.settle(*which.get(&numbers), false, &limits);
                    }
                    2 if !numbers.is_empty() => crowd.leave(numbers.swap_remove(which.index(numbers.len()))),
                    3 if !numbers.is_empty() => {
                        let index = which.index(numbers.len());
                        numbers[index] = crowd.part(numbers[index], &limits).0;
                    }
                    _ => {}
                }
                prop_assert!(crowd.waiting.len() <= 5 && crowd.clients.len() <= 6);
                let mut expected: HashMap<IpAddr, Count> = HashMap::new();
                for (address, _) in crowd.waiting.values() {
                    expected.entry(*address).or_default().waiting += 1;
                }
                for (address, _) in crowd.clients.values() {
                    expected.entry(*address).or_default().clients += 1;
                }
                prop_assert!(expected.values().all(|count| count.waiting + count.clients <= 4));
                prop_assert_eq!(&crowd.by_address, &expected);
            }
        }
    }
}
