//! The real code with a `synchronous` that is not enough.
//!
//! There is no such setting in the product. SQLite lets an extension see every connection that is
//! opened: this one sets the pragma itself and then ignores whatever else sets it.

#![expect(unsafe_code, reason = "SQLite's extensions are C")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use rusqlite::auto_extension::{cancel_auto_extension, register_auto_extension};
use rusqlite::ffi;

/// How SQLite is to sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sync {
    /// As the queue asks for.
    Full,
    Normal,
    Off,
}

static PRAGMA: AtomicPtr<c_char> = AtomicPtr::new(ptr::null_mut());

/// Does `what` with connections that sync like that.
pub(crate) fn with<T>(sync: Sync, what: impl FnOnce() -> T) -> T {
    let pragma = match sync {
        Sync::Full => return what(),
        Sync::Normal => c"PRAGMA synchronous = NORMAL",
        Sync::Off => c"PRAGMA synchronous = OFF",
    };
    PRAGMA.store(pragma.as_ptr().cast_mut(), Ordering::SeqCst);
    unsafe { register_auto_extension(loosen) }.unwrap();
    let result = what();
    assert!(cancel_auto_extension(loosen));
    result
}

unsafe extern "C" fn loosen(
    db: *mut ffi::sqlite3,
    _: *mut *mut c_char,
    _: *const ffi::sqlite3_api_routines,
) -> c_int {
    let pragma = PRAGMA.load(Ordering::SeqCst);
    unsafe {
        let set = ffi::sqlite3_exec(db, pragma, None, ptr::null_mut(), ptr::null_mut());
        if set != ffi::SQLITE_OK {
            return set;
        }
        ffi::sqlite3_set_authorizer(db, Some(authorize), ptr::null_mut())
    }
}

unsafe extern "C" fn authorize(
    _: *mut c_void,
    action: c_int,
    name: *const c_char,
    _: *const c_char,
    _: *const c_char,
    _: *const c_char,
) -> c_int {
    let is_sync =
        action == ffi::SQLITE_PRAGMA && !name.is_null() && unsafe { CStr::from_ptr(name) } == c"synchronous";
    if is_sync { ffi::SQLITE_IGNORE } else { ffi::SQLITE_OK }
}
