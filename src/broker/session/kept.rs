//! What a session does for the file: it tells what happens to its messages, and holds back what must
//! not be sent before that is on disk.
//!
//! A message of QoS 2 goes out only when the file knows its packet id, PUBREL only when the file knows
//! that the client has the message: else a kill in between would deliver it a second time. Answers to
//! SUBSCRIBE, UNSUBSCRIBE and PUBREL wait for what they say.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::{Delivery, Outbound};
use crate::broker::journal::{Change, Gate};
use crate::mqtt::packet::{PacketId, Qos};

/// A session's part in what is kept. Does nothing for a session that is not.
#[derive(Debug, Default)]
pub(crate) struct Keeping {
    is_on: bool,
    changes: Vec<Change>,
    flights: HashMap<PacketId, InFlight>,
    next_position: u64,
    next_order: u64,
    held: VecDeque<Held>,
    /// The last batch that something had to wait for.
    after: u64,
}

/// A message under way that the file has.
#[derive(Clone, Copy, Debug)]
struct InFlight {
    position: u64,
    order: u64,
}

/// What is to be sent when that batch is committed.
#[derive(Debug)]
struct Held {
    after: u64,
    outbound: Outbound,
}

impl Keeping {
    /// Whether the session is kept.
    pub(crate) fn is_on(&self) -> bool {
        self.is_on
    }

    /// It is, or not any more.
    pub(crate) fn set(&mut self, is_on: bool) {
        self.is_on = is_on;
    }

    /// What happened since the last call.
    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// The batch that something waits for.
    pub(crate) fn waits_for(&self) -> Option<u64> {
        self.held.back().map(|_| self.after)
    }

    /// How much is held back.
    pub(crate) fn held(&self) -> usize {
        self.held.len()
    }

    /// Every message under way: its place, and the so-manieth that was sent.
    pub(crate) fn in_flight(&self) -> impl Iterator<Item = (PacketId, u64, u64)> {
        self.flights.iter().map(|(id, flight)| (*id, flight.position, flight.order))
    }

    /// A message stood at that place before the daemon was started, and was sent as the so-manieth.
    pub(super) fn restore(&mut self, position: u64, flight: Option<(PacketId, u64)>) {
        self.next_position = self.next_position.max(position);
        if let Some((id, order)) = flight {
            self.next_order = self.next_order.max(order);
            self.flights.insert(id, InFlight { position, order });
        }
    }

    /// A message comes, and gets its place.
    pub(super) fn admit(&mut self, delivery: &mut Delivery) {
        if self.is_on && delivery.qos != Qos::AtMostOnce && delivery.position == 0 {
            self.next_position += 1;
            delivery.position = self.next_position;
            self.changes.push(Change::Queued(delivery.clone()));
        }
    }

    /// It is sent.
    pub(super) fn sent(&mut self, position: u64, id: PacketId) {
        if position > 0 {
            self.next_order += 1;
            let order = self.next_order;
            self.flights.insert(id, InFlight { position, order });
            self.note(Change::Sent { position, id, order });
        }
    }

    /// The client has it.
    pub(super) fn released(&mut self, id: PacketId, delivery: &Delivery) {
        if let Some(InFlight { position, order }) = self.flights.get(&id).copied() {
            self.note(Change::Released { position, message: delivery.message.id, id, order });
        }
    }

    /// What had that id is over. `message`, unless the client had it before.
    pub(super) fn over(&mut self, id: PacketId, message: Option<&Delivery>) {
        if let Some(InFlight { position, .. }) = self.flights.remove(&id) {
            self.note(Change::Done { position, message: message.and_then(Delivery::kept) });
        }
    }

    /// A message that was not sent yet is over.
    pub(super) fn dropped(&mut self, delivery: &Delivery) {
        if let Some(message) = delivery.kept() {
            self.note(Change::Done { position: delivery.position, message: Some(message) });
        }
    }

    /// The file has no message for that place.
    pub(super) fn missing(&mut self, position: u64) {
        self.note(Change::Done { position, message: None });
    }

    /// A subscription got all retained messages.
    pub(super) fn replayed(&mut self, filter: &Arc<str>) {
        self.note(Change::Replayed(Arc::clone(filter)));
    }

    fn note(&mut self, change: Change) {
        if self.is_on {
            self.changes.push(change);
        }
    }

    // === What is held back ===

    /// Holds `outbound` until all that happened so far is on disk.
    pub(crate) fn hold(&mut self, outbound: Outbound, gate: Gate) {
        let after = gate.next();
        self.after = self.after.max(after);
        self.held.push_back(Held { after, outbound });
    }

    /// Holds `outbound`, if it must not be sent yet, or not before others that are held. `is_new`: the
    /// file does not know of it yet.
    pub(super) fn hold_if_needed(
        &mut self,
        outbound: Outbound,
        is_new: bool,
        gate: Gate,
    ) -> Option<Outbound> {
        let after = match &outbound {
            Outbound::Publish(publish) if publish.qos != Qos::ExactlyOnce => 0,
            _ if !self.is_on => 0,
            _ if is_new => gate.next(),
            _ => self.after,
        };
        if self.held.is_empty() && gate.has(after) {
            return Some(outbound);
        }
        self.after = self.after.max(after);
        self.held.push_back(Held { after, outbound });
        None
    }

    /// The next thing that may be sent now.
    pub(super) fn next_held(&mut self, gate: Gate) -> Option<Outbound> {
        let is_ready = self.held.front().is_some_and(|held| gate.has(held.after));
        if is_ready { self.held.pop_front().map(|held| held.outbound) } else { None }
    }

    /// The connection is gone: messages will be sent again on the next one, answers will not.
    pub(super) fn disconnected(&mut self) {
        self.held.clear();
    }
}
