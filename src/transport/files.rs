//! The PEM files of `tls`, and the certificates that the system believes.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;

use crate::config::{Identity, Tls};

/// Largest PEM file, in bytes: the bundle of all public authorities takes a quarter of it.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Where the system keeps what it believes. A change of this folder is a change of that.
const SYSTEM_FOLDER: &str = "/etc/ssl/certs";

/// What is wrong with the files of `tls`.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// One cannot be read.
    #[error("the file {path} of `tls` cannot be read: {error}{}", advice(error))]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// One does not hold what it should.
    #[error("the file {path} of `tls` has no {what}: {why}")]
    Content {
        /// Which one.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// What is wrong, and what helps.
        why: String,
    },
    /// Key and certificate are not of one pair.
    #[error(
        "the key {key} does not belong to the certificate {certificate}; give the key that it was made with"
    )]
    Pair {
        /// The file of the key.
        key: PathBuf,
        /// The file of the certificate.
        certificate: PathBuf,
    },
    /// The system believes nobody.
    #[error(
        "this system has no root certificates: install ca-certificates, or write `tls: {{ca: FILE}}`{}",
        .0.as_ref().map_or(String::new(), |error| format!(" ({error})"))
    )]
    NoRoots(Option<String>),
}

/// What helps against `error`, where something does.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; the daemon's user must be allowed to read it, and enter its folder"
        }
        _ => "",
    }
}

/// Whom we believe.
#[derive(Clone, Debug)]
pub(super) struct Trust {
    /// Those who may have issued the broker's certificate.
    pub(super) roots: Arc<RootCertStore>,
    /// Certificates that the user gave: a broker that shows one of them itself is believed, too.
    pub(super) given: Vec<CertificateDer<'static>>,
}

/// Reads whom to believe.
pub(super) fn trust(tls: &Tls) -> Result<Trust, FileError> {
    let Some(path) = &tls.ca else {
        return Ok(Trust { roots: system_roots()?, given: Vec::new() });
    };
    let (roots, given) = authorities(path)?;
    Ok(Trust { roots: Arc::new(roots), given })
}

/// Reads the authorities in the file at `path`, and gives the certificates as they stand there, too.
pub(super) fn authorities(path: &Path) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), FileError> {
    let given = certificates(path)?;
    let mut roots = RootCertStore::empty();
    for certificate in &given {
        roots.add(certificate.clone()).map_err(|error| FileError::Content {
            path: path.to_owned(),
            what: "usable certificate",
            why: error.to_string(),
        })?;
    }
    Ok((roots, given))
}

/// Reads our own certificate and key.
pub(super) fn identity(own: &Identity, provider: &CryptoProvider) -> Result<CertifiedKey, FileError> {
    use tokio_rustls::rustls::{Error, InconsistentKeys};
    let chain = certificates(&own.certificate)?;
    let key = private_key(&own.key)?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            FileError::Pair { key: own.key.clone(), certificate: own.certificate.clone() }
        }
        Error::InvalidCertificate(error) => FileError::Content {
            path: own.certificate.clone(),
            what: "usable certificate",
            why: error.to_string(),
        },
        error => FileError::Content {
            path: own.key.clone(),
            what: "usable key",
            why: format!(
                "{error}; RSA with 2048 to 8192 bits, ECDSA P-256 and P-384, and Ed25519 can be used"
            ),
        },
    })
}

/// The certificates in the PEM file at `path`, at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let (bytes, what) = (read(path)?, "certificate");
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(content(path, what, &pem::Error::NoItemsFound, &bytes)),
        Err(error) => Err(content(path, what, &error, &bytes)),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, FileError> {
    let bytes = read(path)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| content(path, "private key", &error, &bytes))
}

fn content(path: &Path, what: &'static str, error: &pem::Error, bytes: &[u8]) -> FileError {
    let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
    let why = if holds(b"BEGIN ENCRYPTED PRIVATE KEY") || holds(b"Proc-Type: 4,ENCRYPTED") {
        "it is locked with a passphrase; unlock it with `openssl pkey -in FILE -out NEW`".to_owned()
    } else if holds(b"-----BEGIN ") {
        match error {
            pem::Error::NoItemsFound => "it holds something else; is it the right file?".to_owned(),
            other => format!("it is damaged: {other}"),
        }
    } else if bytes.first() == Some(&0x30) {
        "it is in DER form, not PEM; turn it into PEM with `openssl x509 -inform DER -in FILE -out NEW`, or \
         `openssl pkey` for a key"
            .to_owned()
    } else {
        "it is not PEM, which has lines as `-----BEGIN CERTIFICATE-----`".to_owned()
    };
    FileError::Content { path: path.to_owned(), what, why }
}

fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let read = || {
        let mut bytes = Vec::new();
        let count = File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if u64::try_from(count).is_ok_and(|count| count > FILE_BYTES_MAX) {
            return Err(io::Error::other("it is larger than 1 MiB"));
        }
        Ok(bytes)
    };
    read().map_err(|error| FileError::Read { path: path.to_owned(), error })
}

/// What the system believes. Reading that takes a second on a small machine, so it is kept until
/// the system's folder changes, for all bridges together.
fn system_roots() -> Result<Arc<RootCertStore>, FileError> {
    type Kept = (Option<SystemTime>, Arc<RootCertStore>);
    static KEPT: Mutex<Option<Kept>> = Mutex::new(None);
    let changed = std::fs::metadata(SYSTEM_FOLDER).and_then(|folder| folder.modified()).ok();
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((when, roots)) = &*kept
        && *when == changed
    {
        return Ok(Arc::clone(roots));
    }
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Some systems keep one that nobody can use; the others count.
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    if usable == 0 {
        return Err(FileError::NoRoots(found.errors.first().map(ToString::to_string)));
    }
    let roots = Arc::new(roots);
    *kept = Some((changed, Arc::clone(&roots)));
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};

    use super::*;

    /// What is said of `tls` with these contents of its files: authority, certificate, key.
    fn said(ca: Option<&[u8]>, certificate: &[u8], key: &[u8]) -> Result<(), String> {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            path
        };
        let own = Identity { certificate: write("own.pem", certificate), key: write("own.key", key) };
        let tls = Tls { ca: ca.map(|content| write("ca.pem", content)), ..Tls::default() };
        let provider = tokio_rustls::rustls::crypto::ring::default_provider();
        let read = trust(&tls).and_then(|_| identity(&own, &provider));
        read.map(drop).map_err(|error| error.to_string().replace(folder.path().to_str().unwrap(), ""))
    }

    #[test]
    fn what_is_wrong_with_a_file_is_told_with_its_name() {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["h".to_owned()]).unwrap();
        let (pem, key) = (cert.pem(), signing_key.serialize_pem());
        let (pem, key) = (pem.as_bytes(), key.as_bytes());
        assert_eq!(said(Some(pem), pem, key), Ok(()));
        // Whatever stands around it.
        assert_eq!(said(Some(&[b"subject: CN=h\n", pem, pem].concat()), pem, &[b"\n", key].concat()), Ok(()));
        let other = KeyPair::generate().unwrap().serialize_pem();
        let locked = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n";
        for (ca, own, key, words) in [
            (key, pem, key, "/ca.pem of `tls` has no certificate: it holds something else"),
            (b"hello", pem, key, "/ca.pem of `tls` has no certificate: it is not PEM"),
            (b"", pem, key, "/ca.pem of `tls` has no certificate: it is not PEM"),
            (&cert.der()[..], pem, key, "/ca.pem of `tls` has no certificate: it is in DER form"),
            (pem, &pem[..100], key, "/own.pem of `tls` has no certificate: it is damaged"),
            (pem, pem, pem, "/own.key of `tls` has no private key: it holds something else"),
            (pem, pem, other.as_bytes(), "/own.key does not belong to the certificate /own.pem"),
            (pem, pem, locked, "/own.key of `tls` has no private key: it is locked with a passphrase"),
            (pem, pem, &vec![b'x'; 2 << 20], "/own.key of `tls` cannot be read: it is larger than 1 MiB"),
        ] {
            let said = said(Some(ca), own, key).unwrap_err();
            assert!(said.contains(words), "no `{words}` in: {said}");
        }
    }

    #[test]
    fn what_is_not_there_is_told_with_its_name() {
        let tls = Tls { ca: Some("/nowhere/ca.pem".into()), ..Tls::default() };
        assert!(
            trust(&tls)
                .unwrap_err()
                .to_string()
                .contains("/nowhere/ca.pem of `tls` cannot be read: No such file")
        );
    }

    #[test]
    fn what_the_system_believes_is_read_once() {
        let first = system_roots().unwrap();
        assert!(!first.is_empty());
        assert!(Arc::ptr_eq(&first, &system_roots().unwrap()));
    }
}
