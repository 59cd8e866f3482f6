//! The answering side.

use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, BufWriter,
};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{MAX_IMPORT_BYTES, MAX_REQUEST_BYTES, Request, Response, STILL_WORKING};

/// Most clients at a time; others wait in the kernel's queue.
const MAX_CLIENTS: usize = 16;

/// How long a client may take to send a request.
const CLIENT_PATIENCE: Duration = Duration::from_secs(10);

/// How long a client may take none of its answer: a pager may stand behind it.
const READER_PATIENCE: Duration = Duration::from_secs(60);

/// The same for one that watches: its terminal may be held (Ctrl-S), and what it misses is counted.
const WATCHER_PATIENCE: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a socket that was there before may take to accept us.
const PROBE_PATIENCE: Duration = Duration::from_secs(1);

/// How long to wait after an accept that failed (no file descriptors left, say).
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Mode of the socket: its owner and group may ask.
const SOCKET_MODE: u32 = 0o660;

/// Mode of the socket's folder where we make it.
const FOLDER_MODE: u32 = 0o750;

/// Lines of an answer that may wait for the client.
const ANSWERS_AHEAD: usize = 64;

/// What a client asks, with what belongs to it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The request.
    pub request: Request,
    /// The bytes that follow it.
    pub body: Vec<u8>,
}

/// Where the lines of an answer go. Sending waits for the client; an error means that it has gone.
pub type Answers = mpsc::Sender<Response>;

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

    /// Has `handler` answer, until this future is dropped. It sends the lines of the answer; where the
    /// client goes away it is dropped.
    pub async fn serve<H, F>(self, handler: H)
    where
        H: Fn(Asked, Answers) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send,
    {
        let handler = Arc::new(handler);
        let mut clients = JoinSet::new();
        let mut failing = false;
        loop {
            tokio::select! {
                accepted = self.listener.accept(), if clients.len() < MAX_CLIENTS => match accepted {
                    Ok((stream, _)) => {
                        failing = false;
                        let handler = Arc::clone(&handler);
                        clients.spawn(async move { converse(stream, &*handler).await });
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
async fn converse<F: Future<Output = ()>>(
    stream: UnixStream,
    handler: &impl Fn(Asked, Answers) -> F,
) -> Option<()> {
    let (reader, writer) = stream.into_split();
    let (mut reader, mut writer) = (BufReader::new(reader), BufWriter::new(writer));
    loop {
        match timeout(CLIENT_PATIENCE, read_request(&mut reader)).await.ok()?.ok()? {
            Heard::Asked(asked) => answer(&mut writer, handler, asked).await?,
            Heard::Wrong { why, end } => {
                write(&mut writer, &Response::Error(why), READER_PATIENCE).await?;
                timeout(CLIENT_PATIENCE, writer.flush()).await.ok()?.ok()?;
                if end {
                    return None;
                }
            }
            Heard::End => return None,
        }
    }
}

/// What came from a client.
enum Heard {
    Asked(Asked),
    /// Not a request of ours; after some, nobody knows where the next one would begin.
    Wrong {
        why: String,
        end: bool,
    },
    End,
}

/// One line, and what belongs to it.
async fn read_request(reader: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Heard> {
    let mut line = Vec::new();
    let limit = u64::try_from(MAX_REQUEST_BYTES).unwrap_or(u64::MAX);
    (&mut *reader).take(limit).read_until(b'\n', &mut line).await?;
    if line.is_empty() {
        return Ok(Heard::End);
    }
    if line.last() != Some(&b'\n') {
        let why = format!("a request is one line of at most {MAX_REQUEST_BYTES} bytes");
        return Ok(Heard::Wrong { why, end: true });
    }
    let request = match serde_json::from_slice(&line) {
        Ok(request) => request,
        Err(error) => {
            let why = format!("the request cannot be understood: {error}");
            return Ok(Heard::Wrong { why, end: false });
        }
    };
    let mut body = Vec::new();
    if let Request::Import { bytes } = request {
        if bytes > MAX_IMPORT_BYTES {
            let why = format!("{bytes} bytes are too much for one import: {MAX_IMPORT_BYTES} are the limit");
            return Ok(Heard::Wrong { why, end: true });
        }
        body.resize(bytes, 0);
        reader.read_exact(&mut body).await?;
    }
    Ok(Heard::Asked(Asked { request, body }))
}

/// Writes what `handler` answers, as fast as the client takes it.
async fn answer<F: Future<Output = ()>>(
    writer: &mut (impl AsyncWrite + Unpin),
    handler: &impl Fn(Asked, Answers) -> F,
    asked: Asked,
) -> Option<()> {
    let is_watching = matches!(asked.request, Request::Watch { .. });
    let patience = if is_watching { WATCHER_PATIENCE } else { READER_PATIENCE };
    let (answers, mut lines) = mpsc::channel(ANSWERS_AHEAD);
    let mut handling = pin!(handler(asked, answers));
    let mut handled = false;
    loop {
        tokio::select! {
            biased;
            line = lines.recv() => match line {
                Some(line) => write(writer, &line, patience).await?,
                None => break,
            },
            () = &mut handling, if !handled => handled = true,
            () = sleep(STILL_WORKING) => write(writer, &Response::Working, patience).await?,
        }
        if lines.is_empty() {
            timeout(patience, writer.flush()).await.ok()?.ok()?;
        }
    }
    timeout(patience, writer.flush()).await.ok()?.ok()
}

async fn write(
    writer: &mut (impl AsyncWrite + Unpin),
    response: &Response,
    patience: Duration,
) -> Option<()> {
    let mut bytes = serde_json::to_vec(response).ok()?;
    bytes.push(b'\n');
    timeout(patience, writer.write_all(&bytes)).await.ok()?.ok()
}
