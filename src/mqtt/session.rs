//! What one side of a connection remembers about QoS 1 and 2, for either protocol version.
//!
//! [`Outgoing`] numbers the messages that we send and follows them to their last acknowledgement;
//! [`Incoming`] knows which QoS 2 messages we have taken already. Both outlive a connection where
//! the session does: they know nothing of the version, so a client may come back speaking another
//! one. The local broker keeps one pair per client session; a bridge starts afresh with each
//! connection and gives back what was under way ([`Outgoing::drain`]).

mod incoming;
mod outgoing;
#[cfg(test)]
mod tests;

pub use incoming::{Arrival, Exceeded, Incoming};
pub use outgoing::{Outgoing, Recorded, Resend};
