//! The two clocks: `CLOCK_BOOTTIME` for order and age, wall time only for what people read.
//!
//! A Pi has no clock battery. Readings carry a [`Stamp`] (boot clock and boot id); the wall time is
//! worked out when a reading is published, from the offset between the two clocks. So readings that
//! were taken before the first time sync come out right afterwards.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use nix::time::{ClockId, clock_gettime};

use crate::reading::Stamp;

/// Wall time minus boot time in one boot of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offset {
    /// Microseconds to add to the boot clock.
    pub us: i64,
    /// Whether the wall clock had been synchronised when this was measured.
    pub synced: bool,
}

/// A wall time and how far to trust it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wall {
    /// Microseconds since 1970-01-01T00:00:00Z.
    pub unix_us: i64,
    /// The clock was never synchronised in that boot: the time is a guess.
    pub estimated: bool,
}

/// Tells the time. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Clock {
    boot: u32,
    earlier: Arc<BTreeMap<u32, Offset>>,
    synced: Arc<Synced>,
}

/// The kernel's last answer.
#[derive(Debug)]
struct Synced {
    asked_us: AtomicI64,
    answer: AtomicBool,
}

impl Clock {
    /// A clock whose present boot is row `boot` of the queue's boot table, and which knows the
    /// offsets of `earlier` boots.
    #[must_use]
    pub fn new(boot: u32, earlier: BTreeMap<u32, Offset>) -> Self {
        let synced = Synced { asked_us: boottime_us().into(), answer: synced().into() };
        Self { boot, earlier: Arc::new(earlier), synced: Arc::new(synced) }
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Stamp {
        Stamp { boot: self.boot, us: boottime_us() }
    }

    /// The present boot's offset. Whether the clock is synchronised is asked once a second: it is
    /// the one thing here that costs a system call, and this is called for every message.
    #[must_use]
    pub fn offset(&self) -> Offset {
        let now = boottime_us();
        let known = &self.synced;
        if now - known.asked_us.load(Ordering::Relaxed) >= 1_000_000 {
            known.asked_us.store(now, Ordering::Relaxed);
            known.answer.store(synced(), Ordering::Relaxed);
        }
        Offset { us: realtime_us() - now, synced: known.answer.load(Ordering::Relaxed) }
    }

    /// The wall time of `stamp`.
    #[must_use]
    pub fn wall(&self, stamp: Stamp) -> Wall {
        let offset = if stamp.boot == self.boot {
            self.offset()
        } else {
            self.earlier.get(&stamp.boot).copied().unwrap_or(Offset { us: 0, synced: false })
        };
        Wall { unix_us: stamp.us.saturating_add(offset.us), estimated: !offset.synced }
    }
}

/// Microseconds since this machine booted, time in suspend included.
#[must_use]
pub fn boottime_us() -> i64 {
    gettime_us(ClockId::CLOCK_BOOTTIME)
}

fn realtime_us() -> i64 {
    gettime_us(ClockId::CLOCK_REALTIME)
}

fn gettime_us(clock: ClockId) -> i64 {
    // Both clocks exist on every Linux since 2.6.39; the call cannot fail for them.
    clock_gettime(clock).map_or(0, |t| t.tv_sec() * 1_000_000 + t.tv_nsec() / 1_000)
}

/// Whether something has synchronised the wall clock since boot (the kernel's own flag).
#[must_use]
pub fn synced() -> bool {
    // SAFETY: `timex` is plain integers, all-zero is a valid value, and modes = 0 only reads.
    #[expect(unsafe_code, reason = "adjtimex has no safe wrapper in nix")]
    let (state, timex) = unsafe {
        let mut timex: nix::libc::timex = std::mem::zeroed();
        (nix::libc::adjtimex(&raw mut timex), timex)
    };
    state >= 0 && timex.status & nix::libc::STA_UNSYNC == 0
}
