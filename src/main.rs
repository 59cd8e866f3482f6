//! The program `serialgate`.

use std::process::ExitCode;

use clap::Parser;
use serialgate::command::{Exit, Line, complain};

fn main() -> ExitCode {
    let line = match Line::try_parse() {
        Ok(line) => line,
        Err(error) => {
            // Help and version come as errors too. What cannot be printed has no reader.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Ok.into() };
        }
    };
    let exit = line.run().unwrap_or_else(|error| {
        complain(format_args!("serialgate: {error:#}"));
        Exit::Software
    });
    exit.into()
}
