//! An emulated Arduino Uno.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;

/// Firmware that counts: `n` rises by one with each reading, `volts` is what is at A0.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Firmware {
    /// The Arduino sketch of `tests/emul/bench`: the library, and text between its frames.
    Arduino,
    /// The same sketch with its readings in RAM that a reset leaves alone. `n` begins at 0 again.
    Kept,
    /// `firmware/boards/avr-uno`: the C core, and nothing else.
    Bare,
}

/// A board that ends with its test.
pub(crate) struct Board {
    child: Child,
    stdin: ChildStdin,
}

impl Board {
    /// A board that is plugged in as `dir/name` and has its power on. Its EEPROM is kept there too.
    pub(crate) fn start(dir: &Path, name: &str, firmware: Firmware) -> Self {
        let built = built();
        let image = match firmware {
            Firmware::Arduino => "emul/bench.elf",
            Firmware::Kept => "emul/kept.elf",
            Firmware::Bare => "boards/avr-uno.elf",
        };
        let mut child = Command::new(built.join("emul/simrun"))
            .arg(built.join(image))
            .arg(dir.join(name))
            .arg(dir.join(format!("{name}.eeprom")))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        Self { child, stdin }
    }

    /// Sends the emulator a command: `tests/emul/simrun.c` tells which there are.
    pub(crate) fn command(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").unwrap();
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where the firmware and its emulator are, once they are built.
fn built() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let into = Path::new(env!("CARGO_TARGET_TMPDIR")).join("firmware");
        let mut make = Command::new("make");
        make.arg("--directory").arg(root.join("firmware")).arg("--silent");
        let made = make.arg(format!("BUILD={}", into.display())).arg("emul").status().unwrap();
        assert!(made.success(), "the firmware does not build; scripts/setup firmware installs what it needs");
        into
    })
}
