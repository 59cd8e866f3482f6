//! What a bridge does about messages that the cloud does not take: gives them up, holds their topics, and
//! finds out which one it is where the cloud only closes the connection.

use std::fmt::Display;
use std::sync::Arc;

use tokio::time::Instant;

use crate::mqtt::packet::Reason;
use crate::queue::Taken;
use crate::render;

use super::Bridge;
use super::batch::Rows;
use super::link::Failure;
use super::lost::{Lost, Words as ReasonWords};
use super::quarantine::{Admit, HELD_FOR, HELD_FOR_CLOSED, Patience, Quarantine};
use super::session::Session;
use super::suspect::{Allowed, Ended, Item, Suspect};

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
    waiting: Option<Rows>,
}

impl Bridge {
    /// Those of `rows` that are to be sent to `topic` now; the rest is given up, or sent in two messages.
    pub(super) fn admit(&mut self, session: &mut Session, rows: Rows, topic: &Arc<str>) -> Option<Rows> {
        let now = Instant::now().into_std();
        let first = rows.first().position;
        if let Some(times) = self.refusals.patience.is_over(first, now) {
            self.refusals.patience.settled(first, false);
            // Which of several it is will be seen.
            if let Err(row) = session.split(rows) {
                self.give_up(&row, &format!("refused {times} times with \"unspecified error\""));
            }
            return None;
        }
        match self.refusals.quarantine.admit(topic, first, now) {
            Admit::Send => Some(rows),
            Admit::Held(_) if self.was_retried() => Some(rows),
            Admit::Held(why) => {
                let why = format!("its topic is held back: {why}");
                rows.iter().for_each(|row| self.give_up(row, &why));
                None
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
            Allowed::Full => session.room() > 0,
            Allowed::One => session.in_flight() == 0 && session.room() > 0,
            Allowed::Ping | Allowed::Quiet => false,
        }
    }

    fn pace(&mut self, session: &Session) -> Allowed {
        self.refusals.suspect.pace(session.pongs(), Instant::now().into_std())
    }

    /// In careful mode, sends one message if it is time. `false`: the mode is another.
    pub(super) fn fill_carefully(&mut self, session: &mut Session) -> bool {
        if !self.refusals.suspect.is_careful() {
            let waiting = self.refusals.waiting.take();
            waiting.into_iter().for_each(|rows| self.send_rows(session, rows, Instant::now().into_std()));
            return false;
        }
        match self.pace(session) {
            Allowed::Ping => {
                // Two bytes: it always fits.
                let _ = session.ping(Instant::now().into_std());
            }
            Allowed::One if session.in_flight() == 0 => {
                let words_first = self.refusals.suspect.suspects_words();
                if words_first {
                    self.send_one_word(session);
                }
                self.send_one_row(session);
                if !words_first {
                    self.send_one_word(session);
                }
            }
            Allowed::One | Allowed::Quiet | Allowed::Full => {}
        }
        true
    }

    fn send_one_row(&mut self, session: &mut Session) {
        loop {
            let now = Instant::now().into_std();
            if session.in_flight() > 0 || session.room().min(self.pace.affords(now)) == 0 {
                return;
            }
            let next = self.refusals.waiting.take().or_else(|| session.take_kept());
            let next = next.or_else(|| self.handles.outlet.take(1).pop().map(Rows::from));
            let Some(rows) = next else { return };
            if rows.count() > 1 {
                // One at a time.
                let _ = session.split(rows);
            } else if self.may_send(&Item::Row(rows.first().position)) {
                self.send_rows(session, rows, now);
                self.note_sent(session);
            } else {
                self.refusals.waiting = Some(rows);
                return;
            }
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
    pub(super) fn examine(&mut self, ended: &Ended, in_flight: &[(Rows, usize)], failure: &Failure) {
        let now = Instant::now().into_std();
        self.refusals.waiting = None;
        self.refusals.quarantine.lost(now);
        if let Failure::Lost(Lost::Disconnected(reason @ Reason::TOO_LARGE, _), _) = failure {
            // The broker has a limit that it did not tell; the largest row is certainly over it.
            match in_flight.iter().max_by_key(|(_, bytes)| *bytes).map(|(rows, _)| rows) {
                Some(rows) if rows.count() > 1 => self.batch_max = rows.count() / 2,
                largest => {
                    largest.into_iter().for_each(|rows| self.give_up(rows.first(), &ReasonWords(*reason)));
                }
            }
            return;
        }
        let was_careful = self.refusals.suspect.is_careful();
        let condemned = self.refusals.suspect.ended(ended, now);
        if !was_careful && self.refusals.suspect.is_careful() {
            // It may be that no single row is too large.
            if let Some((rows, _)) = in_flight.first().filter(|(rows, _)| rows.count() > 1) {
                self.batch_max = rows.count() / 2;
            }
            tracing::warn!(
                bridge = %self.config.name,
                "the broker closes the connection again and again: sending one message at a time to find out \
                 which one it does not take"
            );
        }
        match condemned {
            Some(Item::Row(position)) => {
                let row = in_flight.iter().map(|(rows, _)| rows.first()).find(|row| row.position == position);
                row.into_iter().for_each(|row| self.condemn(row));
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
