//! Answers what operators ask of dead letters.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::control::{Answers, Chosen, DeadLetter, Response, Retried};
use crate::queue::letters::Letter;
use crate::queue::operate::LETTERS_DROPPED_MAX;
use crate::queue::{Queue, Ticket, portable};
use crate::reading::Body;
use crate::render;
use crate::topic;

use super::operator::{Operator, Refusal, gone, shown, words};

/// So much of a payload is shown, in bytes.
const SHOWN_BYTES: usize = 64;
/// How long the disk may take for those that are tried again.
const RETRY_PATIENCE: Duration = Duration::from_secs(60);
/// Between two attempts to find room for one.
const ROOM_AGAIN: Duration = Duration::from_millis(50);

impl Operator {
    pub(super) async fn dead_letters(&self, chosen: &Chosen, answers: &Answers) -> Result<Response, Refusal> {
        let mut letters = Letters::new(self.queue(), chosen)?;
        let mut told = 0;
        while let Some(some) = letters.next().await? {
            for (number, letter) in some {
                let line = Response::DeadLetter(self.told_of(number, &letter));
                answers.send(line).await.map_err(|_| gone())?;
                told += 1;
            }
        }
        Ok(Response::DeadLetters(told))
    }

    fn told_of(&self, number: u64, letter: &Letter) -> DeadLetter {
        let clock = self.queue().clock();
        let publish = |body| render::publish(&body, |at| clock.wall(at), true, self.topics());
        let payload = portable::read(&letter.entry).map(publish).map_or_else(
            // Of a later version, say.
            |_| letter.entry.to_string().into(),
            |publish| publish.payload,
        );
        let (text, hex) = shown(&payload, SHOWN_BYTES);
        DeadLetter {
            number,
            time: render::time::moment(letter.unix_us),
            bridge: letter.bridge.to_string(),
            topic: letter.topic.to_string(),
            reason: letter.reason.clone(),
            bytes: payload.len() as u64,
            payload: text,
            payload_hex: hex,
        }
    }

    /// Puts them into the queue; each is removed once it is safe there.
    pub(super) async fn retry_dead_letters(&self, chosen: &Chosen) -> Result<Retried, Refusal> {
        let mut letters = Letters::new(self.queue(), chosen)?;
        let mut done = Retried::default();
        while let Some(some) = letters.next().await? {
            for part in some.chunks(LETTERS_DROPPED_MAX) {
                let outcome = self.retry(part, &mut done).await;
                outcome.map_err(|error| format!("{error}; {} were retried before", done.retried))?;
            }
        }
        tracing::info!(?chosen, ?done, "an operator had dead letters tried again");
        Ok(done)
    }

    async fn retry(&self, letters: &[(u64, Letter)], done: &mut Retried) -> Result<(), Refusal> {
        let (mut numbers, mut tickets) = (Vec::new(), Vec::new());
        for (number, letter) in letters {
            let index = self.queue().bridges().position(|bridge| *bridge == *letter.bridge);
            let body = portable::read(&letter.entry).ok().map(Arc::new);
            match index.zip(body).filter(|(index, body)| self.queue().wants(*index, body)) {
                Some((index, body)) => {
                    tickets.push(put_back(self.queue(), index, &body).await?);
                    numbers.push(*number);
                }
                None => done.unwanted += 1,
            }
        }
        for ticket in tickets {
            match timeout(RETRY_PATIENCE, ticket).await {
                Ok(Ok(_)) => {}
                Ok(Err(_)) => return Err("the gateway is stopping".into()),
                Err(_) => return Err("the disk does not take them, see `serialgate status`".into()),
            }
        }
        let count = numbers.len() as u64;
        self.queue().drop_dead_letters(numbers).await.map_err(words)?;
        done.retried += count;
        Ok(())
    }

    pub(super) async fn drop_dead_letters(&self, chosen: &Chosen, only_count: bool) -> Result<u64, Refusal> {
        let mut letters = Letters::new(self.queue(), chosen)?;
        let mut dropped = 0;
        while let Some(some) = letters.next().await? {
            if only_count {
                dropped += some.len() as u64;
                continue;
            }
            for part in some.chunks(LETTERS_DROPPED_MAX) {
                let numbers = part.iter().map(|(number, _)| *number).collect();
                dropped += self.queue().drop_dead_letters(numbers).await.map_err(words)?;
            }
        }
        if !only_count {
            tracing::warn!(?chosen, dropped, "an operator removed dead letters");
        }
        Ok(dropped)
    }
}

/// Waits for room where there is none.
async fn put_back(queue: &Queue, index: usize, body: &Arc<Body>) -> Result<Ticket, Refusal> {
    let until = Instant::now() + RETRY_PATIENCE;
    loop {
        match queue.retry(index, body) {
            Ok(ticket) => return Ok(ticket),
            Err(_) if Instant::now() < until => sleep(ROOM_AGAIN).await,
            Err(_) => return Err("the queue is full, and keeps what it has".into()),
        }
    }
}

/// Goes through those that were there at the beginning: what is tried again may come back.
struct Letters<'a> {
    queue: &'a Queue,
    chosen: &'a Chosen,
    after: Option<u64>,
    newest: Option<u64>,
    over: bool,
}

impl<'a> Letters<'a> {
    fn new(queue: &'a Queue, chosen: &'a Chosen) -> Result<Self, Refusal> {
        if let Some(filter) = chosen.topic.as_deref().filter(|filter| !topic::is_valid_filter(filter)) {
            return Err(format!("{filter:?} is no topic filter; write for example `sensors/#`"));
        }
        Ok(Self { queue, chosen, after: None, newest: None, over: false })
    }

    async fn next(&mut self) -> Result<Option<Vec<(u64, Letter)>>, Refusal> {
        if self.over {
            return Ok(None);
        }
        let mut slice = self.queue.dead_letters(self.after).await.map_err(words)?;
        let newest = *self.newest.get_or_insert(slice.newest);
        slice.letters.retain(|(number, letter)| *number <= newest && self.is_chosen(letter));
        self.after = slice.next;
        self.over = slice.next.is_none_or(|next| next >= newest);
        Ok(Some(slice.letters))
    }

    fn is_chosen(&self, letter: &Letter) -> bool {
        let Chosen { bridge, topic } = self.chosen;
        bridge.as_deref().is_none_or(|bridge| bridge == &*letter.bridge)
            && topic.as_deref().is_none_or(|filter| topic::matches(filter, &letter.topic))
    }
}
