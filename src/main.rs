//! The command line of Serialgate.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serialgate::command::{Exit, check, clock, complain, demo, init, passwd, queue, run, sim, status};

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
    /// Run the gateway
    Run(run::Args),
    /// Show the whole story with no hardware: boards, an outage, a backlog, a ledger
    Demo(demo::Args),
    /// Simulate boards on pseudo-terminals
    Sim(sim::Args),
    /// Write a first configuration by asking a few questions
    Init(init::Args),
    /// Check the configuration and say what it means
    Check(check::Args),
    /// Wait until the clock was synchronised, then leave a file that says so
    #[command(hide = true)]
    Clock(clock::Args),
    /// Show one screen of everything the daemon knows
    Status(status::Args),
    /// Hash a password for a user of the local broker
    Passwd(passwd::Args),
    /// See and handle what waits: stats, peek, export, import, pause, resume, purge, verify
    Queue(queue::Args),
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
        Command::Run(args) => run::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Sim(args) => sim::run(&args),
        Command::Init(args) => Ok(init::run(&args)),
        Command::Check(args) => Ok(check::run(&args)),
        Command::Clock(args) => clock::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Passwd(args) => passwd::run(&args),
        Command::Queue(args) => queue::run(&args),
    };
    exit.unwrap_or_else(|error| {
        complain(format_args!("serialgate: {error:#}"));
        Exit::Software
    })
    .into()
}
