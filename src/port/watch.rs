//! Waiting for a device to appear, without looking all the time.
//!
//! Watches the directory in which the path should appear, or the nearest one above it that exists
//! (`/dev/serial/by-id` goes with its last device), and the directories of all symbolic links on
//! the way. Where the kernel gives us no inotify instance nothing is ever reported; whoever waits
//! looks now and then anyway.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::{Path, PathBuf};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Most symbolic links followed from one path.
const LINKS_MAX: usize = 8;

/// Something new, or new permissions, or the end of the directory itself.
const EVENTS: AddWatchFlags = AddWatchFlags::IN_CREATE
    .union(AddWatchFlags::IN_MOVED_TO)
    .union(AddWatchFlags::IN_ATTRIB)
    .union(AddWatchFlags::IN_ONLYDIR)
    .union(AddWatchFlags::IN_DELETE_SELF)
    .union(AddWatchFlags::IN_MOVE_SELF);

/// The end of a watch.
const ENDS: AddWatchFlags =
    AddWatchFlags::IN_DELETE_SELF.union(AddWatchFlags::IN_MOVE_SELF).union(AddWatchFlags::IN_IGNORED);

/// Waits for one path, or for matches of one pattern.
#[derive(Debug, Default)]
pub struct Watcher {
    places: Vec<Place>,
    watch: Option<Watch>,
}

/// A directory, and the name of what may appear in it; `None` for any.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    directory: PathBuf,
    name: Option<OsString>,
}

#[derive(Debug)]
struct Watch {
    fd: AsyncFd<Fd>,
    wanted: Vec<(WatchDescriptor, Option<OsString>)>,
}

#[derive(Debug)]
struct Fd(Inotify);

impl AsRawFd for Fd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Watcher {
    /// Watches for `path`. Look at the path after this, not before: what appears in between is not
    /// reported.
    pub fn watch(&mut self, path: &Path) {
        let mut places = Vec::new();
        let mut target = path.to_owned();
        for _ in 0..LINKS_MAX {
            let Some(place) = place_of(&target) else { break };
            let directory = place.directory.clone();
            places.push(place);
            match std::fs::read_link(&target) {
                Ok(link) => target = directory.join(link),
                Err(_) => break,
            }
        }
        self.set(places);
    }

    /// Watches the directory in which matches of `pattern` appear. A pattern in the names of
    /// directories is watched at the first of them only.
    pub fn watch_pattern(&mut self, pattern: &str) {
        let fixed = pattern.find(['*', '?', '[']).and_then(|at| pattern.get(..at)).unwrap_or(pattern);
        let directory = Path::new(fixed.rsplit_once('/').map_or("/", |(directory, _)| directory));
        let place = if directory.is_dir() {
            Some(Place { directory: directory.to_owned(), name: None })
        } else {
            place_of(directory)
        };
        self.set(place.into_iter().collect());
    }

    /// Waits until something has changed. Cancel safe.
    pub async fn changed(&mut self) {
        let Some(watch) = &self.watch else { return std::future::pending().await };
        if watch.changed().await == Change::Ended {
            self.watch = None;
        }
    }

    fn set(&mut self, places: Vec<Place>) {
        if self.watch.is_none() || self.places != places {
            self.watch = Watch::new(&places).ok();
            self.places = places;
        }
    }
}

/// What a [`Watch`] saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// Something may have appeared.
    News,
    /// A directory is gone, so that nothing more will be seen in it.
    Ended,
}

impl Watch {
    fn new(places: &[Place]) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let mut wanted = Vec::new();
        for place in places {
            let watch = inotify.add_watch(&place.directory, EVENTS)?;
            wanted.push((watch, place.name.clone()));
        }
        // SAFETY: `Fd` owns its descriptor and always returns the same one; it is closed with the
        // `AsyncFd`, not before.
        #[expect(unsafe_code, reason = "tokio asks for a promise about the descriptor")]
        let fd = unsafe { AsyncFd::register_with_interest(Fd(inotify), Interest::READABLE) }?;
        Ok(Self { fd, wanted })
    }

    async fn changed(&self) -> Change {
        loop {
            let Ok(mut ready) = self.fd.readable().await else { return std::future::pending().await };
            match ready.try_io(|fd| fd.get_ref().0.read_events().map_err(Into::into)) {
                Ok(Ok(events)) => {
                    if events.iter().any(|event| event.mask.intersects(ENDS)) {
                        return Change::Ended;
                    }
                    if events.iter().any(|event| self.concerns(event)) {
                        return Change::News;
                    }
                }
                Ok(Err(error)) => {
                    tracing::debug!(%error, "cannot read inotify events");
                    return Change::Ended;
                }
                Err(_would_block) => {}
            }
        }
    }

    fn concerns(&self, event: &InotifyEvent) -> bool {
        // An overflow has no watch and no name: anything may have happened.
        event.name.is_none()
            || self.wanted.iter().any(|(watch, name)| {
                *watch == event.wd && name.as_ref().is_none_or(|name| event.name.as_ref() == Some(name))
            })
    }
}

/// Where the first missing part of `path` would appear.
fn place_of(path: &Path) -> Option<Place> {
    let mut path = path;
    loop {
        let directory = path.parent()?;
        if directory.is_dir() {
            let name = path.file_name().map(Into::into);
            return Some(Place { directory: directory.to_owned(), name });
        }
        path = directory;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    async fn sees(watcher: &mut Watcher) -> bool {
        tokio::time::timeout(Duration::from_secs(5), watcher.changed()).await.is_ok()
    }

    async fn sees_nothing(watcher: &mut Watcher) -> bool {
        tokio::time::timeout(Duration::from_millis(50), watcher.changed()).await.is_err()
    }

    #[test]
    fn a_path_is_seen_to_appear_through_missing_directories_and_links() {
        runtime().block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let link = dir.path().join("by-id/board");
            let mut watcher = Watcher::default();
            watcher.watch(&link);
            std::fs::create_dir(dir.path().join("by-id")).unwrap();
            assert!(sees(&mut watcher).await, "the directory");
            watcher.watch(&link);
            std::os::unix::fs::symlink("../tty", &link).unwrap();
            assert!(sees(&mut watcher).await, "the link");
            watcher.watch(&link);
            std::fs::write(dir.path().join("tty"), "").unwrap();
            assert!(sees(&mut watcher).await, "its target");
            std::fs::remove_dir_all(dir.path().join("by-id")).unwrap();
            assert!(sees(&mut watcher).await, "the directory is gone");
            watcher.watch(&link);
            std::fs::create_dir(dir.path().join("by-id")).unwrap();
            assert!(sees(&mut watcher).await, "and there again");
        });
    }

    #[test]
    fn what_has_another_name_wakes_nobody() {
        runtime().block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let mut watcher = Watcher::default();
            watcher.watch(&dir.path().join("tty"));
            std::fs::write(dir.path().join("other"), "").unwrap();
            assert!(sees_nothing(&mut watcher).await);
        });
    }

    #[test]
    fn any_name_wakes_a_pattern() {
        runtime().block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let mut watcher = Watcher::default();
            watcher.watch_pattern(dir.path().join("tty*").to_str().unwrap());
            std::fs::write(dir.path().join("tty1"), "").unwrap();
            assert!(sees(&mut watcher).await);
        });
    }
}
