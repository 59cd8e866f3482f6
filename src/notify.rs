//! What the service manager is told: the protocol of sd_notify(3), one datagram of `KEY=value` lines to
//! the socket that `$NOTIFY_SOCKET` names.
//!
//! Without a manager nothing is sent. Nothing here waits: a manager that does not read misses what does
//! not fit into the socket, and whoever must be heard says it again.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// The way to the service manager, if there is one. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Notifier(Option<Arc<Manager>>);

#[derive(Debug)]
struct Manager {
    socket: UnixDatagram,
    address: SocketAddr,
}

/// What the manager is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News<'a> {
    /// Started, or done with a reload.
    Ready,
    /// A reload begins.
    Reloading,
    /// The end begins.
    Stopping,
    /// One line for people.
    Status(&'a str),
    /// All parts turn.
    Alive,
    /// It takes longer: do not lose patience for so long from now on.
    Longer(Duration),
}

impl Notifier {
    /// The manager that the environment names. One that cannot be reached is told in the log.
    #[must_use]
    pub fn from_environment() -> Self {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return Self::default() };
        let manager = Manager::at(name.as_encoded_bytes());
        if let Err(error) = &manager {
            tracing::warn!(socket = ?name, %error, "the service manager cannot be told anything");
        }
        Self(manager.ok().map(Arc::new))
    }

    /// Whether anybody listens.
    #[must_use]
    pub fn has_manager(&self) -> bool {
        self.0.is_some()
    }

    /// Tells these things in one datagram. Whether it went out; where there is no manager it did.
    pub fn tell(&self, news: &[News<'_>]) -> bool {
        let Some(manager) = &self.0 else { return true };
        let text = news.iter().map(lines).collect::<Vec<_>>().join("\n");
        let sent = manager.socket.send_to_addr(text.as_bytes(), &manager.address);
        if let Err(error) = &sent {
            tracing::debug!(%error, text, "the service manager does not listen");
        }
        sent.is_ok()
    }
}

impl Manager {
    fn at(name: &[u8]) -> io::Result<Self> {
        let address = match name {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(std::path::Path::new(as_os(name)))?,
            _ => return Err(io::Error::other("neither a path nor an abstract name")),
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, address })
    }
}

fn as_os(bytes: &[u8]) -> &std::ffi::OsStr {
    std::os::unix::ffi::OsStrExt::from_bytes(bytes)
}

fn lines(news: &News<'_>) -> String {
    match news {
        News::Ready => "READY=1".into(),
        // The time tells the manager that this is the answer to its own signal (Type=notify-reload).
        News::Reloading => format!("RELOADING=1\nMONOTONIC_USEC={}", monotonic_us()),
        News::Stopping => "STOPPING=1".into(),
        News::Status(line) => format!("STATUS={}", line.replace('\n', " ")),
        News::Alive => "WATCHDOG=1".into(),
        News::Longer(time) => format!("EXTEND_TIMEOUT_USEC={}", time.as_micros()),
    }
}

fn monotonic_us() -> i64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |t| t.tv_sec() * 1_000_000 + t.tv_nsec() / 1_000)
}

/// How long the manager waits for a sign of life; `None` where it does not.
#[must_use]
pub fn watchdog() -> Option<Duration> {
    let read = |name| std::env::var(name).ok();
    limit(read("WATCHDOG_USEC").as_deref(), read("WATCHDOG_PID").as_deref(), std::process::id())
}

/// The variables are inherited: they count for the process they name.
fn limit(usec: Option<&str>, pid: Option<&str>, own: u32) -> Option<Duration> {
    let is_ours = pid.is_none_or(|pid| pid.parse() == Ok(own));
    let usec = usec?.parse().ok().filter(|usec| is_ours && *usec > 0)?;
    Some(Duration::from_micros(usec))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_abstract_names_are_reached() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let name = format!("serialgate-test-{}", std::process::id());
        let abstract_name = SocketAddr::from_abstract_name(&name).unwrap();
        for (socket, address) in [
            (UnixDatagram::bind(&path).unwrap(), path.to_str().unwrap().to_owned()),
            (UnixDatagram::bind_addr(&abstract_name).unwrap(), format!("@{name}")),
        ] {
            let notifier = Notifier(Some(Arc::new(Manager::at(address.as_bytes()).unwrap())));
            assert!(notifier.tell(&[News::Ready, News::Status("all\nwell")]));
            assert!(notifier.tell(&[News::Longer(Duration::from_secs(2))]));
            let mut buffer = [0; 100];
            for expected in ["READY=1\nSTATUS=all well", "EXTEND_TIMEOUT_USEC=2000000"] {
                let length = socket.recv(&mut buffer).unwrap();
                assert_eq!(buffer.get(..length).unwrap(), expected.as_bytes());
            }
        }
        assert!(Manager::at(b"vsock:2:1").is_err());
    }

    #[test]
    fn a_manager_that_does_not_read_holds_nobody_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let _deaf = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier(Some(Arc::new(Manager::at(path.to_str().unwrap().as_bytes()).unwrap())));
        assert!((0..100_000).any(|_| !notifier.tell(&[News::Alive])), "the socket never got full");
    }

    #[test]
    fn the_watchdog_counts_for_the_process_that_it_names() {
        for (usec, pid, expected) in [
            (Some("30000000"), None, Some(30)),
            (Some("30000000"), Some("7"), Some(30)),
            (Some("30000000"), Some("8"), None),
            (Some("0"), None, None),
            (Some("x"), None, None),
            (None, Some("7"), None),
        ] {
            assert_eq!(limit(usec, pid, 7), expected.map(Duration::from_secs), "{usec:?} {pid:?}");
        }
    }
}
