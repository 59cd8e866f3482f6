//! A serial port without hardware: a pseudo terminal whose far end lies under a path of our choice.
//!
//! The near end (the master) is the board's side. Three traps of the kernel are dealt with here:
//!
//! - When nobody has the far end open, reading fails with EIO at once, and for ever. So [`Pty`] only
//!   reads while somebody listens, and otherwise looks now and then whether someone has come.
//! - The runtime takes a hang-up for the end of a descriptor, and reports it ready ever after. So
//!   the descriptor is registered anew for each listener.
//! - The far end forgets its settings at its last close, and comes back with echo and line editing.
//!   So it is made raw again for each listener.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, Ready};

/// How often to look for a listener while there is none.
const LISTENER_POLL: Duration = Duration::from_millis(10);

/// A pseudo terminal under a link. Dropping it is unplugging: the link goes, and who listens gets
/// an end of file, and loses what it had not read yet. Opening another one at the same link is plugging in again.
#[derive(Debug)]
pub struct Pty {
    link: PathBuf,
    far_end: PathBuf,
    near_end: NearEnd,
}

#[derive(Debug)]
enum NearEnd {
    /// Nobody has the far end open.
    Alone(PtyMaster),
    /// Somebody has.
    Heard(AsyncFd<PtyMaster>),
    /// Between the two; seen only if registering with the runtime failed.
    Broken,
}

/// What happened on a [`Pty`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Somebody opened the far end.
    Opened,
    /// That many bytes came.
    Read(usize),
    /// There may be room for more bytes.
    Writable,
    /// The last listener closed the far end.
    Closed,
}

impl Pty {
    /// Makes a pseudo terminal and puts a link to its far end at `link`, in place of any link that
    /// is there. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When something that is no link stands at `link`, or the system refuses.
    pub fn open(link: &Path) -> io::Result<Self> {
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let master = posix_openpt(flags)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let far_end = PathBuf::from(ptsname_r(&master)?);
        // Only after a first close does the kernel tell us whether somebody listens.
        drop(open_far_end(&far_end)?);
        replace_link(&far_end, link)?;
        Ok(Self { link: link.to_owned(), far_end, near_end: NearEnd::Alone(master) })
    }

    /// Whether somebody had the far end open when we last looked.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        matches!(self.near_end, NearEnd::Heard(_))
    }

    /// Waits until something happens; room to write counts only if `writing`. Losing the future
    /// loses nothing.
    ///
    /// # Errors
    /// When the system fails in a way that is not a listener going away.
    pub async fn event(&mut self, buffer: &mut [u8], writing: bool) -> io::Result<Event> {
        loop {
            match &self.near_end {
                NearEnd::Alone(master) if is_alone(master)? => tokio::time::sleep(LISTENER_POLL).await,
                NearEnd::Alone(_) => {
                    self.register()?;
                    return Ok(Event::Opened);
                }
                NearEnd::Heard(master) => {
                    if let Some(event) = ready(master, buffer, writing).await? {
                        if event == Event::Closed {
                            self.deregister();
                        }
                        return Ok(event);
                    }
                }
                NearEnd::Broken => return Err(io::ErrorKind::NotConnected.into()),
            }
        }
    }

    /// Writes what there is room for and returns how much that was: too little when the listener
    /// does not read, or has gone. Bytes that nobody listens to are gone, as on a wire.
    ///
    /// # Errors
    /// When the system fails in a way that is not a listener going away.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let NearEnd::Heard(master) = &self.near_end else { return Ok(bytes.len()) };
        let mut written = 0;
        // Until the kernel says that it is full: only then does it say when there is room again.
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            match master.get_ref().write(rest) {
                Ok(0) => break,
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock || is_hangup(&error) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }

    fn register(&mut self) -> io::Result<()> {
        if let NearEnd::Alone(master) = std::mem::replace(&mut self.near_end, NearEnd::Broken) {
            make_raw(&master)?;
            // SAFETY: `PtyMaster` owns its descriptor, gives the same one at every call, and closes
            // it only when it is dropped.
            #[expect(unsafe_code, reason = "the safe constructor is deprecated")]
            let master = unsafe { AsyncFd::register(master) }?;
            self.near_end = NearEnd::Heard(master);
        }
        Ok(())
    }

    fn deregister(&mut self) {
        if let NearEnd::Heard(master) = std::mem::replace(&mut self.near_end, NearEnd::Broken) {
            self.near_end = NearEnd::Alone(master.into_inner());
        }
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        // Another one may have been plugged in at the same place meanwhile.
        if fs::read_link(&self.link).is_ok_and(|target| target == self.far_end) {
            // A link that cannot be removed dangles, which to a gateway is an unplugged board.
            let _ = fs::remove_file(&self.link);
        }
    }
}

/// Waits for readiness and acts on it. `None` if there was nothing after all.
async fn ready(master: &AsyncFd<PtyMaster>, buffer: &mut [u8], writing: bool) -> io::Result<Option<Event>> {
    let interest = if writing { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
    let mut guard = master.ready(interest).await?;
    let ready = guard.ready();
    if ready.is_readable() {
        match master.try_io(Interest::READABLE, |mut master| master.read(buffer)) {
            Ok(count @ 1..) => return Ok(Some(Event::Read(count))),
            Ok(_) => return Ok(Some(Event::Closed)),
            Err(error) if is_hangup(&error) => return Ok(Some(Event::Closed)),
            // Closed and opened again before we looked: that listener needs a registration too.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && ready.is_read_closed() => {
                return Ok(Some(Event::Closed));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    if writing && ready.is_writable() {
        guard.clear_ready_matching(Ready::WRITABLE);
        return Ok(Some(Event::Writable));
    }
    Ok(None)
}

/// What the kernel says when the last listener has gone.
fn is_hangup(error: &io::Error) -> bool {
    error.raw_os_error() == Some(nix::libc::EIO)
}

fn is_alone(master: &PtyMaster) -> io::Result<bool> {
    let mut fds = [PollFd::new(master.as_fd(), PollFlags::empty())];
    poll(&mut fds, PollTimeout::ZERO)?;
    Ok(fds.iter().any(|fd| fd.revents().is_some_and(|events| events.contains(PollFlags::POLLHUP))))
}

/// No echo, no line editing, no translation. Settings of the near end are those of the far end.
fn make_raw(master: &PtyMaster) -> io::Result<()> {
    let mut settings = tcgetattr(master)?;
    cfmakeraw(&mut settings);
    Ok(tcsetattr(master, SetArg::TCSANOW, &settings)?)
}

fn open_far_end(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).custom_flags(nix::libc::O_NOCTTY).open(path)
}

/// Points `link` to `target` in one step, so that there is never a moment without a link.
fn replace_link(target: &Path, link: &Path) -> io::Result<()> {
    match fs::symlink_metadata(link) {
        Ok(there) if !there.is_symlink() => {
            let message = format!("{} exists and is no link", link.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
        }
        _ => {}
    }
    let mut fresh = link.as_os_str().to_owned();
    fresh.push(format!(".{}", std::process::id()));
    let fresh = PathBuf::from(fresh);
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    symlink(target, &fresh)?;
    fs::rename(&fresh, link)
}

#[cfg(test)]
mod tests;
