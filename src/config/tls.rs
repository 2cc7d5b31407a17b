//! The files of the listeners' TLS: read, understood and held against each other.
//!
//! Decides whether they can be used; when they are read and what is done with them, `tls` decides. Called by the check
//! of the settings, at the start, and whenever they are looked at again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use super::{Admin, Public};

/// Where the files of a listener are.
#[derive(Debug, Clone)]
pub struct TlsPaths {
    cert: Named,
    key: Named,
    clients: Option<Named>,
}

/// A file by the setting that names it.
#[derive(Debug, Clone)]
struct Named {
    setting: &'static str,
    path: PathBuf,
}

/// What a listener proves itself with, and asks of its clients.
#[derive(Debug)]
pub struct TlsFiles {
    /// The certificate, with those between it and its root, and its key.
    pub certified: CertifiedKey,
    /// Judges the certificates that clients must show.
    pub clients: Option<Arc<dyn ClientCertVerifier>>,
    /// When the certificate expires, in seconds since 1970.
    pub expires: i64,
    /// Tells these files from others.
    pub digest: [u8; 32],
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

impl Public {
    /// Whether the listener speaks TLS, and so never in clear.
    pub fn has_tls(&self) -> bool {
        self.tls_cert.is_some() || self.acme.is_wanted()
    }

    /// Where the files of TLS are that somebody else renews; none when it is not asked for.
    pub fn tls(&self) -> Result<Option<TlsPaths>, TlsError> {
        let named = ["public.tls_cert", "public.tls_key"];
        TlsPaths::of(named, [&self.tls_cert, &self.tls_key], None)
    }
}

impl Admin {
    /// Whether the listener speaks TLS, and so never in clear.
    pub fn has_tls(&self) -> bool {
        self.tls_cert.is_some()
    }

    /// Where the files of TLS are; none when it is not asked for.
    pub fn tls(&self) -> Result<Option<TlsPaths>, TlsError> {
        let named = ["admin.tls_cert", "admin.tls_key"];
        let clients = self.client_ca.clone().map(|path| Named { setting: "admin.client_ca", path });
        TlsPaths::of(named, [&self.tls_cert, &self.tls_key], clients)
    }
}

impl TlsPaths {
    /// A certificate that the public listener got for itself, with its key, in one file.
    pub fn got(path: PathBuf) -> Self {
        let got = Named { setting: "public.acme.names", path };
        Self { cert: got.clone(), key: got, clients: None }
    }

    /// Where the certificate is.
    pub fn cert(&self) -> &Path {
        &self.cert.path
    }

    /// The setting that tells it.
    pub fn setting(&self) -> &'static str {
        self.cert.setting
    }

    fn of(
        named: [&'static str; 2],
        paths: [&Option<PathBuf>; 2],
        clients: Option<Named>,
    ) -> Result<Option<Self>, TlsError> {
        let [cert, key] = [0, 1].map(|at| {
            let path = paths[at].clone()?;
            Some(Named { setting: named[at], path })
        });
        match (cert, key) {
            (None, None) if clients.is_none() => Ok(None),
            (Some(cert), Some(key)) => Ok(Some(Self { cert, key, clients })),
            (None, _) => Err(TlsError::Missing { key: named[0] }),
            (_, None) => Err(TlsError::Missing { key: named[1] }),
        }
    }

    /// Reads the files and holds them against each other.
    pub fn read(&self) -> Result<TlsFiles, TlsError> {
        let mut digest = Context::new(&SHA256);
        let mut told = |file: &Named| {
            let text = read(file.setting, &file.path)?;
            // What is behind one does not pass for the beginning of the next.
            digest.update(&(text.len() as u64).to_be_bytes());
            digest.update(text.as_bytes());
            Ok::<_, TlsError>(text)
        };
        let (cert, key) = (told(&self.cert)?, told(&self.key)?);
        let clients = self.clients.as_ref().map(|file| told(file).map(|text| (file, text))).transpose()?;
        let digest = digest.finish().as_ref().try_into().expect("SHA-256 has 32 bytes");

        let chain = certificates(self.cert.setting, &self.cert.path, &cert)?;
        let private = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|_| self.key.unusable("holds no private key in PEM"))?;
        let certified =
            CertifiedKey::from_der(chain, private, &default_provider()).map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => {
                    self.key.unusable(format!("is not the key of {}", self.cert.path.display()))
                }
                error => self.cert.unusable(format!("can't be used with its key: {error}")),
            })?;
        let expires = certified.cert.first().and_then(|first| X509Certificate::from_der(first).ok());
        let expires = expires.map(|(_, certificate)| certificate.validity().not_after.timestamp());
        let expires = expires.ok_or_else(|| self.cert.unusable("does not say until when it holds"))?;
        let clients = clients.map(|(file, text)| verifier(file, &text)).transpose()?;
        Ok(TlsFiles { certified, clients, expires, digest })
    }
}

impl Named {
    fn unusable(&self, problem: impl Into<String>) -> TlsError {
        unusable(self.setting, &self.path, problem)
    }
}

/// The authorities in a file that a setting names.
pub fn authorities(key: &'static str, path: &Path) -> Result<RootCertStore, TlsError> {
    vouching(key, path, &read(key, path)?)
}

fn vouching(key: &'static str, path: &Path, text: &str) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(key, path, text)? {
        let added = roots.add(certificate);
        added
            .map_err(|error| unusable(key, path, format!("holds a certificate that can't vouch: {error}")))?;
    }
    Ok(roots)
}

fn verifier(file: &Named, text: &str) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let roots = vouching(file.setting, &file.path, text)?;
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider()))
        .build()
        .map_err(|error| file.unusable(error.to_string()))
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
        let read = |admin: &Admin| admin.tls()?.map(|paths| paths.read()).transpose();
        let files = read(&good).unwrap().unwrap();
        let shown = CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
        assert_eq!(files.certified.cert, [shown]);
        assert!(files.clients.is_some());
        assert!(files.expires > 60_000_000_000, "the library makes them for two thousand years");
        assert!(read(&Admin::default()).unwrap().is_none());
        // Whatever changes is noticed, the authority of clients as well.
        assert_eq!(read(&good).unwrap().unwrap().digest, files.digest);
        let (other, _) = pair();
        let changed = Admin { client_ca: file("other ca", &other), ..good.clone() };
        assert_ne!(read(&changed).unwrap().unwrap().digest, files.digest);
        let public = Public {
            tls_cert: good.tls_cert.clone(),
            tls_key: file("stranger of public", &stranger),
            ..Public::default()
        };
        assert_eq!(public.tls().unwrap().unwrap().read().unwrap_err().key(), "public.tls_key");

        type Change = fn(&mut Admin, Option<PathBuf>);
        let table: &[(Change, Option<PathBuf>, &str)] = &[
            (|admin, to| admin.tls_cert = to, None, "admin.tls_cert"),
            (|admin, to| admin.tls_key = to, None, "admin.tls_key"),
            (|admin, to| admin.tls_cert = to, Some("/nowhere".into()), "admin.tls_cert"),
            (|admin, to| admin.tls_key = to, Some("/nowhere".into()), "admin.tls_key"),
            (|admin, to| admin.client_ca = to, Some("/nowhere".into()), "admin.client_ca"),
            (|admin, to| admin.tls_cert = to, file("empty", ""), "admin.tls_cert"),
            (|admin, to| admin.tls_cert = to, file("key as cert", &key), "admin.tls_cert"),
            (|admin, to| admin.tls_key = to, file("cert as key", &cert), "admin.tls_key"),
            (|admin, to| admin.tls_key = to, file("stranger", &stranger), "admin.tls_key"),
            (|admin, to| admin.client_ca = to, file("key as ca", &key), "admin.client_ca"),
        ];
        for (change, to, named) in table {
            let mut admin = good.clone();
            change(&mut admin, to.clone());
            let error = read(&admin).unwrap_err();
            assert_eq!(error.key(), *named, "{error}");
            assert!(!error.to_string().contains("BEGIN"), "{error}");
        }
        let only_ca = Admin { client_ca: good.client_ca, ..Admin::default() };
        assert_eq!(only_ca.tls().unwrap_err().key(), "admin.tls_cert");
    }
}
