//! Faults of a disk, switched on and off while the gateway runs.
//!
//! A small library is loaded before the gateway's C library. It finds what to do in a file that
//! both sides have open, and touches only files whose path contains a given name.

use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::errno::Errno;

/// Words in the control file, in order: see `struct control` in faults.c.
const WRITE_ERRNO: u64 = 0;
const SYNC_ERRNO: u64 = 1;
const READ_ERRNO: u64 = 2;
const READ_FROM: u64 = 3;
const READ_TO: u64 = 4;
const SYNC_MS: u64 = 5;
const SYNCS_BEGUN: u64 = 6;
const SYNCS_ENDED: u64 = 7;
const FAILED: u64 = 8;
const WORDS: u64 = 9;

/// Faults of the files whose path contains a name.
pub(crate) struct Faults {
    control: File,
    /// For the gateway's environment.
    pub(crate) environment: Vec<(&'static str, PathBuf)>,
}

impl Faults {
    /// None yet, of files whose path contains `name`.
    pub(crate) fn of(dir: &Path, name: &str) -> Self {
        let library = dir.join("faults.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/support/faults.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-o"]).arg(&library).arg(source).arg("-ldl");
        let output = compiler.output().unwrap_or_else(|error| panic!("{compiler:?}: {error}"));
        assert!(output.status.success(), "{compiler:?}: {}", String::from_utf8_lossy(&output.stderr));
        let path = dir.join("faults");
        fs::write(&path, vec![0; usize::try_from(WORDS * 4).unwrap()]).unwrap();
        let control = File::options().read(true).write(true).open(&path).unwrap();
        let environment =
            vec![("LD_PRELOAD", library), ("FAULTS_CONTROL", path), ("FAULTS_NAME", name.into())];
        Self { control, environment }
    }

    fn set(&self, word: u64, value: u32) {
        self.control.write_all_at(&value.to_ne_bytes(), word * 4).unwrap();
    }

    fn get(&self, word: u64) -> u32 {
        let mut bytes = [0; 4];
        self.control.read_exact_at(&mut bytes, word * 4).unwrap();
        u32::from_ne_bytes(bytes)
    }

    /// Whatever changes the files fails like that, until [`Faults::heal`].
    pub(crate) fn writes_fail(&self, error: Errno) {
        self.set(WRITE_ERRNO, (error as i32).cast_unsigned());
    }

    /// Every fsync fails like that.
    pub(crate) fn syncs_fail(&self, error: Errno) {
        self.set(SYNC_ERRNO, (error as i32).cast_unsigned());
    }

    /// Every read that touches these KiB of a file fails like that.
    pub(crate) fn reads_fail(&self, kib: Range<u32>, error: Errno) {
        self.set(READ_FROM, kib.start);
        self.set(READ_TO, kib.end);
        self.set(READ_ERRNO, (error as i32).cast_unsigned());
    }

    /// Every fsync takes so long from now on.
    pub(crate) fn syncs_take(&self, time: Duration) {
        self.set(SYNC_MS, u32::try_from(time.as_millis()).unwrap());
    }

    /// The disk is well again.
    pub(crate) fn heal(&self) {
        for word in [WRITE_ERRNO, SYNC_ERRNO, READ_ERRNO, SYNC_MS] {
            self.set(word, 0);
        }
    }

    /// Whether one is going on.
    pub(crate) fn is_syncing(&self) -> bool {
        self.get(SYNCS_BEGUN) != self.get(SYNCS_ENDED)
    }

    /// How many calls were made to fail so far.
    pub(crate) fn failed(&self) -> u32 {
        self.get(FAILED)
    }
}
