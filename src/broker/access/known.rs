//! Passwords that were found right a while ago. Pure.
//!
//! Boards come back all at once after a power cut of their router, and a check costs a tenth of a
//! second: who was here before is let in by this. What is kept is a keyed hash of name, password
//! and the hash that it fitted, under a key that dies with the process.

use std::collections::{HashSet, VecDeque};

use ring::hmac;

use crate::password::Hash;

/// Most passwords that are remembered. Beyond them the oldest one is forgotten.
const MAX_KNOWN: usize = 1000;

/// A name, a password and a hash that belong together, or not.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::broker) struct Print([u8; 32]);

/// Passwords that were found right.
pub(in crate::broker) struct Known {
    key: hmac::Key,
    prints: HashSet<Print>,
    order: VecDeque<Print>,
}

impl Known {
    /// None yet; `key` is drawn by lot.
    pub(in crate::broker) fn new(key: &[u8]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key), prints: HashSet::new(), order: VecDeque::new() }
    }

    /// What is kept of a login.
    pub(in crate::broker) fn print(&self, user: &str, password: &[u8], hash: &Hash) -> Print {
        let mut context = hmac::Context::with_key(&self.key);
        let hash = hash.reveal();
        for part in [user.as_bytes(), password, hash.as_bytes()] {
            // With its length, so that no two logins run together to the same bytes.
            context.update(&part.len().to_be_bytes());
            context.update(part);
        }
        let mut print = [0; 32];
        print.copy_from_slice(context.sign().as_ref());
        Print(print)
    }

    /// Whether it was found right before.
    pub(in crate::broker) fn contains(&self, print: &Print) -> bool {
        self.prints.contains(print)
    }

    /// It was found right.
    pub(in crate::broker) fn remember(&mut self, print: Print) {
        if !self.prints.insert(print) {
            return;
        }
        self.order.push_back(print);
        if self.order.len() > MAX_KNOWN {
            self.order.pop_front().map(|oldest| self.prints.remove(&oldest));
        }
    }

    /// Forgets them all.
    pub(in crate::broker) fn clear(&mut self) {
        self.prints.clear();
        self.order.clear();
    }
}
