//! Why a client did not come through TLS, in words, with what to do about it.

use std::io;

use tokio_rustls::rustls::{AlertDescription, CertificateError, Error};

use crate::render::time::minute;
use crate::transport::tls::inner;

/// A certificate without any name cannot say who the client is.
pub(super) const NAMELESS: &str = "the client's certificate bears no name that could be used; issue one with a common name (`-subj /CN=NAME`)";

/// Why the handshake failed.
pub(super) fn of(error: &io::Error) -> String {
    let Some(error) = inner(error) else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
                "the client closed the connection in the middle of the handshake".to_owned()
            }
            _ => format!("the connection broke: {error}"),
        };
    };
    match error {
        Error::InvalidMessage(_) | Error::InappropriateMessage { .. } | Error::PeerSentOversizedRecord => {
            "the client does not speak TLS, and this listener does".to_owned()
        }
        Error::NoCertificatesPresented => {
            "the client shows no certificate, and `client_ca` demands one".to_owned()
        }
        Error::InvalidCertificate(error) => certificate(error),
        Error::AlertReceived(alert) => refused(*alert),
        Error::PeerIncompatible(why) => {
            format!("we speak TLS 1.2 and 1.3 with today's ciphers, and the client does not ({why:?})")
        }
        other => other.to_string(),
    }
}

fn certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer => {
            "the client's certificate was not issued by an authority in `client_ca`".to_owned()
        }
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("the client's certificate ended at {}; issue a new one", minute(not_after.as_secs()))
        }
        CertificateError::NotValidYetContext { not_before, .. } => format!(
            "the client's certificate begins at {}, and by the clock of this machine that is to come: is the \
             clock set (`timedatectl`)?",
            minute(not_before.as_secs())
        ),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the client's certificate is not meant for clients (extended key usage)".to_owned()
        }
        // What `openssl x509 -req` makes of a request without extensions.
        CertificateError::Other(other) if format!("{other:?}").contains("UnsupportedCertVersion") => {
            "the client's certificate is of version 1, which nobody takes any more; issue one with an extension \
             (`-addext extendedKeyUsage=clientAuth` for the request, `-copy_extensions copy` for the certificate)"
                .to_owned()
        }
        other => format!("the client's certificate cannot be used: {other}"),
    }
}

/// The client does not go on.
fn refused(alert: AlertDescription) -> String {
    use AlertDescription as A;
    match alert {
        A::UnknownCA | A::BadCertificate | A::CertificateUnknown | A::UnsupportedCertificate => format!(
            "the client does not believe our certificate ({alert:?}); give it that of the authority, and connect to \
             a name that stands in ours"
        ),
        A::CertificateExpired => {
            "by the client's clock our certificate is over; one of the two is wrong".to_owned()
        }
        A::ProtocolVersion => "the client wants another version of TLS than 1.2 and 1.3".to_owned(),
        _ => format!("the client ended the handshake: {alert:?}"),
    }
}
