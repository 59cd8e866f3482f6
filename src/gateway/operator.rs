//! Answers what operators ask on the control socket.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::control::{Answers, Asked, Damage, Imported, Line, Peeked, Request, Response, Verified};
use crate::queue::operate::{Bad, Checked, Waiting, Which};
use crate::queue::portable;
use crate::queue::{Queue, Ticket, Unanswered};
use crate::reading::Body;
use crate::render;
use crate::topic::Topics;

use super::StatusView;
use super::calls::Calls;
use super::onlookers::Onlookers;

/// Most entries that are shown at a time.
const PEEK_MAX: usize = 1000;
/// How long the disk may take for a part of an import.
const IMPORT_PATIENCE: Duration = Duration::from_secs(60);
/// Between two attempts to find room for an imported entry.
const IMPORT_AGAIN: Duration = Duration::from_millis(50);

/// Who answers on the control socket.
#[derive(Clone, Debug)]
pub struct Operator {
    view: StatusView,
    topics: Topics,
    calls: Calls,
    onlookers: Onlookers,
}

/// Why there is no answer, in words; or nobody is there to hear it.
pub(super) type Refusal = String;

impl Operator {
    pub(super) fn new(view: StatusView, topics: Topics, calls: Calls, onlookers: Onlookers) -> Self {
        Self { view, topics, calls, onlookers }
    }

    /// Answers `asked`.
    pub async fn answer(self: Arc<Self>, asked: Asked, answers: Answers) {
        let last = match asked.request {
            Request::Status => Ok(Response::Status(Box::new(self.view.status()))),
            Request::Pause { bridge } => self.pause(bridge.as_deref(), true),
            Request::Resume { bridge } => self.pause(bridge.as_deref(), false),
            Request::Peek { bridge, count } => self.peek(bridge.as_deref(), count).await,
            Request::Export { bridge } => self.export(bridge.as_deref(), &answers).await,
            Request::Import { .. } => self.import(&asked.body).await.map(Response::Imported),
            Request::Purge { older_than_ms, device, only_count } => {
                let us = older_than_ms.map(|ms| i64::try_from(ms.saturating_mul(1000)).unwrap_or(i64::MAX));
                let which = Which { older_than_us: us, device: device.map(Into::into) };
                let purged = if only_count { self.count(&which).await } else { self.purge(which).await };
                purged.map(Response::Purged)
            }
            Request::Call { device, payload } => self.call(&device, &payload).await,
            Request::Watch { devices } => self.onlookers.show(&devices, &answers).await,
            Request::Verify => self.verify().await.map(Response::Verified),
            Request::DeadLetters(chosen) => self.dead_letters(&chosen, &answers).await,
            Request::RetryDeadLetters(chosen) => {
                self.retry_dead_letters(&chosen).await.map(Response::Retried)
            }
            Request::DropDeadLetters { chosen, only_count } => {
                self.drop_dead_letters(&chosen, only_count).await.map(Response::DeadLettersDropped)
            }
        };
        // Whoever asked may have gone.
        let _ = answers.send(last.unwrap_or_else(Response::Error)).await;
    }

    pub(super) fn queue(&self) -> &Queue {
        &self.view.queue
    }

    pub(super) fn topics(&self) -> &Topics {
        &self.topics
    }

    async fn call(&self, device: &str, payload: &str) -> Result<Response, Refusal> {
        let result = self.calls.call(device, payload.as_bytes()).await;
        let result = result.and_then(|result| serde_json::from_slice(&result).ok());
        result.map(|result| Response::Result(Line(result))).ok_or_else(|| "the gateway is stopping".into())
    }

    fn bridge(&self, name: &str) -> Result<usize, Refusal> {
        self.queue().bridges().position(|bridge| bridge == name).ok_or_else(|| {
            let known: Vec<&str> = self.queue().bridges().collect();
            let known = if known.is_empty() { "there are none".into() } else { known.join(", ") };
            format!("there is no bridge {name:?}; bridges: {known}")
        })
    }

    fn pause(&self, name: Option<&str>, paused: bool) -> Result<Response, Refusal> {
        let count = self.queue().bridges().count();
        let one = name.map(|name| self.bridge(name)).transpose()?;
        let indexes = one.map_or(0..count, |index| index..index + 1);
        indexes.for_each(|index| self.queue().set_paused(index, paused));
        tracing::info!(bridge = name.unwrap_or("all"), paused, "an operator switched the queue");
        let held = self.queue().bridges().enumerate();
        let held = held.filter(|(index, _)| self.queue().outlet(*index).is_paused());
        Ok(Response::Paused(held.map(|(_, name)| name.to_owned()).collect()))
    }

    async fn peek(&self, bridge: Option<&str>, count: usize) -> Result<Response, Refusal> {
        if !(1..=PEEK_MAX).contains(&count) {
            return Err(format!(
                "{count} entries cannot be shown at a time: 1 to {PEEK_MAX} can; \
                 `serialgate queue export` gives all"
            ));
        }
        let bridge = bridge.map(|name| self.bridge(name)).transpose()?;
        let (mut from, mut shown) = (0, Vec::new());
        loop {
            let slice = self.queue().peek(bridge, from).await.map_err(words)?;
            let room = count - shown.len();
            shown.extend(slice.entries.iter().take(room).map(|entry| self.peeked(entry)));
            match slice.next {
                Some(next) if shown.len() < count => from = next,
                _ => return Ok(Response::Peeked(shown)),
            }
        }
    }

    fn peeked(&self, entry: &Waiting) -> Peeked {
        let clock = self.queue().clock();
        let publish = render::publish(&entry.body, |at| clock.wall(at), true, &self.topics);
        let (payload, payload_hex) = shown(&publish.payload, usize::MAX);
        Peeked {
            position: entry.position,
            age_s: Duration::from_micros(u64::try_from(entry.age_us).unwrap_or(0)).as_secs_f64(),
            topic: publish.topic.to_string(),
            payload,
            payload_hex,
        }
    }

    async fn export(&self, bridge: Option<&str>, answers: &Answers) -> Result<Response, Refusal> {
        let bridge = bridge.map(|name| self.bridge(name)).transpose()?;
        // What comes later is not part of it: else it would never end.
        let end = self.queue().end();
        let clock = self.queue().clock();
        let (mut from, mut exported) = (Some(0), 0);
        while let Some(next) = from.filter(|next| *next < end) {
            let slice = self.queue().peek(bridge, next).await.map_err(words)?;
            for damage in slice.bad {
                answers.send(Response::Damage(told(damage))).await.map_err(|_| gone())?;
            }
            for entry in slice.entries.iter().filter(|entry| entry.position < end) {
                let line =
                    portable::write(&entry.body, |at| clock.wall(at)).map_err(|error| error.to_string())?;
                answers.send(Response::Entry(Line(line))).await.map_err(|_| gone())?;
                exported += 1;
            }
            from = slice.next;
        }
        Ok(Response::Exported(exported))
    }

    /// Takes all entries or, where one of them is not an entry, none.
    async fn import(&self, lines: &[u8]) -> Result<Imported, Refusal> {
        let text = str::from_utf8(lines).map_err(|error| format!("not UTF-8: {error}"))?;
        let mut bodies = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let body = portable::read(line).map_err(|error| format!("entry {}: {error}", index + 1))?;
            bodies.push(Arc::new(body));
        }
        let mut intake = Intake { queue: self.queue(), tickets: VecDeque::new(), done: Imported::default() };
        let outcome = intake.take(&bodies).await;
        let done = intake.done;
        outcome.map(|()| done).map_err(|error| {
            format!("{error}; {} of the last {} entries are safe", done.entries, bodies.len())
        })
    }

    async fn count(&self, which: &Which) -> Result<u64, Refusal> {
        let end = self.queue().end();
        let (mut from, mut count) = (Some(0), 0);
        while let Some(next) = from.filter(|next| *next < end) {
            let slice = self.queue().peek(None, next).await.map_err(words)?;
            let theirs = slice.entries.iter().filter(|entry| entry.position < end);
            count += theirs.filter(|entry| which.takes(&entry.body, entry.age_us)).count() as u64;
            from = slice.next;
        }
        Ok(count)
    }

    async fn purge(&self, which: Which) -> Result<u64, Refusal> {
        let purged = self.queue().purge(which.clone()).await.map_err(words)?;
        tracing::warn!(purged, ?which, "an operator purged the queue");
        Ok(purged)
    }

    async fn verify(&self) -> Result<Verified, Refusal> {
        let mut checked = self.queue().verify(None).await.map_err(words)?;
        while let Some(after) = checked.next {
            checked.add(self.queue().verify(Some(after)).await.map_err(words)?);
        }
        Ok(verified(checked, Vec::new()))
    }
}

/// A part of an import on its way into the queue.
struct Intake<'a> {
    queue: &'a Queue,
    /// Entries that are in the queue and not yet safe.
    tickets: VecDeque<(bool, Ticket)>,
    done: Imported,
}

impl Intake<'_> {
    /// Takes all of `bodies` and waits until they are safe.
    async fn take(&mut self, bodies: &[Arc<Body>]) -> Result<(), Refusal> {
        for body in bodies {
            let until = Instant::now() + IMPORT_PATIENCE;
            let taken = loop {
                if let Ok(taken) = self.queue.import(body) {
                    break taken;
                }
                // Room comes as what was taken before gets to the disk.
                if !self.wait_for_one().await? {
                    sleep(IMPORT_AGAIN).await;
                }
                if Instant::now() >= until {
                    return Err("the queue is full, and keeps what it has".into());
                }
            };
            self.tickets.push_back(taken);
        }
        while self.wait_for_one().await? {}
        Ok(())
    }

    /// Waits for the oldest entry that is not safe; `false` when there is none.
    async fn wait_for_one(&mut self) -> Result<bool, Refusal> {
        let Some((wanted, ticket)) = self.tickets.pop_front() else { return Ok(false) };
        match timeout(IMPORT_PATIENCE, ticket).await {
            Ok(Ok(_)) => {
                self.done.entries += 1;
                self.done.unwanted += u64::from(!wanted);
                Ok(true)
            }
            Ok(Err(_)) => Err("the gateway is stopping".into()),
            Err(_) => Err("the disk does not take it, see `serialgate status`".into()),
        }
    }
}

/// What was found, as it is told; `file` is what SQLite says of the whole.
#[must_use]
pub fn verified(checked: Checked, file: Vec<String>) -> Verified {
    Verified {
        chunks: checked.chunks,
        readings: checked.readings,
        bytes: checked.bytes,
        bad_chunks: checked.bad_chunks,
        bad: checked.bad.into_iter().map(told).collect(),
        file,
    }
}

/// The first `max` bytes of a payload: as text, else in hex.
pub(super) fn shown(payload: &[u8], max: usize) -> (Option<String>, Option<String>) {
    match str::from_utf8(payload) {
        Ok(text) => (Some(text[..text.floor_char_boundary(max)].to_owned()), None),
        Err(_) => (None, Some(payload.iter().take(max).map(|byte| format!("{byte:02x}")).collect())),
    }
}

fn told(Bad { position, what }: Bad) -> Damage {
    Damage { position, what }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(super) fn words(error: Unanswered) -> Refusal {
    error.to_string()
}

pub(super) fn gone() -> Refusal {
    "nobody takes the answer".into()
}
