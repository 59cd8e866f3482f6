//! One line: a port, what speaks on it, and the pace at which it does.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::pty::{Event, Pty};
use super::source::Source;
use super::{Ledger, Options, Summary};

/// Longest sleep, so that a wake-up time far away is never too far for the clock.
const SLEEP_MAX: Duration = Duration::from_secs(3_600);
/// Most bytes to take from the port at a time.
const READ_MAX: usize = 4 * 1024;

/// A line.
pub(super) struct Line {
    link: PathBuf,
    /// `None` while unplugged.
    port: Option<Pty>,
    plugged: Option<watch::Receiver<bool>>,
    source: Source,
    pace: Pace,
    noise: Noise,
    ledger: Ledger,
    /// Bytes that wait for room in the port.
    out: Vec<u8>,
    /// What the board's clock counts from.
    booted: Instant,
    /// When the first reading was due; `None` while we wait for a listener.
    begun: Option<Instant>,
    linger: Duration,
    /// When to give up waiting for acknowledgements. `None` until the last reading is taken.
    give_up: Option<Instant>,
}

impl Line {
    /// Plugs `source` in at `link`.
    pub(super) fn open(options: &Options, link: PathBuf, source: Source, ledger: Ledger) -> io::Result<Self> {
        let is_plugged = options.plugged.as_ref().is_none_or(|plugged| *plugged.borrow());
        let port = if is_plugged { Some(Pty::open(&link)?) } else { None };
        let now = Instant::now();
        Ok(Self {
            noise: Noise::new(options.noise, &link),
            link,
            port,
            plugged: options.plugged.clone(),
            source,
            pace: Pace::new(options),
            ledger,
            out: Vec::new(),
            booted: now,
            begun: (!options.wait).then_some(now),
            linger: options.linger,
            give_up: None,
        })
    }

    /// Speaks until all is said, or until stopped.
    pub(super) async fn run(mut self, mut stopped: watch::Receiver<bool>) -> io::Result<Summary> {
        let mut buffer = [0; READ_MAX];
        loop {
            let now = Instant::now();
            self.sample(now)?;
            self.send(now)?;
            let Some(wake) = self.next_wake(now) else { break };
            let is_waiting = !self.out.is_empty();
            tokio::select! {
                _ = stopped.wait_for(|stopped| *stopped) => break,
                is_plugged = plug_change(&mut self.plugged) => self.plug(is_plugged)?,
                event = port_event(self.port.as_mut(), &mut buffer, is_waiting) => match event? {
                    Event::Read(count) => self.receive(buffer.get_mut(..count).unwrap_or_default())?,
                    Event::Opened => {
                        self.begun.get_or_insert_with(Instant::now);
                    }
                    Event::Closed => self.out.clear(),
                    Event::Writable => {}
                },
                () = tokio::time::sleep_until(wake) => {}
            }
        }
        Ok(self.source.summary())
    }

    /// Takes all readings that are due.
    fn sample(&mut self, now: Instant) -> io::Result<()> {
        let is_heard = self.port.as_ref().is_some_and(Pty::is_heard);
        while let Some(due) = self.sample_due().filter(|due| *due <= now) {
            self.pace.taken += 1;
            let before = self.out.len();
            self.source.sample(self.board_ms(due), is_heard, &mut self.out, &self.ledger)?;
            self.noise.damage_from(before, &mut self.out);
        }
        Ok(())
    }

    /// Sends what is to be sent, as far as there is room.
    fn send(&mut self, now: Instant) -> io::Result<()> {
        let before = self.out.len();
        self.source.transmit(self.board_ms(now), &mut self.out);
        self.noise.damage_from(before, &mut self.out);
        let sent = match &mut self.port {
            Some(port) => port.write(&self.out)?,
            None => self.out.len(),
        };
        self.out.drain(..sent);
        Ok(())
    }

    fn receive(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        let mut bytes = bytes.to_vec();
        self.noise.damage_from(0, &mut bytes);
        self.source.receive(self.board_ms(Instant::now()), &bytes, &self.ledger)
    }

    fn plug(&mut self, is_plugged: bool) -> io::Result<()> {
        match (is_plugged, &self.port) {
            (true, None) => self.port = Some(Pty::open(&self.link)?),
            (false, Some(_)) => {
                self.port = None;
                self.out.clear();
            }
            (true, Some(_)) | (false, None) => {}
        }
        Ok(())
    }

    /// When to look again, whatever happens until then. `None` when all is said.
    fn next_wake(&mut self, now: Instant) -> Option<Instant> {
        let mut wake = now + SLEEP_MAX;
        if let Some(due) = self.sample_due() {
            wake = wake.min(due);
        } else if self.pace.is_done() {
            let is_heard = self.port.as_ref().is_some_and(Pty::is_heard);
            let is_settled = self.source.is_settled(is_heard) && self.out.is_empty();
            let give_up = *self.give_up.get_or_insert(now + self.source.linger(self.linger));
            if is_settled || give_up <= now {
                return None;
            }
            wake = wake.min(give_up);
        }
        // While bytes wait, it is the port that wakes us.
        if self.out.is_empty() {
            let now_ms = self.board_ms(now);
            let later_ms = self.source.next_wake_ms(now_ms).saturating_sub(now_ms);
            wake = wake.min(now + Duration::from_millis(later_ms).min(SLEEP_MAX));
        }
        Some(wake)
    }

    fn sample_due(&self) -> Option<Instant> {
        Some(self.begun? + self.pace.due()?)
    }

    fn board_ms(&self, at: Instant) -> u64 {
        let uptime = at.saturating_duration_since(self.booted);
        u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX)
    }
}

/// Resolves when the board is plugged in or unplugged.
async fn plug_change(plugged: &mut Option<watch::Receiver<bool>>) -> bool {
    if let Some(changes) = plugged
        && changes.changed().await.is_ok()
    {
        return *changes.borrow_and_update();
    }
    // Nobody can change it any more.
    *plugged = None;
    std::future::pending().await
}

/// What happens next on the port; nothing ever while unplugged.
async fn port_event(port: Option<&mut Pty>, buffer: &mut [u8], is_waiting: bool) -> io::Result<Event> {
    match port {
        Some(port) => port.event(buffer, is_waiting).await,
        None => std::future::pending().await,
    }
}

/// When readings are due. Each has its own place in time, so that a late one delays no other.
#[derive(Debug)]
struct Pace {
    rate_hz: f64,
    taken: u64,
    limit: Option<u64>,
}

impl Pace {
    fn new(options: &Options) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        let in_time = options.duration.map(|time| (time.as_secs_f64() * options.rate_hz).ceil() as u64);
        let limit = options.count.into_iter().chain(in_time).min();
        Self { rate_hz: options.rate_hz, taken: 0, limit }
    }

    fn is_done(&self) -> bool {
        self.limit.is_some_and(|limit| limit <= self.taken)
    }

    /// When the next reading is due, from the first one on. `None` if there will be no more, or
    /// not within the reach of the clock.
    fn due(&self) -> Option<Duration> {
        let after = Duration::try_from_secs_f64(self.taken as f64 / self.rate_hz).ok()?;
        (!self.is_done()).then_some(after)
    }
}

/// What happens to bytes on a bad line: some change, some vanish.
#[derive(Debug)]
struct Noise {
    probability: f64,
    rng: fastrand::Rng,
}

impl Noise {
    /// The same link always has the same noise.
    fn new(probability: f64, link: &std::path::Path) -> Self {
        let crc = crc::Crc::<u64>::new(&crc::CRC_64_XZ);
        let seed = crc.checksum(link.as_os_str().as_encoded_bytes());
        Self { probability, rng: fastrand::Rng::with_seed(seed) }
    }

    /// Lets the bytes from `start` on suffer.
    fn damage_from(&mut self, start: usize, bytes: &mut Vec<u8>) {
        if self.probability <= 0.0 {
            return;
        }
        let mut index = 0;
        bytes.retain_mut(|byte| {
            index += 1;
            let is_hit = start < index && self.rng.f64() < self.probability;
            if is_hit {
                *byte ^= self.rng.u8(1..);
            }
            !is_hit || self.rng.bool()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::Format;

    fn pace(rate_hz: f64, count: Option<u64>, seconds: Option<f64>) -> Pace {
        let duration = seconds.map(Duration::from_secs_f64);
        let link = std::path::Path::new("board");
        Pace::new(&Options { count, duration, ..Options::new(link, Format::Wire, rate_hz) })
    }

    fn all_due(mut pace: Pace) -> Vec<Duration> {
        let take = |pace: &mut Pace| {
            let due = pace.due();
            pace.taken += 1;
            due
        };
        std::iter::from_fn(|| take(&mut pace)).collect()
    }

    #[test]
    fn the_pace_is_kept_on_average_for_ever() {
        let mut pace = pace(1000.0, None, None);
        for (taken, seconds) in [(0, 0.0), (1, 0.001), (3_600_000, 3_600.0), (86_400_000, 86_400.0)] {
            pace.taken = taken;
            assert_eq!(pace.due(), Some(Duration::from_secs_f64(seconds)));
        }
    }

    #[test]
    fn the_first_limit_ends_it() {
        for (rate, count, seconds, readings) in [
            (10.0, Some(3), None, 3),
            (10.0, None, Some(0.5), 5),
            (10.0, None, Some(0.51), 6),
            (10.0, Some(2), Some(0.5), 2),
            (10.0, Some(9), Some(0.5), 5),
            (10.0, Some(0), None, 0),
        ] {
            assert_eq!(all_due(pace(rate, count, seconds)).len(), readings, "{rate} {count:?} {seconds:?}");
        }
    }

    #[test]
    fn a_rate_out_of_reach_of_the_clock_gives_one_reading() {
        assert_eq!(all_due(pace(1e-300, Some(9), None)), [Duration::ZERO]);
    }

    #[test]
    fn noise_hits_as_often_as_it_is_told_and_only_new_bytes() {
        let mut noise = Noise::new(0.1, std::path::Path::new("board"));
        let mut bytes = vec![0; 20_000];
        noise.damage_from(10_000, &mut bytes);
        let changed = bytes.iter().filter(|byte| **byte != 0).count();
        let lost = 20_000 - bytes.len();
        assert!(bytes[..10_000].iter().all(|byte| *byte == 0));
        assert!((400..600).contains(&changed) && (400..600).contains(&lost), "{changed} {lost}");

        let mut bytes = vec![0; 100];
        Noise::new(0.0, std::path::Path::new("board")).damage_from(0, &mut bytes);
        assert_eq!(bytes, [0; 100]);
    }
}
