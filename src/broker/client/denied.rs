//! What a client may not do, and what it hears of it.

use super::super::login::Revoked;
use super::super::losses::Loss;
use super::{Client, End, now};
use crate::mqtt::packet::{Reason, Subscribe, SubscribeFilter, Version};
use crate::queue::acks::{Due, Verdict};

impl Client {
    /// Does what follows from a change of who may do what.
    pub(in crate::broker) fn review(&mut self) -> Result<(), End> {
        match self.login.review(&self.client_id) {
            Ok(false) => Ok(()),
            Ok(true) => self.end_denied(),
            Err(Revoked) => {
                // Its will would be a message that it may not publish any more.
                self.seat.farewell.drops_will = true;
                Err(End::Refused { reason: Reason::NOT_AUTHORIZED, why: "its user is gone" })
            }
        }
    }

    /// Subscribes to those filters that the client may have; a reason code for each.
    pub(super) fn subscribe_to_allowed(&self, subscribe: &Subscribe) -> Result<Vec<Reason>, End> {
        let denied = |wanted: &SubscribeFilter| !self.login.rights().may_subscribe(&wanted.filter);
        if !subscribe.filters.iter().any(denied) {
            return Ok(self.broker().lock().subscribe(self.place(), subscribe)?);
        }
        let (refused, granted): (Vec<_>, Vec<_>) = subscribe.filters.iter().cloned().partition(denied);
        for wanted in refused {
            self.tell_denied("subscribe", &wanted.filter);
        }
        let rest = Subscribe { filters: granted, ..subscribe.clone() };
        let mut reasons = self.broker().lock().subscribe(self.place(), &rest)?.into_iter();
        let answer = |wanted| if denied(wanted) { None } else { reasons.next() };
        let answers = subscribe.filters.iter().map(answer);
        Ok(answers.map(|reason| reason.unwrap_or(Reason::NOT_AUTHORIZED)).collect())
    }

    /// Whether the client may publish to `topic`. What it may not is counted and told.
    pub(super) fn may_publish(&self, topic: &str) -> bool {
        let may = self.login.rights().may_publish(topic);
        if !may {
            self.broker().lock().count_lost(Loss::Denied);
            self.tell_denied("publish", topic);
        }
        may
    }

    /// Answers a message that the client may not publish. 3.1.1 has no word for it: the client is
    /// told that all is well, as Mosquitto does, since without an acknowledgement it would send the
    /// message again for ever.
    pub(super) fn deny(&mut self, due: Due) -> Result<(), End> {
        let reason = match self.version {
            Version::V3 => Reason::SUCCESS,
            Version::V5 => Reason::NOT_AUTHORIZED,
        };
        if let (Due::PubRec(id), Version::V5) = (due, self.version) {
            self.with_session(|session| session.incoming.refused(id))?;
        }
        self.push_ack(due, Verdict::Known(reason))
    }

    /// Ends the subscriptions that the client may not have any more, and forgets a will that it may
    /// not have.
    pub(super) fn end_denied(&self) -> Result<(), End> {
        let rights = self.login.rights();
        self.broker().lock().keep_will_if(self.place(), |topic| rights.may_publish(topic))?;
        let denied = self.with_session(|session| {
            session.filters.keys().filter(|filter| !rights.may_subscribe(filter)).cloned().collect::<Vec<_>>()
        })?;
        for filter in &denied {
            self.tell_denied("stay subscribed", filter);
        }
        if !denied.is_empty() {
            self.broker().lock().unsubscribe(self.place(), &denied)?;
        }
        Ok(())
    }

    /// Tells that the client may not do something, though not each time.
    fn tell_denied(&self, what: &'static str, topic: &str) {
        if self.broker().0.logins.is_news(&self.client_id, topic, now()) {
            let user = self.login.identity.user().map(|user| &**user);
            tracing::warn!(client = &*self.client_id, user, topic, "not allowed to {what}");
        }
    }
}
