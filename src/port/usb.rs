//! What the kernel knows of the board or converter behind a serial line.

use std::fs;
use std::path::Path;

use serde::Serialize;

/// Where the kernel shows its devices.
pub const SYS: &str = "/sys";

/// What a USB device says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usb {
    /// Vendor and product as `lsusb` shows them: `2341:0043`.
    pub id: String,
    /// Who made it.
    pub maker: Option<String>,
    /// What it is called.
    pub product: Option<String>,
    /// Its serial number; cheap converters have none.
    pub serial: Option<String>,
}

/// What `device` (`ttyUSB0`) says of itself, below `sys`, usually [`SYS`]; `None` where it is not at a
/// USB socket.
#[must_use]
pub fn of(sys: &Path, device: &str) -> Option<Usb> {
    let place = fs::canonicalize(sys.join("class/tty").join(device).join("device")).ok()?;
    // The line is part of an interface, which is part of the USB device.
    let usb = place.ancestors().find(|folder| folder.join("idVendor").exists())?;
    let text = |name: &str| {
        let text = fs::read_to_string(usb.join(name)).ok()?;
        // The device chooses it: it may hold anything.
        let text: String = text.trim().chars().filter(|c| !c.is_control()).collect();
        (!text.is_empty()).then_some(text)
    };
    let id = format!("{}:{}", text("idVendor")?, text("idProduct")?);
    Some(Usb { id, maker: text("manufacturer"), product: text("product"), serial: text("serial") })
}

/// The driver of `device`, as in `cdc_acm`.
#[must_use]
pub fn driver(sys: &Path, device: &str) -> Option<String> {
    let driver = fs::canonicalize(sys.join("class/tty").join(device).join("device/driver")).ok()?;
    Some(driver.file_name()?.to_str()?.to_owned())
}
