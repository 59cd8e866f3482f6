//! PUBACKs and PUBRECs that a peer has coming, in the order of its PUBLISHes.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::sync::oneshot;

use crate::flow::Kept;
use crate::mqtt::packet::{PacketId, Reason};

use super::{Safe, Ticket};

/// The acknowledgements of one session that have not been sent. Those that are ready wait for
/// those before them that are not (MQTT 5.0, 4.6).
#[derive(Debug, Default)]
pub struct Acks {
    waiting: VecDeque<(Due, Verdict)>,
    /// PUBRECs that an earlier connection did not get. The peer has to send the message again,
    /// on this one, to get it.
    left_over: HashMap<PacketId, Verdict>,
}

/// Which acknowledgement is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// PUBACK.
    PubAck(PacketId),
    /// PUBREC.
    PubRec(PacketId),
}

/// What it says, or what it depends on.
#[derive(Debug)]
pub enum Verdict {
    /// That.
    Known(Reason),
    /// Success, once the message is safe in the queue.
    WhenSafe(Ticket),
    /// Success, once the local broker has it safe.
    WhenKept(Kept),
    /// Success, once both have it safe.
    WhenBoth(Ticket, Kept),
}

impl Verdict {
    /// Success, once the message is safe wherever it has to be; or `otherwise`, if nowhere.
    #[must_use]
    pub fn when(queue: Option<Ticket>, broker: Option<Kept>, otherwise: Reason) -> Self {
        match (queue, broker) {
            (Some(ticket), Some(kept)) => Self::WhenBoth(ticket, kept),
            (Some(ticket), None) => Self::WhenSafe(ticket),
            (None, Some(kept)) => Self::WhenKept(kept),
            (None, None) => Self::Known(otherwise),
        }
    }

    /// The same, and once the local broker has it safe.
    #[must_use]
    pub fn and(self, broker: Option<Kept>) -> Self {
        match (self, broker) {
            (Self::Known(reason), Some(kept)) if !reason.is_failure() => Self::WhenKept(kept),
            (Self::WhenSafe(ticket), Some(kept)) => Self::WhenBoth(ticket, kept),
            (verdict, _) => verdict,
        }
    }

    /// The reason, as soon as it is known; an error if the message will never be safe.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Reason, ()>> {
        loop {
            match self {
                Self::Known(reason) => return Poll::Ready(Ok(*reason)),
                Self::WhenSafe(ticket) => match ready!(Pin::new(ticket).poll(cx)) {
                    Ok(Safe::Delivered | Safe::Durable) => return Poll::Ready(Ok(Reason::SUCCESS)),
                    Err(_) => return Poll::Ready(Err(())),
                },
                Self::WhenKept(kept) => {
                    let kept = ready!(Pin::new(kept).poll(cx));
                    return Poll::Ready(kept.map(|()| Reason::SUCCESS).map_err(|_| ()));
                }
                Self::WhenBoth(ticket, kept) => {
                    if ready!(Pin::new(ticket).poll(cx)).is_err() {
                        return Poll::Ready(Err(()));
                    }
                    // The first is asked no more.
                    let (_, never) = oneshot::channel();
                    *self = Self::WhenKept(std::mem::replace(kept, never));
                }
            }
        }
    }
}

/// An acknowledgement whose turn has come.
pub type Next = Result<(Due, Reason), Lost>;

/// The queue gave a message up: it must not be acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost(pub Due);

impl Acks {
    /// An acknowledgement is due after all those that are.
    pub fn push(&mut self, due: Due, verdict: Verdict) {
        self.waiting.push_back((due, verdict));
    }

    /// A QoS 2 message came again before it was safe. Its PUBREC is due: here already, or to be
    /// taken over from an earlier connection.
    pub fn push_again(&mut self, id: PacketId) {
        if let Some(verdict) = self.left_over.remove(&id) {
            self.push(Due::PubRec(id), verdict);
        }
    }

    /// The peer released that id, so it waits for nothing.
    pub fn released(&mut self, id: PacketId) {
        self.left_over.remove(&id);
    }

    /// The connection is over. PUBACKs and refusals die with it: the peer will publish again.
    pub fn disconnected(&mut self) {
        for (due, verdict) in self.waiting.drain(..) {
            match (due, &verdict) {
                (Due::PubRec(_), Verdict::Known(reason)) if reason.is_failure() => {}
                (Due::PubRec(id), _) => drop(self.left_over.insert(id, verdict)),
                (Due::PubAck(_), _) => {}
            }
        }
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none does.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The first one, as soon as it is ready; never while there is none.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        let Some((due, verdict)) = self.waiting.front_mut() else { return Poll::Pending };
        let due = *due;
        let answer = ready!(verdict.poll(cx));
        self.waiting.pop_front();
        Poll::Ready(answer.map(|reason| (due, reason)).map_err(|()| Lost(due)))
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn id(n: u16) -> PacketId {
        PacketId::new(n).unwrap()
    }

    fn poll(acks: &mut Acks) -> Poll<Next> {
        acks.poll_next(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn what_is_ready_waits_for_what_came_before_it() {
        let mut acks = Acks::default();
        let (safe, ticket) = oneshot::channel();
        acks.push(Due::PubAck(id(1)), Verdict::WhenSafe(ticket));
        acks.push(Due::PubRec(id(2)), Verdict::Known(Reason::NO_SUBSCRIBERS));
        assert_eq!(poll(&mut acks), Poll::Pending);
        safe.send(Safe::Durable).unwrap();
        assert_eq!(poll(&mut acks), Poll::Ready(Ok((Due::PubAck(id(1)), Reason::SUCCESS))));
        assert_eq!(poll(&mut acks), Poll::Ready(Ok((Due::PubRec(id(2)), Reason::NO_SUBSCRIBERS))));
        assert_eq!(poll(&mut acks), Poll::Pending);
    }

    #[test]
    fn what_two_files_must_have_waits_for_both() {
        for queue_first in [true, false] {
            let mut acks = Acks::default();
            let ((safe, ticket), (sender, kept)) = (oneshot::channel(), oneshot::channel());
            acks.push(Due::PubAck(id(1)), Verdict::WhenSafe(ticket).and(Some(kept)));
            let (mut safe, mut sender) = (Some(safe), Some(sender));
            for is_queue in [queue_first, !queue_first] {
                assert_eq!(poll(&mut acks), Poll::Pending);
                if is_queue {
                    safe.take().unwrap().send(Safe::Durable).unwrap();
                } else {
                    sender.take().unwrap().send(()).unwrap();
                }
            }
            assert_eq!(poll(&mut acks), Poll::Ready(Ok((Due::PubAck(id(1)), Reason::SUCCESS))));
        }
        let refused = Verdict::Known(Reason::QUOTA).and(Some(oneshot::channel().1));
        assert!(matches!(refused, Verdict::Known(Reason::QUOTA)));
    }

    #[test]
    fn a_message_given_up_is_lost() {
        let mut acks = Acks::default();
        let (safe, ticket) = oneshot::channel();
        acks.push(Due::PubAck(id(1)), Verdict::WhenSafe(ticket));
        drop(safe);
        assert_eq!(poll(&mut acks), Poll::Ready(Err(Lost(Due::PubAck(id(1))))));
    }

    #[test]
    fn over_a_reconnection_only_qos_2_goes_on_and_only_when_it_comes_again() {
        let mut acks = Acks::default();
        let (once, ticket) = oneshot::channel();
        acks.push(Due::PubAck(id(1)), Verdict::WhenSafe(ticket));
        let (exactly, ticket) = oneshot::channel();
        acks.push(Due::PubRec(id(2)), Verdict::WhenSafe(ticket));
        acks.push(Due::PubRec(id(3)), Verdict::Known(Reason::SUCCESS));
        acks.push(Due::PubRec(id(4)), Verdict::Known(Reason::QUOTA));
        acks.push(Due::PubRec(id(5)), Verdict::Known(Reason::SUCCESS));
        acks.disconnected();
        acks.released(id(5));
        assert_eq!(acks.len(), 0);
        assert!(once.send(Safe::Durable).is_err(), "nobody waits for it");
        exactly.send(Safe::Durable).unwrap();
        assert_eq!(poll(&mut acks), Poll::Pending);
        for n in [2, 2, 3, 4, 5] {
            acks.push_again(id(n));
        }
        assert_eq!(poll(&mut acks), Poll::Ready(Ok((Due::PubRec(id(2)), Reason::SUCCESS))));
        assert_eq!(poll(&mut acks), Poll::Ready(Ok((Due::PubRec(id(3)), Reason::SUCCESS))));
        assert_eq!(poll(&mut acks), Poll::Pending);
    }
}
