//! Wills, as far as they outlive the daemon.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::presence::Presence;
use super::{SessionKey, State};
use crate::broker::journal::WillRow;
use crate::mqtt::packet::{Publish, Will};

/// Clients that were connected when the daemon died have this long to come back before their wills are
/// published.
const BACK_WITHIN: Duration = Duration::from_secs(30);

/// A will whose client was connected when the daemon died.
#[derive(Debug)]
pub(super) struct Orphan {
    pub(super) client_id: Arc<str>,
    pub(super) row: WillRow,
}

/// A will that is to be published.
#[derive(Debug)]
pub(in crate::broker) struct Bequest {
    pub(in crate::broker) client_id: Arc<str>,
    pub(in crate::broker) session: SessionKey,
    pub(in crate::broker) message: Publish,
}

impl State {
    /// The client has this will now.
    pub(super) fn note_will(&mut self, client_id: &Arc<str>, will: Option<&Will>, expiry_s: u32) {
        self.orphans.retain(|_, orphan| orphan.client_id != *client_id);
        // It does not wait for longer than the session lasts.
        let delay_s = will.map_or(0, |will| will.delay_s.min(expiry_s));
        let row = will.map(|will| WillRow { message: will.message.clone(), delay_s, due: None });
        self.journal.will(client_id, row);
    }

    /// The client's will is due then.
    pub(super) fn note_late_will(&mut self, client_id: &Arc<str>, message: &Publish, due: Instant) {
        let row = WillRow { message: message.clone(), delay_s: 0, due: Some(due) };
        self.journal.will(client_id, Some(row));
    }

    /// A will was published, with all that this means.
    pub(in crate::broker) fn will_published(&mut self, client_id: &Arc<str>) {
        let entry = self.by_client.get(client_id).and_then(|key| self.sessions.get(key));
        // Meanwhile the client may have come back with a new one.
        if !entry.is_some_and(|entry| matches!(entry.presence, Presence::Online { .. })) {
            self.journal.will(client_id, None);
        }
    }

    /// Wills of clients that did not come back.
    pub(super) fn expire_orphans(&mut self, now: Instant) -> Vec<Bequest> {
        let mut due = Vec::new();
        while let Some(first) = self.orphans.first_entry()
            && first.key().0 <= now
        {
            let Orphan { client_id, row } = first.remove();
            // A session of that client, or none: there is no key 0.
            let session = self.by_client.get(&client_id).copied().unwrap_or(SessionKey(0));
            due.push(Bequest { client_id, session, message: row.message });
        }
        due
    }

    pub(super) fn adopt_will(&mut self, client_id: Arc<str>, row: WillRow, now: Instant) {
        if self
            .by_client
            .get(&client_id)
            .and_then(|key| self.sessions.get(key))
            .is_some_and(|entry| matches!(entry.presence, Presence::Online { .. }))
        {
            // It is back already.
            return;
        }
        let at = row.due.unwrap_or_else(|| {
            now + BACK_WITHIN.max(Duration::from_secs(row.delay_s.min(u32::MAX / 2).into()))
        });
        self.next_orphan += 1;
        self.orphans.insert((at, self.next_orphan), Orphan { client_id, row });
    }
}
