//! `serialgate passwd`: the hash of a password, for a user of the local broker.

use std::io::{self, IsTerminal, Read};
use std::os::fd::AsFd;

use anyhow::Context as _;
use ring::rand::{SecureRandom, SystemRandom};

use super::init::Scalar;
use super::terminal::{Stop, Terminal};
use super::{Exit, complain, say};
use crate::password::{Hash, MAX_BYTES, SALT_BYTES};

/// Longest user name, in bytes: as in the configuration.
const MAX_NAME_BYTES: usize = 255;

/// `passwd` on the command line.
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  serialgate passwd esp32\n  pwgen 20 1 | tee esp32.txt | serialgate passwd esp32\n\n\
    At a terminal it asks twice and shows nothing; from a pipe it reads one line. The password is never an\n\
    argument, which others on this machine could see.\n\n\
    Exit code 0: the hash, or with NAME a line for `users`, is on standard output. 1: stopped. 65: the password\n\
    is empty, too long, or not the same twice."
)]
pub struct Args {
    /// The user's name: prints a whole line for the configuration
    #[arg(value_name = "NAME", value_parser = name)]
    name: Option<String>,
}

/// Why there is no hash.
enum Trouble {
    Stop(Stop),
    Password(&'static str),
}

impl From<Stop> for Trouble {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

/// Reads a password and prints its hash.
///
/// # Errors
/// When the system gives no random numbers.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let stdin = io::stdin();
    let password = if stdin.is_terminal() { ask() } else { read(stdin.lock()) };
    let password = match password {
        Ok(password) => password,
        Err(Trouble::Password(what)) => {
            complain(format_args!("serialgate: {what}"));
            return Ok(Exit::Data);
        }
        Err(Trouble::Stop(Stop::Ended)) => {
            complain("serialgate: stopped");
            return Ok(Exit::No);
        }
        Err(Trouble::Stop(stop)) => {
            complain(format_args!("serialgate: {stop}"));
            return Ok(Exit::Software);
        }
    };
    let mut salt = [0; SALT_BYTES];
    SystemRandom::new().fill(&mut salt).ok().context("no random numbers for the salt")?;
    let hash = Hash::new(&password, salt).context("the password cannot be hashed")?.reveal();
    match &args.name {
        None => say(hash),
        Some(name) => {
            say(format_args!("    - {{name: {}, password_hash: \"{hash}\"}}", Scalar(name)));
            complain(
                "Put this line below `users:` of `broker:` in serialgate.yaml. What the user may do goes into it as\n\
                 well, as in `publish: [\"sensors/%u/#\"], subscribe: []`; without them it may do everything.",
            );
        }
    }
    Ok(Exit::Ok)
}

/// Asks twice at the terminal. The questions go to standard error: standard output is for the hash.
fn ask() -> Result<Vec<u8>, Trouble> {
    let (stdin, mut stderr) = (io::stdin(), io::stderr());
    let mut input = stdin.lock();
    let mut terminal = Terminal::new(&mut input, &mut stderr, Some(stdin.as_fd()));
    let password = terminal.hidden("Password (not shown)")?.into_bytes();
    check(&password)?;
    if terminal.hidden("The same again")?.into_bytes() != password {
        return Err(Trouble::Password("the two are not the same"));
    }
    Ok(password)
}

/// One line, of which the end may be missing.
fn read(input: impl Read) -> Result<Vec<u8>, Trouble> {
    let limit = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX).saturating_add(3);
    let mut bytes = Vec::new();
    input.take(limit).read_to_end(&mut bytes).map_err(Stop::from)?;
    let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    check(line)?;
    Ok(line.to_vec())
}

fn check(password: &[u8]) -> Result<(), Trouble> {
    match password.len() {
        0 => Err(Trouble::Password("an empty password protects nothing")),
        1..=MAX_BYTES => Ok(()),
        _ => Err(Trouble::Password("the password is longer than the 65535 bytes that MQTT has room for")),
    }
}

/// A name as the configuration takes it.
fn name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > MAX_NAME_BYTES || text.contains(char::is_control) {
        return Err(format!("a name is one line of 1 to {MAX_NAME_BYTES} bytes"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piped_password_is_one_line() {
        for (input, expected) in [
            (&b"hunter2\n"[..], Some(&b"hunter2"[..])),
            (b"hunter2", Some(b"hunter2")),
            (b" hunter2 \r\nmore\n", Some(b" hunter2 ")),
            (b"", None),
            (b"\nhunter2\n", None),
        ] {
            assert_eq!(read(input).ok().as_deref(), expected);
        }
        assert!(read(&vec![b'x'; MAX_BYTES][..]).is_ok());
        assert!(read(&vec![b'x'; MAX_BYTES + 1][..]).is_err());
    }
}
