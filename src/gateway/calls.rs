//! Commands to devices: from `set` to the line that the device is on, and what became of them to
//! `result`.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::broker::Heard;
use crate::call::{Failure, Order};
use crate::flow::{Asked, LocalPublish, Reply, Switchboard};
use crate::mqtt::packet::{Publish, Qos};
use crate::queue::Queue;
use crate::reading::Properties;
use crate::render;
use crate::topic::Topics;

/// Takes commands, and tells what became of them.
#[derive(Clone, Debug)]
pub(super) struct Calls {
    pub(super) topics: Topics,
    pub(super) switchboard: Switchboard,
    pub(super) queue: Queue,
    pub(super) local: LocalPublish,
}

impl Calls {
    /// Somebody has published a command. The result goes to local clients and, through the queue, to
    /// the bridges that want it.
    pub(super) fn hear(&self, heard: Heard) {
        let Heard { publish, is_from_bridge } = heard;
        let Some(device) = self.topics.commanded(&publish.topic) else { return };
        let order = if is_from_bridge && publish.retain {
            // It is said at each new subscription, however old it is.
            let why = "a retained command may be an old one: publish it without the retain flag";
            Order { call: Err(why.into()), transaction: None }
        } else {
            Order::read(&publish.payload)
        };
        let (calls, topic) = (self.clone(), self.topics.result(device));
        let correlation_data = publish.properties.correlation_data.clone();
        self.place(device, order, move |payload| {
            let mut result = Publish::new(topic, payload, Qos::AtLeastOnce, false);
            result.properties = Properties { correlation_data, ..Properties::default() };
            calls.publish(result);
        });
    }

    /// An operator's command. Gives the payload that `result` would have; `None`: nobody knows.
    pub(super) async fn call(&self, device: &str, payload: &[u8]) -> Option<Bytes> {
        let (told, result) = oneshot::channel();
        // Whoever asked may have gone.
        self.place(device, Order::read(payload), move |payload| drop(told.send(payload)));
        result.await.ok()
    }

    /// Hands the command to the device's line; `tell` gets the result.
    fn place(&self, device: &str, order: Order, tell: impl FnOnce(Bytes) + Send + 'static) {
        let Order { call, transaction } = order;
        let clock = self.queue.clock().clone();
        let name: Arc<str> = device.into();
        let reply = Reply::new({
            let name = Arc::clone(&name);
            move |answer| {
                tracing::info!(device = &*name, status = answer.status(), "command");
                tell(render::result_json(&answer, transaction.as_ref(), clock.wall(clock.now())));
            }
        });
        match call {
            Ok(call) => self.switchboard.call(Asked { device: name, call, reply }),
            Err(why) => reply.send(Failure::Invalid(why).into()),
        }
    }

    fn publish(&self, result: Publish) {
        self.queue.push_result(&result);
        self.local.publish(result);
    }
}
