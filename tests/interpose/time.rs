//! The boot clock and the boot id, as a test wants them to be.

use std::ffi::{CString, c_int};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::RwLock;
use std::sync::atomic::{AtomicI64, Ordering};

use nix::libc::{self, clockid_t, syscall, timespec};

use super::{read_lock, write};

/// The clock runs.
const RUNS: i64 = i64::MIN;

/// Where the boot clock stands, in microseconds, or [`RUNS`].
static STANDS_AT: AtomicI64 = AtomicI64::new(RUNS);
/// What is added to the running clock, in microseconds.
static SHIFT: AtomicI64 = AtomicI64::new(0);
/// A file to be read in place of the kernel's boot id.
static BOOT_ID: RwLock<Option<CString>> = RwLock::new(None);

/// The boot clock stands still, at `us` microseconds after boot.
pub(crate) fn stop_at(us: i64) {
    STANDS_AT.store(us, Ordering::SeqCst);
}

/// The boot clock, which stands, moves on by `us` microseconds.
pub(crate) fn advance(us: i64) {
    STANDS_AT.fetch_add(us, Ordering::SeqCst);
}

/// The boot clock, which runs, jumps forward by `us` microseconds.
pub(crate) fn skip(us: i64) {
    SHIFT.fetch_add(us, Ordering::SeqCst);
}

/// The boot clock runs from `us` microseconds after boot on.
pub(crate) fn run_from(us: i64) {
    STANDS_AT.store(RUNS, Ordering::SeqCst);
    SHIFT.store(us - real_us(), Ordering::SeqCst);
}

/// From now on this machine is in the boot `id`; `file` keeps it.
pub(crate) fn set_boot_id(file: &Path, id: &str) {
    fs::write(file, id).unwrap();
    *write(&BOOT_ID) = Some(CString::new(file.as_os_str().as_bytes()).unwrap());
}

pub(super) fn boot_id_file(asked: &Path) -> Option<CString> {
    let file = read_lock(&BOOT_ID);
    file.clone().filter(|_| asked == Path::new("/proc/sys/kernel/random/boot_id"))
}

fn real_us() -> i64 {
    let mut now = timespec { tv_sec: 0, tv_nsec: 0 };
    unsafe { syscall(libc::SYS_clock_gettime, libc::CLOCK_BOOTTIME, &raw mut now) };
    now.tv_sec * 1_000_000 + now.tv_nsec / 1000
}

/// # Safety
/// As for libc's `clock_gettime`.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: clockid_t, into: *mut timespec) -> c_int {
    if clock != libc::CLOCK_BOOTTIME {
        return super::int(unsafe { syscall(libc::SYS_clock_gettime, clock, into) });
    }
    let us = match STANDS_AT.load(Ordering::SeqCst) {
        RUNS => real_us() + SHIFT.load(Ordering::SeqCst),
        stands => stands,
    };
    unsafe {
        *into = timespec { tv_sec: us.div_euclid(1_000_000), tv_nsec: us.rem_euclid(1_000_000) * 1000 }
    };
    0
}
