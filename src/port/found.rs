//! Which serial lines this machine has, by the names that they keep.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the system keeps its devices.
pub const DEV: &str = "/dev";

/// Most lines that are listed.
const LINES_MAX: usize = 64;

/// A serial line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// What it is.
    pub kind: Kind,
    /// The name that stays with it, as a full path: under `by-id` the name of the board, under
    /// `by-path` that of the socket. Where it has none, the device itself.
    pub path: String,
    /// The device behind the name: `ttyUSB0`.
    pub device: String,
    /// All names that it has besides, as full paths: under `by-id` first, then under `by-path`.
    pub names: Vec<String>,
}

impl Found {
    /// Whether `pattern`, the path of a port in the configuration, leads here.
    #[must_use]
    pub fn is_meant_by(&self, pattern: &str) -> bool {
        let mut paths = glob::glob(pattern).into_iter().flatten().flatten();
        paths.any(|path| device(&path).as_deref() == Some(self.device.as_str()))
    }
}

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Plugged in.
    Usb,
    /// The pins of a Raspberry Pi: always there, whether something is connected or not.
    Pins,
}

/// The lines below `dev`, usually [`DEV`]: USB first, each once, in the order of their names.
///
/// `ttyS*` are left out unless they are the pins: a PC shows 32 of them and has none.
#[must_use]
pub fn lines(dev: &Path) -> Vec<Found> {
    // The first name that a device gets is the one it keeps here.
    let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for folder in ["serial/by-id", "serial/by-path"] {
        for link in entries(&dev.join(folder)) {
            if let (Some(device), Some(path)) = (device(&link), link.to_str()) {
                names.entry(device).or_default().push(path.to_owned());
            }
        }
    }
    let mut found = Vec::new();
    for path in entries(dev) {
        let Some((name, full)) = path.file_name().and_then(|name| name.to_str()).zip(path.to_str()) else {
            continue;
        };
        if name.starts_with("ttyUSB") || name.starts_with("ttyACM") {
            let names = names.remove(name).unwrap_or_default();
            let path = names.first().map_or(full, String::as_str).to_owned();
            found.push(Found { kind: Kind::Usb, path, device: name.to_owned(), names });
        } else if name == "serial0"
            && let Some(device) = device(&path)
        {
            found.push(Found { kind: Kind::Pins, path: full.to_owned(), device, names: Vec::new() });
        }
    }
    found.sort();
    found.truncate(LINES_MAX);
    found
}

/// The paths in `folder` by name; none where it is not there.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let read = fs::read_dir(folder).into_iter().flatten();
    let mut paths: Vec<PathBuf> = read.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths
}

/// The name of the device that `link` leads to.
fn device(link: &Path) -> Option<String> {
    Some(fs::canonicalize(link).ok()?.file_name()?.to_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Makes devices and links (`name -> target`) in an empty folder and says what is found there.
    fn found(names: &[&str]) -> Vec<(Kind, String, String)> {
        let dev = tempfile::tempdir().unwrap();
        fs::create_dir_all(dev.path().join("serial/by-id")).unwrap();
        fs::create_dir_all(dev.path().join("serial/by-path")).unwrap();
        for name in names {
            match name.split_once(" -> ") {
                Some((link, target)) => symlink(target, dev.path().join(link)).unwrap(),
                None => fs::write(dev.path().join(name), "").unwrap(),
            }
        }
        let root = format!("{}/", dev.path().to_str().unwrap());
        let lines = lines(dev.path()).into_iter();
        lines
            .map(|line| (line.kind, line.path.strip_prefix(&root).unwrap().to_owned(), line.device))
            .collect()
    }

    fn line(kind: Kind, path: &str, device: &str) -> (Kind, String, String) {
        (kind, path.to_owned(), device.to_owned())
    }

    #[test]
    fn a_board_has_the_name_that_follows_it() {
        let lines = found(&[
            "ttyACM0",
            "ttyUSB0",
            "ttyS0",
            "tty0",
            "serial/by-id/usb-Arduino_Uno_75-if00 -> ../../ttyACM0",
            "serial/by-path/platform-1.2 -> ../../ttyACM0",
            "serial/by-id/usb-FTDI_A5-if00-port0 -> ../../ttyUSB0",
        ]);
        let expected = [
            line(Kind::Usb, "serial/by-id/usb-Arduino_Uno_75-if00", "ttyACM0"),
            line(Kind::Usb, "serial/by-id/usb-FTDI_A5-if00-port0", "ttyUSB0"),
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn of_two_adapters_without_serial_numbers_one_has_the_name_of_its_socket() {
        // Both have the same name under by-id, and the link can lead to one only.
        let lines = found(&[
            "ttyUSB0",
            "ttyUSB1",
            "ttyUSB2",
            "serial/by-id/usb-1a86_USB_Serial-if00-port0 -> ../../ttyUSB1",
            "serial/by-path/socket-a -> ../../ttyUSB0",
            "serial/by-path/socket-b -> ../../ttyUSB1",
        ]);
        let expected = [
            line(Kind::Usb, "serial/by-id/usb-1a86_USB_Serial-if00-port0", "ttyUSB1"),
            line(Kind::Usb, "serial/by-path/socket-a", "ttyUSB0"),
            line(Kind::Usb, "ttyUSB2", "ttyUSB2"),
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn the_pins_of_a_pi_come_last_and_a_dead_link_does_not_count() {
        let lines = found(&[
            "ttyAMA0",
            "serial0 -> ttyAMA0",
            "serial1 -> ttyS0",
            "ttyUSB0",
            "serial/by-id/usb-gone -> ../../ttyUSB9",
        ]);
        assert_eq!(lines, [line(Kind::Usb, "ttyUSB0", "ttyUSB0"), line(Kind::Pins, "serial0", "ttyAMA0")]);
        assert_eq!(lines_of_nothing(), []);
    }

    fn lines_of_nothing() -> Vec<Found> {
        lines(Path::new("/nowhere/at/all"))
    }
}
