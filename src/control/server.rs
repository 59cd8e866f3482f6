//! The answering side.

use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{MAX_REQUEST_BYTES, Request, Response};
use crate::status::Status;

/// Most clients at a time; others wait in the kernel's queue.
const MAX_CLIENTS: usize = 16;

/// How long a client may take to send a request or take an answer.
const CLIENT_PATIENCE: Duration = Duration::from_secs(10);

/// How long a socket that was there before may take to accept us.
const PROBE_PATIENCE: Duration = Duration::from_secs(1);

/// How long to wait after an accept that failed (no file descriptors left, say).
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Mode of the socket: its owner and group may ask.
const SOCKET_MODE: u32 = 0o660;

/// Mode of the socket's folder where we make it.
const FOLDER_MODE: u32 = 0o750;

/// Why the socket cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// A daemon answers there.
    #[error(
        "another serialgate is running: its control socket {path} answers; stop it first, or give this one \
         its own `queue: {{path: …}}` and `control: {{socket: …}}`"
    )]
    Running {
        /// The socket.
        path: PathBuf,
    },
    /// A file that is not ours to remove.
    #[error(
        "{path} is in the way of the control socket and is not a socket; move it, or write another `control: {{socket: …}}`"
    )]
    InTheWay {
        /// The file.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("the control socket {path} cannot be made")]
    Io {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The socket, bound. Dropping it removes the file.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
    /// Of the file we made: a successor's must stay.
    inode: u64,
}

impl Server {
    /// Binds the socket at `path`. A socket that nobody answers on any more is replaced.
    ///
    /// # Errors
    /// Where another daemon answers there, something else is in the way, or the system refuses.
    pub async fn bind(path: &Path) -> Result<Self, BindError> {
        let refused = |source| BindError::Io { path: path.to_owned(), source };
        let folder = path.parent().unwrap_or(Path::new("/"));
        DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder).map_err(refused)?;
        // Between looking and binding nobody else may do the same.
        let lock = File::open(folder).map_err(refused)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(BindError::Running { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(refused(source)),
        }
        make_room(path).await?;
        let listener = UnixListener::bind(path).map_err(refused)?;
        fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE)).map_err(refused)?;
        let inode = fs::symlink_metadata(path).map_err(refused)?.ino();
        Ok(Self { listener, path: path.to_owned(), inode })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Answers with what `status` gives, until this future is dropped.
    pub async fn serve(self, status: impl Fn() -> Status + Send + Sync + 'static) {
        let status = Arc::new(status);
        let mut clients = JoinSet::new();
        let mut failing = false;
        loop {
            tokio::select! {
                accepted = self.listener.accept(), if clients.len() < MAX_CLIENTS => match accepted {
                    Ok((stream, _)) => {
                        failing = false;
                        let status = Arc::clone(&status);
                        clients.spawn(async move { converse(stream, &*status).await });
                    }
                    Err(error) => {
                        if !failing {
                            tracing::warn!(%error, "control socket accepts nobody");
                        }
                        failing = true;
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = clients.join_next() => {}
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|file| file.ino() == self.inode) {
            // What stays is replaced by the next daemon.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes the socket that a killed daemon left behind.
async fn make_room(path: &Path) -> Result<(), BindError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(BindError::Io { path: path.to_owned(), source }),
        Ok(file) if !file.file_type().is_socket() => {
            return Err(BindError::InTheWay { path: path.to_owned() });
        }
        Ok(_) => {}
    }
    match timeout(PROBE_PATIENCE, UnixStream::connect(path)).await {
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|source| BindError::Io { path: path.to_owned(), source })
        }
        // It accepts, is too busy to, or keeps us out: in any case it lives.
        _ => Err(BindError::Running { path: path.to_owned() }),
    }
}

/// Answers one client until it leaves. Whatever goes wrong ends the conversation, nothing else.
async fn converse(stream: UnixStream, status: &impl Fn() -> Status) -> Option<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    loop {
        let line = timeout(CLIENT_PATIENCE, read_request(&mut reader)).await.ok()?.ok()?;
        let complete = line.last() == Some(&b'\n');
        if line.is_empty() {
            return None;
        }
        let response = if complete {
            answer(&line, status)
        } else {
            Response::Error(format!("a request is one line of at most {MAX_REQUEST_BYTES} bytes"))
        };
        let mut bytes = serde_json::to_vec(&response).ok()?;
        bytes.push(b'\n');
        timeout(CLIENT_PATIENCE, writer.write_all(&bytes)).await.ok()?.ok()?;
        if !complete {
            return None;
        }
    }
}

/// One line, or as much of it as the limit allows; empty at the end.
async fn read_request(reader: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let limit = u64::try_from(MAX_REQUEST_BYTES).unwrap_or(u64::MAX);
    reader.take(limit).read_until(b'\n', &mut line).await?;
    Ok(line)
}

fn answer(line: &[u8], status: &impl Fn() -> Status) -> Response {
    match serde_json::from_slice(line) {
        Ok(Request::Status) => Response::Status(Box::new(status())),
        Err(error) => Response::Error(format!("the request cannot be understood: {error}")),
    }
}
