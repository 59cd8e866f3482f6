//! The commands of the program, one file each: its arguments, and `run`, which gives the exit code.
//!
//! What a command has to say goes to standard output through [`say`], what went wrong to standard
//! error through [`complain`]; both keep quiet when nobody reads any more.

pub mod check;
pub mod demo;
pub mod run;
pub mod sim;
pub mod status;

use std::fmt::Display;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;

use crate::config;

/// How a command ends: the codes of sysexits.h, which service managers and scripts know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All well.
    Ok = 0,
    /// It did its work, and the answer is no: something was lost (`demo`).
    No = 1,
    /// The command line is wrong.
    Usage = 64,
    /// The data are wrong.
    Data = 65,
    /// The daemon, a device or another service is not there.
    Unavailable = 69,
    /// A part of the program failed.
    Software = 70,
    /// The configuration is wrong.
    Config = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The option that names the configuration.
#[derive(Clone, Debug, clap::Args)]
pub struct ConfigArg {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    pub config: PathBuf,
}

/// The one runtime of a command. A single thread: ports, brokers and bridges wait much more than
/// they work, and what must not wait for the disk has a thread of its own.
///
/// # Errors
/// When the system has no descriptors to give.
pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("runtime")
}

/// Writes `text` and a line feed to standard output. Whoever reads it may have gone (`| head`).
pub fn say(text: impl Display) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// Writes `text` and a line feed to standard error.
pub fn complain(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
