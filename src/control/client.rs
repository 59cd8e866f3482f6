//! The asking side.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::{MAX_RESPONSE_BYTES, Request, Response};

/// How long to wait for the whole answer.
const PATIENCE: Duration = Duration::from_secs(5);

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
    let path = path.to_owned();
    let Ok(answer) = timeout(PATIENCE, exchange(&path, request)).await else {
        return Err(AskError::TooSlow { path });
    };
    match answer {
        Ok(line) => serde_json::from_slice(&line).map_err(|source| AskError::Foreign { path, source }),
        Err(error) => Err(match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AskError::NotRunning { path },
            io::ErrorKind::PermissionDenied => AskError::Denied { path },
            _ => AskError::Broken { path, source: error },
        }),
    }
}

async fn exchange(path: &Path, request: Request) -> io::Result<Vec<u8>> {
    let (reader, mut writer) = UnixStream::connect(path).await?.into_split();
    let mut line = serde_json::to_vec(&request)?;
    line.push(b'\n');
    writer.write_all(&line).await?;
    let limit = u64::try_from(MAX_RESPONSE_BYTES).unwrap_or(u64::MAX);
    let mut answer = Vec::new();
    BufReader::new(reader).take(limit).read_until(b'\n', &mut answer).await?;
    if answer.last() != Some(&b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(answer)
}
