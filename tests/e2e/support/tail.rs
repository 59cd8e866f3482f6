//! A file that grows, read as it does.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Where we are in the file. A look costs only what is new.
pub(crate) struct Tail {
    file: File,
    /// The beginning of a line that is still being written.
    rest: Vec<u8>,
}

impl Tail {
    pub(crate) fn open(path: &Path) -> Self {
        Self { file: File::open(path).unwrap(), rest: Vec::new() }
    }

    /// The whole lines since the last look.
    pub(crate) fn lines(&mut self) -> Vec<String> {
        self.file.read_to_end(&mut self.rest).unwrap();
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else { return Vec::new() };
        let rest = self.rest.split_off(end + 1);
        let whole = std::mem::replace(&mut self.rest, rest);
        String::from_utf8_lossy(&whole).lines().map(str::to_owned).collect()
    }
}
