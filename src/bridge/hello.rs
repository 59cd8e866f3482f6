//! What we say at CONNECT, and what we learn from a refusal.

use std::sync::Arc;

use crate::config;
use crate::mqtt::packet::{Connect, Publish, Qos, Reason, Version, Will};
use crate::topic::{OFFLINE, Subject, Topics};

use super::alive::KEEP_ALIVE;
use super::lost::Lost;
use super::session::INPUT_BYTES;
use super::version::Negotiation;

/// Makes the CONNECT of one bridge.
#[derive(Debug)]
pub(super) struct Hello {
    client_id: Arc<str>,
    username: Option<Arc<str>>,
    has_will: bool,
    will_topic: Arc<str>,
    will_qos: Qos,
    will_retain: bool,
    negotiation: Negotiation,
}

impl Hello {
    /// For a bridge of the gateway named `gateway`. Asks for everything until something is refused.
    pub(super) fn new(config: &config::Bridge, gateway: &str, topics: &Topics) -> Self {
        let default_id = || format!("serialgate-{gateway}-{}", config.name);
        Self {
            client_id: config.client_id.clone().unwrap_or_else(default_id).into(),
            username: config.username.as_deref().map(Into::into),
            has_will: true,
            will_topic: topics.of(&Subject::Gateway).into(),
            will_qos: Qos::AtLeastOnce,
            will_retain: true,
            negotiation: Negotiation::new(config.protocol),
        }
    }

    /// The same as another client, which may connect beside the first one. It has no will: its end
    /// says nothing of the gateway.
    pub(super) fn beside(mut self) -> Self {
        self.client_id = format!("{}-check", self.client_id).into();
        self.has_will = false;
        self
    }

    /// The client id that it says.
    pub(super) fn client_id(&self) -> Arc<str> {
        Arc::clone(&self.client_id)
    }

    /// The next CONNECT. The session begins clean: what is to be sent is in the queue.
    pub(super) fn connect(&self, password: Option<String>) -> Connect {
        let will = Publish::new(Arc::clone(&self.will_topic), OFFLINE, self.will_qos, self.will_retain);
        Connect {
            version: self.version(),
            client_id: Arc::clone(&self.client_id),
            clean_start: true,
            keep_alive_s: u16::try_from(KEEP_ALIVE.as_secs()).unwrap_or(u16::MAX),
            session_expiry_s: 0,
            receive_maximum: u16::MAX,
            maximum_packet_size: Some(INPUT_BYTES),
            topic_alias_maximum: 0,
            username: self.username.clone(),
            password: password.map(Into::into),
            will: self.has_will.then_some(Will { message: will, delay_s: 0 }),
        }
    }

    /// The version that it asks for.
    pub(super) fn version(&self) -> Version {
        self.negotiation.version()
    }

    /// The broker took it.
    pub(super) fn accepted(&mut self) {
        self.negotiation.accepted();
    }

    /// The broker did not take it: asks for something else where that may help.
    pub(super) fn refused(&mut self, why: &Lost) {
        const NO_RETAIN: Reason = Reason(0x9A);
        const NO_QOS: Reason = Reason(0x9B);
        match why {
            Lost::Version(_) => self.negotiation.refused(),
            Lost::ClosedUnanswered => self.negotiation.closed(),
            Lost::Refused(NO_RETAIN, _) => self.will_retain = false,
            Lost::Refused(NO_QOS, _) => self.will_qos = Qos::AtMostOnce,
            _ => {}
        }
    }
}
