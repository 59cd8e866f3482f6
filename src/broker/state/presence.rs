//! How sessions come, go, and end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::{Acks, Bequest, Entry, Filter, Loss, Place, Session, SessionKey, State, TakenOver};
use crate::broker::pool::NoRoom;
use crate::mqtt::packet::{Connect, Publish, Reason, Version, Will};

/// Whether a session has a connection.
#[derive(Debug)]
pub(super) enum Presence {
    /// It has one.
    Online {
        /// Which one: rises with every connection.
        generation: u64,
        /// Wakes its task.
        wake: Arc<Notify>,
        /// To be published if it breaks.
        will: Option<Will>,
    },
    /// It waits for one.
    Offline {
        /// Since when.
        since: Instant,
        /// Until when; `None` for ever.
        ends: Option<Instant>,
        /// To be published then, if the client is not back.
        will: Option<(Instant, Publish)>,
    },
}

impl Presence {
    /// When something happens to a session without connection.
    fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Online { .. } => None,
            Self::Offline { ends, will, .. } => {
                let will = will.as_ref().map(|(at, _)| *at);
                will.into_iter().chain(*ends).min()
            }
        }
    }
}

/// What a connection got with its session.
#[derive(Debug)]
pub(in crate::broker) struct Attached {
    pub(in crate::broker) place: Place,
    /// The session was there before.
    pub(in crate::broker) is_resumed: bool,
    /// The will of the connection or session that this one ended: to be published.
    pub(in crate::broker) will: Option<Bequest>,
}

/// How a connection ended, as far as its session is concerned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::broker) struct Farewell {
    /// The client took its will back.
    pub(in crate::broker) drops_will: bool,
    /// The client changed how long its session lasts, in seconds.
    pub(in crate::broker) session_expiry_s: Option<u32>,
}

impl State {
    /// Whether a client of this name has a connection.
    pub(in crate::broker) fn is_online(&self, client_id: &str) -> bool {
        let entry = self.by_client.get(client_id).and_then(|key| self.sessions.get(key));
        entry.is_some_and(|entry| matches!(entry.presence, Presence::Online { .. }))
    }

    /// A client of the user `owner` connects: gives it its session, or a new one. `wake` is told
    /// when there is something for it to do.
    ///
    /// # Errors
    /// There are too many sessions, or this one is another user's, whom we neither disturb nor let
    /// be read.
    pub(in crate::broker) fn attach(
        &mut self,
        connect: &Connect,
        owner: Option<&Arc<str>>,
        wake: Arc<Notify>,
        now: Instant,
    ) -> Result<Attached, Reason> {
        let known = self.by_client.get(&connect.client_id).copied();
        let present = known.and_then(|key| self.sessions.get(&key));
        if present.is_some_and(|entry| entry.owner.as_ref() != owner) {
            return Err(Reason::CLIENT_ID);
        }
        let account = self.admit(connect).map_err(|NoRoom| Reason::QUOTA)?;
        let (resumed, will) = match known {
            Some(key) => self.vacate(key, connect.clean_start),
            None => (None, None),
        };
        self.next_generation += 1;
        let generation = self.next_generation;
        let presence = Presence::Online { generation, wake, will: connect.will.clone() };
        let key = match resumed {
            Some(key) => key,
            None => match self.make_room() {
                Ok(key) => key,
                Err(reason) => {
                    self.memory.close(account);
                    return Err(reason);
                }
            },
        };
        let receive_maximum = match connect.version {
            Version::V3 => u16::MAX, // 3.1.1 has no such limit; the connection holds back instead.
            Version::V5 => self.limits.receive_maximum,
        };
        let entry = self.sessions.entry(key).or_insert_with(|| Entry {
            client_id: Arc::clone(&connect.client_id),
            owner: owner.cloned(),
            session: Session::new(),
            acks: Acks::default(),
            presence: Presence::Offline { since: now, ends: None, will: None },
            counted_bytes: 0,
            account,
            filter_bytes: 0,
        });
        let window = connect.receive_maximum.min(self.limits.in_flight);
        entry.session.connected(window, receive_maximum, connect.session_expiry_s);
        entry.presence = presence;
        self.by_client.insert(Arc::clone(&connect.client_id), key);
        self.settle(key);
        self.online += 1;
        self.keep_session(key, resumed.is_none(), now);
        self.note_will(&connect.client_id, connect.will.as_ref(), connect.session_expiry_s);
        let will =
            will.map(|message| Bequest { client_id: Arc::clone(&connect.client_id), session: key, message });
        self.counts.connections += 1;
        self.counts.most_online = self.counts.most_online.max(self.online);
        Ok(Attached { place: Place { session: key, generation }, is_resumed: resumed.is_some(), will })
    }

    /// A connection is over. Gives the will that is to be published now.
    pub(in crate::broker) fn detach(
        &mut self,
        place: Place,
        farewell: Farewell,
        now: Instant,
    ) -> Option<Bequest> {
        let entry = self.entry(place).ok()?;
        let client_id = Arc::clone(&entry.client_id);
        entry.session.disconnected();
        entry.acks.disconnected();
        let expiry_s = farewell.session_expiry_s.unwrap_or(entry.session.expiry_s);
        let Presence::Online { will, .. } = &mut entry.presence else { return None };
        let will = will.take().filter(|_| !farewell.drops_will);
        self.online -= 1;
        let due = |message| Bequest { client_id: Arc::clone(&client_id), session: place.session, message };
        if will.is_none() {
            self.note_will(&client_id, None, 0);
        }
        if expiry_s == 0 {
            self.forget(place.session);
            return will.map(|will| due(will.message));
        }
        let after = |seconds: u32| now.checked_add(Duration::from_secs(seconds.into()));
        let ends = if expiry_s == u32::MAX { None } else { after(expiry_s) };
        let (due, later) = match will {
            Some(Will { message, delay_s: 0 }) => (Some(due(message)), None),
            Some(Will { message, delay_s }) => (None, after(delay_s).map(|at| (at, message))),
            None => (None, None),
        };
        if let Some((at, message)) = &later {
            self.note_late_will(&client_id, message, ends.map_or(*at, |ends| ends.min(*at)));
        }
        let presence = Presence::Offline { since: now, ends, will: later };
        self.deadlines.extend(presence.deadline().map(|at| (at, place.session)));
        if let Some(entry) = self.sessions.get_mut(&place.session) {
            entry.presence = presence;
        }
        self.settle(place.session);
        self.recount(place.session);
        self.note_session(place.session, false, now);
        due
    }

    /// Forgets the will of a connected client if it goes to a topic that is not `allowed` any more.
    pub(in crate::broker) fn keep_will_if(
        &mut self,
        place: Place,
        allowed: impl Fn(&str) -> bool,
    ) -> Result<(), TakenOver> {
        let entry = self.entry(place)?;
        if let Presence::Online { will, .. } = &mut entry.presence
            && will.take_if(|will| !allowed(&will.message.topic)).is_some()
        {
            let client_id = Arc::clone(&entry.client_id);
            self.note_will(&client_id, None, 0);
        }
        Ok(())
    }

    /// Ends the session of `client_id` if nobody is connected and nobody can come back to it: its
    /// owner `is_gone`. Else the client id would be lost with the user.
    pub(in crate::broker) fn forget_abandoned(&mut self, client_id: &str, is_gone: impl Fn(&str) -> bool) {
        let Some(&key) = self.by_client.get(client_id) else { return };
        let Some(entry) = self.sessions.get(&key) else { return };
        let is_offline = matches!(entry.presence, Presence::Offline { .. });
        if is_offline && entry.owner.as_deref().is_some_and(is_gone) {
            self.losses.add_many(Loss::Forgotten, entry.session.waiting());
            self.forget(key);
        }
    }

    /// Does what is due at `now`: ends sessions, and gives the wills to be published.
    pub(in crate::broker) fn expire(&mut self, now: Instant) -> Vec<Bequest> {
        let mut wills = self.expire_orphans(now);
        while let Some(&(at, key)) = self.deadlines.first()
            && at <= now
        {
            self.deadlines.pop_first();
            let Some(entry) = self.sessions.get_mut(&key) else { continue };
            let Presence::Offline { ends, will, .. } = &mut entry.presence else { continue };
            let is_over = ends.is_some_and(|ends| ends <= now);
            if is_over || will.as_ref().is_some_and(|(at, _)| *at <= now) {
                let client_id = Arc::clone(&entry.client_id);
                wills.extend(will.take().map(|(_, message)| Bequest { client_id, session: key, message }));
            }
            if is_over {
                self.counts.expired += 1;
                self.forget(key);
            } else {
                self.deadlines.extend(entry.presence.deadline().map(|at| (at, key)));
                self.settle(key);
            }
        }
        wills
    }

    /// When [`expire`](Self::expire) has something to do next.
    pub(in crate::broker) fn next_deadline(&self) -> Option<Instant> {
        let orphans = self.orphans.first_key_value().map(|((at, _), _)| *at);
        self.deadlines.first().map(|(at, _)| *at).into_iter().chain(orphans).min()
    }

    /// Takes a known client's session away from its present connection, or from its being offline.
    /// Gives the session if it goes on, and the will that this sets free (MQTT 5.0, 3.1.4 and
    /// 3.1.3.2.2).
    fn vacate(&mut self, key: SessionKey, clean_start: bool) -> (Option<SessionKey>, Option<Publish>) {
        let Some(entry) = self.sessions.get_mut(&key) else { return (None, None) };
        let deadline = entry.presence.deadline();
        let (is_over, will) = match &mut entry.presence {
            Presence::Online { wake, will, .. } => {
                wake.notify_one();
                self.online -= 1;
                entry.session.disconnected();
                entry.acks.disconnected();
                let is_over = clean_start || entry.session.expiry_s == 0;
                let will = will.take().filter(|will| is_over || will.delay_s == 0);
                (is_over, will.map(|will| will.message))
            }
            Presence::Offline { will, .. } => {
                (clean_start, will.take().filter(|_| clean_start).map(|(_, message)| message))
            }
        };
        if let Some(at) = deadline {
            self.deadlines.remove(&(at, key));
        }
        self.recount(key);
        if is_over {
            self.forget(key);
            return (None, will);
        }
        (Some(key), will)
    }

    /// The key of a new session. If there are too many, the one that has been without connection
    /// for longest is forgotten: clients that come once, under a name of their own, must not shut
    /// everybody else out.
    fn make_room(&mut self) -> Result<SessionKey, Reason> {
        if self.sessions.len() >= self.limits.sessions {
            let offline = self.sessions.iter().filter_map(|(key, entry)| match entry.presence {
                Presence::Online { .. } => None,
                Presence::Offline { since, .. } => Some((since, *key)),
            });
            let (_, oldest) = offline.min().ok_or(Reason::QUOTA)?;
            let waiting = self.sessions.get(&oldest).map_or(0, |entry| entry.session.waiting());
            self.losses.add_many(Loss::Forgotten, waiting);
            self.forget(oldest);
        }
        self.next_key += 1;
        Ok(SessionKey(self.next_key))
    }

    /// Ends a session.
    fn forget(&mut self, key: SessionKey) {
        let Some(entry) = self.sessions.remove(&key) else { return };
        self.by_client.remove(&entry.client_id);
        self.waiting.remove(&key);
        if entry.session.kept.is_on() {
            self.journal.end_session(key, entry.session.kept_messages());
        }
        self.held_bytes = self.held_bytes.saturating_sub(entry.counted_bytes);
        self.weights.change(key, entry.counted_bytes, 0);
        self.memory.close(entry.account);
        if let Some(at) = entry.presence.deadline() {
            self.deadlines.remove(&(at, key));
        }
        for filter in entry.session.filters.keys().filter_map(|text| Filter::parse(text)) {
            self.router.unsubscribe(key, filter);
        }
    }
}
