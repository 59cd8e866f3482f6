//! The signals that end the daemon, as one future, and the one that makes it read its configuration
//! again.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Resolves to the name of the first SIGTERM or SIGINT. From the call on, not only from the first
/// poll, these signals no longer kill the process.
///
/// # Errors
/// Where the handlers cannot be installed.
pub fn shutdown() -> io::Result<impl Future<Output = &'static str>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    })
}

/// Each SIGHUP.
#[derive(Debug)]
pub struct Reloads(Signal);

/// From the call on, SIGHUP no longer kills the process.
///
/// # Errors
/// Where the handler cannot be installed.
pub fn reloads() -> io::Result<Reloads> {
    signal(SignalKind::hangup()).map(Reloads)
}

impl Reloads {
    /// Resolves when one or more came since the last call.
    pub async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            // There will be no more.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::{Signal as Number, raise};

    use super::*;

    #[tokio::test]
    async fn a_signal_that_comes_before_the_first_poll_counts() {
        let shutdown = shutdown().unwrap();
        raise(Number::SIGTERM).unwrap();
        assert_eq!(shutdown.await, "SIGTERM");
    }

    #[tokio::test]
    async fn a_reload_that_comes_before_the_first_poll_counts_and_each_later_one_too() {
        let mut reloads = reloads().unwrap();
        for _ in 0..3 {
            raise(Number::SIGHUP).unwrap();
            reloads.next().await;
        }
    }
}
