//! Whether the other side still lives: keep-alive, and progress of acknowledgements.
//!
//! A frozen broker or a black hole closes nothing. Two things tell:
//! - nothing was heard for a keep-alive: PINGREQ, and an answer is due within [`PONG_WITHIN`];
//! - the oldest message has been waiting as the oldest for [`ACK_WITHIN`]. That also finds the
//!   broker that forgot one single acknowledgement while the others come.
//!
//! On a slow link a large message takes longer than that. While bytes wait for the socket and it
//! takes some of them, the link is slow and not dead.

use std::time::{Duration, Instant};

use crate::mqtt::packet::PacketId;

/// Keep-alive that we ask for; also how long we bear silence.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// An answer to PINGREQ is due within this time.
pub(super) const PONG_WITHIN: Duration = Duration::from_secs(10);
/// The oldest message may stay the oldest for this long.
pub(super) const ACK_WITHIN: Duration = Duration::from_secs(20);

/// The signs of life of one connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Alive {
    keep_alive: Duration,
    sent: Instant,
    heard: Instant,
    ping: Option<Instant>,
    oldest: Option<(PacketId, Instant)>,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing.
    Nothing,
    /// Send PINGREQ.
    Ping,
    /// Give up: no answer to PINGREQ.
    NoPong,
    /// Give up: no acknowledgement.
    NoPubAck,
}

impl Alive {
    /// A connection that was accepted at `now`. The server's keep-alive replaces ours where it is
    /// shorter (MQTT 5.0, 3.2.2.3.14); 0 switches the server's check off, not ours.
    pub(super) fn new(server_keep_alive_s: Option<u16>, now: Instant) -> Self {
        let server = server_keep_alive_s.filter(|seconds| *seconds > 0);
        let keep_alive = server.map_or(KEEP_ALIVE, |seconds| Duration::from_secs(seconds.into()));
        Self { keep_alive: keep_alive.min(KEEP_ALIVE), sent: now, heard: now, ping: None, oldest: None }
    }

    /// Something came.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.ping = None;
    }

    /// PINGREQ was sent before it was due.
    pub(super) fn asked(&mut self, now: Instant) {
        self.ping = Some(now);
    }

    /// Whether an answer to PINGREQ is awaited.
    pub(super) fn awaits_pong(&self) -> bool {
        self.ping.is_some()
    }

    /// The socket took bytes; `more` wait for it.
    pub(super) fn wrote(&mut self, more: bool, now: Instant) {
        self.sent = now;
        if more {
            self.heard(now);
            if let Some((_, since)) = &mut self.oldest {
                *since = now;
            }
        }
    }

    /// The oldest message without an acknowledgement is now `id`.
    pub(super) fn oldest(&mut self, id: Option<PacketId>, now: Instant) {
        if id != self.oldest.map(|(id, _)| id) {
            self.oldest = id.map(|id| (id, now));
        }
    }

    /// When to ask [`Alive::due`] again.
    pub(super) fn deadline(&self) -> Instant {
        let pong = match self.ping {
            None => self.sent.min(self.heard) + self.keep_alive,
            Some(sent) => sent + PONG_WITHIN,
        };
        self.oldest.map_or(pong, |(_, since)| pong.min(since + ACK_WITHIN))
    }

    /// What is due. After [`Due::Ping`] an answer is awaited.
    pub(super) fn due(&mut self, now: Instant) -> Due {
        if self.oldest.is_some_and(|(_, since)| now >= since + ACK_WITHIN) {
            return Due::NoPubAck;
        }
        match self.ping {
            Some(sent) if now >= sent + PONG_WITHIN => Due::NoPong,
            None if now >= self.sent.min(self.heard) + self.keep_alive => {
                self.ping = Some(now);
                Due::Ping
            }
            Some(_) | None => Due::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn id(id: u16) -> Option<PacketId> {
        PacketId::new(id)
    }

    #[test]
    fn silence_is_noticed_within_one_and_a_half_keep_alives() {
        let start = Instant::now();
        let mut alive = Alive::new(None, start);
        assert_eq!(alive.deadline(), start + KEEP_ALIVE);
        assert_eq!(alive.due(start + 29 * SECOND), Due::Nothing);
        assert_eq!(alive.due(start + KEEP_ALIVE), Due::Ping);
        assert_eq!(alive.due(start + KEEP_ALIVE), Due::Nothing);
        assert_eq!(alive.deadline(), start + KEEP_ALIVE + PONG_WITHIN);
        assert_eq!(alive.due(start + KEEP_ALIVE + PONG_WITHIN), Due::NoPong);
        assert!(KEEP_ALIVE + PONG_WITHIN <= KEEP_ALIVE * 3 / 2);
    }

    #[test]
    fn writing_into_a_black_hole_is_no_sign_of_life() {
        let start = Instant::now();
        let mut alive = Alive::new(None, start);
        for second in 1..30 {
            alive.wrote(false, start + second * SECOND);
        }
        assert_eq!(alive.due(start + 30 * SECOND), Due::Ping);
    }

    #[test]
    fn a_ping_is_sent_although_the_broker_talks() {
        let start = Instant::now();
        let mut alive = Alive::new(Some(5), start);
        for second in 1..5 {
            alive.heard(start + second * SECOND);
        }
        assert_eq!(alive.due(start + 5 * SECOND), Due::Ping);
        alive.wrote(false, start + 5 * SECOND);
        alive.heard(start + 6 * SECOND);
        assert_eq!(alive.deadline(), start + 10 * SECOND);
    }

    #[test]
    fn the_servers_keep_alive_counts_where_it_is_shorter() {
        let start = Instant::now();
        for (server, expected) in [(None, 30), (Some(0), 30), (Some(10), 10), (Some(300), 30)] {
            assert_eq!(Alive::new(server, start).deadline(), start + expected * SECOND, "{server:?}");
        }
    }

    #[test]
    fn one_lost_acknowledgement_is_noticed_although_others_come() {
        let start = Instant::now();
        let mut alive = Alive::new(None, start);
        for second in 0..20 {
            alive.heard(start + second * SECOND);
            alive.oldest(id(1), start + second * SECOND);
            assert_eq!(alive.due(start + second * SECOND), Due::Nothing);
        }
        assert_eq!(alive.due(start + ACK_WITHIN), Due::NoPubAck);
    }

    #[test]
    fn acknowledgements_in_order_are_progress() {
        let (start, mut alive) = (Instant::now(), Alive::new(None, Instant::now()));
        for second in 0..100_u16 {
            let now = start + SECOND * u32::from(second);
            alive.wrote(false, now);
            alive.heard(now);
            alive.oldest(id(second + 1), now);
            assert_eq!(alive.due(now + SECOND), Due::Nothing);
        }
        alive.oldest(None, start + 100 * SECOND);
        assert_eq!(alive.due(start + 120 * SECOND), Due::Nothing);
    }

    #[test]
    fn a_slow_link_is_not_a_dead_one() {
        let start = Instant::now();
        let mut alive = Alive::new(None, start);
        alive.oldest(id(1), start);
        for second in 1..100 {
            alive.wrote(true, start + second * SECOND);
            assert_eq!(alive.due(start + second * SECOND), Due::Nothing);
        }
        assert_eq!(alive.due(start + 99 * SECOND + ACK_WITHIN), Due::NoPubAck);
    }
}
