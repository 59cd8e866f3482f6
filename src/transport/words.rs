//! Why TLS failed, in words, with what to do about it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio_rustls::rustls::pki_types::UnixTime;
use tokio_rustls::rustls::{AlertDescription, CertificateError, Error};

use super::certificate::Facts;
use super::tls::{Seen, Witness, inner};
use crate::render::time::minute;

/// What is known of one handshake beside its error.
#[derive(Clone, Debug)]
pub(super) struct Words {
    /// The file with whom we believe.
    pub(super) ca: Option<PathBuf>,
    /// Our own certificate.
    pub(super) own: Option<Facts>,
    /// What we offered.
    pub(super) alpn: Vec<String>,
    pub(super) witness: Arc<Witness>,
}

impl Words {
    /// Why the handshake failed.
    pub(super) fn handshake(&self, error: &io::Error) -> String {
        match inner(error) {
            Some(error) => self.of(error),
            None => match error.kind() {
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => self.cut(),
                _ => format!("the connection broke: {error}"),
            },
        }
    }

    /// What may have made the broker close the connection soon after the handshake.
    pub(super) fn closed(&self) -> Option<&'static str> {
        (self.witness.seen().asked && self.own.is_none()).then_some(WANTS_CERTIFICATE)
    }

    /// Why it failed, at the handshake or later.
    pub(super) fn of(&self, error: &Error) -> String {
        match error {
            Error::InvalidCertificate(error) => self.certificate(error),
            Error::AlertReceived(alert) => self.alert(*alert),
            Error::InvalidMessage(_) | Error::InappropriateMessage { .. } | Error::PeerSentOversizedRecord => {
                "what answers there does not speak TLS; is it the port for links without TLS (`mqtt://`, `ws://`)?"
                    .to_owned()
            }
            Error::PeerIncompatible(why) => {
                format!("we speak TLS 1.2 and 1.3 with today's ciphers, and the server does not ({why:?})")
            }
            other => other.to_string(),
        }
    }

    fn cut(&self) -> String {
        let seen = self.witness.seen();
        if seen.asked && self.own.is_none() {
            format!("the server closed the connection; {WANTS_CERTIFICATE}")
        } else if seen.chain.is_empty() {
            "the server closed the connection instead of an answer; does it speak TLS on this port?"
                .to_owned()
        } else {
            "the server closed the connection in the middle of the handshake; its log may say why".to_owned()
        }
    }

    fn alert(&self, alert: AlertDescription) -> String {
        use AlertDescription as A;
        let asked = self.witness.seen().asked;
        match alert {
            A::ProtocolVersion => "the server wants another version of TLS than 1.2 and 1.3".to_owned(),
            A::NoApplicationProtocol => match self.alpn.as_slice() {
                [] => "the server wants a protocol to be named; write it as `tls: {alpn: [NAME]}`".to_owned(),
                offered => format!("the server takes none of the protocols in `alpn`: {}", offered.join(", ")),
            },
            A::UnrecognisedName => {
                "the server does not serve this name; is the host of the url right, or `tls: {server_name: NAME}`?"
                    .to_owned()
            }
            _ => match &self.own {
                None if asked => format!("{WANTS_CERTIFICATE} ({alert:?})"),
                Some(own) if asked => format!(
                    "the server does not accept our certificate, {} ({alert:?}); it is valid until {}, so ask \
                     whom the server believes",
                    own.subject,
                    minute(own.until.as_secs())
                ),
                _ => format!("the server ended the handshake: {alert:?}"),
            },
        }
    }

    fn certificate(&self, error: &CertificateError) -> String {
        let Seen { chain, .. } = self.witness.seen();
        let shown: Vec<Facts> = chain.iter().filter_map(Facts::of).collect();
        match error {
            CertificateError::UnknownIssuer => self.unknown_issuer(&shown),
            CertificateError::ExpiredContext { not_after, .. } => {
                let over: Vec<&Facts> = shown.iter().filter(|one| one.until.as_secs() == not_after.as_secs()).collect();
                format!(
                    "the certificate of {} ended at {}; it must be renewed there, unless the clock of this machine \
                     is wrong (`timedatectl`)",
                    over.first().map_or("the server", |one| &one.subject),
                    moment(*not_after)
                )
            }
            CertificateError::NotValidYetContext { not_before, .. } => format!(
                "the server's certificate begins at {}, and by the clock of this machine that is to come: is the \
                 clock set (`timedatectl`)?",
                moment(*not_before)
            ),
            CertificateError::NotValidForNameContext { expected, presented } => {
                wrong_name(&expected.to_str(), presented)
            }
            CertificateError::Revoked => "the server's certificate was revoked".to_owned(),
            CertificateError::BadSignature => {
                "the server's certificate is not signed by whom it says; is the file of `ca` of the same authority \
                 but an older one?"
                    .to_owned()
            }
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                "the server's certificate is not meant for servers (extended key usage)".to_owned()
            }
            other => format!("the server's certificate cannot be used: {other}"),
        }
    }

    fn unknown_issuer(&self, shown: &[Facts]) -> String {
        let last = shown.last();
        let issuer = last.map_or("somebody", |last| &last.issuer);
        match &self.ca {
            Some(ca) => format!(
                "the server's certificate was issued by {issuer}, and no certificate in {} is that one's",
                ca.display()
            ),
            None if last.is_some_and(Facts::is_self_signed) => format!(
                "the server's certificate was issued by {issuer}, whom this system does not know; if that is right, \
                 give its certificate as `tls: {{ca: FILE}}`"
            ),
            None => format!(
                "the server's certificate was issued by {issuer}, whom this system does not know; give the \
                 certificate of that authority as `tls: {{ca: FILE}}`"
            ),
        }
    }
}

/// What a broker means that asked for a certificate and got none.
const WANTS_CERTIFICATE: &str =
    "the server wants a client certificate; give one as `tls: {certificate: FILE, key: FILE}`";

fn moment(time: UnixTime) -> String {
    minute(time.as_secs())
}

fn wrong_name(expected: &str, presented: &[String]) -> String {
    let names: Vec<String> = presented.iter().map(|name| plain_name(name)).collect();
    if names.is_empty() {
        return format!(
            "the server's certificate bears no names (subjectAltName; a common name does not count), so it cannot be \
             that of {expected}; issue it anew with `subjectAltName=DNS:{expected}`"
        );
    }
    format!(
        "the server's certificate is for {}, not for {expected}; write such a name in the url, or as `tls: \
         {{server_name: NAME}}`",
        names.join(", ")
    )
}

/// `DnsName("a.b")` as `a.b`.
fn plain_name(name: &str) -> String {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"').to_owned()
}
