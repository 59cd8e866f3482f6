//! A cable between a simulated board and a port, for what a simulated board does not do itself.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::Tty;

/// Passes bytes on while [`Cable::relay`] is called; what a board says meanwhile waits.
pub(crate) struct Cable {
    board: File,
    link: PathBuf,
    /// `None` while it is unplugged.
    line: Option<Tty>,
    /// So many bytes of a frame were passed on.
    in_frame: Option<usize>,
    said: usize,
}

impl Cable {
    /// A cable from the board at `board` to a port at `link`.
    pub(crate) fn between(board: &Path, link: &Path) -> Self {
        let mut options = File::options();
        options.read(true).write(true).custom_flags(nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY);
        let board = options.open(board).unwrap();
        let mut cable = Self { board, link: link.to_owned(), line: None, in_frame: None, said: 0 };
        cable.plug();
        cable
    }

    pub(crate) fn unplug(&mut self) {
        self.line = None;
    }

    pub(crate) fn plug(&mut self) {
        self.line = Some(Tty::plug(&self.link));
    }

    /// Passes on what there is, both ways.
    pub(crate) fn relay(&mut self) {
        self.relay_with("");
    }

    /// The same for a board whose sketch prints `text` after each wire frame.
    pub(crate) fn relay_with(&mut self, text: &str) {
        let Some(line) = &mut self.line else { return };
        let answer = line.read();
        if !answer.is_empty() {
            self.board.write_all(&answer).unwrap();
        }
        let mut bytes = [0; 4096];
        // Nothing there, or the board has gone.
        let count = self.board.read(&mut bytes).unwrap_or_default();
        let mut mixed = Vec::new();
        for byte in &bytes[..count] {
            mixed.push(*byte);
            self.in_frame = match (self.in_frame, byte) {
                (Some(1..), 0) => {
                    mixed.extend_from_slice(text.as_bytes());
                    self.said += 1;
                    None
                }
                (None | Some(0), 0) => Some(0),
                (Some(length), _) => Some(length + 1),
                (None, _) => None,
            };
        }
        line.write(&mixed);
    }

    /// How often text was printed.
    pub(crate) fn said(&self) -> usize {
        self.said
    }
}
