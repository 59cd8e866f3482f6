//! What a bridge does with the session at the broker, and with what that sends.

use std::time::Duration;

use tokio::time::Instant;

use crate::config;
use crate::mqtt::packet::{Publish, Reason, Version};
use crate::queue::acks::Due;

use super::Bridge;
use super::batch::{Batches, readings_in};
use super::carry::{self, Left};
use super::flights::Outcome;
use super::link::{Connection, Failure};
use super::lost::Lost;
use super::receive::Took;
use super::session::Session;
use super::subscribe::Answer;
use super::suspect::Ended;

impl Bridge {
    /// Goes on with the session, as far as the broker remembers it.
    pub(super) fn resume(
        &mut self,
        connection: &mut Connection,
        outcomes: &mut Vec<Outcome>,
    ) -> Result<(), Failure> {
        let most = connection.session.maximum_qos();
        if self.forward.highest_qos() > most {
            self.report.downgraded(most);
        }
        let now = Instant::now().into_std();
        self.receiver.connected(self.hello.version() == Version::V3, now);
        let (memory, session) = (std::mem::take(&mut self.memory), &mut connection.session);
        let stranded = session.resume(memory, &self.terms, now);
        if !session.is_present() {
            self.receiver.forget();
        }
        if let Some(rows) = stranded {
            self.rewind();
            self.report.duplicates_possible(readings_in(&rows));
        }
        let sent_again = connection.session.output().len();
        if sent_again > 0 {
            self.pace.sent(sent_again, now);
        }
        connection.take_rest(outcomes)
    }

    /// Tells the session of messages that were not taken.
    pub(super) fn refuse_left(&mut self, session: &mut Session) {
        self.receiver.left().into_iter().for_each(|due| session.refuse(due));
    }

    /// What is due from time to time.
    pub(super) fn receiver_pulse(&mut self) -> Result<(), Failure> {
        Ok(self.receiver.pulse(Instant::now().into_std())?)
    }

    /// What the cloud says that is not about our own messages.
    pub(super) fn hear(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Received(publish, due) => self.receive(*publish, due),
            Outcome::ReceivedAgain(id, was_acknowledged) => self.receiver.again(id, was_acknowledged),
            Outcome::Released(id) => self.receiver.released(id),
            Outcome::Subscribed(answers) => self.subscribed(&answers),
            Outcome::Delivered(_)
            | Outcome::RowRefused(..)
            | Outcome::WordRefused(..)
            | Outcome::Failed(_)
            | Outcome::TooMuch(_) => {}
        }
    }

    fn receive(&mut self, publish: Publish, due: Option<Due>) {
        match self.receiver.take(publish, due, Instant::now().into_std()) {
            Took::All => self.report.received(true),
            Took::Nothing => self.report.received(false),
            Took::Later => {}
        }
    }

    fn subscribed(&mut self, answers: &[Answer]) {
        for answer in answers {
            if let Some(reason) = self.report.subscribed(answer) {
                self.announce("subscription_refused", Some(reason));
            }
        }
    }

    /// The connection is gone. What is in flight stays with the session, or goes back to the queue: the
    /// latter where one of the messages may be what the broker does not bear. `why` it is gone, unless
    /// we ended it. Gives how many readings may arrive twice.
    pub(super) fn put_down(&mut self, mut session: Session, why: Option<(&Ended, &Failure)>) -> u64 {
        self.receiver.disconnected();
        self.refuse_left(&mut session);
        let is_too_large =
            matches!(why, Some((_, Failure::Lost(Lost::Disconnected(Reason::TOO_LARGE, _), _))));
        let may_stay = !is_too_large && !self.refusals.suspect.is_careful();
        let carry::Ended { memory, left } = session.end(may_stay);
        self.memory = memory;
        match left {
            // So does what waits for its batch.
            Left::Stay { unsure } => {
                why.into_iter().for_each(|(ended, failure)| self.examine(ended, &[], failure));
                readings_in(&unsure)
            }
            Left::Back(in_flight) => {
                why.into_iter().for_each(|(ended, failure)| self.examine(ended, &in_flight, failure));
                self.rewind();
                readings_in(in_flight.iter().map(|(rows, _)| rows))
            }
        }
    }

    /// Everything that is not done is taken from the queue again.
    fn rewind(&mut self) {
        self.handles.outlet.rewind();
        self.batches = batches(&self.config, self.batch_max);
    }
}

/// Nothing that waits, for messages of at most `max` rows.
pub(super) fn batches(config: &config::Bridge, max: usize) -> Batches {
    Batches::new(max, config.batch.map_or(Duration::ZERO, |batch| batch.within))
}

/// Most rows in one message, as configured.
pub(super) fn batch_max(config: &config::Bridge) -> usize {
    config.batch.map_or(1, |batch| batch.max)
}
