//! The asking side.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use super::{MAX_RESPONSE_BYTES, Request, Response};

/// How long to wait for a line of the answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens there.
    #[error(
        "no serialgate is running: nobody answers at {path}; start it, or name its socket with --socket PATH"
    )]
    NotRunning {
        /// Where we asked.
        path: PathBuf,
    },
    /// The socket's mode keeps us out.
    #[error(
        "this user may not speak to serialgate at {path}; use sudo, or join the group that owns the socket"
    )]
    Denied {
        /// Where we asked.
        path: PathBuf,
    },
    /// The daemon does not answer in time.
    #[error("serialgate at {path} did not answer within {} seconds", PATIENCE.as_secs())]
    TooSlow {
        /// Where we asked.
        path: PathBuf,
    },
    /// The connection broke.
    #[error("the connection to serialgate at {path} broke: {source}")]
    Broken {
        /// Where we asked.
        path: PathBuf,
        /// How.
        source: io::Error,
    },
    /// The answer is not one of ours; most likely the daemon is of another version.
    #[error("the answer from {path} cannot be understood: {source}; is the daemon of another version?")]
    Foreign {
        /// Where we asked.
        path: PathBuf,
        /// Why not.
        source: serde_json::Error,
    },
}

/// Asks the daemon whose socket is at `path`.
///
/// # Errors
/// Where there is no daemon, or it does not answer.
pub async fn ask(path: &Path, request: Request) -> Result<Response, AskError> {
    let mut client = Client::connect(path).await?;
    client.ask(&request, b"").await?;
    client.answer().await
}

/// A conversation with the daemon.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

impl Client {
    /// Connects to the daemon whose socket is at `path`.
    ///
    /// # Errors
    /// Where there is no daemon, or it keeps us out.
    pub async fn connect(path: &Path) -> Result<Self, AskError> {
        let path = path.to_owned();
        let Ok(connected) = timeout(PATIENCE, UnixStream::connect(&path)).await else {
            return Err(AskError::TooSlow { path });
        };
        match connected {
            Ok(stream) => {
                let (reader, writer) = stream.into_split();
                Ok(Self { path, reader: BufReader::new(reader), writer })
            }
            Err(error) => Err(failed(path, error)),
        }
    }

    /// Sends `request`, and `more` that follows it.
    ///
    /// # Errors
    /// Where the daemon does not take it.
    pub async fn ask(&mut self, request: &Request, more: &[u8]) -> Result<(), AskError> {
        let sending = async {
            let mut line = serde_json::to_vec(request)?;
            line.push(b'\n');
            self.writer.write_all(&line).await?;
            self.writer.write_all(more).await
        };
        match timeout(PATIENCE, sending).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(failed(self.path.clone(), error)),
            Err(_) => Err(AskError::TooSlow { path: self.path.clone() }),
        }
    }

    /// The next line of the answer. Waits for as long as the daemon says that it is working.
    ///
    /// # Errors
    /// Where none comes, or it cannot be understood.
    pub async fn answer(&mut self) -> Result<Response, AskError> {
        loop {
            let path = self.path.clone();
            let Ok(line) = timeout(PATIENCE, self.line()).await else {
                return Err(AskError::TooSlow { path });
            };
            let line = line.map_err(|error| failed(path.clone(), error))?;
            match serde_json::from_slice(&line) {
                Ok(Response::Working) => {}
                Ok(response) => return Ok(response),
                Err(source) => return Err(AskError::Foreign { path, source }),
            }
        }
    }

    async fn line(&mut self) -> io::Result<Vec<u8>> {
        let limit = u64::try_from(MAX_RESPONSE_BYTES).unwrap_or(u64::MAX);
        let mut line = Vec::new();
        (&mut self.reader).take(limit).read_until(b'\n', &mut line).await?;
        if line.last() == Some(&b'\n') { Ok(line) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

fn failed(path: PathBuf, source: io::Error) -> AskError {
    match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AskError::NotRunning { path },
        io::ErrorKind::PermissionDenied => AskError::Denied { path },
        _ => AskError::Broken { path, source },
    }
}
