//! Load over TLS: whom to trust, and one handshake.
//!
//! Decides which authorities vouch for the server, and tells a certificate that is not accepted from a connection that
//! came to nothing. Does not decide who speaks TLS: the address says so.

use std::io;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How connections to one server are secured.
#[derive(Clone)]
pub(super) struct Tls {
    connector: TlsConnector,
    server: ServerName<'static>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("server", &self.server).finish_non_exhaustive()
    }
}

/// Why there is no secured connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsFault {
    /// The server proves to be somebody else, or nobody whom we trust.
    #[error("the server's certificate is not accepted: {0}")]
    Certificate(rustls::CertificateError),
    /// The two can't agree, or the other side speaks no TLS.
    #[error("tls: {0}")]
    Handshake(rustls::Error),
    /// The connection below.
    #[error(transparent)]
    Connection(io::Error),
}

impl From<io::Error> for TlsFault {
    fn from(error: io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::InvalidCertificate(why)) => Self::Certificate(why.clone()),
            Some(other) => Self::Handshake(other.clone()),
            None => Self::Connection(error),
        }
    }
}

impl Tls {
    /// Trusts whom the file names, or without one whom this system trusts.
    pub(super) fn open(host: &str, ca: Option<&Path>) -> anyhow::Result<Self> {
        let roots = match ca {
            Some(file) => roots_of(file)?,
            None => roots_of_system()?,
        };
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let server = ServerName::try_from(bare).with_context(|| format!("{host} is no name of a server"))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for the default versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        // Each visitor is somebody else, and has no session of another to go on with.
        config.resumption = Resumption::disabled();
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), server })
    }

    /// Shakes hands.
    pub(super) async fn secure(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, TlsFault> {
        Ok(self.connector.connect(self.server.clone(), stream).await?)
    }
}

fn roots_of(file: &Path) -> anyhow::Result<RootCertStore> {
    let unread = || format!("{} holds no certificate", file.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).with_context(unread)? {
        roots.add(certificate.with_context(unread)?).with_context(unread)?;
    }
    ensure!(!roots.is_empty(), unread());
    Ok(roots)
}

fn roots_of_system() -> anyhow::Result<RootCertStore> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Systems carry some that are no roots by today's rules; nobody needs those.
    let _ = roots.add_parsable_certificates(found.certs);
    ensure!(!roots.is_empty(), "this system trusts no authority; name one with --ca-file");
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_certificate_is_no_authority() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.pem");
        assert!(Tls::open("localhost", Some(&file)).unwrap_err().to_string().contains("ca.pem"));
        for text in ["", "nothing", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            std::fs::write(&file, text).unwrap();
            let refused = Tls::open("localhost", Some(&file)).unwrap_err();
            assert!(refused.to_string().contains("holds no certificate"), "{text:?}: {refused:#}");
        }
    }

    #[test]
    fn hosts_are_names_and_addresses() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.pem");
        let key = rcgen::KeyPair::generate().unwrap();
        let cert =
            rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        std::fs::write(&file, cert.pem()).unwrap();
        for host in ["localhost", "127.0.0.1", "[::1]"] {
            assert!(Tls::open(host, Some(&file)).is_ok(), "{host}");
        }
        assert!(Tls::open("-", Some(&file)).is_err());
    }
}
