//! The queue's side towards operators: they ask, the storage thread answers when it has time.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::clock::boottime_us;
use crate::reading::Body;

use super::operate::{Answer, Checked, LetterSlice, Reply, Slice, Task, Which};
use super::{Full, Queue, State, Ticket};

/// Who waits for an answer, by the number of the request.
pub(crate) type Replies = HashMap<u64, oneshot::Sender<Answer>>;

/// Why an operator gets no answer, in words.
#[derive(Debug, thiserror::Error)]
#[error("the queue cannot do that: {0}")]
pub struct Unanswered(String);

impl State {
    /// Gives the answers there are to those who wait for them.
    pub(super) fn answer(&mut self) {
        for (id, answer) in self.core.take_answers() {
            if let Some(reply) = self.replies.remove(&id) {
                // Whoever asked may have gone.
                let _ = reply.send(answer);
            }
        }
    }
}

impl Queue {
    /// The names of the bridges, in the order of their indexes.
    pub fn bridges(&self) -> impl Iterator<Item = &str> {
        self.0.interest.consumers.iter().map(|consumer| consumer.name.as_str())
    }

    /// Holds bridge `index`, or lets it go. Lasts until the daemon ends.
    pub fn set_paused(&self, index: usize, paused: bool) {
        self.0.state().core.set_paused(index, paused);
        self.0.call_bridges();
    }

    /// The position behind all that was taken so far.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.0.state().core.end()
    }

    /// Some of the entries that wait for bridge `bridge` (else for any), from position `from` on.
    /// Nothing is touched.
    ///
    /// # Errors
    /// [`Unanswered`], see there.
    pub async fn peek(&self, bridge: Option<usize>, from: u64) -> Result<Slice, Unanswered> {
        match self.ask(|state| state.core.ask(Task::Read { bridge, from })).await? {
            Reply::Read(mut slice) => {
                let interest = &self.0.interest;
                if let Some(consumer) = bridge.and_then(|index| interest.consumers.get(index)) {
                    slice.entries.retain(|entry| interest.wants_one(consumer, &entry.body));
                }
                Ok(slice)
            }
            other => Err(mistaken(&other)),
        }
    }

    /// Gives up what waits now and is meant by `which`; gives how many that were.
    ///
    /// # Errors
    /// [`Unanswered`]; what was given up until then is counted.
    pub async fn purge(&self, which: Which) -> Result<u64, Unanswered> {
        match self.ask(|state| state.core.ask_purge(which, boottime_us())).await? {
            Reply::Purged(purged) => Ok(purged),
            other => Err(mistaken(&other)),
        }
    }

    /// Checks some of the chunks behind the one named `after`.
    ///
    /// # Errors
    /// [`Unanswered`], see there.
    pub async fn verify(&self, after: Option<u64>) -> Result<Checked, Unanswered> {
        match self.ask(|state| state.core.ask(Task::Verify { after })).await? {
            Reply::Verified(checked) => Ok(checked),
            other => Err(mistaken(&other)),
        }
    }

    /// Takes an entry that came out of another file. It is no news to anybody here, so the tap gets no
    /// copy, and it is committed without delay. Gives whether a bridge wants it, and its ticket.
    ///
    /// # Errors
    /// [`Full`]: nothing was taken.
    pub fn import(&self, body: &Arc<Body>) -> Result<(bool, Ticket), Full> {
        let wants = self.0.interest.wants(body);
        let (sender, ticket) = oneshot::channel();
        self.0.change(|core| core.import(Arc::clone(body), wants, sender, boottime_us()))?;
        if wants != 0 {
            self.0.call_bridges();
        }
        Ok((wants != 0, ticket))
    }

    /// Some of the dead letters behind the one numbered `after`. Those that are not on disk yet are not
    /// among them: that takes a moment.
    ///
    /// # Errors
    /// [`Unanswered`], see there.
    pub async fn dead_letters(&self, after: Option<u64>) -> Result<LetterSlice, Unanswered> {
        match self.ask(|state| state.core.ask(Task::Letters { after })).await? {
            Reply::Letters(slice) => Ok(slice),
            other => Err(mistaken(&other)),
        }
    }

    /// Takes the dead letters with these numbers out for good, at most
    /// [`LETTERS_DROPPED_MAX`](super::operate::LETTERS_DROPPED_MAX). Gives how many there were.
    ///
    /// # Errors
    /// [`Unanswered`], see there.
    pub async fn drop_dead_letters(&self, numbers: Vec<u64>) -> Result<u64, Unanswered> {
        match self.ask(|state| state.core.ask(Task::DropLetters { numbers })).await? {
            Reply::LettersDropped(dropped) => Ok(dropped),
            other => Err(mistaken(&other)),
        }
    }

    /// Whether bridge `index` still wants `body`.
    #[must_use]
    pub fn wants(&self, index: usize, body: &Body) -> bool {
        let interest = &self.0.interest;
        interest.consumers.get(index).is_some_and(|consumer| interest.wants_one(consumer, body))
    }

    /// Takes the entry of a dead letter once more, for bridge `index` alone; gives its ticket.
    ///
    /// # Errors
    /// [`Full`]: nothing was taken.
    pub fn retry(&self, index: usize, body: &Arc<Body>) -> Result<Ticket, Full> {
        let (sender, ticket) = oneshot::channel();
        self.0.change(|core| core.retry(index, Arc::clone(body), sender, boottime_us()))?;
        self.0.call_bridges();
        Ok(ticket)
    }

    async fn ask(&self, how: impl FnOnce(&mut State) -> Result<u64, String>) -> Result<Reply, Unanswered> {
        let (sender, receiver) = oneshot::channel();
        {
            let mut state = self.0.state();
            let id = how(&mut state).map_err(Unanswered)?;
            state.replies.insert(id, sender);
            self.0.call_worker(&mut state);
        }
        let stopped = |_| Unanswered("it is stopping".into());
        receiver.await.map_err(stopped)?.map_err(Unanswered)
    }
}

/// Requests and answers bear the same number, so this does not come about.
fn mistaken(reply: &Reply) -> Unanswered {
    Unanswered(format!("unexpected answer {reply:?}"))
}
