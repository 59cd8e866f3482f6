//! `serialgate run`: the daemon.

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::{ConfigArg, Exit, complain};
use crate::config::Config;
use crate::control::{self, Server};
use crate::gateway::{Gateway, Life};
use crate::notify::Notifier;
use crate::{logging, signal};

/// Enough descriptors for the most connections that can be configured.
const FILES_WANTED: u64 = 1 << 16;

/// `serialgate run`
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  serialgate run --config ./serialgate.yaml\n\n\
    Logs go to the journal under systemd, else to standard error; RUST_LOG=debug shows more.\n\
    SIGHUP makes it read its configuration and its listeners' certificates again.\n\n\
    Exit code 0: stopped by a signal. 70: the queue or the control socket cannot be had, or a part ended by itself. \
    78: the configuration is wrong, and every mistake stands on standard error.")]
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
    let exit = runtime.block_on(serve(config, &args.config.config));
    // A bridge may have left a thread behind that waits for a dead name server or file server.
    runtime.shutdown_background();
    exit
}

async fn serve(config: Config, file: &Path) -> anyhow::Result<Exit> {
    let socket = control::place(&config);
    let shutdown = signal::shutdown().context("signals")?;
    let mut reloads = signal::reloads().context("signals")?;
    raise_file_limit();
    // The control socket first: it is what tells two daemons on one queue apart.
    let server = Server::bind(&socket).await?;
    let mut gateway = Gateway::start(config)?;
    let operator = Arc::new(gateway.operator());
    let answer = move |asked, answers| Arc::clone(&operator).answer(asked, answers);
    let life = Life::begin(gateway.view(), Notifier::from_environment(), gateway.up());
    let pulse = gateway.pulse();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), socket = %socket.display(), "gateway up");
    let mut shutdown = pin!(shutdown);
    let mut answering = pin!(server.serve(answer));
    let ended = loop {
        pulse.beat();
        tokio::select! {
            () = pulse.called() => {}
            reason = &mut shutdown => {
                tracing::info!(reason, "stopping");
                break None;
            }
            part = gateway.part_ended() => break Some(part),
            () = &mut answering => break Some("control socket".to_owned()),
            () = reloads.next() => {
                life.reloading();
                life.reloaded(reload(&mut gateway, file).await);
            }
        }
    };
    life.stopping();
    drop(pulse);
    gateway.stop().await;
    match ended {
        None => Ok(Exit::Ok),
        Some(part) => bail!("a part of the gateway ended by itself: {part}"),
    }
}

/// Reads the configuration again. One that cannot be used changes nothing: gives what to tell of that.
async fn reload(gateway: &mut Gateway, file: &Path) -> Option<&'static str> {
    let path = file.to_owned();
    // On this thread a file server that does not answer would hold up the ports.
    let loaded = tokio::task::spawn_blocking(move || Config::load(&path)).await;
    match loaded {
        Ok(Ok(config)) => {
            gateway.reload(config).await;
            tracing::info!(file = %file.display(), "configuration reloaded");
            None
        }
        Ok(Err(error)) => {
            for problem in error.to_string().lines() {
                tracing::error!("{problem}");
            }
            tracing::error!(file = %file.display(), "configuration not reloaded: the one from before stays in use");
            Some("CONFIGURATION WRONG, the one from before is in use")
        }
        Err(error) => {
            tracing::error!(%error, "configuration not reloaded: reading it failed");
            Some("CONFIGURATION NOT READ, the one from before is in use")
        }
    }
}

/// Each connection takes a descriptor, and the usual limit is 1024 for the sake of old programs that
/// use `select`. We do not.
fn raise_file_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        let wanted = soft.max(hard.min(FILES_WANTED));
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)
    });
    if let Err(error) = raised {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}
