//! `serialgate ports`, in a namespace with a /dev and a /sys of its own: a board's device is
//! that of a pty.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, Output, Stdio};

use nix::fcntl::OFlag;
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use serde_json::{Value, json};

/// As the kernel shows a converter at a USB socket, and the pins of a Pi.
const MACHINE: &str = r#"
mount -t tmpfs tmpfs /sys
mkdir /sys/dev
mount -t tmpfs tmpfs /sys/dev
touch /sys/dev/ttyUSB0
mount --bind "$DEVICE" /sys/dev/ttyUSB0
mount --rbind /sys/dev /dev
mknod -m 660 /dev/ttyAMA0 c 204 64
chown 12345:dialout /dev/ttyUSB0
chmod 660 /dev/ttyUSB0
ln -s ttyAMA0 /dev/serial0
mkdir -p /dev/serial/by-id /dev/serial/by-path
ln -s ../../ttyUSB0 /dev/serial/by-id/usb-FTDI_FT232R_A50285BI-if00-port0
ln -s ../../ttyUSB0 /dev/serial/by-path/platform-usb-0:1.2:1.0-port0
board=/sys/devices/platform/usb1/1-1 port=/sys/devices/platform/usb1/1-1/1-1:1.0/ttyUSB0
mkdir -p $port/tty/ttyUSB0 /sys/class/tty /sys/bus/usb-serial/drivers/ftdi_sio
ln -s ../../devices/platform/usb1/1-1/1-1:1.0/ttyUSB0/tty/ttyUSB0 /sys/class/tty/ttyUSB0
ln -s ../../../ttyUSB0 $port/tty/ttyUSB0/device
ln -s /sys/bus/usb-serial/drivers/ftdi_sio $port/driver
echo 0403 > $board/idVendor
echo 6001 > $board/idProduct
echo FTDI > $board/manufacturer
printf 'FT232R \033[2J USB UART\n' > $board/product
echo A50285BI > $board/serial
"#;

/// A line whose device nobody has open.
struct Line {
    _master: PtyMaster,
    device: String,
}

impl Line {
    fn new() -> Self {
        // No child of another test may have it.
        let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let device = ptsname_r(&master).unwrap();
        Self { _master: master, device }
    }

    fn open(&self) -> File {
        OpenOptions::new().read(true).custom_flags(OFlag::O_NOCTTY.bits()).open(&self.device).unwrap()
    }

    /// Runs `then` in a namespace where ttyUSB0 is this line.
    fn run(&self, then: &str) -> Output {
        let script = format!("{MACHINE}\n{then}");
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-ec", &script]);
        command.env("DEVICE", &self.device);
        let output = command.env("SERIALGATE", env!("CARGO_BIN_EXE_serialgate")).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}; this test needs root: {said}", output.status);
        output
    }

    fn json(&self, then: &str) -> Value {
        serde_json::from_slice(&self.run(then).stdout).unwrap()
    }
}

/// A program that has the line open, until it is dropped.
struct Cat(Child);

impl Cat {
    fn on(line: &Line) -> Self {
        Self(Command::new("cat").stdin(line.open()).stdout(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Cat {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn ports_are_listed_with_all_that_is_known_of_them() {
    let line = Line::new();
    let ports = line.json("\"$SERIALGATE\" ports --json");
    let [usb, pins] = ports.as_array().unwrap().as_slice() else { panic!("{ports}") };
    assert_eq!(
        *usb,
        json!({
            "path": "/dev/serial/by-id/usb-FTDI_FT232R_A50285BI-if00-port0",
            "device": "/dev/ttyUSB0",
            "names": ["/dev/serial/by-path/platform-usb-0:1.2:1.0-port0"],
            "kind": "usb",
            // What a device says of itself is no order to the terminal.
            "usb": {"id": "0403:6001", "maker": "FTDI", "product": "FT232R [2J USB UART", "serial": "A50285BI"},
            "driver": "ftdi_sio",
            "configured": null,
            "held_by": null,
            "trouble": null,
        })
    );
    assert_eq!((&pins["path"], &pins["device"]), (&json!("/dev/serial0"), &json!("/dev/ttyAMA0")));
    assert_eq!((&pins["kind"], &pins["usb"], &pins["held_by"]), (&json!("pins"), &Value::Null, &Value::Null));
}

#[test]
fn who_holds_a_port_and_who_is_meant_to_is_told() {
    let line = Line::new();
    let cat = Cat::on(&line);
    for (path, is_meant) in [
        ("/dev/serial/by-id/usb-FTDI_*", true),
        ("/dev/ttyUSB0", true),
        ("/dev/serial/by-id/usb-Arduino_*", false),
    ] {
        let config = format!("printf 'ports: [{{path: %s}}]' '{path}' > /dev/s.yaml");
        let ports = line.json(&format!("{config}\n\"$SERIALGATE\" ports --json --config /dev/s.yaml"));
        assert_eq!(ports[0]["held_by"], json!({"pid": cat.0.id(), "name": "cat"}), "{ports}");
        assert_eq!(ports[0]["configured"], if is_meant { json!(path) } else { Value::Null });
        assert_eq!(ports[1]["configured"], Value::Null);
    }
    let said = line.run("\"$SERIALGATE\" ports");
    let expected = format!(
        "/dev/serial/by-id/usb-FTDI_FT232R_A50285BI-if00-port0
    device      /dev/ttyUSB0
    also        /dev/serial/by-path/platform-usb-0:1.2:1.0-port0
    is          USB 0403:6001 FTDI FT232R [2J USB UART, serial number A50285BI, driver ftdi_sio
    configured  no
    held by     cat (pid {})
/dev/serial0
    device      /dev/ttyAMA0
    configured  no
",
        cat.0.id()
    );
    assert_eq!(String::from_utf8(said.stdout).unwrap(), expected);
}

#[test]
fn what_keeps_this_user_out_is_told_with_the_remedy() {
    let line = Line::new();
    let weak = "setpriv --bounding-set=-dac_override,-dac_read_search \"$SERIALGATE\" ports --json";
    let ports = line.json(weak);
    let trouble = ports[0]["trouble"].as_str().unwrap();
    assert!(trouble.starts_with("belongs to 12345:dialout, mode 660; we are root"), "{trouble}");
    assert!(trouble.ends_with("`usermod -aG dialout root` and a restart would do"), "{trouble}");
}

#[test]
fn a_machine_without_ports_says_so() {
    let line = Line::new();
    let said = line.run("mount -t tmpfs tmpfs /dev\n\"$SERIALGATE\" ports");
    assert!(said.stdout.starts_with(b"No serial port"), "{}", String::from_utf8_lossy(&said.stdout));
    let none = line.json("mount -t tmpfs tmpfs /dev\n\"$SERIALGATE\" ports --json");
    assert_eq!(none, json!([]));
}
