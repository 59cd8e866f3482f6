//! The simulated boards' own ledger, read as it grows.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::Deserialize;

use super::ledger::Ledger;

/// Reads the lines that were added to a file since the last look.
#[derive(Debug)]
pub struct Tail {
    file: File,
    rest: Vec<u8>,
}

/// A line of the boards' ledger, as far as it matters here.
#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Line {
    Produced { device: String, seq: Option<u64>, n: Option<u64> },
    Acknowledged { device: String },
    Unheard { device: String, n: u64 },
}

impl Tail {
    /// # Errors
    /// When the file cannot be read.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: File::open(path)?, rest: Vec::new() })
    }

    /// Enters what is new into `ledger`.
    ///
    /// # Errors
    /// When the file cannot be read or a line is not what the boards write.
    pub fn read_into(&mut self, ledger: &mut Ledger) -> io::Result<()> {
        self.file.read_to_end(&mut self.rest)?;
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else { return Ok(()) };
        let rest = self.rest.split_off(end + 1);
        let whole = std::mem::replace(&mut self.rest, rest);
        for line in whole.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match serde_json::from_slice(line)? {
                Line::Produced { device, seq, n } => {
                    if let Some(number) = seq.or(n) {
                        ledger.produce(&device, number);
                    }
                }
                Line::Acknowledged { device } => ledger.acknowledge(&device),
                // Printed while nobody listened: never reached the gateway.
                Line::Unheard { device, n } => ledger.withdraw(&device, n),
            }
        }
        Ok(())
    }
}
