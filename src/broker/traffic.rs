//! What has passed through connections.

use std::ops::AddAssign;

/// Packets and bytes of MQTT, either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Traffic {
    /// Packets from clients, of every type.
    pub(super) packets_received: u64,
    /// Packets to clients, of every type.
    pub(super) packets_sent: u64,
    /// Bytes of packets from clients.
    pub(super) bytes_received: u64,
    /// Bytes of packets to clients.
    pub(super) bytes_sent: u64,
}

impl Traffic {
    /// A packet of `bytes` came.
    pub(super) fn received(&mut self, bytes: usize) {
        self.packets_received += 1;
        self.bytes_received += bytes as u64;
    }

    /// Packets went out, of `bytes` together; none where that is 0.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.packets_sent += u64::from(bytes > 0);
        self.bytes_sent += bytes as u64;
    }
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        self.packets_received += other.packets_received;
        self.packets_sent += other.packets_sent;
        self.bytes_received += other.bytes_received;
        self.bytes_sent += other.bytes_sent;
    }
}
