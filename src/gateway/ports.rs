//! The ports that run, and how they change while the others go on.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Tasks;
use crate::config;
use crate::port::{Handles, Port};

/// A port that is taken out has this long to let go of its line; then the next one may ask for it.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// All ports.
#[derive(Debug)]
pub(super) struct Ports {
    handles: Handles,
    tasks: Tasks,
    open: Vec<Open>,
}

/// One port.
#[derive(Debug)]
struct Open {
    config: config::Port,
    stop: CancellationToken,
    closed: CancellationToken,
}

impl Ports {
    /// Starts them.
    pub(super) fn start(configs: &[config::Port], handles: Handles) -> Self {
        let mut ports = Self { handles, tasks: Tasks::default(), open: Vec::new() };
        configs.iter().for_each(|config| ports.open(config));
        ports
    }

    fn open(&mut self, config: &config::Port) {
        let (stop, closed) = (self.tasks.stop.child_token(), CancellationToken::new());
        let (told, closes) = (stop.clone(), closed.clone().drop_guard());
        let port = Port::new(config.clone(), self.handles.clone());
        self.tasks.running.spawn(async move {
            port.run(told.clone()).await;
            drop(closes);
            // One that was taken out may end.
            (!told.is_cancelled()).then_some("port")
        });
        self.open.push(Open { config: config.clone(), stop, closed });
    }

    /// Makes them those of `wanted`: closes what is not among them, opens what is new, and leaves the
    /// others alone.
    pub(super) async fn change(&mut self, wanted: &[config::Port]) {
        let (stay, go): (Vec<Open>, Vec<Open>) =
            std::mem::take(&mut self.open).into_iter().partition(|open| wanted.contains(&open.config));
        self.open = stay;
        go.iter().for_each(|open| open.stop.cancel());
        for open in go {
            // The same line may be opened again, with other settings.
            if tokio::time::timeout(CLOSE_WITHIN, open.closed.cancelled()).await.is_err() {
                tracing::warn!(port = open.config.path, "did not close in time");
            }
            tracing::info!(port = open.config.path, "port taken out");
        }
        for config in wanted {
            if !self.open.iter().any(|open| open.config == *config) {
                self.open(config);
            }
        }
    }

    /// Waits for one to end by itself.
    pub(super) async fn first_end(&mut self) -> String {
        self.tasks.first_end().await
    }

    /// Stops all.
    pub(super) async fn stop(self) {
        self.tasks.stop("ports").await;
    }
}
