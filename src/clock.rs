//! The two clocks: `CLOCK_BOOTTIME` for order and age, wall time only for what people read.
//!
//! A Pi has no clock battery. Readings carry a [`Stamp`] (boot clock and boot id); the wall time is
//! worked out when a reading is published, from the offset between the two clocks. So readings that
//! were taken before the first time sync come out right afterwards.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use nix::time::{ClockId, clock_gettime};

use crate::reading::{Epoch, Stamp};

/// How long the kernel's word on whether the clock is synchronised is good for, in microseconds.
const ASK_AGAIN_US: i64 = 1_000_000;

/// Wall time minus boot time in one boot of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offset {
    /// Microseconds to add to the boot clock.
    pub us: i64,
    /// Whether the wall clock had been synchronised in that boot when this was measured.
    pub synced: bool,
}

impl Offset {
    /// Moves by less than this are not worth a write, in microseconds.
    const TOLERANCE_US: i64 = 100_000;

    /// What is to be remembered instead of this, when the clocks now stand as `now` says; `None`: this
    /// still holds. An offset from a synchronised clock stays better than one of a clock that is not.
    #[must_use]
    pub fn replaced_by(self, now: Self) -> Option<Self> {
        let worse = self.synced && !now.synced;
        let moved = self.us.abs_diff(now.us) > Self::TOLERANCE_US.unsigned_abs() || self.synced != now.synced;
        (moved && !worse).then_some(now)
    }
}

/// The two clocks, read one after the other.
#[derive(Clone, Copy, Debug)]
struct Look {
    /// What the boot clock said before, in microseconds.
    boot_us: i64,
    /// What the wall clock said, in microseconds.
    wall_us: i64,
    /// How much later the boot clock was after that, in microseconds: long where other threads came
    /// between.
    took_us: i64,
}

impl Look {
    /// Wall time shows milliseconds: a difference of less than one is none.
    const STEADY_US: i64 = 1_000;

    fn now() -> Self {
        let boot_us = boottime_us();
        let wall_us = realtime_us();
        Self { boot_us, wall_us, took_us: boottime_us() - boot_us }
    }

    /// The offset to go on with, where it was `known` before. It stays unless a clock was set or has
    /// drifted, so that every copy of a reading tells the same time: some databases know copies by that.
    fn offset_us(self, known: i64) -> i64 {
        let us = self.wall_us - self.boot_us;
        let doubt = Self::STEADY_US.saturating_add(self.took_us);
        if us.abs_diff(known) <= doubt.unsigned_abs() { known } else { us }
    }
}

/// A wall time and how far to trust it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wall {
    /// Microseconds since 1970-01-01T00:00:00Z.
    pub unix_us: i64,
    /// The clock was never synchronised in that boot: the time is a guess.
    pub estimated: bool,
}

/// Tells the time. Cheap to clone; all clones know what one of them learns.
#[derive(Clone, Debug, Default)]
pub struct Clock(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    earlier: RwLock<BTreeMap<u32, Offset>>,
    /// The present boot's offset, as it was told last; 0 before the first time.
    offset_us: AtomicI64,
    synced: Synced,
}

/// The kernel's last answer.
#[derive(Debug, Default)]
struct Synced {
    asked_us: AtomicI64,
    answer: AtomicBool,
}

impl Clock {
    /// Learns the offsets of earlier boots, by their rows in the queue's boot table.
    pub fn learn(&self, earlier: impl IntoIterator<Item = (u32, Offset)>) {
        self.0.earlier.write().unwrap_or_else(PoisonError::into_inner).extend(earlier);
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Stamp {
        Stamp::this_boot(boottime_us())
    }

    /// Tells that this boot's clock was synchronised before this start of the daemon.
    pub fn was_synced(&self) {
        self.0.synced.answer.store(true, Ordering::Relaxed);
    }

    /// The present boot's offset. Whether the clock is synchronised is asked once a second: it is
    /// the one thing here that costs a system call, and this is called for every message. Once it was,
    /// it stays right enough for the rest of the boot: a clock that lost its server drifts by a second
    /// a day, which is no guess.
    #[must_use]
    pub fn offset(&self) -> Offset {
        let look = Look::now();
        let now = look.boot_us;
        let known = &self.0.synced;
        let synced_before = known.answer.load(Ordering::Relaxed);
        if !synced_before && now - known.asked_us.load(Ordering::Relaxed) >= ASK_AGAIN_US {
            known.asked_us.store(now, Ordering::Relaxed);
            known.answer.store(synced(), Ordering::Relaxed);
        }
        let us = look.offset_us(self.0.offset_us.load(Ordering::Relaxed));
        self.0.offset_us.store(us, Ordering::Relaxed);
        Offset { us, synced: known.answer.load(Ordering::Relaxed) }
    }

    /// Microseconds that have passed since `stamp`, at least. Across boots only the wall clock knows, and
    /// it is asked where both boots had it synchronised; otherwise the time of this boot counts, which has
    /// passed in any case.
    #[must_use]
    pub fn passed_us(&self, stamp: Stamp) -> i64 {
        let now = self.now();
        let (then, present) = (self.wall(stamp), self.wall(now));
        let known =
            (!then.estimated && !present.estimated).then(|| present.unix_us.saturating_sub(then.unix_us));
        match stamp.epoch {
            Epoch::ThisBoot => now.us.saturating_sub(stamp.us),
            Epoch::Boot(_) => now.us.max(known.unwrap_or(0)),
            Epoch::Wall { .. } => known.unwrap_or(0),
        }
    }

    /// The wall time of `stamp`.
    #[must_use]
    pub fn wall(&self, stamp: Stamp) -> Wall {
        let offset = match stamp.epoch {
            Epoch::ThisBoot => self.offset(),
            Epoch::Boot(row) => self.earlier(row),
            Epoch::Wall { estimated } => Offset { us: 0, synced: !estimated },
        };
        Wall { unix_us: stamp.us.saturating_add(offset.us), estimated: !offset.synced }
    }
}

impl Clock {
    fn earlier(&self, row: u32) -> Offset {
        let earlier = self.0.earlier.read().unwrap_or_else(PoisonError::into_inner);
        earlier.get(&row).copied().unwrap_or(Offset { us: 0, synced: false })
    }
}

/// Microseconds since this machine booted, time in suspend included.
#[must_use]
pub fn boottime_us() -> i64 {
    gettime_us(ClockId::CLOCK_BOOTTIME)
}

/// The kernel's name for this boot; one of our own where it gives none.
#[must_use]
pub fn boot_id() -> String {
    let read = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    read.map_or_else(|_| uuid::Uuid::new_v4().to_string(), |id| id.trim().to_owned())
}

/// The wall clock, in microseconds since 1970.
#[must_use]
pub fn realtime_us() -> i64 {
    gettime_us(ClockId::CLOCK_REALTIME)
}

fn gettime_us(clock: ClockId) -> i64 {
    // Both clocks exist on every Linux since 2.6.39; the call cannot fail for them.
    clock_gettime(clock).map_or(0, |t| t.tv_sec() * 1_000_000 + t.tv_nsec() / 1_000)
}

/// Where `serialgate clock` leaves word that the clock was synchronised in this boot.
pub const SYNCED_FILE: &str = "/run/serialgate-clock/synchronised";

/// Whether something has synchronised the wall clock since boot. A sandbox may refuse the question
/// (systemd's `ProtectClock`): then the answer is in [`SYNCED_FILE`].
#[must_use]
pub fn synced() -> bool {
    kernel_says_synced().unwrap_or_else(|| Path::new(SYNCED_FILE).exists())
}

/// The kernel's own flag; `None` where we may not ask.
#[must_use]
pub fn kernel_says_synced() -> Option<bool> {
    // SAFETY: `timex` is plain integers, all-zero is a valid value, and modes = 0 only reads.
    #[expect(unsafe_code, reason = "adjtimex has no safe wrapper in nix")]
    let (state, timex) = unsafe {
        let mut timex: nix::libc::timex = std::mem::zeroed();
        (nix::libc::adjtimex(&raw mut timex), timex)
    };
    (state >= 0).then_some(timex.status & nix::libc::STA_UNSYNC == 0)
}

/// What a clock on the wall shows here at `unix_us`, as microseconds since 1970 read off it. Follows `TZ`
/// and /etc/localtime.
#[must_use]
pub fn local_us(unix_us: i64) -> i64 {
    let seconds = nix::libc::time_t::try_from(unix_us.div_euclid(1_000_000)).unwrap_or_default();
    // SAFETY: `tm` is plain integers and a pointer that is not followed, for which all-zero is a valid value.
    #[expect(unsafe_code, reason = "localtime_r has no safe wrapper in nix")]
    let local = unsafe {
        let mut local: nix::libc::tm = std::mem::zeroed();
        nix::libc::localtime_r(&raw const seconds, &raw mut local);
        local
    };
    unix_us.saturating_add(local.tm_gmtoff as i64 * 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In one boot the boot clock tells what has passed; across boots the wall clock does, if it was
    /// right in both; and this boot has passed in any case.
    #[test]
    fn what_has_passed_is_never_guessed() {
        const HOUR: i64 = 3_600_000_000;
        let clock = Clock::default();
        clock.was_synced();
        let (now, offset) = (clock.now(), clock.offset());
        let earlier = |synced| Offset { us: offset.us - HOUR, synced };
        clock.learn([(1, earlier(true)), (2, earlier(false))]);
        let at = |epoch| Stamp { epoch, us: now.us };
        let near = |stamp, expected: i64| {
            let passed = clock.passed_us(stamp);
            assert!((expected..expected + HOUR / 60).contains(&passed), "{stamp:?} {passed} {expected}");
        };
        near(now.plus_us(-HOUR), HOUR);
        near(at(Epoch::Boot(1)), HOUR.max(now.us));
        near(at(Epoch::Boot(2)), now.us);
        near(at(Epoch::Boot(3)), now.us);
        let hour_ago = offset.us + now.us - HOUR;
        near(Stamp { epoch: Epoch::Wall { estimated: false }, us: hour_ago }, HOUR);
        near(Stamp { epoch: Epoch::Wall { estimated: true }, us: hour_ago }, 0);
    }

    #[test]
    fn the_offset_stays_while_the_clocks_do() {
        let look = |wall_us, took_us| Look { boot_us: 1_000_000, wall_us, took_us };
        let hour = 3_600_000_000;
        for (wall_us, took_us, known, expected) in [
            // The first look.
            (hour, 1, 0, hour - 1_000_000),
            // A little later, and a little earlier.
            (hour + 900, 1, hour - 1_000_000, hour - 1_000_000),
            (hour - 900, 1, hour - 1_000_000, hour - 1_000_000),
            // Somebody else was at work between the two looks.
            (hour + 20_000, 25_000, hour - 1_000_000, hour - 1_000_000),
            // The clock has drifted, and was set back.
            (hour + 1_100, 1, hour - 1_000_000, hour + 1_100 - 1_000_000),
            (hour / 2, 25_000, hour - 1_000_000, hour / 2 - 1_000_000),
        ] {
            assert_eq!(look(wall_us, took_us).offset_us(known), expected, "{wall_us} {took_us}");
        }
    }

    #[test]
    fn a_stamp_has_the_same_wall_time_each_time() {
        let clock = Clock::default();
        let stamp = clock.now();
        let first = clock.wall(stamp);
        // One look must not tell by chance: 2000 of them without a steady offset would.
        assert!((0..2000).all(|_| clock.wall(stamp).unix_us == first.unix_us));
    }
}
