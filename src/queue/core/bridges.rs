//! The core's side towards the bridges: what each gets next, and what becomes of what it has had.

use std::sync::Arc;

use crate::queue::cursor::{Mark, Turn};
use crate::queue::held::{Look, Settled};
use crate::queue::types::{Safe, Taken};
use crate::reading::{Body, GapReason};

use super::Core;

impl<T> Core<T> {
    /// Whether [`Core::take`] would give bridge `index` something. Asks for a load where that helps.
    pub fn has_entries(&mut self, index: usize) -> bool {
        let visible = self.visible_end();
        let base = self.held.base();
        self.cursors.get_mut(index).is_some_and(|cursor| cursor.has_entries(base, visible))
    }

    /// The next entries for bridge `index`, at most `max`, in the order
    /// that is its own. `wants` tells whether the
    /// bridge wants an entry that was loaded from disk.
    pub fn take(&mut self, index: usize, max: usize, now: i64, wants: impl Fn(&Body) -> bool) -> Vec<Taken> {
        let visible = self.visible_end();
        let mut taken = Vec::new();
        while taken.len() < max {
            let base = self.held.base();
            let Some(cursor) = self.cursors.get_mut(index) else { break };
            let turn = cursor.turn(base, visible);
            let (position, body, late) = match &turn {
                Turn::Nothing => break,
                Turn::Backlog(position, body) if wants(body) => (*position, Arc::clone(body), true),
                Turn::Backlog(position, body) => {
                    cursor.pass(&turn);
                    self.settle_on_disk(*position, body.counts());
                    self.note_ack(now);
                    continue;
                }
                Turn::Memory(position) | Turn::Live(position) => {
                    let again = cursor.is_done(*position) || cursor.is_out(*position);
                    match self.held.look(*position, index) {
                        Look::Wanted(body) if !again => (*position, Arc::clone(body), false),
                        Look::Passed { counts } if !again => {
                            cursor.pass(&turn);
                            self.settle_on_disk(*position, counts);
                            self.note_ack(now);
                            continue;
                        }
                        Look::Wanted(_) | Look::Passed { .. } | Look::Nothing => {
                            cursor.pass(&turn);
                            continue;
                        }
                    }
                }
            };
            cursor.hand_out(&turn, body.counts());
            taken.push(Taken { position, body, late });
        }
        taken
    }

    /// Bridge `index` can never deliver `position`. When the last bridge is done with it, it counts
    /// as dropped rather than delivered, even if another bridge had it acknowledged.
    pub fn refused(&mut self, index: usize, position: u64, body: &Body, now: i64) {
        self.give_up(index, position, body, GapReason::Refused, now);
    }

    /// Bridge `index` came to `position` when it was of no use any more. It counts as one that was
    /// refused.
    pub fn expired(&mut self, index: usize, position: u64, body: &Body, now: i64) {
        self.give_up(index, position, body, GapReason::Expired, now);
    }

    fn give_up(&mut self, index: usize, position: u64, body: &Body, reason: GapReason, now: i64) {
        self.refused.insert(position, reason);
        self.gaps.add(body, reason, now);
        self.done(index, position, now);
    }

    /// Bridge `index` has `position` acknowledged.
    pub fn done(&mut self, index: usize, position: u64, now: i64) {
        let Some(Mark { counts }) = self.cursors.get_mut(index).and_then(|c| c.done(position)) else {
            return;
        };
        let ticket = match self.held.done(position, index) {
            Settled::Gone(ticket) => {
                self.settle(position, counts);
                ticket
            }
            Settled::Kept => None,
            Settled::OnDisk(ticket) => {
                self.settle_on_disk(position, counts);
                ticket
            }
        };
        self.safe.extend(ticket.map(|ticket| (ticket, Safe::Delivered)));
        self.note_ack(now);
    }

    /// Bridge `index` lost its connection: what was handed out and not done is handed out again.
    pub fn rewind(&mut self, index: usize) {
        if let Some(cursor) = self.cursors.get_mut(index) {
            cursor.rewind();
        }
    }

    /// About how many readings wait for bridge `index` (exact when it is the only one).
    #[must_use]
    pub fn backlog(&self, index: usize) -> u64 {
        let waiting = self.ledger.waiting();
        self.cursors.get(index).map_or(0, |cursor| cursor.open(self.held.end()).min(waiting))
    }

    fn visible_end(&self) -> u64 {
        if self.settings.commit_first { self.held.durable_end() } else { self.held.end() }
    }

    /// Settles an entry on disk once the last bridge is done with it.
    fn settle_on_disk(&mut self, position: u64, counts: bool) {
        if self.cursors.iter().all(|cursor| cursor.is_done(position)) {
            self.settle(position, counts);
        }
    }

    /// Every bridge is done with the entry at `position`.
    pub(super) fn settle(&mut self, position: u64, counts: bool) {
        let counter = match self.refused.remove(&position) {
            Some(reason) => self.ledger.dropped.by_reason(reason),
            None => &mut self.ledger.delivered,
        };
        *counter += u64::from(counts);
    }
}
