//! `broker`: the local MQTT broker.

mod limits;
mod listener;
#[cfg(test)]
mod tests;
mod users;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Component, Path, PathBuf};

pub use self::limits::Limits;
use self::listener::Placed;
pub use self::listener::{Listener, ServerTls};
pub use self::users::User;
use super::read::{Problems, Table, Wrong};
use super::tree::Place;
use super::values;

/// Most entries in `listen`.
const MAX_LISTENERS: usize = 16;

/// The port that MQTT without TLS is known by.
const MQTT_PORT: u16 = 1883;

/// The local broker. It does not run where nothing is to be listened on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Where clients connect; may be empty.
    pub listen: Vec<Listener>,
    /// The SQLite file that keeps sessions and retained messages; `None`: `broker.db` beside the
    /// queue's.
    pub path: Option<PathBuf>,
    /// Who may connect with a name. Without any, only clients on loopback and those with a
    /// certificate get in.
    pub users: Vec<User>,
    /// How much it takes on.
    pub limits: Limits,
}

impl Default for Broker {
    fn default() -> Self {
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), MQTT_PORT);
        let listen = vec![Listener::plain(address)];
        Self { listen, path: None, users: Vec::new(), limits: Limits::default() }
    }
}

impl Broker {
    /// `queue` is the queue's file; both are meant from `folder`.
    pub(super) fn read(root: &mut Table<'_>, queue: &Path, folder: &Path, problems: &mut Problems) -> Self {
        let mut broker = Self::default();
        let place = broker.fill(root, problems).or_else(|| root.place_of("queue"));
        if let Some(place) = place.filter(|_| !broker.listen.is_empty())
            && plain(&folder.join(broker.file(queue))) == plain(&folder.join(queue))
        {
            let what =
                format!("`{}` would be the file of the queue and of the local broker", queue.display());
            let instead = "give each a file of its own, such as `path: queue.db` in `queue` and \
                           `path: broker.db` in `broker`";
            problems.add_for("path", place, &Wrong::new(what, instead));
        }
        broker
    }

    /// Takes what stands there. Gives the place of `path`.
    fn fill(&mut self, root: &mut Table<'_>, problems: &mut Problems) -> Option<Place> {
        let mut table = Table::open("`broker`", root.node("broker")?, problems)?;
        let example = "one address per line, as in `- 127.0.0.1:1883`, or `listen: []` for no local broker";
        let listeners = table.list("listen", MAX_LISTENERS, example, problems);
        self.users = users::read_all(&mut table, problems);
        self.limits = Limits::read(&mut table, problems);
        if let Some(items) = listeners {
            let placed = listener::all(items, problems);
            self.guard(&placed, problems);
            self.listen = placed.into_iter().map(|placed| placed.listener).collect();
        }
        table.set("path", &mut self.path, problems, |text| values::file(text).map(Some));
        let place = table.place_of("path");
        table.close(&[], problems);
        place
    }

    /// The file that it keeps, where the queue's file is `queue`.
    pub(super) fn file(&self, queue: &Path) -> PathBuf {
        self.path.clone().unwrap_or_else(|| queue.with_file_name("broker.db"))
    }

    /// What others of the network reach must know its clients: as users, or by their certificate.
    fn guard(&self, listeners: &[Placed], problems: &mut Problems) {
        for Placed { listener, place } in listeners {
            let (address, is_local) = (listener.address, listener.address.ip().to_canonical().is_loopback());
            if is_local || listener.wants_certificates() || !self.users.is_empty() {
                continue;
            }
            let what = format!(
                "listen: `{address}` can be reached from the network, and anybody could read and send everything"
            );
            let instead = format!(
                "add `users` (`serialgate passwd NAME` makes one), or `client_ca` to its `tls`, so that clients need \
                 a certificate, or write `127.0.0.1:{}`, which only this machine reaches",
                address.port()
            );
            problems.add(*place, &Wrong::new(what, instead));
        }
    }

    /// The files that it names.
    pub(super) fn files(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        self.listen.iter_mut().flat_map(Listener::files).chain(&mut self.path)
    }
}

/// The path from the root, without `.` and `..`: one file, one text. Links are not followed.
fn plain(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    path.components().fold(PathBuf::new(), |mut plain, component| {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
        plain
    })
}
