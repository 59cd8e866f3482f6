//! The part of the document that this benchmark writes.

use std::fmt::Write as _;
use std::process::Command;

use crate::machine::{load, machine};
use crate::section::Section;

/// What the figures mean.
const INTRODUCTION: &str = "\
The gateway measured from outside: the release build of the real program, boards on pseudo terminals, mosquitto as
the cloud on the loopback, the local broker on with nobody subscribed, the queue on a disk. Latency is from the write
to the serial line to the arrival at a subscriber of the cloud, both stamped by one clock. CPU is user and system time
of all threads of the program, from the scheduler, in nanoseconds; mosquitto and the boards are not in it.

Figures are `median [least, greatest]` of several runs. They differ from machine to machine; the ratios should not.
What pseudo terminals leave out: the time of the bytes on a real line (5 ms for 62 bytes at 115200 baud), and the delay
of USB adapters (1 to 16 ms).

`cargo bench --bench live -- --help` tells how to run a part.";

/// The whole document.
#[derive(Debug)]
pub(crate) struct Document {
    seconds: u32,
    load_before: f64,
    sections: Vec<Section>,
}

impl Document {
    /// Begins one; live runs will take `seconds` each.
    pub(crate) fn new(seconds: u32) -> anyhow::Result<Self> {
        Ok(Self { seconds, load_before: load()?, sections: Vec::new() })
    }

    pub(crate) fn add(&mut self, section: Section) {
        self.sections.push(section);
    }

    pub(crate) fn finish(&self) -> anyhow::Result<String> {
        let Self { seconds, load_before, sections } = self;
        let mut text = format!(
            "## The gateway from outside\n\n{INTRODUCTION}\n\n\
             Serialgate {}; {}; {}.\n\
             Each live run took {seconds} seconds. The machine had other work as well: its load average was \
             {load_before:.1} before and {:.1} at the end; the\nmeasurement itself adds about one.\n",
            env!("CARGO_PKG_VERSION"),
            machine()?,
            mosquitto(),
            load()?,
        );
        for section in sections {
            write!(text, "\n{section}")?;
        }
        Ok(text)
    }
}

/// Mosquitto in words, with its version.
fn mosquitto() -> String {
    let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
    let output = Command::new("mosquitto").arg("-h").env("PATH", path).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("mosquitto").to_owned()
}
