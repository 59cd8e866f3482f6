//! The command line: what `--help`, the man pages and the completions are made from.

use clap::{Parser, Subcommand};

use super::{Exit, check, clock, demo, init, passwd, ports, queue, run, send, sim, status, watch};

/// Serial sensors to MQTT, and no reading lost.
///
/// Serialgate reads what microcontrollers say on serial lines, keeps every reading in a queue on disk while the
/// network is away, and publishes it over MQTT: to a local broker that it brings along, and to brokers elsewhere. No
/// reading that it has acknowledged is ever lost, and every loss that could not be prevented is counted and reported.
///
/// `serialgate run` is the daemon, as a rule started by systemd. The other commands speak to it through its control
/// socket, prepare its configuration, or try things out without hardware.
#[derive(Debug, Parser)]
#[command(
    name = "serialgate",
    version,
    arg_required_else_help = true,
    after_help = "Examples:\n  serialgate init\n  serialgate check --config /etc/serialgate/serialgate.yaml\n  \
        serialgate status\n\n\
        Each command has its own help: serialgate run --help\n\n\
        Exit codes: 0: all well. 1: it did its work, and the answer is no. 64: the command line is wrong. 65: the data \
        are wrong. 66: a file to be read is not there. 69: the daemon, a device or another service is not there. 70: a \
        part of the program failed. 74: a file cannot be written. 78: the configuration is wrong."
)]
pub struct Line {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway
    ///
    /// Opens the ports, the queue, the local broker and the bridges that the configuration names, and runs until
    /// SIGTERM or SIGINT. What is missing is waited for: a port that is not plugged in, a broker that cannot be
    /// reached, an address that is taken. Whatever has been acknowledged by then is on disk when it ends.
    Run(run::Args),
    /// Show the whole story with no hardware: boards, an outage, a backlog, a ledger
    ///
    /// Simulated boards, the real gateway and a stand-in for the cloud, all in one process. The link to the cloud is
    /// cut for a while; the backlog rises and drains; a ledger that the gateway has no hand in compares at the end what
    /// the boards made with what the cloud got.
    Demo(demo::Args),
    /// Simulate boards on pseudo-terminals
    Sim(sim::Args),
    /// Write a first configuration by asking a few questions
    ///
    /// Looks at what is plugged in, asks for the gateway's name and where the readings go, shows the file and writes
    /// it. A password goes into a file of its own, which only its owner may read.
    Init(init::Args),
    /// List the serial ports, and who holds them
    ///
    /// Each with the name to write into the configuration, what is plugged in there, whether the configuration has it,
    /// which program holds it, and what keeps this user from opening it.
    Ports(ports::Args),
    /// Check the configuration and say what it means
    ///
    /// Lists every mistake with its place and what to write instead. Of a file that is right it says in words what the
    /// gateway would do, and warns of what is allowed but probably not meant.
    Check(check::Args),
    /// Wait until the clock was synchronised, then leave a file that says so
    ///
    /// What serialgate-clock.service runs: the sandbox of the daemon keeps it from asking the kernel itself.
    Clock(clock::Args),
    /// Show one screen of everything the daemon knows
    ///
    /// Ports with what was read and what was damaged, the queue with what waits and what was dropped, bridges with
    /// their state and the time that a backlog will take, the local broker with its clients.
    Status(status::Args),
    /// Show readings as they come
    ///
    /// One line each, with local time, device and values; events of the gateway and results of commands among them.
    /// It needs no MQTT client and no local broker, goes on when the daemon restarts, and slows nothing down: a
    /// terminal that is too slow misses lines, and is told how many. Where no reading comes it says what it knows of
    /// the reason. Ctrl-C ends it.
    Watch(watch::Args),
    /// Send a command down to a device, and print its result
    ///
    /// Sets a channel of a board, or has it do something else that it knows, and waits for its answer. What is
    /// published to the device's topic `set` does the same.
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
            Command::Ports(args) => ports::run(&args),
            Command::Check(args) => Ok(check::run(&args)),
            Command::Clock(args) => clock::run(&args),
            Command::Status(args) => status::run(&args),
            Command::Watch(args) => watch::run(&args),
            Command::Send(args) => send::run(&args),
            Command::Passwd(args) => passwd::run(&args),
            Command::Queue(args) => queue::run(&args),
        }
    }
}
