//! A link that breaks when it is told to: a TCP proxy.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::support::free_port;

/// Between two looks at a condition.
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// The most that is passed on at once, in bytes.
const PIECE_BYTES: usize = 16 * 1024;

/// What is wrong with the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// FIN to both sides, at once.
    Cut,
    /// The next piece that the bridge sends is passed on to its half, then there is an RST to both sides.
    Reset,
    /// Nothing comes through for so long; then there is an RST to both sides.
    BlackHole(Duration),
    /// Nothing comes through for so long, and then all of it.
    Stall(Duration),
    /// Everything is late for `time`, by `by`.
    Delay { by: Duration, time: Duration },
    /// One byte at a time for so long.
    Dribble(Duration),
    /// Both sides are cut off, and whoever comes is refused, for so long.
    Refuse(Duration),
    /// FIN to the bridge, which may go on to send.
    HalfCloseNear,
    /// FIN to the broker.
    HalfCloseFar,
}

impl Trouble {
    /// Whether the connection survives it.
    fn is_survived(self) -> bool {
        matches!(self, Self::Stall(_) | Self::Delay { .. } | Self::Dribble(_))
    }

    /// How long it lasts; `None`: until the connection is over.
    fn time(self) -> Option<Duration> {
        match self {
            Self::BlackHole(time) | Self::Stall(time) | Self::Dribble(time) | Self::Refuse(time) => {
                Some(time)
            }
            Self::Delay { time, .. } => Some(time),
            Self::Cut | Self::Reset | Self::HalfCloseNear | Self::HalfCloseFar => None,
        }
    }
}

/// A link. Ends when dropped.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    trouble: watch::Sender<Option<Trouble>>,
    open: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// A link to `far`, with nothing wrong.
    pub(crate) fn to(far: SocketAddr) -> Self {
        // Nobody may take the port while the listener is away.
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let (trouble, watch) = watch::channel(None);
        let open = Arc::default();
        let task = tokio::spawn(accept(address, far, watch, Arc::clone(&open)));
        Self { address, trouble, open, task }
    }

    /// Lets it happen, and returns when the link is sound again. Tells whether there was a connection
    /// that it ended.
    pub(crate) async fn suffer(&self, trouble: Trouble) -> bool {
        let cuts = !trouble.is_survived() && self.open.load(Ordering::SeqCst) > 0;
        self.trouble.send_replace(Some(trouble));
        match trouble.time() {
            Some(time) => sleep(time).await,
            None => self.until_closed().await,
        }
        if matches!(trouble, Trouble::BlackHole(_)) {
            self.trouble.send_replace(Some(Trouble::Cut));
            self.until_closed().await;
        }
        self.trouble.send_replace(None);
        cuts
    }

    async fn until_closed(&self) {
        while self.open.load(Ordering::SeqCst) > 0 {
            sleep(LOOK_AGAIN).await;
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Watch = watch::Receiver<Option<Trouble>>;

async fn accept(at: SocketAddr, far: SocketAddr, mut trouble: Watch, open: Arc<AtomicUsize>) {
    loop {
        let refuses = |trouble: &Option<Trouble>| matches!(trouble, Some(Trouble::Refuse(_)));
        if trouble.wait_for(|trouble| !refuses(trouble)).await.is_err() {
            return;
        }
        let listener = TcpListener::bind(at).await.unwrap();
        loop {
            let near = tokio::select! {
                _ = trouble.wait_for(refuses) => break,
                accepted = listener.accept() => accepted.unwrap().0,
            };
            let (trouble, open) = (trouble.clone(), Arc::clone(&open));
            tokio::spawn(async move {
                open.fetch_add(1, Ordering::SeqCst);
                // However it ends, it ends.
                let _ = pass(near, far, trouble).await;
                open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    }
}

/// Passes on what both sides say.
async fn pass(mut near: TcpStream, far: SocketAddr, mut trouble: Watch) -> io::Result<()> {
    let mut far = TcpStream::connect(far).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let (mut up, mut down) = (vec![0; PIECE_BYTES], vec![0; PIECE_BYTES]);
    let mut lost = false;
    loop {
        let now = *trouble.borrow_and_update();
        match now {
            Some(Trouble::Cut) if lost => return reset(&near, &far),
            Some(Trouble::Cut | Trouble::Refuse(_)) => return Ok(()),
            Some(Trouble::HalfCloseNear) => near.shutdown().await?,
            Some(Trouble::HalfCloseFar) => far.shutdown().await?,
            _ => {}
        }
        let reads = !matches!(now, Some(Trouble::Stall(_)));
        tokio::select! {
            changed = trouble.changed() => if changed.is_err() { return Ok(()) },
            count = near.read(&mut up), if reads => {
                let count = count?;
                match now {
                    Some(Trouble::Reset) => {
                        far.write_all(&up[..count / 2]).await?;
                        return reset(&near, &far);
                    }
                    Some(Trouble::BlackHole(_)) => lost = true,
                    now => carry(&up[..count], &mut far, now).await?,
                }
                if count == 0 {
                    return Ok(());
                }
            }
            count = far.read(&mut down), if reads => {
                let count = count?;
                match now {
                    Some(Trouble::BlackHole(_)) => lost = true,
                    // The bridge is not to hear more than that it is over.
                    Some(Trouble::HalfCloseNear) => {}
                    now => carry(&down[..count], &mut near, now).await?,
                }
                if count == 0 {
                    return Ok(());
                }
            }
        }
    }
}

async fn carry(bytes: &[u8], to: &mut TcpStream, trouble: Option<Trouble>) -> io::Result<()> {
    match trouble {
        Some(Trouble::Delay { by, .. }) => {
            sleep(by).await;
            to.write_all(bytes).await
        }
        Some(Trouble::Dribble(_)) => {
            for byte in bytes {
                to.write_all(&[*byte]).await?;
                tokio::task::yield_now().await;
            }
            Ok(())
        }
        _ => to.write_all(bytes).await,
    }
}

fn reset(near: &TcpStream, far: &TcpStream) -> io::Result<()> {
    near.set_zero_linger()?;
    far.set_zero_linger()
}
