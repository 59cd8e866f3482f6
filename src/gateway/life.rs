//! The gateway and its service manager: that it is up, what it is doing, that it is alive.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::StatusView;
use crate::notify::{self, News, Notifier};
use crate::pulse::Roll;
use crate::status::{BridgeState, BrokerState, PortState, QueueState, Status};
use crate::watchdog::{Act, Watchdog};

/// The line for people is brought up to date so often, if it has changed.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// While it stops, the gateway asks at each look for so much more time.
const LONGER: Duration = Duration::from_secs(20);
/// But not for longer than this after the stop began: such a disk does not answer any more.
const LONGER_WITHIN: Duration = Duration::from_secs(120);

/// What the gateway is about.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// Not everything is up yet.
    Starting,
    /// It works; with what went wrong at the last reload.
    Up(Option<&'static str>),
    /// Since then.
    Stopping(Instant),
}

/// Keeps the service manager informed, in a task of its own, until it is dropped.
#[derive(Debug)]
pub struct Life {
    notifier: Notifier,
    stage: Arc<watch::Sender<Stage>>,
    task: JoinHandle<()>,
}

impl Drop for Life {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Life {
    /// Begins; `up` resolves when everything is up.
    #[must_use]
    pub fn begin(
        view: StatusView,
        notifier: Notifier,
        up: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        let stage = Arc::new(watch::Sender::new(Stage::Starting));
        let teller = Teller {
            roll: view.roll.clone(),
            view,
            notifier: notifier.clone(),
            stage: stage.subscribe(),
            told: String::new(),
        };
        let (telling, upping) = (teller.run(notify::watchdog()), Arc::clone(&stage));
        let task = tokio::spawn(async move {
            let getting_up = async {
                up.await;
                upping.send_if_modified(|stage| {
                    let starts = *stage == Stage::Starting;
                    if starts {
                        *stage = Stage::Up(None);
                    }
                    starts
                });
            };
            tokio::join!(getting_up, telling);
        });
        Self { notifier, stage, task }
    }

    /// A reload begins.
    pub fn reloading(&self) {
        self.notifier.tell(&[News::Reloading, News::Status("reading the configuration again")]);
    }

    /// The reload is over. `trouble`: what came of it, if that is not all that was wanted.
    pub fn reloaded(&self, trouble: Option<&'static str>) {
        // A new value in any case: the manager waits for the word.
        self.stage.send_replace(Stage::Up(trouble));
    }

    /// The end begins.
    pub fn stopping(&self) {
        self.stage.send_replace(Stage::Stopping(Instant::now()));
    }
}

/// Tells the manager.
struct Teller {
    view: StatusView,
    roll: Roll,
    notifier: Notifier,
    stage: watch::Receiver<Stage>,
    /// The line that it knows.
    told: String,
}

impl Teller {
    async fn run(mut self, limit: Option<Duration>) {
        let mut watchdog = limit.map(|limit| Watchdog::new(limit, Instant::now().into_std()));
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let acts = watchdog.as_mut().map(|watchdog| self.watch(watchdog));
            let due = acts.flatten();
            tokio::select! {
                () = until(due) => {}
                () = self.roll.answered(), if limit.is_some() => {}
                // The sender is held by whoever holds us.
                Ok(()) = self.stage.changed() => self.turn(),
                _ = looks.tick(), if self.notifier.has_manager() => self.look(),
            }
        }
    }

    /// Does what the watchdog wants; gives when to come again.
    fn watch(&self, watchdog: &mut Watchdog) -> Option<Instant> {
        while let Some(act) = watchdog.turn(&self.roll.missing(), Instant::now().into_std()) {
            match act {
                Act::Call => self.roll.call(),
                Act::Feed => drop(self.notifier.tell(&[News::Alive])),
                Act::Warn(parts) => tracing::error!(
                    parts = parts.join(", "),
                    "does not turn any more: the service manager is about to restart serialgate"
                ),
            }
        }
        watchdog.due().map(Instant::from_std)
    }

    /// The gateway is about something else now.
    fn turn(&mut self) {
        let stage = self.stage.borrow_and_update().clone();
        self.told = headline(&self.view.status(), &stage);
        let status = News::Status(&self.told);
        match stage {
            Stage::Starting => {}
            Stage::Up(_) => drop(self.notifier.tell(&[News::Ready, status])),
            Stage::Stopping(_) => drop(self.notifier.tell(&[News::Stopping, News::Longer(LONGER), status])),
        }
    }

    fn look(&mut self) {
        let stage = self.stage.borrow().clone();
        let line = headline(&self.view.status(), &stage);
        if line != self.told && self.notifier.tell(&[News::Status(&line)]) {
            self.told = line;
        }
        if let Stage::Stopping(since) = stage
            && since.elapsed() < LONGER_WITHIN
        {
            self.notifier.tell(&[News::Longer(LONGER)]);
        }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn word(state: BridgeState) -> &'static str {
    match state {
        BridgeState::Connected => "connected",
        BridgeState::Connecting => "connecting",
        BridgeState::Backoff => "not connected",
        BridgeState::Paused => "paused",
    }
}

/// One line for people: what is open, connected and waiting, and what is wrong.
fn headline(status: &Status, stage: &Stage) -> String {
    let mut parts = match stage {
        Stage::Starting => vec!["starting".to_owned()],
        Stage::Up(trouble) => trouble.iter().map(|trouble| (*trouble).to_owned()).collect(),
        Stage::Stopping(_) => vec!["stopping".to_owned()],
    };
    let open = |state| matches!(state, PortState::Open | PortState::Silent);
    let (all, up) = (status.ports.len(), status.ports.iter().filter(|port| open(port.state)).count());
    parts.push(match (all, up) {
        (0, _) => "no ports configured".into(),
        (1, 1) => "1 port open".into(),
        (all, up) if all == up => format!("{up} ports open"),
        (all, up) => format!("{up} of {all} ports open"),
    });
    parts.extend(status.bridges.iter().map(|bridge| format!("{} {}", bridge.name, word(bridge.state))));
    parts.push(match status.queue.readings {
        1 => "1 reading waiting".into(),
        readings => format!("{readings} readings waiting"),
    });
    match status.queue.state {
        QueueState::Ok => {}
        QueueState::Full => parts.push("queue full".into()),
        QueueState::Degraded => parts.push("disk does not take readings".into()),
    }
    if status.broker.state == BrokerState::Degraded {
        parts.push("disk does not take local sessions".into());
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status;

    #[test]
    fn the_line_says_what_people_ask() {
        let port = |state| status::Port { state, ..Default::default() };
        let bridge = |state| status::Bridge { name: "cloud".into(), state, ..Default::default() };
        let mut status = Status {
            version: String::new(),
            gateway: String::new(),
            uptime_s: 0,
            clock_synced: true,
            ports: vec![],
            queue: status::Queue::default(),
            bridges: vec![],
            broker: status::Broker::default(),
        };
        assert_eq!(headline(&status, &Stage::Starting), "starting, no ports configured, 0 readings waiting");
        status.ports = vec![port(PortState::Open)];
        assert_eq!(headline(&status, &Stage::Up(None)), "1 port open, 0 readings waiting");
        status.ports = vec![port(PortState::Open), port(PortState::Silent), port(PortState::Absent)];
        status.bridges = vec![bridge(BridgeState::Backoff)];
        status.queue = status::Queue { readings: 1, state: QueueState::Full, ..Default::default() };
        assert_eq!(
            headline(&status, &Stage::Up(None)),
            "2 of 3 ports open, cloud not connected, 1 reading waiting, queue full"
        );
        status.ports.truncate(2);
        status.bridges = vec![bridge(BridgeState::Connected)];
        status.queue = status::Queue { readings: 5, state: QueueState::Degraded, ..Default::default() };
        status.broker.state = BrokerState::Degraded;
        assert_eq!(
            headline(&status, &Stage::Up(Some("CONFIGURATION WRONG"))),
            "CONFIGURATION WRONG, 2 ports open, cloud connected, 5 readings waiting, \
             disk does not take readings, disk does not take local sessions"
        );
    }
}
