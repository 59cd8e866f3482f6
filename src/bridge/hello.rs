//! What we say at CONNECT, and what we learn from a refusal.

use std::sync::Arc;

use crate::config;
use crate::mqtt::packet::{Connect, Publish, Qos, Reason, Version, Will};
use crate::topic::OFFLINE;

use super::alive::KEEP_ALIVE;
use super::downlink::RECEIVE_MAXIMUM;
use super::lost::Lost;
use super::session::{INPUT_BYTES, RECEIVE_BYTES};
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
    /// Seconds that the session outlives a connection; 0 for a session that begins clean.
    session_expiry_s: u32,
    /// There is something to receive.
    receives: bool,
    negotiation: Negotiation,
}

impl Hello {
    /// For a bridge of the gateway named `gateway`, whose status is `will_topic` in the cloud. Asks
    /// for everything until something is refused.
    pub(super) fn new(config: &config::Bridge, gateway: &str, will_topic: Arc<str>) -> Self {
        let default_id = || format!("serialgate-{gateway}-{}", config.name);
        Self {
            client_id: config.client_id.clone().unwrap_or_else(default_id).into(),
            username: config.username.as_deref().map(Into::into),
            has_will: true,
            will_topic,
            will_qos: Qos::AtLeastOnce,
            will_retain: true,
            session_expiry_s: u32::try_from(config.session_expiry().as_secs()).unwrap_or(u32::MAX - 1),
            receives: !config.receive.is_empty(),
            negotiation: Negotiation::new(config.protocol),
        }
    }

    /// The same as another client, which may connect beside the first one. It has no will: its end
    /// says nothing of the gateway. And it leaves no session behind.
    pub(super) fn beside(mut self) -> Self {
        self.client_id = format!("{}-check", self.client_id).into();
        self.has_will = false;
        self.session_expiry_s = 0;
        self
    }

    /// The client id that it says.
    pub(super) fn client_id(&self) -> Arc<str> {
        Arc::clone(&self.client_id)
    }

    /// The next CONNECT. Unless the session is to outlive its connections it begins clean: what is to
    /// be sent is in the queue.
    pub(super) fn connect(&self, password: Option<String>) -> Connect {
        let will = Publish::new(Arc::clone(&self.will_topic), OFFLINE, self.will_qos, self.will_retain);
        Connect {
            version: self.version(),
            client_id: Arc::clone(&self.client_id),
            clean_start: self.session_expiry_s == 0,
            keep_alive_s: u16::try_from(KEEP_ALIVE.as_secs()).unwrap_or(u16::MAX),
            session_expiry_s: self.session_expiry_s,
            receive_maximum: if self.receives { RECEIVE_MAXIMUM } else { u16::MAX },
            maximum_packet_size: Some(if self.receives { RECEIVE_BYTES } else { INPUT_BYTES }),
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
