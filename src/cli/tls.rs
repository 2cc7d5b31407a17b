//! How the command line reaches an admin listener: in clear, or over TLS with what the flags name.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use crate::limits;

/// What proves the server to us, and us to the server.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct TlsArgs {
    /// Certificate of the authority that vouches for the server (PEM); the connection is TLS.
    #[arg(long, global = true, value_name = "FILE", env = "PORCHLIGHT_ADMIN_CA")]
    ca: Option<PathBuf>,
    /// Certificate to show to a server that asks for one (PEM).
    #[arg(long, global = true, value_name = "FILE", env = "PORCHLIGHT_ADMIN_CERT")]
    cert: Option<PathBuf>,
    /// The private key of that certificate (PEM).
    #[arg(long, global = true, value_name = "FILE", env = "PORCHLIGHT_ADMIN_CLIENT_KEY")]
    client_key: Option<PathBuf>,
}

impl TlsArgs {
    /// The way to a server. `addr` is `host:port` or a URL.
    pub(super) fn endpoint(&self, addr: &str) -> anyhow::Result<Endpoint> {
        let tls = self.config()?;
        let url = match (addr.contains("://"), &tls) {
            (true, _) => addr.to_owned(),
            (false, Some(_)) => format!("https://{addr}"),
            (false, None) => format!("http://{addr}"),
        };
        match (url.starts_with("https://"), &tls) {
            (true, None) => bail!("{addr} needs --ca: the certificate of the authority to trust"),
            (false, Some(_)) => bail!("{addr} is not https, so --ca and --cert would protect nothing"),
            _ => {}
        }
        let endpoint = Endpoint::from_shared(url).with_context(|| format!("{addr} is no address"))?;
        let endpoint = endpoint.connect_timeout(limits::ADMIN_KEEPALIVE_TIMEOUT);
        match tls {
            Some(tls) => endpoint.tls_config(tls).context("the certificates can't be used"),
            None => Ok(endpoint),
        }
    }

    fn config(&self) -> anyhow::Result<Option<ClientTlsConfig>> {
        let Some(ca) = &self.ca else {
            if self.cert.is_some() || self.client_key.is_some() {
                bail!("--cert and --client-key need --ca");
            }
            return Ok(None);
        };
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(ca)?));
        match (&self.cert, &self.client_key) {
            (Some(cert), Some(key)) => Ok(Some(tls.identity(Identity::from_pem(read(cert)?, read(key)?)))),
            (None, None) => Ok(Some(tls)),
            _ => bail!("--cert and --client-key go together"),
        }
    }
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("can't read {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};

    #[test]
    fn a_key_never_goes_out_in_clear_where_tls_was_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let cert = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        let file = |name: &str, text: String| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            Some(path)
        };
        let (cert, key) = (file("cert", cert.pem()), file("key", key.serialize_pem()));
        let plain = TlsArgs::default();
        let tls = TlsArgs { ca: cert.clone(), ..TlsArgs::default() };
        let both = TlsArgs { ca: cert.clone(), cert: cert.clone(), client_key: key.clone() };
        let scheme = |args: &TlsArgs, addr: &str| {
            args.endpoint(addr).ok().map(|endpoint| endpoint.uri().scheme_str().unwrap().to_owned())
        };
        let table = [
            (&plain, "127.0.0.1:7402", Some("http")),
            (&plain, "http://127.0.0.1:7402", Some("http")),
            (&plain, "https://admin.example:7402", None),
            (&tls, "admin.example:7402", Some("https")),
            (&tls, "https://admin.example:7402", Some("https")),
            (&tls, "http://admin.example:7402", None),
            (&both, "admin.example:7402", Some("https")),
            (&TlsArgs { cert: cert.clone(), client_key: key.clone(), ca: None }, "127.0.0.1:1", None),
            (&TlsArgs { cert: None, ..both.clone() }, "127.0.0.1:1", None),
            (&TlsArgs { ca: Some("/nowhere".into()), ..plain.clone() }, "127.0.0.1:1", None),
        ];
        for (args, addr, expected) in table {
            assert_eq!(scheme(args, addr).as_deref(), expected, "{args:?} {addr}");
        }
    }
}
