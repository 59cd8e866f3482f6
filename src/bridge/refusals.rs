//! What a bridge does about messages that the cloud does not take: gives them up, holds their topics, and
//! finds out which one it is where the cloud only closes the connection.

use std::fmt::Display;
use std::sync::Arc;

use tokio::time::Instant;

use crate::mqtt::packet::Reason;
use crate::queue::Taken;
use crate::render;

use super::Bridge;
use super::link::Failure;
use super::lost::{Lost, Words as ReasonWords};
use super::quarantine::{Admit, HELD_FOR, HELD_FOR_CLOSED, Patience, Quarantine};
use super::session::Session;
use super::suspect::{Ended, Item, Pace, Suspect};

/// "Not authorized": it is the topic, not the message.
const NOT_AUTHORIZED: Reason = Reason(0x87);
/// Why a message is given up that the broker does not answer.
const CLOSES: &str = "the broker closed the connection each time it was sent (perhaps too large, or its topic is not \
                      allowed)";

/// What a bridge knows of messages that the cloud does not take. Outlives connections.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    pub(super) quarantine: Quarantine,
    pub(super) suspect: Suspect,
    patience: Patience,
    /// Dead letters that operators have put back.
    retried: u64,
    /// Taken from the queue in careful mode, and to be sent behind a quiet time.
    waiting: Option<Taken>,
}

impl Bridge {
    /// Whether `row` is to be sent to `topic`; if not, it is given up.
    pub(super) fn admits(&mut self, row: &Taken, topic: &Arc<str>) -> bool {
        let now = Instant::now().into_std();
        if let Some(times) = self.refusals.patience.is_over(row.position, now) {
            self.give_up(row, &format!("refused {times} times with \"unspecified error\""));
            return false;
        }
        match self.refusals.quarantine.admit(topic, row.position, now) {
            Admit::Send => true,
            Admit::Held(_) if self.was_retried() => true,
            Admit::Held(why) => {
                self.give_up(row, &format!("its topic is held back: {why}"));
                false
            }
        }
    }

    /// An operator has had dead letters tried again since somebody looked: that releases all topics.
    fn was_retried(&mut self) -> bool {
        let retried = self.handles.outlet.retried();
        let more = std::mem::replace(&mut self.refusals.retried, retried) < retried;
        if more {
            self.refusals.quarantine.release_all();
            self.report.released_all();
        }
        more
    }

    /// The cloud can never take `row`.
    pub(super) fn give_up(&mut self, row: &Taken, reason: &dyn Display) {
        let topic = render::topic(&row.body, &self.handles.topics);
        self.refusals.patience.settled(row.position, false);
        self.refusals.quarantine.gave_up(row.position, Instant::now().into_std());
        self.handles.outlet.refused(row, &topic, &reason.to_string());
        self.report.dead_letter(&topic, reason);
    }

    /// The cloud has `row`.
    pub(super) fn took(&mut self, row: &Taken) {
        self.answered(row.position);
        self.refusals.patience.settled(row.position, true);
        if !self.refusals.quarantine.is_probing() {
            return;
        }
        let topic = render::topic(&row.body, &self.handles.topics);
        if self.refusals.quarantine.took(&topic) {
            self.report.released(&topic);
            self.announce("topic_released", Some(format!("the cloud allows publishing on {topic} again")));
        }
    }

    /// The cloud answered `row` with a refusal for good.
    pub(super) fn refused(&mut self, row: &Taken, reason: Reason) {
        self.answered(row.position);
        if reason == NOT_AUTHORIZED {
            let topic = render::topic(&row.body, &self.handles.topics);
            let now = Instant::now().into_std();
            if self.refusals.quarantine.hold(&topic, &ReasonWords(reason).to_string(), HELD_FOR, now) {
                self.tell_held(&topic, &ReasonWords(reason));
            }
        }
        self.give_up(row, &ReasonWords(reason));
    }

    /// The cloud does not take the row at `position` now, and does not say why.
    pub(super) fn failed(&mut self, position: u64) {
        self.answered(position);
        self.refusals.patience.tried(position, Instant::now().into_std());
    }

    fn answered(&mut self, position: u64) {
        if self.refusals.suspect.answered(position) {
            tracing::info!(bridge = %self.config.name, "bridge sends at full pace again");
        }
    }

    fn tell_held(&mut self, topic: &Arc<str>, reason: &dyn Display) {
        let what = format!(
            "the cloud does not allow publishing on {topic}: {reason}; allow it there, or leave it out of `forward`"
        );
        self.report.held(topic, &what);
        self.announce("topic_refused", Some(what));
    }

    // === A cloud that only closes ===

    /// Whether rows can be taken from the queue now.
    pub(super) fn may_take(&mut self, session: &Session) -> bool {
        match self.pace(session) {
            Pace::Full => session.room() > 0,
            Pace::One => session.in_flight() == 0 && session.room() > 0,
            Pace::Ping | Pace::Quiet => false,
        }
    }

    fn pace(&mut self, session: &Session) -> Pace {
        self.refusals.suspect.pace(session.pongs(), Instant::now().into_std())
    }

    /// In careful mode, sends one message if it is time. `false`: the mode is another.
    pub(super) fn fill_carefully(&mut self, session: &mut Session) -> bool {
        if !self.refusals.suspect.is_careful() {
            let waiting = self.refusals.waiting.take();
            waiting.into_iter().for_each(|row| self.send_row(session, row));
            return false;
        }
        match self.pace(session) {
            Pace::Ping => {
                // Two bytes: it always fits.
                let _ = session.ping(Instant::now().into_std());
            }
            Pace::One if session.in_flight() == 0 => {
                let words_first = self.refusals.suspect.suspects_words();
                if words_first {
                    self.send_one_word(session);
                }
                self.send_one_row(session);
                if !words_first {
                    self.send_one_word(session);
                }
            }
            Pace::One | Pace::Quiet | Pace::Full => {}
        }
        true
    }

    fn send_one_row(&mut self, session: &mut Session) {
        while session.in_flight() == 0 && session.room() > 0 {
            let next = self.refusals.waiting.take().or_else(|| session.take_kept(1).pop());
            let Some(row) = next.or_else(|| self.handles.outlet.take(1).pop()) else { return };
            if !self.may_send(&Item::Row(row.position)) {
                self.refusals.waiting = Some(row);
                return;
            }
            self.send_row(session, row);
            self.note_sent(session);
        }
    }

    fn send_one_word(&mut self, session: &mut Session) {
        if session.in_flight() > 0 {
            return;
        }
        if let Some(topic) = session.next_word()
            && self.may_send(&Item::Word(topic))
        {
            self.send_words(session, 1);
            self.note_sent(session);
        }
    }

    fn may_send(&mut self, item: &Item) -> bool {
        self.refusals.suspect.may_send(item, Instant::now().into_std(), fastrand::f64())
    }

    fn note_sent(&mut self, session: &Session) {
        if session.in_flight() == 1 {
            self.refusals.suspect.sent(Instant::now().into_std());
        }
    }

    /// A connection ended with `in_flight`, the oldest of which is `oldest`: if that says which message
    /// the cloud does not take, it is given up.
    pub(super) fn examine(&mut self, ended: &Ended, in_flight: &[(Taken, usize)], failure: &Failure) {
        let now = Instant::now().into_std();
        self.refusals.waiting = None;
        self.refusals.quarantine.lost(now);
        if let Failure::Lost(Lost::Disconnected(reason @ Reason::TOO_LARGE, _), _) = failure {
            // The broker has a limit that it did not tell; the largest row is certainly over it.
            let largest = in_flight.iter().max_by_key(|(_, bytes)| *bytes);
            return largest.into_iter().for_each(|(row, _)| self.give_up(row, &ReasonWords(*reason)));
        }
        let was_careful = self.refusals.suspect.is_careful();
        let condemned = self.refusals.suspect.ended(ended, now);
        if !was_careful && self.refusals.suspect.is_careful() {
            tracing::warn!(
                bridge = %self.config.name,
                "the broker closes the connection again and again: sending one message at a time to find out \
                 which one it does not take"
            );
        }
        match condemned {
            Some(Item::Row(position)) => {
                let row = in_flight.iter().find(|(row, _)| row.position == position);
                row.into_iter().for_each(|(row, _)| self.condemn(row));
            }
            Some(Item::Word(topic)) => {
                self.refusals.quarantine.silence(&topic);
                self.report.dead_letter(&topic, &CLOSES);
            }
            None => {}
        }
    }

    fn condemn(&mut self, row: &Taken) {
        self.give_up(row, &CLOSES);
        let now = Instant::now().into_std();
        let topic = render::topic(&row.body, &self.handles.topics);
        if self.refusals.suspect.condemned(&topic)
            && self.refusals.quarantine.hold(&topic, CLOSES, HELD_FOR_CLOSED, now)
        {
            self.tell_held(&topic, &CLOSES);
        }
    }
}
