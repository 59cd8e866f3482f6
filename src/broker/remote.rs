//! Who is at the other end of a connection, before it says a word of MQTT.

use std::net::IpAddr;
use std::sync::Arc;

/// The other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remote {
    /// Where it connects from.
    pub(super) address: IpAddr,
    /// The name in its certificate, where the listener asked for one and has verified it.
    pub(super) certificate: Option<Arc<str>>,
    /// Whether it needs no name where it came in, if it is on this machine.
    pub(super) anonymous: bool,
}

impl Remote {
    /// Without a certificate.
    pub(super) fn at(address: IpAddr) -> Self {
        // A client of IPv4 on a socket for both looks like this, and is the same client.
        Self { address: address.to_canonical(), certificate: None, anonymous: true }
    }

    /// Whether it may come in without a name: from this machine only.
    pub(super) fn may_be_anonymous(&self) -> bool {
        self.anonymous && self.address.is_loopback()
    }
}
