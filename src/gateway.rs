//! The wiring: every part, every handle between parts, in one place.
//!
//! Parts start downstream first, so that none has a neighbour that is not there yet, and stop
//! upstream first, so that what is on its way still arrives.

mod calls;
mod dead_letters;
mod life;
mod onlookers;
mod operator;
mod ports;
mod reload;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::bridge::{self, Bridge};
use crate::broker::{Access, Broker, Listen, Local, News, Storage};
use crate::clock;
use crate::config::{self, Config, Durability};
use crate::flow::{Bulletin, LocalPublish};
use crate::port;
use crate::publisher::{Publisher, TAP_CAPACITY};
use crate::pulse::{Pulse, Roll};
use crate::queue::{OpenError, Queue};
use crate::reading::{Body, Event, EventKind};
use crate::status::{self, BridgeState, Cell, Status};
use crate::topic::Topics;

use self::calls::Calls;
pub use self::life::Life;
use self::onlookers::Onlookers;
pub use self::operator::{Operator, verified};
use self::ports::Ports;

/// All parts of one kind together may take so long to stop.
const STOP_WITHIN: Duration = Duration::from_secs(4);

/// Whoever waits for the gateway to be up waits so long at most.
const UP_WITHIN: Duration = Duration::from_secs(15);

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    view: StatusView,
    topics: Topics,
    calls: Calls,
    onlookers: Onlookers,
    /// What it runs on: a reload changes a part of it.
    running: Config,
    ports: Ports,
    bridges: Tasks,
    local: Tasks,
}

/// The tasks of one kind of part.
#[derive(Debug, Default)]
struct Tasks {
    /// Each gives its name where it ended by itself.
    running: JoinSet<Option<&'static str>>,
    stop: CancellationToken,
}

impl Tasks {
    fn spawn(&mut self, name: &'static str, part: impl Future<Output = ()> + Send + 'static) {
        self.running.spawn(async move {
            part.await;
            Some(name)
        });
    }

    /// Waits for a task to end by itself; for ever where there is none.
    async fn first_end(&mut self) -> String {
        loop {
            match self.running.join_next().await {
                Some(Ok(None)) => {}
                Some(Ok(Some(name))) => return name.to_owned(),
                Some(Err(error)) => return error.to_string(),
                None => std::future::pending().await,
            }
        }
    }

    async fn stop(mut self, kind: &str) {
        self.stop.cancel();
        let all = async { while self.running.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_WITHIN, all).await.is_err() {
            tracing::warn!(kind, "did not stop in time");
        }
    }
}

/// Puts the parts' numbers together.
#[derive(Clone, Debug)]
pub struct StatusView {
    name: Arc<str>,
    started: Instant,
    ports: status::Ports,
    queue: Queue,
    bridges: Vec<Cell<status::Bridge>>,
    broker: Broker,
    /// Where all parts show that they turn.
    roll: Roll,
}

impl StatusView {
    /// The whole document, as of now.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            gateway: self.name.to_string(),
            uptime_s: self.started.elapsed().as_secs(),
            clock_synced: clock::synced(),
            ports: self.ports.document(clock::boottime_us()),
            queue: self.queue.status(),
            bridges: self
                .bridges
                .iter()
                .enumerate()
                .map(|(index, bridge)| self.bridge(index, bridge))
                .collect(),
            broker: self.broker.stats(),
        }
    }
}

impl StatusView {
    /// A bridge as of now: its own cell, and what the queue knows better.
    fn bridge(&self, index: usize, cell: &Cell<status::Bridge>) -> status::Bridge {
        let outlet = self.queue.outlet(index);
        let bridge = status::Bridge { backlog: outlet.backlog(), ..cell.lock().clone() };
        if outlet.is_paused() {
            return status::Bridge { state: BridgeState::Paused, eta_s: None, ..bridge };
        }
        bridge
    }
}

impl Gateway {
    /// Opens the queue and starts every part.
    ///
    /// # Errors
    /// [`OpenError`] when there can be no queue; everything else is retried while running.
    pub fn start(running: Config) -> Result<Self, OpenError> {
        let config = running.clone();
        let topics = Topics::new(&config.base, &config.gateway);
        let consumers = config.bridges.iter().map(bridge::consumer).collect();
        let queue = Queue::open(&config.queue, topics.clone(), consumers)?;
        let (bulletin, roll) = (Bulletin::default(), Roll::default());
        queue.answer_to(&roll);

        let broker = open_broker(&config, &queue, &roll)?;
        let mut local = Tasks::default();
        start_local(&mut local, &config, &broker, &queue, &bulletin, &topics, &roll);

        let mut bridges = Tasks::default();
        let mut bridge_cells = Vec::new();
        for (index, bridge) in config.bridges.into_iter().enumerate() {
            let cell = Cell::new(status::Bridge { name: bridge.name.clone(), ..Default::default() });
            bridge_cells.push(cell.clone());
            let handles = bridge::Handles {
                outlet: queue.outlet(index),
                queue: queue.clone(),
                bulletin: bulletin.clone(),
                local: way_in(broker.local_for_bridge()),
                topics: topics.clone(),
                status: cell,
                pulse: Arc::new(roll.enter(format!("the bridge {}", bridge.name))),
            };
            let stop = bridges.stop.clone();
            let bridge = Bridge::new(bridge, &config.gateway, handles);
            bridges.spawn("bridge", bridge.run(stop.cancelled_owned()));
        }

        let port_status = status::Ports::default();
        let mut handles = port::Handles::new(queue.clone(), bulletin.clone(), port_status.clone());
        handles.roll = roll.clone();
        let calls = Calls {
            topics: topics.clone(),
            switchboard: handles.switchboard.clone(),
            queue: queue.clone(),
            local: way_in(broker.local()),
        };
        broker.hear(topics.commands(), {
            let calls = calls.clone();
            move |heard| calls.hear(heard)
        });
        let ports = Ports::start(&config.ports, handles);
        let onlookers = Onlookers::new(topics.clone(), queue.clone(), bulletin);

        let view = StatusView {
            name: config.gateway.into(),
            started: Instant::now(),
            ports: port_status,
            queue,
            bridges: bridge_cells,
            broker,
            roll,
        };
        Ok(Self { view, topics, calls, onlookers, running, ports, bridges, local })
    }

    /// The numbers of all parts, for whoever shows them.
    #[must_use]
    pub fn view(&self) -> StatusView {
        self.view.clone()
    }

    /// How the loop that holds the gateway shows that it turns.
    #[must_use]
    pub fn pulse(&self) -> Pulse {
        self.view.roll.enter("the main loop")
    }

    /// Who answers on the control socket.
    #[must_use]
    pub fn operator(&self) -> Operator {
        Operator::new(self.view(), self.topics.clone(), self.calls.clone(), self.onlookers.clone())
    }

    /// Takes over what a new configuration says of ports and of the local broker, without disturbing
    /// what stays as it is, and reads the listeners' certificates again. What else has changed is told in
    /// the log, and waits for a restart.
    pub async fn reload(&mut self, new: Config) {
        for key in reload::needs_restart(&self.running, &new) {
            tracing::warn!("{key}: this change needs a restart of serialgate");
        }
        self.ports.change(&new.ports).await;
        self.view.broker.reload(&new.broker);
        self.running = Config { ports: new.ports, broker: new.broker, ..self.running.clone() };
    }

    /// Waits until a part ends by itself, which none should. Tells which, and why if it is known.
    pub async fn part_ended(&mut self) -> String {
        tokio::select! {
            name = self.ports.first_end() => name,
            name = self.bridges.first_end() => name,
            name = self.local.first_end() => name,
        }
    }

    /// Waits until what can be up is up: listeners have their address or have found it taken, and clients
    /// are let in. A disk or a certificate that does not come is not waited for: the rest works without.
    pub fn up(&self) -> impl Future<Output = ()> + use<> {
        let (broker, listeners) = (self.view.broker.clone(), self.running.broker.listen.len());
        async move {
            let up = async {
                broker.doors_tried(listeners).await;
                broker.ready().await;
            };
            let _ = tokio::time::timeout(UP_WITHIN, up).await;
        }
    }

    /// Stops every part, upstream first, and commits what is still in memory.
    pub async fn stop(self) {
        self.ports.stop().await;
        self.bridges.stop("bridges").await;
        self.local.stop("broker and publisher").await;
        let StatusView { queue, broker, .. } = self.view;
        let close = move || {
            broker.close();
            queue.close();
        };
        // The last commits may take as long as the disk likes: not on this thread.
        if tokio::task::spawn_blocking(close).await.is_err() {
            tracing::error!("the files did not close");
        }
    }
}

/// Who may connect to the local broker.
fn access(config: &config::Broker) -> Access {
    Access::new(config, uuid::Uuid::new_v4().into_bytes())
}

/// The local broker's door for our own parts.
fn way_in(local: Local) -> LocalPublish {
    LocalPublish::new(move |publish| local.publish(publish))
}

/// The local broker, with its file; without listeners it needs none.
fn open_broker(config: &Config, queue: &Queue, roll: &Roll) -> Result<Broker, OpenError> {
    let broker = Broker::new(config.broker.limits, queue.clone()).with_access(access(&config.broker));
    let broker = broker.with_roll(roll.clone()).map_err(OpenError::Thread)?;
    if config.broker.listen.is_empty() {
        return Ok(broker);
    }
    let storage = Storage {
        path: config.broker_file(),
        commit_within_us: i64::try_from(config.queue.commit_within.as_micros()).unwrap_or(i64::MAX),
        is_strict: config.queue.durability == Durability::Always,
    };
    let queue = queue.clone();
    let report = move |news| {
        let kind = match news {
            News::SetAside { path, reason } => EventKind::Quarantine { path, reason },
            News::Degraded(reason) => EventKind::Broker { state: "degraded".into(), reason: Some(reason) },
            News::Recovered => EventKind::Broker { state: "ok".into(), reason: None },
        };
        queue.push(Body::Event(Event { id: queue.name(), at: queue.clock().now(), kind }));
    };
    broker.with_store(storage, clock::boot_id(), report).map_err(OpenError::Thread)
}

/// The local broker and what feeds it. Without listeners there is no broker to feed.
fn start_local(
    local: &mut Tasks,
    config: &Config,
    broker: &Broker,
    queue: &Queue,
    bulletin: &Bulletin,
    topics: &Topics,
    roll: &Roll,
) {
    let publisher = Publisher {
        live: queue.tap(TAP_CAPACITY),
        bulletin: bulletin.clone(),
        // Without filters of its own a bridge takes everything but states.
        states_wanted: config.bridges.iter().any(|bridge| bridge.forward.is_some()),
        topics: topics.clone(),
        clock: queue.clock().clone(),
        local: way_in(broker.local()),
        pulse: roll.enter("the publisher"),
    };
    let (ready, stop) = (broker.clone(), local.stop.clone());
    local.spawn("publisher", async move {
        // What it says before that would reach nobody.
        let ready = async {
            tokio::select! {
                () = ready.ready() => {}
                () = stop.cancelled() => {}
            }
        };
        publisher.pulse.during(ready).await;
        publisher.run(stop.cancelled_owned()).await;
    });
    let listeners = config.broker.listen.iter().cloned().map(Listen::from).collect();
    let (broker, stop) = (broker.clone(), local.stop.clone());
    local.spawn("broker", async move { broker.serve(listeners, stop).await });
}
