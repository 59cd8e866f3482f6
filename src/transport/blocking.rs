//! Work that may block for long, one at a time.

use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

/// Runs jobs of one kind in a thread of their own. In front of a dead name server or file server
/// each attempt would leave a thread behind, so a job that nobody waited for to the end is waited
/// for again instead.
#[derive(Debug)]
pub struct Blocking<T>(Option<JoinHandle<T>>);

impl<T> Default for Blocking<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Send + 'static> Blocking<T> {
    /// The result of `job`, or of the one before if that still runs; `None` where it took longer
    /// than `within`, or died.
    pub async fn run(&mut self, within: Duration, job: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let running = self.0.get_or_insert_with(|| spawn_blocking(job));
        let ended = timeout(within, running).await.ok()?;
        self.0 = None;
        ended.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_job_that_hangs_is_waited_for_again_instead_of_started_again() {
        let (release, held) = mpsc::channel::<()>();
        let mut blocking = Blocking::default();
        let hangs = move || {
            let _ = held.recv();
            1
        };
        assert_eq!(blocking.run(Duration::from_millis(10), hangs).await, None);
        assert_eq!(blocking.run(Duration::from_millis(10), || 2).await, None);
        drop(release);
        assert_eq!(blocking.run(Duration::from_secs(20), || 3).await, Some(1));
        assert_eq!(blocking.run(Duration::from_secs(20), || 4).await, Some(4));
    }
}
