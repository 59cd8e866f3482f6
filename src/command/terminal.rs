//! Questions and answers at a terminal.

use std::io::{self, BufRead, Write};
use std::os::fd::BorrowedFd;

use nix::sys::termios::{self, InputFlags, LocalFlags, SetArg, Termios};

/// Longest answer, in bytes.
const ANSWER_MAX: usize = 4096;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stop {
    /// Ctrl-C, Ctrl-D, or the end of the input.
    #[error("stopped; nothing was written")]
    Ended,
    /// Nobody can be asked.
    #[error("{0} is missing: without questions (--yes) it must be given")]
    Missing(&'static str),
    /// What was given on the command line is not right.
    #[error("{0}: {1}")]
    Wrong(&'static str, String),
    /// The terminal is broken.
    #[error("the terminal: {0}")]
    Io(#[from] io::Error),
}

/// Where questions are asked.
pub(super) struct Terminal<'a> {
    input: &'a mut dyn BufRead,
    output: &'a mut dyn Write,
    /// The terminal behind `input`, where it is one.
    device: Option<BorrowedFd<'a>>,
}

impl<'a> Terminal<'a> {
    pub(super) fn new(
        input: &'a mut dyn BufRead,
        output: &'a mut dyn Write,
        device: Option<BorrowedFd<'a>>,
    ) -> Self {
        Self { input, output, device }
    }

    /// Shows a line.
    pub(super) fn say(&mut self, line: &str) -> Result<(), Stop> {
        Ok(writeln!(self.output, "{line}")?)
    }

    /// Asks until `take` likes the answer; an empty one is `default`, if there is one.
    pub(super) fn ask<T>(
        &mut self,
        question: &str,
        default: Option<&str>,
        take: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, Stop> {
        loop {
            match default.filter(|default| !default.is_empty()) {
                Some(default) => write!(self.output, "{question} [{default}]: ")?,
                None => write!(self.output, "{question}: ")?,
            }
            self.output.flush()?;
            let line = self.line()?;
            let answer = match (line.trim(), default) {
                ("", Some(default)) => default,
                ("", None) => continue,
                (answer, _) => answer,
            };
            match take(answer) {
                Ok(taken) => return Ok(taken),
                Err(why) => self.say(&format!("  {why}"))?,
            }
        }
    }

    /// Asks for yes or no; `yes` is what an empty answer means.
    pub(super) fn confirm(&mut self, question: &str, yes: bool) -> Result<bool, Stop> {
        let default = if yes { "yes" } else { "no" };
        self.ask(question, Some(default), |answer| match answer.to_ascii_lowercase().as_str() {
            "y" | "yes" => Ok(true),
            "n" | "no" => Ok(false),
            _ => Err("yes or no?".to_owned()),
        })
    }

    /// Asks for something that is not shown while it is typed. May be empty.
    pub(super) fn hidden(&mut self, question: &str) -> Result<String, Stop> {
        // Before the question is there: somebody may type fast.
        let hiding = self.device.map(Hiding::begin).transpose()?;
        write!(self.output, "{question}: ")?;
        self.output.flush()?;
        if hiding.is_none() {
            return self.line();
        }
        let typed = self.typed();
        drop(hiding);
        writeln!(self.output)?;
        typed
    }

    /// One line, without its end.
    fn line(&mut self) -> Result<String, Stop> {
        let mut bytes = Vec::new();
        io::Read::take(&mut *self.input, ANSWER_MAX as u64).read_until(b'\n', &mut bytes)?;
        if !bytes.ends_with(b"\n") {
            writeln!(self.output)?;
            return Err(Stop::Ended);
        }
        Ok(String::from_utf8_lossy(&bytes).trim_end_matches(['\r', '\n']).to_owned())
    }

    /// One line, key by key: the keys that the terminal itself handles otherwise are handled here.
    fn typed(&mut self) -> Result<String, Stop> {
        const CTRL_C: u8 = 3;
        const CTRL_D: u8 = 4;
        const BACKSPACE: u8 = 8;
        const CTRL_U: u8 = 21;
        const DELETE: u8 = 127;
        let mut bytes: Vec<u8> = Vec::new();
        loop {
            let mut key = [0];
            if io::Read::read(&mut *self.input, &mut key)? == 0 {
                return Err(Stop::Ended);
            }
            match key[0] {
                b'\r' | b'\n' => return Ok(String::from_utf8_lossy(&bytes).into_owned()),
                CTRL_C | CTRL_D => return Err(Stop::Ended),
                CTRL_U => bytes.clear(),
                BACKSPACE | DELETE => {
                    // A character may have several bytes, of which all but the first begin with 10.
                    while bytes.pop().is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000) {}
                }
                byte if bytes.len() < ANSWER_MAX => bytes.push(byte),
                _ => {}
            }
        }
    }
}

/// While it lives the terminal shows nothing of what is typed.
struct Hiding<'a> {
    device: BorrowedFd<'a>,
    before: Termios,
}

impl<'a> Hiding<'a> {
    fn begin(device: BorrowedFd<'a>) -> Result<Self, Stop> {
        let before = termios::tcgetattr(device).map_err(io::Error::from)?;
        let mut quiet = before.clone();
        // Without signals, so that Ctrl-C cannot leave a terminal behind that shows nothing.
        quiet.local_flags.remove(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG);
        quiet.input_flags.insert(InputFlags::ICRNL);
        termios::tcsetattr(device, SetArg::TCSADRAIN, &quiet).map_err(io::Error::from)?;
        Ok(Self { device, before })
    }
}

impl Drop for Hiding<'_> {
    fn drop(&mut self) {
        // Where this fails the terminal is gone.
        let _ = termios::tcsetattr(self.device, SetArg::TCSADRAIN, &self.before);
    }
}
