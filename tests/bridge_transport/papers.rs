//! Certificates of our own making.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    date_time_ymd,
};
use serialgate::config::{Endpoint, Identity, Scheme, Tls, Url};
use tempfile::TempDir;

/// An authority, and the folder where all its files lie.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

/// Names and key of a certificate.
pub(crate) fn params(common: &str, names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, common);
    params
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = params(name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// Writes `<file>.pem` and `<file>.key`.
    pub(crate) fn issue_as(&self, file: &str, params: &CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        self.write(file, &certificate.pem(), &key)
    }

    /// A certificate for a server named `localhost`.
    pub(crate) fn issue(&self, file: &str) -> Identity {
        self.issue_as(file, &params("broker", &["localhost"]))
    }

    /// A certificate for a client.
    pub(crate) fn issue_client(&self, file: &str, ends: (i32, u8, u8)) -> Identity {
        let mut params = params("greenhouse", &[]);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.not_after = date_time_ymd(ends.0, ends.1, ends.2);
        self.issue_as(file, &params)
    }

    /// A certificate that vouches for itself, as `openssl req -x509` makes it.
    pub(crate) fn self_signed(&self, file: &str, names: &[&str]) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = params("self", names);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        self.write(file, &params.self_signed(&key).unwrap().pem(), &key)
    }

    fn write(&self, file: &str, certificate: &str, key: &KeyPair) -> Identity {
        let own = Identity {
            certificate: self.path(&format!("{file}.pem")),
            key: self.path(&format!("{file}.key")),
        };
        std::fs::write(&own.certificate, certificate).unwrap();
        std::fs::write(&own.key, key.serialize_pem()).unwrap();
        own
    }

    /// Believes this authority.
    pub(crate) fn trust(&self) -> Tls {
        Tls { ca: Some(self.ca()), ..Tls::default() }
    }
}

/// The lines of a listener of mosquitto that shows `own`.
pub(crate) fn listener(own: &Identity) -> String {
    format!("certfile {}\nkeyfile {}\n", own.certificate.display(), own.key.display())
}

/// And that lets nobody in without a certificate of the authority in `ca`.
pub(crate) fn strict_listener(own: &Identity, ca: &Path) -> String {
    format!("{}cafile {}\nrequire_certificate true\n", listener(own), ca.display())
}

/// `localhost` at the port of `address`.
pub(crate) fn endpoint(scheme: Scheme, address: SocketAddr, tls: Tls) -> Endpoint {
    let path = if matches!(scheme, Scheme::Ws | Scheme::Wss) { "/mqtt" } else { "" };
    let url = Url { scheme, host: "localhost".into(), port: address.port(), path: path.into() };
    Endpoint { url, tls, proxy: None }
}
