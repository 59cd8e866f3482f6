//! What stands in a certificate (RFC 5280), for people and for the check of its time.

use std::time::Duration;

use tokio_rustls::rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use crate::render::time::minute;

/// Seconds of a day.
const DAY_S: u64 = 86_400;
/// A certificate that ends in less than so many days is warned about, or in less than a third of its
/// life where that is shorter: those that are renewed by a program live for weeks only.
const DAYS_LEFT_MIN: u64 = 30;

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
        let life = self.until.saturating_sub(self.from);
        let enough = (life / 3).min(Duration::from_secs(DAYS_LEFT_MIN * DAY_S));
        self.until.saturating_sub(now) < enough
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_over(&self, now: Duration) -> bool {
        now > self.until
    }

    /// What should be done about its end, to follow "the certificate".
    #[must_use]
    pub fn warning(&self, now: Duration) -> Option<String> {
        let until = minute(self.until.as_secs());
        if self.is_over(now) {
            return Some(format!("ended at {until}, and clients will not accept it; renew it"));
        }
        let days = self.days_left(now);
        self.ends_soon(now).then(|| format!("ends in {days} days, at {until}; renew it"))
    }

    /// Whether it vouches for itself.
    #[must_use]
    pub fn is_self_signed(&self) -> bool {
        self.subject == self.issuer
    }
}

/// Whose certificate it is: its common name, else its first name in the DNS. `None` where it has
/// neither, or one that could not stand in a line.
pub(super) fn name(certificate: &CertificateDer<'_>) -> Option<String> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let content = certificate.tbs_certificate();
    let common = content.subject().common_name().ok()?.map(|name| name.value().into_owned());
    let name = common.filter(|name| !name.is_empty()).or_else(|| {
        let (_, names) = content.get_extension::<SubjectAltName>().ok()??;
        names.0.iter().find_map(|name| match name {
            GeneralName::DnsName(name) => Some(name.as_str().to_owned()),
            _ => None,
        })
    });
    name.filter(|name| !name.is_empty() && !name.contains(char::is_control))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_days_count() {
        let day = Duration::from_secs(DAY_S);
        let facts = |from: u32, until: u32| Facts {
            subject: "a".into(),
            issuer: "b".into(),
            from: day * from,
            until: day * until,
        };
        let told = |facts: Facts, today: u32| (facts.days_left(day * today), facts.ends_soon(day * today));
        let year = [0, 335, 336, 365, 400].map(|today| told(facts(0, 365), today));
        assert_eq!(year, [(365, false), (30, false), (29, true), (0, true), (0, true)]);
        let weeks = [0, 30, 31].map(|today| told(facts(0, 45), today));
        assert_eq!(weeks, [(45, false), (15, false), (14, true)]);
        assert!(!facts(0, 9).is_over(day * 9) && facts(0, 9).is_over(day * 10));
    }

    #[test]
    fn a_certificate_is_called_by_its_common_name_or_else_its_first_name_in_the_dns() {
        use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
        let called = |common: Option<&str>, names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let mut params = CertificateParams::new(names).unwrap();
            params.distinguished_name = DistinguishedName::new();
            common.into_iter().for_each(|name| params.distinguished_name.push(DnType::CommonName, name));
            name(params.self_signed(&KeyPair::generate().unwrap()).unwrap().der())
        };
        assert_eq!(called(Some("esp32 é"), &["a.lan"]).as_deref(), Some("esp32 é"));
        assert_eq!(called(None, &["10.0.0.1", "a.lan", "b.lan"]).as_deref(), Some("a.lan"));
        assert_eq!(called(Some(""), &["a.lan"]).as_deref(), Some("a.lan"));
        assert_eq!(called(None, &["10.0.0.1"]), None);
        assert_eq!(called(Some("a\nb"), &[]), None);
    }
}
