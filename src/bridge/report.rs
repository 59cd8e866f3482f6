//! What a bridge tells of itself: its entry in the status, and one log line per change.

use std::collections::HashSet;
use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::backoff::STABLE;
use crate::mqtt::packet::Version;
use crate::status::{self, BridgeState, Cell};

use super::eta::Eta;
use super::lost;
use super::takeover::Life;

/// Topics whose dead letters were logged: more are counted only.
const TOPICS_TOLD_MAX: usize = 256;

/// Keeps one bridge's status true.
#[derive(Debug)]
pub(super) struct Report {
    name: Arc<str>,
    cell: Cell<status::Bridge>,
    /// When the bridge was connected, or when it was not any more.
    since: Instant,
    eta: Eta,
    /// Why the last attempt failed, so that the same is not logged again.
    failed_for: Option<String>,
    /// Another client takes our client id: told once, and the coming and going is not told.
    rivalled: bool,
    /// Something was acknowledged on this connection.
    worked: bool,
    topics_told: HashSet<Arc<str>>,
    /// What was said when the broker wanted less, while it gets less.
    slowed: Option<String>,
}

/// A rate in words.
pub(super) fn per_second(messages: f64) -> String {
    if messages < 10.0 { format!("{messages:.1}/s") } else { format!("{messages:.0}/s") }
}

impl Report {
    pub(super) fn new(name: &str, cell: Cell<status::Bridge>, now: Instant) -> Self {
        *cell.lock() = status::Bridge { name: name.into(), ..status::Bridge::default() };
        Self {
            name: name.into(),
            cell,
            since: now,
            eta: Eta::default(),
            failed_for: None,
            rivalled: false,
            worked: false,
            topics_told: HashSet::new(),
            slowed: None,
        }
    }

    /// An attempt begins.
    pub(super) fn connecting(&self) {
        self.cell.lock().state = BridgeState::Connecting;
    }

    /// The broker accepted us.
    pub(super) fn connected(&mut self, address: SocketAddr, version: Version, now: Instant) {
        let protocol = lost::number(version);
        if self.rivalled {
            tracing::debug!(bridge = %self.name, %address, protocol, "bridge connected");
        } else {
            tracing::info!(bridge = %self.name, %address, protocol, "bridge connected");
        }
        self.failed_for = None;
        self.worked = false;
        self.since = now;
        self.eta = Eta::default();
        self.cell.lock().state = BridgeState::Connected;
    }

    /// Something was acknowledged.
    pub(super) fn worked(&mut self) {
        self.worked = true;
    }

    /// What the connection was like so far.
    pub(super) fn life(&self, now: Instant) -> Life {
        Life { held: now.saturating_duration_since(self.since), worked: self.worked }
    }

    /// The connection is gone, with `rivalled` to another client; as many readings may arrive twice.
    pub(super) fn lost(&mut self, reason: &str, rivalled: bool, duplicates_possible: u64, now: Instant) {
        if rivalled && self.rivalled {
            tracing::debug!(bridge = %self.name, error = reason, duplicates_possible, "bridge lost");
        } else {
            tracing::warn!(bridge = %self.name, error = reason, duplicates_possible, "bridge lost");
        }
        self.rivalled = rivalled;
        self.failed_for = Some(reason.into());
        self.since = now;
        let mut status = self.cell.lock();
        status.in_flight = 0;
        status.eta_s = None;
        status.duplicates_possible += duplicates_possible;
    }

    /// The connection was ended by us, to begin a new one; as many readings may arrive twice.
    pub(super) fn renewing(&mut self, duplicates_possible: u64) {
        tracing::info!(bridge = %self.name, duplicates_possible, "bridge connects again with a new token");
        let mut status = self.cell.lock();
        status.in_flight = 0;
        status.duplicates_possible += duplicates_possible;
    }

    /// An attempt failed. Only a reason that was not told yet is logged.
    pub(super) fn failed(&mut self, reason: &str) {
        if self.failed_for.as_deref() == Some(reason) {
            tracing::debug!(bridge = %self.name, error = reason, "bridge cannot connect");
        } else {
            tracing::warn!(bridge = %self.name, error = reason, "bridge cannot connect");
            self.failed_for = Some(reason.into());
        }
    }

    /// The next attempt comes after `wait`.
    pub(super) fn backing_off(&self, reason: &str, wait: Duration) {
        tracing::debug!(bridge = %self.name, ?wait, "bridge waits before it connects again");
        let mut status = self.cell.lock();
        status.state = BridgeState::Backoff;
        status.last_error = Some(reason.into());
    }

    /// The broker wants less, and gets so many messages a second. Logged once until it gets all again.
    pub(super) fn slower(&mut self, reason: &dyn Display, messages: f64) {
        let words = format!("the broker says {reason}; sending at {}", per_second(messages));
        if self.slowed.is_none() {
            tracing::warn!(bridge = %self.name, "{words}");
        }
        self.cell.lock().last_error = Some(words.clone());
        self.slowed = Some(words);
    }

    /// The broker gets all again.
    pub(super) fn full_speed(&mut self) {
        let Some(words) = self.slowed.take() else { return };
        tracing::info!(bridge = %self.name, "the broker takes everything again; sending at full speed");
        let mut status = self.cell.lock();
        status.last_error = status.last_error.take().filter(|error| *error != words);
    }

    /// The figures as they are now.
    pub(super) fn pulse(&mut self, backlog: u64, in_flight: usize, now: Instant) {
        let mut status = self.cell.lock();
        status.since_s = now.saturating_duration_since(self.since).as_secs();
        status.backlog = backlog;
        status.in_flight = in_flight as u64;
        if status.state == BridgeState::Connected {
            self.eta.observe(now, backlog);
            status.eta_s = self.eta.seconds(backlog);
            if self.rivalled && now.saturating_duration_since(self.since) >= STABLE {
                tracing::info!(bridge = %self.name, "bridge stays connected: nobody else uses its client id");
                self.rivalled = false;
            }
        }
    }

    /// So many readings are in the cloud.
    pub(super) fn delivered(&self, readings: u64) {
        self.cell.lock().delivered += readings;
    }

    /// A message on `topic` was given up. Logged once per topic.
    pub(super) fn dead_letter(&mut self, topic: &Arc<str>, reason: &dyn Display) {
        self.cell.lock().dead_letters += 1;
        if self.topics_told.len() < TOPICS_TOLD_MAX && self.topics_told.insert(Arc::clone(topic)) {
            tracing::warn!(
                bridge = %self.name,
                %topic,
                %reason,
                "message given up; more of this topic are counted as dead letters"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rival_is_forgotten_when_a_connection_holds() {
        let (start, cell) = (Instant::now(), Cell::default());
        let mut report = Report::new("cloud", cell, start);
        let address = SocketAddr::from(([127, 0, 0, 1], 1883));
        report.connected(address, Version::V5, start);
        report.worked();
        let life = report.life(start + Duration::from_secs(5));
        assert_eq!((life.held, life.worked), (Duration::from_secs(5), true));
        report.lost("another client", true, 0, start);
        report.connected(address, Version::V5, start);
        assert!(!report.life(start).worked);
        for (held, rivalled) in [(STABLE - Duration::from_secs(1), true), (STABLE, false)] {
            report.pulse(0, 0, start + held);
            assert_eq!(report.rivalled, rivalled, "{held:?}");
        }
        report.lost("another client", true, 0, start);
        report.lost("the network", false, 0, start);
        assert!(!report.rivalled);
    }
}
