//! What stands in a certificate (RFC 5280), for people and for the check of its time.

use std::time::Duration;

use tokio_rustls::rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

/// Seconds of a day.
const DAY_S: u64 = 86_400;
/// A certificate that ends in less than so many days is warned about.
const DAYS_LEFT_MIN: u64 = 21;

/// The parts of a certificate that people ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Whom it is about, as in `CN=broker.example.com,O=Example` (RFC 4514).
    pub subject: String,
    /// Who vouches for it.
    pub issuer: String,
    /// It is valid from then on, since 1970.
    pub from: Duration,
    /// And until then.
    pub until: Duration,
}

impl Facts {
    /// Reads them; `None` where it is no certificate.
    #[must_use]
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let certificate = Certificate::from_der(certificate).ok()?;
        let content = certificate.tbs_certificate();
        let validity = content.validity();
        Some(Self {
            subject: content.subject().to_string(),
            issuer: content.issuer().to_string(),
            from: validity.not_before.to_unix_duration(),
            until: validity.not_after.to_unix_duration(),
        })
    }

    /// Whole days from `now` until its end; 0 where that is over.
    #[must_use]
    pub fn days_left(&self, now: Duration) -> u64 {
        self.until.saturating_sub(now).as_secs() / DAY_S
    }

    /// Whether it should be renewed.
    #[must_use]
    pub fn ends_soon(&self, now: Duration) -> bool {
        self.days_left(now) < DAYS_LEFT_MIN
    }

    /// Whether it vouches for itself.
    #[must_use]
    pub fn is_self_signed(&self) -> bool {
        self.subject == self.issuer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_days_count() {
        let day = Duration::from_secs(DAY_S);
        let facts = Facts { subject: "a".into(), issuer: "b".into(), from: day, until: day * 100 };
        let told =
            [0, 79, 80, 100, 200].map(|today| (facts.days_left(day * today), facts.ends_soon(day * today)));
        assert_eq!(told, [(100, false), (21, false), (20, true), (0, true), (0, true)]);
    }
}
