//! The files of the admin listener's TLS: read, understood and held against each other.
//!
//! Decides whether they can be used; what is done with them, the admin edge decides. Called by the check of
//! the settings and once more at the start, which keeps what it read.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;

use super::{Admin, Secret};

/// What the admin listener proves itself with, and asks of its clients, as PEM.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The certificate, with those between it and its root.
    pub cert: String,
    /// Its private key.
    pub key: Secret,
    /// Whose certificates clients must show.
    pub client_ca: Option<String>,
}

/// Why the files can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that belongs to the others is not named.
    #[error("is missing: a certificate needs its key, and clients are asked for theirs only over TLS")]
    Missing {
        /// The setting that would name it.
        key: &'static str,
    },
    /// A file can't be read.
    #[error("file {} can't be read: {source}", path.display())]
    Unreadable {
        /// The setting that names it.
        key: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("file {} {problem}", path.display())]
    Unusable {
        /// The setting that names it.
        key: &'static str,
        /// Which.
        path: PathBuf,
        /// What is wrong with it; nothing of its content.
        problem: String,
    },
}

impl TlsError {
    /// The setting to change.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Missing { key } | Self::Unreadable { key, .. } | Self::Unusable { key, .. } => key,
        }
    }
}

const CERT: &str = "admin.tls_cert";
const KEY: &str = "admin.tls_key";
const CLIENT_CA: &str = "admin.client_ca";

impl Admin {
    /// Whether the listener speaks TLS, and so never in clear.
    pub fn has_tls(&self) -> bool {
        self.tls_cert.is_some()
    }

    /// Reads the files of TLS; none when it is not asked for.
    pub fn tls(&self) -> Result<Option<TlsFiles>, TlsError> {
        let (cert_path, key_path) = match (&self.tls_cert, &self.tls_key) {
            (None, None) if self.client_ca.is_none() => return Ok(None),
            (Some(cert), Some(key)) => (cert, key),
            (None, _) => return Err(TlsError::Missing { key: CERT }),
            (_, None) => return Err(TlsError::Missing { key: KEY }),
        };
        let cert = read(CERT, cert_path)?;
        let chain = certificates(CERT, cert_path, &cert)?;
        let key = read(KEY, key_path)?;
        let private = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|_| unusable(KEY, key_path, "holds no private key in PEM"))?;
        CertifiedKey::from_der(chain, private, &default_provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                unusable(KEY, key_path, format!("is not the key of {}", cert_path.display()))
            }
            error => unusable(CERT, cert_path, format!("can't be used with its key: {error}")),
        })?;
        let client_ca = self.client_ca.as_ref().map(|path| client_ca(path)).transpose()?;
        Ok(Some(TlsFiles { cert, key: key.into(), client_ca }))
    }
}

fn client_ca(path: &Path) -> Result<String, TlsError> {
    let text = read(CLIENT_CA, path)?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates(CLIENT_CA, path, &text)? {
        roots.add(certificate).map_err(|error| {
            unusable(CLIENT_CA, path, format!("holds a certificate that can't vouch: {error}"))
        })?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider()))
        .build()
        .map_err(|error| unusable(CLIENT_CA, path, error.to_string()))?;
    Ok(text)
}

pub(super) fn read(key: &'static str, path: &Path) -> Result<String, TlsError> {
    std::fs::read_to_string(path).map_err(|source| TlsError::Unreadable {
        key,
        path: path.to_owned(),
        source,
    })
}

pub(super) fn certificates(
    key: &'static str,
    path: &Path,
    text: &str,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let found = found.map_err(|error| unusable(key, path, format!("is no valid PEM: {error}")))?;
    if found.is_empty() {
        return Err(unusable(key, path, "holds no certificate in PEM"));
    }
    Ok(found)
}

pub(super) fn unusable(key: &'static str, path: &Path, problem: impl Into<String>) -> TlsError {
    TlsError::Unusable { key, path: path.to_owned(), problem: problem.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};

    /// A certificate of its own with its key.
    fn pair() -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let cert = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        (cert.pem(), key.serialize_pem())
    }

    #[test]
    fn files_that_belong_together_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            Some(path)
        };
        let ((cert, key), (_, stranger)) = (pair(), pair());
        let good = Admin {
            tls_cert: file("cert", &cert),
            tls_key: file("key", &key),
            client_ca: file("ca", &cert),
            ..Admin::default()
        };
        let files = good.tls().unwrap().unwrap();
        assert_eq!(
            (files.cert, files.key.expose(), files.client_ca),
            (cert.clone(), &*key, Some(cert.clone()))
        );
        assert!(Admin::default().tls().unwrap().is_none());

        type Change = fn(&mut Admin, Option<PathBuf>);
        let table: &[(Change, Option<PathBuf>, &str)] = &[
            (|admin, to| admin.tls_cert = to, None, CERT),
            (|admin, to| admin.tls_key = to, None, KEY),
            (|admin, to| admin.tls_cert = to, Some("/nowhere".into()), CERT),
            (|admin, to| admin.tls_key = to, Some("/nowhere".into()), KEY),
            (|admin, to| admin.client_ca = to, Some("/nowhere".into()), CLIENT_CA),
            (|admin, to| admin.tls_cert = to, file("empty", ""), CERT),
            (|admin, to| admin.tls_cert = to, file("key as cert", &key), CERT),
            (|admin, to| admin.tls_key = to, file("cert as key", &cert), KEY),
            (|admin, to| admin.tls_key = to, file("stranger", &stranger), KEY),
            (|admin, to| admin.client_ca = to, file("key as ca", &key), CLIENT_CA),
        ];
        for (change, to, named) in table {
            let mut admin = good.clone();
            change(&mut admin, to.clone());
            let error = admin.tls().unwrap_err();
            assert_eq!(error.key(), *named, "{error}");
            assert!(!error.to_string().contains("BEGIN"), "{error}");
        }
        let only_ca = Admin { client_ca: good.client_ca, ..Admin::default() };
        assert_eq!(only_ca.tls().unwrap_err().key(), CERT);
    }
}
