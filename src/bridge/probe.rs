//! One try of a bridge's link, step by step, for `serialgate check --connect`.
//!
//! The daemon may be connected at the same time, so the try has a client id of its own, no last
//! will, and publishes nothing.

use tokio::time::{Instant, timeout};

use crate::config;
use crate::mqtt::packet::{ConnAck, Version};
use crate::topic::Topics;
use crate::transport::{self, Dialer};

use super::CLOSE_WITHIN;
use super::hello::Hello;
use super::link::{Connection, Failure, Passwords};
use super::lost::Lost;

/// Tries until the version of MQTT is found that the broker speaks.
const TRIES: usize = 3;

/// What went well.
#[derive(Clone, Debug)]
pub enum Seen {
    /// On the way to the broker.
    Way(transport::Step),
    /// The broker does not speak this version, or closed the connection at it; another is tried.
    Refused(Version),
    /// The broker accepted us.
    Accepted(Box<Accepted>),
    /// The broker answered PINGREQ.
    Alive,
}

/// How the broker accepted us.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// As whom.
    pub client_id: String,
    /// The version of MQTT that we speak with it.
    pub version: Version,
    /// What it allows.
    pub answer: ConnAck,
}

/// Why the link does not work.
#[derive(Debug)]
pub struct ProbeError {
    /// The step that failed, in a word.
    pub step: &'static str,
    /// In words, with what to do.
    pub reason: String,
    /// The broker itself seems to have said no to us, under this client id, which is not the
    /// daemon's.
    pub refused_as: Option<String>,
}

/// Goes all the way to the broker of `config`, a bridge of the gateway `gateway`, and back; tells
/// `seen` of each step.
///
/// # Errors
/// At the first step that fails.
pub async fn probe(
    config: &config::Bridge,
    gateway: &str,
    topics: &Topics,
    mut seen: impl FnMut(Seen),
) -> Result<(), ProbeError> {
    let mut hello = Hello::new(config, gateway, topics).beside();
    let mut connection = connect(config, &mut hello, &mut seen).await.map_err(|failure| ProbeError {
        step: step(&failure),
        reason: failure.to_string(),
        refused_as: matches!(failure, Failure::Lost(_, None)).then(|| hello.client_id().to_string()),
    })?;
    let answered = async {
        connection.session.ping(Instant::now().into_std()).map_err(Lost::from)?;
        while connection.session.awaits_pong() {
            connection.turn(&mut Vec::new()).await?;
        }
        Ok::<(), Failure>(())
    };
    answered.await.map_err(|failure| ProbeError {
        step: "round trip",
        reason: failure.to_string(),
        refused_as: None,
    })?;
    seen(Seen::Alive);
    connection.session.leave();
    // Either the broker closes, or we have waited long enough.
    let _ = timeout(CLOSE_WITHIN, connection.close(&mut Vec::new())).await;
    Ok(())
}

/// Where `failure` happened.
fn step(failure: &Failure) -> &'static str {
    match failure {
        Failure::Password(_) => "password",
        Failure::Transport(error) => error.step(),
        Failure::Connect(_) | Failure::Broken(_) | Failure::Mistaken(_) | Failure::Lost(..) => "mqtt",
    }
}

async fn connect(
    config: &config::Bridge,
    hello: &mut Hello,
    seen: &mut impl FnMut(Seen),
) -> Result<Connection, Failure> {
    let (password, _) = Passwords::new(config.password.clone()).read().await?;
    let mut dialer = Dialer::new(config.endpoint.clone());
    let mut tries = 1;
    loop {
        let stream = dialer
            .dial(|step| {
                if tries == 1 {
                    seen(Seen::Way(step));
                }
            })
            .await?;
        let version = hello.version();
        match Connection::open(stream, hello.connect(password.clone()), None).await {
            Ok(connection) => {
                if let Some(answer) = connection.session.answer().cloned() {
                    let client_id = hello.client_id().to_string();
                    seen(Seen::Accepted(Box::new(Accepted { client_id, version, answer })));
                }
                return Ok(connection);
            }
            Err(Failure::Lost(why, hint)) => {
                hello.refused(&why);
                let may_help = matches!(why, Lost::Version(_) | Lost::ClosedUnanswered);
                if !may_help || config.protocol.is_some() || tries == TRIES {
                    return Err(Failure::Lost(why, hint));
                }
                if hello.version() != version {
                    seen(Seen::Refused(version));
                }
                tries += 1;
            }
            Err(other) => return Err(other),
        }
    }
}
