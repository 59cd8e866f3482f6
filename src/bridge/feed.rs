//! What a bridge gives its session to send, and how much of it at a time.

use std::time::Instant;

use crate::mqtt::packet::Publish;
use crate::queue::Taken;
use crate::reading::{Body, Message, Reading};
use crate::render;

use super::batch::Rows;
use super::flights::Unsendable;
use super::session::Session;
use super::{Bridge, Handles, compress};

/// Rows taken from the queue at a time.
const TAKEN_MAX: usize = 64;

impl Bridge {
    /// Gives the session as much to send as it has room for and as the rate allows. No row is taken
    /// before it can go, or wait for the rest of its batch: until then the queue decides which is next.
    pub(super) fn fill(&mut self, session: &mut Session) {
        if self.fill_carefully(session) {
            return;
        }
        let share = session.words_share(self.pace.affords(now()));
        self.send_words(session, share);
        loop {
            let now = now();
            let Some(rows) = self.next_rows(session, now) else { break };
            self.send_rows(session, rows, now);
        }
        self.send_words(session, usize::MAX);
    }

    /// The rows of the next message that may be sent.
    fn next_rows(&mut self, session: &mut Session, now: Instant) -> Option<Rows> {
        let room = session.room().min(self.pace.affords(now));
        if room == 0 {
            return None;
        }
        if let Some(kept) = session.take_kept() {
            return Some(kept);
        }
        loop {
            if let Some(rows) = self.batches.next(now) {
                return Some(rows);
            }
            let taken = self.handles.outlet.take(self.batches.wanted(room).min(TAKEN_MAX));
            if taken.is_empty() {
                return None;
            }
            taken.into_iter().for_each(|row| self.batches.add(row, now));
        }
    }

    pub(super) fn send_words(&mut self, session: &mut Session, max: usize) {
        for _ in 0..max.min(self.pace.affords(now())) {
            let (now, before) = (now(), session.output().len());
            let unsendable = session.send_words(1, now);
            let is_sent = self.count_sent(session, before, now);
            if !is_sent && unsendable.is_empty() {
                break;
            }
            for Unsendable(topic, error) in unsendable {
                self.report.dead_letter(&topic, &error);
            }
        }
    }

    pub(super) fn send_rows(&mut self, session: &mut Session, rows: Rows, now: Instant) {
        let Some(mut publish) = self.publish(&rows) else { return };
        let Some(rows) = self.admit(session, rows, &publish.topic) else { return };
        (publish.topic, publish.qos) = self.forward.address(&publish.topic);
        self.receiver.sends(&rows.first().body, &mut publish, now);
        let before = session.output().len();
        if let Err(Unsendable(row, error)) = session.send_rows(rows, publish, now) {
            self.give_up(&row, &error);
        }
        self.count_sent(session, before, now);
    }

    /// Counts a message against the rate; whether there was one, behind the first `before` bytes.
    fn count_sent(&mut self, session: &mut Session, before: usize, now: Instant) -> bool {
        let bytes = session.output().len().saturating_sub(before);
        if bytes > 0 {
            self.pace.sent(bytes, now);
        }
        bytes > 0
    }

    /// The message for `rows`; `None` where it is too late for it.
    fn publish(&self, rows: &Rows) -> Option<Publish> {
        let Handles { queue, topics, .. } = &self.handles;
        let wall = |at| queue.clock().wall(at);
        let row = rows.first();
        if let (Some(batch), Body::Reading(first)) = (&self.config.batch, &*row.body) {
            let mut publish = render::batch(&first.device, rows.iter().filter_map(reading), wall, topics);
            if let Some(coding) = batch.compress {
                compress::compress(&mut publish, coding);
            }
            return Some(publish);
        }
        let expiry_s = self.left_s(row)?;
        let publish = render::publish(&row.body, wall, row.late, topics);
        Some(Publish { expiry_s, ..publish })
    }

    /// How many seconds `row` is of use yet, where it has an end; `None`: it was too late for it.
    fn left_s(&self, row: &Taken) -> Option<Option<u32>> {
        let Body::Message(Message { expiry: Some(expiry), .. }) = &*row.body else { return Some(None) };
        let left = expiry.left_s(self.handles.queue.clock().passed_us(expiry.since));
        if left.is_none() {
            self.handles.outlet.expired(row.position, &row.body);
        }
        left.map(Some)
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// A reading, and whether it waited.
fn reading(row: &Taken) -> Option<(&Reading, bool)> {
    match &*row.body {
        Body::Reading(reading) => Some((reading, row.late)),
        Body::Event(_) | Body::Message(_) => None,
    }
}
