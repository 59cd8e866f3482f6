//! A serial line whose other end is in the test's own hand.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};

/// How long a listener may take before it reads on.
const PATIENCE: Duration = Duration::from_secs(20);

/// A pseudo-terminal under a link. Dropping it is unplugging.
pub(crate) struct Tty {
    link: PathBuf,
    far_end: PathBuf,
    master: PtyMaster,
}

impl Tty {
    /// Plugs it in at `link`.
    pub(crate) fn plug(link: &Path) -> Self {
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let master = posix_openpt(flags).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let far_end = PathBuf::from(ptsname_r(&master).unwrap());
        let mut settings = tcgetattr(&master).unwrap();
        cfmakeraw(&mut settings);
        tcsetattr(&master, SetArg::TCSANOW, &settings).unwrap();
        symlink(&far_end, link).unwrap();
        Self { link: link.to_owned(), far_end, master }
    }

    /// The device that the link points to.
    pub(crate) fn far_end(&self) -> &Path {
        &self.far_end
    }

    /// Says `bytes`, as fast as they are taken.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let start = Instant::now();
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = &rest[self.offer(rest)..];
            assert!(start.elapsed() < PATIENCE, "nobody reads");
            if !rest.is_empty() {
                let mut fds = [PollFd::new(self.master.as_fd(), PollFlags::POLLOUT)];
                poll(&mut fds, PollTimeout::from(100u8)).unwrap();
            }
        }
    }

    /// Says as many of `bytes` as are taken at once.
    pub(crate) fn offer(&mut self, bytes: &[u8]) -> usize {
        match self.master.write(bytes) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => panic!("pty: {error}"),
        }
    }

    /// What was said to us so far.
    pub(crate) fn read(&mut self) -> Vec<u8> {
        let mut bytes = vec![0; 4096];
        // Nothing there, or nobody.
        let count = self.master.read(&mut bytes).unwrap_or_default();
        bytes.truncate(count);
        bytes
    }
}

impl Drop for Tty {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.link);
    }
}
