//! TLS 1.2 and 1.3 to a broker: whom we believe, who we are, and the handshake.
//!
//! There is no way to believe everybody. A broker that no public authority vouches for is believed
//! by its own authority, or by its very certificate, given as `ca`.
//!
//! Sessions are not resumed: a bridge connects seldom, and some servers that ask for client
//! certificates refuse a resumed session.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::{
    ResolvesClientCert, Resumption, WebPkiServerVerifier, verify_server_name,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{
    self, CertificateError, ClientConfig, DigitallySignedStruct, ProtocolVersion, SignatureScheme,
};

use super::certificate::Facts;
use super::files::{self, FileError, Trust};
use super::words::Words;
use crate::config::Tls;

/// What is needed to begin: read from files, so made in a thread that may block.
#[derive(Debug)]
pub(super) struct Begin {
    config: Arc<ClientConfig>,
    words: Words,
}

/// What a handshake showed, whether it went well or not.
#[derive(Debug, Default)]
pub(super) struct Witness(Mutex<Seen>);

#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// What the broker showed, its own certificate first.
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// It asked for a certificate of ours.
    pub(super) asked: bool,
}

impl Witness {
    pub(super) fn seen(&self) -> Seen {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// An encrypted link.
#[derive(Clone, Debug)]
pub struct Secured {
    /// `1.3`
    pub version: &'static str,
    /// The protocol that the broker chose of those offered.
    pub alpn: Option<String>,
    /// What the broker showed, its own certificate first; one that cannot be read is left out.
    pub chain: Vec<Facts>,
    /// Our own certificate, if we have one.
    pub own: Option<Facts>,
    /// The broker asked for one.
    pub asked: bool,
}

impl Begin {
    /// Reads the files of `tls`. Blocks.
    pub(super) fn new(tls: &Tls) -> Result<Self, FileError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let trust = files::trust(tls)?;
        let own = tls.identity.as_ref().map(|own| files::identity(own, &provider)).transpose()?;
        let unusable = |error: &dyn ToString| FileError::NoRoots(Some(error.to_string()));
        let inner = WebPkiServerVerifier::builder_with_provider(trust.roots.clone(), Arc::clone(&provider))
            .build()
            .map_err(|error| unusable(&error))?;
        let witness = Arc::new(Witness::default());
        let verifier = Verifier { inner, trust, witness: Arc::clone(&witness) };
        let own = own.map(Arc::new);
        let words = Words {
            ca: tls.ca.clone(),
            own: own.as_ref().and_then(|own| Facts::of(own.cert.first()?)),
            alpn: tls.alpn.clone(),
            witness: Arc::clone(&witness),
        };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(&error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::new(Resolver { own, witness }));
        config.alpn_protocols = tls.alpn.iter().map(|name| name.clone().into_bytes()).collect();
        config.resumption = Resumption::disabled();
        Ok(Self { config: Arc::new(config), words })
    }

    /// Shakes hands on `stream` with the server `name`.
    pub(super) async fn handshake(
        self,
        name: &str,
        stream: TcpStream,
    ) -> Result<(TlsStream<TcpStream>, Secured, Words), String> {
        let server = ServerName::try_from(name.to_owned()).map_err(|_| {
            format!("{name} cannot be the name of a TLS server; write one as `tls: {{server_name: NAME}}`")
        })?;
        match TlsConnector::from(self.config).connect(server, stream).await {
            Ok(stream) => {
                let secured = secured(&stream, &self.words);
                Ok((stream, secured, self.words))
            }
            Err(error) => Err(self.words.handshake(&error)),
        }
    }
}

fn secured(stream: &TlsStream<TcpStream>, words: &Words) -> Secured {
    let (_, session) = stream.get_ref();
    let version = match session.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "1.3",
        _ => "1.2",
    };
    let seen = words.witness.seen();
    Secured {
        version,
        alpn: session.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()),
        chain: seen.chain.iter().filter_map(Facts::of).collect(),
        own: words.own.clone(),
        asked: seen.asked,
    }
}

/// Gives our certificate to whom asks, and notes that somebody did.
#[derive(Debug)]
struct Resolver {
    own: Option<Arc<CertifiedKey>>,
    witness: Arc<Witness>,
}

impl ResolvesClientCert for Resolver {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.witness.note(|seen| seen.asked = true);
        self.own.clone()
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Believes what the authorities vouch for, and a certificate that the user gave itself. The
/// latter is what `openssl req -x509` makes: it says that it is an authority, and as such it may
/// not stand for a server by the usual rules.
#[derive(Debug)]
struct Verifier {
    inner: Arc<WebPkiServerVerifier>,
    trust: Trust,
    witness: Arc<Witness>,
}

impl Verifier {
    fn given(
        &self,
        certificate: &CertificateDer<'_>,
        server: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let facts = Facts::of(certificate).ok_or(CertificateError::BadEncoding)?;
        if now.as_secs() > facts.until.as_secs() {
            let not_after = UnixTime::since_unix_epoch(facts.until);
            return Err(CertificateError::ExpiredContext { time: now, not_after }.into());
        }
        if now.as_secs() < facts.from.as_secs() {
            let not_before = UnixTime::since_unix_epoch(facts.from);
            return Err(CertificateError::NotValidYetContext { time: now, not_before }.into());
        }
        verify_server_name(&ParsedCertificate::try_from(certificate)?, server)?;
        Ok(ServerCertVerified::assertion())
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let chain = || [end_entity].into_iter().chain(intermediates).map(|c| c.clone().into_owned());
        self.witness.note(|seen| seen.chain = chain().collect());
        if self.trust.given.iter().any(|given| given == end_entity) {
            return self.given(end_entity, server_name, now);
        }
        self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// The error of TLS in `error`, if there is one.
pub(super) fn inner(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}
