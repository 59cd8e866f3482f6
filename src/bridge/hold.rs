//! Messages from the cloud that wait for local clients to come back after a start of the daemon.
//!
//! The cloud sends what it kept for us as soon as we connect. A local client needs a moment longer, and
//! where its session is not kept the local broker forgot its subscription with the restart: without this
//! it would miss the commands that were sent meanwhile. A session that is kept need not be waited for:
//! the local broker keeps the message for it. The broker itself has to have read its file before.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::flow::Passed;
use crate::mqtt::packet::Publish;
use crate::queue::acks::{Due, Verdict};

/// Local clients have this long to come back.
const BACK_WITHIN: Duration = Duration::from_secs(15);
/// Messages that may wait.
const HELD_MAX: usize = 1000;
/// Payload bytes that may wait.
const HELD_BYTES: usize = 4 * 1024 * 1024;

/// What waits, in its order.
#[derive(Debug)]
pub(super) struct Hold {
    until: Instant,
    waiting: VecDeque<Held>,
    bytes: usize,
}

/// A message, or only the acknowledgement of one that was not for local clients.
#[derive(Debug)]
pub(super) struct Held {
    /// What the local broker is to get.
    pub(super) publish: Option<Publish>,
    /// Which acknowledgement waits with it: they go out in order.
    pub(super) due: Due,
    /// What that says.
    pub(super) verdict: Verdict,
}

impl Hold {
    /// The daemon starts at `now`.
    pub(super) fn new(now: Instant) -> Self {
        Self { until: now + BACK_WITHIN, waiting: VecDeque::new(), bytes: 0 }
    }

    /// Whether there is room for one more. There always is while nothing waits.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < HELD_MAX && self.bytes < HELD_BYTES
    }

    /// Takes `held`, and gives what need not wait (any longer): `give` gives a message to the local
    /// broker, which may not be ready. It keeps retained ones for clients that come later.
    pub(super) fn pass(
        &mut self,
        held: Option<Held>,
        now: Instant,
        give: impl Fn(&Publish) -> Option<Passed>,
    ) -> Vec<(Due, Verdict)> {
        self.bytes += held.as_ref().map_or(0, Held::bytes);
        self.waiting.extend(held);
        let mut done = Vec::new();
        while let Some(first) = self.waiting.pop_front() {
            let passed = match &first.publish {
                None => Some(Passed::default()),
                Some(publish) => {
                    give(publish).filter(|passed| passed.reached > 0 || publish.retain || now >= self.until)
                }
            };
            let Some(Passed { kept, .. }) = passed else {
                self.waiting.push_front(first);
                break;
            };
            self.bytes -= first.bytes();
            done.push((first.due, first.verdict.and(kept)));
        }
        done
    }

    /// The connection is gone: the cloud will send again what waits.
    pub(super) fn clear(&mut self) -> Vec<Due> {
        self.bytes = 0;
        self.waiting.drain(..).map(|held| held.due).collect()
    }
}

impl Held {
    fn bytes(&self) -> usize {
        self.publish.as_ref().map_or(0, |publish| publish.payload.len())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::mqtt::packet::{PacketId, Qos, Reason};

    fn held(id: u16, publish: Option<Publish>) -> Option<Held> {
        let due = Due::PubAck(PacketId::new(id).unwrap());
        Some(Held { publish, due, verdict: Verdict::Known(Reason::SUCCESS) })
    }

    fn message(retain: bool) -> Option<Publish> {
        Some(Publish::new("t", "x", Qos::AtLeastOnce, retain))
    }

    #[test]
    fn what_reaches_nobody_waits_for_a_while_after_the_start_and_keeps_its_place() {
        const NONE: [u16; 0] = [];
        let now = Instant::now();
        let mut hold = Hold::new(now);
        let somebody = Cell::new(false);
        let mut pass = |held, now| -> Vec<u16> {
            let reached = usize::from(somebody.get());
            let done = hold.pass(held, now, |_| Some(Passed { reached, kept: None }));
            let ids = done.iter().map(|(due, _)| match due {
                Due::PubAck(id) | Due::PubRec(id) => id.get(),
            });
            ids.collect()
        };
        assert_eq!(pass(held(1, message(true)), now), [1], "the local broker keeps it");
        assert_eq!(pass(held(2, message(false)), now), NONE);
        assert_eq!(pass(held(3, None), now), NONE, "in order");
        somebody.set(true);
        assert_eq!(pass(None, now), [2, 3]);
        assert_eq!(pass(held(4, message(false)), now), [4]);
        somebody.set(false);
        assert_eq!(pass(held(5, message(false)), now), NONE);
        assert_eq!(pass(None, now + BACK_WITHIN), [5], "nobody wants it");
        assert_eq!(pass(held(6, message(false)), now + BACK_WITHIN), [6]);
        pass(held(7, message(false)), now);
        assert_eq!(hold.clear().len(), 1);
        assert_eq!(hold.bytes, 0);
    }

    #[test]
    fn everything_waits_for_a_broker_that_is_not_ready() {
        let now = Instant::now();
        let late = now + BACK_WITHIN * 2;
        let mut hold = Hold::new(now);
        assert!(hold.pass(held(1, message(true)), late, |_| None).is_empty());
        let (_, kept) = tokio::sync::oneshot::channel();
        let kept = std::cell::RefCell::new(Some(kept));
        let done = hold.pass(None, late, |_| Some(Passed { reached: 1, kept: kept.borrow_mut().take() }));
        let [(_, Verdict::WhenKept(_))] = &done[..] else { panic!("{done:?}") };
    }
}
