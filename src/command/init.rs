//! `serialgate init`: a first configuration, by a few questions or without any.

mod presets;
mod questions;
mod write;
mod yaml;

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use self::presets::PRESETS;
use self::questions::Known;
use self::write::{CONFIG_MODE, Existing, SECRET_MODE};
use self::yaml::{Answers, Cloud, Login};
use super::terminal::{Stop, Terminal};
use super::{Exit, complain, say};
use crate::config::{self, Config, Format};
use crate::port::found;

pub(super) use self::yaml::Scalar;

/// `init` on the command line.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = after_help())]
pub struct Args {
    /// Ask nothing: take the USB ports that are plugged in, and for the rest the options or the defaults
    #[arg(long)]
    yes: bool,
    /// The file to write
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    output: PathBuf,
    /// Write even if there is such a file already
    #[arg(long)]
    force: bool,
    /// The gateway's name in topics [default: the host name]
    #[arg(long, value_name = "NAME")]
    gateway: Option<String>,
    /// What all ports speak
    #[arg(long, value_name = "FORMAT")]
    format: Option<Speech>,
    /// Where the readings go: one of the clouds below
    #[arg(long, value_name = "NAME", value_parser = clap::builder::PossibleValuesParser::new(PRESETS.iter().map(|preset| preset.name)), hide_possible_values = true)]
    cloud: Option<String>,
    /// The cloud's host, host:port or url
    #[arg(long, value_name = "HOST", requires = "cloud")]
    host: Option<String>,
    /// The user name there; the thing or client name where a certificate is wanted
    #[arg(long, value_name = "NAME", requires = "cloud")]
    username: Option<String>,
    /// The file with the password [default: secrets/CLOUD beside the configuration]
    #[arg(long, value_name = "FILE", requires = "cloud")]
    password_file: Option<String>,
    /// The client certificate [default: secrets/CLOUD.pem beside the configuration]
    #[arg(long, value_name = "FILE", requires = "cloud")]
    certificate: Option<String>,
    /// Its private key [default: secrets/CLOUD.key beside the configuration]
    #[arg(long, value_name = "FILE", requires = "cloud")]
    key: Option<String>,
    /// The certificate of the broker's own authority; for TLS with a broker in the house
    #[arg(long, value_name = "FILE", requires = "cloud")]
    ca: Option<String>,
}

/// [`Format`] on the command line.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Speech {
    /// Boards with the Serialgate library
    Wire,
    /// One JSON object a line
    Json,
}

impl From<Speech> for Format {
    fn from(speech: Speech) -> Self {
        match speech {
            Speech::Wire => Self::Wire,
            Speech::Json => Self::Json,
        }
    }
}

fn after_help() -> String {
    format!(
        "Clouds:\n{}\nExamples:\n  serialgate init\n  serialgate init --yes --output serialgate.yaml --format json\n  \
        serialgate init --yes --cloud hivemq --host abc123.s1.eu.hivemq.cloud --username greenhouse\n\n\
        Exit code 0: the file is written. 1: it was not wanted. 64: the command line is wrong, or there is nobody to \
        ask. 74: the file cannot be written, or there is one already.",
        presets::listed()
    )
}

/// Asks, shows, writes, and says what comes next.
#[must_use]
pub fn run(args: &Args) -> Exit {
    if !args.yes && !io::stdin().is_terminal() {
        complain("serialgate: there is no terminal to ask questions at; run it in one, or add --yes");
        return Exit::Usage;
    }
    if let Err(why) = may_write(args) {
        complain(format_args!("serialgate: {why}"));
        return Exit::Io;
    }
    let (stdin, mut stdout) = (io::stdin(), io::stdout());
    let mut input = stdin.lock();
    let mut terminal = (!args.yes).then(|| Terminal::new(&mut input, &mut stdout, Some(stdin.as_fd())));
    match init(args, &found::lines(Path::new(found::DEV)), &mut terminal) {
        Ok(Some(written)) => {
            say(written.next(args));
            Exit::Ok
        }
        Ok(None) => {
            complain("Nothing was written.");
            Exit::No
        }
        Err(Trouble::Stop(stop)) => {
            complain(format_args!("serialgate: {stop}"));
            match stop {
                Stop::Ended => Exit::No,
                Stop::Missing(_) | Stop::Wrong(..) => Exit::Usage,
                Stop::Io(_) => Exit::Software,
            }
        }
        Err(Trouble::File(path, error)) => {
            complain(format_args!("serialgate: {} cannot be written: {error}", path.display()));
            Exit::Io
        }
        Err(Trouble::Config(error)) => {
            complain(format_args!(
                "serialgate: these answers do not go together, so nothing was written:\n{error}"
            ));
            Exit::Usage
        }
    }
}

/// Why there is no file.
#[derive(Debug)]
enum Trouble {
    Stop(Stop),
    File(PathBuf, io::Error),
    Config(config::ConfigError),
}

impl From<Stop> for Trouble {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

/// Whether there can be a new file: better known before the questions than after them.
fn may_write(args: &Args) -> Result<(), String> {
    let file = args.output.display();
    if !args.force && args.output.symlink_metadata().is_ok() {
        return Err(format!(
            "{file} is there already and stays as it is; write over it with --force, or write \
            another file with --output"
        ));
    }
    write::try_folder(&args.output).map_err(|error| {
        format!("{file} cannot be written: {error}; run this with sudo, or write another file with --output")
    })
}

/// What was done.
#[derive(Debug)]
struct Written {
    /// A file that the configuration names and that is not there: with what has to be in it.
    missing: Vec<(&'static str, PathBuf)>,
}

/// The whole of it but its words at the end. `None`: the person does not want the file.
fn init(
    args: &Args,
    found: &[found::Found],
    terminal: &mut Option<Terminal<'_>>,
) -> Result<Option<Written>, Trouble> {
    if let Some(terminal) = terminal.as_mut() {
        terminal
            .say("A first configuration. Enter takes what stands in [brackets], Ctrl-C writes nothing.\n")?;
    }
    let known = Known { args, found, is_system: args.output == Path::new(config::DEFAULT_PATH) };
    let answers = questions::answers(&known, terminal)?;
    let secret = secret(&answers, args, terminal)?;
    let text = yaml::yaml(&answers);
    Config::parse(&text, &args.output).map_err(Trouble::Config)?;
    if let Some(terminal) = terminal.as_mut() {
        terminal.say(&format!("\n{:-<78}\n{text}{:-<78}\n", "", ""))?;
        if !terminal.confirm(&format!("Write this to {}?", args.output.display()), true)? {
            return Ok(None);
        }
    }
    if let Some((path, password)) = secret {
        let content = format!("{password}\n");
        write::write(&path, &content, SECRET_MODE, Existing::Stays)
            .map_err(|error| Trouble::File(path, error))?;
    }
    let existing = if args.force { Existing::GivesWay } else { Existing::Stays };
    write::write(&args.output, &text, CONFIG_MODE, existing)
        .map_err(|error| Trouble::File(args.output.clone(), error))?;
    let mut missing = named(&answers, args);
    missing.retain(|(_, path)| !path.exists());
    Ok(Some(Written { missing }))
}

/// The password to be written, and where; none where there is one already or nobody types one.
fn secret(
    answers: &Answers,
    args: &Args,
    terminal: &mut Option<Terminal<'_>>,
) -> Result<Option<(PathBuf, String)>, Stop> {
    let (Some(terminal), Some(Cloud { login, .. })) = (terminal.as_mut(), &answers.cloud) else {
        return Ok(None);
    };
    let (Login::Password { file, .. } | Login::Sas { file, .. }) = login else { return Ok(None) };
    let path = beside(args, file);
    if path.exists() {
        terminal.say(&format!("  {} is there already and stays as it is", path.display()))?;
        return Ok(None);
    }
    let what = if matches!(login, Login::Sas { .. }) { "Primary key" } else { "Password" };
    let password = terminal.hidden(&format!("{what} (not shown; empty to write the file yourself)"))?;
    Ok((!password.is_empty()).then_some((path, password)))
}

/// The files that the configuration names, with what has to be in them.
fn named(answers: &Answers, args: &Args) -> Vec<(&'static str, PathBuf)> {
    let Some(cloud) = &answers.cloud else { return Vec::new() };
    let mut files = match &cloud.login {
        Login::Anonymous => vec![],
        Login::Password { file, .. } => {
            vec![("the password, in one line (mode 600, the daemon's own)", file)]
        }
        Login::Sas { file, .. } => {
            vec![("the primary key of the device, in one line (mode 600, the daemon's own)", file)]
        }
        Login::Certificate { certificate, key, .. } => {
            vec![
                ("the client certificate", certificate),
                ("its private key (mode 600, the daemon's own)", key),
            ]
        }
    };
    files.extend(cloud.ca.as_ref().map(|ca| ("the certificate of the broker's authority", ca)));
    files.into_iter().map(|(what, file)| (what, beside(args, file))).collect()
}

/// `file` as the daemon finds it: a relative path begins at the folder of the configuration.
fn beside(args: &Args, file: &str) -> PathBuf {
    args.output.parent().unwrap_or(Path::new("")).join(file)
}

impl Written {
    /// What comes next.
    fn next(&self, args: &Args) -> String {
        let file = args.output.display();
        let option = match args.output == Path::new(config::DEFAULT_PATH) {
            true => String::new(),
            false => format!(" --config {file}"),
        };
        let mut text = format!("{file} is written.\n");
        for (what, path) in &self.missing {
            text.push_str(&format!("  still to come: {}, {what}\n", path.display()));
        }
        for (command, does) in [
            ("check", "what it means, and what may be missing"),
            ("check --connect", "whether the broker lets us in"),
            ("run", "the gateway; Ctrl-C ends it"),
        ] {
            text.push_str(&format!(
                "\n  serialgate {:<width$}  {does}",
                format!("{command}{option}"),
                width = 15 + option.len()
            ));
        }
        if option.is_empty() {
            text.push_str("\n\nWhere the service runs, it takes this over by: systemctl restart serialgate");
        }
        text
    }
}

#[cfg(test)]
mod tests;
