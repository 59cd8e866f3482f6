//! Opening a serial device, and saying why it cannot be opened.

use std::fmt::{self, Write};
use std::fs::{self, Metadata};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use nix::errno::Errno;
use nix::sys::termios::{ControlFlags, SetArg, tcgetattr, tcsetattr};
use nix::unistd::{AccessFlags, Gid, Group, Uid, User, access};
use serde::Serialize;
use tokio_serial::{ErrorKind, SerialStream};

/// The file's mode lets us, but something else does not: systemd's list of devices, made when the service
/// started (`DeviceAllow`), does not know a kind whose driver came later.
const DEVICE_POLICY: &str = "its mode would let us, but the service's sandbox does not: the driver was loaded \
    after the service started; `systemctl restart serialgate` would do, and the driver's name in \
    /etc/modules-load.d/serialgate-local.conf keeps it from happening again";

/// Why a device is not open, in words for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is none.
    Absent(String),
    /// Somebody else has it: see [`held_by`].
    Busy,
    /// We may not open it.
    Denied(String),
}

/// Opens the device at `path` for ourselves alone: 8 data bits, no parity, one stop bit.
///
/// # Errors
/// [`Refusal`]. Whatever is no usable serial device counts as absent.
pub fn open(path: &str, baud: u32) -> Result<SerialStream, Refusal> {
    let metadata = fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Refusal::Absent("no such device".into()),
        _ => Refusal::Absent(error.to_string()),
    })?;
    if !metadata.file_type().is_char_device() {
        return Err(Refusal::Absent("not a serial device".into()));
    }
    let builder = tokio_serial::new(path, baud).exclusive(true);
    let port = SerialStream::open(&builder).map_err(|error| match error.kind() {
        ErrorKind::NoDevice => Refusal::Busy,
        ErrorKind::Io(std::io::ErrorKind::PermissionDenied) => Refusal::Denied(denied(path, &metadata)),
        // The answer of a list of devices, for which the crate has no kind.
        ErrorKind::Unknown if error.description == Errno::EPERM.desc() => {
            Refusal::Denied(denied(path, &metadata))
        }
        ErrorKind::Io(std::io::ErrorKind::NotFound) => Refusal::Absent("no such device".into()),
        _ => Refusal::Absent(error.to_string()),
    })?;
    keep_lines_up(&port);
    Ok(port)
}

/// Keeps DTR up when the port is closed, where the driver lets us: many boards reset at its edge,
/// and what they hold in memory would be gone.
fn keep_lines_up(port: &SerialStream) {
    // SAFETY: the descriptor belongs to `port`, which outlives this borrow.
    #[expect(unsafe_code, reason = "the port lends its descriptor as a number only")]
    let fd = unsafe { BorrowedFd::borrow_raw(port.as_raw_fd()) };
    let Ok(mut settings) = tcgetattr(fd) else { return };
    if settings.control_flags.contains(ControlFlags::HUPCL) {
        settings.control_flags.remove(ControlFlags::HUPCL);
        if let Err(error) = tcsetattr(fd, SetArg::TCSANOW, &settings) {
            tracing::debug!(%error, "cannot clear HUPCL");
        }
    }
}

/// A program that has a device open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Holder {
    /// Its process.
    pub pid: u32,
    /// What it is called.
    pub name: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "held by {} (pid {})", self.name, self.pid)
    }
}

/// Who holds the device at `path`, as far as /proc lets us see. Reads all of /proc: not to be asked
/// often.
#[must_use]
pub fn holder(path: &str) -> Option<Holder> {
    let device = fs::metadata(path).ok()?;
    let is_it = |held: &Metadata| held.file_type().is_char_device() && is_same(held, &device);
    let holds = |pid: u32| {
        let fds = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        fds.filter_map(|fd| fs::metadata(fd.path()).ok()).any(|held| is_it(&held))
    };
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let pid = pids.find(|pid| holds(*pid))?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some(Holder { pid, name: name.trim().to_owned() })
}

/// The same in words, of a device that somebody holds for sure.
#[must_use]
pub fn held_by(path: &str) -> String {
    match holder(path) {
        Some(holder) if holder.pid == std::process::id() => "held by another port of this gateway".into(),
        Some(holder) => holder.to_string(),
        None => "held by a program of another user".into(),
    }
}

/// Why this user may not open the device at `path`, and what to do about it; `None` where it may.
#[must_use]
pub fn trouble(path: &str) -> Option<String> {
    let may = access(path, AccessFlags::R_OK | AccessFlags::W_OK).is_ok();
    if may { None } else { fs::metadata(path).ok().map(|device| denial(&device)) }
}

/// Whether two files are one device. A container numbers its pseudo-terminals for itself: those of two
/// file systems are not the same.
fn is_same(a: &Metadata, b: &Metadata) -> bool {
    const PSEUDO_TERMINALS: std::ops::RangeInclusive<u64> = 136..=143;
    let is_pseudo = PSEUDO_TERMINALS.contains(&nix::sys::stat::major(a.rdev()));
    a.rdev() == b.rdev() && (!is_pseudo || a.dev() == b.dev())
}

fn denied(path: &str, device: &Metadata) -> String {
    let mode_allows = access(path, AccessFlags::R_OK | AccessFlags::W_OK).is_ok();
    if mode_allows { DEVICE_POLICY.into() } else { denial(device) }
}

/// Whose the device is, who we are, and what to do about it.
fn denial(device: &Metadata) -> String {
    let group = group_name(Gid::from_raw(device.gid()));
    let us = user_name(Uid::effective());
    let mut text = format!(
        "belongs to {}:{group}, mode {:03o}; we are {us}",
        user_name(Uid::from_raw(device.uid())),
        device.mode() & 0o777,
    );
    let groups = nix::unistd::getgroups().unwrap_or_default();
    if !groups.is_empty() {
        let names: Vec<_> = groups.into_iter().map(group_name).collect();
        let _ = write!(text, " in {}", names.join(", "));
    }
    if device.mode() & 0o060 == 0o060 {
        let _ = write!(text, "; `usermod -aG {group} {us}` and a restart would do");
    }
    text
}

fn user_name(uid: Uid) -> String {
    User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}

fn group_name(gid: Gid) -> String {
    Group::from_gid(gid).ok().flatten().map_or_else(|| gid.to_string(), |group| group.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_serial_device_is_absent_with_a_reason() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        for (path, why) in [
            ("/dev/no-such-device", "no such device"),
            (file.to_str().unwrap(), "not a serial device"),
            (dir.path().to_str().unwrap(), "not a serial device"),
        ] {
            assert_eq!(open(path, 9600).unwrap_err(), Refusal::Absent(why.into()), "{path}");
        }
        assert!(matches!(open("/dev/null", 9600), Err(Refusal::Absent(_))), "not a terminal");
    }

    #[test]
    fn a_denial_names_owner_group_and_remedy() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::set_permissions(file.path(), std::os::unix::fs::PermissionsExt::from_mode(0o660)).unwrap();
        let metadata = fs::metadata(file.path()).unwrap();
        let (us, group) = (user_name(Uid::effective()), group_name(Gid::from_raw(metadata.gid())));
        let text = denial(&metadata);
        assert!(text.starts_with(&format!("belongs to {us}:{group}, mode 660; we are {us}")), "{text}");
        assert!(text.ends_with(&format!("; `usermod -aG {group} {us}` and a restart would do")), "{text}");
    }
}
