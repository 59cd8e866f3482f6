//! The signals that end the daemon, as one future.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

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

#[cfg(test)]
mod tests {
    use nix::sys::signal::{Signal, raise};

    use super::*;

    #[tokio::test]
    async fn a_signal_that_comes_before_the_first_poll_counts() {
        let shutdown = shutdown().unwrap();
        raise(Signal::SIGTERM).unwrap();
        assert_eq!(shutdown.await, "SIGTERM");
    }
}
