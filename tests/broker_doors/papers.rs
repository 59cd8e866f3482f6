//! Certificates of our own making.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    date_time_ymd,
};
use serialgate::config::{Identity, ServerTls};
use tempfile::TempDir;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, crypto, version};

/// An authority, and the folder where all its files lie.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// Writes `<file>.pem` and `<file>.key`, over what was there.
    pub(crate) fn issue(&self, file: &str, params: &CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let own = Identity {
            certificate: self.path(&format!("{file}.pem")),
            key: self.path(&format!("{file}.key")),
        };
        std::fs::write(&own.certificate, certificate.pem()).unwrap();
        std::fs::write(&own.key, key.serialize_pem()).unwrap();
        own
    }

    /// What a listener named `localhost` shows; `common` tells certificates apart.
    pub(crate) fn server(&self, common: &str) -> ServerTls {
        ServerTls { identity: self.issue("server", &server(common)), client_ca: None }
    }

    /// And asks for certificates of this authority.
    pub(crate) fn strict_server(&self) -> ServerTls {
        ServerTls { client_ca: Some(self.path("ca.pem")), ..self.server("strict") }
    }

    /// A client's certificate.
    pub(crate) fn client(&self, params: &CertificateParams) -> Identity {
        self.issue("client", params)
    }

    /// How a client that believes this authority shakes hands; with `own`, if it has one.
    pub(crate) fn believer(&self, own: Option<&Identity>) -> Arc<ClientConfig> {
        self.believer_of(own, &[&version::TLS13, &version::TLS12])
    }

    pub(crate) fn believer_of(
        &self,
        own: Option<&Identity>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        Arc::new(match own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let chain = CertificateDer::pem_file_iter(&own.certificate).unwrap();
                let key = PrivateKeyDer::from_pem_file(&own.key).unwrap();
                builder.with_client_auth_cert(chain.map(Result::unwrap).collect(), key).unwrap()
            }
        })
    }
}

/// A server's certificate, for `localhost`.
pub(crate) fn server(common: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, common);
    params
}

/// A client's certificate, until the end of `year`.
pub(crate) fn client(common: &str, year: i32) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, common);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.not_after = date_time_ymd(year, 12, 31);
    params
}
