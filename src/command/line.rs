//! The command line: what `--help`, the man pages and the completions are made from.

use clap::{Parser, Subcommand};

use super::{Exit, check, demo, init, passwd, queue, run, send, sim, status};

/// Serial sensors to MQTT, and no reading lost.
#[derive(Debug, Parser)]
#[command(
    name = "serialgate",
    version,
    arg_required_else_help = true,
    after_help = "Example:\n  serialgate check --config /etc/serialgate/serialgate.yaml"
)]
pub struct Line {
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
    /// Show one screen of everything the daemon knows
    Status(status::Args),
    /// Send a command down to a device, and print its result
    Send(send::Args),
    /// Hash a password for a user of the local broker
    Passwd(passwd::Args),
    /// See and handle what waits: stats, peek, export, import, pause, resume, purge, verify
    Queue(queue::Args),
}

impl Line {
    /// Does what the line says.
    ///
    /// # Errors
    /// Where a part of the program fails.
    pub fn run(self) -> anyhow::Result<Exit> {
        match self.command {
            Command::Run(args) => run::run(&args),
            Command::Demo(args) => demo::run(&args),
            Command::Sim(args) => sim::run(&args),
            Command::Init(args) => Ok(init::run(&args)),
            Command::Check(args) => Ok(check::run(&args)),
            Command::Status(args) => status::run(&args),
            Command::Send(args) => send::run(&args),
            Command::Passwd(args) => passwd::run(&args),
            Command::Queue(args) => queue::run(&args),
        }
    }
}
