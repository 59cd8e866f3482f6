//! A link from here to another broker: takes rows from the queue and brings them to the cloud.
//!
//! ```text
//!         ┌─ refusals, quarantine, suspect: what the cloud does not take
//! queue ──Outlet──> feed ──Session──> link ──transport──> cloud broker
//!   ^    batch, pace │ ^                                     │
//!   └──done, rewind──┘ └─────────PUBACK, PUBCOMP─────────────┤
//! local broker <── receive, hold <──Session── commands ──────┘
//! ```
//! One task per bridge, and three states: connecting, connected, waiting to try again. What is to be
//! sent is in the queue, and a row leaves it only at its own PUBACK or PUBCOMP. After a cut it is sent
//! again, so the price of a cut is at most one window of duplicates, which bear the same ids; QoS 2
//! has none where the cloud kept the session (`carry`, `resume`).
//!
//! Besides rows a bridge brings the retained words of the [`Bulletin`] (`status`, `meta` and, if
//! wanted, `state`): all of them after each connect, then changes. The gateway's own `status` goes
//! to every cloud, because it is the bridge's last will as well.
//!
//! The protocol is in `session`, which is pure; this file and `link` only act.

mod aliases;
mod alive;
mod batch;
mod carry;
mod compress;
mod downlink;
mod echo;
mod end;
mod eta;
mod feed;
mod flights;
mod hello;
mod hold;
mod link;
mod lost;
mod pace;
mod probe;
mod quarantine;
mod receive;
mod refusals;
mod report;
mod resume;
mod session;
mod subscribe;
mod suspect;
mod takeover;
mod version;
mod words;

#[cfg(test)]
mod tests;

pub use self::probe::{Accepted, ProbeError, Seen, probe};

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::backoff::Backoff;
use crate::config;
use crate::flow::{Bulletin, LocalPublish};
use crate::mqtt::packet::Reason;
use crate::pulse::Pulse;
use crate::queue::{Consumer, Order, Outlet, Queue};
use crate::reading::{Body, Event, EventKind};
use crate::status::{self, Cell};
use crate::topic::{Forward, Subject, Topics};
use crate::transport::Dialer;

use self::batch::Batches;
use self::carry::{Memory, Terms};
use self::flights::Outcome;
use self::hello::Hello;
use self::link::{Connection, Failure, Passwords};
use self::lost::{Lost, Words as ReasonWords};
use self::pace::Pace;
use self::receive::Receiver;
use self::refusals::Refusals;
use self::report::Report;
use self::session::Session;
use self::suspect::Ended;
use self::takeover::Takeover;
use self::words::Word;

/// Retained words read at a time.
const NEWS: usize = 64;
/// The status is brought up to date at least this often while connected or waiting.
const PULSE: Duration = Duration::from_secs(1);
/// At the end, what is in flight has this long to be acknowledged.
const FINISH_WITHIN: Duration = Duration::from_secs(1);
/// And then the broker has this long to take our goodbye and close.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// What a bridge shares with the rest of the gateway.
#[derive(Debug)]
pub struct Handles {
    /// For events, names and time.
    pub queue: Queue,
    /// This bridge's side of the queue.
    pub outlet: Outlet,
    /// The retained words.
    pub bulletin: Bulletin,
    /// Where messages from the cloud go.
    pub local: LocalPublish,
    /// Our topics.
    pub topics: Topics,
    /// Where this bridge keeps its status.
    pub status: Cell<status::Bridge>,
    /// Shows that it turns.
    pub pulse: Arc<Pulse>,
}

/// One bridge.
#[derive(Debug)]
pub struct Bridge {
    config: config::Bridge,
    hello: Hello,
    forward: Forward,
    terms: Terms,
    memory: Memory,
    receiver: Receiver,
    handles: Handles,
    report: Report,
    refusals: Refusals,
    passwords: Passwords,
    takeover: Takeover,
    dialer: Dialer,
    backoff: Backoff,
    pace: Pace,
    /// What was taken from the queue and waits for its message.
    batches: Batches,
    /// Most rows in one message.
    batch_max: usize,
}

/// What a bridge is doing.
#[derive(Debug)]
enum State {
    /// Finding the broker and saying CONNECT.
    Connecting,
    /// The broker accepted us.
    Connected(Box<Connection>),
    /// Waiting to try again.
    Backoff { until: Instant },
}

/// The bridge as the queue is to know it: give these to [`Queue::open`], in the order of the
/// configuration.
#[must_use]
pub fn consumer(config: &config::Bridge) -> Consumer {
    let order = match config.order {
        config::Order::Oldest => Order::Oldest,
        config::Order::LiveFirst => Order::LiveFirst,
    };
    Consumer { name: config.name.clone(), forward: forward(config), order }
}

fn forward(config: &config::Bridge) -> Forward {
    config.forward.clone().map_or(Forward::Own, Forward::Routes)
}

impl Bridge {
    /// A bridge of the gateway named `gateway`; [`Bridge::run`] starts it.
    #[must_use]
    pub fn new(config: config::Bridge, gateway: &str, handles: Handles) -> Self {
        let cell = handles.status.clone();
        let forward = forward(&config);
        let (status, _) = forward.address(&handles.topics.of(&Subject::Gateway).into());
        let hello = Hello::new(&config, gateway, status);
        Self {
            takeover: Takeover::new(hello.client_id()),
            hello,
            terms: Terms::new(&config.receive, forward.highest_qos()),
            memory: Memory::default(),
            receiver: Receiver::new(&config, &handles, Instant::now().into_std()),
            forward,
            report: Report::new(&config.name, cell, Instant::now().into_std()),
            refusals: Refusals::default(),
            passwords: Passwords::new(config.password.clone()),
            dialer: Dialer::new(config.endpoint.clone()),
            backoff: Backoff::default(),
            pace: Pace::new(config.rate.messages, config.rate.bytes),
            batches: resume::batches(&config, resume::batch_max(&config)),
            batch_max: resume::batch_max(&config),
            config,
            handles,
        }
    }

    /// Keeps the link up until `stop` resolves; then gives what is in flight a second, says that
    /// the gateway is offline, and ends.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        let (mut stop, pulse) = (pin!(stop), Arc::clone(&self.handles.pulse));
        let mut state = State::Connecting;
        loop {
            state = match state {
                State::Connecting => tokio::select! {
                    () = &mut stop => return,
                    next = pulse.during(self.connect()) => next,
                },
                State::Backoff { until } => tokio::select! {
                    () = &mut stop => return,
                    () = self.wait(until) => State::Connecting,
                },
                State::Connected(connection) => match self.serve(connection, stop.as_mut()).await {
                    Some(next) => next,
                    None => return,
                },
            };
        }
    }

    // === Connecting ===

    async fn connect(&mut self) -> State {
        self.report.connecting();
        match self.open().await {
            Ok(connection) => self.connected(connection),
            Err(failure) => {
                if let Failure::Lost(why, _) = &failure {
                    self.hello.refused(why);
                }
                let reason = failure.to_string();
                self.report.failed(&reason);
                self.back_off(&reason)
            }
        }
    }

    async fn open(&mut self) -> Result<Connection, Failure> {
        let (password, renew_at) = self.passwords.read().await?;
        let stream = self.dialer.dial(|step| link::warn_of_end(&self.config.name, &step)).await?;
        Connection::open(stream, self.hello.connect(password), renew_at).await
    }

    fn connected(&mut self, connection: Connection) -> State {
        let now = Instant::now().into_std();
        let version = self.hello.version();
        self.hello.accepted();
        self.backoff.connected(now);
        self.refusals.suspect.connected(now, fastrand::f64());
        self.report.connected(connection.address, version, now);
        self.announce("connected", None);
        State::Connected(Box::new(connection))
    }

    fn announce(&self, state: &str, reason: Option<String>) {
        let queue = &self.handles.queue;
        let kind = EventKind::Bridge { name: self.config.name.clone(), state: state.into(), reason };
        queue.push(Body::Event(Event { id: queue.name(), at: queue.clock().now(), kind }));
    }

    fn back_off(&mut self, reason: &str) -> State {
        let now = Instant::now();
        let wait = self.backoff.failed(now.into_std(), fastrand::f64());
        self.report.backing_off(reason, wait);
        State::Backoff { until: now + wait }
    }

    async fn wait(&mut self, until: Instant) {
        while Instant::now() < until {
            self.pulse(None);
            sleep_until(until.min(Instant::now() + PULSE)).await;
        }
    }

    // === Connected ===

    /// Gives the next state, or `None` after `stop`.
    async fn serve(
        &mut self,
        mut connection: Box<Connection>,
        mut stop: Pin<&mut impl Future<Output = ()>>,
    ) -> Option<State> {
        let mut news = self.handles.bulletin.watch();
        let mut pulse = interval(PULSE);
        pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut told, mut outcomes) = (0, Vec::new());
        let renew_at = connection.renew_at;
        if let Err(failure) = self.resume(&mut connection, &mut outcomes) {
            return Some(self.lost(*connection, &failure));
        }
        loop {
            self.settle(&mut outcomes);
            news.mark_unchanged();
            told = self.read_news(&mut connection.session, told);
            self.fill(&mut connection.session);
            self.refuse_left(&mut connection.session);
            connection.flush(&mut outcomes);
            self.settle(&mut outcomes);
            self.pulse(Some(&connection.session));
            let room = self.may_take(&connection.session);
            let quiet_until = self.refusals.suspect.quiet_until();
            let now = Instant::now().into_std();
            let next = self.pace.next(now);
            let wake = next.or(self.batches.due(now));
            let turned = tokio::select! {
                () = &mut stop => {
                    self.farewell(*connection).await;
                    return None;
                }
                () = link::until(renew_at) => return Some(self.renew(*connection).await),
                turned = connection.turn(&mut outcomes) => turned,
                due = self.receiver.safe() => connection.session.acknowledge(due).map_err(Failure::from),
                () = self.handles.outlet.ready(), if room && next.is_none() => Ok(()),
                () = link::until(wake.map(Into::into)), if room => Ok(()),
                // The bulletin's other end is held by `self`.
                _ = news.changed() => Ok(()),
                _ = pulse.tick() => self.receiver_pulse(),
                () = link::until(quiet_until.map(Into::into)) => Ok(()),
            };
            if let Err(failure) = turned {
                self.settle(&mut outcomes);
                return Some(self.lost(*connection, &failure));
            }
        }
    }

    /// Hands words newer than version `told` of the bulletin to the session; gives the version up
    /// to which it knows them now.
    fn read_news(&self, session: &mut Session, mut told: u64) -> u64 {
        loop {
            let news = self.handles.bulletin.newer_than(told, NEWS);
            let last = news.len() < NEWS;
            for (version, subject, payload) in news {
                told = version;
                let topic: Arc<str> = self.handles.topics.of(&subject).into();
                let wanted = subject == Subject::Gateway || self.forward.wants_subject(&subject, &topic);
                if wanted && !self.refusals.quarantine.is_silent(&topic) {
                    let (topic, qos) = self.forward.address(&topic);
                    session.post_word(subject, Word { topic, qos, payload });
                }
            }
            if last {
                return told;
            }
        }
    }

    fn settle(&mut self, outcomes: &mut Vec<Outcome>) {
        let mut delivered = 0;
        for outcome in outcomes.drain(..) {
            match outcome {
                Outcome::Delivered(rows) => {
                    self.report.worked();
                    for row in rows.iter() {
                        self.handles.outlet.done(row.position);
                        self.took(row);
                        delivered += u64::from(row.body.counts());
                    }
                }
                Outcome::RowRefused(row, reason) => self.refused(&row, reason),
                Outcome::Failed(position) => self.failed(position),
                Outcome::WordRefused(topic, reason) => self.report.dead_letter(&topic, &ReasonWords(reason)),
                Outcome::TooMuch(reason) => {
                    let rate = self.pace.refused(Instant::now().into_std());
                    self.report.slower(&ReasonWords(reason), rate);
                }
                from_cloud => self.hear(from_cloud),
            }
        }
        if delivered > 0 {
            self.report.delivered(delivered);
        }
    }

    fn pulse(&mut self, session: Option<&Session>) {
        self.handles.pulse.beat();
        let in_flight = session.map_or(0, Session::in_flight);
        let now = Instant::now().into_std();
        if self.pace.recovers(now) {
            self.report.full_speed();
        }
        self.report.pulse(self.handles.outlet.backlog(), in_flight, now);
    }

    fn lost(&mut self, connection: Connection, failure: &Failure) -> State {
        let ended = Ended {
            by_peer: matches!(failure, Failure::Lost(lost, _) if lost.may_answer_a_message()),
            oldest: connection.session.oldest(),
            in_flight: connection.session.in_flight(),
        };
        let duplicates_possible = self.put_down(connection.session, Some((&ended, failure)));
        let now = Instant::now().into_std();
        let why = if let Failure::Lost(why, _) = failure { Some(why) } else { None };
        let rival = self.takeover.ended(why, self.report.life(now));
        let rivalled = rival.is_some();
        let mut reason = rival.unwrap_or_else(|| failure.to_string());
        if let Some(Lost::Disconnected(Reason::RATE_TOO_HIGH | Reason::RECEIVE_MAXIMUM, _)) = why {
            let rate = report::per_second(self.pace.refused(now));
            reason = format!("{reason}; sending at {rate} from now on");
        }
        self.report.lost(&reason, rivalled, duplicates_possible, now);
        self.announce("disconnected", Some(reason.clone()));
        self.back_off(&reason)
    }
}
