//! Messages that we sent and that are not acknowledged to the end.

use std::collections::{BTreeMap, HashMap};

use crate::mqtt::packet::{Ack, PacketId, Qos};

/// The messages of QoS 1 and 2 under way to the peer, in the order in which they were sent.
///
/// `T` is whatever the caller needs to send a message again, and to know what an acknowledgement
/// was for. At most `window` messages are under way on one connection, and no packet id is given
/// out while it is in use.
#[derive(Clone, Debug)]
pub struct Outgoing<T> {
    /// By order of sending: resending keeps that order (MQTT 5.0, 4.6).
    in_flight: BTreeMap<u64, (PacketId, Flight<T>)>,
    by_id: HashMap<PacketId, u64>,
    next_order: u64,
    last_id: PacketId,
    highest_id: PacketId,
    window: usize,
    /// Entries from here on were sent on an earlier connection only.
    resend_from: u64,
    /// Entries before `resend_from`: what counts against the window.
    on_the_wire: usize,
}

/// What the peer owes us for a message.
#[derive(Clone, Debug)]
enum Flight<T> {
    /// PUBACK.
    Sent(T),
    /// PUBREC.
    SentOnce(T),
    /// PUBCOMP. The peer has the message; only its id is still in use.
    Released,
}

/// What to send again on a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resend<'a, T> {
    /// A PUBLISH, with the DUP flag.
    Publish(PacketId, &'a T),
    /// A PUBREL.
    Release(PacketId),
}

/// What a PUBREC did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recorded<T> {
    /// The peer has the message; answer with PUBREL. `None`: it had said so before.
    Released(Option<T>),
    /// The peer refused the message and it is over; no answer.
    Refused(Option<T>),
    /// No such message; answer with PUBREL, over 5.0 with the reason "packet id not found".
    Unknown,
}

impl<T> Outgoing<T> {
    /// Nothing under way, and room for `window` messages at a time; at least one.
    #[must_use]
    pub fn new(window: u16) -> Self {
        Self {
            in_flight: BTreeMap::new(),
            by_id: HashMap::new(),
            next_order: 0,
            last_id: PacketId::MAX,
            highest_id: PacketId::MAX,
            window: usize::from(window.max(1)),
            resend_from: 0,
            on_the_wire: 0,
        }
    }

    /// Gives out no packet id above `highest`, and has no larger window: for who needs the others for
    /// something else.
    #[must_use]
    pub fn with_ids_up_to(mut self, highest: PacketId) -> Self {
        self.highest_id = highest;
        self.set_window(u16::try_from(self.window).unwrap_or(u16::MAX));
        self
    }

    /// Puts back what was under way before the program was started, after everything else that is. It
    /// is to be sent again on the next connection. `None`: the peer has the message, and PUBREL is due.
    pub fn restore(&mut self, id: PacketId, message: Option<T>, qos: Qos) {
        let flight = match (message, qos) {
            (None, _) => Flight::Released,
            (Some(message), Qos::ExactlyOnce) => Flight::SentOnce(message),
            (Some(message), Qos::AtLeastOnce | Qos::AtMostOnce) => Flight::Sent(message),
        };
        self.by_id.insert(id, self.next_order);
        self.in_flight.insert(self.next_order, (id, flight));
        self.next_order += 1;
        self.last_id = id;
    }

    fn set_window(&mut self, window: u16) {
        self.window = usize::from(window.clamp(1, self.highest_id.get()));
    }

    /// A new connection to the same peer, whose receive maximum is `window`: everything under way
    /// waits to be sent again with [`next_resend`](Self::next_resend).
    pub fn reconnect(&mut self, window: u16) {
        self.set_window(window);
        self.resend_from = self.in_flight.keys().next().copied().unwrap_or(self.next_order);
        self.on_the_wire = 0;
    }

    /// The next thing to send again, in order; `None` when that is done or the window is full.
    pub fn next_resend(&mut self) -> Option<Resend<'_, T>> {
        if self.on_the_wire >= self.window {
            return None;
        }
        let (&order, (id, flight)) = self.in_flight.range(self.resend_from..).next()?;
        self.resend_from = order + 1;
        self.on_the_wire += 1;
        Some(match flight {
            Flight::Sent(message) | Flight::SentOnce(message) => Resend::Publish(*id, message),
            Flight::Released => Resend::Release(*id),
        })
    }

    /// Ends all messages that the peer may not have, except those to `keep`.
    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        let dropped = self.in_flight.values().filter_map(|(id, flight)| match flight {
            Flight::Sent(message) | Flight::SentOnce(message) => (!keep(message)).then_some(*id),
            Flight::Released => None,
        });
        for id in dropped.collect::<Vec<_>>() {
            self.forget(id);
        }
    }

    /// What the peer may not have, in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.in_flight.values().filter_map(|(_, flight)| match flight {
            Flight::Sent(message) | Flight::SentOnce(message) => Some(message),
            Flight::Released => None,
        })
    }

    /// Whether [`send`](Self::send) would take a message: the window has room and nothing waits to
    /// be sent again.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.on_the_wire < self.window && self.in_flight.range(self.resend_from..).next().is_none()
    }

    /// Takes a message that is about to be sent with QoS 1 or 2 and gives it a packet id.
    ///
    /// # Errors
    /// There is no [room](Self::has_room), or the QoS is 0 and needs none of this: the message is
    /// handed back.
    pub fn send(&mut self, message: T, qos: Qos) -> Result<PacketId, T> {
        if !self.has_room() {
            return Err(message);
        }
        let flight = match qos {
            Qos::AtMostOnce => return Err(message),
            Qos::AtLeastOnce => Flight::Sent(message),
            Qos::ExactlyOnce => Flight::SentOnce(message),
        };
        let id = self.free_id();
        let order = self.next_order;
        self.next_order += 1;
        self.resend_from = self.next_order;
        self.on_the_wire += 1;
        self.by_id.insert(id, order);
        self.in_flight.insert(order, (id, flight));
        Ok(id)
    }

    /// A PUBACK, whatever its reason: the message, or `None` if no message with that id waits for one.
    /// It ends a message of QoS 2 as well: that is how a broker answers that knows only QoS 1 and cannot
    /// say so (`RabbitMQ` 3.10 over 3.1.1).
    pub fn puback(&mut self, id: PacketId) -> Option<T> {
        match self.flight(id)? {
            Flight::Sent(_) | Flight::SentOnce(_) => self.forget(id),
            Flight::Released => None,
        }
    }

    /// A PUBREC.
    pub fn pubrec(&mut self, ack: Ack) -> Recorded<T> {
        let Some(flight) = self.flight(ack.id) else { return Recorded::Unknown };
        match flight {
            Flight::Sent(_) => Recorded::Unknown,
            Flight::SentOnce(_) | Flight::Released if ack.reason.is_failure() => {
                Recorded::Refused(self.forget(ack.id))
            }
            Flight::SentOnce(_) => match std::mem::replace(flight, Flight::Released) {
                Flight::SentOnce(message) => Recorded::Released(Some(message)),
                Flight::Sent(_) | Flight::Released => Recorded::Released(None),
            },
            Flight::Released => Recorded::Released(None),
        }
    }

    /// A PUBCOMP; whether it ended anything.
    pub fn pubcomp(&mut self, id: PacketId) -> bool {
        let released = matches!(self.flight(id), Some(Flight::Released));
        if released {
            self.forget(id);
        }
        released
    }

    /// The message with that id, unless the peer has it.
    #[must_use]
    pub fn get(&self, id: PacketId) -> Option<&T> {
        match &self.in_flight.get(self.by_id.get(&id)?)?.1 {
            Flight::Sent(message) | Flight::SentOnce(message) => Some(message),
            Flight::Released => None,
        }
    }

    /// Ends what has that id without an acknowledgement: it could not be sent after all. The
    /// message, unless the peer has it already.
    pub fn forget(&mut self, id: PacketId) -> Option<T> {
        let order = self.by_id.remove(&id)?;
        if order < self.resend_from {
            self.on_the_wire = self.on_the_wire.saturating_sub(1);
        }
        match self.in_flight.remove(&order)?.1 {
            Flight::Sent(message) | Flight::SentOnce(message) => Some(message),
            Flight::Released => None,
        }
    }

    /// Ends everything and gives back, in order, what the peer may not have.
    pub fn drain(&mut self) -> Vec<T> {
        self.by_id.clear();
        self.on_the_wire = 0;
        self.resend_from = self.next_order;
        std::mem::take(&mut self.in_flight)
            .into_values()
            .filter_map(|(_, flight)| match flight {
                Flight::Sent(message) | Flight::SentOnce(message) => Some(message),
                Flight::Released => None,
            })
            .collect()
    }

    /// The message that was sent first of those under way.
    #[must_use]
    pub fn oldest(&self) -> Option<PacketId> {
        self.in_flight.first_key_value().map(|(_, (id, _))| *id)
    }

    /// The message that was sent first of those that the peer may not have.
    #[must_use]
    pub fn oldest_unfinished(&self) -> Option<PacketId> {
        let mut unfinished =
            self.in_flight.values().filter(|(_, flight)| !matches!(flight, Flight::Released));
        unfinished.next().map(|(id, _)| *id)
    }

    /// The message sent first of all under way, unless the peer has it.
    #[must_use]
    pub fn oldest_message(&self) -> Option<&T> {
        match &self.in_flight.first_key_value()?.1.1 {
            Flight::Sent(message) | Flight::SentOnce(message) => Some(message),
            Flight::Released => None,
        }
    }

    /// How many messages are under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.in_flight.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.in_flight.is_empty()
    }

    fn flight(&mut self, id: PacketId) -> Option<&mut Flight<T>> {
        let order = self.by_id.get(&id)?;
        self.in_flight.get_mut(order).map(|(_, flight)| flight)
    }

    /// The next id after the last one that is not in use. Ends because there is one: the window is
    /// no larger than the highest id, `send` takes nothing while it is full, and nothing while older
    /// messages wait outside it.
    fn free_id(&mut self) -> PacketId {
        loop {
            let next = self.last_id.checked_add(1).filter(|id| *id <= self.highest_id);
            self.last_id = next.unwrap_or(PacketId::MIN);
            if !self.by_id.contains_key(&self.last_id) {
                return self.last_id;
            }
        }
    }
}
