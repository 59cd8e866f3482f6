//! Tells clients what the broker knows about itself, below `$SYS`.
//!
//! Only while somebody subscribes is there anything to do: the values are put together when a
//! client asks for them, and then at intervals, as long as it stays.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::state::Origin;
use super::{Broker, now};
use crate::mqtt::packet::{Publish, Qos};

/// How often the values are told.
const INTERVAL: Duration = Duration::from_secs(10);

impl Broker {
    /// Tells the values at intervals, while somebody subscribes to any of them.
    pub(super) async fn keep_telling(&self, stop: &CancellationToken) {
        loop {
            let is_wanted = self.lock().is_sys_wanted();
            let next = async {
                if is_wanted {
                    tokio::time::sleep(INTERVAL).await;
                } else {
                    self.0.sys_wanted.notified().await;
                }
            };
            tokio::select! {
                () = next => if is_wanted {
                    self.tell_sys();
                },
                () = stop.cancelled() => return,
            }
        }
    }

    /// Somebody subscribes to some of the values, and must find them as they are now.
    pub(super) fn want_sys(&self) {
        self.tell_sys();
        self.0.sys_wanted.notify_one();
    }

    /// Publishes the values that have changed since they were told last.
    fn tell_sys(&self) {
        let now = now();
        let mut state = self.lock();
        let numbers = state.numbers();
        for (topic, value) in state.sys().news(&numbers, now) {
            state.publish(Publish::new(topic, value, Qos::AtMostOnce, true), Origin::Ours, now);
        }
    }
}
