//! What a bridge does with the session at the broker, and with what that sends.

use std::time::Duration;

use tokio::time::Instant;

use crate::config;
use crate::mqtt::packet::{Publish, Reason, Version};
use crate::queue::acks::Due;

use super::Bridge;
use super::batch::{Batches, readings_in};
use super::carry::{Ended, Left};
use super::flights::Outcome;
use super::link::{Connection, Failure};
use super::lost::Words;
use super::receive::Took;
use super::session::Session;
use super::subscribe::Answer;

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

    /// The connection is gone. What is in flight stays with the session, or goes back to the queue.
    /// `too_large` is why the broker ended it, where a message was too large. Gives how many readings
    /// may arrive twice.
    pub(super) fn put_down(&mut self, mut session: Session, too_large: Option<Reason>) -> u64 {
        self.receiver.disconnected();
        self.refuse_left(&mut session);
        let Ended { memory, left } = session.end(too_large.is_none());
        self.memory = memory;
        match left {
            // So does what waits for its batch.
            Left::Stay { unsure } => readings_in(&unsure),
            Left::Back(in_flight) => {
                // The broker has a limit that it did not tell; the largest message is certainly over it.
                let largest = in_flight.iter().max_by_key(|(_, bytes)| *bytes).map(|(rows, _)| rows);
                match (too_large, largest) {
                    (Some(_), Some(rows)) if rows.count() > 1 => self.batch_max = rows.count() / 2,
                    (Some(reason), Some(rows)) => self.give_up(rows.first(), &Words(reason)),
                    _ => {}
                }
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
