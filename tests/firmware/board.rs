//! Emulated boards: an Arduino Uno, an STM32F405.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

/// Firmware that counts: `n` rises by one with each reading, `volts` is what is at A0.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Firmware {
    /// The Arduino sketch of `tests/emul/bench`: the library, and text between its frames.
    Arduino,
    /// The same sketch with its readings in RAM that a reset leaves alone. `n` begins at 0 again.
    Kept,
    /// The same with its readings in EEPROM.
    Eeprom,
    /// `firmware/boards/avr-uno`: the C core, and nothing else.
    Bare,
}

/// A board that ends with its test.
pub(crate) struct Board {
    child: Ended,
    stdin: ChildStdin,
}

impl Board {
    /// A board that is plugged in as `dir/name` and has its power on. Its EEPROM is kept there too.
    pub(crate) fn start(dir: &Path, name: &str, firmware: Firmware) -> Self {
        let built = built();
        let image = match firmware {
            Firmware::Arduino => "emul/bench.elf",
            Firmware::Kept => "emul/kept.elf",
            Firmware::Eeprom => "emul/eeprom.elf",
            Firmware::Bare => "boards/avr-uno.elf",
        };
        let child = Command::new(built.join("emul/simrun"))
            .arg(built.join(image))
            .arg(dir.join(name))
            .arg(dir.join(format!("{name}.eeprom")))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn();
        let mut child = Ended(child.unwrap());
        let stdin = child.0.stdin.take().unwrap();
        Self { child, stdin }
    }

    /// Sends the emulator a command: `tests/emul/simrun.c` tells which there are.
    pub(crate) fn command(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").unwrap();
    }

    /// Takes its power away. What is in its EEPROM stays in its file.
    pub(crate) fn power_off(self) {
        let Self { mut child, stdin } = self;
        drop(stdin);
        assert!(child.0.wait().unwrap().success());
    }
}

/// `firmware/boards/stm32f405` in QEMU. It ends with its test.
pub(crate) struct Stm32 {
    _child: Ended,
    _stdout: BufReader<ChildStdout>,
}

impl Stm32 {
    /// A board that is plugged in as `dir/name`.
    pub(crate) fn start(dir: &Path, name: &str) -> Self {
        let mut qemu = Command::new("qemu-system-arm");
        qemu.args([
            "-M",
            "netduinoplus2",
            "-display",
            "none",
            "-monitor",
            "none",
            "-serial",
            "pty",
            "-kernel",
        ]);
        qemu.arg(built().join("boards/stm32f405-qemu.elf")).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = Ended(qemu.spawn().unwrap_or_else(|error| panic!("{qemu:?}: {error}")));
        let mut stdout = BufReader::new(child.0.stdout.take().unwrap());
        let mut said = String::new();
        stdout.read_line(&mut said).unwrap();
        // char device redirected to /dev/pts/5 (label serial0)
        let device = said.split(' ').find(|word| word.starts_with("/dev/"));
        symlink(device.unwrap_or_else(|| panic!("no device: {said:?}")), dir.join(name)).unwrap();
        Self { _child: child, _stdout: stdout }
    }
}

/// A child that is killed when nobody needs it any more.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where the firmware and its emulators are, once they are built.
fn built() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| make("emul"))
}

/// Makes `target` of `firmware/Makefile`; where everything built is.
pub(crate) fn make(target: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let into = Path::new(env!("CARGO_TARGET_TMPDIR")).join("firmware");
    let mut make = Command::new("make");
    make.arg("--directory").arg(root.join("firmware")).arg("--silent");
    let made = make.arg(format!("BUILD={}", into.display())).arg(target).status().unwrap();
    assert!(made.success(), "the firmware does not build; scripts/setup firmware installs what it needs");
    into
}
