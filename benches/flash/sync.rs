//! How files are synced. Our builds let SQLite call `fdatasync`; stock builds of rusqlite call
//! `fsync`, because they do not define `HAVE_FDATASYNC`. Both are measured by one binary, so a thread
//! may say which it wants.

use std::cell::Cell;
use std::ffi::{c_int, c_long};

use nix::libc;

thread_local! {
    static STOCK: Cell<bool> = const { Cell::new(false) };
}

/// From now on SQLite syncs files of this thread as stock builds do.
pub(crate) fn as_stock_builds_do() {
    STOCK.set(true);
}

/// Takes the place of the C library's function, for SQLite as well.
#[expect(unsafe_code, reason = "the name is how SQLite finds it; the system call takes a number only")]
#[unsafe(no_mangle)]
extern "C" fn fdatasync(file: c_int) -> c_int {
    let call: c_long = if STOCK.get() { libc::SYS_fsync } else { libc::SYS_fdatasync };
    // SAFETY: neither call touches memory.
    let result = unsafe { libc::syscall(call, file) };
    if result == 0 { 0 } else { -1 }
}
