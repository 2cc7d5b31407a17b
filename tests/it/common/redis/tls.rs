//! A Redis that speaks nothing but TLS, and asks its clients for certificates.

#![allow(dead_code, reason = "some tests use what others don't")]

use std::path::PathBuf;
use std::process::Child;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::{connected_by, end, free_port, spawn};

/// The server with all files of its certificates; it ends with its handle.
#[derive(Debug)]
pub struct RedisTls {
    folder: tempfile::TempDir,
    port: u16,
    child: Child,
}

impl Drop for RedisTls {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

impl RedisTls {
    /// One that is known as `localhost` and trusts whom its own authority trusts.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).unwrap();
        for (authority, names) in [("ca", &["server", "client"][..]), ("stranger", &["intruder"])] {
            let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            // Who has the name of its issuer is taken for its own issuer.
            params.distinguished_name.push(DnType::CommonName, authority);
            let key = KeyPair::generate().unwrap();
            write(&format!("{authority}.pem"), params.self_signed(&key).unwrap().pem());
            let issuer = Issuer::new(params, key);
            for name in names {
                let key = KeyPair::generate().unwrap();
                let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
                params.distinguished_name.push(DnType::CommonName, *name);
                write(&format!("{name}.pem"), params.signed_by(&key, &issuer).unwrap().pem());
                write(&format!("{name}.key"), key.serialize_pem());
            }
        }
        let port = free_port();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let (cert, key, ca) = (path("server.pem"), path("server.key"), path("ca.pem"));
        let (number, files) = (port.to_string(), [&*cert, &key, &ca]);
        let words =
            ["--port", "0", "--tls-port", &number, "--tls-cert-file", files[0], "--tls-key-file", files[1]];
        let words = [&words[..], &["--tls-ca-cert-file", files[2], "--tls-auth-clients", "yes"]].concat();
        let child = spawn(folder.path(), &words);
        let redis = Self { folder, port, child };
        let read = |name: &str| std::fs::read(redis.file(name)).unwrap();
        let client_tls =
            redis::ClientTlsConfig { client_cert: read("client.pem"), client_key: read("client.key") };
        let certificates =
            redis::TlsCertificates { client_tls: Some(client_tls), root_cert: Some(read("ca.pem")) };
        connected_by(&redis::Client::build_with_tls(redis.url(), certificates).unwrap()).await;
        redis
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("rediss://localhost:{}/", self.port)
    }

    /// A file: `ca.pem`, `client.pem` and `client.key`, and what it has no reason to trust: `stranger.pem`,
    /// `intruder.pem` and `intruder.key`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}
