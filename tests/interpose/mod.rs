//! Stands between the program and the file calls of the system, for tests.
//!
//! A test binary that has this module defines `pwrite64`, `fdatasync` and the others itself, so the
//! linker gives these to SQLite and to the standard library instead of libc's. Calls on files below
//! a folder that somebody [`watch`]es are shown to him: he may let them pass, fail them or cut them
//! short, and is told of those that were done. All other calls go straight to the kernel.
//!
//! The boot clock and the kernel's boot id can be set as well ([`time`]).

#![expect(unsafe_code, reason = "stands in for system calls")]

use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use nix::errno::Errno;
use nix::libc::{self, mode_t, off64_t, size_t, ssize_t, syscall};

pub(crate) mod time;

/// A file call below a watched folder. `handle` names one opening of one file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Call<'a> {
    /// `creates`: the file is not there yet.
    Open {
        handle: u64,
        path: &'a Path,
        creates: bool,
        writable: bool,
    },
    Read {
        handle: u64,
    },
    Write {
        handle: u64,
        at: u64,
        data: &'a [u8],
    },
    Truncate {
        handle: u64,
        length: u64,
    },
    /// `fsync`, or `fdatasync` if `data_only`.
    Sync {
        handle: u64,
        data_only: bool,
    },
    Rename {
        from: &'a Path,
        to: &'a Path,
    },
    Unlink {
        path: &'a Path,
    },
    MakeFolder {
        path: &'a Path,
    },
}

/// What is to become of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Pass,
    /// It fails with this error and does nothing.
    Fail(Errno),
    /// Of a write, only so many bytes are written.
    Short(usize),
}

/// Who sees the calls. Must not touch watched files itself.
pub(crate) trait Watch: Send + Sync {
    /// Decides before the call is made.
    fn before(&self, call: Call<'_>) -> Verdict;
    /// The call was made and has succeeded.
    fn after(&self, call: Call<'_>);
}

/// Watching ends when this is dropped.
pub(crate) struct Watching(PathBuf);

/// Shows all calls on files below `folder`, which has no links in it, to `watch`.
pub(crate) fn watch(folder: &Path, watch: Arc<dyn Watch>) -> Watching {
    write(&WATCHES).push((folder.to_owned(), watch));
    Watching(folder.to_owned())
}

impl Drop for Watching {
    fn drop(&mut self) {
        write(&WATCHES).retain(|(folder, _)| *folder != self.0);
    }
}

/// An open file that is watched.
#[derive(Clone)]
struct Opened {
    handle: u64,
    appends: bool,
    watch: Arc<dyn Watch>,
}

/// Above this number, no file is watched.
const FDS: usize = 4096;

static WATCHES: RwLock<Vec<(PathBuf, Arc<dyn Watch>)>> = RwLock::new(Vec::new());
static OPENED: RwLock<Vec<(c_int, Opened)>> = RwLock::new(Vec::new());
/// The short way for the many calls on files that nobody watches.
static IS_WATCHED: [AtomicBool; FDS] = [const { AtomicBool::new(false) }; FDS];
static NEXT_HANDLE: AtomicU64 = AtomicU64::new(1);

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

fn read_lock<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn flag(fd: c_int) -> Option<&'static AtomicBool> {
    IS_WATCHED.get(usize::try_from(fd).ok()?)
}

fn opened(fd: c_int) -> Option<Opened> {
    if !flag(fd)?.load(Ordering::Acquire) {
        return None;
    }
    let opened = read_lock(&OPENED);
    opened.iter().find(|(number, _)| *number == fd).map(|(_, opened)| opened.clone())
}

fn watcher(path: &Path) -> Option<Arc<dyn Watch>> {
    let watches = read_lock(&WATCHES);
    watches.iter().find(|(folder, _)| path.starts_with(folder)).map(|(_, watch)| Arc::clone(watch))
}

/// # Safety
/// `path` is a string that ends with a zero byte.
unsafe fn path_of<'a>(path: *const c_char) -> &'a Path {
    Path::new(OsStr::from_bytes(unsafe { CStr::from_ptr(path) }.to_bytes()))
}

fn refuse(error: Errno) -> c_int {
    error.set();
    -1
}

/// Makes a call that gives 0 or -1 unless it is to fail, and tells of it if it succeeds.
fn ask(watch: &Arc<dyn Watch>, seen: Call<'_>, make: impl FnOnce() -> c_int) -> c_int {
    if let Verdict::Fail(error) = watch.before(seen) {
        return refuse(error);
    }
    let result = make();
    if result >= 0 {
        watch.after(seen);
    }
    result
}

/// What a system call gave, as libc's wrapper gives it.
fn int(result: libc::c_long) -> c_int {
    c_int::try_from(result).unwrap_or(-1)
}

fn size(result: libc::c_long) -> ssize_t {
    ssize_t::try_from(result).unwrap_or(-1)
}

/// The third argument is there only with `O_CREAT`. On all machines that we run on it comes the same
/// way as if the function had always three.
///
/// # Safety
/// As for libc's `open`.
#[unsafe(no_mangle)]
unsafe extern "C" fn open64(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    let name = unsafe { path_of(path) };
    let make = |at: *const c_char| int(unsafe { syscall(libc::SYS_openat, libc::AT_FDCWD, at, flags, mode) });
    if let Some(boot_id) = time::boot_id_file(name) {
        return make(boot_id.as_ptr());
    }
    let Some(watch) = watcher(name) else { return make(path) };
    let handle = NEXT_HANDLE.fetch_add(1, Ordering::Relaxed);
    let creates = flags & libc::O_CREAT != 0 && unsafe { libc::access(path, libc::F_OK) } != 0;
    let writable = flags & libc::O_ACCMODE != libc::O_RDONLY;
    let fd = ask(&watch, Call::Open { handle, path: name, creates, writable }, || make(path));
    if let Some(flag) = flag(fd) {
        // Opening with `O_TRUNC` is opening and then truncating.
        if flags & libc::O_TRUNC != 0 && !creates {
            watch.after(Call::Truncate { handle, length: 0 });
        }
        let opened = Opened { handle, appends: flags & libc::O_APPEND != 0, watch };
        write(&OPENED).push((fd, opened));
        flag.store(true, Ordering::Release);
    }
    fd
}

/// # Safety
/// As for libc's `open`.
#[unsafe(no_mangle)]
unsafe extern "C" fn open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    unsafe { open64(path, flags, mode) }
}

#[unsafe(no_mangle)]
extern "C" fn close(fd: c_int) -> c_int {
    if let Some(flag) = flag(fd)
        && flag.swap(false, Ordering::AcqRel)
    {
        write(&OPENED).retain(|(number, _)| *number != fd);
    }
    int(unsafe { syscall(libc::SYS_close, fd) })
}

/// # Safety
/// As for libc's `pread`.
#[unsafe(no_mangle)]
unsafe extern "C" fn pread64(fd: c_int, into: *mut c_void, n: size_t, at: off64_t) -> ssize_t {
    let make = || size(unsafe { syscall(libc::SYS_pread64, fd, into, n, at) });
    let Some(Opened { handle, watch, .. }) = opened(fd) else { return make() };
    match watch.before(Call::Read { handle }) {
        Verdict::Fail(error) => size(refuse(error).into()),
        Verdict::Pass | Verdict::Short(_) => make(),
    }
}

/// # Safety
/// As for libc's `pwrite`.
#[unsafe(no_mangle)]
unsafe extern "C" fn pwrite64(fd: c_int, from: *const c_void, n: size_t, at: off64_t) -> ssize_t {
    let make = |n: size_t| size(unsafe { syscall(libc::SYS_pwrite64, fd, from, n, at) });
    let Some(opened) = opened(fd) else { return make(n) };
    unsafe { written(&opened, from, n, u64::try_from(at).unwrap_or(0), make) }
}

/// # Safety
/// As for libc's `pwrite`.
#[unsafe(no_mangle)]
unsafe extern "C" fn pwrite(fd: c_int, from: *const c_void, n: size_t, at: off64_t) -> ssize_t {
    unsafe { pwrite64(fd, from, n, at) }
}

/// # Safety
/// As for libc's `write`.
#[unsafe(export_name = "write")]
unsafe extern "C" fn write_on(fd: c_int, from: *const c_void, n: size_t) -> ssize_t {
    let make = |n: size_t| size(unsafe { syscall(libc::SYS_write, fd, from, n) });
    let Some(opened) = opened(fd) else { return make(n) };
    let whence = if opened.appends { libc::SEEK_END } else { libc::SEEK_CUR };
    let at = unsafe { libc::lseek64(fd, 0, whence) };
    unsafe { written(&opened, from, n, u64::try_from(at).unwrap_or(0), make) }
}

/// # Safety
/// `from` points to `n` bytes.
unsafe fn written(
    opened: &Opened,
    from: *const c_void,
    n: size_t,
    at: u64,
    make: impl FnOnce(size_t) -> ssize_t,
) -> ssize_t {
    let data = unsafe { std::slice::from_raw_parts(from.cast::<u8>(), n) };
    let call = |data| Call::Write { handle: opened.handle, at, data };
    let result = match opened.watch.before(call(data)) {
        Verdict::Fail(error) => return size(refuse(error).into()),
        Verdict::Short(most) => make(n.min(most)),
        Verdict::Pass => make(n),
    };
    if let Some(data) = usize::try_from(result).ok().and_then(|done| data.get(..done)) {
        opened.watch.after(call(data));
    }
    result
}

#[unsafe(no_mangle)]
extern "C" fn ftruncate64(fd: c_int, length: off64_t) -> c_int {
    let make = || int(unsafe { syscall(libc::SYS_ftruncate, fd, length) });
    let Some(Opened { handle, watch, .. }) = opened(fd) else { return make() };
    let length = u64::try_from(length).unwrap_or(0);
    ask(&watch, Call::Truncate { handle, length }, make)
}

#[unsafe(no_mangle)]
extern "C" fn ftruncate(fd: c_int, length: off64_t) -> c_int {
    ftruncate64(fd, length)
}

fn sync(fd: c_int, data_only: bool, number: libc::c_long) -> c_int {
    let make = || int(unsafe { syscall(number, fd) });
    let Some(Opened { handle, watch, .. }) = opened(fd) else { return make() };
    ask(&watch, Call::Sync { handle, data_only }, make)
}

#[unsafe(no_mangle)]
extern "C" fn fdatasync(fd: c_int) -> c_int {
    sync(fd, true, libc::SYS_fdatasync)
}

#[unsafe(no_mangle)]
extern "C" fn fsync(fd: c_int) -> c_int {
    sync(fd, false, libc::SYS_fsync)
}

/// # Safety
/// As for libc's `rename`.
#[unsafe(no_mangle)]
unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    let cwd = libc::AT_FDCWD;
    let make = || int(unsafe { syscall(libc::SYS_renameat2, cwd, from, cwd, to, 0) });
    let (source, target) = unsafe { (path_of(from), path_of(to)) };
    match watcher(source) {
        Some(watch) => ask(&watch, Call::Rename { from: source, to: target }, make),
        None => make(),
    }
}

/// # Safety
/// As for libc's `unlink`.
#[unsafe(no_mangle)]
unsafe extern "C" fn unlink(path: *const c_char) -> c_int {
    let make = || int(unsafe { syscall(libc::SYS_unlinkat, libc::AT_FDCWD, path, 0) });
    let name = unsafe { path_of(path) };
    match watcher(name) {
        Some(watch) => ask(&watch, Call::Unlink { path: name }, make),
        None => make(),
    }
}

/// # Safety
/// As for libc's `mkdir`.
#[unsafe(no_mangle)]
unsafe extern "C" fn mkdir(path: *const c_char, mode: mode_t) -> c_int {
    let make = || int(unsafe { syscall(libc::SYS_mkdirat, libc::AT_FDCWD, path, mode) });
    let name = unsafe { path_of(path) };
    match watcher(name) {
        Some(watch) => ask(&watch, Call::MakeFolder { path: name }, make),
        None => make(),
    }
}
