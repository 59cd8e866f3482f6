//! The commands of the program, one file each: its arguments, and `run`, which gives the exit code.
//!
//! What a command has to say goes to standard output through [`say`], what went wrong to standard
//! error through [`complain`]; both keep quiet when nobody reads any more.

pub mod check;
pub mod clock;
pub mod demo;
pub mod init;
mod line;
pub mod passwd;
pub mod ports;
pub mod queue;
pub mod run;
pub mod send;
pub mod sim;
pub mod status;
mod terminal;
pub mod watch;

use std::fmt::Display;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;

use crate::config::{self, Config, ConfigError};
use crate::control::{self, Request, Response};

pub use line::Line;

/// How a command ends: the codes of sysexits.h, which service managers and scripts know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All well.
    Ok = 0,
    /// It did its work, and the answer is no: something was lost (`demo`), the file is not wanted
    /// (`init`), the device refuses (`send`).
    No = 1,
    /// The command line is wrong.
    Usage = 64,
    /// The data are wrong.
    Data = 65,
    /// A file to be read is not there.
    NoInput = 66,
    /// The daemon, a device or another service is not there.
    Unavailable = 69,
    /// A part of the program failed.
    Software = 70,
    /// A file cannot be written.
    Io = 74,
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

/// The options that say which daemon is meant.
#[derive(Clone, Debug, clap::Args)]
pub struct DaemonArg {
    /// The daemon's control socket, where it is not in one of the usual places
    #[arg(long, value_name = "PATH", conflicts_with = "config")]
    pub socket: Option<PathBuf>,
    /// The daemon's configuration file, which tells where its control socket is [default:
    /// /etc/serialgate/serialgate.yaml, if it can be read]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

impl DaemonArg {
    /// Where to ask.
    ///
    /// # Errors
    /// Where a configuration is named that cannot be used.
    pub fn socket(&self) -> Result<PathBuf, ConfigError> {
        match &self.socket {
            Some(socket) => Ok(socket.clone()),
            None => Ok(control::find(&self.load()?)),
        }
    }

    /// Asks it. What goes wrong is told on standard error, and gives the exit code.
    ///
    /// # Errors
    /// There is no answer.
    pub(crate) async fn ask(&self, request: Request) -> Result<Response, Exit> {
        let socket = self.socket().map_err(|error| {
            complain(error);
            Exit::Config
        })?;
        let answer = control::ask(&socket, request).await.map_err(|error| error.to_string());
        let answer = answer.and_then(|answer| match answer {
            Response::Error(error) => Err(error),
            answer => Ok(answer),
        });
        answer.map_err(|error| {
            complain(format_args!("serialgate: {error}"));
            Exit::Unavailable
        })
    }

    /// The configuration. One that is not named need not be there, be readable or be right: the daemon
    /// may run on an older one, and anybody in its group may ask.
    ///
    /// # Errors
    /// Where it is named and cannot be used.
    pub fn load(&self) -> Result<Config, ConfigError> {
        match &self.config {
            Some(file) => Config::load(file),
            None => Ok(Config::load(config::DEFAULT_PATH.as_ref()).unwrap_or_default()),
        }
    }
}

/// The reason in an answer that is not the one asked for.
fn refusal(answer: Response) -> String {
    match answer {
        Response::Error(error) => error,
        other => format!("the daemon answers {other:?}; is it of another version?"),
    }
}

/// The one runtime of a command. A single thread: ports, brokers and bridges wait much more than
/// they work, and what must not wait for the disk has a thread of its own.
///
/// # Errors
/// When the system has no descriptors to give.
pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("runtime")
}

/// A number of seconds on the command line.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// Writes `text` and a line feed to standard output. Whoever reads it may have gone (`| head`).
pub fn say(text: impl Display) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// Writes `text` and a line feed to standard error.
pub fn complain(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
