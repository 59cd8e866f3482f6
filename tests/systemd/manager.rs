//! A service manager, as far as the daemon can see.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::support::Gateway;

/// What a daemon may have to say in one datagram, in bytes.
const DATAGRAM: usize = 4096;

/// Hears what the daemon says.
pub(crate) struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    pub(crate) fn new(dir: &Path) -> Self {
        let path = dir.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        Self { socket, path }
    }

    /// For the daemon's environment.
    pub(crate) fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        vec![("NOTIFY_SOCKET", self.path.clone())]
    }

    /// The same with a watchdog.
    pub(crate) fn watching(&self, limit: Duration) -> Vec<(&'static str, PathBuf)> {
        let mut environment = self.environment();
        environment.push(("WATCHDOG_USEC", limit.as_micros().to_string().into()));
        environment
    }

    /// The next thing that it says within `limit`.
    pub(crate) fn hear(&self, limit: Duration) -> Option<String> {
        // Zero means for ever.
        self.socket.set_read_timeout(Some(limit.max(Duration::from_millis(1)))).unwrap();
        let mut buffer = [0; DATAGRAM];
        let length = self.socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
    }

    /// Waits until it says something of which `is_it` holds; gives that.
    pub(crate) fn wait(
        &self,
        what: &str,
        limit: Duration,
        gateway: &Gateway,
        is_it: impl Fn(&str) -> bool,
    ) -> String {
        let (start, mut heard) = (Instant::now(), Vec::new());
        while let Some(said) = self.hear(limit.saturating_sub(start.elapsed())) {
            if is_it(&said) {
                return said;
            }
            heard.push(said);
        }
        panic!("waited {limit:?} for {what}; heard {heard:#?}\n{}", gateway.log());
    }

    /// What was said until now.
    pub(crate) fn heard(&self) -> Vec<String> {
        std::iter::from_fn(|| self.hear(Duration::from_millis(1))).collect()
    }
}
