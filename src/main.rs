//! The command line of Serialgate.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serialgate::command::{Exit, check, complain, status};

/// Serial sensors to MQTT, and no reading lost.
#[derive(Debug, Parser)]
#[command(
    version,
    arg_required_else_help = true,
    after_help = "Example:\n  serialgate check --config /etc/serialgate/serialgate.yaml"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check the configuration and say what it means
    Check(check::Args),
    /// Show one screen of everything the daemon knows
    Status(status::Args),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come as errors too. What cannot be printed has no reader.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Ok.into() };
        }
    };
    let exit = match cli.command {
        Command::Check(args) => Ok(check::run(&args)),
        Command::Status(args) => status::run(&args),
    };
    exit.unwrap_or_else(|error| {
        complain(format_args!("serialgate: {error:#}"));
        Exit::Software
    })
    .into()
}
