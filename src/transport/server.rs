//! The other side: what a listener does with a connection before MQTT begins.
//!
//! ```text
//! TCP ─> [TLS, with the client's certificate] ─> [HTTP request ─> WebSocket] ─> Guest
//! ```
//! There is no limit in time here: the caller has one for all steps together. Who is refused is told
//! why, as far as the protocol has words for it.

mod http;
mod words;

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::sign::SingleCertAndKey;
use tokio_rustls::rustls::{self, ServerConfig, ServerConnection};
use tokio_rustls::{TlsAcceptor, TlsStream};

pub use self::http::{Origins, Upgrade};
use super::certificate::{self, Facts};
use super::files::{self, FileError};
use super::stream::{Carrier, Socket};
use crate::config::ServerTls;

/// A refused client has this long to take our last words.
const PART_WITHIN: Duration = Duration::from_secs(2);
/// Bytes that TLS may keep for a client that does not read.
const BUFFER_BYTES: usize = 16 * 1024;
/// Bytes read at a time.
const READ_BYTES: usize = 4 * 1024;

/// What a listener with TLS shows and asks for.
#[derive(Clone, Debug)]
pub struct Papers {
    config: Arc<ServerConfig>,
    own: Facts,
}

impl Papers {
    /// Reads the files of `tls`. Blocks.
    ///
    /// # Errors
    /// One is missing, or not what it should be.
    pub fn read(tls: &ServerTls) -> Result<Self, FileError> {
        let ServerTls { identity, client_ca } = tls;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = files::identity(identity, &provider)?;
        let unusable = |path: &std::path::Path, error: &dyn ToString| FileError::Content {
            path: path.to_owned(),
            what: "usable certificate",
            why: error.to_string(),
        };
        let own = key.cert.first().and_then(Facts::of);
        let own = own.ok_or_else(|| unusable(&identity.certificate, &"it cannot be read"))?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(&identity.certificate, &error))?;
        let builder = match client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let (roots, _) = files::authorities(path)?;
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                    .build()
                    .map_err(|error| unusable(path, &error))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
        Ok(Self { config: Arc::new(config), own })
    }

    /// What the listener's own certificate says.
    #[must_use]
    pub fn own(&self) -> &Facts {
        &self.own
    }

    async fn accept(&self, stream: TcpStream) -> Result<(Socket, Option<Arc<str>>), Refused> {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.config));
        let limited = |connection: &mut ServerConnection| connection.set_buffer_limit(Some(BUFFER_BYTES));
        let accepted = acceptor.accept_with(stream, limited).into_fallible().await;
        let stream = match accepted {
            Ok(stream) => stream,
            Err((error, stream)) => {
                // The alert has been sent; closing with unread input would take it back.
                part(stream, &[]).await;
                return Err(Refused::Tls(words::of(&error)));
            }
        };
        let leaf = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let name = match leaf.map(certificate::name) {
            None => None,
            Some(Some(name)) => Some(name.into()),
            Some(None) => {
                part(stream, &[]).await;
                return Err(Refused::Tls(words::NAMELESS.to_owned()));
            }
        };
        Ok((Socket::Tls(Box::new(TlsStream::Server(stream))), name))
    }
}

/// Who has come in as far as MQTT.
#[derive(Debug)]
pub struct Guest {
    /// Carries the bytes of MQTT.
    pub carrier: Carrier,
    /// The name in the client's certificate, where one was demanded: it has been verified.
    pub certificate: Option<Arc<str>>,
}

/// Why a client did not get as far as MQTT; for the log.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// There is no encrypted link.
    #[error("TLS: {0}")]
    Tls(String),
    /// There is no WebSocket.
    #[error("WebSocket: {0}")]
    WebSocket(String),
}

/// Receives the client on `stream`: with TLS where there are `papers`, and through a WebSocket where
/// there is an `upgrade`.
///
/// # Errors
/// The client speaks something else, or may not come in.
pub async fn receive(
    stream: TcpStream,
    papers: Option<&Papers>,
    upgrade: Option<&Upgrade>,
) -> Result<Guest, Refused> {
    let (socket, certificate) = match papers {
        Some(papers) => papers.accept(stream).await?,
        None => (Socket::Plain(stream), None),
    };
    let carrier = match upgrade {
        None => Carrier::Bare(socket),
        Some(upgrade) => {
            let frames = http::receive(socket, upgrade, papers.is_some()).await;
            Carrier::WebSocket(Box::new(frames.map_err(Refused::WebSocket)?))
        }
    };
    Ok(Guest { carrier, certificate })
}

/// Sends the last words and waits until the other side has closed as well: closing with unread input
/// would reset the connection and take the words with it.
async fn part<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, words: &[u8]) {
    let parting = async {
        stream.write_all(words).await?;
        stream.shutdown().await?;
        let mut rest = [0; READ_BYTES];
        while stream.read(&mut rest).await? > 0 {}
        std::io::Result::Ok(())
    };
    // However this goes, the socket is closed after it.
    let _ = timeout(PART_WITHIN, parting).await;
}
