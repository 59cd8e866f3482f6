//! All that a broker can do wrong.

use std::time::Duration;

use serialgate::mqtt::packet::{ConnAck, Reason};

/// How the broker behaves on one connection.
#[derive(Clone, Debug)]
pub(crate) struct Manners {
    /// Its CONNACK.
    pub(crate) answer: ConnAck,
    /// How it says everything.
    pub(crate) voice: Voice,
    /// How it acknowledges.
    pub(crate) acks: Acks,
    /// What it does about PINGREQ.
    pub(crate) pings: Pings,
    /// How it ends the connection.
    pub(crate) end: Option<End>,
}

/// How fast it speaks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Voice {
    Plain,
    /// One byte at a time, and a rest after each.
    Bytes(Duration),
    /// Its CONNACK like that, and then plainly.
    SlowWelcome(Duration),
}

/// How messages are acknowledged.
#[derive(Clone, Debug)]
pub(crate) enum Acks {
    /// At once, in order.
    Good,
    /// After `first`, and each one `more` later than the one before.
    Late { first: Duration, more: Duration },
    /// So many at a time, the last one first. What is left goes at once when nothing more comes.
    Reversed(usize),
    /// All but the one with this number.
    AllBut(usize),
    /// Besides, the same for ids that were never sent.
    Strangers,
    /// So many messages are refused; after that, per topic, whatever comes before the first of them
    /// comes again: a broker that takes what follows one that it refused puts readings out of order
    /// itself.
    NotNow(Reason, usize),
    /// Topics with this end are refused.
    Refuse(String, Reason),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Pings {
    Answered,
    Ignored,
}

/// The end of a connection.
#[derive(Clone, Debug)]
pub(crate) struct End {
    /// So many readings are taken on it. The next one is read, and comes to nothing.
    pub(crate) after: usize,
    /// So many of them, the last ones, are taken and not acknowledged.
    pub(crate) unacknowledged: usize,
    /// And then.
    pub(crate) how: How,
}

#[derive(Clone, Debug)]
pub(crate) enum How {
    /// FIN.
    Close,
    /// RST.
    Reset,
    /// RST after the first half of a PUBACK.
    ResetInPacket,
    /// DISCONNECT with this reason, and FIN.
    Disconnect(Reason),
    /// Says this, and waits for the other side to close.
    Say(Vec<u8>),
    /// A second CONNACK.
    Welcome,
    /// Reads nothing more, says nothing more, and keeps the socket so long.
    Freeze(Duration),
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            answer: ConnAck::new(Reason::SUCCESS, false),
            voice: Voice::Plain,
            acks: Acks::Good,
            pings: Pings::Answered,
            end: None,
        }
    }
}
