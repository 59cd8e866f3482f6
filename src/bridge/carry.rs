//! What outlives a connection where the broker keeps the session.
//!
//! Rows in flight stay with it, and not with the queue: they are sent again with the same packet ids
//! and the DUP flag, so that QoS 2 is exactly once over cuts. Packet ids are not remembered over a
//! restart of the daemon. A broker that still holds an unreleased QoS 2 id from before would take a
//! new message with that id for a copy and swallow it. So after a restart all our ids are released
//! before anything is sent; a clean start would do the same, but throw away what the broker has
//! waiting for us.

use crate::mqtt::packet::{Ack, ConnAck, Connect, Packet, PacketId, Qos, Version};
use crate::mqtt::session::Incoming;
use crate::topic::Routes;

use super::batch::Rows;
use super::flights::{Flights, HIGHEST_ID, What};

/// After so many connections without a single acknowledgement the rows in flight go back to the
/// queue: one of them may be what ends the connections.
const FRUITLESS_MAX: u32 = 3;

/// What we know of our session at the broker; nothing at the start.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// What we sent. `None`: the broker may hold ids that we know nothing of.
    pub(super) flights: Option<Flights>,
    /// What we received.
    pub(super) incoming: Option<Incoming>,
    /// The broker has all our subscriptions.
    pub(super) is_subscribed: bool,
}

/// What is wanted of a session beyond readings that go up.
#[derive(Clone, Debug, Default)]
pub(super) struct Terms {
    /// What the cloud is asked for.
    pub(super) receive: Routes,
    /// Something is sent with QoS 2.
    pub(super) exactly_once: bool,
}

impl Terms {
    /// To take what `receive` carries, and to send with QoS up to `highest`.
    pub(super) fn new(receive: &Routes, highest: Qos) -> Self {
        Self { receive: receive.clone(), exactly_once: highest == Qos::ExactlyOnce }
    }
}

/// What is left of a connection.
#[derive(Debug)]
pub(super) struct Ended {
    /// What we know of the session.
    pub(super) memory: Memory,
    /// What becomes of the rows in flight.
    pub(super) left: Left,
}

/// What becomes of the rows that were in flight.
#[derive(Debug, PartialEq)]
pub(super) enum Left {
    /// They are taken from the queue again: these the broker may have, in order, each with the bytes
    /// of its payload.
    Back(Vec<(Rows, usize)>),
    /// They stay with the session; these are sent again with QoS 1.
    Stay {
        /// Which.
        unsure: Vec<Rows>,
    },
}

/// What CONNACK says of the session, and what we want of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answered {
    /// The broker remembers it.
    pub(super) present: bool,
    /// It outlives the connection.
    pub(super) outlives: bool,
    /// How many messages we may have in flight.
    pub(super) window: u16,
    /// How many messages the broker may have unacknowledged.
    pub(super) receive_maximum: u16,
    /// Something is sent with QoS 2.
    pub(super) exactly_once: bool,
}

/// How a session begins on a new connection.
#[derive(Debug)]
pub(super) struct Begin {
    /// What we send, now and before.
    pub(super) flights: Flights,
    /// What we receive, now and before.
    pub(super) incoming: Incoming,
    /// The broker has all our subscriptions.
    pub(super) is_subscribed: bool,
    /// To be sent before anything else.
    pub(super) first: Vec<Packet>,
    /// The rows in flight of the session that we remembered, where the broker does not: back to the
    /// queue with them.
    pub(super) stranded: Option<Vec<Rows>>,
}

/// The session after CONNACK: the one that we remember, or a new one.
pub(super) fn begin(memory: Memory, answer: Answered) -> Begin {
    let mut begin = Begin {
        flights: Flights::new(answer.window, answer.outlives),
        incoming: Incoming::new(answer.receive_maximum),
        is_subscribed: answer.present && memory.is_subscribed,
        first: Vec::new(),
        stranded: None,
    };
    match memory.flights {
        Some(mut flights) if answer.present => {
            flights.reconnect(answer.window);
            begin.flights = flights;
        }
        Some(flights) => begin.stranded = Some(rows(flights)),
        None if answer.present && answer.exactly_once => begin.first = release_all(),
        None => {}
    }
    if let Some(mut incoming) = memory.incoming.filter(|_| answer.present) {
        incoming.reconnect(answer.receive_maximum);
        begin.incoming = incoming;
    }
    begin
}

/// A broker answers the release of an id that it does not know with PUBCOMP all the same (MQTT 5.0,
/// 4.3.3; 3.1.1, 4.3.3).
fn release_all() -> Vec<Packet> {
    let ids = (1..=HIGHEST_ID.get()).filter_map(PacketId::new);
    ids.map(|id| Packet::PubRel(Ack::ok(id))).collect()
}

/// The rows among what was in flight.
fn rows(flights: Flights) -> Vec<Rows> {
    let rows = flights.end().into_iter().filter_map(|(what, _)| match what {
        What::Rows(rows) => Some(rows),
        What::Word(..) => None,
    });
    rows.collect()
}

/// Whether rows in flight are to stay with the session.
pub(super) fn stay(flights: &Flights) -> bool {
    flights.fruitless() < FRUITLESS_MAX
}

/// Whether the session that `answer` opens outlives the connection.
pub(super) fn outlives(connect: &Connect, answer: &ConnAck) -> bool {
    match connect.version {
        Version::V3 => !connect.clean_start,
        Version::V5 => answer.session_expiry_s.unwrap_or(connect.session_expiry_s) > 0,
    }
}
