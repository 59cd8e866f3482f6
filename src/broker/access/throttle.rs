//! How long somebody must wait whose logins go wrong. Pure: the time is an argument.
//!
//! Failures are counted by address and user name together, so that nobody is locked out by an
//! attacker elsewhere, and by address alone, so that trying many names does not help. On loopback
//! all clients have one address, so it does not count there by itself.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Failed logins of one user from one address before there are pauses.
const FREE_OF_USER: u32 = 5;

/// Failed logins from one address before there are pauses.
const FREE_OF_ADDRESS: u32 = 20;

/// The first pause. Each failure after it doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Failures are forgotten when there was none for this long.
const FORGET_AFTER: Duration = Duration::from_secs(15 * 60);

/// Most counts that are kept. Beyond them the one that failed least recently is forgotten.
const MAX_COUNTS: usize = 2000;

/// Longest part of a user name that is told apart, in bytes: it is the client's choice.
const MAX_NAME_BYTES: usize = 64;

/// Where logins come from: a machine of IPv4, the network of one of IPv6 (its owner chooses the
/// other half), or this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::broker) enum Source {
    /// This machine.
    Loopback,
    /// Another one; of an IPv6 address the last 64 bits are zero.
    Remote(IpAddr),
}

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            address if address.is_loopback() => Self::Loopback,
            IpAddr::V6(address) => {
                Self::Remote(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into())
            }
            address @ IpAddr::V4(_) => Self::Remote(address),
        }
    }
}

/// What is counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Subject {
    /// A user name, as it was sent, from one place.
    User(Source, Arc<str>),
    /// A place, whatever the name.
    Place(Source),
}

#[derive(Clone, Copy, Debug)]
struct Count {
    failures: u32,
    last: Instant,
    until: Instant,
}

/// How often logins went wrong.
#[derive(Debug, Default)]
pub(in crate::broker) struct Throttle(HashMap<Subject, Count>);

impl Throttle {
    /// Whether a login has to wait: nothing of it is looked at then, and it does not count.
    pub(in crate::broker) fn is_paused(&self, source: Source, user: &str, now: Instant) -> bool {
        subjects(source, user).any(|(subject, _)| self.0.get(&subject).is_some_and(|count| now < count.until))
    }

    /// How often this user's logins from there went wrong.
    pub(in crate::broker) fn failures(&self, source: Source, user: &str) -> u32 {
        self.0.get(&user_at(source, user)).map_or(0, |count| count.failures)
    }

    /// A login went wrong.
    pub(in crate::broker) fn failed(&mut self, source: Source, user: &str, now: Instant) {
        for (subject, free) in subjects(source, user) {
            self.make_room(&subject, now);
            let count = self.0.entry(subject).or_insert(Count { failures: 0, last: now, until: now });
            if now.saturating_duration_since(count.last) >= FORGET_AFTER {
                count.failures = 0;
            }
            count.failures = count.failures.saturating_add(1);
            count.last = now;
            count.until = now + pause(count.failures.saturating_sub(free));
        }
    }

    /// A login went well: what this user got wrong from there before is forgiven. What others tried
    /// from the same address is not.
    pub(in crate::broker) fn succeeded(&mut self, source: Source, user: &str) {
        self.0.remove(&user_at(source, user));
    }

    fn make_room(&mut self, subject: &Subject, now: Instant) {
        if self.0.len() < MAX_COUNTS || self.0.contains_key(subject) {
            return;
        }
        self.0.retain(|_, count| now.saturating_duration_since(count.last) < FORGET_AFTER);
        if self.0.len() >= MAX_COUNTS {
            let oldest =
                self.0.iter().min_by_key(|(_, count)| count.last).map(|(subject, _)| subject.clone());
            oldest.map(|subject| self.0.remove(&subject));
        }
    }
}

/// What a login counts for, and how often each may fail without a pause.
fn subjects(source: Source, user: &str) -> impl Iterator<Item = (Subject, u32)> {
    let place = (source != Source::Loopback).then_some((Subject::Place(source), FREE_OF_ADDRESS));
    [(user_at(source, user), FREE_OF_USER)].into_iter().chain(place)
}

fn user_at(source: Source, user: &str) -> Subject {
    Subject::User(source, user.get(..user.floor_char_boundary(MAX_NAME_BYTES)).unwrap_or_default().into())
}

/// The pause after `excess` failures more than are free.
fn pause(excess: u32) -> Duration {
    match excess.checked_sub(1) {
        None => Duration::ZERO,
        Some(doubled) => FIRST_PAUSE.saturating_mul(1 << doubled.min(16)).min(LONGEST_PAUSE),
    }
}
