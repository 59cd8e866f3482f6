//! Which version of MQTT to speak with a broker that was not asked yet.
//!
//! Unless the configuration says it, we try 5.0 first. A broker that does not speak it may say so,
//! or just close the connection; the latter also happens in front of a dead broker, so it takes
//! [`CLOSED_MAX`] of them before we believe it. What worked once is kept until it is refused.

use crate::mqtt::packet::Version;

/// So many connections closed without an answer to CONNECT count as a refusal of its version.
const CLOSED_MAX: u8 = 2;

/// What is known of the version to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Negotiation {
    /// The configuration says it.
    Fixed(Version),
    /// No connection was accepted yet.
    Trying {
        /// The version to try.
        version: Version,
        /// Connections closed without an answer to it.
        closed: u8,
    },
    /// The broker took it.
    Settled(Version),
}

impl Negotiation {
    /// Begins with `configured`, or by trying 5.0.
    pub(super) fn new(configured: Option<Version>) -> Self {
        configured.map_or(Self::trying(Version::V5), Self::Fixed)
    }

    /// The version for the next CONNECT.
    pub(super) fn version(self) -> Version {
        match self {
            Self::Fixed(version) | Self::Trying { version, .. } | Self::Settled(version) => version,
        }
    }

    /// The broker accepted the connection.
    pub(super) fn accepted(&mut self) {
        if let Self::Trying { version, .. } = *self {
            *self = Self::Settled(version);
        }
    }

    /// The broker said that it does not speak the version.
    pub(super) fn refused(&mut self) {
        if let Self::Trying { version, .. } | Self::Settled(version) = *self {
            *self = Self::trying(other(version));
        }
    }

    /// The connection was closed without an answer to CONNECT.
    pub(super) fn closed(&mut self) {
        if let Self::Trying { version, closed } = *self {
            *self = if closed + 1 >= CLOSED_MAX {
                Self::trying(other(version))
            } else {
                Self::Trying { version, closed: closed + 1 }
            };
        }
    }

    fn trying(version: Version) -> Self {
        Self::Trying { version, closed: 0 }
    }
}

fn other(version: Version) -> Version {
    match version {
        Version::V3 => Version::V5,
        Version::V5 => Version::V3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_comes_first_and_the_other_after_a_refusal_or_two_silent_ends() {
        let mut negotiation = Negotiation::new(None);
        let mut spoken = Vec::new();
        for silent in [false, true, true, true, true] {
            spoken.push(negotiation.version());
            if silent { negotiation.closed() } else { negotiation.refused() }
        }
        spoken.push(negotiation.version());
        use Version::{V3, V5};
        assert_eq!(spoken, [V5, V3, V3, V5, V5, V3]);
    }

    #[test]
    fn what_worked_is_kept_until_it_is_refused() {
        let mut negotiation = Negotiation::new(None);
        negotiation.accepted();
        for _ in 0..10 {
            negotiation.closed();
        }
        assert_eq!(negotiation, Negotiation::Settled(Version::V5));
        negotiation.refused();
        assert_eq!(negotiation.version(), Version::V3);
    }

    #[test]
    fn the_configured_version_is_never_changed() {
        for version in [Version::V3, Version::V5] {
            let mut negotiation = Negotiation::new(Some(version));
            negotiation.refused();
            negotiation.closed();
            negotiation.closed();
            negotiation.accepted();
            assert_eq!(negotiation, Negotiation::Fixed(version));
        }
    }
}
