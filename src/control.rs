//! The control socket: how `serialgate status` and the other commands speak to the daemon.
//!
//! A Unix stream socket, one JSON object per line each way: [`Request`] there, [`Response`] back,
//! as often as the client likes. Some answers are several lines, the last of which says so, and that to a
//! request to watch has no end; a request to import is followed by the entries. Whoever may write to the
//! socket (mode 0660: its owner and group) may ask; there is no other check.
//!
//! The socket also keeps two daemons from running on the same place: [`Server::bind`] replaces what
//! a killed daemon left behind, but not a socket that answers.

mod client;
mod protocol;
mod server;

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{AccessFlags, access};

pub use self::client::{AskError, Client, ask};
pub use self::protocol::{
    Chosen, Damage, DeadLetter, Imported, Line, Live, Peeked, Request, Response, Retried, Verified,
};
pub use self::server::{Answers, Asked, BindError, Server};
use crate::config::Config;

/// Longest request, in bytes, with its line feed.
const MAX_REQUEST_BYTES: usize = 4096;

/// Longest answer, in bytes, with its line feed.
const MAX_RESPONSE_BYTES: usize = 16 << 20;

/// Most that is imported with one request, in bytes.
pub const MAX_IMPORT_BYTES: usize = 16 << 20;

/// While an answer is being made, the client hears so often that it is.
const STILL_WORKING: Duration = Duration::from_secs(2);

/// The folder that systemd makes for the service (`RuntimeDirectory=serialgate`).
const RUNTIME_FOLDER: &str = "/run/serialgate";

/// The socket's name in its folder.
const NAME: &str = "control.sock";

/// Where a daemon with this configuration puts its socket: the place in the configuration, else the
/// first of the usual places that it may write to.
#[must_use]
pub fn place(config: &Config) -> PathBuf {
    let may_write = |folder: &Path| access(folder, AccessFlags::W_OK | AccessFlags::X_OK).is_ok();
    first(places(config), |place| {
        let folder = place.parent().unwrap_or(place);
        // The per-user folder may have to be made first.
        may_write(folder) || (!folder.exists() && folder.parent().is_some_and(may_write))
    })
}

/// Where to ask such a daemon: the first of the usual places where there is a socket.
#[must_use]
pub fn find(config: &Config) -> PathBuf {
    first(places(config), Path::exists)
}

/// The first place that is good, or the last one.
fn first(places: Vec<PathBuf>, good: impl Fn(&Path) -> bool) -> PathBuf {
    let last = places.last().cloned().unwrap_or_default();
    places.into_iter().find(|place| good(place)).unwrap_or(last)
}

fn places(config: &Config) -> Vec<PathBuf> {
    let user_folder = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    usual_places(config, Path::new(RUNTIME_FOLDER), user_folder.as_deref())
}

/// The places to try, in order. The system's folder counts only where systemd made it.
fn usual_places(config: &Config, system_folder: &Path, user_folder: Option<&Path>) -> Vec<PathBuf> {
    if let Some(socket) = &config.control.socket {
        return vec![socket.clone()];
    }
    let system = system_folder.is_dir().then(|| system_folder.join(NAME));
    let user =
        user_folder.filter(|folder| folder.is_absolute()).map(|folder| folder.join("serialgate").join(NAME));
    let beside_queue = config.queue.path.with_file_name(NAME);
    system.into_iter().chain(user).chain([beside_queue]).collect()
}

#[cfg(test)]
mod tests;
