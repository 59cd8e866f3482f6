//! How files are synced. Our builds let SQLite call `fdatasync`; stock builds of rusqlite call
//! `fsync`, because they do not define `HAVE_FDATASYNC`. Both are measured by one binary, so a thread
//! says which it wants.

use std::cell::Cell;
use std::ffi::c_int;

use nix::libc;

/// What a thread's calls of `fdatasync` do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sync {
    /// What they say.
    Data,
    /// `fsync`, as in a stock build.
    All,
    /// Nothing: for making a backlog whose making is not measured.
    Nothing,
}

thread_local! {
    static SYNC: Cell<Sync> = const { Cell::new(Sync::Data) };
}

/// From now on this thread syncs like that.
pub(crate) fn set(sync: Sync) {
    SYNC.set(sync);
}

/// Takes the place of the C library's function, for SQLite as well.
#[expect(unsafe_code, reason = "the name is how SQLite finds it; the system calls take a number only")]
#[unsafe(no_mangle)]
extern "C" fn fdatasync(file: c_int) -> c_int {
    let call = match SYNC.get() {
        Sync::Data => libc::SYS_fdatasync,
        Sync::All => libc::SYS_fsync,
        Sync::Nothing => return 0,
    };
    // SAFETY: neither call touches memory.
    let result = unsafe { libc::syscall(call, file) };
    if result == 0 { 0 } else { -1 }
}
