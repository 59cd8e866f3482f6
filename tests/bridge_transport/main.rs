//! The transports of a bridge: TLS, WebSocket and proxies, against Debian's mosquitto and small
//! servers of our own for what mosquitto does not show.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

#[path = "../support/cloud.rs"]
mod cloud;

mod check;
mod papers;
mod proxies;
mod tls;
mod websockets;

use serialgate::bridge::{ProbeError, Seen, probe};
use serialgate::config::Endpoint;
use serialgate::topic::Topics;
use serialgate::transport::{Secured, Step};
use tokio::time::timeout;

/// Goes to a broker and back, as `check --connect` does; gives what went well.
async fn visit(endpoint: Endpoint) -> Result<Vec<Seen>, ProbeError> {
    let (bridge, topics) = (cloud::bridge_to(endpoint), Topics::new("serialgate", "pi"));
    let mut steps = Vec::new();
    let visit = Box::pin(probe(&bridge, "pi", &topics, |seen| steps.push(seen)));
    timeout(cloud::PATIENCE, visit).await.expect("ends")?;
    Ok(steps)
}

/// What the TLS handshake of a visit that went well showed.
async fn secured(endpoint: Endpoint) -> Secured {
    let steps = visit(endpoint).await.unwrap();
    let secured = steps.into_iter().find_map(|seen| match seen {
        Seen::Way(Step::Secured(secured)) => Some(*secured),
        _ => None,
    });
    secured.expect("a TLS handshake")
}

/// The visit to `endpoint` fails at `step`, with each of `words` in the reason.
async fn fails(endpoint: Endpoint, step: &str, words: &[&str]) {
    let error = visit(endpoint).await.expect_err("it fails");
    assert_eq!(error.step, step, "{}", error.reason);
    for word in words {
        assert!(error.reason.contains(word), "no `{word}` in: {}", error.reason);
    }
}
