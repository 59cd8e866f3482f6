//! A port on a pty, with a real queue behind it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serialgate::config;
use serialgate::flow::Bulletin;
use serialgate::port::{Handles, Port};
use serialgate::queue::{Consumer, Queue};
use serialgate::reading::{Body, Event, EventKind, Reading, Value};
use serialgate::status::{self, PortState};
use serialgate::topic::{Forward, Subject, Topics};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_serial::{SerialPort, SerialStream};
use tokio_util::sync::CancellationToken;

/// Everything that is waited for comes within this time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The board's end of a line. A port must not look for it any more when it is dropped: the kernel
/// soon gives the same name to the pty of somebody else.
pub(crate) struct Cable {
    pub(crate) master: SerialStream,
    /// The device at our end.
    pub(crate) device: PathBuf,
}

impl Cable {
    pub(crate) fn new() -> Self {
        let (master, slave) = SerialStream::pair().unwrap();
        Self { master, device: slave.name().unwrap().into() }
    }

    /// Makes the device appear at `link`, in one step.
    pub(crate) fn plug(&self, link: &Path) {
        let fresh = link.with_extension("new");
        std::os::unix::fs::symlink(&self.device, &fresh).unwrap();
        std::fs::rename(fresh, link).unwrap();
    }

    /// Makes the device disappear. The link goes first: the kernel gives the same name to the next
    /// pty that somebody makes.
    pub(crate) fn unplug(self, link: &Path) {
        std::fs::remove_file(link).unwrap();
        drop(self);
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        timeout(PATIENCE, self.master.write_all(bytes)).await.expect("somebody reads").unwrap();
    }
}

/// A running port.
pub(crate) struct Rig {
    pub(crate) dir: TempDir,
    pub(crate) queue: Queue,
    pub(crate) bulletin: Bulletin,
    pub(crate) ports: status::Ports,
    tap: mpsc::Receiver<Arc<Body>>,
    handles: Handles,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Rig {
    /// A gateway without ports.
    pub(crate) fn new() -> Self {
        Self::committing_within(config::Queue::default().commit_within)
    }

    /// One that leaves readings in memory for so long.
    pub(crate) fn committing_within(commit_within: Duration) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("queue.db");
        let settings = config::Queue { path, commit_within, ..config::Queue::default() };
        let consumer = Consumer { name: "cloud".into(), forward: Forward::Own, order: Default::default() };
        let queue = Queue::open(&settings, Topics::new("serialgate", "test"), vec![consumer]).unwrap();
        let (bulletin, ports) = (Bulletin::default(), status::Ports::default());
        let handles = Handles::new(queue.clone(), bulletin.clone(), ports.clone());
        let tap = queue.tap(100_000);
        Self { dir, queue, bulletin, ports, tap, handles, stop: CancellationToken::new(), tasks: Vec::new() }
    }

    /// Where a device called `name` is looked for.
    pub(crate) fn link(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Starts a port at `name`, which may be a pattern.
    pub(crate) fn start(&mut self, name: &str, port: config::Port) {
        let path = self.link(name).to_str().unwrap().to_owned();
        let port = config::Port { path, ..port };
        self.tasks.push(tokio::spawn(Port::new(port, self.handles.clone()).run(self.stop.clone())));
    }

    /// Starts a port at `tty` that is plugged in, and waits until it is open.
    pub(crate) async fn start_plugged(&mut self, port: config::Port) -> Cable {
        self.start("tty", port);
        self.plug("tty").await
    }

    /// Plugs a new device in at `name`, and waits until it is open.
    pub(crate) async fn plug(&self, name: &str) -> Cable {
        let link = self.link(name);
        let cable = Cable::new();
        cable.plug(&link);
        let path = link.to_str().unwrap();
        let open = |port: &status::Port| port.path == path && port.state == PortState::Open;
        self.wait_for("the port to open", || self.ports.document(0).iter().any(open)).await;
        cable
    }

    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        for task in self.tasks.drain(..) {
            timeout(PATIENCE, task).await.expect("ports stop").unwrap();
        }
        self.queue.close();
    }

    /// The only port's status.
    pub(crate) fn status(&self) -> status::Port {
        let mut ports = self.ports.document(serialgate::clock::boottime_us());
        assert!(ports.len() <= 1, "{ports:?}");
        ports.pop().unwrap_or_default()
    }

    pub(crate) async fn wait_state(&self, state: PortState) {
        self.wait_for("the state", || self.ports.document(0).iter().any(|port| port.state == state)).await;
    }

    pub(crate) async fn wait_for(&self, what: &str, mut met: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !met() {
            assert!(Instant::now() < deadline, "{what}: {:?}", self.ports.document(0));
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// The next thing that went into the queue.
    pub(crate) async fn next(&mut self) -> Body {
        let body = timeout(PATIENCE, self.tap.recv()).await.expect("something comes").unwrap();
        Body::clone(&body)
    }

    pub(crate) async fn next_reading(&mut self) -> Reading {
        loop {
            if let Body::Reading(reading) = self.next().await {
                return reading;
            }
        }
    }

    pub(crate) async fn next_event(&mut self) -> EventKind {
        loop {
            if let Body::Event(Event { kind, .. }) = self.next().await {
                return kind;
            }
        }
    }

    /// What was last said on a retained subject.
    pub(crate) fn post(&self, subject: &Subject) -> Option<String> {
        let posts = self.bulletin.newer_than(0, 10_000);
        let found = posts.into_iter().find(|(_, other, _)| other == subject)?;
        Some(String::from_utf8(found.2.to_vec()).unwrap())
    }
}

pub(crate) fn json() -> config::Port {
    config::Port { format: config::Format::Json, ..config::Port::default() }
}

pub(crate) fn wire() -> config::Port {
    config::Port::default()
}

/// The first value, which is a whole number.
pub(crate) fn number(reading: &Reading) -> i64 {
    match reading.values[0].1 {
        Value::Decimal { mantissa, exponent: 0 } => mantissa,
        ref other => panic!("{other:?}"),
    }
}
