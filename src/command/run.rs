//! `serialgate run`: the daemon.

use std::sync::Arc;

use anyhow::{Context as _, bail};

use super::{ConfigArg, Exit, complain};
use crate::config::Config;
use crate::control::{self, Server};
use crate::gateway::Gateway;
use crate::{logging, signal};

/// `serialgate run`
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  serialgate run --config ./serialgate.yaml\n\n\
    Logs go to the journal under systemd, else to standard error; RUST_LOG=debug shows more.")]
pub struct Args {
    #[command(flatten)]
    config: ConfigArg,
}

/// Runs the gateway until SIGTERM or SIGINT.
///
/// # Errors
/// When the queue or the control socket cannot be had, or a part ends by itself.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let config = match Config::load(&args.config.config) {
        Ok(config) => config,
        Err(error) => {
            complain(&error);
            return Ok(Exit::Config);
        }
    };
    logging::init().context("logging")?;
    let runtime = super::runtime()?;
    let exit = runtime.block_on(serve(config));
    // A bridge may have left a thread behind that waits for a dead name server or file server.
    runtime.shutdown_background();
    exit
}

async fn serve(config: Config) -> anyhow::Result<Exit> {
    let socket = control::place(&config);
    let shutdown = signal::shutdown().context("signals")?;
    // The control socket first: it is what tells two daemons on one queue apart.
    let server = Server::bind(&socket).await?;
    let mut gateway = Gateway::start(config)?;
    let operator = Arc::new(gateway.operator());
    let answer = move |asked, answers| Arc::clone(&operator).answer(asked, answers);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), socket = %socket.display(), "gateway up");
    let ended = tokio::select! {
        reason = shutdown => {
            tracing::info!(reason, "stopping");
            None
        }
        part = gateway.part_ended() => Some(part),
        () = server.serve(answer) => Some("control socket".to_owned()),
    };
    gateway.stop().await;
    match ended {
        None => Ok(Exit::Ok),
        Some(part) => bail!("a part of the gateway ended by itself: {part}"),
    }
}
