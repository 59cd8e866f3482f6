//! What the broker keeps, as a list of deeds says it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Each begins with the letter of a filter: so a message goes to one filter only.
pub(crate) const FILTERS: [&str; 4] = ["a/+", "b/#", "c/+", "d/#"];
/// Client ids of those that subscribe.
pub(crate) const SUBSCRIBERS: [&str; 3] = ["kitchen", "cellar", "phone"];
/// Client id of the one that publishes.
pub(crate) const PUBLISHER: &str = "publisher";
/// Packet ids of messages with QoS 2.
pub(crate) const RECEIPTS: std::ops::RangeInclusive<u16> = 60_001..=60_004;

/// The topics that `filter` takes.
pub(crate) fn topic(filter: usize, number: usize) -> String {
    let (letter, _) = FILTERS[filter].split_once('/').unwrap();
    format!("{letter}/{number}")
}

/// One thing that a client does. The broker does them in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// A client connects and wants a new session that lasts.
    Begin { client: &'static str },
    /// A client ends its session. Nothing tells it that this is on disk.
    End { client: &'static str },
    /// Promised by SUBACK.
    Subscribe { client: &'static str, filter: usize },
    /// Promised by UNSUBACK.
    Unsubscribe { client: &'static str, filter: usize },
    /// QoS 1, promised by PUBACK. Without text, and retained: the topic is cleared.
    Publish { topic: String, text: String, is_retained: bool },
    /// QoS 0, retained: nothing is promised. Without text the topic is cleared.
    Retain { topic: String, text: String },
    /// QoS 2, promised by PUBREC.
    Take { id: u16, topic: String, text: String },
    /// PUBREL, promised by PUBCOMP.
    Release { id: u16 },
    /// A client acknowledges the oldest message that waits for it.
    Collect { client: &'static str },
}

/// A session that lasts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) filters: BTreeSet<usize>,
    /// Topic and text of what the client has not acknowledged, in order.
    pub(crate) waiting: VecDeque<(String, String)>,
}

/// Everything that is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct House {
    pub(crate) sessions: BTreeMap<&'static str, Session>,
    pub(crate) retained: BTreeMap<String, String>,
    /// Messages with QoS 2 that were received and not released.
    pub(crate) received: BTreeSet<u16>,
}

impl House {
    pub(crate) fn apply(&mut self, deed: &Deed) {
        match deed {
            Deed::Begin { client } => drop(self.sessions.insert(client, Session::default())),
            Deed::End { client } => drop(self.sessions.remove(client)),
            Deed::Subscribe { client, filter } => {
                self.sessions.get_mut(client).unwrap().filters.insert(*filter);
            }
            Deed::Unsubscribe { client, filter } => {
                self.sessions.get_mut(client).unwrap().filters.remove(filter);
            }
            Deed::Publish { topic, text, is_retained } => {
                if *is_retained {
                    self.retain(topic, text);
                }
                self.route(topic, text);
            }
            Deed::Retain { topic, text } => self.retain(topic, text),
            Deed::Take { id, topic, text } => {
                self.received.insert(*id);
                self.route(topic, text);
            }
            Deed::Release { id } => drop(self.received.remove(id)),
            Deed::Collect { client } => {
                self.sessions.get_mut(client).unwrap().waiting.pop_front().unwrap();
            }
        }
    }

    fn retain(&mut self, topic: &str, text: &str) {
        if text.is_empty() {
            self.retained.remove(topic);
        } else {
            self.retained.insert(topic.into(), text.into());
        }
    }

    /// Whether somebody may still have to get what the `deed` has brought. Not if all have it.
    pub(crate) fn needs(&self, deed: &Deed) -> bool {
        match deed {
            Deed::Publish { text, is_retained: false, .. } => {
                let mut waiting = self.sessions.values().flat_map(|session| &session.waiting);
                waiting.any(|(_, other)| other == text)
            }
            _ => true,
        }
    }

    fn route(&mut self, topic: &str, text: &str) {
        let takes = |filter: &usize| FILTERS[*filter].as_bytes()[0] == topic.as_bytes()[0];
        for session in self.sessions.values_mut().filter(|session| session.filters.iter().any(takes)) {
            session.waiting.push_back((topic.into(), text.into()));
        }
    }

    /// Where this is not like `other`, in a few words.
    pub(crate) fn difference(&self, other: &Self) -> String {
        let mut words = Vec::new();
        for client in SUBSCRIBERS.iter().chain([&PUBLISHER]) {
            match (self.sessions.get(client), other.sessions.get(client)) {
                (Some(this), Some(other)) if this != other => {
                    let brief = |session: &Session| {
                        let numbers = session.waiting.iter().map(|(topic, text)| {
                            format!("{topic}={}", text.split_once(':').map_or("", |(number, _)| number))
                        });
                        format!("{:?} {:?}", session.filters, numbers.collect::<Vec<_>>())
                    };
                    words.push(format!("{client}: {}, not {}", brief(this), brief(other)));
                }
                (Some(_), Some(_)) | (None, None) => {}
                (this, _) => words.push(format!("{client}: session {}", this.is_some())),
            }
        }
        if self.retained != other.retained {
            let topics = |house: &Self| house.retained.keys().cloned().collect::<Vec<_>>();
            words.push(format!("retained {:?}, not {:?}", topics(self), topics(other)));
        }
        if self.received != other.received {
            words.push(format!("received {:?}, not {:?}", self.received, other.received));
        }
        words.join("; ")
    }
}
