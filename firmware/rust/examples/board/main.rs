//! A board in Rust, on a computer: its UART is standard input and output, so that it can be tried with
//! a pseudo-terminal or a USB adapter:
//!
//! ```text
//! cargo run --example board < /dev/ttyUSB0 > /dev/ttyUSB0
//! ```
//! On a microcontroller [`board`] stays as it is; the HAL's UART takes the place of [`Terminal`], and
//! its timer that of the clock.
#![expect(clippy::disallowed_methods, reason = "a loop of its own, as on a board")]

mod board;

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use embedded_io::{ErrorKind, ErrorType, Read, ReadReady, Write};

use board::Board;

/// Standard input, read by a thread, and standard output.
struct Terminal {
    from: Receiver<Vec<u8>>,
    input: VecDeque<u8>,
    ended: bool,
}

impl Terminal {
    fn open() -> Self {
        let (to, from) = sync_channel(64);
        thread::spawn(move || {
            let mut bytes = [0; 256];
            while let Ok(count @ 1..) = io::stdin().read(&mut bytes) {
                if to.send(bytes.iter().take(count).copied().collect()).is_err() {
                    break;
                }
            }
        });
        Self { from, input: VecDeque::new(), ended: false }
    }
}

impl ErrorType for Terminal {
    type Error = ErrorKind;
}

impl ReadReady for Terminal {
    fn read_ready(&mut self) -> Result<bool, ErrorKind> {
        match self.from.try_recv() {
            Ok(bytes) => self.input.extend(bytes),
            Err(error) => self.ended |= error == std::sync::mpsc::TryRecvError::Disconnected,
        }
        if self.ended && self.input.is_empty() {
            Err(ErrorKind::BrokenPipe)
        } else {
            Ok(!self.input.is_empty())
        }
    }
}

impl Read for Terminal {
    fn read(&mut self, bytes: &mut [u8]) -> Result<usize, ErrorKind> {
        io::Read::read(&mut self.input, bytes).map_err(|error| error.kind().into())
    }
}

impl Write for Terminal {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        io::stdout().write(bytes).map_err(|error| error.kind().into())
    }

    fn flush(&mut self) -> Result<(), ErrorKind> {
        io::stdout().flush().map_err(|error| error.kind().into())
    }
}

fn main() -> Result<(), ErrorKind> {
    let started = Instant::now();
    // A board would count its boots in flash, or draw a number.
    let boot = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.subsec_nanos());
    let mut board = Board::new(Terminal::open(), *b"rust", boot, 0);
    let (mut last, mut made) = (0_u32, 0_u32);
    loop {
        // Wraps after 49.7 days, as a board's clock does.
        let [a, b, c, d, ..] = started.elapsed().as_millis().to_le_bytes();
        let now = u32::from_le_bytes([a, b, c, d]);
        if now.wrapping_sub(last) >= board.interval_ms {
            last = last.wrapping_add(board.interval_ms);
            board.measure(now, made);
            made = made.wrapping_add(1);
        }
        board.poll(now)?;
        thread::sleep(Duration::from_millis(1));
    }
}
