//! Live copies for `serialgate watch`: what enters the queue, and what is known of the devices.
//!
//! A tap as the publisher is one: whoever takes it too slowly loses copies, is told how many, and holds up
//! nobody. It needs no local broker.

use std::sync::Arc;

use serde_json::value::RawValue;
use tokio::sync::Semaphore;
use tokio::sync::broadcast::error::RecvError;

use crate::control::{Answers, Line, Live, Response};
use crate::flow::Bulletin;
use crate::queue::Queue;
use crate::reading::{Body, Event, EventKind, Loss, Whose};
use crate::render;
use crate::topic::{Subject, Topics};

use super::operator::{Refusal, gone};

/// Most that may watch at a time: half of the control socket's clients, so that others can still ask.
const WATCHERS_MAX: usize = 8;

/// Those who watch, and what they are shown.
#[derive(Clone, Debug)]
pub(super) struct Onlookers {
    topics: Topics,
    queue: Queue,
    bulletin: Bulletin,
    seats: Arc<Semaphore>,
}

impl Onlookers {
    pub(super) fn new(topics: Topics, queue: Queue, bulletin: Bulletin) -> Self {
        Self { topics, queue, bulletin, seats: Arc::new(Semaphore::new(WATCHERS_MAX)) }
    }

    /// Shows what comes in, of `devices` or of all, until nobody takes it any more.
    pub(super) async fn show(&self, devices: &[String], answers: &Answers) -> Result<Response, Refusal> {
        let Ok(_seat) = self.seats.try_acquire() else {
            return Err(format!("{WATCHERS_MAX} watch already, which is the limit: end one of them"));
        };
        let (mut live, mut told) = (self.queue.look_on(), 0);
        let tell = async |shown| answers.send(shown).await.map_err(|_| gone());
        tell(Response::Watching).await?;
        loop {
            let taken = live.recv().await;
            // What is known of a device was posted before its first reading was pushed.
            for (version, subject, payload) in self.bulletin.newer_than(told, usize::MAX) {
                told = version;
                if let Subject::Meta(device) = &subject
                    && is_wanted(Some(device), devices)
                    && let Some(meta) = shown(self.topics.of(&subject), &payload)
                {
                    tell(meta).await?;
                }
            }
            match taken {
                Ok(body) if is_wanted(self.device(&body), devices) => {
                    if let Some(live) = self.published(&body) {
                        tell(live).await?;
                    }
                }
                Ok(_) => {}
                Err(RecvError::Lagged(missed)) => tell(Response::Missed(missed)).await?,
                Err(RecvError::Closed) => return Err("the gateway is stopping".into()),
            }
        }
    }

    /// Whose `body` is.
    fn device<'b>(&self, body: &'b Body) -> Option<&'b str> {
        match body {
            Body::Reading(reading) => Some(&reading.device),
            Body::Event(Event {
                kind: EventKind::Lost(Loss { of: Whose::Device { device, .. }, .. }),
                ..
            }) => Some(device),
            Body::Event(_) => None,
            Body::Message(message) => self.topics.answering(&message.topic),
        }
    }

    /// As local clients get it.
    fn published(&self, body: &Body) -> Option<Response> {
        let clock = self.queue.clock();
        let late = body.has_waited(clock.now().us);
        let publish = render::publish(body, |at| clock.wall(at), late, &self.topics);
        shown(publish.topic.to_string(), &publish.payload)
    }
}

fn is_wanted(device: Option<&str>, devices: &[String]) -> bool {
    devices.is_empty() || device.is_some_and(|device| devices.iter().any(|wanted| wanted == device))
}

/// `None` where the payload is not JSON: empty, because it is withdrawn.
fn shown(topic: String, payload: &[u8]) -> Option<Response> {
    let payload = serde_json::from_slice::<Box<RawValue>>(payload).ok()?;
    Some(Response::Live(Live { topic, payload: Line(payload) }))
}
