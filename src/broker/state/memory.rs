//! What sessions hold beside messages, in bytes: names, filters, wills, and the ids of messages that
//! must not be taken twice. A client chooses how much of all that there is.

use super::presence::Presence;
use super::{Entry, Place, State, TakenOver};
use crate::broker::pool::{Account, NoRoom, Pool};
use crate::mqtt::packet::{Connect, Will};

/// Bytes that every session has for itself: a dozen ordinary subscriptions.
const OWN_BYTES: usize = 8 << 10;

/// Bytes that sessions have in common beyond that.
const COMMON_BYTES: usize = 8 << 20;

/// What a filter costs beside its text, which is kept twice, and its levels.
const FILTER_BYTES: usize = 256;

/// What a level of a filter costs.
const LEVEL_BYTES: usize = 112;

/// What the id of a message of QoS 2 costs until it is released.
const RECEIPT_BYTES: usize = 12;

/// What all sessions draw from.
pub(super) fn pool() -> Pool {
    Pool::new(OWN_BYTES, COMMON_BYTES)
}

/// What a subscription costs.
pub(super) fn of_filter(text: &str) -> usize {
    FILTER_BYTES + 2 * text.len() + LEVEL_BYTES * text.split('/').count()
}

fn of_will(will: Option<&Will>) -> usize {
    will.map_or(0, |will| will.message.bytes())
}

impl Entry {
    fn memory(&self) -> usize {
        let will = match &self.presence {
            Presence::Online { will, .. } => of_will(will.as_ref()),
            Presence::Offline { will, .. } => will.as_ref().map_or(0, |(_, message)| message.bytes()),
        };
        let receipts = self.session.incoming.remembered() * RECEIPT_BYTES;
        self.client_id.len() + self.filter_bytes + receipts + will
    }
}

impl State {
    /// Makes sure that there is memory for the name and the will of a client that connects; the
    /// account of its session, if that will be a new one.
    pub(super) fn admit(&mut self, connect: &Connect) -> Result<Account, NoRoom> {
        let (name, will) = (connect.client_id.len(), of_will(connect.will.as_ref()));
        let mut account = Account::default();
        let known = self.by_client.get(&connect.client_id).and_then(|key| self.sessions.get_mut(key));
        match known {
            Some(entry) => {
                // Until the old will is gone, for whichever is the larger one.
                let bytes = entry.memory().max(name + will + entry.filter_bytes);
                self.memory.change(&mut entry.account, bytes)?;
            }
            None => self.memory.change(&mut account, name + will)?,
        }
        Ok(account)
    }

    /// Makes sure that there is memory for one more subscription.
    pub(super) fn admit_filter(&mut self, place: Place, text: &str) -> Result<(), NoRoom> {
        let Some(entry) = self.sessions.get_mut(&place.session) else { return Err(NoRoom) };
        let bytes = entry.memory() + of_filter(text);
        self.memory.change(&mut entry.account, bytes)?;
        entry.filter_bytes += of_filter(text);
        Ok(())
    }

    /// Makes sure that there is memory to remember one more message of QoS 2.
    pub(in crate::broker) fn admit_receipt(&mut self, place: Place) -> Result<Result<(), NoRoom>, TakenOver> {
        self.entry(place)?;
        let Some(entry) = self.sessions.get_mut(&place.session) else { return Err(TakenOver) };
        let bytes = entry.memory() + RECEIPT_BYTES;
        Ok(self.memory.change(&mut entry.account, bytes))
    }

    /// Gives back what a session does not hold any more.
    pub(super) fn settle(&mut self, key: super::SessionKey) {
        if let Some(entry) = self.sessions.get_mut(&key) {
            let bytes = entry.memory();
            // To give back never fails; what was taken was there.
            let _ = self.memory.change(&mut entry.account, bytes);
        }
    }
}
