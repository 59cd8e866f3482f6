//! Messages from the cloud: where they go, and when they are acknowledged.
//!
//! ```text
//! cloud ──Session──> Receiver ──queue, for other bridges──> ticket ──> acknowledgement
//!                        └────LocalPublish──> local broker
//! ```
//! A message is acknowledged once it is safe in the queue, if another bridge wants it, and with the
//! local broker, if that keeps it for somebody. Where the queue has no room it is not taken, and neither is anything after it:
//! that would turn the order round. The broker has to send all that again, on the next connection.

use std::collections::HashSet;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config;
use crate::flow::LocalPublish;
use crate::mqtt::packet::{PacketId, Publish, Reason};
use crate::queue::Queue;
use crate::queue::acks::{self, Acks, Due, Verdict};
use crate::reading::Body;
use crate::topic::{Routes, Topics, is_valid_name};

use super::Handles;
use super::echo::Echoes;
use super::hold::{Held, Hold};
use super::lost::Lost;

/// For so long the rest of the work goes on after a message found no room; then the connection ends,
/// so that the message can come again.
const FULL_FOR: Duration = Duration::from_secs(10);
/// Topics and reasons that were logged: more are counted only.
const TOLD_MAX: usize = 256;

/// Takes what the cloud sends.
#[derive(Debug)]
pub(super) struct Receiver {
    bridge: Arc<str>,
    routes: Routes,
    topics: Topics,
    queue: Queue,
    local: LocalPublish,
    acks: Acks,
    /// Messages that were not taken, and are to come again.
    left: Vec<Due>,
    /// Since when nothing is taken.
    full_since: Option<Instant>,
    hold: Hold,
    echoes: Option<Echoes>,
    told: HashSet<(Arc<str>, &'static str)>,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Took {
    /// It went to the local broker, and to other bridges.
    All,
    /// It is none of ours, and acknowledged all the same.
    Nothing,
    /// There is no room for it now.
    Later,
}

impl Receiver {
    pub(super) fn new(config: &config::Bridge, handles: &Handles, now: Instant) -> Self {
        Self {
            bridge: config.name.as_str().into(),
            routes: config.receive.clone(),
            topics: handles.topics.clone(),
            queue: handles.queue.clone(),
            local: handles.local.clone(),
            acks: Acks::default(),
            left: Vec::new(),
            full_since: None,
            hold: Hold::new(now),
            echoes: None,
            told: HashSet::new(),
        }
    }

    // === Connections ===

    /// A new connection. `echoes` says that the cloud sends our own messages back to us.
    pub(super) fn connected(&mut self, echoes: bool, now: Instant) {
        self.full_since = None;
        self.left.clear();
        self.echoes = echoes.then(|| self.echoes.take().unwrap_or_default());
        if let Some(echoes) = &mut self.echoes {
            echoes.reconnected(now);
        }
    }

    /// The connection is gone. What was not acknowledged will come again.
    pub(super) fn disconnected(&mut self) {
        self.acks.disconnected();
        self.left.extend(self.hold.clear());
    }

    /// The cloud knows nothing of the session any more.
    pub(super) fn forget(&mut self) {
        self.acks = Acks::default();
    }

    // === Messages ===

    /// Notes that `publish`, which is `body`, goes to the cloud.
    pub(super) fn sends(&mut self, body: &Body, publish: &mut Publish, now: Instant) {
        if !self.routes.is_empty() && matches!(body, Body::Message(_)) {
            self.topics.mark_sent(&mut publish.properties);
        }
        if let Some(echoes) = &mut self.echoes
            && self.routes.carry(&publish.topic)
        {
            echoes.expect(publish, now);
        }
    }

    /// Takes a message from the cloud; with QoS 1 and 2 an acknowledgement is `due` for it.
    pub(super) fn take(&mut self, mut publish: Publish, due: Option<Due>, now: Instant) -> Took {
        if let Some(due) = due
            && (self.full_since.is_some() || !self.hold.has_room())
        {
            self.leave(due, now);
            return Took::Later;
        }
        if let Some(why) = self.rename(&mut publish, now) {
            self.tell(&publish.topic, why);
            self.pass(None, due, Verdict::Known(Reason::SUCCESS), now);
            return Took::Nothing;
        }
        self.topics.mark_received(&self.bridge, &mut publish.properties);
        let verdict = match self.queue.offer(&publish) {
            Ok(Some(ticket)) => Verdict::WhenSafe(ticket),
            Ok(None) => Verdict::Known(Reason::SUCCESS),
            Err(_full) => {
                due.into_iter().for_each(|due| self.leave(due, now));
                return Took::Later;
            }
        };
        self.pass(Some(publish), due, verdict, now);
        Took::All
    }

    /// Gives a message to the local clients, and has it acknowledged.
    fn pass(&mut self, publish: Option<Publish>, due: Option<Due>, verdict: Verdict, now: Instant) {
        match (due, publish) {
            (Some(due), publish) => self.pass_held(Some(Held { publish, due, verdict }), now),
            // With QoS 0, nobody waits for a broker that is still starting.
            (None, Some(publish)) => drop(self.local.publish(publish)),
            (None, None) => {}
        }
    }

    fn pass_held(&mut self, held: Option<Held>, now: Instant) {
        let done = self.hold.pass(held, now, |publish| self.local.publish(publish.clone()));
        done.into_iter().for_each(|(due, verdict)| self.acks.push(due, verdict));
    }

    /// Does what is due from time to time.
    ///
    /// # Errors
    /// The connection is to end, so that messages that found no room can come again.
    pub(super) fn pulse(&mut self, now: Instant) -> Result<(), Lost> {
        self.pass_held(None, now);
        let is_stuck = self.full_since.is_some_and(|since| now >= since + FULL_FOR);
        if is_stuck { Err(Lost::QueueFull) } else { Ok(()) }
    }

    /// Gives `publish` its name here. Where it must not come in: why.
    fn rename(&mut self, publish: &mut Publish, now: Instant) -> Option<&'static str> {
        if self.topics.was_here(&publish.properties)
            || self.echoes.as_mut().is_some_and(|echoes| echoes.is_echo(publish, now))
        {
            return Some("it has been here before");
        }
        let Some((topic, _)) = self.routes.address(&publish.topic) else {
            return Some("no entry of `receive` matches it");
        };
        if !is_valid_name(&topic) {
            return Some("its name here would be no topic");
        }
        if self.topics.is_reserved(&topic) {
            return Some("nobody but this gateway may speak there; commands end with /set");
        }
        publish.topic = topic;
        None
    }

    fn tell(&mut self, topic: &Arc<str>, why: &'static str) {
        if self.told.len() < TOLD_MAX && self.told.insert((Arc::clone(topic), why)) {
            tracing::warn!(
                bridge = %self.bridge,
                %topic,
                reason = why,
                "message from the cloud not taken; more of this kind are counted as not_taken"
            );
        }
    }

    // === Acknowledgements ===

    /// A QoS 2 message came again; whether it was acknowledged before.
    pub(super) fn again(&mut self, id: PacketId, was_acknowledged: bool) {
        if was_acknowledged {
            self.acks.push(Due::PubRec(id), Verdict::Known(Reason::SUCCESS));
        } else {
            self.acks.push_again(id);
        }
    }

    /// The cloud forgot that id.
    pub(super) fn released(&mut self, id: PacketId) {
        self.acks.released(id);
    }

    /// How many acknowledgements wait.
    pub(super) fn waiting(&self) -> usize {
        self.acks.len()
    }

    /// The next message that is safe and may be acknowledged. Cancel safe.
    pub(super) async fn safe(&mut self) -> Due {
        loop {
            match poll_fn(|cx| self.acks.poll_next(cx)).await {
                Ok((due, _)) => return due,
                Err(acks::Lost(due)) => self.leave(due, tokio::time::Instant::now().into_std()),
            }
        }
    }

    fn leave(&mut self, due: Due, now: Instant) {
        self.left.push(due);
        self.full_since.get_or_insert(now);
    }

    /// Messages that were not taken since the last call.
    pub(super) fn left(&mut self) -> Vec<Due> {
        std::mem::take(&mut self.left)
    }
}
