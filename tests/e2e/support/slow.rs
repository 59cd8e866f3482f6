//! A link between gateway and cloud that is slow: bytes take their time.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::{free_port, pause};

/// The most that is passed on at once.
const PIECE_BYTES: usize = 16 * 1024;

/// Passes connections on to a port of this machine. What the cloud says goes through at any rate.
pub(crate) struct Slow {
    pub(crate) port: u16,
    pace: Arc<Pace>,
}

/// How long bytes take.
struct Pace {
    /// All that are passed on at once, in microseconds.
    delay_us: AtomicU64,
    /// Each.
    bytes_per_second: AtomicU64,
}

impl Pace {
    fn at_once() -> Self {
        Self { delay_us: AtomicU64::new(0), bytes_per_second: AtomicU64::new(u64::MAX) }
    }

    fn of(&self, bytes: usize) -> Duration {
        let rate = self.bytes_per_second.load(Ordering::Relaxed);
        let each = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(1_000_000) / rate;
        Duration::from_micros(self.delay_us.load(Ordering::Relaxed) + each)
    }
}

impl Slow {
    /// A link to `cloud` that is as fast as this machine.
    pub(crate) fn to(cloud: u16) -> Self {
        let port = free_port();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        let pace = Arc::new(Pace::at_once());
        let up = Arc::clone(&pace);
        // It ends with the process: there is nothing that it could keep.
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                // While the cloud is away, so is the link.
                let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, cloud)) else { continue };
                let (Ok(near2), Ok(far2)) = (near.try_clone(), far.try_clone()) else { continue };
                let up = Arc::clone(&up);
                thread::spawn(move || pass(near, far, &up));
                thread::spawn(move || pass(far2, near2, &Pace::at_once()));
            }
        });
        Self { port, pace }
    }

    /// From now on what the gateway says takes so long, as on a long way.
    pub(crate) fn delay(&self, delay: Duration) {
        self.pace.delay_us.store(u64::try_from(delay.as_micros()).unwrap(), Ordering::Relaxed);
    }

    /// From now on the gateway can say so much.
    pub(crate) fn limit(&self, bytes_per_second: u64) {
        self.pace.bytes_per_second.store(bytes_per_second, Ordering::Relaxed);
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, pace: &Pace) {
    let _ = to.set_nodelay(true);
    let mut bytes = [0; PIECE_BYTES];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        pause(pace.of(count));
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    // What one side closed is closed for the other.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
